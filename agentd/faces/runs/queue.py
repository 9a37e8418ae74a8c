"""Which runs are carried out now: at most so many, the others wait for their turn, in the order they were made.

One that waits for an approval takes no turn: it may wait for days. Once it is approved it goes on at once. Whoever's
executor dies is told as such, so that no run stays at work for ever. Nothing of this is stored: after a restart, the
runs that have not begun are found by their logs.
"""

from __future__ import annotations

import logging
from collections import deque

import trio

from agentd.daemon.sessions import Sessions
from agentd.daemon.tail import Cursor, Tail
from agentd.errors import AgentdError, Busy
from agentd.store.fold import DIED
from agentd.store.specrun import RunState

MOST = 8  # runs that are carried out at a time: the contract, 5.3
LOOK_SECONDS = 1.0  # between two looks whether the executor of a run lives
BUSY_SECONDS = 1.0  # between two tries to launch one
logger = logging.getLogger(__name__)


class RunQueue:
    """*nursery* owns those who attend to runs."""

    def __init__(self, sessions: Sessions, nursery: trio.Nursery, most: int = MOST) -> None:
        self._sessions, self._nursery, self._most = sessions, nursery, most
        self._line: deque[str] = deque()  # sessions
        self._attended: set[str] = set()
        self._taken = 0  # turns

    def put(self, session_id: str) -> None:
        """Have a run carried out when it is its turn."""
        self._line.append(session_id)
        self._call()

    def follow(self, session_id: str) -> None:
        """See to a run that goes on, until it waits or is over."""
        if session_id not in self._attended:
            self._attended.add(session_id)
            self._nursery.start_soon(self._attend, session_id)

    def _call(self) -> None:
        while self._line and self._taken < self._most:
            session_id = self._line.popleft()
            if session_id not in self._attended:
                self._attended.add(session_id)
                self._taken += 1
                self._nursery.start_soon(self._take_turn, session_id)

    async def _take_turn(self, session_id: str) -> None:
        try:
            await self._attend(session_id)
        finally:
            self._taken -= 1
            self._call()

    async def _attend(self, session_id: str) -> None:
        try:
            await self._see_through(session_id)
        except AgentdError as exc:  # its session was removed, or the disk refuses
            logger.warning("nobody looks after a run: %s", exc, extra={"session": session_id})
        finally:
            self._attended.discard(session_id)

    async def _see_through(self, session_id: str) -> None:
        tail, state, pos = await self._sessions.tail(session_id), RunState(), 0
        while not tail.closed:
            for record in tail.reader.records(pos):
                state.apply(record)
                pos = record.pos
            if state.is_final or state.status == "waiting_approval":
                return
            seat = self._sessions.seat(session_id)
            if seat is None or seat.state == "absent":
                await self._launch(session_id, tail)
            if tail.reader.last_pos == pos:
                await tail.wait(Cursor(pos), LOOK_SECONDS)

    async def _launch(self, session_id: str, tail: Tail) -> None:
        """Have an executor carry it out; if one has died at it, it is over."""
        if await self._sessions.interrupt_dead(session_id, DIED):
            tail.look()
            return
        try:
            await self._sessions.launch(session_id)
        except Busy:
            await trio.sleep(BUSY_SECONDS)
        except AgentdError as exc:
            await self._sessions.give_up(session_id, exc)
