"""The events of one job, numbered from 1: an index over the session's log, read page by page or as a live stream."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterator

import trio

from agentd.domain import Record
from agentd.engine.session import Session
from agentd.faces.executor.dialect import Event, events_of
from agentd.wire import sse

BATCH_RECORDS = 512  # read from the log at a time
FRAME_BYTES = 64 * 1024  # of a live stream, encoded at a time


class JobEvents:
    """`after` is the number of the last event that a reader has; 0 or less means from the start."""

    def __init__(self, session: Session, job_id: str) -> None:
        self._session = session
        self._job = session.state.jobs[job_id]
        self._folded = self._job.first - 1  # position of the last record that the index covers
        self._positions = array("Q")  # of event n, at n - 1: the position of its record,
        self._places = array("B")  # its place among the record's events, and
        self._fresh = array("B")  # whether it began a message: what its fold needs to know
        self._message: str | None = None

    @property
    def count(self) -> int:
        self._cover_new_records()
        return len(self._positions)

    def ended(self, after: int) -> bool:
        """Whether no event after *after* is there or will come."""
        return self._job.state.terminal and after >= self.count

    def page(self, after: int, limit: int) -> Iterator[tuple[int, int, Event]]:
        """(number, epoch milliseconds, event) of at most *limit* events."""
        first = max(after, 0)
        last = min(self.count, first + limit)
        while first < last:
            start = self._positions[first]
            for record in self._session.view.read(start - 1, BATCH_RECORDS):
                while first < last and self._positions[first] == record.pos:
                    event = events_of(record, fresh=bool(self._fresh[first]))[self._places[first]]
                    first += 1
                    yield first, record.ts, event

    async def wait(self, after: int, seconds: float) -> None:
        """Until there is an event after *after*, or the job has ended, or the time is over."""
        deadline = trio.current_time() + seconds
        while self.count <= max(after, 0) and not self._job.state.terminal and trio.current_time() < deadline:
            changed = trio.Event()
            unsubscribe = self.subscribe(changed.set)
            try:
                with trio.move_on_at(deadline):
                    await changed.wait()
            finally:
                unsubscribe()

    # --- A source of frames for wire's feed -----------------------------------------------------------------------

    def read(self, after: int) -> tuple[bytes, int]:
        """Server-sent events after *after*, and the number of the last of them."""
        frames = bytearray()
        for seq, timestamp, event in self.page(after, BATCH_RECORDS):
            body = json.dumps(event.to_json(seq, timestamp, plain=False), separators=(",", ":"))
            frames += sse.encode(event.type, body, event_id=seq)
            after = seq
            if len(frames) >= FRAME_BYTES:
                break
        return bytes(frames), after

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        return self._session.subscribe(callback)

    def _cover_new_records(self) -> None:
        until = self._job.last
        while self._folded < until:
            for record in self._session.view.read(self._folded, min(until - self._folded, BATCH_RECORDS)):
                self._folded = record.pos
                if record.job == self._job.id:
                    self._cover(record)

    def _cover(self, record: Record) -> None:
        fresh = False
        if record.type in ("text.delta", "thinking.delta"):
            fresh = record.data["message"] != self._message
            self._message = record.data["message"]
        for place in range(len(events_of(record, fresh=fresh))):
            self._positions.append(record.pos)
            self._places.append(place)
            self._fresh.append(fresh)
