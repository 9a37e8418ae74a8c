"""Executors of sessions that work in place: launched when there is something to do, ended when there has been nothing
for a while, and never more than a number of them. DESIGN, Executors, Lifetime.

Those of the session manager are not counted here: they have slots of their own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import trio

from agentd.daemon.calls import call
from agentd.daemon.executors import Seat
from agentd.daemon.writer import hold
from agentd.errors import AgentdError, Busy, ExecutorFailed
from agentd.store.home import SessionDir

IDLE_SECONDS = 30.0  # without a job, after which an executor is ended
IDLE_LOOK_SECONDS = 5.0
ROOM_SECONDS = 5.0  # to wait for room
ROOM_LOOK_SECONDS = 0.25  # between two looks whether one has become idle, while somebody waits for its place
logger = logging.getLogger(__name__)


class SeatMaker(Protocol):
    """What is used of daemon.executors.Seats."""

    def seat(self, session: SessionDir, workspace: Path) -> Seat: ...
    def forget(self, session_id: str) -> None: ...
    def subscribe(self, callback: Callable[[Seat], object]) -> Callable[[], None]: ...
    def __iter__(self) -> Iterator[Seat]: ...


class InPlace:
    """*lock*: by a session's id; who has it may decide whether its executor is needed. *nursery* owns what ends it."""

    def __init__(self, seats: SeatMaker, most: int, lock: Callable[[str], trio.Lock], nursery: trio.Nursery) -> None:
        self.most = most
        self._seats, self._lock, self._nursery = seats, lock, nursery
        self._kept: dict[str, Seat] = {}  # by session; those whose executors are looked after
        self._changed = trio.Event()
        seats.subscribe(self._tell)

    @property
    def taken(self) -> int:
        """Places that have an executor, or one that starts or stops."""
        return sum(seat.state != "absent" for seat in self._kept.values())

    async def ready(self, session: SessionDir, workspace: Path) -> Seat:
        """The session's seat, with room for an executor there: call up() before anything else happens. Whoever calls
        this has the session's lock.

        Raises Busy; Locked: `agentd run` is at work in it; ExecutorFailed: its directory is gone; StoreFailed."""
        seat = self._seats.seat(session, workspace)
        if seat.state == "absent":
            seat.workspace = workspace
            if not await trio.to_thread.run_sync(workspace.is_dir):
                raise ExecutorFailed(f"the session's directory {workspace} is not there")
            (await trio.to_thread.run_sync(hold, session)).release()
            await self._make_room()
        if session.id not in self._kept:
            self._kept[session.id] = seat
            self._nursery.start_soon(self._end_when_idle, seat)
        return seat

    async def end_if_idle(self, seat: Seat) -> bool:
        """Whether it has no executor now. Whoever calls this has the session's lock."""
        if seat.state != "absent" and await self.is_busy(seat):
            return False
        await seat.down()
        return True

    async def is_busy(self, seat: Seat) -> bool:
        """Whether its executor says that it has a job."""
        if seat.launched is None:
            return False
        try:
            return (await call(seat, "GET", "/_/health"))["job"] is not None
        except AgentdError as exc:
            logger.debug("an executor does not say what it does: %s", exc, extra={"session": seat.session.id})
            return False

    # --- Room -----------------------------------------------------------------------------------------------------

    async def _make_room(self) -> None:
        """Raises Busy, ROOM_SECONDS later."""
        if self.taken < self.most:
            return
        with trio.move_on_after(ROOM_SECONDS):
            while self.taken >= self.most:
                self._changed = changed = self._changed if not self._changed.is_set() else trio.Event()
                if not await self._end_an_idle_one():
                    with trio.move_on_after(ROOM_LOOK_SECONDS):
                        await changed.wait()
            return
        raise Busy(self.most)

    async def _end_an_idle_one(self) -> bool:
        """The one that has been so for longest, as far as is known."""
        for seat in sorted(self._kept.values(), key=lambda each: each.since):
            lock = self._lock(seat.session.id)
            if seat.state != "live" or lock.locked():  # who has a lock has something to do there, or waits for room too
                continue
            async with lock:
                if seat.state == "live" and await self.end_if_idle(seat):
                    return True
        return False

    def _tell(self, seat: Seat) -> None:
        self._changed.set()

    async def _end_when_idle(self, seat: Seat) -> None:
        idle_since = trio.current_time()
        while True:
            await trio.sleep(IDLE_LOOK_SECONDS)
            idle = trio.current_time() - idle_since
            if seat.state == "absent":
                if idle > IDLE_SECONDS and await self._forgotten(seat):
                    return
            elif seat.state != "live" or await self.is_busy(seat):
                idle_since = trio.current_time()
            elif idle >= IDLE_SECONDS:
                async with self._lock(seat.session.id):
                    await self.end_if_idle(seat)

    async def _forgotten(self, seat: Seat) -> bool:
        """There are many sessions, and most are never used again: their seats go. How an executor died is kept."""
        async with self._lock(seat.session.id):
            if seat.state != "absent":
                return False
            del self._kept[seat.session.id]
            if not seat.crashes:
                self._seats.forget(seat.session.id)
            return True
