"""Sessions of every face, from outside of their executors: found, told to go on, stopped, removed.

A session of the manager has its executor in the pool. Of the others, which work in place, the executors are launched
here when there is something to do, and end when there has been nothing for a while. DESIGN, Executors, Lifetime.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from agentd.daemon.calls import Place, call
from agentd.daemon.executors import Seat
from agentd.daemon.listing import Listing
from agentd.daemon.pool import Pool
from agentd.daemon.registry import Registry
from agentd.daemon.tail import Tail, Tails
from agentd.daemon.writer import append_alone, hold
from agentd.domain import Entry, JobSpec, JobState, Mode, Models, PermissionMode, ToolPolicy
from agentd.errors import AgentdError, ExecutorFailed, JobNotFound, Locked, SessionNotFound
from agentd.store.fold import JobView, SessionState
from agentd.store.home import Home, SessionDir
from agentd.store.summary import SessionRow
from agentd.store.tables import MANAGED, Found, Query
from agentd.wire.typed import structure

IDLE_SECONDS = 30.0  # without a job, after which an executor that works in place is ended
IDLE_LOOK_SECONDS = 5.0
MOST_AT_START = 500  # sessions that are looked at
UNFINISHED = ("waiting", "running", "queued")
logger = logging.getLogger(__name__)


class SeatMaker(Protocol):
    """What is used of daemon.executors.Seats."""

    def seat(self, session: SessionDir, workspace: Path) -> Seat: ...
    def forget(self, session_id: str) -> None: ...
    def __iter__(self) -> Iterator[Seat]: ...


@attrs.frozen
class FollowUp:
    """What a session is to do next. None: as in its last job."""

    text: str
    mode: Mode | None = None
    model: str | None = None
    permission_mode: PermissionMode | None = None


class Sessions:
    """*nursery* owns what goes on behind the calls."""

    def __init__(
        self,
        home: Home,
        registry: Registry,
        seats: SeatMaker,
        pool: Pool | None,
        listing: Listing,
        nursery: trio.Nursery,
    ) -> None:
        self.home, self.registry, self.seats, self.pool, self.listing = home, registry, seats, pool, listing
        self.tails = Tails(nursery, self.seat)
        self._nursery = nursery
        self._locks: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._kept: set[str] = set()  # sessions whose executors are ended when they are idle

    # --- Looking --------------------------------------------------------------------------------------------------

    async def find(self, session_id: str) -> Found[SessionRow]:
        """Raises SessionNotFound, StoreFailed."""
        found = await self.listing.ask(lambda index: index.session(session_id.lower()))
        if found is None:
            raise SessionNotFound(session_id)
        return found

    def directory(self, session_id: str) -> SessionDir:
        return self.home.session(session_id)

    def seat(self, session_id: str) -> Seat | None:
        """Where its executor is, if it ever had one since the start."""
        return next((seat for seat in self.seats if seat.session.id == session_id), None)

    async def tail(self, session_id: str) -> Tail:
        """Raises SessionNotFound, StoreFailed."""
        return await self.tails.open(self.directory(session_id))

    def lock(self, session_id: str) -> trio.Lock:
        """Who has it may decide whether the session's executor is needed."""
        return self._locks[session_id]

    # --- Doing ----------------------------------------------------------------------------------------------------

    async def follow_up(self, found: Found[SessionRow], asked: FollowUp) -> str:
        """Start another job in the session; its id. Raises JobInProgress; Locked: `agentd run` is at work in it;
        ExecutorFailed, HttpFailed, StoreFailed."""
        session_id = found.row.id
        async with self.lock(session_id):
            spec = await self._next_spec(found, asked)
            with self._in_use(found):
                place = await self.place(found)
                made = await call(place, "POST", "/_/jobs", spec)
        self.tails.look(session_id)
        return str(made["job"])

    async def cancel(self, found: Found[SessionRow]) -> str | None:
        """Stop the job that is at work or waits; its id, None if there is none. Raises Locked, as follow_up() does."""
        session_id = found.row.id
        async with self.lock(session_id):
            query = Query(session=session_id, states=UNFINISHED, limit=1)
            jobs = (await self.listing.ask(lambda index: index.jobs(query))).items
            if not jobs:
                return None
            seat = self.seat(session_id)
            if seat is not None and seat.state != "absent":
                try:
                    await call(seat, "POST", f"/_/jobs/{jobs[0].row.id}/cancel")
                except JobNotFound:  # it ended just now, and another executor lives
                    return None
            else:
                await trio.to_thread.run_sync(append_alone, self.directory(session_id), _cancelled)
        self.tails.look(session_id)
        return jobs[0].row.id

    async def delete(self, found: Found[SessionRow]) -> None:
        """Executor, worktree and directory are gone when it returns; the user's own directory stays as it is.

        Raises Locked for a session in place while its executor or `agentd run` lives; StoreFailed."""
        session_id = found.row.id
        if found.row.face == MANAGED and self.pool is not None:
            await self.pool.delete(session_id)
        else:
            async with self.lock(session_id):
                await self._delete_in_place(session_id)
        self.tails.drop(session_id)
        await self.listing.refresh()

    async def _delete_in_place(self, session_id: str) -> None:
        seat = self.seat(session_id)
        if seat is not None and seat.state != "absent":
            raise Locked(
                f"session {session_id} has an executor; cancel its job first. "
                f"Without a job it ends after {IDLE_SECONDS:g} s"
            )
        session = self.directory(session_id)
        with await trio.to_thread.run_sync(hold, session):
            if session_id in self.registry.open:
                await self.registry.note_closed(session_id, "deleted")
            await trio.to_thread.run_sync(self.home.remove_session, session_id)
        if session_id in self.registry.leaving:
            await self.registry.note_removed(session_id)
        self.seats.forget(session_id)

    # --- Executors ------------------------------------------------------------------------------------------------

    async def place(self, found: Found[SessionRow]) -> Place:
        """Where the session's executor is, or can be launched. Raises Locked, ExecutorFailed, StoreFailed."""
        session_id = found.row.id
        if found.row.face == MANAGED:
            if self.pool is None:
                raise ExecutorFailed("the session manager is off, and with it the executors of its sessions")
            return self.pool.get(session_id).seat
        workspace = Path(found.row.workspace)
        seat = self.seats.seat(self.directory(session_id), workspace)
        if seat.state == "absent":
            if not await trio.to_thread.run_sync(workspace.is_dir):
                raise ExecutorFailed(f"the session's directory {workspace} is not there")
            (await trio.to_thread.run_sync(hold, self.directory(session_id))).release()
        if session_id not in self._kept:
            self._kept.add(session_id)
            self._nursery.start_soon(self._end_when_idle, seat)
        return seat

    async def relaunch(self, session_id: str) -> None:
        """Have the session's executor go on with what its log says. That it cannot be launched is logged."""
        try:
            async with self.lock(session_id):  # nobody writes to its log meanwhile: the executor would not get its lock
                place = await self.place(await self.find(session_id))
                await place.up()
        except AgentdError as exc:
            logger.warning("its executor is not launched: %s", exc, extra={"session": session_id})

    @contextmanager
    def _in_use(self, found: Found[SessionRow]) -> Iterator[None]:
        """It is not idle, for the pool."""
        managed = self.pool.get(found.row.id) if self.pool is not None and found.row.face == MANAGED else None
        with self.pool.calling(managed) if self.pool is not None and managed is not None else nullcontext():
            yield

    async def _end_when_idle(self, seat: Seat) -> None:
        idle_since = trio.current_time()
        try:
            while True:
                await trio.sleep(IDLE_LOOK_SECONDS)
                if seat.state == "absent" and trio.current_time() - idle_since > IDLE_SECONDS:
                    return
                if seat.state != "live" or await self._is_busy(seat):
                    idle_since = trio.current_time() if seat.state != "absent" else idle_since
                elif trio.current_time() - idle_since >= IDLE_SECONDS:
                    async with self.lock(seat.session.id):
                        if not await self._is_busy(seat):
                            await seat.down()
        finally:
            self._kept.discard(seat.session.id)

    async def _is_busy(self, seat: Seat) -> bool:
        if seat.launched is None:
            return False
        try:
            return (await call(seat, "GET", "/_/health"))["job"] is not None
        except AgentdError as exc:
            logger.debug("an executor does not say what it does: %s", exc, extra={"session": seat.session.id})
            return False

    # --- Beginning ------------------------------------------------------------------------------------------------

    async def recover(self) -> list[str]:
        """What the last daemon, or an `agentd run`, left of sessions in place: jobs that were at work are interrupted,
        what was accepted or settled goes on, what waits for an answer waits. The ids of those that were at work."""
        query = Query(states=UNFINISHED, limit=MOST_AT_START)
        left = (await self.listing.ask(lambda index: index.sessions(query))).items
        interrupted = []
        for found in left:
            if found.row.face == MANAGED:
                continue
            try:
                if await self._interrupt(found.row.id):
                    interrupted.append(found.row.id)
                elif found.row.status != "waiting":
                    await self.relaunch(found.row.id)
            except (Locked, SessionNotFound):  # an `agentd run` is at work in it; or it is removed
                continue
            except AgentdError as exc:
                logger.warning("%s", exc, extra={"session": found.row.id})
        return interrupted

    async def _interrupt(self, session_id: str) -> bool:
        """Whether there was a job at work without an executor. Raises Locked, SessionNotFound, StoreFailed."""
        async with self.lock(session_id):
            seat = self.seat(session_id)
            if seat is not None and seat.state != "absent":
                return False
            return bool(await trio.to_thread.run_sync(append_alone, self.directory(session_id), _interrupted))

    async def _next_spec(self, found: Found[SessionRow], asked: FollowUp) -> JobSpec:
        spec = await self._last_spec(found) or _first_spec(found.row.face)
        if asked.mode is not None:
            spec = attrs.evolve(spec, mode=asked.mode)
        if asked.model is not None:
            spec = attrs.evolve(spec, models=Models(asked.model, asked.model, asked.model, spec.models.fallback))
        if asked.permission_mode is not None:
            spec = attrs.evolve(spec, tools=attrs.evolve(spec.tools, permission_mode=asked.permission_mode))
        tools = attrs.evolve(spec.tools, ask_seconds=ToolPolicy().ask_seconds)  # whoever sends this can be asked
        return attrs.evolve(spec, prompt=asked.text, tools=tools, context_texts=())

    async def _last_spec(self, found: Found[SessionRow]) -> JobSpec | None:
        if found.row.last_job is None:
            return None
        last_job = found.row.last_job
        job = await self.listing.ask(lambda index: index.job(last_job))
        if job is None:
            return None
        tail = await self.tail(found.row.id)
        [record] = tail.reader.read(job.row.pos - 1, 1)
        fields: Mapping[str, Any] = record.data.get("spec", {})
        return structure(dict(fields), JobSpec)


def _first_spec(face: str) -> JobSpec:
    """The manager's jobs run without asking, since nobody is there; those of others ask."""
    permission = PermissionMode.BYPASS if face == MANAGED else PermissionMode.DEFAULT
    return JobSpec(Mode.CODE, "", tools=ToolPolicy(permission_mode=permission))


def _cancelled(state: SessionState) -> list[Entry]:
    """The end of every job that has none. One that was at work when its executor died was interrupted by that."""
    entries = []
    for job in state.jobs.values():
        if not job.state.terminal:
            outcome = JobState.CANCELLED if job.at_rest else JobState.INTERRUPTED
            entries.append(_end_of(job, outcome, "cancelled while no executor lived"))
    return entries


def _interrupted(state: SessionState) -> list[Entry]:
    message = "the executor stopped while this job was at work"
    dead = [job for job in state.jobs.values() if not job.state.terminal and not job.at_rest]
    return [_end_of(job, JobState.INTERRUPTED, message) for job in dead]


def _end_of(job: JobView, outcome: JobState, message: str) -> Entry:
    error = {"code": outcome.name, "message": message}
    data: dict[str, Any] = {"outcome": outcome, "stop_reason": outcome.value, "error": error, "result": None}
    return Entry("job.finished", data | {"turns": job.turns, "cost": job.cost, "duration_ms": 0, "diff": None}, job.id)
