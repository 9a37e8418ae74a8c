"""The events of a run, or of all runs of a session, out of its log: as a feed's frames, as pages, or one by one.

Where a reader goes on is an event's id (dialect.py): `17`, or `17-2` in the middle of what record 17 becomes; of a
later generation of the log than the first `17.2` or `17-2.2`. To go on in the middle of a run, the fold of the records
before has to be made again: every MARK_RECORDS records it is kept, so that this takes no longer in a long run. A cursor
that cannot be served gets a reset event, and everything from the beginning:

    id: 0
    event: reset
    data: {"generation": 2, "last": 12, "after": "0.2"}
"""

from __future__ import annotations

import json
import re
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, Protocol, Self

import attrs
import trio

from agentd.daemon.tail import OVER, RESET, Tail
from agentd.domain import Record
from agentd.errors import InvalidRequest, StoreFailed
from agentd.faces.agent.dialect import Dialect, Event
from agentd.wire.feed import Feed
from agentd.wire.messages import Request, to_json

PING = b": ping\n\n"
PARTS = 1 << 24  # ordinals that a record has: more than it has events
MARK_RECORDS = 512
STEP_RECORDS = 1024  # that are folded at a time, before others get their turn
PAGE_RECORDS = 256  # that are read at a time
FRAME_BYTES = 64 * 1024
KEPT_SESSIONS = 64  # whose frames are held, of those that somebody has read
KEPT_FOLDS = 16  # of the places where readers are
_CURSOR = re.compile(r"([0-9]{1,12})(?:-([0-9]{1,7}))?(?:\.([0-9]{1,9}))?")


@attrs.frozen
class Run:
    """One query. *first*: a position at or before that of its first record."""

    session_id: str
    job_id: str
    first: int = 1


class Fold(Protocol):
    """Records in, events out. `over`: nothing more will come."""

    @property
    def over(self) -> bool: ...
    def apply(self, record: Record) -> list[Event]: ...
    def copy(self) -> Self: ...


@attrs.define
class AllRuns:
    """The events of every run of a session, one after the other. *partials*: as in Dialect."""

    session_id: str
    partials: bool | None = None
    echo: bool = False
    over: bool = False
    _runs: dict[str, Dialect] = attrs.field(factory=dict)  # that have begun and are not over

    @property
    def is_idle(self) -> bool:
        return not self._runs

    def copy(self) -> Self:
        made = type(self)(self.session_id, self.partials, self.echo)
        made._runs = {job: run.copy() for job, run in self._runs.items()}
        return made

    def apply(self, record: Record) -> list[Event]:
        if record.job is None:
            return []
        if record.type == "job.created":
            self._runs[record.job] = Dialect(self.session_id, record.job, self.partials, self.echo)
        if (run := self._runs.get(record.job)) is None:
            return []
        events = run.apply(record)
        if run.over:
            del self._runs[record.job]
        return events


Encode = Callable[[Event, str], bytes]  # an event and its id


def encode(event: Event, ident: str) -> bytes:
    """As a server-sent event."""
    return b"id: %b\nevent: %b\ndata: %b\n\n" % (ident.encode(), event.name.encode(), to_json(event.data))


@attrs.frozen
class _Place:
    """A fold, and the position of the last record that it knows. Never changed: whoever goes on takes a copy."""

    fold: Fold
    pos: int


@attrs.define(eq=False)
class Frames:
    """A source for a feed. Ordinals: PARTS times a position; plus n for who has n events of the record behind it."""

    tail: Tail
    fold: Fold  # of no record yet
    first: int = 1  # records before it are of no interest
    encode: Encode = encode
    _cuts: int = attrs.field(init=False)
    _suffix: str = attrs.field(init=False)  # of ids: the generation
    _end: int | None = None  # the ordinal of the last event, once it is known
    _marks: list[_Place] = attrs.field(init=False)  # one for each MARK_RECORDS records
    _recent: OrderedDict[int, _Place] = attrs.field(factory=OrderedDict)  # by the ordinal that a reader is at

    def __attrs_post_init__(self) -> None:
        self._cuts = self.tail.cuts
        self._suffix = "" if self.tail.generation == 1 else f".{self.tail.generation}"
        self._marks = [_Place(self.fold, self.first - 1)]

    def is_of(self, tail: Tail) -> bool:
        """Whether it shows what that tail does now."""
        return self.tail is tail and not tail.closed and self._cuts == tail.cuts

    def feed(self) -> Feed:
        return Feed(self, keepalive=PING)

    # --- What a feed asks -----------------------------------------------------------------------------------------

    def read(self, after: int) -> tuple[bytes, int]:
        if self.ended(after):
            return b"", after
        if self._cuts != self.tail.cuts:
            return self._reset(), OVER
        if after == RESET:
            return self._reset(), 0
        if (place := self._place(after)) is None:
            return PING, after  # the way there is long, and others want their turn
        return self._read_on(place, after)

    def ended(self, after: int) -> bool:
        return self.tail.closed or after == OVER or (self._end is not None and after >= self._end)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.tail.subscribe(callback)

    def _read_on(self, place: _Place, after: int) -> tuple[bytes, int]:
        fold, pos, skip = place.fold.copy(), place.pos, after % PARTS if place.pos == after // PARTS else 0
        frames, scanned = bytearray(), 0
        while not fold.over and (records := self.tail.reader.read(pos, PAGE_RECORDS, FRAME_BYTES)):
            for record in records:
                for event in fold.apply(record)[skip:]:
                    frames += self.encode(event, event.ident + self._suffix)
                pos, skip = record.pos, 0
                self._passed(fold, pos)
                if fold.over:
                    break
            scanned += len(records)
            if frames or scanned >= STEP_RECORDS:
                break
        at = pos * PARTS if frames else after
        self._keep(at, _Place(fold, pos))
        return bytes(frames) or (PING if scanned >= STEP_RECORDS else b""), at

    # --- Where readers are ----------------------------------------------------------------------------------------

    def ordinal(self, ident: str) -> int:
        """Of who has seen the event of that id, or "" or "0" for none; RESET if that cannot be served. Raises
        InvalidRequest for what is no id."""
        if not ident:
            return 0
        if (found := _CURSOR.fullmatch(ident)) is None:
            raise InvalidRequest([f"expected the id of an event, not {ident[:40]!r} @ $.after"])
        pos, part, generation = int(found[1]), int(found[2] or 0), int(found[3] or 1)
        if not self.tail.reader.can_resume(pos, generation):
            return RESET
        return (pos - 1) * PARTS + part if part and pos else pos * PARTS

    def after(self, request: Request) -> int:
        """The ordinal that a request goes on behind: Last-Event-ID goes before `?after=`. Raises InvalidRequest."""
        return self.ordinal(request.headers.get("last-event-id") or request.query.get("after", ""))

    def _place(self, after: int) -> _Place | None:
        """The fold of what a reader at this ordinal has seen; None: it is not made yet, come again."""
        if (known := self._recent.get(after)) is not None:
            return known
        goal = max(after // PARTS, self.first - 1)
        place = self._nearest(goal)
        if place.pos == goal:
            return place
        fold, pos = place.fold.copy(), place.pos
        for record in self._records(pos, min(goal, pos + STEP_RECORDS)):
            fold.apply(record)
            pos = record.pos
            self._passed(fold, pos)
            if fold.over:
                return _Place(fold, pos)
        return _Place(fold, pos) if pos == goal else None

    def _records(self, pos: int, until: int) -> Iterator[Record]:
        while pos < until and (records := self.tail.reader.read(pos, min(PAGE_RECORDS, until - pos))):
            yield from records
            pos = records[-1].pos

    def _nearest(self, goal: int) -> _Place:
        """The last mark that is not behind *goal*."""
        at = min(len(self._marks) - 1, max(0, goal // MARK_RECORDS - self._marks[0].pos // MARK_RECORDS))
        return self._marks[at]

    def _passed(self, fold: Fold, pos: int) -> None:
        """*fold* knows the record at *pos* now."""
        if fold.over:
            self._end = pos * PARTS
        elif pos % MARK_RECORDS == 0 and pos > self._marks[-1].pos:
            self._marks.append(_Place(fold.copy(), pos))

    def _keep(self, at: int, place: _Place) -> None:
        self._recent[at] = place
        self._recent.move_to_end(at)
        if len(self._recent) > KEPT_FOLDS:
            self._recent.popitem(last=False)

    def _reset(self) -> bytes:
        generation = self.tail.generation
        after = "0" if generation == 1 else f"0.{generation}"
        told = {"generation": generation, "last": self.tail.reader.last_pos, "after": after}
        return b"id: %b\nevent: reset\ndata: %b\n\n" % (after.encode(), json.dumps(told).encode())


class RunFrames(Frames):
    """Of one run, until its `done`. *partials*: None for as it was asked for."""

    def __init__(self, tail: Tail, run: Run, partials: bool | None = None, encode: Encode = encode) -> None:
        super().__init__(tail, Dialect(run.session_id, run.job_id, partials), run.first, encode)


class SessionFrames(Frames):
    """Of every run of a session, without end."""

    def __init__(self, tail: Tail, partials: bool | None = None) -> None:
        super().__init__(tail, AllRuns(tail.session.id, partials))

    async def page(self, after: int, limit: int) -> dict[str, Any]:
        """At most *limit* events: {"events": [{"id", "event", "data"}], "after": an id to go on behind, "reset": bool}.
        Raises StoreFailed."""
        reset = after == RESET
        after = max(after, 0)
        while (place := self._place(after)) is None:
            await trio.lowlevel.checkpoint()
        fold, pos, skip = place.fold.copy(), place.pos, after % PARTS if place.pos == after // PARTS else 0
        events: list[dict[str, Any]] = []
        for record in self._records(pos, pos + STEP_RECORDS):
            fresh = fold.apply(record)[skip:][: limit - len(events)]
            events += [{"id": each.ident + self._suffix, "event": each.name, "data": each.data} for each in fresh]
            pos, skip = record.pos, 0
            if len(events) == limit:
                return {"events": events, "after": events[-1]["id"], "reset": reset}
        return {"events": events, "after": f"{pos}{self._suffix}", "reset": reset}


class SharedFrames:
    """The frames of sessions, one for all who read the same: they share a flusher, and the marks on the way."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[SessionFrames, Feed]] = OrderedDict()

    def of(self, tail: Tail) -> tuple[SessionFrames, Feed]:
        known = self._known.get(tail.session.id)
        if known is None or not known[0].is_of(tail):
            frames = SessionFrames(tail)
            known = self._known[tail.session.id] = frames, frames.feed()
        self._known.move_to_end(tail.session.id)
        if len(self._known) > KEPT_SESSIONS:
            self._known.popitem(last=False)
        return known


async def run_events(tail: Tail, run: Run, partials: bool | None = None) -> AsyncGenerator[Event, None]:
    """The events of a run as they come, `done` last; take it with aclosing(). It ends without `done` when the server
    stops. Raises StoreFailed: also where records were taken back."""
    dialect, pos, cuts = Dialect(run.session_id, run.job_id, partials), run.first - 1, tail.cuts
    news = trio.Event()
    unsubscribe = tail.subscribe(lambda: news.set())
    try:
        while not dialect.over and not tail.closed:
            if cuts != tail.cuts:
                raise StoreFailed("records of this run were taken back; its session has what is left")
            news = trio.Event()
            for record in tail.reader.read(pos, PAGE_RECORDS, FRAME_BYTES):
                pos = record.pos
                for event in dialect.apply(record):
                    yield event
            if dialect.over or tail.closed or pos < tail.reader.last_pos:
                await trio.lowlevel.checkpoint()  # who takes all at once must not keep others waiting
            else:
                await news.wait()
    finally:
        unsubscribe()
