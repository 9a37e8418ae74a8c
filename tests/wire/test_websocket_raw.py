"""WebSockets as clients see them that speak no proper WebSocket, or leave without a word."""

from __future__ import annotations

import gc
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire.connection import Connection
from agentd.wire.frames import upgrade
from agentd.wire.limits import Limits
from agentd.wire.messages import Answer, Request
from agentd.wire.routing import Mount, Routes
from agentd.wire.server import Server
from agentd.wire.transport import SocketTransport
from agentd.wire.websocket import WebSocket
from tests.wire.conftest import House, Start
from tests.wire.rawsocket import ACCEPT, BINARY, CLOSE, MORE, PING, PONG, TEXT, Frame, RawSocket, masked, opening

Connect = Callable[..., Awaitable[RawSocket]]


@pytest.fixture
def echoes() -> Routes:
    routes = Routes()
    routes.get("/ws")(open_echo)
    return routes


async def open_echo(app: object, request: Request) -> Answer:
    return upgrade(request, echo)


async def echo(socket: WebSocket) -> None:
    async for message in socket:
        await socket.send(message)


@pytest.fixture
async def house(start: Start, echoes: Routes) -> House:
    house: House = await start(echoes, Limits(message=70_000, linger_seconds=0.2))
    return house


@pytest.fixture
def connect(house: House) -> Connect:
    async def connect(request: bytes | None = None) -> RawSocket:
        return await RawSocket((await house.connect()).stream).open(request)

    return connect


# --- the handshake ----------------------------------------------------------------------------------------------------


async def test_the_answer_to_a_handshake_is_the_one_of_the_rfc(connect: Connect) -> None:
    offers = {"Sec_WebSocket_Extensions": "permessage-deflate", "Sec_WebSocket_Protocol": "chat"}
    client = await connect(opening(**offers))
    status, *fields = client.head.decode().split("\r\n")
    assert status.split()[1] == "101"
    assert sorted(field.lower() for field in fields if field) == sorted(
        ["upgrade: websocket", "connection: upgrade", f"sec-websocket-accept: {ACCEPT}".lower()]
    )


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (opening(Sec_WebSocket_Version="7"), 426),
        (opening(Sec_WebSocket_Version=None), 400),
        (opening(Sec_WebSocket_Key=None), 400),
        (opening(Sec_WebSocket_Key="%%%"), 400),
        (opening(Upgrade=None), 426),
        (opening(Connection="keep-alive"), 400),
        (opening(line="GET {} HTTP/1.0"), 426),
        (opening(line="POST {} HTTP/1.1", Content_Length="0"), 405),
        (opening(Host=None), 400),
    ],
)
async def test_a_bad_handshake_gets_an_http_answer(house: House, request_: bytes, status: int) -> None:
    client = await house.connect()
    answer = await client.ask(request_)
    assert answer.status == status
    assert status != 426 or "upgrade" in answer.headers or "sec-websocket-version" in answer.headers


async def test_after_a_refused_handshake_the_connection_takes_the_next_request(house: House) -> None:
    client = await house.connect()
    assert (await client.ask(opening(Sec_WebSocket_Version="7"))).status == 426
    await client.send(opening())
    assert b" 101 " in await client.read()


@pytest.mark.parametrize("fields", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Origin": "null"}])
async def test_pages_of_others_open_no_socket(tcp: Callable[..., Any], echoes: Routes, fields: dict[str, str]) -> None:
    port = await tcp(mounts=[Mount(echoes, None)])
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        client = await RawSocket(stream).open(opening(**fields))
    assert client.head.startswith(b"HTTP/1.1 403 ")


async def test_a_slow_handshake_gets_408(house: House, autojump_clock: MockClock) -> None:
    client = await house.connect()
    await client.send(opening()[:60])
    assert (await client.answer()).status == 408


async def test_bytes_may_come_one_at_a_time(house: House) -> None:
    slow = await house.connect()
    await slow.send(opening(), one_at_a_time=True)
    client = await RawSocket(slow.stream).open(b"")
    await slow.send(masked(TEXT, b"slow"), one_at_a_time=True)
    assert await client.frame() == Frame(TEXT, b"slow")


async def test_frames_may_come_with_the_handshake(connect: Connect) -> None:
    client = await connect(opening() + masked(TEXT, b"early") + masked(PING, b"?"))
    assert {await client.frame(), await client.frame()} == {Frame(TEXT, b"early"), Frame(PONG, b"?")}


# --- frames -----------------------------------------------------------------------------------------------------------


async def test_a_message_may_come_in_pieces_with_pings_between_them(connect: Connect) -> None:
    client = await connect()
    await client.send(masked(TEXT, b"one ", fin=False), masked(PING, b"1"), masked(MORE, b"two ", fin=False))
    assert await client.frame() == Frame(PONG, b"1")
    await client.send(masked(PONG, b"nobody asked"), masked(PING, b"2"), masked(MORE, b"three"))
    assert [await client.frame(), await client.frame()] == [Frame(PONG, b"2"), Frame(TEXT, b"one two three")]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536])
async def test_frames_of_every_length_come_and_go(connect: Connect, size: int) -> None:
    client = await connect()
    await client.send(masked(BINARY, b"x" * size))
    assert await client.frame() == Frame(BINARY, b"x" * size)


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x02hi", 1002),  # not masked
        (masked(TEXT | 0x40, b"compressed"), 1002),
        (masked(3, b"reserved"), 1002),
        (masked(MORE, b"of nothing"), 1002),
        (masked(TEXT, b"a", fin=False) + masked(TEXT, b"b"), 1002),
        (masked(PING, b"in pieces", fin=False), 1002),
        (masked(PING, b"x" * 126), 1002),
        (masked(CLOSE, b"x"), 1002),
        (masked(CLOSE, (999).to_bytes(2)), 1002),
        (masked(CLOSE, (1005).to_bytes(2)), 1002),
        (masked(CLOSE, (3000).to_bytes(2) + b"\xff"), 1007),
        (masked(TEXT, b"\xff"), 1007),
        (masked(TEXT, b"\xc3", fin=False) + masked(MORE, b"x"), 1007),
        (masked(TEXT, b"\xc3"), 1007),
        (masked(TEXT, b"x" * 70_001), 1009),
        (masked(TEXT, b"x" * 40_000, fin=False) + masked(MORE, b"x" * 40_000, fin=False), 1009),
        (b"\x82\xff" + (1 << 40).to_bytes(8) + b"mask" + b"x" * 100_000, 1009),
    ],
)
async def test_who_breaks_the_protocol_is_told_by_a_close_code(connect: Connect, frames: bytes, code: int) -> None:
    client = await connect()
    await client.send(frames)
    closing = await client.frame()
    assert (closing.opcode, closing.code) == (CLOSE, code)
    assert await client.rest() == []


async def test_a_ping_after_the_last_straw_breaks_nothing(connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    client = await connect()
    await client.send(masked(TEXT, b"x" * 70_001) + masked(PING) + masked(TEXT, b"x" * 70_001))
    assert (await client.frame()).code == 1009
    assert await client.rest() == []
    assert not caplog.records


async def test_a_close_is_answered_with_its_code_and_the_connection_ends(connect: Connect) -> None:
    client = await connect()
    await client.send(masked(CLOSE, (4321).to_bytes(2) + b"bye"))
    assert [frame.code for frame in await client.rest()] == [4321]


async def test_a_close_without_a_code_is_answered(connect: Connect) -> None:
    client = await connect()
    await client.send(masked(CLOSE))
    assert [frame.opcode for frame in await client.rest()] == [CLOSE]


async def test_messages_before_a_close_are_heard(connect: Connect) -> None:
    client = await connect()
    await client.send(masked(TEXT, b"1") + masked(TEXT, b"2") + masked(CLOSE, (1000).to_bytes(2)))
    assert [frame.opcode for frame in await client.rest()] == [TEXT, TEXT, CLOSE]


async def test_half_a_connection_is_none(connect: Connect) -> None:
    client = await connect()
    await client.send(masked(TEXT, b"last"))
    await client.stream.send_eof()
    assert [frame.opcode for frame in await client.rest()] == [TEXT]


async def test_a_client_that_sends_without_reading_is_not_read_either(connect: Connect, nursery: trio.Nursery) -> None:
    client, flooding = await connect(), trio.CancelScope()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        with flooding:
            while True:
                await client.send(masked(PING, b"x" * 125) * 100)
                sent += 1

    nursery.start_soon(flood)
    await wait_all_tasks_blocked(0.05)
    before = sent
    await wait_all_tasks_blocked(0.05)
    assert sent == before  # what it costs is bounded by the buffers of the system
    flooding.cancel()
    assert (await client.frame()).opcode == PONG


# --- nothing is left behind -------------------------------------------------------------------------------------------


async def test_a_thousand_clients_that_come_and_go_leave_nothing(house: House) -> None:
    await wait_all_tasks_blocked()
    tasks = trio.lowlevel.current_statistics().tasks_living
    endings = (masked(CLOSE, (1000).to_bytes(2)), b"", masked(TEXT, b"in the mid")[:-3], b"\x81\x02hi")
    for number in range(1000):
        stream = await trio.open_unix_socket(house.path)
        client = await RawSocket(stream).open()
        await client.send(endings[number % len(endings)])
        if number % 2:
            await client.rest() if number % 4 == 3 else None
        await stream.aclose()
    await wait_all_tasks_blocked(0.05)
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    gc.collect()
    left = [type(each) for each in gc.get_objects() if isinstance(each, (WebSocket, Connection))]
    assert left in ([], [Connection])  # the reaper may have the one in hand that it looked at last


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(masked, st.integers(0, 15), st.binary(max_size=130), fin=st.booleans()) | st.binary(max_size=20),
        max_size=8,
    ),
    st.booleans(),
)
def test_no_bytes_break_the_server(frames: list[bytes], half_close: bool) -> None:
    trio.run(_survive, frames, half_close)


async def _survive(frames: list[bytes], half_close: bool) -> None:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    routes = Routes()
    routes.get("/ws")(open_echo)
    server = Server([Mount(routes, None)], Limits(linger_seconds=0.01, tick_seconds=0.01), None)
    connection = Connection(server, SocketTransport(ours, 60), "peer", None)

    async def serve() -> None:
        await connection.run()
        await connection.close()

    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        try:
            with trio.fail_after(20):
                async with trio.open_nursery() as serving, _stream(theirs) as out:
                    serving.start_soon(serve)
                    client = await RawSocket(out).open()
                    with suppress(trio.BrokenResourceError):
                        await client.send(*frames, b"\x00")
                        if half_close:
                            await out.send_eof()
                            await client.rest()
        finally:
            await server.drain()


def _stream(sock: socket.socket) -> trio.SocketStream:
    return trio.SocketStream(trio.socket.from_stdlib_socket(sock))
