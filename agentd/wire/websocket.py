"""A WebSocket on a connection that was HTTP so far. The protocol is trio-websocket's: the handshake, what comes in,
pings of the client, closing. What goes out passes one outbox, beside ready-made frames that many clients share.

The rules: RFC 6455. Neither subprotocols nor extensions (permessage-deflate) are agreed on.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Protocol

import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream

from agentd.errors import only_cause
from agentd.wire.feed import Feed, Hub, Reader
from agentd.wire.frames import PING, binary_frame, close_frame, handshake, is_close, short_reason, text_frame
from agentd.wire.limits import Limits
from agentd.wire.messages import Hangup, Upgrade
from agentd.wire.outbox import Outbox, Share
from agentd.wire.transport import GONE, Bytes, Transport

logger = logging.getLogger(__name__)

RECEIVE_BYTES = 16 * 1024  # 64 KiB of empty frames would block the others for a quarter of a second
NORMAL, GOING_AWAY, INTERNAL_ERROR = 1000, 1001, 1011


class Client(Protocol):
    """What a WebSocket needs of its connection."""

    scope: trio.CancelScope

    @property
    def transport(self) -> Transport: ...
    @property
    def hub(self) -> Hub: ...
    @property
    def limits(self) -> Limits: ...


class WebSocket:
    """`async for message in socket` until the client leaves, in one task: while none receives, nobody notices that it
    left. Any number of tasks may send; each waits for the client. One that is cancelled while it sends may leave a
    frame unfinished, and then the socket is of no more use.
    """

    __slots__ = ("_client", "_library", "_nursery", "_outbox", "_scope", "_stream")

    def __init__(self, client: Client, library: WebSocketConnection, stream: _Stream, nursery: trio.Nursery) -> None:
        self._client = client
        self._library = library
        self._stream = stream
        self._outbox = stream.outbox
        self._nursery = nursery
        self._scope = trio.CancelScope()  # of the handler

    def __aiter__(self) -> WebSocket:
        return self

    async def __anext__(self) -> str | bytes:
        """A text or a binary message."""
        try:
            return await self._library.get_message()
        except ConnectionClosed as exc:
            raise StopAsyncIteration from exc

    async def send(self, message: str | bytes) -> None:
        """One message. Returns when the system has taken it. Raises Hangup when the client has left."""
        if isinstance(message, str):
            await self.send_frames(text_frame(message.encode("utf-8", "replace")))
        else:
            await self.send_frames(binary_frame(message))

    async def send_frames(self, frames: bytes) -> None:
        """Whole ones, see frames.text_frame(). Raises Hangup."""
        try:
            await self._outbox.send(frames)
        except GONE as exc:
            raise Hangup from exc
        await trio.lowlevel.checkpoint()  # a client that takes all it is given must not keep the others waiting

    async def push(self, feed: Feed, after: int = 0) -> bool:
        """Send the frames of *feed* from after ordinal *after*, at the client's pace. True: to its end; False: the
        client left. Raises Hangup, FeedFailed."""
        share = Share(self._outbox)
        try:
            return await feed.serve(
                Reader(share, after, chunked=False, head=b""), self._client.hub, self._stream.gone.wait
            )
        except GONE as exc:
            raise Hangup from exc
        finally:
            share.leave()

    async def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Say so, and wait a moment for the client to agree. Of a *reason* 123 bytes are sent; what the client has sent
        and nobody received is lost. Does nothing if the socket is closed."""
        with trio.move_on_after(self._client.limits.linger_seconds) as waiting:
            await self._library.aclose(code, short_reason(reason) or None)
        if waiting.cancelled_caught:
            self._client.scope.cancel()

    # --- looked after by a Hub, and run by serve_websocket() -------------------------------------------------------

    def beat(self) -> None:
        if self._outbox.busy:
            return  # the transport sees whether the client takes what is sent
        if self._stream.is_silent:
            self._client.scope.cancel()
        else:
            self._stream.is_silent = self._stream.is_waiting
            self._nursery.start_soon(self._ping)

    async def _ping(self) -> None:
        with suppress(*GONE):  # whoever receives finds out
            await self._outbox.send(PING)

    def go_away(self) -> None:
        self._scope.cancel()

    async def handle(self, answer: Upgrade) -> None:
        code = NORMAL
        try:
            with self._scope:
                await answer.handler(self)
            if self._scope.cancelled_caught:
                code = GOING_AWAY
        except Exception as exc:
            if not isinstance(only_cause(exc), Hangup):
                logger.exception("the handler of a WebSocket failed")
                code = INTERNAL_ERROR
        await self.close(code)


async def serve_websocket(client: Client, answer: Upgrade, request_id: str, early: bytes) -> bool:
    """From the handshake to the end. *early*: what the client sent with it. True: it may be sending still."""
    stream = _Stream(client.transport, handshake(answer.key), early)
    try:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream, 0, client.limits.message, RECEIVE_BYTES)
            library = await request.accept(extra_headers=_encoded(answer, request_id))
            stream.open(library)
            socket = WebSocket(client, library, stream, nursery)
            with client.hub.holding(socket):
                await socket.handle(answer)
            # The library's reader ends by itself, unless its client says nothing more.
            nursery.cancel_scope.deadline = trio.current_time() + client.limits.linger_seconds
    except Exception as exc:
        if not stream.outbox.over:
            raise
        logger.debug("a WebSocket broke at its end: %r", only_cause(exc))  # say, by a ping that came after our Close
    return not stream.is_closed_by_both


def _encoded(answer: Upgrade, request_id: str) -> list[tuple[bytes, bytes]]:
    own = [("X-Request-Id", request_id)] if request_id else []
    return [(name.encode("ascii"), value.encode("latin-1")) for name, value in (*own, *answer.headers)]


class _Stream(trio.abc.Stream):
    """What trio-websocket reads: its handshake once more, and then what comes. What it writes shares the outbox."""

    __slots__ = (
        *("_early", "_head", "_library", "_opened"),
        *("gone", "is_closed_by_both", "is_silent", "is_waiting", "outbox"),
    )

    def __init__(self, transport: Transport, head: bytes, early: bytes) -> None:
        self.outbox = Outbox(transport)
        self.gone = trio.Event()  # nothing more comes
        self.is_waiting = False  # for bytes: else somebody up there has not taken what came
        self.is_silent = False  # set by whoever asks; when something comes it is not
        self.is_closed_by_both = False
        self._head = head
        self._early = early
        self._opened = trio.Event()
        self._library: WebSocketConnection | None = None

    def open(self, library: WebSocketConnection) -> None:
        """The handshake was answered."""
        self._library = library
        self._opened.set()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        await self._opened.wait()  # wsproto loses what it is given of a client that does not wait for the answer
        if self._early:
            early, self._early = self._early, b""
            return early
        if self.gone.is_set():
            raise trio.ClosedResourceError
        self.is_silent, self.is_waiting = False, True
        try:
            data = await self.outbox.transport.receive(max_bytes or RECEIVE_BYTES)
        except OSError as exc:
            self.gone.set()
            raise trio.BrokenResourceError from exc
        finally:
            self.is_silent = self.is_waiting = False
        if not data:
            self.gone.set()
        return data

    async def send_all(self, data: Bytes) -> None:
        try:
            await self.outbox.send(data, last=is_close(data))
        except OSError as exc:
            raise trio.BrokenResourceError from exc

    async def wait_send_all_might_not_block(self) -> None:
        """The outbox waits."""

    async def aclose(self) -> None:
        """The protocol is over; the connection is closed elsewhere. trio-websocket says nothing to a client that broke
        the protocol, which should learn why (RFC 6455, 7.1.7)."""
        self.gone.set()
        self.is_closed_by_both = self.outbox.over
        if not self.outbox.over and self._library is not None and (reason := self._library.closed) is not None:
            await self.send_all(close_frame(reason.code, reason.reason or ""))
