"""Event streams: how they are framed, numbered and resumed, and that no event is lost or told twice."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, cast

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentd.daemon.tail import Tail
from agentd.domain import Record
from agentd.faces.runs import events as module
from agentd.faces.runs.events import Event, EventFrames
from agentd.wire import sse
from tests.runserver import Server, command, plan, serving

GATED = plan({"type": "note"}, command("true", needs_approval=True))
FRAME = re.compile(rb"event: message\ndata: (\{[^\n]*\})\nid: (\d+)\n\n")


async def history(server: Server, run: str, query: str = "", **headers: str) -> list[sse.Event]:
    """What the stream says until it ends."""
    fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
    path = f"/v1/runs/{run}/events?follow=false&{query}"
    answer = await server.client.request("GET", path, headers=fields, seconds=10)
    assert answer.status == 200
    return sse.Decoder().feed(answer.body)


# --- Over HTTP ----------------------------------------------------------------------------------------------------


async def test_events_are_framed_as_messages_with_their_number_behind(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(plan({"type": "note"}))
        await server.until(run)
        answer = await server.client.request("GET", f"/v1/runs/{run}/events?follow=false", seconds=10)
        told = await server.events(run)
    assert b"".join(found[0] for found in FRAME.finditer(answer.body)) == answer.body
    frames = FRAME.findall(answer.body)
    assert [int(number) for _, number in frames] == list(range(1, len(told) + 1))
    assert [json.loads(data) for data, _ in frames] == told
    assert list(told[0]) == ["ts", "run_id", "type", "data"]


async def test_a_reader_goes_on_behind_what_it_has_seen(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(plan({"type": "note"}))
        await server.until(run)
        whole = await history(server, run)
        assert await history(server, run, "after=3") == whole[3:]
        assert await history(server, run, last_event_id="5") == whole[5:]
        assert await history(server, run, "after=2", last_event_id="5") == whole[5:]
        assert await history(server, run, last_event_id="nonsense") == whole
        assert await history(server, run, f"after={len(whole) + 7}") == []


async def test_events_are_had_as_json(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(plan({"type": "note"}))
        await server.until(run)
        whole, path = await server.events(run), f"/v1/runs/{run}/events?format=json"
        assert await server.get(f"{path}&max=0") == whole
        assert await server.get(f"{path}&max=nonsense") == whole
        assert await server.get(f"{path}&max=2") == whole[:2]
        assert await server.get(f"{path}&after=2&max=3") == whole[2:5]
        assert await server.get(f"{path}&after=99") == []


async def test_a_stream_goes_on_as_the_run_does_and_does_not_end_with_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(GATED)
        await server.until(run, "waiting_approval")
        seen: list[sse.Event] = []
        async with server.client.open_stream("GET", f"/v1/runs/{run}/events") as stream:
            events = stream.events()
            with trio.fail_after(20):
                while not seen or '"run_succeeded"' not in seen[-1].data:
                    seen.append(await anext(events))
                    if '"approval_requested"' in seen[-1].data:
                        await server.approve(run, "s2")
            with trio.move_on_after(0.2) as waited:
                await anext(events)
            assert waited.cancelled_caught
        assert seen == await history(server, run)


# --- Numbers ------------------------------------------------------------------------------------------------------


@attrs.define
class Log:
    """What is used of a tail and of its reader."""

    all: list[Record]
    last_pos: int = 0
    cuts: int = 0
    closed: bool = False

    @property
    def reader(self) -> Self:
        return self

    def read(self, after: int, limit: int | None = None, max_bytes: int = 0) -> Sequence[Record]:
        return self.all[after : self.last_pos][:limit]

    def subscribe(self, callback: Callable[[], object]) -> Callable[[], None]:
        return lambda: None


@attrs.define
class Counting:
    """As many events as a record says, each with how many there were before: only a fold that knows all is right."""

    count: int = 0

    def copy(self) -> Self:
        return type(self)(self.count)

    def apply(self, record: Record) -> list[Event]:
        made = [Event(record.ts, "n", str(self.count + number)) for number in range(1, record.data["events"] + 1)]
        self.count += len(made)
        return made


def log(counts: Sequence[int]) -> Log:
    records = [Record(pos, 0, None, "x", {"events": count}) for pos, count in enumerate(counts, 1)]
    return Log(records)


def frames_of(told: Log) -> EventFrames:
    return EventFrames(cast("Tail", told), Counting(), {"run_id": "run_x"})


def numbers(frames: bytes) -> list[int]:
    """Of the events; each says its own in its message as well."""
    found = FRAME.findall(frames)
    assert all(json.loads(data)["message"] == number.decode() for data, number in found)
    return [int(number) for _, number in found]


@given(st.data(), st.lists(st.integers(0, 3), max_size=60))
def test_whoever_reads_from_wherever_gets_each_event_once(data: st.DataObject, counts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"MARK_RECORDS": 4, "PAGE_RECORDS": 3, "FRAME_BYTES": 200, "STEP_RECORDS": 5}.items():
            patched.setattr(module, name, value)
        told = log(counts)
        frames = frames_of(told)
        readers: list[tuple[int, list[int]]] = [(start, []) for start in (0, 1, 7, sum(counts))]
        while told.last_pos < len(counts):
            told.last_pos = data.draw(st.integers(told.last_pos + 1, len(counts)))
            for index in data.draw(st.permutations(range(len(readers)))):
                start, got = readers[index]
                at = got[-1] if got else start
                for _ in range(data.draw(st.integers(0, 4))):
                    page, at = frames.read(at)
                    got += numbers(page)
        for start, got in readers:
            more, at = frames.read(got[-1] if got else start)
            while more:
                got += numbers(more)
                more, at = frames.read(at)
            assert got == list(range(start + 1, sum(counts) + 1))


@pytest.mark.parametrize(("after", "most"), [(0, 0), (3, 0), (0, 5), (40, 7), (59, 0), (60, 0), (99, 3)])
async def test_a_page_of_json_has_the_events_that_were_asked_for(
    monkeypatch: pytest.MonkeyPatch, after: int, most: int
) -> None:
    monkeypatch.setattr(module, "FRAME_BYTES", 300)
    told = log([1, 2] * 20)
    told.last_pos = 40
    pieces = [piece async for piece in frames_of(told).pieces(after, most)]
    expected = list(range(after + 1, min(60, after + most if most else 60) + 1))
    assert [int(event["message"]) for event in cast("list[Any]", json.loads(b"".join(pieces)))] == expected


async def test_a_stream_ends_when_events_were_taken_back() -> None:
    told = log([1, 1])
    told.last_pos = 2
    frames = frames_of(told)
    assert numbers(frames.read(0)[0]) == [1, 2]
    told.cuts += 1
    assert frames.ended(2)
    assert frames.read(0) == (b"", 0)
