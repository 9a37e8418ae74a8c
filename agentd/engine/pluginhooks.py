"""Hooks of plugins: local programs that are told of a job's events, and decide. The rules: those that are public for
Claude Code's command hooks (https://code.claude.com/docs/en/hooks), and the agent API contract, 12 and 18.2.

A program is run in a shell, in the workspace, and reads one JSON object: session_id, transcript_path (always empty),
cwd, permission_mode, hook_event_name, and what belongs to the event. It answers by how it ends:

    0       fine; what it prints may be a JSON object that decides, as in read_answer(). Other text is added to the
            prompt by UserPromptSubmit, and means nothing elsewhere
    2       denied; the reason is what it has printed on stderr
    others  it failed, which is told and changes nothing

What gives no answer that could be understood (it does not start, does not end in time, says too much, or prints an
object that is none) makes PreToolUse refuse, as with webhooks. Nothing of a program outlives its answer.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import attrs
import trio
from trio.lowlevel import FdStream

from agentd.domain import ToolUse
from agentd.engine.hooks import (
    DECIDING,
    LONGEST_ANSWER,
    OF_TOOLS,
    PLUGIN,
    Decision,
    HookFailed,
    decision_in,
    encode,
    of_call,
    without_answer,
)
from agentd.errors import InvalidRequest, ToolFailed
from agentd.sandbox.child import CHUNK
from agentd.sandbox.contain import Containment
from agentd.sandbox.trees import Tree, find_bash
from agentd.wire.typed import parse
from agentd.workspace.extensions.nouns import PluginHook

DENIED = 2  # exit code
LONGEST_REASON = 4000  # characters
logger = logging.getLogger(__name__)
_VERDICTS = {"approve": "allow", "block": "deny"}  # as older programs say it


@attrs.frozen
class Answer:
    """*context*: what is added to the prompt, or to the result of a tool."""

    decision: Decision = attrs.field(factory=Decision)
    context: str = ""
    failure: str = ""  # what went wrong with the program, and does not matter


@attrs.frozen
class Ended:
    exit_code: int
    stdout: bytes
    stderr: bytes


def plugin_hooks(
    hooks: Sequence[PluginHook],
    about: Callable[[], Mapping[str, Any]],
    write: Callable[[str, dict[str, Any]], object],
    *,
    confine: Containment,
    workspace: Path,
    env: Mapping[str, str],
) -> list[ProgramHook]:
    """One for each of *hooks*, to be taken together by CombinedHooks. *about* and *write*: as of Hooks. *env*: the
    whole environment of the programs, but for CLAUDE_PLUGIN_ROOT and CLAUDE_PROJECT_DIR."""
    return [ProgramHook(hook, about, write, confine, workspace, env) for hook in hooks]


@attrs.frozen(eq=False)
class ProgramHook:
    """A HookSet of one program. Its methods raise what *write* raises, and nothing else. They may overlap."""

    hook: PluginHook
    _about: Callable[[], Mapping[str, Any]]
    _write: Callable[[str, dict[str, Any]], object]
    _confine: Containment
    _workspace: Path
    _env: Mapping[str, str]
    _matcher: re.Pattern[str] | None = attrs.field(init=False)

    @_matcher.default
    def _compile(self) -> re.Pattern[str] | None:
        return _matcher(self.hook)

    def wants(self, event: str, tool: str = "") -> bool:
        """Whether it is to be told of *event*; of a tool's, whether its matcher is for the whole name of that tool."""
        if event != self.hook.event:
            return False
        return event not in OF_TOOLS or self._matcher is None or self._matcher.fullmatch(tool) is not None

    async def prompt_submitted(self, prompt: str) -> Decision:
        """What it says in addition is put behind the prompt, in a modified_input."""
        if not self.wants("UserPromptSubmit"):
            return Decision()
        answer = await self._ask({"prompt": prompt})
        decision = answer.decision
        if answer.context and decision.verdict != "deny":
            said = prompt if decision.modified_input is None else decision.modified_input["prompt"]
            decision = attrs.evolve(decision, modified_input={"prompt": f"{said}\n\n{answer.context}"})
        return attrs.evolve(decision, verdict="allow") if decision.verdict == "ask" else decision

    async def before_tool(self, call: ToolUse, parent: str | None = None) -> Decision:
        if not self.wants("PreToolUse", call.name):
            return Decision()
        return (await self._ask(of_call(call, parent), call.id)).decision

    async def after_tool(
        self, call: ToolUse, content: str, is_error: bool, duration_ms: int, parent: str | None = None
    ) -> str | None:
        if not self.wants("PostToolUse", call.name):
            return None
        response = {"content": content, "is_error": is_error, "duration_ms": duration_ms}
        answer = await self._ask({**of_call(call, parent), "tool_response": response}, call.id)
        denied = answer.decision.reason if answer.decision.verdict == "deny" else ""
        return "\n".join(filter(None, (denied, answer.context))) or None

    async def stopped(self, is_error: bool, duration_ms: int, result: str | None = None) -> None:
        await self._tell("Stop", {"is_error": is_error, "duration_ms": duration_ms, **_ending(result)})

    async def subagent_stopped(self, name: str, is_error: bool, result: str | None = None) -> None:
        await self._tell("SubagentStop", {"agent_type": name, "is_error": is_error, **_ending(result)})

    async def before_compact(self, trigger: Literal["auto", "manual"]) -> None:
        await self._tell("PreCompact", {"trigger": trigger, "custom_instructions": ""})

    async def waiting(self, message: str, kind: str) -> None:
        await self._tell("Notification", {"message": message, "notification_type": kind})

    async def _tell(self, event: str, fields: Mapping[str, Any]) -> None:
        if self.wants(event):
            await self._ask(fields)

    async def _ask(self, fields: Mapping[str, Any], call: str | None = None) -> Answer:
        event, started = self.hook.event, time.monotonic()
        answer = Answer(failure="the run ended before there was an answer")
        try:
            answer = read_answer(event, await self._run(fields))
        except HookFailed as failed:
            answer = Answer(without_answer(event, str(failed)), failure=str(failed))
        finally:
            self._write(
                "hook",
                {
                    "event": event,
                    "url": f"{PLUGIN}{self.hook.plugin}",
                    "call": call,
                    "decision": answer.decision.verdict,
                    "reason": answer.decision.reason,
                    "error": answer.failure or None,
                    "duration_ms": round((time.monotonic() - started) * 1000),
                },
            )
        return answer

    async def _run(self, fields: Mapping[str, Any]) -> Ended:
        """Raises HookFailed."""
        about = {"transcript_path": "", **self._about(), "hook_event_name": self.hook.event}
        body = encode({**about, **fields})
        dirs = {"CLAUDE_PLUGIN_ROOT": str(self.hook.root), "CLAUDE_PROJECT_DIR": str(self._workspace)}
        env = {**self._env, **dirs}
        argv = (find_bash(env) or "/bin/sh", "-c", self.hook.command)
        try:
            tree = self._confine.service(argv, self._workspace, env)
        except OSError as exc:
            raise HookFailed(f"it cannot be started: {exc.strerror}") from exc
        except ToolFailed as exc:  # there is no sandbox, and it has to be in one
            raise HookFailed(str(exc)) from exc
        return await _talk(tree, body, self.hook.timeout)


async def _talk(tree: Tree, body: bytes, seconds: float) -> Ended:
    """What a program answers to *body*. It has ended, with all that it started. Raises HookFailed."""
    stdin, stdout, stderr = tree.child.stdin, tree.child.stdout, tree.child.stderr
    assert stdin is not None
    assert stdout is not None
    assert stderr is not None
    said = {stdout: bytearray(), stderr: bytearray()}
    with closing(tree.child):
        try:
            with trio.move_on_after(seconds) as limit:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(_feed, stdin, body)
                    for stream, into in said.items():
                        nursery.start_soon(_collect, stream, into, nursery.cancel_scope)
                    await tree.child.wait()
                    nursery.cancel_scope.cancel()
        finally:
            with trio.CancelScope(shield=True):
                await tree.end()
        for stream, into in said.items():
            _drain(stream, into)
    if any(len(into) > LONGEST_ANSWER for into in said.values()):
        raise HookFailed(f"it said more than {LONGEST_ANSWER} bytes")
    if limit.cancelled_caught:
        raise HookFailed(f"it gave no answer within {seconds:g} s")
    code = tree.child.returncode
    return Ended(-1 if code is None else code, bytes(said[stdout]), bytes(said[stderr]))


async def _feed(stdin: FdStream, body: bytes) -> None:
    try:
        await stdin.send_all(body)
    except trio.BrokenResourceError:
        pass  # it does not want to know
    await stdin.aclose()


async def _collect(stream: FdStream, into: bytearray, enough: trio.CancelScope) -> None:
    while chunk := await stream.receive_some(CHUNK):
        into += chunk
        if len(into) > LONGEST_ANSWER:
            enough.cancel()


def _drain(stream: FdStream, into: bytearray) -> None:
    """What is left in the pipe. Whoever else holds it open does not hold us up."""
    try:
        while len(into) <= LONGEST_ANSWER and (chunk := os.read(stream.fileno(), CHUNK)):
            into += chunk
    except BlockingIOError:
        pass


def read_answer(event: str, ended: Ended) -> Answer:
    """What a program's end means. Raises HookFailed for an object that is no answer.

    {"continue"?, "stopReason"?, "decision"?: "approve" | "block" | "allow" | "deny" | "ask", "reason"?,
     "modified_input"?, "hookSpecificOutput"?: {"permissionDecision"?: "allow" | "deny" | "ask",
     "permissionDecisionReason"?, "updatedInput"?, "additionalContext"?}}
    """
    if event not in DECIDING:
        return Answer(failure=_failure(ended) if ended.exit_code != DENIED else "")
    if ended.exit_code == DENIED:
        return Answer(Decision("deny", _text(ended.stderr) or f"the {event} hook denied it"))
    if ended.exit_code:
        return Answer(failure=_failure(ended))
    if not ended.stdout.lstrip().startswith(b"{"):
        return Answer(context=_text(ended.stdout) if event == "UserPromptSubmit" else "")
    try:
        answer = parse(ended.stdout)
    except InvalidRequest as exc:
        raise HookFailed("what it printed is no JSON") from exc
    return _read(event, answer)


def _read(event: str, answer: Mapping[str, Any]) -> Answer:
    specific = answer.get("hookSpecificOutput")
    if not isinstance(specific, dict | None):
        raise HookFailed("its hookSpecificOutput is no object")
    specific = specific or {}
    verdict = specific.get("permissionDecision", answer.get("decision"))
    reason = specific.get("permissionDecisionReason", answer.get("reason"))
    context = specific.get("additionalContext") or ""
    if not isinstance(context, str):
        raise HookFailed("its additionalContext is no text")
    if answer.get("continue") is False:
        verdict, reason = "deny", answer.get("stopReason") or reason
    known = _VERDICTS.get(verdict, verdict) if isinstance(verdict, str) else verdict
    modified = specific.get("updatedInput", answer.get("modified_input"))
    decision = decision_in(event, {"decision": known, "reason": reason, "modified_input": modified})
    return Answer(decision, context[:LONGEST_ANSWER])


def _failure(ended: Ended) -> str:
    if ended.exit_code == 0:
        return ""
    how = f"exit code {ended.exit_code}" if ended.exit_code > 0 else f"signal {-ended.exit_code}"
    return f"it ended with {how}: {_text(ended.stderr)[:200]}".rstrip(": ")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace").replace("\0", "\ufffd").strip()[:LONGEST_REASON]


def _ending(result: str | None) -> dict[str, Any]:
    told = {} if result is None else {"last_assistant_message": result}
    return {"stop_hook_active": False, **told}


def _matcher(hook: PluginHook) -> re.Pattern[str] | None:
    """None: every tool. So is what is no regular expression, which is the safe side."""
    if hook.matcher in ("", "*"):
        return None
    try:
        return re.compile(hook.matcher)
    except (re.error, OverflowError, RecursionError) as exc:
        text = "the matcher of the %s hook of plugin %s is no regular expression (%s): it matches every tool"
        logger.warning(text, hook.event, hook.plugin, exc)
        return None
