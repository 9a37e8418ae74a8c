"""The thin client, against our own server and against one that misbehaves."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire import sse
from agentd.wire.client import Client, connect
from agentd.wire.failure import HttpFailed
from agentd.wire.feed import Feed
from agentd.wire.messages import NDJSON_TYPE, Request, Response, StreamResponse
from agentd.wire.routing import Routes

if TYPE_CHECKING:
    from tests.wire.conftest import FakeSource, House, Start

HELLO = b'{"hello":"world"}'
Script = Callable[[trio.SocketStream, int], Awaitable[None]]


@pytest.fixture
async def house(start: Start, routes: Routes, source: FakeSource) -> House:
    feed = Feed(source, keepalive=b"\n")

    @routes.get("/feed")
    async def stream(app: object, request: Request) -> StreamResponse:
        return StreamResponse(feed, 0, NDJSON_TYPE)

    @routes.get("/peer")
    async def slow(app: object, request: Request) -> Response:
        await trio.sleep_forever()
        return Response(200)

    started: House = await start(routes)
    return started


@pytest.fixture
async def client(house: House) -> AsyncIterator[Client]:
    async with await connect(f"unix:{house.path}") as connected:
        yield connected


@pytest.fixture
async def scripted(nursery: trio.Nursery, tmp_path: Path) -> Callable[[Script], Awaitable[str]]:
    """A server that runs a script for each connection, with its number; its address."""

    async def start(script: Script) -> str:
        sock = trio.socket.socket(trio.socket.AF_UNIX)
        await sock.bind(str(tmp_path / "scripted"))
        sock.listen()
        count = 0

        async def handle(stream: trio.SocketStream) -> None:
            nonlocal count
            count += 1
            async with stream:
                await script(stream, count)

        nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(sock)])
        return f"unix:{tmp_path}/scripted"

    return start


async def test_an_answer_comes_back_whole(client: Client) -> None:
    answer = await client.request("GET", "/hello")
    assert (answer.status, answer.headers["content-type"], answer.body) == (
        200,
        "application/json; charset=UTF-8",
        HELLO,
    )


async def test_a_body_goes_out_whole(client: Client) -> None:
    body = b"x" * 1_000_000
    assert (await client.request("POST", "/echo", body=body, headers=[("X-A", "b")])).body == body
    assert (await client.request("POST", "/echo")).body == b""


async def test_any_status_is_an_answer(client: Client) -> None:
    assert (await client.request("GET", "/nothing")).status == 404
    assert (await client.request("GET", "/empty")).status == 204
    assert (await client.request("HEAD", "/hello")).body == b""
    assert (await client.request("GET", "/pieces")).body == b"one two three"


async def test_one_connection_is_used_again(scripted: Callable[[Script], Awaitable[str]]) -> None:
    async def answer(stream: trio.SocketStream, number: int) -> None:
        while await stream.receive_some(1000):
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)

    async with await connect(await scripted(answer)) as client:
        assert [(await client.request("POST", "/")).body for _ in range(5)] == [b"1"] * 5


async def test_requests_may_overlap(client: Client, source: FakeSource) -> None:
    source.add(b"one\n")
    async with client.open_stream("GET", "/feed") as stream:
        assert (await client.request("GET", "/hello")).body == HELLO
        source.end()
        assert [line async for line in stream.lines()] == [b"one"]
    assert (await client.request("GET", "/hello")).body == HELLO


async def test_lines_come_as_they_are_made(client: Client, source: FakeSource) -> None:
    async with client.open_stream("GET", "/feed") as stream:
        lines = stream.lines()
        source.add(b'{"n":1}\n{"n"')
        assert await anext(lines) == b'{"n":1}'
        source.add(b":2}\n", b"\n", b"last")
        source.end()
        assert [line async for line in lines] == [b'{"n":2}', b"last"]


async def test_events_come_as_they_are_made(client: Client, source: FakeSource) -> None:
    async with client.open_stream("GET", "/feed") as stream:
        events = stream.events()
        source.add(sse.KEEPALIVE, sse.encode("a", "b", event_id=1))
        assert await anext(events) == sse.Event("a", "b", "1")
        source.end()
        assert [event async for event in events] == []


async def test_a_stream_that_is_left_in_the_middle_is_hung_up_on(client: Client, source: FakeSource) -> None:
    source.add(b"one\n", b"two\n")
    async with client.open_stream("GET", "/feed") as stream:
        async for line in stream.lines():
            assert line == b"one"
            break
    await wait_all_tasks_blocked()
    assert source.callbacks == []
    assert (await client.request("GET", "/hello")).body == HELLO


async def test_a_refused_stream_says_why(client: Client) -> None:
    async with client.open_stream("GET", "/nothing") as stream:
        assert stream.status == 404
        assert b"NOT_FOUND" in await stream.read_all()


async def test_a_silent_stream_is_given_up_on(client: Client, source: FakeSource, autojump_clock: MockClock) -> None:
    source.add(b"one\n")
    async with client.open_stream("GET", "/feed", idle_seconds=5) as stream:
        assert await anext(stream.chunks()) == b"one\n"
        with pytest.raises(HttpFailed, match="GET /feed: nothing came for 5 s"):
            await anext(stream.chunks())


async def test_an_answer_that_does_not_come_is_given_up_on(client: Client, autojump_clock: MockClock) -> None:
    with pytest.raises(HttpFailed, match="GET /peer: no answer within 7 s"):
        await client.request("GET", "/peer", seconds=7)
    assert (await client.request("GET", "/hello")).body == HELLO


async def test_an_answer_that_is_too_large_is_given_up_on(client: Client) -> None:
    with pytest.raises(HttpFailed, match="larger than 10 bytes"):
        await client.request("GET", "/hello", max_body=10)
    assert (await client.request("GET", "/hello")).body == HELLO


async def test_a_server_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(HttpFailed, match=r"connecting to unix:.*/none: .*No such file"):
        await connect(f"unix:{tmp_path}/none")
    with pytest.raises(HttpFailed, match=r"connecting to tcp:127\.0\.0\.1:1"):
        await connect("tcp:127.0.0.1:1")


@pytest.mark.parametrize("address", ["127.0.0.1:80", "https://a", "tcp:", "tcp:a:b", "ftp://a", "http://"])
async def test_what_is_no_address_is_a_clear_error(address: str) -> None:
    with pytest.raises(HttpFailed, match="is no address"):
        await connect(address)


@pytest.mark.parametrize(
    "form", ["http://127.0.0.1:{}", "http://127.0.0.1:{}/", "tcp:127.0.0.1:{}", "tcp:localhost:{}"]
)
async def test_tcp_addresses(tcp: Callable[..., Awaitable[int]], form: str) -> None:
    async with await connect(form.format(await tcp())) as client:
        assert (await client.request("GET", "/hello")).body == HELLO


async def test_a_kept_connection_that_the_server_closed_is_not_used(house: House, client: Client) -> None:
    await client.request("GET", "/hello")
    house.scope.cancel()
    await house.ended.wait()
    with pytest.raises(HttpFailed, match="connecting"):
        await client.request("POST", "/echo")


async def test_a_safe_request_is_repeated_when_a_kept_connection_breaks(
    scripted: Callable[[Script], Awaitable[str]],
) -> None:
    async def answer_once(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        await stream.receive_some(1000)

    async with await connect(await scripted(answer_once)) as client:
        assert (await client.request("GET", "/")).body == b"1"
        assert (await client.request("GET", "/")).body == b"2"
        with pytest.raises(HttpFailed):
            await client.request("POST", "/")  # it may have been done


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
    ],
)
async def test_an_answer_that_is_not_whole_is_an_error(
    scripted: Callable[[Script], Awaitable[str]], answer: bytes
) -> None:
    async def script(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1000)
        await stream.send_all(answer)

    async with await connect(await scripted(script)) as client:
        with pytest.raises(HttpFailed, match="POST /"):
            await client.request("POST", "/")


async def test_an_answer_before_the_real_one_is_skipped(scripted: Callable[[Script], Awaitable[str]]) -> None:
    async def script(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    async with await connect(await scripted(script)) as client:
        assert (await client.request("GET", "/")).body == b"hi"


async def test_an_answer_may_end_where_the_connection_does(scripted: Callable[[Script], Awaitable[str]]) -> None:
    async def script(stream: trio.SocketStream, number: int) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.0 200 OK\r\n\r\nall of it")

    async with await connect(await scripted(script)) as client:
        assert (await client.request("GET", "/")).body == b"all of it"


async def test_a_field_that_cannot_be_sent_is_refused(client: Client) -> None:
    with pytest.raises(HttpFailed, match="the field 'X-A' has characters"):
        await client.request("GET", "/hello", headers=[("X-A", "b\r\nX-C: d")])
    assert (await client.request("GET", "/hello")).body == HELLO


async def test_a_long_socket_path_is_no_obstacle(start: Start, routes: Routes, tmp_path: Path) -> None:
    house = await start(routes)
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    (directory / "s").symlink_to(house.path)
    async with await connect(f"unix:{directory}/s") as client:
        assert (await client.request("GET", "/hello")).body == HELLO
