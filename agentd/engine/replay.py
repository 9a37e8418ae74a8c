"""A job once more: the engine does it as it is now, and everything outside answers as the recording says.

Models, tools, hooks and people are played from the tape; the turn loop, the prompts, the tools on offer, permissions,
compaction and the conversations below the job's are real. No connection is made, no command is run, and nothing is
written but below the scratch directory. What is not in a recording is made up, or not compared: replaydiff.py says so.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import (
    Agent,
    Image,
    JobSpec,
    Message,
    Mode,
    Record,
    Text,
    ToolClass,
    ToolUse,
    blocks_from_json,
)
from agentd.engine.asks import Asks, Subject
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.engine.callers import Callers
from agentd.engine.confining import OFF, Confinement
from agentd.engine.conversation import Ending, Material
from agentd.engine.customs import GENERAL_NAME, Customs
from agentd.engine.job import Bench, JobRun, read_spec
from agentd.engine.modes import Recipe
from agentd.engine.permissions import Permissions
from agentd.engine.questions import Asking
from agentd.engine.replaydiff import Report, compare
from agentd.engine.replayplayer import (
    PlayedModel,
    PlayedResolved,
    PlayedTool,
    Player,
    RecordedPermissions,
    RecordedPrompter,
    ReplayHooks,
    StandIn,
    failure,
)
from agentd.engine.replaytape import Reply, Tape
from agentd.engine.replayzip import MALFORMED, Recording, read_recording
from agentd.engine.session import Session, Sessions
from agentd.engine.skilltools import COMMAND_TOOL, SKILL_TOOL
from agentd.engine.subagents import GENERAL
from agentd.engine.turn import Turn
from agentd.engine.unpack import refused
from agentd.engine.work import Work
from agentd.errors import AgentdError, ModelUnavailable, ProviderFailed
from agentd.providers.protocol import (
    ModelInfo,
    ToolSchema,
)
from agentd.providers.registry import Registry, Resolved, Role
from agentd.store.fold import AskView
from agentd.store.generations import begin_generation
from agentd.store.home import Home, SessionDir, make_home
from agentd.store.lines import encode_line
from agentd.tools.base import Tool, ToolState
from agentd.tools.registry import built_in
from agentd.workspace import specfile

ON_DISK = (Mode.CHAT, Mode.SPEC_RUN, Mode.SPEC_DRAFT)  # modes whose engine itself touches the workspace
OF_SERVERS, OF_FILES = "mcp__", (SKILL_TOOL, COMMAND_TOOL)  # tools that a recording has no more of than their names
UNKNOWN_AGENT = Agent("", "")


async def replay(path: Path, scratch: Path) -> Report:
    """Play the zip at *path*; *scratch*: an empty directory for all that is written. Raises InvalidRequest where the
    zip cannot be used, StoreFailed."""
    home = make_home(scratch / "data")
    directory = home.create_session("replay", scratch, "replay")
    recording = await trio.to_thread.run_sync(read_recording, path, directory.blobs)
    tape, spec, workspace = await trio.to_thread.run_sync(_understood, recording, scratch)
    await trio.to_thread.run_sync(_seed, directory, recording)
    player = Player(tape)
    async with trio.open_nursery() as nursery:
        session = await _opened(home, directory, nursery)
        run = ReplayRun(
            _bench(workspace),
            session,
            ReplayAsks(session),
            session.state.jobs[recording.job],
            _tame(spec, tape, workspace),
        )
        run.play(player)
        await run.run()
        played = [record for record in session.view.records() if record.job == recording.job]
        nursery.cancel_scope.cancel()
    return compare(recording, spec, played, player.beyond)


def _understood(recording: Recording, scratch: Path) -> tuple[Tape, JobSpec, Path]:
    """The recording as a tape, its spec, and a workspace for it, made if need be. Raises InvalidRequest for one that no
    agentd has made."""
    spec = read_spec(recording.created.data["spec"])
    try:
        tape, workspace = Tape.of(recording.own), recording.workspace
        compare(recording, spec, recording.own)
        if spec.mode in ON_DISK:
            workspace = scratch / "workspace"
            _furnish(workspace, spec, tape)
        _tame(spec, tape, workspace)
    except MALFORMED as exc:
        raise refused("its records are not well-formed") from exc
    if not workspace.is_absolute() or "\0" in str(workspace):
        raise refused("its workspace is no path")
    return tape, spec, workspace


async def _opened(home: Home, directory: SessionDir, nursery: trio.Nursery) -> Session:
    sessions = Sessions(home, nursery)
    sessions.load([directory])
    (session,) = sessions
    await sessions.open(session)
    return session


def _seed(directory: SessionDir, recording: Recording) -> None:
    """Make the log what it was when the job was accepted."""
    records = [*recording.before, recording.created]
    for record in recording.own[1:]:
        if record.type != "message":
            break
        records.append(record)
    numbered = (attrs.evolve(record, pos=pos) for pos, record in enumerate(records, 1))
    directory.log_path.write_bytes(b"".join(map(encode_line, numbered)))
    begin_generation(directory.log_path, 0)


def _furnish(workspace: Path, spec: JobSpec, tape: Tape) -> None:
    """What the engine is to find in the workspace, as far as the recording tells."""
    workspace.mkdir()
    planned = [record.data for record in tape.records if record.type == "phase" and record.data.get("details")]
    commands = {step["command"]: data["name"] for data in planned for step in data["details"].get("steps", ())}
    wanted = {"test": commands.get("make test") == "verify", "diagrams": "make diagrams" in commands}
    targets = [target for target, there in wanted.items() if there]
    (workspace / "Makefile").write_text("".join(f"{target}:\n" for target in targets))
    if spec.draft is not None and tape.end is not None and (tape.end["error"] or {}).get("code") == specfile.EXISTS:
        path = specfile.path_of(workspace, "spec")
        path.parent.mkdir(parents=True)
        path.touch()


def _tame(spec: JobSpec, tape: Tape, workspace: Path) -> JobSpec:
    """Without what would have the engine look at this machine, or reach another one."""
    changed = [record.data["content"] for record in tape.records if record.type == "message.changed"]
    loaded = [block for content in changed for block in blocks_from_json(content) if isinstance(block, Image)]
    images = tuple(attrs.evolve(part, url=None) for part in spec.images)
    if loaded:
        images = tuple(attrs.evolve(part, sha256=image.sha256) for part, image in zip(images, loaded, strict=False))
    inside = str(workspace / "spec.md")
    return attrs.evolve(
        spec,
        images=images,
        limits=attrs.evolve(spec.limits, seconds=None),
        settings=None,
        sources=(),
        plugins=(),
        servers={},
        output_style=None,
        checkpoints=False,
        env={},
        run=spec.run and attrs.evolve(spec.run, workspace=str(workspace), spec="spec.md"),
        chat=spec.chat and attrs.evolve(spec.chat, spec=inside if spec.chat.spec is not None else None),
        draft=spec.draft and attrs.evolve(spec.draft, name="spec", overwrite=spec.draft.overwrite),
    )


def _bench(workspace: Path) -> Bench:
    return Bench(
        workspace=workspace,
        registry=Registry(),
        tools={tool.name: tool for tool in built_in()},
        off_limits=(),
        state=ToolState(workspace),
        read_only=False,
        snapshots=None,
    )


# --- The engine's parts that meet the outside ---------------------------------------------------------------------


@attrs.define
class ReplayCaller(Caller):
    player: Player = attrs.field(kw_only=True)
    branch: Branch = attrs.field(kw_only=True)

    def writing_to(self, write: Callable[..., object]) -> ReplayCaller:
        caller = super().writing_to(write)
        assert isinstance(caller, ReplayCaller)
        caller.branch = write.__self__  # type: ignore[attr-defined]  # write is that of a branch
        caller._look_ahead()
        return caller

    def _look_ahead(self) -> None:
        """Know how much the model took that is asked next."""
        if (reply := self.player.tape.peek(self.branch.parent)) is not None:
            info = ModelInfo(context_tokens=reply.context, vision=True)
            self.model = attrs.evolve(self.model, info=info)

    async def take_turn(
        self,
        system: str,
        messages: tuple[Message, ...],
        tools: tuple[ToolSchema, ...],
        taken: set[str] | None = None,
        said: tuple[Message, ...] | None = None,
    ) -> tuple[Turn, float | None]:
        reply = await self.player.reply(self.branch)
        usage = reply.usage or {}
        failed = failure(*(self.player.tape.failure or (ProviderFailed.code, "the reply broke off")))
        service = PlayedModel(usage.get("provider", self.model.provider.name), reply, failed)
        info = ModelInfo(context_tokens=reply.context, vision=True)
        model = usage.get("model", self.model.model)
        self.model = PlayedResolved(model, service, model, info, usage.get("cost"))
        turn = await super().take_turn(system, messages, tools, taken, said)
        self._look_ahead()
        return turn


class ReplayAsks(Asks):
    """People who answer what they answered, to the same questions."""

    player: Player

    async def _open(self, branch: Branch, call: ToolUse, subject: Subject, seconds: float | None) -> AskView:
        ask = await super()._open(branch, call, subject, seconds)
        answer = self.player.tape.settlement(call, subject.kind)
        if answer is None:
            await self.player.leave(f"it was asked: {subject.question}", call.id)
        else:
            self.player.reached(answer[0])
            if ask.settled is None:
                await self.settle(ask.id, answer[1])
        return ask


@attrs.frozen
class ReplayCallers(Callers):
    """*player*: gives the replies, whatever model they were of."""

    player: Player = attrs.field(kw_only=True)

    async def _resolve(self, role: Role, name: str | None) -> Resolved:
        await trio.lowlevel.checkpoint()
        tape = self.player.tape
        if tape.begin is None or (role == "scan" and tape.has_notice("SCAN_FAILED") and not _scanned(tape.records)):
            error = (tape.end or {}).get("error") or {}
            raise _Unavailable(error.get("code", ""), error.get("message", ""))
        service = PlayedModel(tape.begin["provider"], Reply(0, None, None), ProviderFailed())
        return Resolved(tape.begin["model"], service, tape.begin["resolved_model"], ModelInfo(vision=True))

    async def _caller(self, model: Resolved) -> Caller:
        caller = await super()._caller(model)
        return ReplayCaller(**_fields(caller, Caller), player=self.player, branch=self.branch)


@attrs.define
class ReplayWork(Work):
    player: Player = attrs.field(kw_only=True)

    async def run(self) -> Ending:
        if self.spec.mode is Mode.SPEC_RUN:
            from agentd.engine.specrun import run_spec

            return await run_spec(self, self.player.step)
        return await super().run()

    @property
    def instructions(self) -> Mapping[str, str]:
        return self.player.tape.instructions

    def _offered(self, recipe: Recipe, own_tools: Sequence[Tool]) -> Mapping[str, Tool]:
        tools = dict(super()._offered(recipe, own_tools))
        tools |= {name: StandIn(name, self._class_of(name)) for name in self._foreign(recipe) if name not in tools}
        return {name: tool if _is_the_engines(tool) else PlayedTool(tool, self.player) for name, tool in tools.items()}

    def _foreign(self, recipe: Recipe) -> Iterator[str]:
        """Names of tools that came from this machine's files and servers when the job was recorded."""
        tape = self.player.tape
        called = [record.data["name"] for record in tape.started.values()]
        for name in dict.fromkeys([*(tape.begin or {}).get("tools", ()), *called]):
            if recipe.servers if name.startswith(OF_SERVERS) else name in OF_FILES and self.spec.mode is Mode.QUERY:
                yield name

    def _class_of(self, name: str) -> ToolClass:
        """Of a tool that only the recording knows: told by whether its calls ran without being asked for."""
        calls = [call for call, record in self.player.tape.finished.items() if record.data["name"] == name]
        return ToolClass.MCP if any(call in self.player.tape.asked for call in calls) else ToolClass.MCP_READ


def _is_the_engines(tool: Tool) -> bool:
    """Whether what its calls do is in the engine's log alone: conversations, lists, questions."""
    return tool.tool_class is ToolClass.AGENT or isinstance(tool, Asking)


@attrs.define
class ReplayRun(JobRun):
    """A job whose outside is a tape."""

    _player: Player = attrs.field(init=False)

    def play(self, player: Player) -> None:
        self._player = player
        player.stop = self.cancel
        player.change_mode = lambda mode: self._branch.append("session.changed", permission_mode=mode)
        assert isinstance(self.asks, ReplayAsks)
        self.asks.player = player
        self._hooks = self._webhooks = hooks = ReplayHooks(
            self.spec.hooks, self._about, lambda k, data: self._branch.append(k, **data)
        )
        hooks.player = player

    def _models(self) -> Callers:
        own = _fields(super()._models(), Callers)
        return ReplayCallers(**own, player=self._player)

    async def _read_customs(self) -> Customs:
        """Of what was on disk, the names of subagents."""
        await trio.lowlevel.checkpoint()
        named = dict.fromkeys((self._player.tape.begin or {}).get("agents", ()), UNKNOWN_AGENT)
        general = {GENERAL_NAME: GENERAL} if named or self.spec.agents or self.spec.mode is Mode.QUERY else {}
        return Customs(agents={**named, **general, **self.spec.agents})

    async def _expanded(self, work: Work, prompt: str) -> str:
        await trio.lowlevel.checkpoint()
        return self._player.tape.prompt or prompt

    async def _material(self, callers: Mapping[Role, Caller]) -> Material:
        length = 0 if "scan" in callers and self.spec.pre_scan else self._player.tape.material
        return Material((Text("." * length),) if length else (), self.job.prompt)

    @asynccontextmanager
    async def _confined(self, directories: Sequence[Path]) -> AsyncIterator[Confinement]:
        """As the recording had it: nothing runs here that a sandbox would be for."""
        begin, asked = self._player.tape.begin or {}, self.spec.sandbox
        level = begin.get("sandbox", OFF)
        beside = None if self.spec.mode is Mode.QUERY and level == OFF else ()
        everywhere = level == OFF or (asked is not None and asked.network and not asked.hosts)
        hosts = None if begin.get("network", everywhere) else ()
        yield Confinement(self.bench.confine, level, beside, hosts)

    async def _bring_together(self, *given: Any) -> Work:
        work = await super()._bring_together(*given)
        tape, spec = self._player.tape, self.job.spec
        if spec.get("settings") or spec.get("sources"):
            own = _fields(work.around.permissions, Permissions)
            work.around = attrs.evolve(work.around, permissions=RecordedPermissions(**own, tape=tape))
        if self.spec.tools.prompt_tool is not None:
            work.around = attrs.evolve(work.around, prompter=RecordedPrompter(tape))
        return ReplayWork(**_fields(work, Work), player=self._player)


def _fields(value: Any, kind: type[Any]) -> dict[str, Any]:
    return {str(field.alias): getattr(value, field.name) for field in attrs.fields(kind)}


class _Unavailable(ModelUnavailable):
    def __init__(self, code: str, text: str) -> None:
        AgentdError.__init__(self, text)
        self.code = code or self.code


def _scanned(records: Sequence[Record]) -> bool:
    return any(record.parent is not None and record.parent.startswith("scan:") for record in records)
