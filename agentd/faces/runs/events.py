"""Events of a run or a chat: folded from the log, numbered from 1, as a feed's frames or as JSON. Contract, section 11.

An event's id is its ordinal among all that the fold made. For each of them the position of its record is kept, and
every MARK_RECORDS records the fold as it was: to go on behind event N, the records since the mark before are folded
again. What has been made of history never changes, so whole pages of it are kept for the next reader.
"""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, Protocol, Self

import attrs
import trio

from agentd.daemon.tail import Tail
from agentd.domain import Record
from agentd.store.naming import instant
from agentd.wire.feed import Feed
from agentd.wire.messages import JSON_TYPE, Answer, ChunkedResponse, Request, StreamResponse, to_json
from agentd.wire.sse import KEEPALIVE

MARK_RECORDS = 1024
STEP_RECORDS = 4096  # that are folded at a time, before others get their turn
PAGE_RECORDS = 256  # that are read at a time
FRAME_BYTES = 64 * 1024
KEPT_PAGES = 16
_NOBODY = 2**62  # an ordinal that no event has: nothing is made for a reader
KEPT_SESSIONS = 64  # whose frames are held, of those that somebody has read
_ORDINAL = re.compile(r"[0-9]{1,15}")


@attrs.frozen
class Event:
    """*ts*: epoch milliseconds. What is empty is left out of its JSON."""

    ts: int
    type: str
    message: str = ""
    data: Mapping[str, Any] = attrs.field(factory=dict)
    turn_id: str = ""

    def to_json(self, subject: Mapping[str, str]) -> dict[str, Any]:
        """*subject*: whose event it is, {"run_id": …} or {"session_id": …}."""
        told = {"turn_id": self.turn_id, "type": self.type, "message": self.message, "data": self.data}
        return {"ts": instant(self.ts), **subject, **{name: value for name, value in told.items() if value}}


class Fold(Protocol):
    """Records in, events out. A copy is made now and then, and should cost little."""

    def apply(self, record: Record) -> list[Event]: ...
    def copy(self) -> Self: ...


@attrs.frozen
class _Mark:
    """A fold, the position of the last record that it knows, and how many events there were until then."""

    fold: Fold
    pos: int = 0
    count: int = 0


class EventFrames:
    """The events of a session as a source for a feed; ordinals are those of events. *fold*: of no record yet."""

    def __init__(self, tail: Tail, fold: Fold, subject: Mapping[str, str]) -> None:
        self.tail, self._subject, self._cuts = tail, dict(subject), tail.cuts
        self._places = array("Q")  # by ordinal: the position of the record that an event was made of
        self._marks = [_Mark(fold)]
        self._lead = fold.copy()  # knows all records up to
        self._pos = 0
        self._pages: OrderedDict[int, tuple[bytes, int]] = OrderedDict()  # by the ordinal that they go on behind

    @property
    def stands(self) -> bool:
        """Whether it shows what its tail does now."""
        return not self.tail.closed and self._cuts == self.tail.cuts

    @property
    def count(self) -> int:
        """Events that are known by now: see catch_up()."""
        return len(self._places)

    # --- What a feed asks -----------------------------------------------------------------------------------------

    def read(self, after: int) -> tuple[bytes, int]:
        if self.ended(after):
            return b"", after
        return self._replay(after) if after < self.count else self._go_on(after)

    def ended(self, after: int) -> bool:
        return not self.stands

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.tail.subscribe(callback)

    # --- Folding --------------------------------------------------------------------------------------------------

    def _go_on(self, after: int) -> tuple[bytes, int]:
        """Fold records that nobody has read yet."""
        frames, scanned = bytearray(), 0
        while records := self.tail.reader.read(self._pos, PAGE_RECORDS, FRAME_BYTES):
            for record in records:
                for event in self._lead.apply(record):
                    self._places.append(record.pos)
                    if self.count > after:
                        frames += self._frame(event, self.count)
                self._passed(record.pos)
            scanned += len(records)
            if frames:
                return bytes(frames), self.count
            if scanned >= STEP_RECORDS:
                return KEEPALIVE, after  # others want their turn; a comment takes the reader on
        return b"", after

    def _passed(self, pos: int) -> None:
        self._pos = pos
        if pos % MARK_RECORDS == 0:
            self._marks.append(_Mark(self._lead.copy(), pos, self.count))

    def _replay(self, after: int) -> tuple[bytes, int]:
        if (known := self._pages.get(after)) is not None:
            self._pages.move_to_end(after)
            return known
        frames, at = bytearray(), after
        for at, event in self._again(after):
            frames += self._frame(event, at)
            if len(frames) >= FRAME_BYTES:
                self._keep(after, (bytes(frames), at))
                break
        return bytes(frames), at

    def _again(self, after: int) -> Iterator[tuple[int, Event]]:
        """The known events behind *after*, with their ordinals."""
        mark = self._marks[bisect_left(self._marks, self._places[after], key=lambda each: each.pos) - 1]
        fold, pos, count = mark.fold.copy(), mark.pos, mark.count
        while pos < self._pos and (records := self.tail.reader.read(pos, min(PAGE_RECORDS, self._pos - pos))):
            for record in records:
                for event in fold.apply(record):
                    count += 1
                    if count > after:
                        yield count, event
                pos = record.pos

    def _keep(self, after: int, page: tuple[bytes, int]) -> None:
        self._pages[after] = page
        if len(self._pages) > KEPT_PAGES:
            self._pages.popitem(last=False)

    def _frame(self, event: Event, ordinal: int) -> bytes:
        return b"event: message\ndata: %b\nid: %d\n\n" % (to_json(event.to_json(self._subject)), ordinal)

    # --- History --------------------------------------------------------------------------------------------------

    async def catch_up(self) -> int:
        """Know all events that there are; how many. Raises StoreFailed."""
        while self.stands and self._pos < self.tail.reader.last_pos:
            self._go_on(_NOBODY)
            await trio.lowlevel.checkpoint()
        return self.count

    async def pieces(self, after: int, most: int) -> AsyncIterator[bytes]:
        """A JSON array of the events there are behind *after*, at most so many; 0: all."""
        last = await self.catch_up()
        until = min(last, after + most) if most else last
        page = bytearray(b"[")
        at = after
        while at < until and self.stands:
            for ordinal, event in self._again(at):
                page += to_json(event.to_json(self._subject)) + (b"," if ordinal < until else b"")
                at = ordinal
                if at == until or len(page) >= FRAME_BYTES:
                    break
            yield bytes(page)
            page.clear()
        yield bytes(page + b"]")


class Until:
    """The frames that there are now, and then the end."""

    def __init__(self, frames: EventFrames, last: int) -> None:
        self._frames, self._last = frames, last

    def read(self, after: int) -> tuple[bytes, int]:
        return (b"", after) if self.ended(after) else self._frames.read(after)

    def ended(self, after: int) -> bool:
        return after >= self._last or self._frames.ended(after)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self._frames.subscribe(callback)


class SharedFrames:
    """The frames of sessions, one for all who read the same: they share a flusher, and what was folded."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[EventFrames, Feed]] = OrderedDict()

    def of(self, tail: Tail, fold: Callable[[], Fold], subject: Mapping[str, str]) -> tuple[EventFrames, Feed]:
        known = self._known.get(tail.session.id)
        if known is None or known[0].tail is not tail or not known[0].stands:
            frames = EventFrames(tail, fold(), subject)
            known = self._known[tail.session.id] = frames, Feed(frames)
        self._known.move_to_end(tail.session.id)
        if len(self._known) > KEPT_SESSIONS:
            self._known.popitem(last=False)
        return known


async def answer_events(request: Request, frames: EventFrames, feed: Feed) -> Answer:
    """What GET …/events is answered: a stream, its history alone (`?follow=false`), or JSON (`?format=json`)."""
    after = _number(request.headers.get("last-event-id") or request.query.get("after", ""))
    if request.query.get("format", "").lower() == "json":
        pieces = frames.pieces(after, _number(request.query.get("max", "")))
        return ChunkedResponse(pieces, JSON_TYPE)
    if request.query.get("follow", "").lower() in ("false", "0", "no"):
        return StreamResponse(Feed(Until(frames, await frames.catch_up())), after)
    return StreamResponse(feed, after)


def _number(text: str) -> int:
    """0 for what is none: a client that has been elsewhere before begins at the beginning."""
    return int(text) if _ORDINAL.fullmatch(text) else 0
