"""One source of frames, many readers: the fan-out behind every event stream.

Frames come ready-made and are sent as they are. Readers that have everything so far are *current*: one flusher task
sends what is new to all of them, by one non-blocking send each of the same bytes. A reader whose socket is full stops
being current: its own connection task sends the rest, catches up through `FrameSource.read` at its own pace and joins
again. So nobody ever waits for a reader. The rule that bites: while a reader has unsent bytes, the flusher must not
touch it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol

import trio

from agentd.errors import InvalidRequest
from agentd.wire.head import LAST_CHUNK, chunk
from agentd.wire.messages import Request
from agentd.wire.sse import KEEPALIVE
from agentd.wire.transport import GONE, Bytes

logger = logging.getLogger(__name__)


class FrameSource(Protocol):
    """Frames by ordinal. All of it is synchronous and cheap."""

    def read(self, after: int) -> tuple[bytes, int]:
        """Whole frames after ordinal *after*, about 64 KiB at most, and the ordinal of the last of them;
        (b"", after) when there is none yet."""

    def ended(self, after: int) -> bool:
        """No frame after this ordinal will ever come."""

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        """*callback* is called, in the trio thread, when there is more. What is returned ends that."""


class FeedFailed(Exception):
    """The source of a feed broke. Its readers are cut, so that they see that it is not the end."""


class Socket(Protocol):
    """A connection that lasts, and is looked after."""

    def beat(self) -> None:
        """Now and then: ask whether the client is there, and cut it off if it did not answer the last time."""

    def go_away(self) -> None:
        """The server ends."""


class Hub:
    """Where feeds run: a server's nursery for their flushers, and one tick for the keep-alive comments of all. And one
    for the WebSockets."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._feeds: set[Feed] = set()
        self._sockets: set[Socket] = set()
        self._ending = False

    def start(self, feed: Feed) -> None:
        self._nursery.start_soon(self._run, feed)

    async def _run(self, feed: Feed) -> None:
        self._feeds.add(feed)
        try:
            await feed.flush_until_alone()
        finally:
            self._feeds.discard(feed)

    def count(self) -> tuple[int, int]:
        """Readers, and those of them that do not have everything."""
        return sum(feed.readers for feed in self._feeds), sum(feed.behind for feed in self._feeds)

    async def keep_alive_forever(self, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            for feed in tuple(self._feeds):
                feed.keep_alive()

    @contextmanager
    def holding(self, socket: Socket) -> Iterator[None]:
        self._sockets.add(socket)
        if self._ending:
            socket.go_away()
        try:
            yield
        finally:
            self._sockets.discard(socket)

    async def beat_forever(self, seconds: float) -> None:
        while True:
            await trio.sleep(seconds)
            for socket in tuple(self._sockets):
                socket.beat()

    def end_sockets(self) -> None:
        self._ending = True
        for socket in tuple(self._sockets):
            socket.go_away()


class Outlet(Protocol):
    """Where a reader's frames go: a transport, or a share of one."""

    def send_nowait(self, data: Bytes) -> int: ...
    async def send_all(self, data: Bytes) -> None: ...


class Reader:
    """One client of a feed, in its connection's task."""

    __slots__ = ("after", "chunked", "kicked", "rest", "send_nowait", "transport")

    def __init__(self, transport: Outlet, after: int, *, chunked: bool, head: bytes) -> None:
        self.transport = transport
        self.send_nowait = transport.send_nowait  # looked up once: a flusher calls it for every event and reader
        self.after = after  # everything up to here was sent, or is in rest
        self.chunked = chunked  # an HTTP/1.0 client gets the bare frames
        self.rest: Bytes = head  # unsent; while there is some, only the reader's own task sends
        self.kicked: trio.CancelScope | None = None  # what its task waits in while it has nothing to do


class Feed:
    """*keepalive* goes to every waiting reader now and then: a comment in the frames' own format, or b"" for none."""

    def __init__(self, source: FrameSource, *, keepalive: bytes = KEEPALIVE) -> None:
        self._source = source
        self._keepalive = keepalive
        self._readers = 0
        self._current: set[Reader] = set()  # have everything up to _at, and wait
        self._at = 0
        self._ahead: set[Reader] = set()  # wait for an ordinal that has not come: each looks for itself
        self._news = trio.Event()
        self._flushing = False
        self._failed = False
        self._closed = False

    @property
    def readers(self) -> int:
        return self._readers

    @property
    def behind(self) -> int:
        """Readers that do not have everything that there is for them."""
        return self._readers - len(self._current) - len(self._ahead)

    def close(self) -> None:
        """The stream ends for every reader, as soon as it has what there is now."""
        self._closed = True
        self._release_all()

    async def serve(self, reader: Reader, hub: Hub, wait_gone: Callable[[], Awaitable[None]]) -> bool:
        """Send the stream to *reader*. True: to its end. False: *wait_gone* returned, for the client left.

        Raises transport.GONE, and FeedFailed.
        """
        if not self._readers:
            self._failed = False
        self._readers += 1
        try:
            while not await self._catch_up(reader):
                if self._park(reader):
                    self._start_flushing(hub)
                    with trio.CancelScope() as reader.kicked:
                        await wait_gone()
                        return False
            return True
        finally:
            self._leave(reader)

    async def _catch_up(self, reader: Reader) -> bool:
        """Until the reader has all there is. True: and no more will come."""
        while True:
            if self._failed:
                raise FeedFailed
            frames, reader.after = self._read(reader.after)
            over = not frames and (self._closed or self._ended(reader.after))
            data = b"".join(
                (reader.rest, _framed(frames, reader.chunked), LAST_CHUNK if over and reader.chunked else b"")
            )
            reader.rest = b""
            if data:
                await _send(reader.transport, data)
            if over or not data:
                return over

    def _park(self, reader: Reader) -> bool:
        """Let the reader, who has just found nothing new, wait with the others; False: there is something new now."""
        while self._current and self._at < reader.after and self._flush():
            pass
        if self._current and self._at > reader.after:
            if self._read(reader.after)[0]:
                return False
            self._ahead |= self._current  # they wait for an ordinal that the source has not reached
            self._current = set()
        if not self._current:
            self._at = reader.after
        (self._current if self._at == reader.after else self._ahead).add(reader)
        return True

    def _leave(self, reader: Reader) -> None:
        self._current.discard(reader)
        self._ahead.discard(reader)
        self._readers -= 1
        if not self._readers:
            self._news.set()  # the flusher goes with the last reader

    # --- the flusher ----------------------------------------------------------------------------------------------

    def _start_flushing(self, hub: Hub) -> None:
        if not self._flushing:
            self._flushing = True
            hub.start(self)

    async def flush_until_alone(self) -> None:
        """The flusher: for a Hub, while the feed has readers."""
        unsubscribe: Callable[[], None] | None = None
        try:
            with _told_as_failure():
                unsubscribe = self._source.subscribe(self._on_news)
            while self._readers:
                self._news = trio.Event()  # before reading: what comes while this flushes must be seen after it
                await self._flush_all()
                await self._news.wait()
        except FeedFailed:
            self._failed = True  # its readers find out from their own tasks
        finally:
            self._flushing = False
            self._release_all()
            if unsubscribe is not None:
                unsubscribe()

    def _read(self, after: int) -> tuple[bytes, int]:
        with _told_as_failure():
            return self._source.read(after)

    def _ended(self, after: int) -> bool:
        with _told_as_failure():
            return self._source.ended(after)

    def _on_news(self) -> None:
        self._news.set()

    async def _flush_all(self) -> None:
        self._release(*self._ahead)
        while self._current and self._flush():
            await trio.lowlevel.checkpoint()
        if self._current and self._ended(self._at):
            self._release(*self._current)

    def _flush(self) -> bool:
        """Send the next frames to every current reader; False when there are none."""
        frames, self._at = self._read(self._at)
        if not frames:
            return False
        for reader in self._current:
            reader.after = self._at
        self._push(self._current, frames)
        return True

    def keep_alive(self) -> None:
        if self._keepalive:
            self._push(self._current | self._ahead, self._keepalive)

    def _push(self, readers: Iterable[Reader], frames: bytes) -> None:
        framed = chunk(frames)
        for reader in tuple(readers):
            data = framed if reader.chunked else frames
            try:
                sent = reader.send_nowait(data)
            except GONE:
                sent = 0  # its own task will find out, for it has bytes to send now
            if sent < len(data):
                reader.rest = memoryview(data)[sent:]
                self._release(reader)

    def _release(self, *readers: Reader) -> None:
        """Hand them back to their own tasks."""
        for reader in readers:
            self._current.discard(reader)
            self._ahead.discard(reader)
            if reader.kicked is not None:
                reader.kicked.cancel()

    def _release_all(self) -> None:
        self._release(*self._current, *self._ahead)


class WatchedFeed(Feed):
    """Tells when its reader, the only one, has left before the end."""

    def __init__(self, source: FrameSource, on_leave: Callable[[], object], *, keepalive: bytes = KEEPALIVE) -> None:
        super().__init__(source, keepalive=keepalive)
        self._on_leave = on_leave

    async def serve(self, reader: Reader, hub: Hub, wait_gone: Callable[[], Awaitable[None]]) -> bool:
        whole = False
        try:
            whole = await super().serve(reader, hub, wait_gone)
            return whole
        finally:
            if not whole:
                self._on_leave()


@contextmanager
def _told_as_failure() -> Iterator[None]:
    try:
        yield
    except Exception as exc:  # an OSError that went on from here would be taken for a client that left
        logger.exception("the source of a feed failed")
        raise FeedFailed from exc


def resume_after(request: Request, default: int = 0) -> int:
    """The ordinal that a client has already: Last-Event-ID, which a browser sends when it reconnects to the same URL,
    goes before `?after=`. Raises InvalidRequest."""
    text = request.headers.get("last-event-id") or request.query.get("after", "")
    if not text:
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise InvalidRequest([f"expected the number of an event, not {text[:40]!r} @ $.after"])
    return int(text)


def _framed(frames: bytes, chunked: bool) -> bytes:
    return chunk(frames) if frames and chunked else frames


async def _send(transport: Outlet, data: bytes) -> None:
    sent = transport.send_nowait(data)
    if sent < len(data):
        await transport.send_all(memoryview(data)[sent:])
    else:
        await trio.lowlevel.checkpoint()  # a reader that takes all it is given must not keep the others waiting
