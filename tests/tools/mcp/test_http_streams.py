"""Streamable HTTP: the stream that a server has for itself, and replies that break."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.tools.mcp.http import open_http
from agentd.tools.mcp.transport import SendFailed, TransportClosed
from tests.tools.mcp.web import (
    ACCEPTED,
    LEGACY,
    MODERN,
    Handler,
    always,
    asked,
    connected,
    document,
    event,
    in_turn,
    note,
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


# --- The stream that a server has for itself ----------------------------------------------------------------------


async def test_what_a_server_says_unasked_is_delivered_once_both_have_agreed() -> None:
    says = always(stream(event(note(1)), ended=False), hold=True)
    async with stranger(web(NAMED, says)) as server, peer_of(server.url, listening=True) as peer:
        await wait_all_tasks_blocked()
        assert server.seen == []
        await peer.begin()
        await wait_all_tasks_blocked()
        assert peer.got == [note(1)]
    seen = next(seen for seen in server.seen if seen.method == "GET")
    assert (seen.headers["accept"], seen.headers["mcp-session-id"]) == ("text/event-stream", "s-1")
    assert seen.headers["mcp-protocol-version"] == LEGACY


@pytest.mark.parametrize("answer", [document(b"", 405), document(b"", 404), document({"hello": 1}), document(b"", 302)])
async def test_a_server_without_such_a_stream_is_fine(answer: bytes, autojump_clock: MockClock) -> None:
    async with stranger(web(in_turn(NAMED, ACCEPTED), answer)) as server, peer_of(server.url, listening=True) as peer:
        await peer.begin()
        await trio.sleep(600)
        assert ([seen.method for seen in server.seen], peer.failed) == (["POST", "GET"], [])
        await peer.send(told())
        assert server.seen[-1].headers["mcp-session-id"] == "s-1"


async def test_such_a_stream_is_taken_up_where_it_ended_after_the_time_that_it_said(autojump_clock: MockClock) -> None:
    first = stream(event("", "e-0", retry=3000), event(note(1), "e-1"))
    get = in_turn(first, always(stream(event(note(2)), ended=False), hold=True))
    async with stranger(web(NAMED, get)) as server, peer_of(server.url, listening=True) as peer:
        await peer.begin()
        await trio.sleep(2.9)
        assert peer.got == [note(1)]
        await trio.sleep(0.2)
        assert peer.got == [note(1), note(2)]
    assert server.seen[2].headers["last-event-id"] == "e-1"


async def test_a_stream_that_always_ends_at_once_is_given_up(autojump_clock: MockClock) -> None:
    async with stranger(web(NAMED, stream())) as server, peer_of(server.url, listening=True) as peer:
        await peer.begin()
        await trio.sleep(3600)
        assert (len(server.seen), peer.failed) == (1 + 5, [])


async def test_a_server_that_dies_while_it_is_listened_to_is_gone(autojump_clock: MockClock) -> None:
    get = in_turn(stream(event(note(1), "e"), ended=False), always(b""))

    async def hang_up(link: Link, seen: Seen) -> None:
        if len([each for each in server.seen if each.method == "GET"]) == 1:
            await get(link, seen)
        raise EOFError

    async with stranger(web(NAMED, hang_up)) as server, peer_of(server.url, listening=True) as peer:
        await peer.begin()
        await trio.sleep(3600)
        [gone] = peer.failed
    assert isinstance(gone, TransportClosed)
    assert "secret" not in str(gone)


async def test_a_session_that_is_lost_while_it_is_listened_to_is_over(autojump_clock: MockClock) -> None:
    get = in_turn(stream(event(note(1))), document(b"", 404))
    async with stranger(web(NAMED, get)) as server, peer_of(server.url, listening=True) as peer:
        await peer.begin()
        await trio.sleep(10)
        assert [type(each) for each in peer.failed] == [TransportClosed]


# --- Replies that break -------------------------------------------------------------------------------------------


def broken(*events: bytes) -> Handler:
    async def handle(link: Link, seen: Seen) -> None:
        await link.send(stream(*events, ended=False))
        raise EOFError

    return handle


@pytest.mark.parametrize("ended", [False, True])
async def test_a_reply_that_breaks_is_taken_up_by_its_last_id(ended: bool, autojump_clock: MockClock) -> None:
    begun = (event("", "a-0"), event(note(1), "a-1", retry=500))
    post = in_turn(NAMED, always(stream(*begun)) if ended else broken(*begun))
    get = in_turn(broken(event(note(2), "a-2")), stream(event(result(), "a-3")))
    async with stranger(web(post, get)) as server, peer_of(server.url) as peer:
        await peer.begin()
        await peer.send(asked())
        assert peer.got == [note(1), note(2), result()]
        assert trio.current_time() == 1
    gets = [seen.headers for seen in server.seen if seen.method == "GET"]
    assert [each["last-event-id"] for each in gets] == ["a-1", "a-2"]
    assert {each["mcp-session-id"] for each in gets} == {"s-1"}


@pytest.mark.parametrize(
    ("outgoing", "events"), [(asked(version=MODERN), (event(note(1), "a"),)), (asked(), (event(note(1)),))]
)
async def test_a_reply_that_cannot_be_taken_up_has_failed(outgoing: Any, events: tuple[bytes, ...]) -> None:
    for says in (broken(*events), always(stream(*events)), always(stream(event(note(1)) + b"data: {", ended=True))):
        async with stranger(web(says)) as server, peer_of(server.url) as peer:
            with pytest.raises(SendFailed, match=r"before the (answer did|response)"):
                await peer.send(outgoing)
        assert [seen.method for seen in server.seen] == ["POST"]


@pytest.mark.parametrize("get", [b"", document(b"", 503), stream(), broken()])
async def test_taking_up_has_an_end(get: Handler | bytes, autojump_clock: MockClock) -> None:
    async with stranger(web(broken(event("", "a")), get)) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed) as failed:
            await peer.send(asked())
        assert "secret" not in str(failed.value)
        assert len(server.seen) <= 1 + 5


async def test_a_request_that_had_begun_is_no_session_lost(autojump_clock: MockClock) -> None:
    """Whoever is told that would send it once more."""
    post = in_turn(NAMED, broken(event("", "a")))
    async with stranger(web(post, document(b"", 404))) as server, peer_of(server.url) as peer:
        await peer.begin()
        with pytest.raises(SendFailed, match="HTTP 404") as failed:
            await peer.send(asked())
        assert type(failed.value) is SendFailed
