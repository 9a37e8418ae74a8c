"""An engine over a scripted model and small tools, so that a test reads like a conversation."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import JobSpec, Mode, PermissionMode, Record, Site, Text, ToolClass, ToolPolicy
from agentd.engine.engine import Engine, open_engine
from agentd.engine.job import Bench
from agentd.engine.session import Session, Sessions
from agentd.errors import ToolFailed
from agentd.providers.policy import Policy
from agentd.providers.protocol import Provider
from agentd.providers.registry import Registry
from agentd.providers.scripted import Reply, ScriptedProvider
from agentd.sandbox.contain import GROUP, Containment
from agentd.store.fold import JobView
from agentd.store.home import Home
from agentd.tools.base import Tool, ToolContext, ToolOutcome, ToolState
from agentd.workspace.snapshot import Snapshots
from agentd.workspace.symbols.query import Symbols


@attrs.frozen
class FakeTool:
    """A tool that does what a test's function does."""

    name: str
    tool_class: ToolClass
    work: Callable[[Mapping[str, Any], ToolContext], Awaitable[str]]
    description: str = "for tests"
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: {"type": "object"})

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return str(call_input.get("about", ""))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        return ToolOutcome((Text(await self.work(call_input, context)),), "done")


async def _echo(call_input: Mapping[str, Any], context: ToolContext) -> str:
    await trio.lowlevel.checkpoint()
    return f"saw {call_input.get('about')}"


async def _fail(call_input: Mapping[str, Any], context: ToolContext) -> str:
    await trio.lowlevel.checkpoint()
    raise ToolFailed("that did not work")


async def _hang(call_input: Mapping[str, Any], context: ToolContext) -> str:
    context.on_output("hanging\n")
    await trio.sleep_forever()


TOOLS = (
    FakeTool("Read", ToolClass.READ, _echo),
    FakeTool("Glob", ToolClass.READ, _fail),
    FakeTool("Grep", ToolClass.READ, _echo),
    FakeTool("LS", ToolClass.READ, _hang),
    FakeTool("NotebookRead", ToolClass.READ, _echo),
    FakeTool("Write", ToolClass.EDIT, _echo),
    FakeTool("Bash", ToolClass.EXEC, _echo),
    FakeTool("Sleep", ToolClass.EXEC, _hang),
)


@attrs.define
class Workshop:
    """One engine over one home; a test opens it, more than once where it is about restarts."""

    home: Home
    workspace: Path
    model: ScriptedProvider
    read_only: bool = False
    tools: tuple[Tool, ...] = TOOLS
    services: Sequence[Provider] = ()  # there beside it, and before it
    git: bool = False  # whether the workspace is a repository: then its changes are looked at
    policy: Policy = attrs.field(factory=Policy)
    symbols: Symbols | None = None
    confine: Containment = GROUP
    site: Site = attrs.field(factory=Site)

    def says(self, *replies: Reply | str) -> None:
        """The model's next replies."""
        self.model = ScriptedProvider(replies)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Engine]:
        registry = Registry([*self.services, self.model])
        tools = {tool.name: tool for tool in self.tools}
        bench = Bench(
            workspace=self.workspace,
            registry=registry,
            tools=tools,
            off_limits=(self.home.root,),
            state=ToolState(self.workspace),
            read_only=self.read_only,
            snapshots=Snapshots(self.workspace, self.home.root / "objects") if self.git else None,
            policy=self.policy,
            symbols=self.symbols,
            confine=self.confine,
            site=self.site,
        )
        async with trio.open_nursery() as nursery:
            sessions = Sessions(self.home, nursery)
            sessions.load(self.home.sessions())
            async with open_engine(bench, sessions) as engine:
                yield engine
            nursery.cancel_scope.cancel()

    async def do(self, **fields: Any) -> tuple[JobView, list[Record]]:
        """Run one job to its end: how it ended, and its records."""
        async with self.open() as engine:
            accepted = await engine.accept(spec(**fields))
            await ended(accepted.session, accepted.job)
            return accepted.job, list(accepted.session.view.records())


def spec(prompt: str = "do it", mode: Mode = Mode.CODE, **fields: Any) -> JobSpec:
    fields.setdefault("tools", ToolPolicy(permission_mode=PermissionMode.BYPASS))
    return JobSpec(mode=mode, prompt=prompt, **fields)


async def ended(session: Session, job: JobView, seconds: float = 10) -> None:
    await until(session, lambda: job.state.terminal, seconds)


async def until(session: Session, holds: Callable[[], bool], seconds: float = 10) -> None:
    """Returns at the first record after which *holds*; *seconds* may pass without any."""
    while not holds():
        changed = trio.Event()
        unsubscribe = session.subscribe(changed.set)
        try:
            with trio.fail_after(seconds):
                await changed.wait()
        finally:
            unsubscribe()


def only(records: Iterable[Record], kind: str) -> list[dict[str, Any]]:
    """The data of those of one type."""
    return [record.data for record in records if record.type == kind]


def notices(records: Iterable[Record]) -> list[str]:
    """Their codes."""
    return [data["code"] for data in only(records, "notice")]
