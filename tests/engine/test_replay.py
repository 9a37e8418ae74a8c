"""Jobs that are recorded and played again: the same where nothing changed."""

from __future__ import annotations

import base64
import json
import zipfile
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import (
    Agent,
    ChatMessage,
    ChatPart,
    ChatSpec,
    Hook,
    ImagePart,
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
    Text,
    ToolClass,
    ToolPolicy,
    Usage,
)
from agentd.engine.hooks import Decision, HookFailed, Hooks
from agentd.providers.protocol import ModelInfo, ModelRequest, StreamEvent
from agentd.providers.scripted import Fail, Reply, ScriptedProvider, call, reply
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.registry import built_in
from tests.recordings import ASKING, EDIT, TALK, at_work, below, played, recorded, zipped
from tests.workshop import Workshop, ended, spec, until


@pytest.fixture
def bench(workshop: Workshop) -> Workshop:
    return at_work(workshop)


# --- The same -----------------------------------------------------------------------------------------------------

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


# --- What a job brings along --------------------------------------------------------------------------------------


async def test_subagents_side_by_side_are_the_same(bench: Workshop, tmp_path: Path) -> None:
    agents = {"scout": Agent("looks", "You look."), "clerk": Agent("writes", "You write.", ("Write",))}
    tasks = [call("Task", description="x", prompt=f"{name}!", subagent_type=name) for name in agents]
    model = Listening({"scout!": reply(call("LS")), "clerk!": EDIT}, [reply(*tasks), "All done."])
    given = spec(mode=Mode.QUERY, tools=ASKING, agents=agents)
    path = await recorded(attrs.evolve(bench, model=model), given, decisions=("allow",))
    report = await played(path, tmp_path)
    assert (report.differences, report.not_compared, report.requests) == ([], [], 6)


class Listening(ScriptedProvider):
    """Replies to subagents by what they were told; these say `Done.` then."""

    def __init__(self, by_prompt: Mapping[str, Reply], replies: Sequence[Reply | str]) -> None:
        super().__init__(replies)
        self.by_prompt = by_prompt

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        told = self.by_prompt.get(request.messages[0].text)
        theirs = [told if len(request.messages) == 1 else reply("Done.")] if told else []
        async with ScriptedProvider(theirs).stream(request) if told else super().stream(request) as events:
            yield events


async def test_hooks_decide_as_they_did(bench: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def deliver(hooks: Hooks, event: str, hook: Hook, fields: Mapping[str, Any]) -> Decision:
        await trio.lowlevel.checkpoint()
        if event == "PreToolUse" and fields["tool_name"] == "Bash":
            raise HookFailed("it is not there")
        changed = {"file_path": "c.py", "content": "2\n"} if fields.get("tool_name") == "Write" else None
        said = {
            "UserPromptSubmit": Decision(modified_input={"prompt": "do that instead"}),
            "PreToolUse": Decision("allow", modified_input=changed),
            "PostToolUse": Decision("deny", "mind the tabs"),
        }
        return said.get(event, Decision())

    with monkeypatch.context() as patch:
        patch.setattr(Hooks, "_deliver", deliver)
        events = ("UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "Notification")
        hooks = {event: Hook(f"http://127.0.0.1:9/{event}?key=hidden", headers={"X": "hidden"}) for event in events}
        bash = reply(call("Bash", command="ls"))
        path = await recorded(bench, spec(mode=Mode.QUERY, tools=ASKING, hooks=hooks), EDIT, bash, "Done.")
    with zipfile.ZipFile(path) as archive:
        assert b"hidden" not in archive.read("records.ndjson")
    assert (await played(path, tmp_path)).differences == []


async def test_what_a_slash_command_stood_for_is_played(bench: Workshop, tmp_path: Path) -> None:
    commands = bench.workspace / ".claude/commands"
    commands.mkdir(parents=True)
    (commands / "tea.md").write_text("Make tea: $ARGUMENTS")
    path = await recorded(bench, spec("/tea green", mode=Mode.QUERY), "Made.")
    (commands / "tea.md").unlink()
    assert (await played(path, tmp_path)).differences == []


async def test_memory_and_rules_out_of_files_are_not_compared(bench: Workshop, tmp_path: Path) -> None:
    (bench.workspace / "CLAUDE.md").write_text("Be brief.")
    (bench.workspace / ".claude").mkdir()
    (bench.workspace / ".claude/settings.json").write_text('{"permissions": {"allow": ["Write"], "deny": ["Bash"]}}')
    given = spec(mode=Mode.QUERY, tools=ASKING, sources=("project",))
    path = await recorded(bench, given, EDIT, reply(call("Bash", command="ls")), "Done.")
    report = await played(path, tmp_path)
    assert report.differences == []
    assert [why.split(":")[0] for why in report.not_compared] == ["the system prompt"]


async def test_a_tool_of_an_mcp_server_is_played_by_its_name(bench: Workshop, tmp_path: Path) -> None:
    class Time:
        name, description, input_schema = "mcp__clock__time", "what time it is", {"type": "object"}
        tool_class = ToolClass.MCP

        def subject(self, call_input: Mapping[str, Any]) -> str:
            return "now"

        async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
            await trio.lowlevel.checkpoint()
            return ToolOutcome((Text("noon"),), "noon")

    with_time = attrs.evolve(bench, tools=(*built_in(), Time()))
    path = await recorded(
        with_time, spec(mode=Mode.QUERY, tools=ASKING), reply(call("mcp__clock__time")), "Noon.", decisions=("allow",)
    )
    report = await played(path, tmp_path)
    assert (report.differences, len(report.not_compared)) == ([], 1)


PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def test_images_go_with_the_recording(bench: Workshop, tmp_path: Path) -> None:
    bench.says("A dot.")
    async with bench.open() as engine:
        session = await engine.create_session("s", "agent")
        part = ImagePart("image/png", session.dir.blobs.put(PNG))
        accepted = await engine.accept(spec(mode=Mode.QUERY, images=(part,)))
        await ended(session, accepted.job)
    path = zipped(bench, accepted.job.id)
    with zipfile.ZipFile(path) as archive:
        assert [archive.read(name) for name in archive.namelist() if name.startswith("blobs/")] == [PNG]
    assert (await played(path, tmp_path)).differences == []


async def test_a_mode_that_a_client_changed_is_changed_there(bench: Workshop, tmp_path: Path) -> None:
    bench.says(EDIT, reply(call("Write", file_path="c.py", content="")), "Done.")
    async with bench.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.QUERY, tools=ASKING))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        await engine.control(permission_mode=PermissionMode.ACCEPT_EDITS, answer=None)
        await ended(accepted.session, accepted.job)
    assert (await played(zipped(bench, accepted.job.id), tmp_path)).differences == []
