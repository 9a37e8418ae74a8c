"""What a relay needs of a server: to know that its client left, and to pass an answer on as it comes."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import pytest
import trio

from agentd.wire.messages import ChunkedResponse, Hangup, Request, Response
from agentd.wire.presence import while_there
from agentd.wire.routing import Routes

if TYPE_CHECKING:
    from tests.wire.conftest import Start

GET = b"GET /work HTTP/1.1\r\nHost: x\r\n\r\n"


async def never() -> None:
    await trio.sleep(math.inf)


async def at_once() -> None:
    await trio.lowlevel.checkpoint()


async def seven() -> int:
    await trio.lowlevel.checkpoint()
    return 7


async def fail() -> None:
    await trio.lowlevel.checkpoint()
    raise KeyError("k")


async def test_work_is_done_while_the_client_is_there() -> None:
    assert await while_there(never, seven) == 7
    assert await while_there(None, seven) == 7


async def test_what_work_raises_comes_bare() -> None:
    for wait_gone in (never, None):
        with pytest.raises(KeyError):
            await while_there(wait_gone, fail)


async def test_work_is_dropped_when_the_client_leaves() -> None:
    with pytest.raises(Hangup):
        await while_there(at_once, never)


async def test_work_that_is_done_although_the_client_left_is_done() -> None:
    async def stubborn() -> int:
        with trio.CancelScope(shield=True):
            await trio.testing.wait_all_tasks_blocked()
        return 7

    assert await while_there(at_once, stubborn) == 7


async def test_whoever_is_cancelled_is_cancelled() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await while_there(never, never)
    assert scope.cancelled_caught


async def test_a_handler_is_told_when_its_client_leaves(start: Start, routes: Routes) -> None:
    begun, dropped = trio.Event(), trio.Event()

    async def work() -> Response:
        begun.set()
        try:
            await trio.sleep(math.inf)
            raise AssertionError
        finally:
            dropped.set()

    @routes.get("/work")
    async def handler(app: object, request: Request) -> Response:
        return await while_there(request.wait_gone, work)

    client = await (await start(routes)).connect()
    await client.send(GET)
    await begun.wait()
    await client.stream.aclose()
    with trio.fail_after(5):
        await dropped.wait()


async def test_the_next_request_may_come_while_a_handler_works(start: Start, routes: Routes) -> None:
    begun, go = trio.Event(), trio.Event()

    async def work() -> Response:
        begun.set()
        await go.wait()
        return Response(200, b"done")

    @routes.get("/work")
    async def handler(app: object, request: Request) -> Response:
        return await while_there(request.wait_gone, work)

    client = await (await start(routes)).connect()
    await client.send(GET)
    await begun.wait()
    await client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    go.set()
    assert (await client.answer()).body == b"done"
    assert (await client.answer()).body == b'{"hello":"world"}'


async def test_an_empty_piece_sends_the_head_alone(start: Start, routes: Routes) -> None:
    go = trio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b""
        await go.wait()
        yield b"rest"

    @routes.get("/work")
    async def handler(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(pieces())

    client = await (await start(routes)).connect()
    await client.send(GET)
    assert (await client.read()).endswith(b"\r\n\r\n")
    go.set()
    assert (await client.read()).startswith(b"4\r\nrest\r\n")


async def test_a_body_of_known_length_is_not_sent_in_chunks(start: Start, routes: Routes) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"12"
        yield b"345"

    @routes.get("/work")
    async def handler(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(pieces(), "text/plain", length=5)

    client = await (await start(routes)).connect()
    answer = await client.ask(GET)
    assert (answer.headers["content-length"], answer.body) == ("5", b"12345")
    assert "transfer-encoding" not in answer.headers
    assert (await client.ask(GET)).body == b"12345"


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
async def test_pieces_are_closed_in_the_end_also_when_none_was_taken(
    start: Start, routes: Routes, method: bytes
) -> None:
    class Pieces:
        closed = trio.Event()

        def __aiter__(self) -> Pieces:
            return self

        async def __anext__(self) -> bytes:
            raise StopAsyncIteration

        async def aclose(self) -> None:
            self.closed.set()

    made = Pieces()

    @routes.get("/work")
    async def handler(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(made)

    client = await (await start(routes)).connect()
    await client.ask(GET.replace(b"GET", method), method.decode())
    with trio.fail_after(5):
        await made.closed.wait()
