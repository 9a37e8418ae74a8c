"""A session's log seen from the daemon, whoever writes it: its file, and word of when there is more in it.

While somebody reads, the executor's own announcements tell; where there is no executor of ours, as in a session of
`agentd run`, the file's size is looked at now and then. Nobody reads, nothing is watched.
"""

from __future__ import annotations

import json
import logging
import re
from collections import OrderedDict
from collections.abc import Callable, Collection
from functools import partial
from typing import Protocol

import attrs
import trio

from agentd.daemon.launch import Launched
from agentd.errors import InvalidRequest, StoreFailed
from agentd.store.home import SessionDir
from agentd.store.view import LogReader
from agentd.wire import sse
from agentd.wire.client import Client
from agentd.wire.failure import HttpFailed
from agentd.wire.feed import Feed

LOOK_SECONDS = 0.25  # between two looks at a file that nobody announces anything of
KEPT = 64  # logs that are held open, of those that nobody reads
FRAME_BYTES = 64 * 1024
SCAN_BYTES = 1 << 20  # that are looked through at a time for records of some types
ANSWER_SECONDS = 10.0  # for an executor to begin with its announcements
RESET, OVER = -1, 2**62  # ordinals: before a reset event, and behind one that ends the stream
logger = logging.getLogger(__name__)


class Executor(Protocol):
    """What is used of daemon.executors.Seat."""

    @property
    def launched(self) -> Launched | None: ...

    def client(self) -> Client: ...


# --- Cursors ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Cursor:
    """A position that a reader has seen, and in which generation of the log; None: it does not say."""

    pos: int = 0
    generation: int | None = None

    def __str__(self) -> str:
        return str(self.pos) if self.generation in (None, 1) else f"{self.pos}.{self.generation}"

    @classmethod
    def parse(cls, text: str, *, generation: int | None = None) -> Cursor:
        """`17`, or `17.2` of a later generation than the first. *generation*: that of one that does not say. Raises
        InvalidRequest."""
        found = re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?", text)
        if found is None:
            raise InvalidRequest([f"expected a position of the log, not {text[:40]!r} @ $.after"])
        return cls(int(found[1]), int(found[2]) if found[2] else generation)


# --- One log ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Records:
    """Some of a log. *lines*: JSON objects; *at*: where to read on; *reset*: the cursor could not be served, so these
    are from the beginning."""

    lines: list[bytes]
    at: Cursor
    reset: bool


class Tail:
    """Made by Tails.open(). What it shows is the file up to the last look."""

    def __init__(
        self, session: SessionDir, reader: LogReader, executor: Callable[[], Executor | None], nursery: trio.Nursery
    ) -> None:
        self.session = session
        self.reader = reader
        self.generation = reader.generation
        self.cuts = 0  # how often records were taken back that readers may have seen
        self.closed = False
        self._executor = executor
        self._nursery = nursery
        self._callbacks: dict[object, Callable[[], object]] = {}
        self._watching: trio.CancelScope | None = None
        self._feed: Feed | None = None  # of all records: its readers share one flusher

    @property
    def is_read(self) -> bool:
        return bool(self._callbacks)

    def look(self) -> None:
        """See what was appended, and tell who reads."""
        before = self.reader.last_pos
        try:
            last, generation = self.reader.refresh(), self.reader.generation
        except StoreFailed:  # it was removed
            self.close()
            return
        if generation != self.generation or last < before:  # who reads on has seen what is no more
            self.generation, self._feed = generation, None
            self.cuts += 1
        elif last == before:
            return
        self._tell()

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        """*callback* is called when there is more. What is returned ends that."""
        key = object()
        self._callbacks[key] = callback
        if self._watching is None and not self.closed:
            self._watching = trio.CancelScope()
            self._nursery.start_soon(self._watch, self._watching)

        def unsubscribe() -> None:
            self._callbacks.pop(key, None)
            if not self._callbacks and self._watching is not None:
                self._watching.cancel()
                self._watching = None

        return unsubscribe

    def can_resume(self, cursor: Cursor) -> bool:
        return self.reader.can_resume(cursor.pos, cursor.generation)

    def feed(self, types: Collection[str] = ()) -> Feed:
        """The records as server-sent events, of those *types* alone if any are named. Begin behind ordinal RESET for a
        cursor that cannot be resumed."""
        if types:
            return Feed(LogFrames(self, frozenset(types)))
        if self._feed is None:
            self._feed = Feed(LogFrames(self, frozenset()))
        return self._feed

    def page(self, cursor: Cursor, limit: int, types: Collection[str] = ()) -> Records:
        """At most *limit* records behind *cursor*, of at most SCAN_BYTES. Raises StoreFailed."""
        reset = not self.can_resume(cursor)
        at, lines = 0 if reset else cursor.pos, list[bytes]()
        for line in self.reader.read_json(at, None if types else limit, SCAN_BYTES).split(b"\n")[:-1]:
            if len(lines) == limit:
                break
            at += 1
            if (shown := told(line, types)) is not None:
                lines.append(shown)
        return Records(lines, Cursor(at, self.generation), reset)

    async def wait(self, cursor: Cursor, seconds: float, types: Collection[str] = ()) -> None:
        """Until a record behind *cursor* can be had, or the time is over."""
        news = trio.Event()
        unsubscribe = self.subscribe(lambda: news.set())
        try:
            with trio.move_on_after(seconds):
                while not self.closed and self.can_resume(cursor):
                    page = self.page(cursor, 1, types)
                    if page.lines:
                        return
                    if page.at.pos > cursor.pos:
                        await trio.lowlevel.checkpoint()
                    else:
                        news = trio.Event()
                        await news.wait()
                    cursor = page.at
        finally:
            unsubscribe()

    def close(self) -> None:
        """End every stream: the session is gone, or nobody reads."""
        self.closed = True
        self._tell()
        self.reader.close()

    def _tell(self) -> None:
        for callback in tuple(self._callbacks.values()):
            callback()

    # --- Watching -------------------------------------------------------------------------------------------------

    async def _watch(self, scope: trio.CancelScope) -> None:
        with scope:
            while not self.closed:
                self.look()
                executor = self._executor()
                if executor is not None and (launched := executor.launched) is not None:
                    await self._listen(executor.client(), launched)
                await trio.sleep(LOOK_SECONDS)

    async def _listen(self, client: Client, launched: Launched) -> None:
        """Look whenever the executor says that there is more, until it says nothing any more."""
        headers = [("Authorization", f"Bearer {launched.token}")]
        path = f"/_/log?after={self.reader.last_pos}"
        try:
            async with client.open_stream("GET", path, headers=headers, seconds=ANSWER_SECONDS) as stream:
                async for _ in stream.chunks():
                    self.look()
                    if self.closed:
                        return
        except HttpFailed as exc:
            logger.debug("the announcements of an executor ended: %s", exc, extra={"session": self.session.id})


@attrs.define(eq=False)
class LogFrames:
    """The records from now on as frames for a feed, numbered by position, until some are taken back."""

    tail: Tail
    types: frozenset[str] = frozenset()
    generation: int = attrs.field(init=False)
    cuts: int = attrs.field(init=False)
    _empty: tuple[int, int] = (0, 0)  # from where to where there is nothing of these types

    def __attrs_post_init__(self) -> None:
        self.generation, self.cuts = self.tail.generation, self.tail.cuts

    def read(self, after: int) -> tuple[bytes, int]:
        if self.ended(after):
            return b"", after
        if self.cuts != self.tail.cuts:
            return self._reset(), OVER
        if after == RESET:
            return self._reset(), 0
        frames, at, scanned = bytearray(), self._empty[1] if after == self._empty[0] else after, 0
        while raw := self.tail.reader.read_json(at, max_bytes=FRAME_BYTES):
            for line in raw.split(b"\n")[:-1]:
                at += 1
                if (shown := told(line, self.types)) is not None:
                    frames += b"id: %b\nevent: record\ndata: %b\n\n" % (str(self._cursor(at)).encode(), shown)
            if frames:
                return bytes(frames), at
            if (scanned := scanned + len(raw)) > SCAN_BYTES:
                return sse.KEEPALIVE, at  # others want their turn; a comment takes the reader on
        self._empty = after, at
        return b"", after

    def ended(self, after: int) -> bool:
        return self.tail.closed or after == OVER

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.tail.subscribe(callback)

    def _cursor(self, pos: int) -> Cursor:
        return Cursor(pos, self.generation)

    def _reset(self) -> bytes:
        now = Cursor(0, self.tail.generation)
        data = json.dumps({"generation": self.tail.generation, "last": self.tail.reader.last_pos, "after": str(now)})
        return b"id: %b\n" % str(now).encode() + sse.encode("reset", data)


def told(line: bytes, types: Collection[str]) -> bytes | None:
    """A record as it may be shown; None if it is of none of *types*. What tells requests apart stays here."""
    made_job = b'"type":"job.created"' in line[:200]
    if not types and not made_job:
        return line
    fields = json.loads(line)
    if types and fields["type"] not in types:
        return None
    if fields["type"] != "job.created":
        return line
    fields["data"] = {name: value for name, value in fields["data"].items() if name not in ("key", "payload")}
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


# --- All of them --------------------------------------------------------------------------------------------------


class Tails:
    """The logs that somebody reads, or has just read."""

    def __init__(self, nursery: trio.Nursery, executor: Callable[[str], Executor | None]) -> None:
        """*executor*: of a session's id, if it has a place for one."""
        self._nursery = nursery
        self._executor = executor
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    async def open(self, session: SessionDir) -> Tail:
        """As it is now. Raises StoreFailed."""
        tail = self._tails.get(session.id)
        if tail is None or tail.closed:
            reader = await trio.to_thread.run_sync(LogReader, session.log_path)
            tail = self._keep(session, reader)
        self._tails.move_to_end(session.id)
        tail.look()
        if tail.closed:
            raise StoreFailed(f"the log of session {session.id} is gone")
        return tail

    def _keep(self, session: SessionDir, reader: LogReader) -> Tail:
        known = self._tails.get(session.id)
        if known is not None and not known.closed:  # another reader was faster
            reader.close()
            return known
        tail = self._tails[session.id] = Tail(session, reader, partial(self._executor, session.id), self._nursery)
        idle = [each for each in self._tails.values() if not each.is_read and each is not tail]
        for each in idle[: max(len(idle) - KEPT, 0)]:
            self.drop(each.session.id)
        return tail

    def look(self, session_id: str) -> None:
        """Something was appended to a session's log."""
        if (tail := self._tails.get(session_id)) is not None:
            tail.look()

    def drop(self, session_id: str) -> None:
        """End whoever reads it."""
        if (tail := self._tails.pop(session_id, None)) is not None:
            tail.close()

    def close(self) -> None:
        """End every stream: the server is stopping."""
        for session_id in tuple(self._tails):
            self.drop(session_id)
