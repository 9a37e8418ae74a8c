"""HTTP+SSE: the stream, the address that it names, and how both fail."""

from __future__ import annotations

from functools import partial

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.tools.mcp.sse import ENDPOINT_SECONDS, open_sse
from agentd.tools.mcp.transport import SendFailed, SessionLost, TransportClosed
from agentd.wire import sse
from agentd.wire.urlpolicy import UrlPolicy
from tests.tools.mcp.web import (
    ACCEPTED,
    Handler,
    always,
    asked,
    chunk,
    connected,
    document,
    event,
    hang,
    note,
    result,
    stream,
    told,
    web,
)
from tests.wire.stranger import Link, Script, Seen, stranger

peer_of = partial(connected, open_sse, listening=True)


def named(endpoint: str) -> bytes:
    return f"event: endpoint\ndata: {endpoint}\n\n".encode()


def old(post: Handler | bytes = ACCEPTED, endpoint: str = "/messages?session=secret") -> Script:
    """A server that names its endpoint, and is then silent."""
    return web(post, always(stream(named(endpoint), ended=False), hold=True))


async def test_messages_go_to_the_endpoint_and_come_by_the_stream() -> None:
    taken = trio.Event()

    async def post(link: Link, seen: Seen) -> None:
        await link.send(ACCEPTED)
        taken.set()

    async def get(link: Link, seen: Seen) -> None:
        await link.send(stream(named("/messages?session=1"), ended=False))
        await taken.wait()
        await link.send(chunk(event(note(1)) + event(result())))
        await link.is_hung_up_on()

    async with stranger(web(post, get)) as server, peer_of(f"{server.url}/sse", {"X-Key": "k"}) as peer:
        await peer.send(asked())
        await wait_all_tasks_blocked()
        assert peer.got == [note(1), result()]
    said = [(seen.method, seen.target, seen.headers["x-key"]) for seen in server.seen]
    assert said == [("GET", "/sse", "k"), ("POST", "/messages?session=1", "k")]
    assert server.seen[0].headers["accept"] == "text/event-stream"
    assert server.seen[1].body == asked().message


async def test_credentials_of_the_url_go_to_the_endpoint_too() -> None:
    async with stranger(old()) as server, peer_of(f"http://ann:pw@127.0.0.1:{server.port}/sse") as peer:
        await peer.send(told())
    assert [seen.headers["authorization"] for seen in server.seen] == ["Basic YW5uOnB3"] * 2


async def test_a_message_waits_until_the_endpoint_is_known() -> None:
    known = trio.Event()

    async def get(link: Link, seen: Seen) -> None:
        await known.wait()
        await link.send(stream(named("/m"), ended=False))
        await link.is_hung_up_on()

    async with stranger(web(get=get)) as server, peer_of(server.url) as peer, trio.open_nursery() as nursery:
        nursery.start_soon(peer.send, told())
        await wait_all_tasks_blocked()
        assert [seen.method for seen in server.seen] == ["GET"]
        known.set()


async def test_a_server_that_names_no_endpoint_is_not_waited_for(autojump_clock: MockClock) -> None:
    silent = always(stream(ended=False), hold=True)
    async with stranger(web(get=silent)) as server, peer_of(server.url) as peer:
        with pytest.raises(TransportClosed, match="named no endpoint in 30 s"):
            await peer.send(told())
        assert trio.current_time() == ENDPOINT_SECONDS


async def test_a_server_that_does_not_answer_is_not_waited_for(autojump_clock: MockClock) -> None:
    async with stranger(web(get=hang)) as server, peer_of(server.url) as peer:
        await trio.sleep(ENDPOINT_SECONDS + 1)
        assert [str(each) for each in peer.failed] == [f"GET {server.url}: no answer within 30 s"]


@pytest.mark.parametrize(
    "endpoint", ["http://other.test/m", "//127.0.0.1:1/m", "https://127.0.0.1/m", "ftp://x/", "http://[/", "/" * 9000]
)
async def test_an_endpoint_elsewhere_gets_nothing(endpoint: str) -> None:
    async with stranger(old(endpoint=endpoint)) as server, peer_of(server.url, {"X-Key": "k"}) as peer:
        with pytest.raises(TransportClosed) as closed:
            await peer.send(told())
        assert [str(each) for each in peer.failed] == [str(closed.value)]
    assert [seen.method for seen in server.seen] == ["GET"]


async def test_only_the_first_endpoint_counts() -> None:
    get = always(stream(named("/1"), named("http://other.test/"), ended=False), hold=True)
    async with stranger(web(get=get)) as server, peer_of(server.url) as peer:
        await peer.send(told())
        assert server.seen[-1].target == "/1"


async def test_events_of_other_names_are_passed_over() -> None:
    get = always(stream(named("/1"), b"event: ping\ndata: {}\n\n", event(note(1)), ended=False), hold=True)
    async with stranger(web(get=get)) as server, peer_of(server.url) as peer:
        await wait_all_tasks_blocked()
        assert (peer.got, peer.failed) == ([note(1)], [])


FAULTS: dict[str, tuple[Handler | bytes, str]] = {
    "has no such stream": (document(b"", 405), "HTTP 405"),
    "wants credentials": (document(b"", 401), "HTTP 401"),
    "answers with JSON": (document({}), "HTTP 200"),
    "ends the stream": (stream(), "ended the stream of events"),
    "redirects elsewhere": (document(b"", 302, "Location: http://other.test/secret"), "to http://other.test, which"),
    "has an event without end": (stream(b"data: " + b"x" * 2000), "more than"),
    "speaks no HTTP": (always(b"SSH-2.0-OpenSSH\r\n\r\n"), "no HTTP"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_stream_that_is_none_closes_the_connection(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_CHARACTERS", 1000)
    get, said = FAULTS[fault]
    async with stranger(web(get=get)) as server, peer_of(server.url) as peer:
        with pytest.raises(TransportClosed, match=said) as closed:
            await peer.send(told())
        assert [type(each) for each in peer.failed] == [TransportClosed]
        assert "secret" not in str(closed.value)


async def test_a_stream_that_ends_later_closes_it_too() -> None:
    over = trio.Event()

    async def get(link: Link, seen: Seen) -> None:
        await link.send(stream(named("/m"), ended=False))
        await over.wait()
        link.reset()

    async with stranger(web(get=get)) as server, peer_of(server.url) as peer:
        await peer.send(told())
        over.set()
        await wait_all_tasks_blocked()
        with pytest.raises(TransportClosed):
            await peer.send(told())


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (document(b"", 404), SessionLost, "HTTP 404"),
        (document(b"", 500), SendFailed, "HTTP 500: it fails"),
        (document(b"", 413), SendFailed, "HTTP 413"),
        (document(b"", 307, "Location: http://other.test/"), SendFailed, "not followed"),
    ],
)
async def test_a_message_may_be_refused(answer: bytes, kind: type[SendFailed], said: str) -> None:
    async with stranger(old(answer)) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed, match=said) as failed:
            await peer.send(told())
        assert (type(failed.value), peer.failed) == (kind, [])
        assert "secret" not in str(failed.value)


async def test_a_message_that_nobody_takes_does_not_wait_for_ever(autojump_clock: MockClock) -> None:
    async with stranger(old(hang)) as server, peer_of(server.url) as peer:
        with pytest.raises(SendFailed, match="within 30 s"):
            await peer.send(told())


async def test_leaving_hangs_up() -> None:
    async with stranger(old()) as server:
        async with peer_of(server.url) as peer:
            await peer.send(told())
            await wait_all_tasks_blocked()
            assert server.open == 2
        await wait_all_tasks_blocked()
        assert server.open == 0


async def test_the_policy_of_urls_is_kept() -> None:
    async with stranger(old()) as server, peer_of(server.url, policy=UrlPolicy.STRICT) as peer:
        with pytest.raises(TransportClosed, match="not allowed"):
            await peer.send(told())
    assert server.seen == []
