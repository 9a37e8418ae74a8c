"""Sessions of every face, from outside of their executors: made, forked, told to go on, steered, stopped, removed.

There is one of this for a daemon. A session of the manager has its executor in the pool; the others work in place, and
their executors come and go as inplace.py says.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon import endings
from agentd.daemon.calls import Place, call
from agentd.daemon.executors import Seat
from agentd.daemon.followup import FollowUp, first_spec, next_spec
from agentd.daemon.forking import branch_off
from agentd.daemon.inplace import InPlace, SeatMaker
from agentd.daemon.listing import Listing
from agentd.daemon.pool import Pool
from agentd.daemon.registry import Opened, Registry
from agentd.daemon.settings import MOST_EXECUTORS
from agentd.daemon.tail import Tail, Tails
from agentd.daemon.writer import Decide, append_alone, hold
from agentd.domain import Entry, JobSpec, JobState, PermissionMode, Record
from agentd.errors import (
    AgentdError,
    Busy,
    ExecutorFailed,
    Forbidden,
    InvalidCheckpoint,
    JobInProgress,
    JobNotFound,
    Locked,
    SessionNotFound,
)
from agentd.store import secrets
from agentd.store.fold import DIED
from agentd.store.home import Home, SessionDir
from agentd.store.summary import SessionRow
from agentd.store.tables import MANAGED, Found, Query
from agentd.wire.typed import structure

MOST_AT_START = 500  # sessions that are looked at
AGAIN_SECONDS = 0.1  # between two tries to start a job in a session that is at work
QUEUED_BY_FACE = frozenset({"runs"})  # faces that have a queue of their own for jobs that have not begun
RELAUNCH_SECONDS = 1.0  # between two tries to launch an executor where there is no room for it
UNFINISHED = ("waiting", "running", "queued")
Fill = Callable[[SessionDir], Sequence[Entry]]
logger = logging.getLogger(__name__)


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
        most: int = MOST_EXECUTORS,
        budget_of: Callable[[str], float | None] = lambda owner: None,
    ) -> None:
        """*most*: executors of sessions in place that live at a time; *budget_of*: USD that what an owner makes may
        cost in all, None for no limit."""
        self.home, self.registry, self.seats, self.pool, self.listing = home, registry, seats, pool, listing
        self.tails = Tails(nursery, self.seat)
        self.in_place = InPlace(seats, most, self.lock, nursery)
        self.interrupted: list[str] = []  # those in place whose job was at work at the start
        self.recovered = trio.Event()  # those are all
        self._nursery, self._budget_of = nursery, budget_of
        self._locks: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._leave = seats.subscribe(self._look_after)

    def close(self) -> None:
        """End every stream of a log, and look after executors no more: the daemon stops."""
        self._leave()
        self.tails.close()

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

    # --- Making ---------------------------------------------------------------------------------------------------

    async def create(
        self,
        face: str,
        name: str,
        workspace: Path,
        *,
        owner: str | None,
        parent: str | None = None,
        fill: Fill | None = None,
    ) -> SessionDir:
        """A new session in place, durably: whose it is, and its log. *fill*: see Home.create_session. When this raises
        or is cancelled, nothing is left of it. Raises Locked, StoreFailed."""
        session_id = str(uuid.uuid4())
        await self.registry.note_opened(Opened(session_id, face, name, str(workspace), owner=owner))
        make = partial(self.home.create_session, face, workspace, name, parent=parent, session_id=session_id, fill=fill)
        try:
            return await trio.to_thread.run_sync(make)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._remove(session_id, "undone")
            raise

    async def fork(self, session_id: str, face: str, name: str, workspace: Path, *, owner: str | None) -> SessionDir:
        """A session that knows what was said in this one up to its last whole exchange, also while it is at work, which
        is not disturbed. Raises SessionNotFound, Locked, StoreFailed."""
        source = self.directory(session_id)
        fill = partial(branch_off, source)
        return await self.create(face, name, workspace, owner=owner, parent=source.id, fill=fill)

    # --- Doing ----------------------------------------------------------------------------------------------------

    async def start(
        self, session_id: str, spec: JobSpec, *, workspace: Path | None = None, patience: float = 0.0
    ) -> str:
        """Start a job; its id. *workspace*: where the session works from now on. *patience*: seconds to wait for the
        end of the job that is at work now.

        Raises SessionNotFound; JobInProgress; Locked: `agentd run` is at work in it; Busy; ExecutorFailed, HttpFailed,
        StoreFailed."""
        until = trio.current_time() + patience
        while True:
            try:
                return await self._start(session_id, spec, workspace)
            except (JobInProgress, Locked):
                if trio.current_time() + AGAIN_SECONDS > until:
                    raise
            await trio.sleep(AGAIN_SECONDS)

    async def _start(self, session_id: str, spec: JobSpec, workspace: Path | None) -> str:
        found = await self.find(session_id)
        async with self.lock(found.row.id):
            if workspace is not None and str(workspace) != found.row.workspace:
                found = await self._move(found, workspace)
            spec = await self._within_budget(found, spec)
            with self._in_use(found):
                made = await self._call(found, "POST", "/_/jobs", spec)
        self.tails.look(found.row.id)
        return str(made["job"])

    async def _within_budget(self, found: Found[SessionRow], spec: JobSpec) -> JobSpec:
        """For an owner whose budget is limited: the job may cost no more than what is left. Raises Forbidden."""
        budget = self._budget_of(found.owner) if found.owner is not None else None
        if budget is None:
            return spec
        query = Query(owner=found.owner)
        left = budget - await self.listing.ask(lambda index: index.cost(query))
        if left <= 0:
            raise Forbidden(f"the budget of this token, {budget:g} USD, is used up")
        most = left if spec.limits.usd is None else min(left, spec.limits.usd)
        return attrs.evolve(spec, limits=attrs.evolve(spec.limits, usd=most))

    async def follow_up(self, found: Found[SessionRow], asked: FollowUp) -> str:
        """Start another job as the last one was; its id. Raises what start() does."""
        last = await self.last_spec(found) or first_spec(found.row.face)
        return await self.start(found.row.id, next_spec(last, asked))

    async def control(
        self, session_id: str, *, permission_mode: PermissionMode | None = None, answer: str | None = None
    ) -> None:
        """Steer the job that is at work or waits; *answer*: for the question that it asks next, if it asks none now.

        Raises JobNotFound: there is none; SessionNotFound; and what start() does."""
        found = await self.find(session_id)
        if found.row.status == "idle":
            raise JobNotFound(found.row.last_job or "")
        told = {"permission_mode": permission_mode, "answer": answer}
        async with self.lock(found.row.id):
            await self._call(
                found, "POST", "/_/control", {name: value for name, value in told.items() if value is not None}
            )
        self.tails.look(found.row.id)

    async def rewind(self, session_id: str, checkpoint: str, *, dry_run: bool = False) -> dict[str, Any]:
        """Put files back to what they were at a checkpoint: {"checkpoint", "undo", "restored", "deleted", "failed"}.

        Raises JobInProgress, InvalidCheckpoint, SessionNotFound; and what start() does."""
        found = await self.find(session_id)
        async with self.lock(found.row.id):
            try:
                told = await self._call(found, "POST", "/_/rewind", {"checkpoint": checkpoint, "dry_run": dry_run})
            except InvalidCheckpoint:
                raise InvalidCheckpoint(checkpoint) from None
        self.tails.look(found.row.id)
        return dict(told)

    async def rename(self, found: Found[SessionRow], name: str) -> None:
        """Raises JobInProgress; Locked, StoreFailed."""
        async with self.lock(found.row.id):
            await self._write(found, Entry("session.changed", {"name": name}))

    async def cancel(self, found: Found[SessionRow], job: str | None = None) -> str | None:
        """Stop the job that is at work or waits, unless *job* names another one; its id, None if nothing is stopped.
        Raises Locked, as follow_up() does."""
        session_id = found.row.id
        async with self.lock(session_id):
            query = Query(session=session_id, states=UNFINISHED, limit=1)
            jobs = (await self.listing.ask(lambda index: index.jobs(query))).items
            if not jobs or job not in (None, jobs[0].row.id):
                return None
            seat = self.seat(session_id)
            if seat is not None and seat.state != "absent":
                try:
                    await call(seat, "POST", f"/_/jobs/{jobs[0].row.id}/cancel")
                except JobNotFound:  # it ended just now, and another executor lives
                    return None
            else:
                await self._append(session_id, endings.cancelled)
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

    async def discard(self, session: SessionDir) -> None:
        """Delete one that was made for a job which could not begin. Where even that cannot be done, it stays."""
        try:
            await self.delete(await self.find(session.id))
        except AgentdError as exc:
            logger.warning("a session that was made for one job stays: %s", exc, extra={"session": session.id})

    async def _delete_in_place(self, session_id: str) -> None:
        seat = self.seat(session_id)
        if seat is not None and not await self.in_place.end_if_idle(seat):
            raise Locked(f"session {session_id} is at work; cancel its job first")
        session = self.directory(session_id)
        with await trio.to_thread.run_sync(hold, session):
            await self._remove(session_id, "deleted")
        self.seats.forget(session_id)

    async def _remove(self, session_id: str, reason: str) -> None:
        """Whatever there is of a session in place. Raises Locked, StoreFailed."""
        if session_id in self.registry.open:
            await self.registry.note_closed(session_id, reason)
        await trio.to_thread.run_sync(self.home.remove_session, session_id)
        if session_id in self.registry.leaving:
            await self.registry.note_removed(session_id)

    # --- Executors ------------------------------------------------------------------------------------------------

    async def place(self, found: Found[SessionRow]) -> Place:
        """Where the session's executor is, or can be launched: call up() before anything else happens. Whoever calls
        this has the session's lock. Raises Busy, Locked, ExecutorFailed, StoreFailed."""
        if found.row.face == MANAGED:
            if self.pool is None:
                raise ExecutorFailed("the session manager is off, and with it the executors of its sessions")
            return self.pool.get(found.row.id).seat
        return await self.in_place.ready(self.directory(found.row.id), Path(found.row.workspace))

    async def relaunch(self, session_id: str) -> None:
        """Have the session's executor go on with what its log says, as soon as there is room for it. That it cannot be
        launched is logged."""
        while True:
            try:
                await self.launch(session_id)
                return
            except Busy:
                await trio.sleep(RELAUNCH_SECONDS)
            except AgentdError as exc:
                logger.warning("its executor is not launched: %s", exc, extra={"session": session_id})
                return

    async def launch(self, session_id: str) -> None:
        """Have the session's executor go on with what its log says. Raises SessionNotFound, Busy, Locked,
        ExecutorFailed, StoreFailed."""
        async with self.lock(session_id):  # nobody writes to its log meanwhile: the executor would not get its lock
            place = await self.place(await self.find(session_id))
            await place.up()

    async def _call(self, found: Found[SessionRow], method: str, path: str, value: Any = None) -> Any:
        """What its executor answers, which is launched if there is none. Whoever calls this has the session's lock."""
        return await call(await self.place(found), method, path, value)

    async def _write(self, found: Found[SessionRow], *entries: Entry) -> None:
        """Append to its log, with no executor alive. Whoever calls this has the session's lock.

        Raises JobInProgress, Locked, StoreFailed."""
        seat = self.seat(found.row.id)
        if seat is not None and not await self.in_place.end_if_idle(seat):
            raise JobInProgress("RUNNING")
        await self._append(found.row.id, partial(endings.between_jobs, entries))
        self.tails.look(found.row.id)

    async def _append(self, session_id: str, decide: Decide) -> list[Record]:
        return await trio.to_thread.run_sync(append_alone, self.directory(session_id), decide)

    async def _move(self, found: Found[SessionRow], workspace: Path) -> Found[SessionRow]:
        """Have the session work somewhere else: its next executor is launched there."""
        await self._write(found, Entry("session.changed", {"workspace": str(workspace)}))
        return attrs.evolve(found, row=attrs.evolve(found.row, workspace=str(workspace)))

    @contextmanager
    def _in_use(self, found: Found[SessionRow]) -> Iterator[None]:
        """It is not idle, for the pool."""
        managed = self.pool.get(found.row.id) if self.pool is not None and found.row.face == MANAGED else None
        with self.pool.calling(managed) if self.pool is not None and managed is not None else nullcontext():
            yield

    # --- Beginning ------------------------------------------------------------------------------------------------

    async def recover(self) -> None:
        """What the last daemon, or an `agentd run`, left of sessions in place: those half made or half removed go, jobs
        that were at work are interrupted, what was accepted or settled goes on, what waits for an answer waits."""
        try:
            await self._forget_halves()
            await self._take_up()
        finally:
            self.recovered.set()

    async def _forget_halves(self) -> None:
        for opened in (*self.registry.open.values(), *self.registry.leaving.values()):
            log = SessionDir(self.home.sessions_path / opened.id).log_path
            gone = opened.id in self.registry.leaving or not await trio.to_thread.run_sync(log.is_file)
            if opened.worktree is None and gone:
                await self._remove(opened.id, "lost")

    async def _take_up(self) -> None:
        query = Query(states=UNFINISHED, limit=MOST_AT_START)
        left = (await self.listing.ask(lambda index: index.sessions(query))).items
        for found in left:
            if found.row.face == MANAGED:
                continue
            try:
                if await self.interrupt_dead(found.row.id):
                    self.interrupted.append(found.row.id)
                elif found.row.status == "queued" and found.row.face in QUEUED_BY_FACE:
                    continue
                elif found.row.status != "waiting":
                    self._nursery.start_soon(self.relaunch, found.row.id)
            except (Locked, SessionNotFound):  # an `agentd run` is at work in it; or it is removed
                continue
            except AgentdError as exc:
                logger.warning("%s", exc, extra={"session": found.row.id})

    def _look_after(self, seat: Seat) -> None:
        """An executor that died has left what it was at work at, and whoever follows that is to hear of its end."""
        if seat.state == "absent" and seat.crashes:
            self._nursery.start_soon(self._after_death, seat.session.id)

    async def _after_death(self, session_id: str) -> None:
        try:
            found = await self.find(session_id)
            if found.row.face == MANAGED or found.row.status not in UNFINISHED:
                return
            interrupted = await self.interrupt_dead(session_id, DIED)
            self.tails.look(session_id)
            if not interrupted and found.row.status == "queued" and found.row.face not in QUEUED_BY_FACE:
                await self.relaunch(session_id)
        except AgentdError as exc:
            logger.warning("what an executor left is not looked at: %s", exc, extra={"session": session_id})

    async def interrupt_dead(self, session_id: str, code: str = JobState.INTERRUPTED.name) -> bool:
        """End a job that is at work without an executor; whether there was one. *code*: of its error. Raises Locked,
        SessionNotFound, StoreFailed."""
        async with self.lock(session_id):
            seat = self.seat(session_id)
            if seat is not None and seat.state != "absent":
                return False
            return bool(await self._append(session_id, partial(endings.interrupted, code)))

    async def give_up(self, session_id: str, why: AgentdError) -> None:
        """End what has not begun or waits there as failed, since no executor can be had. Nothing happens where one
        lives after all. Raises SessionNotFound, Locked, StoreFailed."""
        async with self.lock(session_id):
            seat = self.seat(session_id)
            if seat is None or seat.state == "absent":
                await self._append(session_id, partial(endings.given_up, why))
        self.tails.look(session_id)

    async def last_spec(self, found: Found[SessionRow]) -> JobSpec | None:
        """Of its last job, with what is secret in it, and with the permission mode that it changed to since. None: it
        has had none. Raises StoreFailed."""
        if found.row.last_job is None:
            return None
        last_job = found.row.last_job
        job = await self.listing.ask(lambda index: index.job(last_job))
        if job is None:
            return None
        [record] = (await self.tail(found.row.id)).reader.read(job.row.pos - 1, 1)
        logged: Mapping[str, Any] = record.data.get("spec", {})
        whole = await trio.to_thread.run_sync(secrets.revealed, self.directory(found.row.id), last_job, logged)
        spec: JobSpec = structure(whole, JobSpec)
        mode = PermissionMode(found.row.permission_mode or spec.tools.permission_mode)
        return attrs.evolve(spec, tools=attrs.evolve(spec.tools, permission_mode=mode))
