"""WebSockets as clients of a library see them."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked
from trio_websocket import (
    ConnectionClosed,
    WebSocketConnection,
    connect_websocket_url,
    wrap_client_stream,
)

from agentd.wire.feed import Feed
from agentd.wire.frames import text_frame, upgrade
from agentd.wire.limits import Limits
from agentd.wire.messages import Answer, Hangup, Request
from agentd.wire.routing import Mount, Routes
from agentd.wire.websocket import WebSocket
from tests.wire.conftest import FakeSource, House, Start

Handler = Callable[[WebSocket], Awaitable[None]]


def serving(handler: Handler) -> Routes:
    """A face with that one WebSocket."""
    routes = Routes()

    @routes.get("/ws")
    async def ws(app: object, request: Request) -> Answer:
        return upgrade(request, handler)

    return routes


async def echo(socket: WebSocket) -> None:
    async for message in socket:
        await socket.send(message)


async def connect(house: House, nursery: trio.Nursery, **options: Any) -> WebSocketConnection:
    stream = (await house.connect()).stream
    return await wrap_client_stream(nursery, stream, "localhost", "/ws", **options)


@pytest.fixture
async def echoing(start: Start) -> House:
    house: House = await start(serving(echo), Limits(message=1000))
    return house


async def test_messages_go_both_ways(echoing: House, nursery: trio.Nursery) -> None:
    client = await connect(echoing, nursery)
    for message in ("hello", b"\x00\xff", "", "ü" * 900):
        await client.send_message(message)
        assert await client.get_message() == message


async def test_a_client_that_closes_gets_its_code_back(echoing: House, nursery: trio.Nursery) -> None:
    client = await connect(echoing, nursery)
    await client.aclose(3001, "enough")
    assert client.closed is not None
    assert client.closed.code == 3001


async def test_a_socket_is_closed_when_its_handler_returns(start: Start, nursery: trio.Nursery) -> None:
    async def once(socket: WebSocket) -> None:
        async for message in socket:
            await socket.send(message)
            return

    client = await connect(await start(serving(once)), nursery)
    await client.send_message("only this")
    assert await client.get_message() == "only this"
    assert await code_of(client) == 1000


async def code_of(client: WebSocketConnection) -> int:
    with pytest.raises(ConnectionClosed) as caught:
        await client.get_message()
    assert caught.value.reason is not None
    return caught.value.reason.code


async def test_a_handler_closes_with_a_code_and_a_reason_of_its_own(start: Start, nursery: trio.Nursery) -> None:
    async def refuse(socket: WebSocket) -> None:
        await socket.close(4001, "Missing API key")

    client = await connect(await start(serving(refuse)), nursery)
    assert await code_of(client) == 4001
    assert client.closed is not None
    assert client.closed.reason == "Missing API key"


async def test_a_handler_that_fails_is_logged_and_closed_with_1011(
    start: Start, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(socket: WebSocket) -> None:
        raise ValueError("a bug")

    client = await connect(await start(serving(fail)), nursery)
    assert await code_of(client) == 1011
    assert "a bug" in caplog.text


async def test_a_message_over_the_limit_closes_with_1009(echoing: House, nursery: trio.Nursery) -> None:
    client = await connect(echoing, nursery)
    await client.send_message("x" * 1001)
    assert await code_of(client) == 1009


async def test_a_server_that_ends_says_1001_at_once(
    start: Start, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    ended = trio.Event()

    async def wait(socket: WebSocket) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.set()

    house = await start(serving(wait))
    client = await connect(house, nursery)
    began = trio.current_time()
    house.scope.cancel()
    assert await code_of(client) == 1001
    await house.ended.wait()
    assert ended.is_set()
    assert trio.current_time() == began


async def test_a_server_waits_no_longer_for_a_client_that_does_not_agree_to_the_end(
    start: Start, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    house = await start(serving(echo), Limits(linger_seconds=2))
    stream = (await house.connect()).stream
    async with trio.open_nursery() as broken:
        client = await wrap_client_stream(broken, stream, "localhost", "/ws")
        broken.cancel_scope.cancel()  # its reader is gone: nobody answers
    began = trio.current_time()
    house.scope.cancel()
    await house.ended.wait()
    assert client.closed is None
    assert 2 <= trio.current_time() - began <= 2 * 2 + 1


async def test_a_socket_that_comes_while_the_server_ends_is_closed_too(start: Start, nursery: trio.Nursery) -> None:
    ready, go_on = trio.Event(), trio.Event()
    routes = Routes()

    @routes.get("/ws")
    async def ws(app: object, request: Request) -> Answer:
        ready.set()
        await go_on.wait()
        return upgrade(request, echo)

    house = await start(routes)
    clients: list[WebSocketConnection] = []

    async def arrive() -> None:
        clients.append(await connect(house, nursery))

    async with trio.open_nursery() as arriving:
        arriving.start_soon(arrive)
        await ready.wait()
        house.scope.cancel()
        await wait_all_tasks_blocked()
        go_on.set()
    assert await code_of(clients[0]) == 1001
    await house.ended.wait()


async def test_a_client_is_asked_every_20_seconds_whether_it_is_there(
    echoing: House, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    client = await connect(echoing, nursery)
    await trio.sleep(3600)
    await client.send_message("still here")  # the library has answered every ping
    assert await client.get_message() == "still here"


async def test_a_dead_client_is_cut_after_two_pings(start: Start, autojump_clock: MockClock) -> None:
    ended = trio.Event()

    async def watch(socket: WebSocket) -> None:
        try:
            async for _ in socket:
                pass
        finally:
            ended.set()

    house = await start(serving(watch))
    stream = (await house.connect()).stream
    async with trio.open_nursery() as broken:
        await wrap_client_stream(broken, stream, "localhost", "/ws")
        broken.cancel_scope.cancel()
    began = trio.current_time()
    await ended.wait()
    assert 20 <= trio.current_time() - began <= 40


async def test_a_handler_that_takes_its_time_is_not_taken_for_a_dead_client(
    start: Start, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async def slow(socket: WebSocket) -> None:
        async for message in socket:
            await trio.sleep(300)
            await socket.send(message)

    client = await connect(await start(serving(slow)), nursery)
    for message in ("one", "two", "three"):
        await client.send_message(message)
    assert [await client.get_message() for _ in range(3)] == ["one", "two", "three"]


async def test_whoever_sends_after_the_client_left_is_told(start: Start, nursery: trio.Nursery) -> None:
    told = trio.Event()

    async def late(socket: WebSocket) -> None:
        async for _ in socket:
            pass
        try:
            await socket.send("too late")
        except Hangup:
            told.set()

    client = await connect(await start(serving(late)), nursery)
    await client.aclose()
    await told.wait()


# --- a server that pushes ---------------------------------------------------------------------------------------------


def pushing(feed: Feed, after: int = 0) -> Handler:
    """As a dashboard does: everything of a feed goes out, and what comes in is answered meanwhile."""

    async def handle(socket: WebSocket) -> None:
        async def push() -> None:
            if await socket.push(feed, after):
                await socket.close(1000, "that is all")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            async for message in socket:
                await socket.send(message)
            nursery.cancel_scope.cancel()

    return handle


def frame(number: int, size: int = 20) -> bytes:
    return text_frame(f"{number}".rjust(size).encode())


async def test_a_feed_is_pushed_to_every_socket(start: Start, nursery: trio.Nursery, source: FakeSource) -> None:
    house = await start(serving(pushing(Feed(source, keepalive=b""))))
    source.add(*map(frame, range(3)))
    clients = [await connect(house, nursery) for _ in range(5)]
    await wait_all_tasks_blocked()
    source.add(*map(frame, range(3, 6)))
    for client in clients:
        assert [int(await client.get_message()) for _ in range(6)] == list(range(6))
    source.end()
    assert [await code_of(client) for client in clients] == [1000] * 5


async def test_pings_answers_and_a_fan_out_never_interleave(start: Start, nursery: trio.Nursery) -> None:
    source = FakeSource(piece=300_000)
    house = await start(serving(pushing(Feed(source, keepalive=b""))))
    total, done = 60, trio.Event()

    async def read(client: WebSocketConnection) -> None:
        numbers: list[str | bytes] = []
        echoes: list[str | bytes] = []
        while len(numbers) < total or len(echoes) < 40:
            message = await client.get_message()
            (echoes if str(message).startswith("echo") else numbers).append(message)
        assert [int(each) for each in numbers] == list(range(total))
        assert echoes == [f"echo {number}" for number in range(40)]

    async def write(client: WebSocketConnection) -> None:
        for number in range(40):
            with trio.fail_after(60):
                await client.ping()  # the answer goes out between the frames of the feed
            await client.send_message(f"echo {number}")

    async def add() -> None:
        for number in range(total):  # each far over what a socket takes at once
            source.add(frame(number, 500_000))
            await trio.lowlevel.checkpoint()
        done.set()

    clients = [await connect(house, nursery, max_message_size=1 << 20) for _ in range(3)]
    async with trio.open_nursery() as work:
        work.start_soon(add)
        for client in clients:
            work.start_soon(read, client)
            work.start_soon(write, client)
    assert done.is_set()


async def test_a_socket_that_is_not_read_waits_at_its_cursor_and_delays_nobody(
    start: Start, nursery: trio.Nursery, source: FakeSource
) -> None:
    feed = Feed(source, keepalive=b"")
    house = await start(serving(pushing(feed)))
    stalled = await connect(house, nursery)  # reads one message, then its library waits for somebody to take it
    quick = await connect(house, nursery)
    frames = 2000
    for number in range(frames):
        source.add(frame(number, 2000))
        assert int(await quick.get_message()) == number
    assert feed.behind == 1
    assert [int(await stalled.get_message()) for _ in range(frames)] == list(range(frames))


async def test_a_socket_that_takes_no_byte_is_cut(
    start: Start, nursery: trio.Nursery, source: FakeSource, autojump_clock: MockClock
) -> None:
    feed = Feed(source, keepalive=b"")
    house = await start(serving(pushing(feed)), Limits(stall_seconds=60))
    await connect(house, nursery)
    await wait_all_tasks_blocked()
    source.add(*(frame(number, 2000) for number in range(2000)))
    await wait_all_tasks_blocked()
    assert feed.behind == 1
    await trio.sleep(59)
    assert feed.readers == 1
    await trio.sleep(3)
    assert feed.readers == 0


async def test_whoever_sends_to_a_client_that_takes_no_byte_is_cut_too(
    start: Start, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    sent, ended = 0, trio.Event()

    async def flood(socket: WebSocket) -> None:
        nonlocal sent
        try:
            while True:
                await socket.send("x" * 10_000)
                sent += 1
        finally:
            ended.set()

    began = trio.current_time()
    await connect(await start(serving(flood), Limits(stall_seconds=60)), nursery)
    await ended.wait()
    assert 60 <= trio.current_time() - began <= 62
    assert sent < 1000  # the rest waits where it comes from


async def test_a_push_that_is_dropped_inside_a_frame_takes_the_socket_with_it(
    start: Start, nursery: trio.Nursery, source: FakeSource
) -> None:
    told = trio.Event()
    feed = Feed(source, keepalive=b"")

    async def drop(socket: WebSocket) -> None:
        async with trio.open_nursery() as pushes:
            pushes.start_soon(socket.push, feed)
            await wait_all_tasks_blocked()
            source.add(frame(0, 4_000_000))
            await wait_all_tasks_blocked()
            pushes.cancel_scope.cancel()
        try:
            await socket.send("in the middle of the frame")
        except Hangup:
            told.set()

    await connect(await start(serving(drop)), nursery)
    await told.wait()


async def test_a_feed_is_pushed_over_tls(
    tcp: Callable[..., Any], tls: Any, nursery: trio.Nursery, source: FakeSource
) -> None:
    context: ssl.SSLContext = tls.client
    port = await tcp(tls=tls.server, mounts=[Mount(serving(pushing(Feed(source, keepalive=b""))), None)])
    client = await connect_websocket_url(nursery, f"wss://127.0.0.1:{port}/ws", ssl_context=context)
    source.add(*map(frame, range(3)))
    assert [int(await client.get_message()) for _ in range(3)] == [0, 1, 2]
    await client.send_message("and back")
    assert await client.get_message() == "and back"
    await client.aclose()


async def test_a_key_in_the_address_is_in_no_line_of_the_log(
    start: Start, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    house = await start(serving(echo))
    stream = (await house.connect()).stream
    client = await wrap_client_stream(nursery, stream, "localhost", "/ws?api_key=sk-very-secret")
    await client.send_message("hello")
    await client.get_message()
    await client.aclose()
    ours = [record for record in caplog.records if "server" in record.getMessage() or "agentd" in record.name]
    assert ours
    assert not [record for record in ours if "secret" in record.getMessage()]
