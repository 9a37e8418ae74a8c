"""The one way out of a connection on which several tasks send frames: a frame that was begun is finished before the
next one begins, whoever sends it.
"""

from __future__ import annotations

import trio

from agentd.wire.transport import GONE, Bytes, Transport


class Outbox:
    """Whole frames in; whoever waits for the client keeps the others waiting, so that nothing piles up.

    After a frame that stays unfinished, for its sender was cancelled, and after the last one, nothing more goes out.
    """

    __slots__ = ("_busy", "_lot", "over", "transport")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.over = False
        self._busy = False  # a frame was begun
        self._lot = trio.lowlevel.ParkingLot()

    @property
    def busy(self) -> bool:
        return self._busy

    async def send(self, frames: Bytes, *, last: bool = False) -> None:
        """Returns when the system has taken all of it. Raises transport.GONE. *last*: nothing may follow."""
        await self.take_turn()
        await self.finish(frames, last=last)

    async def take_turn(self) -> None:
        while self._busy:
            await self._lot.park()
        self.check()
        self._busy = True

    async def finish(self, frames: Bytes, *, last: bool = False) -> None:
        """In one's turn: the rest of what was begun."""
        try:
            await self.transport.send_all(frames)
        except BaseException:
            self.over = True
            raise
        finally:
            self.over = self.over or last
            self.pass_turn()

    def send_nowait(self, frames: Bytes) -> int:
        """How many bytes were taken. In one's turn, or when nobody has it; if a part was taken one has it afterwards.
        Raises transport.GONE."""
        self.check()
        try:
            sent = self.transport.send_nowait(frames)
        except GONE:
            self.over = True
            self.pass_turn()
            raise
        self._busy = self._busy or sent > 0
        if sent == len(frames):
            self.pass_turn()
        return sent

    def pass_turn(self) -> None:
        self._busy = False
        self._lot.unpark_all()

    def check(self) -> None:
        if self.over:
            raise trio.BrokenResourceError("nothing more can be sent")


class Share:
    """An outbox for one feed.Reader, which finishes what it could send only a part of before it sends anything else.
    leave() when it is gone."""

    __slots__ = ("_has_turn", "_outbox")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._has_turn = False  # between the part of a frame that was sent without waiting and its rest

    def send_nowait(self, data: Bytes) -> int:
        if self._outbox.busy and not self._has_turn:
            return 0
        self._has_turn = False  # GONE may come out of here
        sent = self._outbox.send_nowait(data)
        self._has_turn = self._outbox.busy
        return sent

    async def send_all(self, data: Bytes) -> None:
        if not self._has_turn:
            await self._outbox.take_turn()
        self._has_turn = False
        await self._outbox.finish(data)

    def leave(self) -> None:
        if self._has_turn:
            self._outbox.over = True
            self._outbox.pass_turn()
