"""Faults of MCP servers, one of each class, through real executors behind the agent API: each is told, none takes more
memory than it may, and nothing of a server outlives a run that is interrupted or an executor that is killed with -9.

AGENTD_FAULTS is how often a run is interrupted, and an executor killed, at random moments; at most 20 times, once where
it is not set.
"""

from __future__ import annotations

import json
import os
import random
import signal
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio

from agentd.daemon.executors import Seat
from agentd.domain import McpServer, Site
from tests.agentapi import Told
from tests.agentprocesses import Api, serving
from tests.agentserver import first
from tests.faults.agents import call
from tests.faults.mcpfaults import FLOOD, LEGACY, faults
from tests.faults.test_mcp_servers import left, servers
from tests.witness import until

TIMES = min(int(os.environ.get("AGENTD_FAULTS", "1")), 20)
GONE_SECONDS = 2.0
GROWTH = 64 << 20  # bytes
FLIGHT_SECONDS = 2.0  # within which runs are struck that take longer
LONGEST = 60.0
EVERYONE, WELL = "everyone", "well"  # models
CHOSEN = {  # of each class, and two more
    "crash": ("crash", "between progress and answer", "stdio"),
    "hang": ("hang", "within the answer", "stdio modern"),
    "garbage": ("garbage", "no JSON for an answer", "sse"),
    "much": ("too much", "a line without end", "stdio"),
    "slow": ("slow", "drips an answer", "http"),
    "lists": ("lists", "a tool that has gone", "stdio modern"),
    "session": ("session", "forgotten for ever", "http"),
    "http": ("http", "a hang within the head for a call", "http modern"),
    "stdio": ("stdio", "ignores SIGTERM and reads nothing", "stdio"),
    "stray": ("stdio", "a grandchild holds the pipes at a call", "stdio modern"),
    "beginning": ("hang", "tools/list 2", "sse"),
}
FLOODS = [f"{FLOOD} {name}" for name in ("logs", "pings", "lines that are no JSON", "list changes")]
Chosen = dict[str, tuple[str, str, str]]


def shuffled(dice: random.Random) -> Chosen:
    """Those of CHOSEN whose calls go out, in any order: which one a strike meets is chance."""
    names = [name for name in CHOSEN if name != "beginning"]
    return {name: CHOSEN[name] for name in dice.sample(names, len(names))}


@asynccontextmanager
async def api(root: Path, names: Chosen, mark: str, dice: random.Random | None = None) -> AsyncIterator[Api]:
    """Its jobs have the servers with these faults, and one that is well. The model EVERYONE calls all of them, one
    after the other, and then the one that is well, as the model WELL does."""
    table = faults(dice or random.Random(0))
    async with AsyncExitStack() as stack:
        there: dict[str, McpServer] = {}
        for name, (kind, title, way) in names.items():
            both = await stack.enter_async_context(servers(table[kind][title], way, mark))
            there |= {name: both["bad"], "good": both["good"]}
        good = {"parts": [call("mcp__good__use", a=1)]}
        everyone = {"parts": [call(f"mcp__{name}__use") for name in there if name != "good"]}
        models: dict[str, str] = {}
        for model, replies in {EVERYONE: [everyone, good, "Done."], WELL: [good, "Done."]}.items():
            (root / f"{model}.json").write_text(json.dumps({"replies": replies}))
            models[model] = f"scripted:{root / model}.json"
        yield await stack.enter_async_context(serving(root, Site(there, connect_seconds=5.0), models))


def results(events: Sequence[Told]) -> list[tuple[bool, str]]:
    """Whether each call of a run failed, and what the model was told, in order."""
    blocks = [block for name, data in events if name == "message" for block in data["content"]]
    return [(block["is_error"], json.dumps(block["content"])) for block in blocks if block["type"] == "tool_result"]


async def test_a_model_is_told_of_a_fault_of_each_class(tmp_path: Path) -> None:
    mark = uuid.uuid4().hex
    async with api(tmp_path, CHOSEN, mark) as there:
        events = await there.run(model=EVERYONE, prompt="go", permission_mode="bypassPermissions")
        assert left(mark) == []
    *bad, good = results(events)
    assert (len(bad), good[0], first(events, "done")) == (len(CHOSEN), False, {"reason": "completed"})
    told = {name: is_error for name, (is_error, _) in zip(CHOSEN, bad, strict=True)}
    assert set(told.values()) == {True}, dict(zip(CHOSEN, bad, strict=True))
    states = {each["name"]: each["status"] for each in first(events, "init")["mcp_servers"]}
    assert states == {**dict.fromkeys(CHOSEN, "connected"), "good": "connected", "beginning": "failed"}


async def test_floods_take_little_memory(tmp_path: Path) -> None:
    """Over each transport, in one job."""
    names = (*FLOODS, "a line without end")
    many: Chosen = {f"{way}{n}": ("too much", name, way) for way in LEGACY for n, name in enumerate(names)}
    async with api(tmp_path, many, "none") as there:
        peaks = []
        for model in (WELL, EVERYONE):
            events = await there.run(model=model, prompt="go", permission_mode="bypassPermissions")
            assert first(events, "done") == {"reason": "completed"}
            seat = seat_of(there, events)
            assert seat.launched is not None
            peaks.append(peak_of(seat.launched.ready.pid))
        assert [is_error for is_error, _ in results(events)] == [True] * len(many) + [False]
    assert peaks[1] - peaks[0] <= GROWTH, [peak >> 20 for peak in peaks]


@pytest.mark.parametrize("time_no", range(TIMES))
async def test_nothing_is_left_of_servers_when_a_run_is_interrupted(tmp_path: Path, time_no: int) -> None:
    mark, dice = uuid.uuid4().hex, random.Random(f"interrupt {time_no}")
    async with (
        api(tmp_path, shuffled(dice), mark, dice) as there,
        at_work(there, dice) as (seat, run),
    ):
        assert left(mark)
        status, told = await there.ask("POST", f"/api/v1/sessions/{seat.session.id}/interrupt")
        assert status == 200, told
        await run.over.wait()
        assert left(mark) == []
    assert first(run.events, "done") == {"reason": "interrupted"}


@pytest.mark.parametrize("time_no", range(TIMES))
async def test_nothing_is_left_of_servers_when_an_executor_is_killed(
    tmp_path: Path, require: Callable[[str], str], time_no: int
) -> None:
    require("bwrap")  # without it, what a killed executor leaves behind is swept at the next start at the earliest
    mark, dice = uuid.uuid4().hex, random.Random(f"kill {time_no}")
    async with (
        api(tmp_path, shuffled(dice), mark, dice) as there,
        at_work(there, dice) as (seat, run),
    ):
        assert left(mark)
        assert seat.launched is not None
        os.kill(seat.launched.ready.pid, signal.SIGKILL)
        assert await trio.to_thread.run_sync(until, lambda: not left(mark), GONE_SECONDS), left(mark)
        await run.over.wait()
        assert first(run.events, "error")["details"] == {"cause": "EXECUTOR_DIED"}
        again = await there.run(f"/api/v1/sessions/{seat.session.id}/resume", model=WELL, prompt="go on")
        assert first(again, "done") == {"reason": "completed"}
        assert left(mark) == []


class Run:
    def __init__(self) -> None:
        self.events: list[Told] = []
        self.over = trio.Event()

    async def follow(self, there: Api) -> None:
        self.events += await there.run(model=EVERYONE, prompt="go", permission_mode="bypassPermissions")
        self.over.set()


@asynccontextmanager
async def at_work(there: Api, dice: random.Random) -> AsyncIterator[tuple[Seat, Run]]:
    """A run whose calls are in flight, at a random moment."""
    run = Run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.follow, there)
        with trio.fail_after(LONGEST):
            seat = await there.busy()
        await trio.sleep(dice.uniform(0, FLIGHT_SECONDS))
        yield seat, run


def seat_of(there: Api, events: Sequence[Told]) -> Seat:
    return next(seat for seat in there.seats if seat.session.id == first(list(events), "init")["session_id"])


def peak_of(pid: int) -> int:
    """Bytes of memory that a process has had at most."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) << 10
