"""Every fault of MCP servers, over each transport and in both eras of the protocol, through whole jobs: the model is
told of it, the job goes on with its other servers and completes, and nothing of a server is left.

AGENTD_FAULTS is how often each is met over each transport, at random moments, at most 20 times; where it is not set,
once over one of them.
`python -m tests.faults.test_mcp_servers` runs them all and prints what becomes of each.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import JobState, McpServer, Mode, Record
from agentd.providers.scripted import ScriptedProvider, call, reply
from agentd.store.home import make_home
from tests.faults.mcpfaults import WEB, Fault, answer, faults, on
from tests.faults.mcpweb import web_server
from tests.workshop import Workshop, only, spec, until

TIMES = min(int(os.environ.get("AGENTD_FAULTS", "1")), 20)
EVERY_WAY = "AGENTD_FAULTS" in os.environ
AT_ONCE = 8  # jobs
LONGEST = 60.0  # seconds: of a job that would otherwise hang
SOURCE = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from tests.faults.mcpserver import main; main()"
MARK = "AGENTD_TEST_MARK"
CLASSES = tuple(faults(random.Random(0)))
BAD, GOOD = "mcp__bad__use", "mcp__good__use"


@attrs.frozen
class Outcome:
    """*ends*: as Fault has it."""

    ends: str
    told: str
    seconds: float


async def meet(directory: Path, fault: Fault, way: str, mark: str = "none") -> Outcome:
    """Have a job meet a fault. Raises AssertionError for what must not be, whichever fault it is."""
    began = time.monotonic()
    with trio.fail_after(LONGEST):
        async with servers(fault, way, mark) as both:
            job, records = await do(directory, both)
    assert job.state is JobState.COMPLETED, (job.state, job.finished)
    [started] = only(records, "job.started")
    status = {each["name"]: each for each in started["mcp_servers"]}
    bad, good = (each["content"][0]["text"] for each in only(records, "tool.finished"))
    assert status["good"]["status"] == "connected", status
    assert good == '{"a": 1}'
    ok = only(records, "tool.finished")[0]["ok"]
    if status["bad"]["status"] == "failed":
        assert not ok
        assert status["bad"]["tool_count"] == 0
        return Outcome("failed", status["bad"]["error"], time.monotonic() - began)
    return Outcome("ok" if ok else "error", bad, time.monotonic() - began)


async def do(directory: Path, both: dict[str, McpServer]) -> tuple[Any, list[Record]]:
    (directory / "workspace").mkdir(parents=True)
    model = ScriptedProvider([reply(call(BAD)), reply(call(GOOD, a=1)), "Done."])
    shop = Workshop(make_home(directory / "home"), directory / "workspace", model)
    async with shop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.QUERY, servers=both))
        await until(accepted.session, lambda: accepted.job.state.terminal, LONGEST)
        return accepted.job, list(accepted.session.view.records())


@asynccontextmanager
async def servers(fault: Fault, way: str, mark: str) -> AsyncIterator[dict[str, McpServer]]:
    """The one with the fault, and one that is well."""
    transport, _, era = way.partition(" ")
    script = {"era": era or "legacy", **fault.script}
    times: dict[str, Any] = {"connect_seconds": fault.connect, "call_seconds": fault.call}
    async with web_server("http", {}) as well:
        good = McpServer("http", url=f"http://127.0.0.1:{well.port}/mcp", connect_seconds=30.0)
        if transport == "stdio":
            argv = fault.command or (sys.executable, "-S", "-c", START, json.dumps(script))
            bad = McpServer(command=argv[0], args=argv[1:], env={MARK: mark}, **times)
            yield {"bad": bad, "good": good}
            return
        async with web_server(transport, script) as web:
            url = fault.url or f"http://127.0.0.1:{web.port}/mcp"
            yield {"bad": McpServer(transport, url=url, **times), "good": good}  # type: ignore[arg-type]
            await web.left_alone()


async def meet_all(directory: Path, table: Mapping[str, Fault], *, every_way: bool) -> dict[tuple[str, str], Any]:
    """All faults of a table, some at a time, each over every way or over one: their outcomes, or what went wrong, by
    name and way."""
    found: dict[tuple[str, str], Any] = {}
    mark, limit = uuid.uuid4().hex, trio.CapacityLimiter(AT_ONCE)

    async def one(number: int, name: str, way: str) -> None:
        try:
            async with limit:
                found[name, way] = await meet(directory / str(number), table[name], way, mark)
        except Exception:
            found[name, way] = traceback.format_exc()

    async with trio.open_nursery() as nursery:
        cells = [(name, way) for name, fault in table.items() for way in fault.ways]
        if not every_way:
            cells = [(name, fault.ways[turn % len(fault.ways)]) for turn, (name, fault) in enumerate(table.items())]
        for number, (name, way) in enumerate(cells):
            nursery.start_soon(one, number, name, way)
    assert left(mark) == []
    return found


def left(mark: str) -> list[str]:
    """Processes that have it in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append(f"{process.name} {(process / 'cmdline').read_bytes()!r}")
        except OSError:
            continue
    return found


def misfits(found: dict[tuple[str, str], Any], table: Mapping[str, Fault]) -> dict[tuple[str, str], Any]:
    return {
        cell: outcome
        for cell, outcome in found.items()
        if not isinstance(outcome, Outcome) or table[cell[0]].expected(cell[1]) not in ("any", outcome.ends)
    }


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize("time_no", range(TIMES))
async def test_a_fault_harms_the_calls_of_its_server_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, time_no: int
) -> None:
    monkeypatch.setattr("agentd.tools.mcp.server.BACKOFF_SECONDS", 0.01)
    table = faults(random.Random(f"{kind} {time_no}"))[kind]
    assert misfits(await meet_all(tmp_path, table, every_way=EVERY_WAY), table) == {}


async def test_an_answer_may_be_reset_at_any_byte(tmp_path: Path) -> None:
    """A few of them where not all faults are met."""
    whole = answer(200, "{}", kind="application/json")
    places = range(len(whole)) if EVERY_WAY else random.Random(0).sample(range(len(whole)), 6)
    table = {f"{n}": Fault("error", on({"http": whole[:n], "then": "reset"}), WEB, call=1.5) for n in places}
    assert misfits(await meet_all(tmp_path, table, every_way=EVERY_WAY), table) == {}


async def test_a_modern_server_that_dies_at_first_is_begun_anew_once(tmp_path: Path) -> None:
    """It could be a legacy one that died of the first message."""
    dies = on({"die": 1}, message="tools/list", start=[{"note": str(tmp_path / "starts")}])
    outcome = await meet(tmp_path / "job", Fault("failed", dies), "stdio modern")
    assert (outcome.ends, outcome.told) == ("failed", "it exited with code 1")
    assert (tmp_path / "starts").read_text() == "xx"


# --- The table ----------------------------------------------------------------------------------------------------


def table(kinds: Sequence[str]) -> Iterator[str]:
    yield "| fault | way | ends | told | seconds |\n| --- | --- | --- | --- | --- |"
    for kind in kinds or CLASSES:
        met = faults(random.Random(0))[kind]
        with tempfile.TemporaryDirectory() as directory:
            found = trio.run(partial(meet_all, every_way=True), Path(directory), met)
        bad = misfits(found, met)
        for (name, way), each in found.items():
            wrong = "**" if (name, way) in bad else ""
            if isinstance(each, Outcome):
                told = re.sub(r"\s+", " ", each.told)[:150]
                yield f"| {kind}: {name} | {way} | {wrong}{each.ends}{wrong} | {told} | {each.seconds:.2f} |"
            else:
                yield f"| {kind}: {name} | {way} | **{each!r}** | | |"


if __name__ == "__main__":
    for line in table(sys.argv[1:]):
        print(line, flush=True)  # noqa: T201
