"""Turns of chats that begin when they can, and those at work, looked after until nothing is left to do.

What is due is in the logs alone; here is only who looks at them. A turn that waits for an approval may do so for days:
unless others are behind it, nobody looks meanwhile.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from agentd.daemon.appending import append
from agentd.daemon.sessions import Sessions
from agentd.daemon.tail import Cursor
from agentd.domain import Entry
from agentd.errors import AgentdError, Busy, JobInProgress, Locked, SessionNotFound
from agentd.faces.chat.dialect import Chat
from agentd.store.fold import DIED

LOOK_SECONDS = 1.0  # between two looks whether the executor of a turn lives
BUSY_SECONDS = 1.0  # between two tries to begin where something else is at work
logger = logging.getLogger(__name__)

State = Callable[[str], Awaitable[Chat]]
Begin = Callable[[str, Chat, str], Awaitable[None]]  # a session, what it is now, and the turn


class Turns:
    """*state*: of a session; *begin*: has a turn begin. *nursery* owns those who look."""

    def __init__(self, sessions: Sessions, nursery: trio.Nursery, state: State, begin: Begin) -> None:
        self._sessions, self._nursery, self._state, self._begin = sessions, nursery, state, begin
        self._attended: dict[str, bool] = {}  # sessions; whether there may be news since the last look

    def attend(self, session_id: str) -> None:
        """See to it that what is due in a session is done."""
        if session_id not in self._attended:
            self._nursery.start_soon(self._attend, session_id)
        self._attended[session_id] = True

    async def _attend(self, session_id: str) -> None:
        try:
            while self._attended[session_id]:
                self._attended[session_id] = False
                await self._see_through(session_id)
        except AgentdError as exc:  # it was removed, or the disk refuses
            logger.warning("nobody looks after a chat: %s", exc, extra={"session": session_id})
        finally:
            del self._attended[session_id]

    async def _see_through(self, session_id: str) -> None:
        tail = await self._sessions.tail(session_id)
        while not tail.closed:
            seen = tail.reader.last_pos
            chat = await self._state(session_id)
            if chat.is_idle or (chat.waiting is not None and not chat.queue and not chat.canceling):
                return
            if chat.job is None:
                await self._try_to_begin(session_id, chat, chat.queue[0])
                tail.look()
                continue
            if chat.canceling:
                await self._stop(session_id, chat.job)
            elif chat.waiting is None:
                await self._check_executor(session_id)
            tail.look()
            await tail.wait(Cursor(seen), LOOK_SECONDS)

    async def _try_to_begin(self, session_id: str, chat: Chat, turn: str) -> None:
        try:
            await self._begin(session_id, chat, turn)
        except (Busy, JobInProgress, Locked):
            await trio.sleep(BUSY_SECONDS)
        except SessionNotFound:
            raise
        except AgentdError as exc:
            self._sessions.tails.look(session_id)
            if turn in (await self._state(session_id)).queue:  # it was not made after all
                await append(self._sessions, session_id, Entry("chat.failed", {"turn": turn, "error": str(exc)}))

    async def _stop(self, session_id: str, job: str) -> None:
        try:
            await self._sessions.cancel(await self._sessions.find(session_id), job)
        except SessionNotFound:
            raise
        except AgentdError as exc:  # it dies just now, or the disk refuses: there is another look soon
            logger.warning("a turn is not stopped yet: %s", exc, extra={"session": session_id})

    async def _check_executor(self, session_id: str) -> None:
        """A job whose executor has died is over; one that has not begun, or whose approval came, goes on in another."""
        seat = self._sessions.seat(session_id)
        if seat is not None and seat.state != "absent":
            return
        try:
            if not await self._sessions.interrupt_dead(session_id, DIED):
                await self._sessions.launch(session_id)
        except (Busy, Locked):
            await trio.sleep(BUSY_SECONDS)
        except SessionNotFound:
            raise
        except AgentdError as exc:
            await self._sessions.give_up(session_id, exc)
