"""Jobs that are recorded and played again: the same where nothing changed, and told where something did."""

from __future__ import annotations

import json
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.domain import (
    ChatMessage,
    ChatPart,
    ChatSpec,
    JobSpec,
    JobState,
    Mode,
    Models,
    OutputFormat,
    PermissionMode,
    Rules,
    RunSpec,
    SpecDraft,
    SystemPrompt,
    ToolPolicy,
    Usage,
)
from agentd.engine import modes, permissions
from agentd.engine import replay as replaying
from agentd.engine.asks import Settlement
from agentd.engine.replay import replay
from agentd.engine.replaydiff import Report
from agentd.engine.replayzip import find_job, write_recording
from agentd.errors import InvalidRequest, JobNotFound
from agentd.providers.protocol import ModelInfo
from agentd.providers.scripted import Fail, Reply, ScriptedProvider, call, reply
from agentd.tools.registry import built_in
from tests.workshop import Workshop, ended, spec, until
from tests.zips import make_zip

ASKING = ToolPolicy(permission_mode=PermissionMode.DEFAULT)
TALK = (reply("Let me look.", call("Read", file_path="a.py")), reply("It is fine."))


@pytest.fixture
def bench(workshop: Workshop) -> Workshop:
    """With the real tools, at work in a repository of one file."""
    (workshop.workspace / "a.py").write_text("print('hello')\n")
    subprocess.run(["git", "init", "-q", str(workshop.workspace)], check=True)
    return attrs.evolve(workshop, tools=built_in(), git=True)


async def recorded(bench: Workshop, given: JobSpec, *replies: Reply | str, decisions: Sequence[str] = ()) -> Path:
    """The zip of a job that a scripted model did."""
    if replies:
        bench.says(*replies)
    async with bench.open() as engine:
        accepted = await engine.accept(given)
        session = accepted.session
        for decision in decisions:
            await until(session, lambda: bool(session.state.open_asks()))
            (ask,) = session.state.open_asks()
            answer = decision if ask.data["kind"] == "question" else None
            await engine.settle(ask.id, Settlement("answer" if answer else decision, "", "client", answer))  # type: ignore[arg-type]
        await ended(session, accepted.job)
    return zipped(bench, accepted.job.id)


def zipped(bench: Workshop, name: str) -> Path:
    directory, job = find_job(bench.home, name)
    path = bench.home.root / f"{job}.zip"
    with path.open("wb") as file:
        write_recording(directory, job, file)
    return path


async def played(path: Path, tmp_path: Path) -> Report:
    return await replay(path, Path(tempfile.mkdtemp(dir=tmp_path)))


def below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def kinds(report: Report) -> list[str]:
    return [each.kind for each in report.differences]


# --- The same -----------------------------------------------------------------------------------------------------

EDIT = reply(call("Write", file_path="b.py", content="1\n"))
JOBS: dict[str, tuple[JobSpec, tuple[Reply | str, ...], tuple[str, ...]]] = {
    "ask": (spec(mode=Mode.ASK), TALK, ()),
    "a scan first": (spec(mode=Mode.ASK, pre_scan=True), ("a.py:1", *TALK), ()),
    "search": (spec(mode=Mode.SEARCH), TALK, ()),
    "code": (spec(auto_commit=True), (EDIT, reply(call("Bash", command="cat b.py")), "Done."), ()),
    "a failing tool": (spec(), (reply(call("Read", file_path="none")), "Not there."), ()),
    "an unknown tool": (spec(), (reply(call("Nonsense", a=1)), "Well."), ()),
    "no words": (spec(), (reply(),), ()),
    "architect": (
        spec(mode=Mode.ARCHITECT),
        (reply(call("Code", instructions="write b.py")), EDIT, "Written.", "All done."),
        (),
    ),
    "lutz": (
        spec(mode=Mode.LUTZ),
        (
            reply(call("TaskList", tasks=[{"title": "one"}, {"title": "two"}])),
            *("Two tasks.", reply(call("Code", instructions="write b.py")), EDIT, "Written.", "One.", "Two."),
        ),
        (),
    ),
    "asked": (spec(tools=ASKING), (EDIT, reply(call("Bash", command="ls")), "Done."), ("allow", "deny")),
    "allowed for good": (spec(tools=ASKING), (EDIT, EDIT, "Done."), ("always",)),
    "a rule that denies": (
        spec(tools=ToolPolicy(permission_mode=PermissionMode.BYPASS, rules=Rules(deny=("Write",)))),
        (EDIT, "Refused."),
        (),
    ),
    "query": (
        spec(mode=Mode.QUERY, tools=ASKING),
        (reply(call("AskUserQuestion", question="Tea?", options=["yes", "no"])), EDIT, "Done."),
        ("yes", "allow"),
    ),
    "a plan": (
        spec(mode=Mode.QUERY, tools=ToolPolicy(permission_mode=PermissionMode.PLAN)),
        (EDIT, reply(call("ExitPlanMode", plan="write b.py")), EDIT, "Done."),
        ("allow", "allow"),
    ),
    "structured": (
        spec(mode=Mode.QUERY, output=OutputFormat(schema={"type": "object", "required": ["a"]})),
        ("{}", '{"a": 1}'),
        (),
    ),
    "todos": (
        spec(),
        (reply(call("TodoWrite", todos=[{"content": "x", "status": "pending", "activeForm": "x"}])), "Ok."),
        (),
    ),
    "notes on what it costs": (spec(), (reply("Hm.", usage=Usage(1000, 10)),), ()),
}


@pytest.mark.parametrize("name", JOBS)
async def test_a_job_that_is_played_again_is_the_same(name: str, bench: Workshop, tmp_path: Path) -> None:
    given, replies, decisions = JOBS[name]
    report = await played(await recorded(bench, given, *replies, decisions=decisions), tmp_path)
    assert (report.differences, report.not_compared) == ([], [])
    assert report.requests >= 1


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.SEARCH, Mode.CODE, Mode.ARCHITECT, Mode.LUTZ, Mode.QUERY])
async def test_a_job_of_the_built_in_model_is_the_same(mode: Mode, bench: Workshop, tmp_path: Path) -> None:
    prompt = "Where is hello? Then create the file c.py with the content `1`."
    given = spec(prompt, mode=mode, models=Models(*["builtin"] * 3))
    report = await played(await recorded(bench, given), tmp_path)
    assert (report.differences, report.not_compared) == ([], [])


def chat(text: str = "do it", **more: Any) -> JobSpec:
    message = ChatMessage("msg_1", "user", (ChatPart("text", text),))
    return JobSpec(Mode.CHAT, text, chat=ChatSpec("turn_1", (message,), **more), tools=ToolPolicy(ask_seconds=None))


PATCH = "--- a/a.py\n+++ b/a.py\n@@ -1 +1 @@\n-print('hello')\n+print('bye')\n"


async def test_a_turn_of_a_chat_is_the_same_but_for_what_the_workspace_said(bench: Workshop, tmp_path: Path) -> None:
    (bench.workspace / "AGENTS.md").write_text("Be brief.")
    long = reply(call("shell", cmd="seq 20000"))
    replies = (reply(call("apply_patch", diff=PATCH)), long, "Done.", "Mended.")
    path = await recorded(bench, chat(verify=("false",)), *replies, decisions=("allow", "allow", "allow", "deny"))
    report = await played(path, tmp_path)
    assert report.differences == []
    assert [why.split(":")[0] for why in report.not_compared] == ["the system prompt"]


async def test_a_chat_that_writes_a_spec_is_the_same(bench: Workshop, tmp_path: Path) -> None:
    given = chat(spec=str(bench.workspace / "specs/x/spec.md"))
    path = await recorded(bench, given, reply(call("write_spec", content="# Goal\n\nTea.\n")), "Written.")
    assert (await played(path, tmp_path)).differences == []


def steps(*given: dict[str, Any]) -> str:
    return json.dumps({"steps": given})


def run_of(bench: Workshop, *verify: str) -> JobSpec:
    run = RunSpec(str(bench.workspace), "specs/x/spec.md", verify)
    return JobSpec(Mode.SPEC_RUN, "Carry out", run=run, tools=ToolPolicy(ask_seconds=None))


RUNS: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "commands": (steps({"id": "a", "type": "command", "command": "echo 1"}), (), ()),
    "a failing one without an id": (steps({"type": "note"}, {"type": "command", "command": "exit 3"}), (), ()),
    "a gate": (steps({"type": "command", "command": "echo", "needs_approval": True}), (), ("allow",)),
    "a closed gate": (steps({"type": "command", "command": "echo", "needs_approval": True}), (), ("deny",)),
    "a patch that is verified": (steps({"id": "p", "type": "patch", "patch": PATCH}), ("cat a.py",), ()),
    "the default plan": ("I have no plan.", (), ()),
}


@pytest.mark.parametrize("name", RUNS)
async def test_a_run_of_a_spec_is_the_same(name: str, bench: Workshop, tmp_path: Path) -> None:
    plan, verify, decisions = RUNS[name]
    report = await played(await recorded(bench, run_of(bench, *verify), plan, decisions=decisions), tmp_path)
    assert report.differences == []


async def test_a_run_verified_by_its_makefile_is_the_same(bench: Workshop, tmp_path: Path) -> None:
    (bench.workspace / "Makefile").write_text("test:\n\ttrue\n")
    plan = steps({"id": "p", "type": "patch", "patch": PATCH})
    report = await played(await recorded(bench, run_of(bench), plan), tmp_path)
    assert report.differences == []


@pytest.mark.parametrize("overwrite", [True, False])
async def test_the_draft_of_a_spec_is_the_same(overwrite: bool, bench: Workshop, tmp_path: Path) -> None:
    (bench.workspace / "specs/tea").mkdir(parents=True)
    (bench.workspace / "specs/tea/spec.md").touch()
    given = JobSpec(Mode.SPEC_DRAFT, "Make tea", draft=SpecDraft("tea", overwrite), tools=ToolPolicy())
    report = await played(await recorded(bench, given, "# Goal\n\nTea.\n"), tmp_path)
    assert report.differences == []


async def test_what_was_said_before_is_played_as_well(bench: Workshop, tmp_path: Path) -> None:
    await recorded(bench, spec(mode=Mode.ASK), *TALK)
    path = await recorded(bench, spec("And b?", mode=Mode.ASK), "There is none.")
    with zipfile.ZipFile(path) as archive:
        assert archive.read("records.ndjson").count(b"It is fine.") == 2  # said, and the result
    report = await played(path, tmp_path)
    assert (report.differences, report.requests) == ([], 1)


async def test_what_clients_put_into_the_context_need_not_be_there(bench: Workshop, tmp_path: Path) -> None:
    given = spec(mode=Mode.ASK, context_texts=("the secret of tea",))
    path = await recorded(bench, given, *TALK)
    with zipfile.ZipFile(path) as archive:
        assert not any(b"secret of tea" in archive.read(name) for name in archive.namelist())
    assert (await played(path, tmp_path)).differences == []


@pytest.mark.parametrize("tokens", [3000, 4500])
async def test_a_conversation_that_is_summed_up_is_the_same(tokens: int, bench: Workshop, tmp_path: Path) -> None:
    (bench.workspace / "long.txt").write_text("line of text\n" * 400)
    read = reply(call("Read", file_path="long.txt"), usage=Usage(2000, 10))
    model = Small([read, "a summary", read, "another summary", "Done."], tokens)
    path = await recorded(attrs.evolve(bench, model=model), spec(mode=Mode.ASK, system=SystemPrompt(replace="Hi.")))
    with zipfile.ZipFile(path) as archive:
        assert b"history.compacted" in archive.read("records.ndjson")
    assert (await played(path, tmp_path)).differences == []


class Small(ScriptedProvider):
    """A model that takes *tokens*."""

    def __init__(self, replies: Sequence[Reply | str], tokens: int) -> None:
        super().__init__(replies)
        self.tokens = tokens

    def describe(self, model: str) -> ModelInfo:
        return attrs.evolve(super().describe(model), context_tokens=self.tokens)


@pytest.mark.parametrize("replies", [(Fail("no such model"),), ("I begin ", Fail("and break off"))])
async def test_a_job_that_its_model_failed_fails_again(
    replies: tuple[str | Fail, ...], bench: Workshop, tmp_path: Path
) -> None:
    path = await recorded(bench, spec(), reply(call("LS")), reply(*replies))
    assert (await played(path, tmp_path)).differences == []


async def test_a_job_whose_model_was_not_there_fails_again(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(models=Models(code="gpt-none")))
    report = await played(path, tmp_path)
    assert (report.differences, report.requests) == ([], 0)


async def test_a_job_that_is_still_at_work_is_played_as_far_as_it_is_written(bench: Workshop, tmp_path: Path) -> None:
    bench.says(reply(call("Read", file_path="a.py")), EDIT, "Done.")
    async with bench.open() as engine:
        accepted = await engine.accept(spec(tools=ASKING))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        path = zipped(bench, accepted.session.id)
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)
    assert ((await played(path, tmp_path)).differences, accepted.job.state) == ([], JobState.CANCELLED)
    assert (await played(zipped(bench, accepted.job.id), tmp_path)).differences == []


async def test_no_command_is_run_and_nothing_is_written_into_the_workspace(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, spec(), EDIT, reply(call("Bash", command="touch touched")), "Done.")
    for name in ("b.py", "touched"):
        (bench.workspace / name).unlink()
    before = below(bench.workspace)
    assert (await played(path, tmp_path)).same
    assert below(bench.workspace) == before


async def test_the_repository_need_not_be_there(bench: Workshop, tmp_path: Path) -> None:
    path = await recorded(bench, *JOBS["architect"][:1], *JOBS["architect"][1])
    bench.workspace.rename(tmp_path / "moved")
    assert (await played(path, tmp_path)).same
    assert not bench.workspace.exists()


# --- Not the same -------------------------------------------------------------------------------------------------


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
