"""The client of strangers' servers: what goes out, what comes back, and which connection it goes over."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd import __version__
from agentd.wire.http import Deadlines, HttpClient, HttpFailed, HttpSettings
from agentd.wire.pool import PoolLimits
from agentd.wire.sse import Event
from agentd.wire.urls import InvalidUrl
from tests.wire.stranger import OK, QUICK, Link, answering, once, stranger

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient() as made:
        yield made


def sized(body: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((b"HTTP/1.1 200 OK", *fields, b"Content-Length: %d" % len(body), b"", body))


# --- What goes out ------------------------------------------------------------------------------------------------


async def test_a_request_says_what_it_has_to(client: HttpClient) -> None:
    async with stranger(answering(OK)) as server:
        answer = await client.request("POST", f"{server.url}/a/b?c=d#e", headers=[("X-Key", "k")], body=b"{}")
    assert (answer.status, answer.body, answer.url) == (200, b"ok", f"{server.url}/a/b?c=d")
    request = server.seen[0]
    assert (request.method, request.target, request.body) == ("POST", "/a/b?c=d", b"{}")
    assert request.headers == {
        "host": f"127.0.0.1:{server.port}",
        "user-agent": f"agentd/{__version__}",
        "accept-encoding": "identity",
        "x-key": "k",
        "content-length": "2",
    }


async def test_what_the_caller_says_is_said_once(client: HttpClient) -> None:
    fields = [("host", "elsewhere"), ("USER-AGENT", "me"), ("authorization", "Bearer x")]
    async with stranger(answering(OK)) as server:
        await client.request("GET", server.url.replace("//", "//user:word@"), headers=fields)
    headers = server.seen[0].headers
    assert (headers["host"], headers["user-agent"], headers["authorization"]) == ("elsewhere", "me", "Bearer x")


async def test_user_and_password_of_a_url_become_a_field(client: HttpClient) -> None:
    async with stranger(answering(OK)) as server:
        answer = await client.request("GET", server.url.replace("//", "//user:p%40ss@"))
    assert server.seen[0].headers["authorization"] == "Basic dXNlcjpwQHNz"
    assert answer.url == f"{server.url}/"


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
async def test_a_body_goes_out_whole(client: HttpClient, size: int) -> None:
    async with stranger(answering(OK)) as server:
        await client.request("POST", server.url, body=b"x" * size)
    assert server.seen[0].body == b"x" * size
    assert server.seen[0].headers["content-length"] == str(size)


@pytest.mark.parametrize(
    ("fields", "framing"),
    [([], {"transfer-encoding": "chunked"}), ([("Content-Length", "6")], {"content-length": "6"})],
)
async def test_a_body_goes_out_as_it_is_made(
    client: HttpClient, fields: list[tuple[str, str]], framing: dict[str, str]
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"one", b"", b"two"):
            await trio.lowlevel.checkpoint()
            yield piece

    async with stranger(answering(OK)) as server:
        assert (await client.request("POST", server.url, body=pieces(), headers=fields)).status == 200
    assert server.seen[0].body == b"onetwo"
    assert framing.items() <= server.seen[0].headers.items()


async def test_a_body_that_cannot_be_made_ends_the_request(client: HttpClient) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"one"
        raise ValueError("no more")

    async with stranger(answering(OK)) as server:
        with pytest.raises(ValueError, match="no more"):
            await client.request("POST", server.url, body=pieces())
        await wait_all_tasks_blocked()
        assert (server.seen, server.open) == ([], 0)


@pytest.mark.parametrize("value", ["sk-secret\n", "sk-secret\r\nX: y", "sk-secret ", "sk-se\u00e9cret", "sk-sec\0ret"])
async def test_a_key_that_no_field_can_hold_is_told_by_the_name_of_the_field(client: HttpClient, value: str) -> None:
    async with stranger(answering(OK)) as server:
        with pytest.raises(HttpFailed, match="'Authorization' has characters") as failed:
            await client.request("GET", server.url, headers=[("Authorization", f"Bearer {value}")])
    assert failed.value.kind == "protocol"
    assert "sk-se" not in f"{failed.value}{failed.value.__cause__}"


@pytest.mark.parametrize("url", ["", "example.com", "ftp://a/", "http://", "http://a:b/", "http://a b/", "http://[::1"])
async def test_what_is_no_url_is_told_at_once(client: HttpClient, url: str) -> None:
    with pytest.raises(InvalidUrl):
        await client.request("GET", url)


async def test_a_socket_file_is_a_server_like_others(client: HttpClient, tmp_path: Path) -> None:
    path = tmp_path / ("long" * 40)
    path.mkdir()
    async with stranger(answering(OK), path=tmp_path / "s") as server:
        (path / "s").symlink_to(tmp_path / "s")
        url = f"http+unix://{str(path / 's').replace('/', '%2F')}/v1/models"
        assert (await client.request("GET", url)).body == b"ok"
    assert (server.seen[0].target, server.seen[0].headers["host"]) == ("/v1/models", "localhost")


# --- What comes back ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "answer", "status", "body"),
    [
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", 204, b""),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", 304, b""),
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 200, b""),
        ("GET", b"HTTP/1.1 500 Oh\r\nContent-Length: 3\r\n\r\nbad", 500, b"bad"),
        ("GET", b"HTTP/1.1 301 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", 301, b""),
        ("POST", b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok"),
        ("GET", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, 200, b"ok"),
        ("GET", CHUNKED + b"3;x=y\r\none\r\n3\r\ntwo\r\n0\r\n\r\n", 200, b"onetwo"),
        ("GET", CHUNKED + b"2\r\nok\r\n0\r\nX-Trailer: t\r\n\r\n", 200, b"ok"),
    ],
)
async def test_each_form_of_an_answer_is_read(
    client: HttpClient, method: str, answer: bytes, status: int, body: bytes
) -> None:
    async with stranger(answering(answer)) as server:
        for _ in range(2):
            got = await client.request(method, server.url)
            assert (got.status, got.body) == (status, body)
    assert server.connections == 1  # each of them leaves a connection that can be used again


@pytest.mark.parametrize("head", [b"HTTP/1.0 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"])
async def test_an_answer_may_end_where_its_connection_does(client: HttpClient, head: bytes) -> None:
    async with stranger(once(head, b"all ", b"of it")) as server:
        for _ in range(2):
            assert (await client.request("GET", server.url)).body == b"all of it"
    assert server.connections == 2


async def test_an_answer_is_the_same_however_its_bytes_come(client: HttpClient, autojump_clock: MockClock) -> None:
    async def drip(link: Link) -> None:
        await link.request()
        await link.drip(CHUNKED + b"9\r\ndata: \xc3\xa9\n\r\n9\r\n\ndata: b\n\r\n2\r\n\n\n\r\n0\r\nT: x\r\n\r\n", 0.1)

    async with stranger(drip) as server, client.stream("GET", server.url, deadlines=QUICK) as answer:
        assert [event async for event in answer.events()] == [Event("message", "é", ""), Event("message", "b", "")]


async def test_lines_come_without_their_ends(client: HttpClient) -> None:
    body = sized(b'{"a":1}\n\n{"b":2}\nrest')
    async with stranger(answering(body)) as server, client.stream("GET", server.url) as answer:
        assert [line async for line in answer.lines()] == [b'{"a":1}', b'{"b":2}', b"rest"]


async def test_a_body_may_be_left_in_the_middle(client: HttpClient) -> None:
    async def endless(link: Link) -> None:
        await link.request()
        await link.send(CHUNKED)
        while True:
            await link.send(b"3\r\nabc\r\n")

    async with stranger(endless) as server:
        async with client.stream("GET", server.url) as answer:
            async for chunk in answer.chunks():
                assert chunk.startswith(b"abc")
                break
        await wait_all_tasks_blocked()
        assert server.open == 0


# --- Compression --------------------------------------------------------------------------------------------------

TEXT = b"all work and no play " * 5000


def raw_deflate(data: bytes) -> bytes:
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(data) + compress.flush()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(TEXT)),
        (b"x-gzip", gzip.compress(TEXT[:7]) + gzip.compress(TEXT[7:])),
        (b"GZIP", gzip.compress(TEXT) + b"\0\0padding"),
        (b"deflate", zlib.compress(TEXT)),
        (b"deflate", raw_deflate(TEXT)),
        (b"identity", TEXT),
        (b"", TEXT),
    ],
)
async def test_compression_is_taken_off_where_it_was_asked_for(client: HttpClient, coding: bytes, body: bytes) -> None:
    async with stranger(answering(sized(body, b"Content-Encoding: " + coding))) as server:
        assert (await client.request("GET", server.url, decode=True)).body == TEXT
        assert (await client.request("GET", server.url)).body == body
    assert [seen.headers["accept-encoding"] for seen in server.seen] == ["gzip, deflate", "identity"]


async def test_an_answer_without_a_body_has_nothing_to_take_off(client: HttpClient) -> None:
    async with stranger(answering(b"HTTP/1.1 304 OK\r\nContent-Encoding: gzip\r\n\r\n")) as server:
        assert (await client.request("GET", server.url, decode=True)).body == b""


@pytest.mark.parametrize(
    ("coding", "body", "said"),
    [
        (b"gzip", gzip.compress(TEXT)[:-9], "breaks off"),
        (b"gzip", b"no gzip at all", "not compressed in the way it says"),
        (b"deflate", b"x", "breaks off"),
        (b"deflate", b"\xff\xff\xff\xff", "not compressed in the way it says"),
        (b"br", b"x", "not asked for: br"),
        (b"gzip, gzip", b"x", "not asked for"),
    ],
)
async def test_what_is_not_as_it_says_is_an_error(client: HttpClient, coding: bytes, body: bytes, said: str) -> None:
    async with stranger(answering(sized(body, b"Content-Encoding: " + coding))) as server:
        with pytest.raises(HttpFailed, match=said) as failed:
            await client.request("GET", server.url, decode=True)
    assert failed.value.kind == "protocol"


async def test_a_bomb_goes_off_in_small_pieces(client: HttpClient) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    async with stranger(answering(sized(bomb, b"Content-Encoding: gzip"))) as server:
        with pytest.raises(HttpFailed, match="larger than 100000 bytes"):
            await client.request("GET", server.url, decode=True, limit=100_000)
        async with client.stream("GET", server.url, decode=True) as answer:
            assert len(await anext(answer.chunks())) <= 65536


# --- Connections --------------------------------------------------------------------------------------------------


async def test_connections_are_used_again_and_no_more_are_kept_than_allowed() -> None:
    gate = trio.Event()

    async def wait(link: Link) -> None:
        while True:
            await link.request()
            await gate.wait()
            await link.send(OK)

    settings = HttpSettings(pool=PoolLimits(idle=2))
    async with HttpClient(settings) as client, stranger(wait) as server:
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(client.request, "GET", server.url)
            await wait_all_tasks_blocked()
            gate.set()
        await wait_all_tasks_blocked()
        assert (server.connections, server.open) == (5, 2)
        await client.request("GET", server.url)
        assert server.connections == 5
        client.close()
        await wait_all_tasks_blocked()
        assert server.open == 0


async def test_what_was_under_way_when_the_client_was_closed_is_not_kept() -> None:
    client = HttpClient()
    async with stranger(answering(OK)) as server:
        async with client.stream("GET", server.url) as answer:
            client.close()
            assert await answer.read_all() == b"ok"
        await wait_all_tasks_blocked()
        assert server.open == 0


async def test_only_so_many_are_kept_in_all() -> None:
    settings = HttpSettings(pool=PoolLimits(idle_in_all=2))
    async with HttpClient(settings) as client, AsyncExitStack() as stack:
        servers = [await stack.enter_async_context(stranger(answering(OK))) for _ in range(3)]
        for server in servers:
            await client.request("GET", server.url)
        await wait_all_tasks_blocked()
        assert [server.open for server in servers] == [0, 1, 1]


async def test_connections_are_kept_for_their_time_only(autojump_clock: MockClock) -> None:
    settings = HttpSettings(pool=PoolLimits(idle_seconds=10))
    async with HttpClient(settings) as client, stranger(answering(OK)) as server:
        await client.request("GET", server.url)
        await trio.sleep(9)
        await client.request("GET", server.url)
        await trio.sleep(11)
        await client.request("GET", server.url)
    assert server.connections == 2


async def test_requests_beyond_the_bound_wait_for_a_connection(autojump_clock: MockClock) -> None:
    async def slow(link: Link) -> None:
        while True:
            await link.request()
            await trio.sleep(4)
            await link.send(OK)

    settings = HttpSettings(pool=PoolLimits(in_use=1))
    async with HttpClient(settings) as client, stranger(slow) as server:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.request, "GET", server.url)
            await wait_all_tasks_blocked()
            assert (await client.request("GET", server.url)).body == b"ok"
        assert trio.current_time() == 8
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.request, "GET", server.url)
            await wait_all_tasks_blocked()
            with pytest.raises(HttpFailed, match="1 requests are under way, and none ended within 3 s") as failed:
                await client.request("GET", server.url, deadlines=Deadlines(connect=3))
    assert (failed.value.kind, server.connections) == ("timeout", 1)


async def test_a_kept_connection_that_was_closed_is_not_used(client: HttpClient) -> None:
    async with stranger(once(OK)) as server:
        for _ in range(3):
            assert (await client.request("POST", server.url)).body == b"ok"
            await wait_all_tasks_blocked()
    assert server.connections == 3


@pytest.mark.parametrize(
    ("method", "fields", "again"),
    [
        ("GET", [], True),
        ("DELETE", [], True),
        ("POST", [], False),
        ("PATCH", [], False),
        ("POST", [("Idempotency-Key", "1")], True),
    ],
)
async def test_only_what_may_be_done_twice_is_sent_again(
    client: HttpClient, method: str, fields: list[tuple[str, str]], again: bool
) -> None:
    async def hang_up_on_the_second(link: Link) -> None:
        await link.request()
        await link.send(OK)
        await link.request()  # and it may have been done, for all that the client knows

    async with stranger(hang_up_on_the_second) as server:
        await client.request("GET", server.url)
        if again:
            assert (await client.request(method, server.url, headers=fields)).body == b"ok"
        else:
            with pytest.raises(HttpFailed) as failed:
                await client.request(method, server.url, headers=fields)
            assert failed.value.kind == "network"
    assert len(server.seen) == 2 + again


async def test_a_request_whose_answer_had_begun_is_not_sent_again(client: HttpClient) -> None:
    async def break_off_the_second(link: Link) -> None:
        await link.request()
        await link.send(OK)
        await link.request()
        await link.send(OK[:20])

    async with stranger(break_off_the_second) as server:
        await client.request("GET", server.url)
        with pytest.raises(HttpFailed):
            await client.request("GET", server.url)
    assert server.connections == 1


async def test_what_comes_out_of_turn_spoils_a_connection(client: HttpClient) -> None:
    async def talkative(link: Link) -> None:
        while True:
            await link.request()
            await link.send(OK + b"HTTP/1.1 200 OK\r\n")

    async with stranger(talkative) as server:
        for _ in range(2):
            assert (await client.request("GET", server.url)).body == b"ok"
    assert server.connections == 2


async def test_the_end_of_an_answer_need_not_be_read_if_it_is_there(client: HttpClient) -> None:
    done = CHUNKED + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    async with stranger(answering(done)) as server:
        for _ in range(2):
            async with client.stream("GET", server.url) as answer:
                assert (await anext(answer.events())).data == "[DONE]"
    assert server.connections == 1
