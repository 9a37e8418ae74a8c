"""Sessions of the session manager: each has a slot, a git worktree, and a seat for its executor. Contract manager.md.

A slot is taken before any work begins. A session exists once the registry says so, which is after its executor lived;
it is gone for clients once the registry says that, and what there is of it is taken down behind. Whatever is begun here
is undone or finished: by this process, or by recovery.py in the next one.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import attrs
import trio

from agentd.daemon.executors import Seat
from agentd.daemon.leftovers import Leftover
from agentd.daemon.registry import Opened, Registry
from agentd.daemon.worktree_records import Worktree
from agentd.daemon.worktree_source import Source
from agentd.daemon.worktrees import Removed
from agentd.errors import AgentdError, CapacityExceeded, SessionNotFound
from agentd.store.create import Clock, epoch_ms
from agentd.store.home import Home, SessionDir
from agentd.wire.typed import parse, structure

FACE, OWNER = "manager", "master"
ASK_SECONDS = 5.0  # for an executor to say what it is doing
TERM_SECONDS = 5.0  # for an executor to end by itself, when its session is taken down
GOODBYE_SECONDS = 30.0  # for what was begun to be finished, when the daemon ends
logger = logging.getLogger(__name__)


class Trees(Protocol):
    """What is used of daemon.worktrees.Worktrees."""

    async def check(self, repo_path: str, ref: str | None) -> Source: ...
    async def create(self, source: Source, worktree_id: str) -> Worktree: ...
    async def remove(self, worktree: Worktree, session_id: str) -> Removed: ...
    async def leftovers(self, owned: Collection[Path]) -> list[Leftover]: ...
    async def clear(self, leftover: Leftover) -> Removed: ...
    def problem(self) -> str | None: ...


class SeatMaker(Protocol):
    """What is used of daemon.executors.Seats."""

    def seat(self, session: SessionDir, workspace: Path) -> Seat: ...
    def forget(self, session_id: str) -> None: ...


@attrs.define(eq=False)
class Managed:
    """A session, as long as it exists."""

    id: str
    name: str
    worktree: Worktree
    created: int  # epoch ms
    active: int  # epoch ms of its creation, or of the last call that was relayed to it
    seat: Seat
    calls: int = 0  # that were relayed, and have no answer yet

    async def job(self) -> str | None:
        """The id of the job that its executor is at work at. Raises HttpFailed: it does not say."""
        if (launched := self.seat.launched) is None:
            return None
        headers = [("Authorization", f"Bearer {launched.token}")]
        answer = await self.seat.client().request("GET", "/_/health", headers=headers, seconds=ASK_SECONDS)
        return structure(parse(answer.body), _Health).job


@attrs.frozen
class _Health:
    job: str | None = None


@attrs.define(eq=False)
class _Leaving:
    """A session that is being taken down. Whoever wants it gone waits here."""

    over: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=lambda: trio.CancelScope(shield=True))
    error: AgentdError | None = None  # why it is still there


class Pool:
    """Made by open_pool(), see opening.py."""

    def __init__(
        self,
        size: int,
        home: Home,
        registry: Registry,
        worktrees: Trees,
        seats: SeatMaker,
        nursery: trio.Nursery,
        clock: Clock = epoch_ms,
    ) -> None:
        self.size = size
        self.home = home
        self.worktrees = worktrees
        self.registry = registry
        self.clock = clock
        self._seats = seats
        self._nursery = nursery
        self._sessions: dict[str, Managed] = {}
        self._leaving: dict[str, _Leaving] = {}
        self._creating = 0

    # --- Looking --------------------------------------------------------------------------------------------------

    @property
    def taken(self) -> int:
        """Slots: of every session, whether its executor lives or not, and of every creation in progress."""
        return len(self._sessions) + self._creating

    @property
    def free(self) -> int:
        return max(0, self.size - self.taken)

    def __iter__(self) -> Iterator[Managed]:
        """The one that was created first comes first."""
        return iter(sorted(self._sessions.values(), key=lambda each: (each.created, each.id)))

    def get(self, session_id: str) -> Managed:
        """Raises SessionNotFound, also for one that is being taken down."""
        managed = self._sessions.get(session_id)
        if managed is None:
            raise SessionNotFound(session_id)
        return managed

    def check_room(self) -> None:
        """Raises CapacityExceeded."""
        if not self.free:
            raise CapacityExceeded(self.size)

    def problem(self) -> str | None:
        """Why no session can be created, other than that there is no slot."""
        return self.worktrees.problem()

    # --- Use ------------------------------------------------------------------------------------------------------

    def touch(self, managed: Managed) -> None:
        """It is not idle."""
        managed.active = self.clock()

    @contextmanager
    def calling(self, managed: Managed) -> Iterator[None]:
        """A call is relayed, from here to the head of its answer: it is not idle meanwhile, and not just before."""
        self.touch(managed)
        managed.calls += 1
        try:
            yield
        finally:
            managed.calls -= 1

    # --- Making ---------------------------------------------------------------------------------------------------

    async def create(self, name: str, repo_path: str, ref: str | None) -> Managed:
        """A session whose executor lives. When this raises or is cancelled, nothing is left.

        Raises CapacityExceeded, InvalidRequest; WorktreeFailed, ExecutorFailed, StoreFailed, Locked: it did not work.
        """
        self.check_room()
        self._creating += 1
        try:
            source = await self.worktrees.check(repo_path, ref)
            worktree = await self.worktrees.create(source, str(uuid.uuid4()))
            return await self._settle_in(str(uuid.uuid4()), name, worktree)
        finally:
            self._creating -= 1

    async def _settle_in(self, session_id: str, name: str, worktree: Worktree) -> Managed:
        seat: Seat | None = None
        made = Opened(session_id, FACE, name, str(worktree.path), worktree, owner=OWNER)
        try:
            seat = self._seats.seat(await trio.to_thread.run_sync(self._make_directory, made), worktree.path)
            await seat.up()
            opened = await self.registry.note_opened(made)
            await trio.lowlevel.checkpoint_if_cancelled()  # whoever wanted it may have left: then nobody has its token
            return self.admit(opened)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self._undo(session_id, worktree, seat)
            raise

    def _make_directory(self, made: Opened) -> SessionDir:
        path = Path(made.workspace)
        return self.home.create_session(made.face, path, made.name, isolation="worktree", session_id=made.id)

    def admit(self, opened: Opened) -> Managed:
        """Take in a session that the registry has, and that has a worktree."""
        assert opened.worktree is not None
        seat = self._seats.seat(SessionDir(self.home.sessions_path / opened.id), opened.worktree.path)
        managed = Managed(opened.id, opened.name, opened.worktree, opened.ts, self.clock(), seat)
        self._sessions[managed.id] = managed
        return managed

    async def _undo(self, session_id: str, worktree: Worktree, seat: Seat | None) -> None:
        if session_id in self.registry.open:
            with _logged(session_id):
                await self.registry.note_closed(session_id, "undone")
        await self.take_down(session_id, worktree, seat)

    # --- Removing -------------------------------------------------------------------------------------------------

    async def delete(self, session_id: str, reason: str = "deleted") -> None:
        """Returns when executor, worktree and directory are gone, whoever began with that. It goes on when whoever
        waits is cancelled. Raises SessionNotFound; StoreFailed, Locked: it is still there, as it was."""
        leaving = self._leaving.get(session_id) or self._begin_leaving(self.get(session_id), reason)
        await leaving.over.wait()
        if leaving.error is not None:
            raise leaving.error

    def _begin_leaving(self, managed: Managed, reason: str) -> _Leaving:
        leaving = self._leaving[managed.id] = _Leaving()
        del self._sessions[managed.id]
        self._nursery.start_soon(self._leave, managed, leaving, reason)
        return leaving

    async def _leave(self, managed: Managed, leaving: _Leaving, reason: str) -> None:
        """Whatever happens to one session ends here: the others live on."""
        try:
            with leaving.scope:
                await self.registry.note_closed(managed.id, reason)
                await self.take_down(managed.id, managed.worktree, managed.seat)
        except AgentdError as exc:  # it could not be closed
            logger.error("the session is not removed: %s", exc, extra={"session": managed.id})
            leaving.error = exc
            self._sessions[managed.id] = managed
        except Exception:
            logger.exception("removing a session failed; the next start goes on with it", extra={"session": managed.id})
        finally:
            del self._leaving[managed.id]
            leaving.over.set()

    async def take_down(self, session_id: str, worktree: Worktree | None, seat: Seat | None = None) -> Removed | None:
        """Remove whatever there is of a session that does not exist, or no more. What cannot be removed is logged, and
        found again at the next start."""
        if seat is not None:
            await _end(seat)
        self._seats.forget(session_id)
        removed = await self.worktrees.remove(worktree, session_id) if worktree is not None else None
        if removed is not None and removed.rescued:
            logger.info("uncommitted work is kept as %s", removed.rescued, extra={"session": session_id})
        with _logged(session_id):
            await trio.to_thread.run_sync(self.home.remove_session, session_id)
            if session_id in self.registry.leaving:
                await self.registry.note_removed(session_id)
        return removed

    def hurry(self) -> None:
        """The daemon ends: what is being taken down gets a last while. The next start goes on with it."""
        for leaving in self._leaving.values():
            leaving.scope.deadline = trio.current_time() + GOODBYE_SECONDS


async def _end(seat: Seat) -> None:
    seat.retire()
    with trio.move_on_after(TERM_SECONDS):
        await seat.down()
        return
    await seat.kill()


@contextmanager
def _logged(session_id: str) -> Iterator[None]:
    try:
        yield
    except AgentdError as exc:
        logger.error("not all of the session is removed: %s", exc, extra={"session": session_id})
