"""Everything that a server, the way to it, or the caller's patience can do wrong: each ends in a named failure, in its
time, without a socket left."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire.failure import Kind
from agentd.wire.http import Answer, Deadlines, HttpClient, HttpFailed, HttpSettings
from agentd.wire.sse import Event
from tests.wire.stranger import OK, QUICK, Link, Script, answering, names, once, stranger

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def then(*steps: bytes | float | Callable[[Link], Awaitable[None]]) -> Script:
    """Take a request, and then: send bytes, wait for seconds, or do what a function does; at last, hang up."""

    async def script(link: Link) -> None:
        await link.request()
        for step in steps:
            if isinstance(step, bytes):
                await link.send(step)
            elif isinstance(step, float):
                await trio.sleep(step)
            else:
                await step(link)

    return script


async def reset(link: Link) -> None:
    link.reset()


async def hang(link: Link) -> None:
    await link.is_hung_up_on()


async def say_100(link: Link) -> None:
    for _ in range(20):
        await link.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        await trio.sleep(1)


async def drip(link: Link) -> None:
    await link.drip(b"x" * 100, 2)


FAULTS: dict[str, tuple[Script, Kind, str, float]] = {  # what it does: kind, text, and when in (virtual) seconds
    "hangs up at once": (then(), "network", "before the answer did|hung up before it answered", 0),
    "resets at once": (then(reset), "network", "Connection reset", 0),
    "says nothing": (then(hang), "timeout", "no answer within 7 s", 7),
    "stops in the status line": (then(b"HTTP/1.1 20", hang), "timeout", "no answer within 7 s", 7),
    "stops in the head": (then(HEAD, hang), "timeout", "no answer within 7 s", 7),
    "drips its head": (then(b"HTTP/1.1 200 OK\r\nA: ", drip), "timeout", "no answer within 7 s", 7),
    "says 100 for ever": (then(say_100), "timeout", "no answer within 7 s", 7),
    "hangs up in the head": (then(HEAD), "network", "ended before the answer did", 0),
    "resets in the head": (then(HEAD, reset), "network", "Connection reset", 0),
    "says nothing after the head": (then(CHUNKED, hang), "timeout", "nothing but a head came within 7 s", 7),
    "stops in the body": (then(CHUNKED + b"3\r\nabc\r\n", hang), "timeout", "nothing came for 3 s", 3),
    "stops in a chunk": (then(CHUNKED + b"3\r\na", hang), "timeout", "nothing came for 3 s", 3),
    "stops before the last chunk": (then(CHUNKED + b"3\r\nabc\r\n0", hang), "timeout", "nothing came for 3 s", 3),
    "drips for ever": (then(HEAD + b"\r\n", drip), "timeout", "not finished within 60 s", 60),
    "drips chunk sizes": (then(CHUNKED + b"1\r\na\r\n", drip), "timeout", "nothing came for 3 s", 3),
    "hangs up in the body": (then(CHUNKED + b"3\r\nabc\r\n"), "network", "ended before the answer did", 0),
    "hangs up before its length": (then(HEAD + b"Content-Length: 5\r\n\r\nab"), "network", "ended before the ans", 0),
    "resets in the body": (then(CHUNKED + b"3\r\nabc\r\n", 1.0, reset), "network", "Connection reset", 1),
    "speaks another protocol": (then(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "protocol", "no HTTP: illegal status line", 0),
    "sends garbage": (then(bytes(range(256)) * 10), "protocol", "no HTTP", 0),
    "sends a bad field": (then(HEAD + b"no colon\r\n\r\n"), "protocol", "no HTTP: illegal header line", 0),
    "sends a bad chunk": (then(CHUNKED + b"zz\r\n"), "protocol", "no HTTP: illegal chunk header", 0),
    "sends two lengths": (then(HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), "protocol", "no HTTP", 0),
    "sends a head without end": (then(HEAD + b"A: b\r\n" * 20_000), "protocol", "no HTTP", 0),
    "sends a field without end": (then(HEAD + b"A: " + b"b" * 100_000), "protocol", "no HTTP", 0),
    "sends too much": (then(HEAD + b"\r\n" + b"x" * 10_001), "protocol", "larger than 10000 bytes", 0),
    "switches protocols": (then(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"), "protocol", "no HTTP", 0),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_has_a_name_and_a_time(fault: str, autojump_clock: MockClock) -> None:
    script, kind, text, seconds = FAULTS[fault]
    async with HttpClient() as client, stranger(script) as server:
        with pytest.raises(HttpFailed, match=text) as failed:
            await client.request("POST", f"{server.url}/?key=sk-secret", body=b"{}", deadlines=QUICK, limit=10_000)
        assert trio.current_time() == pytest.approx(seconds)
        assert (failed.value.kind, server.connections) == (kind, 1)
        assert str(failed.value).startswith(f"POST {server.url}: ")
        assert "sk-secret" not in str(failed.value)
        await trio.sleep(10)  # a server that drips sees it when it sends again
        assert server.open == 0


FORMS = ["events", "lines", "chunks"]


@pytest.mark.parametrize("form", FORMS)
async def test_a_stream_that_breaks_off_gives_what_came_before(form: str, autojump_clock: MockClock) -> None:
    async with HttpClient() as client, stranger(then(CHUNKED + b"9\r\ndata: a\n\n\r\n", reset)) as server:
        got: list[object] = []
        async with client.stream("GET", server.url, deadlines=QUICK) as answer:
            items = getattr(answer, form)()
            got.append(await anext(items))
            with pytest.raises(HttpFailed, match="Connection reset"):
                await anext(items)
        assert got == [[Event("message", "a", "")], [b"data: a"], [b"data: a\n\n"]][FORMS.index(form)]


@pytest.mark.parametrize(("form", "said"), [("lines", "a line of more than"), ("events", "an event of more than")])
async def test_a_line_without_end_is_not_held(form: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.wire.sse.MAX_EVENT_CHARACTERS", 100_000)
    async with endless_line() as answer:
        with pytest.raises(HttpFailed, match=said) as failed:
            await anext(answer.lines(100_000) if form == "lines" else answer.events())
    assert failed.value.kind == "protocol"


@asynccontextmanager
async def endless_line() -> AsyncIterator[Answer]:
    script = once(HEAD + b"\r\n", *[b"x" * 10_000] * 100)
    async with HttpClient() as client, stranger(script) as server, client.stream("GET", server.url) as answer:
        yield answer


async def test_a_long_line_comes_whole() -> None:
    pieces = [b"%x\r\n" % 65_536 + b"x" * 65_536 + b"\r\n"] * 128
    script = once(CHUNKED, *pieces, b"0\r\n\r\n")
    async with HttpClient() as client, stranger(script) as server, client.stream("GET", server.url) as answer:
        assert [len(line) async for line in answer.lines()] == [128 * 65_536]


async def test_a_pause_of_the_reader_is_not_the_servers(autojump_clock: MockClock) -> None:
    script = then(CHUNKED + b"1\r\na\r\n", 1.0, b"0\r\n\r\n")
    async with (
        HttpClient() as client,
        stranger(script) as server,
        client.stream("GET", server.url, deadlines=QUICK) as answer,
    ):
        await trio.sleep(50)
        assert await answer.read_all() == b"a"


# --- Sending ------------------------------------------------------------------------------------------------------


async def test_a_body_that_nobody_takes_is_given_up_on(autojump_clock: MockClock) -> None:
    async def deaf(link: Link) -> None:
        await trio.sleep_forever()

    async with HttpClient() as client, stranger(deaf) as server:
        with pytest.raises(HttpFailed, match="the server took nothing for 3 s") as failed:
            await client.request("POST", server.url, body=bytes(64_000_000), deadlines=QUICK)
    assert failed.value.kind == "timeout"


async def test_a_server_that_hangs_up_on_a_body_is_heard_out() -> None:
    async def refuse(link: Link) -> None:
        await link.stream.receive_some(1000)
        await link.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig")

    async with HttpClient() as client, stranger(refuse) as server:
        answer = await client.request("POST", server.url, body=bytes(64_000_000))
    assert (answer.status, answer.body) == (413, b"big")


async def test_a_server_that_hangs_up_on_a_body_without_a_word_is_a_failure() -> None:
    async def refuse(link: Link) -> None:
        await link.stream.receive_some(1000)

    async with HttpClient() as client, stranger(refuse) as server:
        with pytest.raises(HttpFailed) as failed:
            await client.request("POST", server.url, body=bytes(64_000_000))
    assert failed.value.kind == "network"


# --- Connecting ---------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_where_nobody_listens() -> None:
    async with HttpClient() as client:
        with pytest.raises(HttpFailed, match=r"no connection: 127\.0\.0\.1: .*Connection refused") as failed:
            await client.request("GET", f"http://127.0.0.1:{free_port()}")
        assert failed.value.kind == "connect"
        with pytest.raises(HttpFailed, match="unix:/no/such: No such file") as failed:
            await client.request("GET", "http+unix://%2Fno%2Fsuch/")
        assert failed.value.kind == "connect"


async def test_a_name_that_nobody_knows() -> None:
    async with HttpClient(names()) as client:
        with pytest.raises(HttpFailed, match=r"nowhere\.test cannot be looked up: nobody knows") as failed:
            await client.request("GET", "http://nowhere.test/")
    assert failed.value.kind == "connect"


async def test_a_name_without_addresses() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return []

    async with HttpClient(HttpSettings(resolve=resolve)) as client:
        with pytest.raises(HttpFailed, match="no address") as failed:
            await client.request("GET", "http://nowhere.test/")
    assert failed.value.kind == "connect"


async def test_a_look_up_that_hangs(autojump_clock: MockClock) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.sleep_forever()
        raise AssertionError

    async with HttpClient(HttpSettings(resolve=resolve)) as client:
        with pytest.raises(HttpFailed, match=r"GET http://slow\.test: no connection within 5 s") as failed:
            await client.request("GET", "http://slow.test/", deadlines=QUICK)
    assert (failed.value.kind, trio.current_time()) == ("timeout", 5)


async def test_the_address_that_was_looked_up_is_the_one_used() -> None:
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append((host, port))
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]  # as a name does that is rebound

    async with HttpClient(HttpSettings(resolve=resolve)) as client, stranger(answering(OK)) as server:
        answer = await client.request("GET", f"http://rebound.test:{server.port}/")
    assert (answer.status, asked) == (200, [("rebound.test", server.port)])
    assert server.seen[0].headers["host"] == f"rebound.test:{server.port}"


async def test_what_a_resolver_refuses_is_told_as_it_is() -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        raise PermissionDenied

    async with HttpClient(HttpSettings(resolve=resolve)) as client:
        with pytest.raises(PermissionDenied):
            await client.request("GET", "http://127.0.0.1/")


class PermissionDenied(Exception):
    pass


# --- Leaving ------------------------------------------------------------------------------------------------------


async def slow_script(link: Link) -> None:
    """A second for every step that there is."""
    await trio.sleep(1)
    await link.request()
    await link.drip(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 0.1)


@pytest.mark.parametrize("tenths", range(5, 78, 7))
async def test_a_request_that_is_cancelled_leaves_no_socket(tenths: int, autojump_clock: MockClock) -> None:
    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.sleep(1)
        return ["127.0.0.1"]

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b"):
            await trio.sleep(0.5)
            yield piece

    async with HttpClient(HttpSettings(resolve=resolve)) as client, stranger(slow_script) as server:
        with trio.move_on_after(tenths / 10) as scope:
            await client.request("POST", f"http://slow.test:{server.port}", body=body(), deadlines=Deadlines())
        assert scope.cancelled_caught
        await wait_all_tasks_blocked()
        await trio.sleep(1.5)  # a server that sleeps has to wake up to see it
        assert server.open == 0


async def test_cancelled_requests_give_their_places_back(autojump_clock: MockClock) -> None:
    async with HttpClient() as client, stranger(then(hang)) as server:
        for _ in range(200):
            with trio.move_on_after(0.1):
                await client.request("GET", server.url)
        assert server.connections == 200
