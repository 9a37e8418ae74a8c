"""Calls that go on to a session's executor, and its answers as they come. The contract, §8.

Path, query and bodies pass byte for byte. Of the header fields only those below do.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import trio

from agentd.daemon.executors import Seat
from agentd.daemon.pool import Managed, Pool
from agentd.errors import ExecutorFailed
from agentd.wire.failure import HttpFailed
from agentd.wire.incoming import Answer as Incoming
from agentd.wire.messages import Answer, ChunkedResponse, Fields, Request, Response
from agentd.wire.presence import WaitGone, while_there

ALWAYS = ("Accept", "Last-Event-ID", "X-Github-Token")
WITH_BODY = ("Content-Type", "Content-Length", "Idempotency-Key")
BACK = ("Retry-After", "Content-Disposition", "X-Next-After", "Allow", "Cache-Control", "X-Accel-Buffering")
HEAD_SECONDS = 300.0  # for the executor to begin its answer
QUIET_SECONDS = 300.0  # between two pieces of it: a stream of events has a comment every 15
DYING_SECONDS = 1.0  # for an executor that refuses connections to be seen to be dead


async def relay(pool: Pool, request: Request, managed: Managed) -> Answer:
    """What the session's executor answers; it is launched if it does not live. The call is dropped when the client
    leaves. Raises ExecutorFailed, HttpFailed, SessionNotFound, Hangup."""
    body = _Body(request) if request.method == "POST" else None
    async with AsyncExitStack() as stack:
        with pool.calling(managed):
            wait_gone = _wait_gone(request, body)
            try:
                incoming = await while_there(wait_gone, lambda: _open(stack, managed.seat, request, body))
            except ExecutorFailed:
                pool.get(managed.id)  # it was removed meanwhile: then that is what the client is told
                raise
            if body is not None and not body.over.is_set():  # it is answered without having been read
                return _response(incoming, await incoming.read_all())
        return _streamed(incoming, stack.pop_all())


async def _open(stack: AsyncExitStack, seat: Seat, request: Request, body: _Body | None) -> Incoming:
    """The answer's head. An executor that died just now, unnoticed, is launched again."""
    try:
        return await _ask(stack, seat, request, body)
    except HttpFailed as exc:
        if exc.kind != "connect" or seat.launched is None:
            raise
        with trio.move_on_after(DYING_SECONDS):
            await seat.launched.wait_dead()
        return await _ask(stack, seat, request, body)


async def _ask(stack: AsyncExitStack, seat: Seat, request: Request, body: _Body | None) -> Incoming:
    launched = await seat.up()  # refused once the session is being removed
    stream = seat.client().open_stream(
        request.method,
        request.inner_target,
        headers=[("Authorization", f"Bearer {launched.token}"), *_fields(request)],
        body=b"" if body is None else body,
        seconds=HEAD_SECONDS,
        idle_seconds=QUIET_SECONDS,
    )
    return await stack.enter_async_context(stream)


def _fields(request: Request) -> Fields:
    names = ALWAYS + WITH_BODY if request.method == "POST" else ALWAYS
    return [(name, request.headers[name]) for name in names if name in request.headers]


class _Body:
    """The request's, as it comes."""

    def __init__(self, request: Request) -> None:
        self.over = trio.Event()  # all of it was read
        self._chunks = request.chunks()

    def __aiter__(self) -> _Body:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            self.over.set()
            raise


def _wait_gone(request: Request, body: _Body | None) -> WaitGone | None:
    """Until the client leaves; None where that cannot be told, since it has sent a body that nobody reads."""
    wait = request.wait_gone
    if wait is None or (body is None and _has_body(request)):
        return None

    async def wait_gone() -> None:
        if body is not None:
            await body.over.wait()  # until then it is read, and that tells
        await wait()

    return wait_gone


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


# --- The answer ---------------------------------------------------------------------------------------------------


def _response(incoming: Incoming, body: bytes) -> Response:
    return Response(incoming.status, body, _content_type(incoming), _back(incoming))


def _streamed(incoming: Incoming, stack: AsyncExitStack) -> ChunkedResponse:
    length = incoming.headers.get("content-length")
    return ChunkedResponse(
        _Pieces(incoming, stack),
        _content_type(incoming),
        _back(incoming),
        incoming.status,
        int(length) if length.isdecimal() else None,
    )


def _content_type(incoming: Incoming) -> str:
    return incoming.headers.get("content-type", "application/json")


def _back(incoming: Incoming) -> Fields:
    return [(name, incoming.headers[name]) for name in BACK if name in incoming.headers]


class _Pieces:
    """The first is what has come with the head, perhaps nothing: then the head goes on alone, and a client sees that a
    stream has begun. Closing drops what has not come."""

    def __init__(self, incoming: Incoming, stack: AsyncExitStack) -> None:
        self._incoming = incoming
        self._rest: AsyncIterator[bytes] | None = None
        self._stack = stack

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._rest is None:
            self._rest = self._incoming.chunks()
            return self._incoming.chunk_nowait()
        return await anext(self._rest)

    async def aclose(self) -> None:
        await self._stack.aclose()
