"""Answering a model's tool calls: what may run, in which order, what the model is told. One result a call, always."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import attrs
import trio

from agentd.domain import Text, ToolClass, ToolUse, block_to_json
from agentd.engine.asks import Asks, Settlement, Subject
from agentd.engine.branch import Branch
from agentd.engine.checkpoints import Checkpoints
from agentd.engine.combinedhooks import HookSet
from agentd.engine.permissions import ALLOW_FLAGS, Opinion, Permissions, Verdict
from agentd.engine.questions import Asking
from agentd.errors import AgentdError, ProviderFailed, ToolFailed
from agentd.providers.assemble import unreadable_input
from agentd.sandbox.contain import GROUP, Containment
from agentd.store.blobs import Blobs
from agentd.store.fold import AGENT_TOOL
from agentd.tools.background import Background
from agentd.tools.base import Tool, ToolContext, ToolOutcome, ToolState
from agentd.workspace.symbols.query import Symbols

TOOL_SECONDS = 60.0
# Classes of tools that keep their own time.
OWN_TIME = frozenset({ToolClass.EXEC, ToolClass.AGENT, ToolClass.MCP, ToolClass.MCP_READ})
ACTS = frozenset({ToolClass.EDIT, ToolClass.EXEC, ToolClass.MCP})  # classes of tools that do something to the world
AT_ONCE = 8


class Prompter(Protocol):
    """Decides about calls in a person's place."""

    async def decide(self, call: ToolUse, context: ToolContext) -> Settlement | None:
        """None: a person is to be asked after all."""


@attrs.frozen
class Surroundings:
    """What calls of one job act in."""

    workspace: Path
    state: ToolState
    env: Mapping[str, str]
    off_limits: tuple[Path, ...]
    blobs: Blobs
    background: Background
    permissions: Permissions
    hooks: HookSet
    checkpoints: Checkpoints | None = None  # None: what files were is not kept
    confine: Containment = GROUP  # how commands are kept together
    symbols: Symbols | None = None
    beside: tuple[Path, ...] | None = ()  # what file tools reach beside the workspace; None: all there is
    acted: list[str] = attrs.field(factory=list)  # names of the tools that did something to the world, call by call
    prompter: Prompter | None = None  # asked where a person would be, about permissions

    def apart(self) -> Surroundings:
        """For a subagent: where its commands begin is its own business."""
        state = ToolState(self.state.cwd)
        return attrs.evolve(self, state=state, permissions=attrs.evolve(self.permissions, state=state))


@attrs.frozen
class Calls:
    """Runs the tool calls of one job. *tools* are those on offer, by name."""

    branch: Branch
    tools: Mapping[str, Tool]
    asks: Asks
    around: Surroundings

    async def answer(self, calls: Sequence[ToolUse]) -> None:
        """Give every call its result: reads and subagents beside each other, the rest in order and alone."""
        left = list(calls)
        while left:
            some = self._leading_some(left)
            if some:
                del left[: len(some)]
                await self._answer_at_once(some)
            else:
                # No other call is in flight here: an ask may be opened and outlive this process.
                await self._answer_one(left.pop(0))

    def _leading_some(self, calls: Sequence[ToolUse]) -> list[ToolUse]:
        return list(takewhile(self._runs_beside_others, calls))

    def _runs_beside_others(self, call: ToolUse) -> bool:
        """Whether it can: there is nobody to be asked about it."""
        tool = self.tools.get(call.name)
        if tool is None or self.around.hooks.wants("PreToolUse", tool.name):
            return False
        if tool.tool_class is not ToolClass.READ and tool.name != AGENT_TOOL:
            return False
        return unreadable_input(call) is not None or self._permissions.decide(tool, call).verdict is Verdict.RUN

    async def _answer_at_once(self, calls: Sequence[ToolUse]) -> None:
        limit = trio.CapacityLimiter(AT_ONCE)

        async def run(tool: Tool, call: ToolUse) -> None:
            async with limit:
                await self._run(tool, call)

        admitted = [(self.tools[call.name], call) for call in calls if self._admits(call)]
        for tool, call in admitted:
            self._start(tool, call)  # in the order of the calls, which a nursery does not keep
        async with trio.open_nursery() as nursery:
            for tool, call in admitted:
                nursery.start_soon(run, tool, call)

    async def _answer_one(self, call: ToolUse) -> None:
        if not self._admits(call):
            return
        tool = self.tools[call.name]
        permitted = await self._permitted(tool, call)
        if isinstance(permitted, str):
            self._refuse(call, permitted)
        elif isinstance(tool, Asking):
            await self._ask_person(tool, permitted)
        else:
            self._start(tool, permitted)
            await self._run(tool, permitted)

    def _admits(self, call: ToolUse) -> bool:
        """Whether the call can be run at all; if not, it has its result."""
        if call.name not in self.tools:
            self._refuse(call, f"There is no tool {call.name} here. There are: {', '.join(self.tools)}.")
        elif (problem := unreadable_input(call)) is not None:
            self._refuse(call, f"The input of this {call.name} call is not a JSON object: {problem}. Send it again.")
        else:
            return True
        return False

    def _start(self, tool: Tool, call: ToolUse) -> None:
        about = tool.subject(call.input)
        self.branch.append("tool.started", call=call.id, name=call.name, input=dict(call.input), subject=about)

    @property
    def _permissions(self) -> Permissions:
        return self.around.permissions

    async def _permitted(self, tool: Tool, call: ToolUse) -> ToolUse | str:
        """The call as it may run, with the input that a hook or a person gave it; or why it may not."""
        opinion: Opinion = None
        asked = self.asks.about(self.branch.job.id, call)
        if asked is not None:  # an earlier executor asked: what the hook said is in what it asked about
            call, opinion = attrs.evolve(call, input=asked.data["input"]), "ask"
        elif self.around.hooks.wants("PreToolUse", tool.name):
            said = await self.around.hooks.before_tool(call, self.branch.parent)
            if said.verdict == "deny":
                return f"{tool.name} was not executed: {said.reason or 'the PreToolUse hook denies it'}"
            if said.modified_input is not None:
                call = attrs.evolve(call, input=said.modified_input)
            opinion = said.verdict
        if isinstance(tool, Asking):
            return call
        decision = self._permissions.decide(tool, call, opinion)
        if decision.verdict is Verdict.ASK:
            return await self._ask_permission(tool, call, opinion)
        return decision.reason if decision.verdict is Verdict.REFUSE else call

    async def _ask_permission(self, tool: Tool, call: ToolUse, opinion: Opinion) -> ToolUse | str:
        about = Subject("permission", f"Allow {call.name}: {tool.subject(call.input)}?", ("allow", "deny", "always"))

        def reconsider() -> Settlement | None:
            decision = self._permissions.decide(tool, call, opinion)
            if decision.verdict is Verdict.ASK:
                return None
            allowed = decision.verdict is Verdict.RUN
            reason = f"the permission mode is {self._permissions.mode} now"
            return Settlement("allow" if allowed else "deny", reason, "mode")

        prompter = self.around.prompter
        settled = await prompter.decide(call, self._context(call, [])) if prompter is not None else None
        settled = settled or await self._ask(call, about, reconsider)
        if not settled.allowed:
            hint = f" What would allow it: {ALLOW_FLAGS[tool.tool_class]}." if self._nobody_is_there(tool) else ""
            why = settled.reason or "no reason given"
            return f"{call.name} was not executed: permission was refused ({why}).{hint}"
        return call if settled.updated_input is None else attrs.evolve(call, input=settled.updated_input)

    def _nobody_is_there(self, tool: Tool) -> bool:
        return self._permissions.policy.ask_seconds == 0 and tool.tool_class in ALLOW_FLAGS

    async def _ask_person(self, tool: Asking, call: ToolUse) -> None:
        """A call that is a question. It begins when it has been answered."""
        try:
            about = tool.asked(call.input)
        except ToolFailed as exc:
            self._refuse(call, str(exc))
            return
        settled = await self._ask(call, about)
        self._start(self.tools[call.name], call)
        self._finish(call, tool.answered(call.input, settled), 0, None)

    async def _ask(
        self, call: ToolUse, about: Subject, reconsider: Callable[[], Settlement | None] = lambda: None
    ) -> Settlement:
        seconds = self._permissions.policy.ask_seconds
        async with trio.open_nursery() as nursery:
            if seconds != 0 and self.around.hooks.wants("Notification"):
                nursery.start_soon(self.around.hooks.waiting, about.question, about.kind)
            settled = await self.asks.ask(self.branch, call, about, seconds, reconsider)
            nursery.cancel_scope.cancel()
        return settled

    async def _run(self, tool: Tool, call: ToolUse) -> None:
        started = time.monotonic()
        artifacts: list[str] = []
        if tool.tool_class in ACTS and self.around.checkpoints is not None:
            await self.around.checkpoints.before(tool.name, call.input, self.around.beside)
        outcome = await self._outcome(tool, call, self._context(call, artifacts))
        if tool.tool_class in ACTS and not outcome.is_error:
            self.around.acted.append(tool.name)
        duration_ms = round((time.monotonic() - started) * 1000)
        outcome = await self._with_feedback(call, outcome, duration_ms)
        self._finish(call, outcome, duration_ms, artifacts[0] if artifacts else None)

    async def _with_feedback(self, call: ToolUse, outcome: ToolOutcome, duration_ms: int) -> ToolOutcome:
        """What the model is told, with what the PostToolUse hook has to say of it."""
        if not self.around.hooks.wants("PostToolUse", call.name):
            return outcome
        told = "".join(part.text for part in outcome.content if isinstance(part, Text))
        said = await self.around.hooks.after_tool(call, told, outcome.is_error, duration_ms, self.branch.parent)
        if said is None:
            return outcome
        return attrs.evolve(outcome, content=(*outcome.content, Text(f"\n[the PostToolUse hook says: {said}]")))

    def _context(self, call: ToolUse, artifacts: list[str]) -> ToolContext:
        """*artifacts*: where the names of what the call keeps go."""
        around = self.around

        def on_output(text: str) -> None:
            self.branch.append("tool.output", call=call.id, text=text)

        def keep(path: Path) -> str:
            sha256, size = around.blobs.put_file(path), path.stat().st_size
            kind = "text/plain; charset=utf-8"
            self.branch.append("artifact", sha256=sha256, size=size, media_type=kind, call=call.id)
            artifacts.append(sha256)
            return str(around.blobs.path(sha256))

        return ToolContext(
            around.workspace,
            around.state,
            around.env,
            around.off_limits,
            on_output,
            keep,
            around.background,
            around.symbols,
            call.id,
            around.beside,
            around.confine,
        )

    async def _outcome(self, tool: Tool, call: ToolUse, context: ToolContext) -> ToolOutcome:
        seconds = float("inf") if tool.tool_class in OWN_TIME else TOOL_SECONDS
        try:
            with trio.fail_after(seconds):
                return await tool.run(call.input, context)
        except ProviderFailed:  # of a subagent's model: the job fails on it as on its own
            raise
        except AgentdError as exc:
            return ToolOutcome((Text(str(exc)),), _first_line(str(exc)), is_error=True)
        except OSError as exc:
            # The file system said no in a way the tool did not foresee: the model can cope, the job goes on.
            text = f"{tool.name} failed: {exc.strerror or exc}"
            return ToolOutcome((Text(text),), text, is_error=True)
        except trio.TooSlowError:
            text = f"{tool.name} took longer than {seconds:g} s and was stopped"
            return ToolOutcome((Text(text),), text, is_error=True)

    def _refuse(self, call: ToolUse, reason: str) -> None:
        self._finish(call, ToolOutcome((Text(reason),), _first_line(reason), is_error=True), 0, None)

    def _finish(self, call: ToolUse, outcome: ToolOutcome, duration_ms: int, artifact: str | None) -> None:
        self.branch.append(
            "tool.finished",
            call=call.id,
            name=call.name,
            subject=self.tools[call.name].subject(call.input) if call.name in self.tools else "",
            ok=not outcome.is_error,
            summary=outcome.summary,
            duration_ms=duration_ms,
            content=[block_to_json(block) for block in outcome.content],
            artifact=artifact,
        )


def _first_line(text: str) -> str:
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= 120 else line[:119] + "…"
