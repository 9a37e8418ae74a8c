"""Webhooks of a job: what is told when, and what their answers decide. The rules: the agent API contract, 12.

A delivery is one POST of a JSON object, over a connection of its own: a kept one that the webhook closes at the wrong
moment would look like a refusal, because a POST is never sent twice. No redirect is followed, no cookie kept, and a
loopback address is never reached through a proxy; the URL and the addresses of its host are held to a URL policy. All
of it, from the look-up of the name to the answer's last byte, has the hook's own timeout. The hook's headers are laid
over ours, but for those that say where the message ends.

With a secret, a webhook can tell whose message it is, and that it is no copy of an old one:

    X-Agentd-Timestamp: <seconds since 1970>
    X-Agentd-Signature: sha256=<hex HMAC-SHA256, with the secret as its key, of "<timestamp>.<body>">

The webhook makes the same over the bytes of the body as they came, compares in constant time, and refuses timestamps
that are more than a few minutes old. An answer is {"decision"?, "reason"?, "modified_input"?}, of at most 64 KiB.
What cannot be had or read of it makes PreToolUse refuse (it fails closed), and changes nothing elsewhere.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs

from agentd.domain import Hook, ToolUse
from agentd.errors import AgentdError, InvalidRequest
from agentd.wire.typed import is_deep, parse
from agentd.wire.urlpolicy import UrlPolicy

if TYPE_CHECKING:
    from agentd.wire.http import HttpSettings

LONGEST_ANSWER = 64 * 1024  # bytes
DEEPEST_ANSWER = 64  # levels: what is read here is written again by others, whose stacks are higher
VERDICTS = ("allow", "deny", "ask")
DECIDING = frozenset({"PreToolUse", "PostToolUse", "UserPromptSubmit"})  # of other events no answer is read
OF_TOOLS = frozenset({"PreToolUse", "PostToolUse"})  # events that a matcher is for
PLUGIN = "plugin:"  # begins, in records, what stands for the URL of a program: the name of its plugin follows
_FRAMING = "accept-encoding connection content-length expect keep-alive te trailer transfer-encoding upgrade"
_NOT_THEIRS = frozenset({*_FRAMING.split(), "x-agentd-signature", "x-agentd-timestamp"})  # to set

Verdict = Literal["allow", "deny", "ask"]
logger = logging.getLogger(__name__)


@attrs.frozen
class Decision:
    """*verdict*: None for no opinion. *reason*: of a deny never empty; it is for the model, and for people."""

    verdict: Verdict | None = None
    reason: str = ""
    modified_input: dict[str, Any] | None = None


class HookFailed(AgentdError):
    """A webhook gave no answer that counts. The text has nothing in it of its headers, path or query."""

    code = "HOOK_FAILED"


class Hooks:
    """The webhooks of one job, by event. *about*: what every body has beside the event's own: session_id, cwd,
    permission_mode. *write(kind, data)* appends a record: each delivery is one `hook`, also one that is cancelled.
    *secret*: messages are signed. *settings*: how servers are reached; those of the environment if there are none.

    The methods raise what *write* raises, and nothing else. They may overlap.
    """

    def __init__(
        self,
        hooks: Mapping[str, Hook],
        about: Callable[[], Mapping[str, Any]],
        write: Callable[[str, dict[str, Any]], object],
        *,
        secret: str = "",
        policy: UrlPolicy = UrlPolicy.LOCAL,
        settings: HttpSettings | None = None,
    ) -> None:
        self._hooks = dict(hooks)
        self._matchers = {event: _matcher(event, hook) for event, hook in hooks.items() if event in OF_TOOLS}
        self._about = about
        self._write = write
        self._secret = secret
        self._policy = policy
        self._settings = settings

    def wants(self, event: str, tool: str = "") -> bool:
        """Whether there is anybody to tell of *event*; of a tool's, whether the matcher is for that tool."""
        if event not in self._hooks:
            return False
        matcher = self._matchers.get(event)
        return matcher is None or matcher.match(tool) is not None

    async def prompt_submitted(self, prompt: str) -> Decision:
        """Before the first model call. A modified_input is {"prompt": the text in its place}; nobody is to be asked."""
        decision = await self._decide("UserPromptSubmit", {"tool_input": {"prompt": prompt}})
        return attrs.evolve(decision, verdict="allow") if decision.verdict == "ask" else decision

    async def before_tool(self, call: ToolUse, parent: str | None = None) -> Decision:
        """Before a call runs. *parent*: the Task call in whose conversation it was made. Denies what it cannot ask."""
        if not self.wants("PreToolUse", call.name):
            return Decision()
        return await self._decide("PreToolUse", of_call(call, parent), call.id)

    async def after_tool(
        self, call: ToolUse, content: str, is_error: bool, duration_ms: int, parent: str | None = None
    ) -> str | None:
        """After a call ran. What is to be appended to its result, if anything is."""
        if not self.wants("PostToolUse", call.name):
            return None
        result = {"content": content, "is_error": is_error, "duration_ms": duration_ms}
        decision = await self._decide("PostToolUse", {**of_call(call, parent), "tool_result": result}, call.id)
        return decision.reason if decision.verdict == "deny" else None

    async def stopped(self, is_error: bool, duration_ms: int, result: str | None = None) -> None:
        """The run ends of itself."""
        await self._tell("Stop", {"is_error": is_error, "duration_ms": duration_ms}, result)

    async def subagent_stopped(self, name: str, is_error: bool, result: str | None = None) -> None:
        await self._tell("SubagentStop", {"subagent_name": name, "is_error": is_error}, result)

    async def before_compact(self, trigger: Literal["auto", "manual"]) -> None:
        await self._tell("PreCompact", {"trigger": trigger})

    async def waiting(self, message: str, kind: str) -> None:
        """The run begins to wait for the user."""
        await self._tell("Notification", {"message": message, "notification_type": kind})

    async def _tell(self, event: str, data: dict[str, Any], result: str | None = None) -> None:
        await self._decide(event, {"result_data": data if result is None else {**data, "result": result}})

    async def _decide(self, event: str, fields: Mapping[str, Any], call: str | None = None) -> Decision:
        hook = self._hooks.get(event)
        if hook is None:
            return Decision()
        decision, error, started = Decision(), "the run ended before there was an answer", time.monotonic()
        try:
            decision, error = await self._deliver(event, hook, fields), ""
        except HookFailed as failed:
            decision, error = without_answer(event, str(failed)), str(failed)
        finally:
            self._write(
                "hook",
                {
                    "event": event,
                    "url": site_of(hook.url),
                    "call": call,
                    "decision": decision.verdict,
                    "reason": decision.reason,
                    "error": error or None,
                    "duration_ms": round((time.monotonic() - started) * 1000),
                },
            )
        return decision

    async def _deliver(self, event: str, hook: Hook, fields: Mapping[str, Any]) -> Decision:
        """Raises HookFailed."""
        from agentd.wire.http import Deadlines, HttpClient, HttpSettings

        body = encode({"hook_event": event, **self._about(), **fields})
        settings = (self._settings or HttpSettings.from_env(os.environ)).under(self._policy)
        try:
            async with HttpClient(settings) as client:
                answer = await client.request(
                    "POST",
                    hook.url,
                    headers=_headers(hook, body, self._secret),
                    body=body,
                    deadlines=Deadlines(*[hook.timeout] * 4),
                    limit=LONGEST_ANSWER,
                )
        except AgentdError as exc:  # HttpFailed, InvalidUrl, UrlRefused
            raise HookFailed(str(exc)) from exc
        if not 200 <= answer.status < 300:
            raise HookFailed(f"it answered with HTTP {answer.status}")
        return read_decision(event, answer.body) if event in DECIDING else Decision()


def read_decision(event: str, body: bytes) -> Decision:
    """What a webhook's answer says. Raises HookFailed for what is none; members that are null are as good as absent."""
    try:
        answer = parse(body)
    except InvalidRequest as exc:
        raise HookFailed("its answer is no JSON") from exc
    if not isinstance(answer, dict):
        raise HookFailed("its answer is no JSON object")
    return decision_in(event, answer)


def decision_in(event: str, answer: Mapping[str, Any]) -> Decision:
    """The same of an object that has been read."""
    if is_deep(answer, DEEPEST_ANSWER - 1):
        raise HookFailed("its answer is nested too deeply")
    verdict, reason, modified = (answer.get(key) for key in ("decision", "reason", "modified_input"))
    if verdict is not None and verdict not in VERDICTS:
        raise HookFailed("its decision is none of allow, deny and ask")
    if not isinstance(reason, str | None):
        raise HookFailed("its reason is no text")
    if not isinstance(modified, dict | None):
        raise HookFailed("its modified_input is no object")
    if event == "UserPromptSubmit" and modified is not None:
        modified = _new_prompt(modified)
    told = reason or (f"the {event} hook denied it" if verdict == "deny" else "")
    return Decision(verdict, told, modified)


def _new_prompt(modified: dict[str, Any]) -> dict[str, Any] | None:
    prompt = modified.get("prompt")
    if prompt is None:
        return None
    if not isinstance(prompt, str) or not prompt.strip():
        raise HookFailed("the prompt of its modified_input is no text")
    return {"prompt": prompt}


def without_answer(event: str, failure: str) -> Decision:
    """What counts where a hook has failed."""
    if event != "PreToolUse":
        return Decision()
    return Decision("deny", f"the PreToolUse hook could not be asked, so nothing was executed: {failure}")


def of_call(call: ToolUse, parent: str | None) -> dict[str, Any]:
    """What hooks are told of a call. *parent*: the Task call in whose conversation it was made."""
    return {
        "tool_name": call.name,
        "tool_input": dict(call.input),
        "tool_use_id": call.id,
        "parent_tool_use_id": parent,
    }


def encode(body: Mapping[str, Any]) -> bytes:
    """Raises HookFailed for what JSON has no form for: an input that a model wrote may hold NaN."""
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError) as exc:
        raise HookFailed("there is no JSON for what it would be told") from exc


def _headers(hook: Hook, body: bytes, secret: str) -> list[tuple[str, str]]:
    ours = {"Content-Type": "application/json", "Accept": "application/json"}
    signed = sign(body, secret, int(time.time())) if secret else {}
    own = {name: value for name, value in hook.headers.items() if name.lower() not in _NOT_THEIRS}
    given = {name.lower() for name in own}
    kept = {name: value for name, value in ours.items() if name.lower() not in given}
    return [*kept.items(), *own.items(), *signed.items(), ("Connection", "close")]


def sign(body: bytes, secret: str, timestamp: int) -> dict[str, str]:
    """The header fields by which a webhook knows who sent *body*, and when."""
    digest = hmac.new(secret.encode(), b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()
    return {"X-Agentd-Timestamp": str(timestamp), "X-Agentd-Signature": f"sha256={digest}"}


def _matcher(event: str, hook: Hook) -> re.Pattern[str] | None:
    """None: every tool. So is what is no regular expression, which is the safe side."""
    if hook.matcher is None:
        return None
    try:
        return re.compile(hook.matcher)
    except (re.error, OverflowError, RecursionError) as exc:
        logger.warning("the matcher of the %s hook is no regular expression (%s): it matches every tool", event, exc)
        return None


def site_of(text: str) -> str:
    """Scheme, host and port of a URL; "" if it is none."""
    from agentd.wire.urls import InvalidUrl, parse_url

    try:
        return parse_url(text).site
    except InvalidUrl:
        return ""
