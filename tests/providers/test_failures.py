"""How errors of services are told apart. The bodies are as the services' documentation, source or issues show them."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.providers.errorbody import read_body, read_error
from agentd.providers.failures import (
    DETAIL_CHARS,
    FAILURES,
    Authentication,
    BadRequest,
    ContextOverflow,
    ModelNotFound,
    NetworkFailed,
    Overloaded,
    ProtocolBroken,
    QuotaExhausted,
    RateLimited,
    ServerFailed,
    ServiceFailed,
    Target,
    TimedOut,
    classify,
    classify_error,
    network_failure,
    tidy,
)
from agentd.wire.messages import Headers

KEY = "8f3a-this-is-the-key"
TARGET = Target("the service at http://localhost:8000", "qwen3", frozenset({KEY}))
NOW = 1_800_000_000.0


def answer(status: int, body: Any, **headers: str) -> ServiceFailed:
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(status, Headers(fields), json.dumps(body).encode(), TARGET, now=NOW)


def openai(message: str, kind: str = "invalid_request_error", code: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code}}


def anthropic(kind: str, message: str, **details: str) -> dict[str, Any]:
    error = {"type": kind, "message": message} | ({"details": details} if details else {})
    return {"type": "error", "error": error, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


ANSWERS = [
    # OpenAI
    (401, openai("Incorrect API key provided: sk-ab***yz.", code="invalid_api_key"), Authentication),
    (403, openai("Country, region, or territory not supported"), Authentication),
    (404, openai("The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"), 0),
    (429, openai("Rate limit reached for gpt-4o in organization org-x on requests per min.", "requests"), RateLimited),
    (429, openai("You exceeded your current quota, please check your plan", "insufficient_quota"), QuotaExhausted),
    (429, openai("Request too large for gpt-4o on tokens per min (TPM): Limit 30000", "tokens"), ContextOverflow),
    (400, openai("Your input exceeds the context window of this model.", code="context_length_exceeded"), 1),
    (400, openai("This model's maximum context length is 8192 tokens. However, your messages resulted in 9001"), 1),
    (400, openai("Unsupported parameter: 'max_tokens' is not supported with this model."), BadRequest),
    (500, openai("The server had an error while processing your request.", "server_error"), ServerFailed),
    (503, openai("The engine is currently overloaded, please try again later"), Overloaded),
    (503, openai("Slow down", "service_unavailable_error", "slow_down"), Overloaded),
    # Anthropic
    (400, anthropic("invalid_request_error", "messages: at least one message is required"), BadRequest),
    (400, anthropic("invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum"), 1),
    (400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 188240 + 21333"), 1),
    (400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."), QuotaExhausted),
    (401, anthropic("authentication_error", "invalid x-api-key"), Authentication),
    (402, anthropic("billing_error", "There is an issue with your billing"), QuotaExhausted),
    (403, anthropic("permission_error", "Your API key does not have permission"), Authentication),
    (404, anthropic("not_found_error", "model: claude-nine"), ModelNotFound),
    (404, anthropic("not_found_error", "Not found"), BadRequest),
    (409, anthropic("conflict_error", "The resource was modified"), ServerFailed),
    (413, anthropic("request_too_large", "Request exceeds the maximum size"), ContextOverflow),
    (429, anthropic("rate_limit_error", "This request would exceed your organization's rate limit"), RateLimited),
    (429, anthropic("rate_limit_error", "Limit", error_code="enforced_spend_limit_reached"), QuotaExhausted),
    (500, anthropic("api_error", "Internal server error"), ServerFailed),
    (504, anthropic("timeout_error", "Request timeout"), TimedOut),
    (529, anthropic("overloaded_error", "Overloaded"), Overloaded),
    # vLLM, in both of its shapes
    (404, {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404}, 0),
    (400, openai("The decoder prompt (length 40000) is longer than the maximum model length of 32768."), 1),
    (400, openai("The prompt (total length 25938) is too long to fit into the model (context length 4096)."), 1),
    (404, {"detail": "Not Found"}, BadRequest),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "field required"}]}, BadRequest),
    # llama.cpp
    (
        400,
        {
            "error": {
                "code": 400,
                "message": "request (13392 tokens) exceeds the available context size (8192 tokens), try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 13392,
                "n_ctx": 8192,
            }
        },
        ContextOverflow,
    ),
    (503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, Overloaded),
    (401, {"error": {"code": 401, "message": "Invalid API Key", "type": "authentication_error"}}, Authentication),
    # Ollama
    (404, {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error"}}, ModelNotFound),
    (500, {"error": "the input length exceeds the context length"}, ContextOverflow),
    (500, {"error": "llama runner process has terminated: signal: killed"}, ServerFailed),
    # LiteLLM and other gateways
    (400, openai("litellm.ContextWindowExceededError: too many tokens", "None", "400"), ContextOverflow),
    (400, openai("Invalid model name passed in model=x. Call `/v1/models`"), ModelNotFound),
    (429, [{"error": {"code": 429, "message": "Resource exhausted", "status": "RESOURCE_EXHAUSTED"}}], RateLimited),
    (502, {}, ServerFailed),
    (524, "timeout", TimedOut),
    (302, None, BadRequest),
    (418, 7, BadRequest),
]
_SHORT: dict[Any, type[ServiceFailed]] = {0: ModelNotFound, 1: ContextOverflow}


@pytest.mark.parametrize(("status", "body", "kind"), ANSWERS)
def test_an_answer_with_an_error_is_of_the_class_that_its_words_and_status_say(
    status: int, body: Any, kind: Any
) -> None:
    assert type(answer(status, body)) is _SHORT.get(kind, kind)


IN_STREAM = [
    ({"type": "overloaded_error", "message": "Overloaded"}, Overloaded),
    ({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Overloaded),
    ({"type": "rate_limit_error", "message": "slow"}, RateLimited),
    ({"type": "api_error", "message": "Internal server error"}, ServerFailed),
    ({"message": "the request exceeds the available context size", "code": 500}, ContextOverflow),
    ({"message": "nope", "type": "BadRequestError", "code": 400}, BadRequest),
    ({"message": "Provider disconnected", "code": 502}, ServerFailed),
    ({"message": "Provider returned error", "code": 429}, RateLimited),
    ({"message": "The server had an error", "type": "server_error", "code": None}, ServerFailed),
    ("something broke", ServerFailed),
    ({}, ServerFailed),
    (None, ServerFailed),
]


@pytest.mark.parametrize(("error", "kind"), IN_STREAM)
def test_an_error_within_a_stream_is_classified_without_a_status(error: Any, kind: type[ServiceFailed]) -> None:
    assert type(classify_error(error, TARGET)) is kind


@pytest.mark.parametrize(
    ("kind", "failure", "retryable"),
    [
        ("connect", NetworkFailed, True),
        ("network", NetworkFailed, True),
        ("timeout", TimedOut, True),
        ("tls", NetworkFailed, False),
        ("proxy", NetworkFailed, False),
        ("protocol", ProtocolBroken, False),
    ],
)
def test_a_failure_of_the_network_is_retried_only_where_that_can_help(
    kind: str, failure: type[ServiceFailed], retryable: bool
) -> None:
    failed = network_failure(kind, "it broke", TARGET)
    assert type(failed) is failure
    assert failed.retryable is retryable


def test_codes_are_unique_and_every_class_says_what_to_do() -> None:
    assert len({kind.code for kind in FAILURES}) == len(FAILURES)
    assert {kind for kind in FAILURES if kind.retryable} == {
        RateLimited,
        Overloaded,
        ServerFailed,
        NetworkFailed,
        TimedOut,
    }
    for kind in FAILURES:
        text = str(kind("a reason", TARGET))
        assert TARGET.service in text
        assert "a reason. " in text
        assert text.endswith((".", "them."))


def test_a_missing_model_is_named_as_the_executor_contract_wants_it() -> None:
    assert str(answer(404, openai("no", code="model_not_found"))).startswith("MODEL_UNAVAILABLE: qwen3. ")


# --- Retry-After --------------------------------------------------------------------------------------------------


def date(epoch: float) -> str:
    return formatdate(epoch, usegmt=True)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after": date(NOW + 90)}, 90.0),
        ({"retry-after": date(NOW - 90)}, 0.0),
        ({"retry-after": date(5000.0), "date": date(4960.0)}, 40.0),
        ({"retry-after": "Friday, 15-Jan-27 08:01:30 GMT"}, 90.0),  # RFC 850, which recipients have to accept
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "1e99"}, None),
        ({"retry-after": "9" * 400}, None),
        ({"retry-after": "Mon, 99 Foo 2026 99:99:99 GMT"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert classify(429, Headers(headers), b"", TARGET, now=NOW).retry_after == seconds


@given(st.text(st.characters(max_codepoint=255)), st.text(st.characters(max_codepoint=255)))
def test_any_retry_after_is_read(value: str, sent: str) -> None:
    seconds = classify(429, {"retry-after": value, "date": sent}, b"", now=NOW).retry_after
    assert seconds is None or seconds >= 0


def test_a_failure_that_is_not_retried_has_no_time_to_wait() -> None:
    assert answer(401, {}, retry_after="30").retry_after is None


def test_overload_has_a_time_to_wait_too() -> None:
    assert answer(529, anthropic("overloaded_error", "Overloaded"), retry_after="7").retry_after == 7.0


# --- What is shown ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"Invalid key {KEY} given",
        f"refused: Bearer {KEY}",
        "Incorrect API key provided: hunter2-hunter2. You can find it at",
        "Incorrect API key provided: sk-proj-abcdef**********wxyz",
        "proxy http://me:hunter2@proxy:3128 refused",
        "GET /v1/models?key=AIzahunter2hunter2hunter21 failed",
        'sent {"api_key": "hunter2hunter2"}',
        "password=hunter2",
        "Authorization: Bearer hunter2.hunter2",
    ],
)
def test_no_secret_is_ever_shown(text: str) -> None:
    shown = str(answer(401, openai(text)))
    assert KEY not in shown
    assert "hunter2" not in shown
    assert "abcdef" not in shown


def test_words_that_only_look_like_names_of_secrets_stay() -> None:
    text = "max_tokens: 100000 is too large; Unrecognized key: stream_options"
    assert tidy(text) == text


def test_what_a_service_says_is_shown_on_one_bounded_line() -> None:
    shown = answer(500, openai("a\nb\x1b[31m\t" + "x" * 10_000)).detail
    assert shown.startswith("HTTP 500, a b [31m xxx")
    assert len(shown) == DETAIL_CHARS


def test_a_secret_at_the_bound_is_not_shown_in_part() -> None:
    for start in range(DETAIL_CHARS - len(KEY), DETAIL_CHARS + 1):
        assert KEY[:4] not in tidy("x" * start + KEY, {KEY})


def test_of_an_html_page_its_title_is_shown() -> None:
    page = b"<html><head><title>502 Bad Gateway</title></head><body><h1>502</h1></body></html>"
    assert classify(502, {"content-type": "text/html"}, page).detail == "HTTP 502, 502 Bad Gateway"


def test_of_a_page_without_title_its_text_is_shown() -> None:
    page = b"<script>evil()</script><p>No <b>healthy</b> upstream</p>"
    assert classify(503, {}, page).detail == "HTTP 503, No healthy upstream"


@given(st.binary(max_size=300), st.integers(100, 999))
def test_any_body_is_classified(body: bytes, status: int) -> None:
    failed = classify(status, {}, body)
    assert type(failed) in FAILURES
    assert len(failed.detail) <= DETAIL_CHARS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "type", "code", "x"]), inner),
)


@given(JSON)
def test_any_json_is_classified(value: Any) -> None:
    assert type(classify_error(value)) in FAILURES
    assert read_body(json.dumps(value).encode(), "application/json") == read_error(json.loads(json.dumps(value)))


def test_deep_json_is_no_error_of_ours() -> None:
    assert type(classify(500, {}, b'{"error":' * 10_000)) is ServerFailed
    assert type(ProtocolBroken()) is ProtocolBroken
