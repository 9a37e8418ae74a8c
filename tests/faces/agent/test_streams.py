"""Events out of logs: read in one go, piece by piece, live, and after a cut at any place."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.daemon.tail import OVER, RESET, Tail
from agentd.domain import Entry
from agentd.errors import InvalidRequest, StoreFailed
from agentd.faces.agent import streams
from agentd.faces.agent.streams import PING, Frames, Run, RunFrames, SessionFrames, SharedFrames, run_events
from agentd.store.home import Home, SessionDir
from agentd.store.log import open_log
from agentd.wire import sse
from agentd.wire.feed import Hub, Reader
from agentd.wire.messages import Request
from tests.agentapi import check_run, events_of
from tests.agentlogs import LOGS, jobs_of, made, tailing
from tests.workshop import Workshop


def drain(frames: Frames, after: int = 0) -> bytes:
    """All frames after that ordinal, without the pings."""
    stream = bytearray()
    while True:
        raw, at = frames.read(after)
        if not raw:
            return bytes(stream)
        assert raw == PING or at > after
        stream += b"" if raw == PING else raw
        after = at


def seen(stream: bytes) -> list[tuple[str, str, str]]:
    return [(event.id, event.name, event.data) for event in sse.Decoder().feed(stream)]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is done in small steps, so that short logs take many of them."""
    for name, size in (("MARK_RECORDS", 4), ("STEP_RECORDS", 8), ("PAGE_RECORDS", 3), ("FRAME_BYTES", 400)):
        monkeypatch.setattr(streams, name, size)


@pytest.fixture
def session(tmp_path: Path) -> SessionDir:
    return Home(tmp_path / "data").create_session("agent", tmp_path, "a session")


def append(session: SessionDir, *entries: Entry) -> None:
    with open_log(session.log_path) as log:
        log.append(entries)


@pytest.mark.parametrize("name", LOGS)
async def test_who_was_cut_at_any_byte_goes_on_with_exactly_the_rest(
    workshop: Workshop, small: None, name: str
) -> None:
    session, records = await made(workshop, name)
    async with tailing(session) as tail:
        run = Run(session.id, jobs_of(records)[0])
        makers: tuple[Callable[[], Frames], ...] = (lambda: SessionFrames(tail), lambda: RunFrames(tail, run))
        for make in makers:
            whole = drain(make())
            for cut in random.Random(name).sample(range(len(whole)), min(100, len(whole))):
                had, fresh = seen(whole[:cut]), make()
                after = fresh.ordinal(had[-1][0] if had else "")
                assert had + seen(drain(fresh, after)) == seen(whole)


async def test_ids_only_grow_and_each_names_one_event(workshop: Workshop) -> None:
    session, _ = await made(workshop, "subagents")
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        ids = [each[0] for each in seen(drain(frames))]
        ordinals = [frames.ordinal(each) for each in ids]
        assert ordinals == sorted(set(ordinals))


async def test_the_last_event_of_a_record_has_its_position_alone(workshop: Workshop) -> None:
    session, records = await made(workshop, "answer")
    async with tailing(session) as tail:
        stream = seen(drain(RunFrames(tail, Run(session.id, jobs_of(records)[0]))))
        assert [(each[0], each[1]) for each in stream[-2:]] == [("8-1", "result"), ("8", "done")]


async def test_a_run_ends_with_done_and_a_session_does_not(workshop: Workshop) -> None:
    session, records = await made(workshop, "two_runs")
    async with tailing(session) as tail:
        run, both = RunFrames(tail, Run(session.id, jobs_of(records)[0])), SessionFrames(tail)
        first = drain(run)
        check_run(events_of(first))
        assert drain(both).startswith(first)
        assert run.ended(run.ordinal(seen(first)[-1][0]))
        assert not both.ended(tail.reader.last_pos * streams.PARTS)


async def test_who_comes_back_after_the_end_of_a_run_finds_it_ended(workshop: Workshop) -> None:
    session, records = await made(workshop, "two_runs")
    async with tailing(session) as tail:
        frames = RunFrames(tail, Run(session.id, jobs_of(records)[0]))
        after = frames.ordinal("20")
        assert frames.read(after) == (b"", after)
        assert frames.ended(after)


async def test_partials_are_told_as_each_run_asked_for_them(workshop: Workshop) -> None:
    session, records = await made(workshop, "two_runs")
    async with tailing(session) as tail:
        first, second = (drain(RunFrames(tail, Run(session.id, job))) for job in jobs_of(records))
        assert (b"event: partial" in first, b"event: partial" in second) == (True, False)
        wanted = drain(RunFrames(tail, Run(session.id, jobs_of(records)[1]), partials=True))
        assert b"event: partial" in wanted


# --- Cursors that cannot be served --------------------------------------------------------------------------------


@pytest.mark.parametrize("ident", ["999", "999-1", "3.2"])
async def test_a_cursor_of_what_is_not_there_gets_a_reset_and_everything(workshop: Workshop, ident: str) -> None:
    session, _ = await made(workshop, "answer")
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        assert frames.ordinal(ident) == RESET
        (reset_id, name, data), *rest = seen(drain(frames, RESET))
        assert (reset_id, name, json.loads(data)) == ("0", "reset", {"generation": 1, "last": 8, "after": "0"})
        assert rest == seen(drain(frames))


@pytest.mark.parametrize("ident", ["x", "1-", "-1", "1.", "1-2-3", "9" * 13])
async def test_what_is_no_id_is_refused(workshop: Workshop, ident: str) -> None:
    session, _ = await made(workshop, "answer")
    async with tailing(session) as tail:
        with pytest.raises(InvalidRequest):
            SessionFrames(tail).ordinal(ident)


async def test_ids_say_which_generation_of_the_log_they_are_of(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, _ = await made(workshop, "answer")
    monkeypatch.setattr("agentd.store.generations.boot_id", lambda: "another boot")
    append(session, Entry("notice", {"level": "info", "code": None, "text": "t"}))
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        stream = seen(drain(frames))
        assert [each[0] for each in stream[-2:]] == ["8-1.2", "8.2"]
        assert seen(drain(frames, frames.ordinal("8-1.2"))) == stream[-1:]
        assert seen(drain(frames, frames.ordinal("8-1"))) == stream[-1:]  # what it saw then is there still


async def test_a_reader_whose_records_are_taken_back_is_told_and_its_stream_ends(workshop: Workshop) -> None:
    session, _ = await made(workshop, "answer")
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        stream = drain(frames)
        tail.cuts += 1
        after = frames.ordinal(seen(stream)[-1][0])
        raw, at = frames.read(after)
        assert ([each[1] for each in seen(raw)], at) == (["reset"], OVER)
        assert frames.ended(at)


async def test_the_header_goes_before_the_query(workshop: Workshop) -> None:
    session, _ = await made(workshop, "answer")
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        request = Request("GET", "/events?after=3", {"Last-Event-ID": "8-1"})
        assert frames.after(request) == frames.ordinal("8-1")
        assert frames.after(Request("GET", "/events?after=3")) == frames.ordinal("3")
        assert frames.after(Request("GET", "/events")) == 0


# --- Pages --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 2, 7, 1000])
async def test_pages_of_any_size_hold_the_same_events(workshop: Workshop, small: None, limit: int) -> None:
    session, _ = await made(workshop, "tools")
    async with tailing(session) as tail:
        frames, got, after = SessionFrames(tail), list[Any](), "0"
        while (page := await frames.page(frames.ordinal(after), limit))["after"] != after:
            assert len(page["events"]) <= limit
            assert page["reset"] is False
            got += [(each["id"], each["event"], each["data"]) for each in page["events"]]
            after = page["after"]
        assert got == [(ident, name, json.loads(data)) for ident, name, data in seen(drain(frames))]


async def test_a_page_says_that_its_cursor_could_not_be_served(workshop: Workshop) -> None:
    session, _ = await made(workshop, "answer")
    async with tailing(session) as tail:
        frames = SessionFrames(tail)
        page = await frames.page(frames.ordinal("999"), 1)
        assert (page["reset"], page["events"][0]["event"]) == (True, "init")


# --- Live ---------------------------------------------------------------------------------------------------------


def delta(text: str, message: str = "M") -> Entry:
    return Entry("text.delta", {"message": message, "block": 0, "text": text}, "j")


def created(**face: Any) -> Entry:
    return Entry("job.created", {"spec": {"face": face}}, "j")


FINISHED = Entry(
    "job.finished",
    {"outcome": "completed", "stop_reason": "completed", "error": None, "result": "R", "cost": None, "duration_ms": 1},
    "j",
)


async def test_a_run_is_told_as_it_goes(session: SessionDir) -> None:
    append(session, created(partials=True))
    async with tailing(session) as tail:
        async with aclosing(run_events(tail, Run(session.id, "j"))) as events:
            append(session, delta("one"))
            tail.look()
            assert [(await anext(events)).name for _ in range(3)] == ["init", "partial", "partial"]
            append(session, FINISHED)
            tail.look()
            assert [event.name async for event in events] == ["partial", "result", "done"]
        assert not tail.is_read


async def test_who_waits_for_events_hears_of_them(session: SessionDir) -> None:
    append(session, created(partials=True))
    async with tailing(session) as tail, trio.open_nursery() as nursery:
        got: list[str] = []

        async def follow() -> None:
            async with aclosing(run_events(tail, Run(session.id, "j"))) as events:
                got.extend([event.name async for event in events])

        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        append(session, delta("one"), FINISHED)
        tail.look()
        with trio.fail_after(10):
            while not got:
                await trio.lowlevel.checkpoint()
        assert got[-1] == "done"


async def test_events_end_without_done_when_the_server_stops(session: SessionDir) -> None:
    append(session, created(), delta("one"))
    async with tailing(session) as tail, aclosing(run_events(tail, Run(session.id, "j"), True)) as events:
        assert (await anext(events)).name == "init"
        tail.close()
        assert [event.name async for event in events][-1] == "partial"


async def test_who_follows_a_run_is_told_that_records_may_have_been_taken_back(
    session: SessionDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(session, created(), delta("one"))
    async with tailing(session) as tail, aclosing(run_events(tail, Run(session.id, "j"), True)) as events:
        assert [(await anext(events)).name for _ in range(3)] == ["init", "partial", "partial"]
        monkeypatch.setattr("agentd.store.generations.boot_id", lambda: "another boot")
        append(session, delta("two"))
        tail.look()
        with pytest.raises(StoreFailed):
            await anext(events)


async def test_who_reads_the_same_session_shares_its_frames(workshop: Workshop) -> None:
    session, _ = await made(workshop, "answer")
    shared = SharedFrames()
    async with tailing(session) as tail:
        known = shared.of(tail)
        assert shared.of(tail) is known
        tail.cuts += 1
        assert shared.of(tail) is not known


# --- Any log ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def logged(entries: list[Entry]) -> AsyncIterator[Tail]:
    with tempfile.TemporaryDirectory() as place:
        session = Home(Path(place) / "data").create_session("agent", Path(place), "a session")
        append(session, *entries)
        async with tailing(session) as tail:
            yield tail


@st.composite
def runs(draw: st.DrawFn) -> list[Entry]:
    """A run as an engine might write it, and as one that died might leave it."""
    entries = [created(partials=draw(st.booleans()))]
    if draw(st.booleans()):
        started = {"resolved_model": "m", "tools": [], "mcp_servers": [], "permission_mode": "default"}
        entries.append(Entry("job.started", started, "j"))
    turns = draw(st.integers(0, 4))
    for number in range(turns):
        entries += draw(_turns(f"M{number}", last=number == turns - 1))
    return [*entries, FINISHED] if draw(st.booleans()) else entries


@st.composite
def _turns(draw: st.DrawFn, message: str, *, last: bool) -> list[Entry]:
    entries, content = list[Entry](), list[dict[str, Any]]()
    for index in range(draw(st.integers(0, 3))):
        pieces = draw(st.lists(st.text(max_size=5), max_size=3))
        entries += [
            Entry("text.delta", {"message": message, "block": index, "text": piece}, "j") for piece in pieces if piece
        ]
        content.append({"type": "text", "text": "".join(pieces)})
    calls = [f"{message}-{number}" for number in range(draw(st.integers(0, 2)))]
    content += [{"type": "tool_use", "id": call, "name": "Read", "input": {"x": 1}} for call in calls]
    if last and draw(st.booleans()):
        return entries  # it broke off
    used = {"input_tokens": 1, "output_tokens": 1, "cached_tokens": 0}
    said = {"id": message, "role": "assistant", "content": content, "model": "m", "usage": used}
    entries += [Entry("message", said, "j"), Entry("usage", used | {"model": "m"}, "j")]
    for call in draw(st.permutations(calls)):
        told = {"call": call, "ok": draw(st.booleans()), "content": [{"type": "text", "text": "R"}]}
        entries.append(Entry("tool.output", {"call": call, "text": "t"}, "j"))
        entries += [Entry("tool.finished", told, "j")] if draw(st.booleans()) else []
    return entries


@settings(max_examples=50, deadline=None)
@given(entries=runs(), seed=st.integers(0, 99))
def test_any_run_goes_on_after_any_cut_with_exactly_the_rest(entries: list[Entry], seed: int) -> None:
    trio.run(_hold_cuts, entries, seed)


async def _hold_cuts(entries: list[Entry], seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("MARK_RECORDS", 3), ("STEP_RECORDS", 5), ("PAGE_RECORDS", 2), ("FRAME_BYTES", 300)):
            patch.setattr(streams, name, size)
        async with logged(entries) as tail:
            whole = drain(RunFrames(tail, Run("s", "j")))
            if entries[-1] is FINISHED:
                check_run(events_of(whole))
            rng = random.Random(seed)
            shared = RunFrames(tail, Run("s", "j"))  # has been elsewhere, as one with many readers has
            for cut in rng.sample(range(len(whole)), min(20, len(whole))):
                had = seen(whole[:cut])
                for frames in (shared, RunFrames(tail, Run("s", "j"))):
                    after = frames.ordinal(had[-1][0] if had else "")
                    assert had + seen(drain(frames, after)) == seen(whole)


# --- Through a feed -----------------------------------------------------------------------------------------------


class Socket:
    """Takes so many bytes at a time."""

    def __init__(self, room: int) -> None:
        self.room, self.got = room, bytearray()

    def send_nowait(self, data: Any) -> int:
        self.got += data[: self.room]
        return min(len(data), self.room)

    async def send_all(self, data: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.got += data


async def test_a_thousand_readers_that_were_cut_end_with_exactly_the_log(workshop: Workshop, small: None) -> None:
    session, records = await made(workshop, "tools")
    async with tailing(session) as tail, trio.open_nursery() as nursery:
        frames = RunFrames(tail, Run(session.id, jobs_of(records)[0]))
        whole, hub, feed, rng = drain(frames), Hub(nursery), frames.feed(), random.Random(6)

        async def read(cut: int) -> None:
            had = seen(whole[:cut])
            socket = Socket(rng.randint(1, 300))
            reader = Reader(socket, frames.ordinal(had[-1][0] if had else ""), chunked=False, head=b"")
            assert await feed.serve(reader, hub, trio.sleep_forever)
            assert had + seen(bytes(socket.got)) == seen(whole)

        with trio.fail_after(60):
            async with trio.open_nursery() as readers:
                for _ in range(1000):
                    readers.start_soon(read, rng.randrange(len(whole)))
        nursery.cancel_scope.cancel()
