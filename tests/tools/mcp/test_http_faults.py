"""Streamable HTTP: redirects, refusals, and what no server should do: each fails one request, with a reason."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock

from agentd.tools.mcp import http
from agentd.tools.mcp.http import open_http
from agentd.tools.mcp.transport import SendFailed
from agentd.wire import sse
from tests.tools.mcp.web import (
    ACCEPTED,
    PATH,
    Handler,
    always,
    asked,
    chunk,
    connected,
    document,
    error,
    event,
    in_turn,
    result,
    stream,
    told,
    web,
)
from tests.wire.stranger import Link, Seen, Stranger, stranger

NAMED = document(result(0), 200, "Mcp-Session-Id: s-1")  # the answer to initialize

peer_of = partial(connected, open_http)


def fields(server: Stranger, *wanted: str) -> list[str | None]:
    return [server.seen[-1].headers.get(name) for name in wanted]


# --- Redirects and refusals ---------------------------------------------------------------------------------------


async def test_a_redirect_within_the_site_is_followed_and_kept() -> None:
    moved = document(b"", 307, "Location: /mcp/")

    async def answer(link: Link, seen: Seen) -> None:
        await link.send(document(result()) if seen.target == "/mcp/" else moved)

    async with stranger(web(answer)) as server, peer_of(f"{server.url}/mcp", {"X-Key": "k"}) as peer:
        await peer.send(asked())
        await peer.send(asked())
        assert peer.got == [result(), result()]
    assert [(seen.target, seen.body, seen.headers["x-key"]) for seen in server.seen] == [
        (target, asked().message, "k") for target in ("/mcp", "/mcp/", "/mcp/")
    ]


@pytest.mark.parametrize(
    ("status", "to", "said"),
    [
        (307, "http://other.test/secret", "redirects to http://other.test, which is not followed"),
        (308, "//127.0.0.1:1/secret", "redirects to http://127.0.0.1:1, which is not followed"),
        (302, "/secret", "redirects with HTTP 302, by which the message is lost"),
        (307, PATH, "redirects more than 3 times"),
    ],
)
async def test_other_redirects_are_not_followed(status: int, to: str, said: str) -> None:
    async with stranger(web(document(b"", status, f"Location: {to}"))) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed) as failed:
            await peer.send(asked())
        assert str(failed.value) == f"{server.url} {said}"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (document(b"no", 401), "HTTP 401: it wants credentials, or others than it was given in its headers"),
        (document(error(-32000, "bad key secret"), 403), "HTTP 403: it does not let us in"),
        (document(b"", 404), "HTTP 404: there is no MCP server at that path"),
        (document(b"", 405), "HTTP 405: there is no MCP server of this transport at that path"),
        (document(b"", 429, "Retry-After: 3"), "HTTP 429: it has had too many requests"),
        (document(b"<html>", 502, "Content-Type: text/html"), "HTTP 502: it fails"),
        (document(error(-32000, "Bad\nRequest: \x1b[1m"), 400), "HTTP 400: Bad Request: [1m"),
        (document(b"x" * 100_000, 500), "HTTP 500: it fails"),
    ],
)
async def test_a_refusal_says_why(answer: bytes, said: str) -> None:
    async with stranger(web(answer)) as server, peer_of(server.url) as peer:
        for outgoing in (asked(), told()):
            with pytest.raises(SendFailed) as failed:
                await peer.send(outgoing)
            assert str(failed.value) == f"{server.url} answered with {said}"
            assert failed.value.status == int(said[5:8])


async def test_an_error_to_the_request_is_its_response_whatever_the_status() -> None:
    refused = error(-32602, "Unknown tool", 1)
    async with stranger(web(document(refused, 400))) as server, peer_of(server.url) as peer:
        await peer.send(asked())
        assert peer.got == [refused]


async def test_an_error_without_the_requests_id_is_told_with_the_failure() -> None:
    for status in (200, 400):
        script = web(document(error(-32600, "Not initialized"), status))
        async with stranger(script) as server, peer_of(server.url) as peer:
            with pytest.raises(SendFailed) as failed:
                await peer.send(asked())
            assert failed.value.error is not None
            assert (failed.value.status, failed.value.error.code) == (status, -32600)


# --- What no server should do -------------------------------------------------------------------------------------


async def reset(link: Link, seen: Seen) -> None:
    link.reset()


def nothing_but(*data: bytes) -> Handler:
    async def handle(link: Link, seen: Seen) -> None:
        await link.send(*data)
        raise EOFError

    return handle


HTML = "Content-Type: text/html"
FAULTS: dict[str, Handler | bytes] = {
    "hangs up": nothing_but(),
    "resets": reset,
    "speaks no HTTP": nothing_but(b"SSH-2.0-OpenSSH\r\n\r\n"),
    "answers with a page": document(b"<html>", 200, HTML),
    "answers with nothing": document(b""),
    "takes a request as if it were a notification": ACCEPTED,
    "answers with no JSON": document(b"{"),
    "answers with no message": document({"hello": 1}),
    "answers with a request": document({"jsonrpc": "2.0", "id": 1, "method": "ping"}),
    "answers another request": document(result(7)),
    "answers in another type of id": document(result("1")),
    "answers with result and error": document({**result(), **error(1, "x", 1)}),
    "answers twice": document([result(), result()]),
    "is nested too deeply": document(b'{"jsonrpc": "2.0", "id": 1, "result": ' + b"[" * 9999 + b"]" * 9999 + b"}"),
    "ends in the body": nothing_but(
        b'HTTP/1.1 200 X\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"'
    ),
    "ends in an event": stream(b'data: {"jsonrpc"'),
    "ends without an event": stream(),
    "has events that are no messages": stream(event("{"), event("[]"), event("null")),
    "has a bad chunk": nothing_but(stream(ended=False) + b"zz\r\n"),
    "answers with more than there may be": document(b" " * 2000),
    "has an event without end": stream(b"data: " + b"x" * 2000 + b"\n"),
    "has a line without end": stream(*[b"x" * 100] * 20),
    "has an event of nothing but lines": stream(b"data\n" * 2000),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_no_server_should_do_fails_that_request_only(
    fault: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setattr(http, "FRAME", 1000)
    monkeypatch.setattr(sse, "MAX_EVENT_CHARACTERS", 1000)
    async with stranger(
        web(in_turn(always() if fault == "" else _handler(FAULTS[fault]), document(result())))
    ) as server:

        async def garbage_or_not(message: bytes) -> None:
            pass

        async with peer_of(server.url) as peer:
            with pytest.raises(SendFailed) as failed:
                await peer.transport.send(asked(), garbage_or_not)
            assert "secret" not in str(failed.value)
            assert str(server.port) in str(failed.value)
            await peer.send(asked())
            assert peer.got == [result()]


def _handler(fault: Handler | bytes) -> Handler:
    return always(fault) if isinstance(fault, bytes) else fault


async def test_an_answer_that_drips_is_waited_for_as_long_as_its_caller_wants_to(autojump_clock: MockClock) -> None:
    async def drip(link: Link, seen: Seen) -> None:
        await link.send(stream(ended=False))
        while True:
            await trio.sleep(1)
            await link.send(chunk(b"d"))

    async with stranger(web(drip)) as server, peer_of(server.url) as peer:
        with trio.move_on_after(60) as scope:
            await peer.send(asked())
        assert scope.cancelled_caught
        assert trio.current_time() == 60


async def test_nobody_listens() -> None:
    async with stranger(web()) as server:
        pass
    async with peer_of(server.url) as peer:
        with pytest.raises(SendFailed, match="refused"):
            await peer.send(asked())
