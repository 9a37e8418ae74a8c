"""The MCP server on standard input and output: a message a line. The rules: modelcontextprotocol.io/specification.

Whoever started us has gone when its end of the pipe is closed; then this ends too. Who reads our output slowly makes
only itself wait: answers wait for it, and with them what it sends next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import attrs
import trio

from agentd.wire.jsonrpc import PARSE_ERROR, Message, NotMessage, Response, RpcError, encode, parse_message

LINE_BYTES = 4 << 20
READ_BYTES = 1 << 16
QUEUED = 256  # messages that wait for who reads our output
MOST_TASKS = 128  # messages that are at work; then no more are read
DRAIN_SECONDS = 1.0  # for what is being answered, when there is nothing more to read


Work = Callable[[], Awaitable[None]]


class Input(Protocol):
    async def receive_some(self, max_bytes: int | None = None, /) -> bytes | bytearray: ...


class Output(Protocol):
    async def send_all(self, data: bytes, /) -> None: ...


class Backend(Protocol):
    """Who answers."""

    def take(self, message: Message, outbox: Outbox) -> Work | None:
        """A message of the client, in the order they come; what is to be done about it that takes time."""

    def take_batch(self, line: bytes, outbox: Outbox) -> Work:
        """Several messages in an array, which only one version of the protocol has."""


class Lines:
    """Bytes in, lines out, without their ends; None for one of more than LINE_BYTES, of which nothing is kept."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._too_long = False

    def feed(self, data: bytes | bytearray) -> list[bytes | None]:
        *ends, rest = data.split(b"\n")
        found: list[bytes | None] = []
        for part in ends:
            self._hold(part)
            found.append(None if self._too_long else bytes(self._held))
            self._held, self._too_long = bytearray(), False
        self._hold(rest)
        return found

    def _hold(self, part: bytes | bytearray) -> None:
        self._too_long = self._too_long or len(self._held) + len(part) > LINE_BYTES
        self._held = bytearray() if self._too_long else self._held + part


@attrs.define(eq=False)
class Outbox:
    """What is to be told to the client."""

    _queue: trio.MemorySendChannel[bytes]

    async def send(self, message: bytes) -> None:
        await self._queue.send(message)


async def serve_stdio(source: Input, sink: Output, backend: Backend) -> None:
    """Answer what comes from *source*, until nothing more comes, or *sink* takes nothing any more."""
    send, receive = trio.open_memory_channel[bytes](QUEUED)
    async with trio.open_nursery() as writing:
        writing.start_soon(_write, sink, receive, writing.cancel_scope)
        async with trio.open_nursery() as working:
            await _read(source, backend, Outbox(send), working)
            working.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS
        send.close()  # what was said is written, and then it is over
        writing.cancel_scope.deadline = trio.current_time() + DRAIN_SECONDS


async def _write(sink: Output, messages: trio.MemoryReceiveChannel[bytes], over: trio.CancelScope) -> None:
    try:
        async for message in messages:
            await sink.send_all(message + b"\n")
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        over.cancel()


async def _read(source: Input, backend: Backend, outbox: Outbox, nursery: trio.Nursery) -> None:
    lines, room = Lines(), trio.Semaphore(MOST_TASKS)
    while data := await source.receive_some(READ_BYTES):
        for line in lines.feed(data):
            try:
                if line is None:
                    raise NotMessage(f"a message has more than {LINE_BYTES} bytes", PARSE_ERROR)
                if (work := _taken(line, outbox, backend)) is not None:
                    await room.acquire()
                    nursery.start_soon(_do, work, room)
            except NotMessage as exc:
                await outbox.send(encode(Response(exc.id, error=RpcError(exc.code, str(exc)))))


def _taken(line: bytes, outbox: Outbox, backend: Backend) -> Work | None:
    """Raises NotMessage."""
    if line.lstrip().startswith(b"["):
        return backend.take_batch(line, outbox)
    return backend.take(parse_message(line), outbox) if line.strip() else None


async def _do(work: Work, room: trio.Semaphore) -> None:
    try:
        await work()
    finally:
        room.release()
