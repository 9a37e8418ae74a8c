"""The fan-out: everybody gets everything, in order, once, and nobody waits for anybody."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.errors import InvalidRequest
from agentd.wire.feed import Feed, resume_after
from agentd.wire.limits import Limits
from agentd.wire.messages import NDJSON_TYPE, Request, Response, StreamResponse
from agentd.wire.routing import Mount, Routes

if TYPE_CHECKING:
    from tests.wire.conftest import FakeSource, House, RawClient, Start

GET = b"GET /feed HTTP/1.1\r\nHost: x\r\n\r\n"
BIG = 500_000  # more than a unix socket holds


def frame(n: int, size: int = 0) -> bytes:
    return b"%d:%s;" % (n, b"x" * size)


@pytest.fixture
def feed(source: FakeSource) -> Feed:
    return Feed(source, keepalive=b": ping\n\n")


@pytest.fixture
async def house(start: Start, feed: Feed) -> House:
    routes = Routes()

    @routes.get("/feed")
    async def stream(app: object, request: Request) -> StreamResponse:
        return StreamResponse(feed, resume_after(request), NDJSON_TYPE)

    @routes.get("/hello")
    async def hello(app: object, request: Request) -> Response:
        return Response(200, b"hello")

    started: House = await start([Mount(routes, None)], Limits(drain_seconds=1))
    return started


async def join(house: House, after: int = 0) -> RawClient:
    client = await house.connect()
    await client.send(GET.replace(b"/feed", b"/feed?after=%d" % after))
    await wait_all_tasks_blocked()
    return client


# --- Replay, live, end --------------------------------------------------------------------------------------------


async def test_a_reader_gets_what_there_is_and_then_what_comes(house: House, source: FakeSource) -> None:
    source.add(b"one ", b"two ")
    client = await join(house)
    source.add(b"three ")
    await wait_all_tasks_blocked()
    source.add(b"four")
    source.end()
    answer = await client.answer()
    assert (answer.status, answer.body) == (200, b"one two three four")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert answer.headers["cache-control"] == "no-cache"


async def test_the_head_and_the_first_frames_leave_in_one_piece(house: House, source: FakeSource) -> None:
    source.add(b"one ")
    client = await join(house)
    data = await client.read()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"4\r\none \r\n")


async def test_a_head_goes_out_even_when_there_is_nothing_to_say_yet(house: House) -> None:
    client = await join(house)
    assert (await client.read()).endswith(b"\r\n\r\n")


async def test_the_connection_is_kept_when_the_stream_has_ended(house: House, source: FakeSource) -> None:
    source.add(b"one")
    source.end()
    client = await join(house)
    assert (await client.answer()).body == b"one"
    assert (await client.ask(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"hello"


async def test_what_a_reader_sends_meanwhile_is_answered_afterwards(house: House, source: FakeSource) -> None:
    client = await join(house)
    await client.send(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_all_tasks_blocked()
    source.add(b"one")
    source.end()
    assert (await client.answer()).body == b"one"
    assert (await client.answer()).body == b"hello"


async def test_a_reader_resumes_after_what_it_has(house: House, source: FakeSource) -> None:
    source.add(b"one ", b"two ", b"three ")
    source.end()
    assert (await (await join(house, 2)).answer()).body == b"three "
    assert (await (await join(house, 3)).answer()).body == b""


async def test_a_stream_that_has_ended_already_is_sent_at_once(house: House, source: FakeSource) -> None:
    source.end()
    assert (await (await join(house)).answer()).body == b""


async def test_head_of_a_stream_sends_none_of_it(house: House, source: FakeSource) -> None:
    source.add(b"one")
    client = await house.connect()
    answer = await client.ask(GET.replace(b"GET", b"HEAD"), method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert source.callbacks == []


async def test_an_http_1_0_reader_gets_the_bare_frames(house: House, source: FakeSource) -> None:
    client = await house.connect()
    await client.send(b"GET /feed HTTP/1.0\r\n\r\n")
    await wait_all_tasks_blocked()
    source.add(b"one ")
    await wait_all_tasks_blocked()
    source.add(b"two")
    source.end()
    assert (await client.read_to_end()).partition(b"\r\n\r\n")[2] == b"one two"


async def test_a_feed_that_is_closed_ends_for_everybody(house: House, source: FakeSource, feed: Feed) -> None:
    source.add(b"one")
    clients = [await join(house) for _ in range(3)]
    feed.close()
    assert [(await client.answer()).body for client in clients] == [b"one"] * 3


async def test_frames_are_read_once_for_all_current_readers(house: House, source: FakeSource) -> None:
    clients = [await join(house) for _ in range(20)]
    before = source.reads
    source.add(b"one")
    await wait_all_tasks_blocked()
    assert source.reads - before == 2  # the frame, and that there is no more
    source.end()
    assert [(await client.answer()).body for client in clients] == [b"one"] * 20


async def test_a_reader_from_the_future_waits_for_it(house: House, source: FakeSource) -> None:
    ahead, current = await join(house, 3), await join(house)
    await join(house, 2)
    source.add(b"one ", b"two ")
    await wait_all_tasks_blocked()
    source.add(b"three ", b"four ")
    source.end()
    assert (await ahead.answer()).body == b"four "
    assert (await current.answer()).body == b"one two three four "


# --- Readers that are slow, or leave ------------------------------------------------------------------------------


async def test_a_slow_reader_loses_nothing_and_holds_nobody_up(house: House, source: FakeSource) -> None:
    slow, fast = await join(house), await join(house)
    frames = [frame(n, BIG) for n in range(8)]
    for made in frames:
        source.add(made)
        while b";" not in await fast.read():
            pass
    source.end()
    assert (await slow.answer()).body == b"".join(frames)


async def test_a_slow_reader_that_caught_up_is_current_again(house: House, source: FakeSource) -> None:
    client = await join(house)
    source.add(frame(1, BIG))
    data = b""
    while b"x;" not in data:
        data += await client.read()
    await wait_all_tasks_blocked()
    before = source.reads
    source.add(b"two")
    await wait_all_tasks_blocked()
    assert source.reads - before == 2  # by the flusher alone
    assert await client.read() == b"3\r\ntwo\r\n"


async def test_a_reader_that_takes_no_byte_for_a_minute_is_cut(
    house: House, source: FakeSource, autojump_clock: MockClock
) -> None:
    client, other = await join(house), await join(house)
    source.add(*(frame(n, BIG) for n in range(5)))
    while b"4:x" not in await other.read():
        pass
    await trio.sleep(Limits().stall_seconds + 2)
    assert b"4:x" not in await client.read_to_end()
    source.end()
    await other.read_to_end()


async def test_a_reader_with_unsent_bytes_is_not_touched_by_keep_alive(
    house: House, source: FakeSource, autojump_clock: MockClock
) -> None:
    client = await join(house)
    source.add(frame(1, BIG))
    await trio.sleep(Limits().keepalive_seconds * 2 + 1)
    source.end()
    assert (await client.answer()).body == frame(1, BIG)


async def test_waiting_readers_get_a_comment_now_and_then(
    house: House, source: FakeSource, autojump_clock: MockClock
) -> None:
    current, ahead = await join(house), await join(house, 7)
    await trio.sleep(Limits().keepalive_seconds * 2.5)
    source.end()
    source.add(*[b"-"] * 7)
    assert (await current.answer()).body == b": ping\n\n" * 2 + b"-" * 7
    assert (await ahead.answer()).body == b": ping\n\n" * 2


async def test_a_feed_may_have_no_comment(start: Start, source: FakeSource, autojump_clock: MockClock) -> None:
    routes = Routes()

    @routes.get("/feed")
    async def stream(app: object, request: Request) -> StreamResponse:
        return StreamResponse(Feed(source, keepalive=b""))

    client = await join(await start(routes))
    await trio.sleep(100)
    source.end()
    assert (await client.answer()).body == b""


async def test_a_reader_that_leaves_is_noticed_at_once(house: House, source: FakeSource) -> None:
    client = await join(house)
    assert len(source.callbacks) == 1
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    assert source.callbacks == []


async def test_a_reader_that_leaves_while_it_is_behind_is_noticed_too(house: House, source: FakeSource) -> None:
    client, other = await join(house), await join(house)
    source.add(frame(1, BIG))
    await wait_all_tasks_blocked()
    await client.stream.aclose()
    source.end()
    assert (await other.answer()).body == frame(1, BIG)
    await wait_all_tasks_blocked()
    assert source.callbacks == []


async def test_a_reader_that_sends_without_end_is_cut(house: House) -> None:
    client = await join(house)
    with pytest.raises(trio.BrokenResourceError):
        await client.send(b"x" * 10_000_000)


async def test_a_stream_starts_again_after_its_last_reader_has_gone(house: House, source: FakeSource) -> None:
    await (await join(house)).stream.aclose()
    source.add(b"one ")
    client = await join(house)
    source.add(b"two")
    source.end()
    assert (await client.answer()).body == b"one two"


async def test_a_source_that_breaks_cuts_its_readers_and_nothing_else(
    house: House, source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client, other = await join(house), await house.connect()

    def broken(after: int) -> tuple[bytes, int]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(source, "read", broken)
    source.add(b"one")
    assert not (await client.read_to_end()).endswith(b"0\r\n\r\n")
    assert (await other.ask(b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"hello"
    assert "the disk is gone" in caplog.text


async def test_a_source_that_is_broken_when_a_reader_comes_is_a_500(
    house: House, source: FakeSource, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(after: int) -> tuple[bytes, int]:
        raise OSError("the disk is gone")

    monkeypatch.setattr(source, "read", broken)
    assert (await (await join(house)).answer()).status == 500
    assert "the disk is gone" in caplog.text


async def test_a_feed_works_again_when_its_source_does(
    house: House, source: FakeSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(callback: Callable[[], None]) -> Callable[[], None]:
        raise OSError("too many watchers")

    with monkeypatch.context() as patch:
        patch.setattr(source, "subscribe", broken)
        assert not (await (await join(house)).read_to_end()).endswith(b"0\r\n\r\n")
    source.add(b"one")
    source.end()
    assert (await (await join(house)).answer()).body == b"one"


@pytest.mark.parametrize("seed", range(5))
async def test_whatever_the_pace_every_reader_gets_every_frame_once(
    house: House, source: FakeSource, seed: int, nursery: trio.Nursery
) -> None:
    chance = random.Random(seed)
    got: dict[int, bytes] = {}

    async def read(n: int, after: int, pause: float) -> None:
        client = await join(house, after)
        await trio.sleep(pause)
        got[n] = (await client.answer()).body

    async with trio.open_nursery() as readers:
        for n in range(12):
            readers.start_soon(read, n, min(n, 3), chance.choice([0, 0, 0.01, 0.03]))
        for n in range(120):
            source.add(*(frame(n * 10 + k, chance.choice([0, 5, 3000, 40_000])) for k in range(chance.randrange(1, 4))))
            if chance.random() < 0.5:
                await trio.sleep(chance.choice([0, 0.001]))
        source.end()
    for n, body in got.items():
        assert body == b"".join(source.frames[min(n, 3) :])


async def test_one_feed_may_have_readers_of_two_servers(start: Start, source: FakeSource) -> None:
    routes, feed = Routes(), Feed(source)

    @routes.get("/feed")
    async def stream(app: object, request: Request) -> StreamResponse:
        return StreamResponse(feed)

    first = await start([Mount(routes, None)], Limits(drain_seconds=0))
    second = await start([Mount(routes, None)], Limits(drain_seconds=0))
    lost, kept = await join(first), await join(second)
    first.scope.cancel()
    await first.ended.wait()
    source.add(b"still here")
    source.end()
    assert (await kept.answer()).body == b"still here"
    assert not (await lost.read_to_end()).endswith(b"0\r\n\r\n")


# --- Resuming -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "fields", "after"),
    [
        ("", {}, 0),
        ("?after=5", {}, 5),
        ("?after=-1", {}, -1),
        ("?after=5", {"Last-Event-ID": "9"}, 9),
        ("?after=5", {"Last-Event-ID": ""}, 5),
    ],
)
def test_where_a_reader_goes_on(query: str, fields: dict[str, str], after: int) -> None:
    assert resume_after(Request("GET", f"/feed{query}", fields)) == after


@pytest.mark.parametrize("text", ["x", "1.5", "1_0", "9" * 30, "٣"])
def test_a_cursor_that_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="expected the number of an event"):
        resume_after(Request("GET", f"/feed?after={text}"))
