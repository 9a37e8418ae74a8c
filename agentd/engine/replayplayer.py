"""What answers in a replay: a tape in the place of models, tools and hooks, and of what clients did meanwhile."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import reduce
from typing import Any

import attrs
import trio

from agentd.domain import Text, Thinking, ToolClass, ToolUse, blocks_from_json
from agentd.engine.asks import Settlement
from agentd.engine.branch import Branch
from agentd.engine.calls import Surroundings
from agentd.engine.combinedhooks import stricter
from agentd.engine.compaction import SUMMARY_CHARS
from agentd.engine.hooks import Decision as Said
from agentd.engine.hooks import HookFailed, Hooks
from agentd.engine.permissions import Decision, Opinion, Permissions, Verdict
from agentd.engine.replaydiff import Difference
from agentd.engine.replaytape import CUT_AT, HOOK_SAYS, Reply, Tape
from agentd.engine.specrunsteps import Done
from agentd.errors import ProviderFailed
from agentd.providers.assemble import INVALID_INPUT
from agentd.providers.failures import ContextOverflow
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    ModelRequest,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingSigned,
)
from agentd.providers.registry import Resolved
from agentd.store.specrun import Step
from agentd.tools.base import Tool, ToolContext, ToolOutcome


@attrs.define
class Player:
    """Where the playing stands. *beyond*: what was wanted first that the tape does not have."""

    tape: Tape
    beyond: Difference | None = None
    stop: Callable[[], None] = lambda: None
    change_mode: Callable[[str], None] = lambda mode: None

    def reached(self, pos: int) -> None:
        """Do what clients had done by then."""
        while self.tape.modes and self.tape.modes[0][0] < pos:
            self.change_mode(self.tape.modes.popleft()[1])

    async def leave(self, what: str, where: str) -> None:
        """The tape has ended here, so the job does."""
        if not self.tape.ended_outside and self.beyond is None:
            last = self.tape.records[-1].pos
            self.beyond = Difference("beyond", where, "nothing more", what, last)
        self.stop()
        await trio.sleep_forever()

    async def reply(self, branch: Branch) -> Reply:
        """The next one. Raises ProviderFailed, ContextOverflow."""
        where, wanted = branch.parent, self.tape.peek(branch.parent)
        if wanted is None:
            await self._end_of_replies(branch)
        assert wanted is not None
        if wanted.is_for_the_engine and not branch.quiet:
            raise ContextOverflow("the conversation was summed up here when it was recorded")
        if branch.quiet and not wanted.is_for_the_engine:
            await self.leave("a summary was asked for", where or "")
        self.reached(wanted.pos)
        self.tape.replies[where].popleft()
        if wanted.message is None and wanted.usage is None:
            raise ProviderFailed("there was no summary when it was recorded")
        return wanted

    async def _end_of_replies(self, branch: Branch) -> None:
        if branch.parent is not None and branch.parent.startswith("scan:") and self.tape.has_notice("SCAN_FAILED"):
            raise ProviderFailed("the scan failed when it was recorded")
        if self.tape.failure is not None:
            raise failure(*self.tape.failure)
        await self.leave("another request to the model", branch.parent or "")

    async def outcome(self, tool: Tool, context: ToolContext) -> ToolOutcome:
        finished = self.tape.finished.get(context.call)
        if finished is None:
            await self.leave(f"{tool.name} was called", context.call)
        assert finished is not None
        self.reached(finished.pos)
        content = _undecorated(blocks_from_json(finished.data["content"]))
        await trio.lowlevel.checkpoint()
        return ToolOutcome(content, finished.data["summary"], not finished.data["ok"])

    async def step(self, step: Step, patch: str, around: Surroundings, on_output: Callable[[str], object]) -> Done:
        done = self.tape.next_step()
        if done is None:
            await self.leave(f"the step {step.title!r} was carried out", step.id)
        assert done is not None
        return done


def failure(code: str, text: str) -> ProviderFailed:
    failed = ProviderFailed(text)
    failed.code = code
    return failed


def _undecorated(content: Sequence[Any]) -> tuple[Any, ...]:
    """What a tool said, without what the engine put behind it, which it does again."""
    kept = list(content)
    if kept and isinstance(kept[-1], Text) and kept[-1].text.startswith(HOOK_SAYS):
        kept.pop()
    if len(kept) > 1 and isinstance(kept[-1], Text) and kept[-1].text.startswith(CUT_AT):
        kept.pop()
        kept[-1] = Text(f"{kept[-1].text}…")  # longer than what is shown, so that it is cut again
    return tuple(kept)


@attrs.frozen
class PlayedTool:
    """Is like *tool* to everybody, and does what the tape says."""

    tool: Tool
    player: Player

    @property
    def name(self) -> str:
        return self.tool.name

    @property
    def description(self) -> str:
        return self.tool.description

    @property
    def input_schema(self) -> Mapping[str, Any]:
        return self.tool.input_schema

    @property
    def tool_class(self) -> ToolClass:
        return self.tool.tool_class

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return self.tool.subject(call_input)

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        return await self.player.outcome(self.tool, context)


@attrs.frozen
class StandIn:
    """For a tool of which only the name is known here."""

    name: str
    tool_class: ToolClass
    description: str = ""
    input_schema: Mapping[str, Any] = attrs.field(factory=dict)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        raise AssertionError("it is played")


@attrs.frozen
class PlayedModel:
    """The service that gave one reply."""

    name: str
    reply: Reply
    failure: ProviderFailed

    def models(self) -> tuple[str, ...]:
        return ()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        yield self._events()

    async def _events(self) -> AsyncGenerator[StreamEvent, None]:
        await trio.lowlevel.checkpoint()
        reply = self.reply
        summary = "." * SUMMARY_CHARS if reply.summary is None else reply.summary  # unused where none was kept
        content = reply.message.content if reply.message is not None else (Text(summary),)
        for block in content:
            for event in _events_of(block):
                yield event
        if reply.usage is None:
            raise self.failure
        yield Stopped(reply.usage.get("stop", "end_turn"), reply.counts)


def _events_of(block: Any) -> Sequence[StreamEvent]:
    match block:
        case Text(text):
            return (TextDelta(text),)
        case Thinking(thinking, signature):
            signed = (ThinkingSigned(signature),) if signature is not None else ()
            return (ThinkingDelta(thinking), *signed)
        case ToolUse(call, name, given):
            return (CallStarted(call, name), CallDelta(call, _as_sent(given)))
    return ()


def _as_sent(given: Mapping[str, Any]) -> str:
    marked = given.get(INVALID_INPUT)
    return str(marked["text"]) if isinstance(marked, dict) else json.dumps(dict(given))


@attrs.frozen
class PlayedResolved(Resolved):
    """*price*: what the reply cost when it was recorded."""

    price: float | None = None

    def cost(self, usage: object) -> float | None:
        return self.price


@attrs.frozen
class RecordedPermissions(Permissions):
    """Decides as was decided: the rules were in a file that the recording does not have."""

    tape: Tape = attrs.field(kw_only=True)

    def decide(self, tool: Tool, call: ToolUse, opinion: Opinion = None) -> Decision:
        if call.id in self.tape.asked:
            return Decision(Verdict.ASK)
        if call.id in self.tape.started:
            return Decision(Verdict.RUN)
        if (finished := self.tape.finished.get(call.id)) is None:
            return super().decide(tool, call, opinion)
        reason = "".join(block.get("text", "") for block in finished.data["content"])
        return Decision(Verdict.REFUSE, reason)


@attrs.frozen
class RecordedPrompter:
    """In the place of an MCP server's tool that decided about calls: as it did."""

    tape: Tape

    async def decide(self, call: ToolUse, context: ToolContext) -> Settlement | None:
        await trio.lowlevel.checkpoint()
        if call.id in self.tape.asked or call.id not in self.tape.finished:
            return None
        if (started := self.tape.started.get(call.id)) is not None:
            return Settlement("allow", "", "hook", updated_input=started.data["input"])
        told = "".join(block.get("text", "") for block in self.tape.finished[call.id].data["content"])
        reason = re.search(r"permission was refused \((.*)\)", told, re.DOTALL)
        return Settlement("deny", reason[1] if reason else told, "hook")


class ReplayHooks(Hooks):
    """Webhooks as the engine asks them, and behind them what programs of plugins decided."""

    player: Player

    def wants(self, event: str, tool: str = "") -> bool:
        return super().wants(event, tool) or self.player.tape.wants(event, tool)

    async def after_tool(
        self, call: ToolUse, content: str, is_error: bool, duration_ms: int, parent: str | None = None
    ) -> str | None:
        await super().after_tool(call, content, is_error, duration_ms, parent)
        return self.player.tape.feedback(call.id)

    async def _decide(self, event: str, fields: Mapping[str, Any], call: str | None = None) -> Said:
        return reduce(stricter, self.player.tape.programs(event, call), await super()._decide(event, fields, call))

    async def _deliver(self, event: str, hook: object, fields: Mapping[str, Any]) -> Said:
        await trio.lowlevel.checkpoint()
        told = self.player.tape.hook(event, fields.get("tool_use_id"))
        if told is None:
            return Said()
        said, error = told
        if error:
            raise HookFailed(error)
        return said
