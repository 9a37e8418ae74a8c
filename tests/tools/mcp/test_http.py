"""Streamable HTTP: what goes out, what is delivered, sessions, and where it may go."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
import trustme
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.domain import McpServer
from agentd.tools.mcp.http import GOODBYE_SECONDS, open_http
from agentd.tools.mcp.transport import SendFailed, SessionLost, Transport, TransportFailed
from agentd.wire.urlpolicy import UrlPolicy
from tests.tools.mcp.web import (
    ACCEPTED,
    LEGACY,
    MODERN,
    PATH,
    always,
    asked,
    connected,
    document,
    error,
    event,
    hang,
    in_turn,
    note,
    result,
    stream,
    told,
    web,
)
from tests.wire.stranger import Authority, Link, Seen, Stranger, names, stranger

NAMED = document(result(0), 200, "Mcp-Session-Id: s-1")  # the answer to initialize

peer_of = partial(connected, open_http)


def fields(server: Stranger, *wanted: str) -> list[str | None]:
    return [server.seen[-1].headers.get(name) for name in wanted]


# --- Messages -----------------------------------------------------------------------------------------------------


async def test_a_request_is_a_post_and_json_its_response() -> None:
    async with stranger(web(document(result(tools=[])))) as server, peer_of(server.url) as peer:
        await peer.send(asked())
        assert peer.got == [result(tools=[])]
    [seen] = server.seen
    assert (seen.method, seen.target, seen.body) == ("POST", PATH, asked().message)
    assert fields(server, "content-type", "accept", "mcp-protocol-version", "mcp-session-id", "mcp-method") == [
        "application/json",
        "application/json, text/event-stream",
        LEGACY,
        None,
        None,
    ]


async def test_what_comes_on_a_requests_stream_is_delivered_up_to_its_response() -> None:
    says = stream(event(note(1)), event(note(2)), event(result("1")), event(result()))
    async with stranger(web(says)) as server, peer_of(server.url) as peer:
        await peer.send(asked())
        assert peer.got == [note(1), note(2), result("1"), result()]


async def test_a_stream_that_goes_on_behind_its_response_is_left(autojump_clock: MockClock) -> None:
    says = always(stream(event(result()), ended=False), hold=True)
    async with stranger(web(says)) as server, peer_of(server.url) as peer:
        await peer.send(asked())
        assert trio.current_time() < 1
        await wait_all_tasks_blocked()
        assert (peer.got, server.open) == ([result()], 0)


async def test_an_answer_may_come_byte_by_byte() -> None:
    async def drip(link: Link, seen: Seen) -> None:
        await link.drip(stream(event(note(1), "é"), event(result()), fields="Mcp-Session-Id: s-1\r\n"), 0)

    async with stranger(web(drip)) as server, peer_of(server.url) as peer:
        await peer.send(asked("initialize", 1))
        assert peer.got == [note(1), result()]


async def test_a_connection_is_used_again() -> None:
    async with stranger(web(in_turn(stream(event(result())), document(result()), ACCEPTED))) as server:
        async with peer_of(server.url) as peer:
            for outgoing in (asked(), asked(), told(), told()):
                await peer.send(outgoing)
        assert server.connections == 1


async def test_requests_may_overlap() -> None:
    last = trio.Event()

    async def answer(link: Link, seen: Seen) -> None:
        number = int(seen.body.partition(b'"id": ')[2].partition(b",")[0])
        if number == 8:
            last.set()
        await last.wait()
        await link.send(stream(event(note(number)), event(result(number))))

    async with stranger(web(answer)) as server, peer_of(server.url) as peer:
        async with trio.open_nursery() as nursery:
            for number in range(1, 9):
                nursery.start_soon(peer.send, asked(request_id=number))
        assert sorted(each["id"] for each in peer.got if "id" in each) == list(range(1, 9))


async def test_a_notification_is_only_taken() -> None:
    async with stranger(web()) as server, peer_of(server.url) as peer:
        await peer.send(told())
    assert [seen.body for seen in server.seen] == [told().message]


async def test_a_notification_that_nobody_takes_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with stranger(web(hang)) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed, match="within 30 s"):
            await peer.send(told())
        assert trio.current_time() == 30


async def test_the_fields_of_the_configuration_go_along_but_for_those_that_are_ours() -> None:
    own = {"X-Key": "k", "Accept": "text/html", "MCP-SESSION-ID": "theirs", "Content-Length": "3", "Mcp-Param-A": "b"}
    async with stranger(web(in_turn(NAMED, ACCEPTED))) as server, peer_of(server.url, own) as peer:
        await peer.begin()
        await peer.send(told())
        assert fields(server, "x-key", "accept", "mcp-session-id", "mcp-param-a") == [
            "k",
            "application/json, text/event-stream",
            "s-1",
            None,
        ]


async def test_user_and_password_of_the_url_are_credentials() -> None:
    async with stranger(web()) as server, peer_of(f"http://ann:pw@127.0.0.1:{server.port}/mcp") as peer:
        await peer.send(told())
        assert fields(server, "authorization") == ["Basic YW5uOnB3"]


async def test_a_request_that_is_given_up_is_hung_up_on() -> None:
    script = web(always(stream(event(note(1)), ended=False), hold=True))
    async with stranger(script) as server, peer_of(server.url) as peer:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(peer.send, asked(version=MODERN))
                await wait_all_tasks_blocked()
                assert server.open == 1
                scope.cancel()
        await wait_all_tasks_blocked()
        assert server.open == 0


# --- Sessions -----------------------------------------------------------------------------------------------------


async def test_a_session_goes_along_with_everything_and_is_ended() -> None:
    script = web(in_turn(NAMED, ACCEPTED), delete=document(b"", 200))
    async with stranger(script) as server, peer_of(server.url) as peer:
        await peer.begin()
        await peer.send(told())
    said = [
        (seen.method, seen.headers.get("mcp-session-id"), seen.headers.get("mcp-protocol-version"))
        for seen in server.seen
    ]
    assert said == [("POST", None, None), ("POST", "s-1", LEGACY), ("DELETE", "s-1", LEGACY)]


async def test_only_the_answer_to_initialize_names_a_session() -> None:
    script = web(in_turn(document(result(), 200, "Mcp-Session-Id: s-2"), ACCEPTED))
    async with stranger(script) as server, peer_of(server.url) as peer:
        await peer.send(asked())
        await peer.send(told())
    assert "mcp-session-id" not in server.seen[-1].headers


async def test_a_session_named_by_what_is_no_field_is_refused() -> None:
    async with stranger(web(document(result(0), 200, "Mcp-Session-Id: a b"))) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed, match="no name"):
            await peer.send(asked("initialize", 0))


async def test_leaving_takes_a_moment_even_if_the_server_does_not_say_goodbye(autojump_clock: MockClock) -> None:
    async with stranger(web(NAMED, delete=hang)) as server:
        async with peer_of(server.url) as peer:
            await peer.begin()
        assert trio.current_time() == GOODBYE_SECONDS


@pytest.mark.parametrize(
    "answer",
    [
        document(b"", 404),
        document(error(-32001, "Session not found"), 404),
        document(error(-32001, "Session not found", 1), 404),
        document({"error": {"code": -32000, "message": "Bad Request: No valid session ID provided"}}, 400),
    ],
)
async def test_a_session_that_the_server_does_not_know_is_lost(answer: bytes) -> None:
    script = web(in_turn(NAMED, answer))
    async with stranger(script) as server, peer_of(server.url) as peer:
        await peer.begin()
        with pytest.raises(SessionLost) as lost:
            await peer.send(asked())
        assert lost.value.status in (400, 404)
    assert "DELETE" not in [seen.method for seen in server.seen]


async def test_a_method_that_is_not_found_is_no_session_lost() -> None:
    missing = error(-32601, "Method not found", 1)
    async with stranger(web(in_turn(NAMED, document(missing, 404)))) as server, peer_of(server.url) as peer:
        await peer.begin()
        await peer.send(asked())
        assert peer.got == [missing]


async def test_without_a_session_404_is_none_lost() -> None:
    async with stranger(web(document(b"", 404))) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed) as failed:
            await peer.send(asked())
        assert type(failed.value) is SendFailed


# --- What 2026-07-28 has in fields --------------------------------------------------------------------------------


async def test_fields_tell_what_a_modern_request_asks_for() -> None:
    schema = {"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}}
    async with stranger(web(document(result()))) as server, peer_of(server.url) as peer:
        called = asked("tools/call", 1, MODERN, name="größe", schema=schema, arguments={"region": "eu"})
        await peer.send(called)
    assert fields(server, "mcp-protocol-version", "mcp-method", "mcp-name", "mcp-param-region") == [
        MODERN,
        "tools/call",
        "=?base64?Z3LDtsOfZQ==?=",
        "eu",
    ]


async def test_a_modern_server_is_not_asked_for_a_stream_of_its_own() -> None:
    async with stranger(web(document(result()))) as server, peer_of(server.url, listening=True) as peer:
        peer.transport.negotiated(MODERN)
        await wait_all_tasks_blocked()
    assert server.seen == []


async def test_a_tool_whose_marks_are_wrong_is_refused_to_modern_servers_only() -> None:
    schema = {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}}
    async with peer_of("http://127.0.0.1:9/") as peer:
        assert peer.transport.refuses(schema) is None
        peer.transport.negotiated(MODERN)
        assert "x-mcp-header" in (peer.transport.refuses(schema) or "")
        with pytest.raises(SendFailed, match="x-mcp-header"):
            await peer.send(asked("tools/call", 1, MODERN, schema=schema))


# --- Where it may go ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("url", "policy"), [("http://127.0.0.1:1/", "strict"), ("http://169.254.169.254/", "local")])
async def test_the_policy_of_urls_is_kept(url: str, policy: str) -> None:
    async with peer_of(url, policy=UrlPolicy(policy)) as peer:
        with pytest.raises(SendFailed, match="not allowed"):
            await peer.send(asked())


async def test_the_address_of_a_name_is_held_to_it_too() -> None:
    async with peer_of("http://wiki.test:1/", settings=names(wiki_test="169.254.169.254")) as peer:
        with pytest.raises(SendFailed, match="not allowed"):
            await peer.send(asked())


async def test_loopback_is_reached_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    def by_environment(
        configured: McpServer, policy: UrlPolicy, settings: object
    ) -> AbstractAsyncContextManager[Transport]:
        return open_http(configured, policy)

    async with stranger(web(document(result()))) as server, connected(by_environment, server.url) as peer:
        await peer.send(asked())
        assert peer.got == [result()]


@pytest.mark.parametrize("url", ["", "ftp://x/y", "http://[/"])
async def test_what_is_no_url_is_told_at_once(url: str) -> None:
    with pytest.raises(TransportFailed, match="its URL is not valid"):
        async with peer_of(url or "no/url/at/all"):
            pass


async def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path) -> None:
    authority = Authority(trustme.CA(), tmp_path / "ca.pem")
    authority.ca.cert_pem.write_to_path(str(authority.file))
    settings = names(wiki_test="127.0.0.1")
    tls = authority.server("wiki.test")
    async with stranger(web(document(result())), tls=tls) as server:
        url = f"https://wiki.test:{server.port}/mcp"
        async with peer_of(url, settings=attrs.evolve(settings, trust=authority.trust)) as peer:
            await peer.send(asked())
            assert peer.got == [result()]
        async with peer_of(url, settings=settings) as peer:
            with pytest.raises(SendFailed, match="certificate"):
                await peer.send(asked())
