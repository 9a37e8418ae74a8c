"""What can go wrong with a language model service: a closed set of classes, and how an answer is told to be of one.

    class             code                     retry  what it is
    Authentication    PROVIDER_AUTH_FAILED     no     no key, a wrong one, or one that may not do this
    QuotaExhausted    PROVIDER_QUOTA           no     no credit left, or a spending limit reached: waiting does not help
    ModelNotFound     MODEL_UNAVAILABLE        no     the service has no such model, or not for this key
    ContextOverflow   CONTEXT_OVERFLOW         no     the conversation is longer than the model, or the service, takes
    BadRequest        PROVIDER_BAD_REQUEST     no     the service does not accept what we send, or has no such path
    RateLimited       PROVIDER_RATE_LIMITED    yes    too many requests or tokens a minute; `retry_after` if it was told
    Overloaded        PROVIDER_OVERLOADED      yes    the service is busy or still loading; `retry_after` likewise
    ServerFailed      PROVIDER_SERVER_ERROR    yes    the service broke on the request
    NetworkFailed     PROVIDER_UNREACHABLE     yes    no connection, or it broke; not if TLS or a proxy refused: then no
    TimedOut          PROVIDER_TIMEOUT         yes    nothing came within a deadline, ours or the service's
    ProtocolBroken    PROVIDER_PROTOCOL        no     what came is not the format that the service should speak

The texts are for people: who failed, what it said, what to do. No key, and no credentials of a URL, is ever in one.
Sources: developers.openai.com/docs/guides/error-codes, platform.claude.com/docs/en/api/errors, RFC 9110 (10.2.3).
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from typing import Any, ClassVar, Protocol

import attrs

from agentd.errors import ProviderFailed
from agentd.providers.errorbody import Problem, read_body, read_error
from agentd.providers.redact import redact, without

DETAIL_CHARS = 300  # of what a service says; some send whole pages


@attrs.frozen
class Target:
    """Who was asked for which model, for the texts. *secrets* are kept out of them, should the service echo one."""

    service: str = "the model service"
    model: str = ""
    secrets: frozenset[str] = attrs.field(default=frozenset(), repr=False)


class Headers(Protocol):
    """Header fields by name in lower case, such as wire.messages.Headers or a dict."""

    def get(self, name: str, default: str, /) -> str: ...


class ServiceFailed(ProviderFailed):
    """Raised as one of FAILURES, never itself. *detail* is what the service or the network said."""

    retryable: bool = False
    retry_after: float | None = None  # seconds that the service asks us to wait
    what: ClassVar[str]
    advice: ClassVar[str]

    def __init__(self, detail: str = "", target: Target = Target()) -> None:
        self.detail = tidy(detail, target.secrets)
        self.target = target
        super().__init__(self._text())

    def _text(self) -> str:
        said = f": {self.detail}" if self.detail else ""
        model = f" ({self.target.model})" if self.target.model else ""
        return f"{self.target.service}{model} {self.what}{said}{'' if said.endswith(_ENDS) else '.'} {self.advice}"


class Authentication(ServiceFailed):
    code = "PROVIDER_AUTH_FAILED"
    what = "did not accept the API key"
    advice = "Set a valid key for this service, and check that it may use this model."


class QuotaExhausted(ServiceFailed):
    code = "PROVIDER_QUOTA"
    what = "refused because the account has no credit left or has reached a spending limit"
    advice = "Check plan, credit and limits of the account, or use another model."


class ModelNotFound(ServiceFailed):
    code = "MODEL_UNAVAILABLE"
    what = "has no such model"
    advice = "`agentd models` lists what there is; --model-alias maps a name to one of them."

    def _text(self) -> str:
        return f"{self.code}: {self.target.model or 'the model'}. {super()._text()}"


class ContextOverflow(ServiceFailed):
    code = "CONTEXT_OVERFLOW"
    what = "cannot take a conversation of this length"
    advice = "Compact the conversation or start a new session, or use a model with a larger context."


class BadRequest(ServiceFailed):
    code = "PROVIDER_BAD_REQUEST"
    what = "did not accept the request"
    advice = "Check the service's base URL and the model's settings: it may not support what they ask for."


class RateLimited(ServiceFailed):
    code = "PROVIDER_RATE_LIMITED"
    retryable = True
    what = "is limiting the rate of requests"
    advice = "Try again later, run fewer jobs at once, or raise the account's limits."


class Overloaded(ServiceFailed):
    code = "PROVIDER_OVERLOADED"
    retryable = True
    what = "is overloaded or not ready"
    advice = "Try again later, or use another model."


class ServerFailed(ServiceFailed):
    code = "PROVIDER_SERVER_ERROR"
    retryable = True
    what = "failed"
    advice = "Try again later; if it persists, look into the service's own log or status page."


class NetworkFailed(ServiceFailed):
    code = "PROVIDER_UNREACHABLE"
    retryable = True
    what = "could not be reached, or the connection broke"
    advice = (
        "Check that the service runs, its base URL, and proxy and certificate settings: `agentd doctor` tests them."
    )


class TimedOut(ServiceFailed):
    code = "PROVIDER_TIMEOUT"
    retryable = True
    what = "did not answer in time"
    advice = "Try again, or allow this service more time."


class ProtocolBroken(ServiceFailed):
    code = "PROVIDER_PROTOCOL"
    what = "sent what is not the format of its API"
    advice = "Check that the base URL is that of the API, not of a web page or a proxy's login."


FAILURES: tuple[type[ServiceFailed], ...] = (
    Authentication,
    QuotaExhausted,
    ModelNotFound,
    ContextOverflow,
    BadRequest,
    RateLimited,
    Overloaded,
    ServerFailed,
    NetworkFailed,
    TimedOut,
    ProtocolBroken,
)


def classify(
    status: int,
    headers: Headers,
    body: bytes,
    target: Target = Target(),
    *,
    now: float | None = None,
) -> ServiceFailed:
    """The failure that an answer with an error is, of either API. *now*: epoch seconds, for a Retry-After that is a
    date and has no Date field beside it."""
    problem = read_body(body, headers.get("content-type", ""))
    failure = _kind_of(status, problem)(
        f"HTTP {status}, {problem.message}" if problem.message else f"HTTP {status}", target
    )
    return _with_retry_after(failure, read_retry_after(headers, time.time() if now is None else now))


def classify_error(error: Any, target: Target = Target()) -> ServiceFailed:
    """The failure that an error object within a stream is, whose status was 200 long ago."""
    problem = read_error(error)
    return _kind_of(problem.status or 0, problem)(problem.message or "no reason given", target)


def network_failure(kind: str, detail: str, target: Target = Target()) -> ServiceFailed:
    """The failure that the HTTP client's *kind* is: connect, tls, proxy, refused, timeout, network or protocol."""
    if kind in ("timeout", "protocol"):
        return TimedOut(detail, target) if kind == "timeout" else ProtocolBroken(detail, target)
    failure = NetworkFailed(detail, target)
    failure.retryable = kind not in ("tls", "proxy", "refused")  # what is refused stays refused
    return failure


def read_retry_after(headers: Headers, now: float) -> float | None:
    """Seconds to wait, from Retry-After (a number, or a date beside the answer's own Date), or the retry-after-ms that
    OpenAI sends. None if there is none, or none that can be read."""
    if _NUMBER.fullmatch(milliseconds := headers.get("retry-after-ms", "").strip()):
        return float(milliseconds) / 1000
    value = headers.get("retry-after", "").strip()
    if _NUMBER.fullmatch(value):
        return float(value)
    moment = _epoch(value)
    if moment is None:
        return None
    return max(0.0, moment - (_epoch(headers.get("date", "")) or now))  # their clock against theirs, where they tell


def tidy(text: str, secrets: Collection[str] = ()) -> str:
    """What a service said, fit to be shown: redacted, on one line, of at most DETAIL_CHARS."""
    line = " ".join("".join(char if char.isprintable() else " " for char in without(text, secrets)).split())
    line = redact(line[: 4 * DETAIL_CHARS])
    return line if len(line) <= DETAIL_CHARS else f"{line[: DETAIL_CHARS - 1]}…"


def _kind_of(status: int, problem: Problem) -> type[ServiceFailed]:
    """By its words first: services answer a full context with 400, 413, 422, 429 or 500, no credit with 400 or 429."""
    words = f"{problem.type} {problem.code} {problem.message}"
    for pattern, kind in _WORDS:
        if pattern.search(words):
            return kind
    if status == 404:
        return ModelNotFound if "model" in words.lower() else BadRequest
    if status in _STATUSES:
        return _STATUSES[status]
    for name in (problem.type, problem.code):
        if name in _NAMES:
            return _NAMES[name]
    return BadRequest if 300 <= status < 500 else ServerFailed


def _with_retry_after(failure: ServiceFailed, seconds: float | None) -> ServiceFailed:
    failure.retry_after = seconds if failure.retryable else None
    return failure


def _epoch(date: str) -> float | None:
    if not date:
        return None
    from email.utils import mktime_tz, parsedate_tz  # slow to import, and rarely needed

    try:
        parts = parsedate_tz(date)
        return None if parts is None else float(mktime_tz((*parts[:9], parts[9] or 0)))  # a date without zone is GMT
    except (ValueError, OverflowError):
        return None


_ENDS = (".", "!", "?", "…")
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")

_STATUSES: dict[int, type[ServiceFailed]] = {
    401: Authentication,
    402: QuotaExhausted,
    403: Authentication,
    408: TimedOut,
    409: ServerFailed,  # Anthropic: a conflict with something concurrent, to be retried
    413: ContextOverflow,  # too many bytes: a shorter conversation has fewer
    425: ServerFailed,
    429: RateLimited,
    503: Overloaded,
    504: TimedOut,
    522: TimedOut,  # Cloudflare's, in front of many services
    524: TimedOut,
    529: Overloaded,
}

_NAMES: dict[str, type[ServiceFailed]] = {
    "authentication_error": Authentication,
    "permission_error": Authentication,
    "invalid_api_key": Authentication,
    "billing_error": QuotaExhausted,
    "not_found_error": ModelNotFound,
    "request_too_large": ContextOverflow,
    "invalid_request_error": BadRequest,
    "BadRequestError": BadRequest,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "overloaded_error": Overloaded,
    "unavailable_error": Overloaded,  # llama.cpp, while it loads the model
    "service_unavailable_error": Overloaded,
    "server_is_overloaded": Overloaded,
    "slow_down": Overloaded,
    "timeout_error": TimedOut,
    "api_error": ServerFailed,
    "server_error": ServerFailed,
}

_WORDS: tuple[tuple[re.Pattern[str], type[ServiceFailed]], ...] = (
    (
        re.compile(
            r"context_length_exceeded|exceed_context_size_error"  # OpenAI; llama.cpp
            r"|model_context_window_exceeded|ContextWindowExceeded"  # Anthropic; LiteLLM
            r"|maximum context length"  # OpenAI, vLLM
            r"|exceeds? the (model'?s )?(maximum |available )?(model )?context (length|size|window)"  # both
            r"|prompt is too long|exceed context limit|input is too long"  # Anthropic; Bedrock
            r"|maximum prompt length|exceeds the maximum number of tokens"  # xAI; Google
            r"|prompt \(.{0,60}\) is too long to fit|longer than the maximum model length"  # vLLM
            r"|input length exceeds|exceeded max context length|prompt too long"  # Ollama
            r"|exceed context window|too large to process"  # llama-cpp-python; llama.cpp's batch
            r"|Request too large for",  # OpenAI and Groq: one request beyond a minute's tokens
            re.IGNORECASE,
        ),
        ContextOverflow,
    ),
    (
        re.compile(
            r"insufficient_quota|credit_balance_exhausted|billing_hard_limit|enforced_spend_limit"
            r"|exceeded your current quota|credit balance is too low|API usage limits",
            re.IGNORECASE,
        ),
        QuotaExhausted,
    ),
    (
        re.compile(
            r"model_not_found|DeploymentNotFound|invalid model name|not a valid model"
            r"|no such model|unknown model|not a chat model"
            r"|\bmodel\W{1,4}\S{0,120} {0,2}(is )?(does not exist|not found)",  # OpenAI, vLLM; Ollama
            re.IGNORECASE,
        ),
        ModelNotFound,
    ),
)
