"""Where a replay parts from its recording, and what is no recording at all."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from agentd.domain import JobSpec, Mode, PermissionMode, RunSpec, ToolPolicy
from agentd.engine import modes, permissions
from agentd.engine import replay as replaying
from agentd.engine.replaydiff import Report
from agentd.engine.replayzip import find_job
from agentd.errors import InvalidRequest, JobNotFound
from agentd.providers.scripted import call, reply
from agentd.tools.registry import built_in
from tests.recordings import ASKING, EDIT, TALK, at_work, below, played, recorded
from tests.workshop import Workshop, spec
from tests.zips import make_zip


@pytest.fixture
def bench(workshop: Workshop) -> Workshop:
    return at_work(workshop)


def prompt_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(modes, "COMMON", "You are somebody else.")


def tool_described_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    from agentd.tools.read import Read

    monkeypatch.setattr(Read, "description", "Reads.")


def tool_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "built_in", lambda: [tool for tool in built_in() if tool.name != "Read"])


def permissions_lifted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(permissions._BY_MODE, PermissionMode.DEFAULT, permissions._BY_MODE[PermissionMode.BYPASS])


CHANGES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str, str]] = {
    "the system prompt": (prompt_changed, "request", "request 1: the system prompt"),
    "a tool's description": (tool_described_otherwise, "request", "request 1: the tool Read"),
    "a tool that is gone": (tool_gone, "request", "request 1: the tool Read"),
    "permissions": (permissions_lifted, "decision", "Write (scripted_2)"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_replay_says_where_it_parts(
    change: str, bench: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = await recorded(bench, spec(tools=ASKING), TALK[0], EDIT, "Done.", decisions=("allow",))
    alter, kind, where = CHANGES[change]
    alter(monkeypatch)
    first = (await played(path, tmp_path)).differences[0]
    assert (first.kind, first.where) == (kind, where)


def kinds(report: Report) -> list[str]:
    return [each.kind for each in report.differences]


def edited(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> Path:
    """The same zip, where *change* was made to its records."""
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    records = [json.loads(line) for line in files["records.ndjson"].splitlines()]
    change(records)
    files["records.ndjson"] = b"".join(json.dumps(record).encode() + b"\n" for record in records)
    path.write_bytes(make_zip(files.items()))
    return path


def of_type(records: list[dict[str, Any]], kind: str) -> list[Any]:
    return [record["data"] for record in records if record["type"] == kind]


async def test_a_call_that_is_not_made_is_told(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(mode=Mode.ASK), *TALK)

    def change(records: list[dict[str, Any]]) -> None:
        said = next(data for data in of_type(records, "message") if data["role"] == "assistant")
        del said["content"][1]  # then the first answer is the last

    report = await played(edited(path, change), tmp_path)
    assert "call" in kinds(report)
    assert [each.where for each in report.differences if each.kind == "ending"] == ["the job's result"]


async def test_a_request_that_the_recording_does_not_have_is_told(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(mode=Mode.ASK), *TALK)

    def change(records: list[dict[str, Any]]) -> None:
        last = [number for number, record in enumerate(records) if record["type"] in ("message", "usage")][-2:]
        for number in reversed(last):
            del records[number]

    assert (await played(edited(path, change), tmp_path)).differences[-1].replayed == "another request to the model"


async def test_what_an_older_agentd_recorded_is_played_without_its_requests(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(mode=Mode.ASK), *TALK)

    def change(records: list[dict[str, Any]]) -> None:
        for data in of_type(records, "usage"):
            del data["sent"], data["stop"]

    report = await played(edited(path, change), tmp_path)
    assert (report.same, len(report.not_compared)) == (True, 1)


# --- What is no recording -----------------------------------------------------------------------------------------

HOSTILE: dict[str, Callable[[list[dict[str, Any]]], None]] = {
    "a position twice": lambda records: records[1].update(pos=1),
    "no session": lambda records: records.__delitem__(0),
    "no job": lambda records: records.__delitem__(slice(1, None)),
    "a type that is none": lambda records: records[0].update(type="job.finished"),
    "a mode that is none": lambda records: records[1]["data"]["spec"].update(mode="no"),
    "a spec that is none": lambda records: records[1]["data"].update(spec=[]),
    "data of another shape": lambda records: records[2].update(data={}),
    "blocks that are none": lambda records: of_type(records, "message")[0].update(content=[{"type": "x"}]),
    "content that is none": lambda records: of_type(records, "message")[1].update(content=5),
    "an end without a reason": lambda records: of_type(records, "job.finished")[0].pop("stop_reason"),
    "usage of texts": lambda records: of_type(records, "usage")[0].update(input_tokens="x"),
    "a digest that is none": lambda records: of_type(records, "usage")[0].update(sent=[1]),
    "a place that is none": lambda records: of_type(records, "job.started")[0].update(cwd=["a\0"]),
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_records_are_refused(name: str, bench: Workshop, tmp_path: Path) -> None:
    path = edited(await recorded(bench, spec(mode=Mode.ASK), *TALK), HOSTILE[name])
    with pytest.raises(InvalidRequest):
        await played(path, tmp_path)


JUNK: tuple[Any, ...] = (None, -1, 10**30, 1.5, "", "x", "\0", "../x", "a" * 300, [], {}, [1], {"a": 1}, True)


def scrambled(records: list[dict[str, Any]], random: Random) -> None:
    """One record is gone, there twice, or says something else."""
    at = random.randrange(len(records))
    match random.randrange(8):
        case 0:
            del records[at]
        case 1:
            records.insert(at, json.loads(json.dumps(records[random.randrange(len(records))])))
        case _:
            place = records[at]["data"]
            while isinstance(inner := place[key := random.choice(_keys(place))], dict | list) and inner:
                if random.random() < 0.3:
                    break
                place = inner
            place[key] = random.choice(JUNK)
    for pos, record in enumerate(records, 1):
        record["pos"] = pos


def _keys(place: Any) -> list[Any]:
    return list(place) if isinstance(place, dict) else list(range(len(place)))


@pytest.mark.parametrize("kind", ["run", "question"])
async def test_whatever_the_records_say_there_is_a_report_or_a_refusal(
    kind: str, bench: Workshop, tmp_path: Path
) -> None:
    steps = json.dumps({"steps": [{"id": "s", "type": "command", "command": "true", "needs_approval": True}]})
    run = RunSpec(str(bench.workspace), "x.md")
    if kind == "run":
        given = JobSpec(Mode.SPEC_RUN, "Carry out", run=run, tools=ToolPolicy(ask_seconds=None))
        path = await recorded(bench, given, steps, decisions=("allow",))
    else:
        question = reply(call("AskUserQuestion", question="Tea?"))
        query = spec(mode=Mode.QUERY, tools=ASKING)
        path = await recorded(bench, query, question, EDIT, "Done.", decisions=("x", "allow"))
    whole = path.read_bytes()
    for seed in range(40):
        path.write_bytes(whole)
        with suppress(InvalidRequest), trio.fail_after(20):
            await played(edited(path, partial(scrambled, random=Random(seed))), tmp_path)


@pytest.mark.parametrize("entry", ["../evil", "/etc/evil", "blobs/../../evil", f"blobs/{'0' * 64}", "manifest.json"])
async def test_hostile_entries_are_refused(entry: str, bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(mode=Mode.ASK), *TALK)
    with zipfile.ZipFile(path) as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    path.write_bytes(make_zip([(name, data) for name, data in files if name != entry] + [(entry, b"evil")]))
    with pytest.raises(InvalidRequest):
        await played(path, tmp_path)
    assert "evil" not in [found.name for found in below(tmp_path)]


def test_what_is_no_job_is_not_found(bench: Workshop) -> None:
    for name in ("", "nothing", "0" * 8, "run_20260102t081717z_aaaaaaaaaaaaaaaa"):
        with pytest.raises(JobNotFound):
            find_job(bench.home, name)
