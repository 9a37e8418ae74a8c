"""Runs: made, found, approved, cancelled. What is known of each is a fold of its log. Contract: runs-and-chat.md, 5."""

from __future__ import annotations

import logging
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.daemon.accepting import accepted, failed
from agentd.daemon.asks import Answer
from agentd.daemon.tail import Tail
from agentd.domain import Entry, JobSpec, Mode, PermissionMode, RunSpec, ToolPolicy
from agentd.errors import AgentdError, AskNotFound, AskSettled, InvalidRequest, ProviderFailed, SessionNotFound
from agentd.faces.runs.answers import NotFound, Refused
from agentd.faces.runs.base import RUNS, Base, Choice, id_of, may_see
from agentd.faces.runs.dialect import run_of
from agentd.faces.runs.queue import RunQueue
from agentd.faces.runs.requests import place_of
from agentd.store.home import SessionDir
from agentd.store.specrun import RunState
from agentd.store.summary import SessionRow
from agentd.store.tables import Found
from agentd.store.view import LogReader
from agentd.wire.messages import Request, to_json

KEPT_FOLDS = 8192  # of runs that somebody has asked for
NO_TOOLS = ToolPolicy(permission_mode=PermissionMode.BYPASS, ask_seconds=None)  # its gates are the steps' own
logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class _Known:
    """A fold, and the position of the last record that it knows. *tail* None: of a run that is over."""

    state: RunState
    pos: int = 0
    tail: Tail | None = None
    cuts: int = 0
    shown: bytes = b""  # as JSON, once it is over


@attrs.define(eq=False)
class Runs:
    """Made by open_runs()."""

    base: Base
    queue: RunQueue
    _known: OrderedDict[str, _Known] = attrs.field(factory=OrderedDict)  # by session

    # --- Making ---------------------------------------------------------------------------------------------------

    async def create(self, request: Request, workspace: str, spec: str) -> str:
        """A run that is on disk, and in line to be carried out; its id. Paths as they were given. Raises Forbidden,
        StoreFailed."""
        place = await trio.to_thread.run_sync(place_of, workspace)
        request.principal.check_root(str(place))
        asked = RunSpec(workspace, spec, self.base.settings.verify_commands)
        entries = await self._entries(asked)
        made: list[SessionDir] = []
        with trio.CancelScope(shield=True):  # a client that hangs up now must not leave a run that is never begun
            made.append(await self._make(entries, place, request.principal.id))
        found = await self.base.sessions.find(made[0].id)
        return id_of(found.row)

    async def _make(self, entries: Sequence[Entry], place: Path, owner: str) -> SessionDir:
        session = await self.base.sessions.create(RUNS, "", place, owner=owner, fill=lambda _: entries)
        self.queue.put(session.id)
        return session

    async def _entries(self, asked: RunSpec) -> list[Entry]:
        """What makes the job. One that no model fits fails as any other run does."""
        job, choice, refusal = str(uuid.uuid4()), Choice(), None
        try:
            choice = await self.base.choose()
        except ProviderFailed as exc:
            refusal = exc
        spec = JobSpec(
            Mode.SPEC_RUN,
            f"Carry out the spec {asked.spec}",
            run=asked,
            models=choice.models,
            limits=choice.limits,
            tools=NO_TOOLS,
        )
        return [*accepted(spec, job), *([failed(refusal, job)] if refusal is not None else [])]

    # --- Looking --------------------------------------------------------------------------------------------------

    async def find(self, request: Request, ident: str) -> Found[SessionRow]:
        """Raises NotFound, StoreFailed."""
        return await self.base.find(request, RUNS, ident)

    async def list(self, request: Request) -> bytes:
        """All that the client may see as a JSON array, the newest first. Raises StoreFailed."""
        shown: list[bytes] = []
        for found in await self.base.all(RUNS):
            if may_see(request, found):
                try:
                    shown.append(await self.shown(found))
                except NotFound:  # it was removed meanwhile
                    continue
            await trio.lowlevel.checkpoint()
        return b"[" + b",".join(shown) + b"]"

    async def shown(self, found: Found[SessionRow]) -> bytes:
        """The Run object as JSON. Raises NotFound, StoreFailed."""
        known = await self._look(found)
        if known.shown:
            return known.shown
        shown = to_json(run_of(id_of(found.row), known.state))
        if known.tail is None:
            known.shown = shown
        return shown

    async def _look(self, found: Found[SessionRow]) -> _Known:
        """The run as it is now. Raises NotFound, StoreFailed."""
        known = self._known.get(found.row.id)
        try:
            if known is None or known.tail is not None:
                known = await self._folded(found, known)
        except SessionNotFound:
            raise NotFound("run", id_of(found.row)) from None
        self._known[found.row.id] = known
        self._known.move_to_end(found.row.id)
        if len(self._known) > KEPT_FOLDS:
            self._known.popitem(last=False)
        return known

    async def _folded(self, found: Found[SessionRow], known: _Known | None) -> _Known:
        if found.row.status == "idle":
            directory = self.base.sessions.directory(found.row.id)
            state = await trio.to_thread.run_sync(_fold_whole, directory)
            return _Known(state) if state.is_final else _Known(state, 0, await self.base.sessions.tail(found.row.id))
        tail = await self.base.sessions.tail(found.row.id)
        if known is None or known.tail is not tail or known.cuts != tail.cuts:
            known = _Known(RunState(), 0, tail, tail.cuts)
        for record in tail.reader.records(known.pos):
            known.state.apply(record)
            known.pos = record.pos
        if known.state.is_final:
            known.tail = None
        return known

    # --- Doing ----------------------------------------------------------------------------------------------------

    async def approve(self, request: Request, ident: str, step_id: str) -> None:
        """Have the step that waits carried out. Raises NotFound; Refused where it does not wait; what settling does."""
        found = await self.find(request, ident)
        state = (await self._look(found)).state
        nothing = Refused(f"no approval pending for step {step_id}")
        if state.step is None or state.step.id != step_id or state.ask is None:
            raise nothing
        try:
            await self.base.asks.settle(await self.base.asks.find(state.ask), Answer("allow", by=request.principal.id))
        except (AskNotFound, AskSettled, InvalidRequest):
            raise nothing from None
        self.queue.follow(found.row.id)

    async def cancel(self, request: Request, ident: str) -> None:
        """End a run that has not ended. Raises NotFound, and what cancelling does."""
        found = await self.find(request, ident)
        with trio.CancelScope(shield=True):
            await self.base.sessions.cancel(found)

    # --- Beginning ------------------------------------------------------------------------------------------------

    async def resume(self) -> None:
        """Put what has not begun in line again, and see to what goes on. That this cannot be done is logged."""
        await self.base.sessions.recovered.wait()
        try:
            left = await self.base.all(RUNS, states=("queued", "running"))
        except AgentdError as exc:
            logger.error("runs that have not begun are not taken up: %s", exc)
            return
        for found in reversed(left):
            if found.row.status == "queued":
                self.queue.put(found.row.id)
            else:
                self.queue.follow(found.row.id)


def _fold_whole(directory: SessionDir) -> RunState:
    with LogReader(directory.log_path) as reader:
        return RunState.of(reader.records())


@asynccontextmanager
async def open_runs(base: Base, most: int | None = None) -> AsyncIterator[Runs]:
    """*most*: runs that are carried out at a time. Leaving the block stops looking after them; their executors are the
    daemon's."""
    async with trio.open_nursery() as nursery:
        queue = RunQueue(base.sessions, nursery) if most is None else RunQueue(base.sessions, nursery, most)
        runs = Runs(base, queue)
        nursery.start_soon(runs.resume)
        yield runs
        nursery.cancel_scope.cancel()
