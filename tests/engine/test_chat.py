"""Turns of a chat: what goes before the model, what its calls do, and how turns end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import ChatMessage, ChatPart, ChatSpec, JobSpec, JobState, Limits, Mode, Record, ToolPolicy
from agentd.engine.asks import Settlement
from agentd.engine.engine import Engine
from agentd.engine.session import Session
from agentd.providers.scripted import Reply, call, raw_call, reply
from agentd.store.fold import JobView
from tests.workshop import Workshop, ended, notices, only, until

GATES = ToolPolicy(ask_seconds=None)
DIFF = "--- a/hello.txt\n+++ b/hello.txt\n@@ -1 +1 @@\n-hello\n+goodbye\n"


def said(text: str, ident: str = "msg_1", role: str = "user") -> ChatMessage:
    return ChatMessage(ident, role, (ChatPart("text", text),))


def turn(*messages: ChatMessage, **more: Any) -> JobSpec:
    limits = more.pop("limits", Limits(turns=100))
    chat = ChatSpec("turn_1", messages or (said("do it"),), **more)
    return JobSpec(Mode.CHAT, "do it", chat=chat, tools=GATES, limits=limits)


async def do(workshop: Workshop, *replies: Reply | str, spec: JobSpec | None = None) -> tuple[JobView, list[Record]]:
    workshop.says(*replies)
    async with workshop.open() as engine:
        accepted = await engine.accept(spec or turn())
        await ended(accepted.session, accepted.job)
        return accepted.job, list(accepted.session.view.records())


async def approve(engine: Engine, session: Session, decision: str = "allow", **more: Any) -> None:
    """The next thing that is asked."""
    await until(session, lambda: bool(session.state.open_asks()))
    (ask,) = session.state.open_asks()
    await engine.settle(ask.id, Settlement(decision, more.pop("reason", ""), "client", **more))  # type: ignore[arg-type]


def results(records: list[Record]) -> list[tuple[str, bool, str]]:
    """Name, success and text of every call that ended."""
    found = only(records, "tool.finished")
    return [(each["name"], each["ok"], "".join(block["text"] for block in each["content"])) for each in found]


def error(job: JobView) -> str:
    assert job.finished is not None
    return str(job.finished["error"]["message"])


@pytest.fixture(autouse=True)
def no_profile(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands run in login shells, which would read that of whoever runs the tests."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def repository(workshop: Workshop) -> Path:
    (workshop.workspace / "hello.txt").write_text("hello\n")
    subprocess.run(["git", "init", "--quiet", str(workshop.workspace)], check=True)
    return workshop.workspace


# --- What goes before the model -----------------------------------------------------------------------------------


async def test_a_turn_is_the_models_answer_to_what_was_said(workshop: Workshop) -> None:
    job, records = await do(workshop, "Hello.", spec=turn(said("Hi.")))
    assert job.state is JobState.COMPLETED
    assert [data["id"] for data in only(records, "message") if data["role"] == "user"] == ["msg_1"]
    assert workshop.model.requests[0].messages[0].text == "Hi."


async def test_messages_that_the_model_has_not_had_go_before_it_in_order(workshop: Workshop) -> None:
    await do(workshop, "ok", spec=turn(said("one"), said("two", "msg_2", "system"), said("three", "msg_3")))
    texts = [message.text for message in workshop.model.requests[0].messages]
    assert texts == ["one", "[system message]two", "three"]


async def test_the_model_is_told_of_the_workspace_and_has_the_tools_of_a_chat(
    workshop: Workshop, repository: Path
) -> None:
    (repository / "AGENTS.md").write_text("Be kind.")
    (repository / "a.py").write_text("def spam(): ...\n")
    await do(workshop, "ok")
    request = workshop.model.requests[0]
    assert "Be kind." in request.system
    assert "spam" in request.system
    assert "?? hello.txt" in request.system
    names = ["apply_patch", "diagram", "git_status", "read_file", "repo_map", "repo_tree", "search", "shell", "verify"]
    assert [tool.name for tool in request.tools] == names


async def test_a_turn_that_says_nothing_new_has_the_model_go_on(workshop: Workshop) -> None:
    workshop.says("one", "two")
    async with workshop.open() as engine:
        for spec in (turn(), turn(retry=True)):
            spec = spec if spec.chat is None or not spec.chat.retry else _without_messages(spec)
            accepted = await engine.accept(spec)
            await ended(accepted.session, accepted.job)
    assert workshop.model.requests[1].messages[-1].role == "user"


def _without_messages(spec: JobSpec) -> JobSpec:
    return JobSpec(Mode.CHAT, spec.prompt, chat=ChatSpec("turn_1", (), retry=True), tools=spec.tools)


async def test_an_image_that_is_none_is_named_only(workshop: Workshop) -> None:
    message = ChatMessage("msg_1", "user", (ChatPart("image", ref="attachments/x.png"),))
    await do(workshop, "ok", spec=turn(message))
    assert workshop.model.requests[0].messages[0].text == "[image: attachments/x.png]"


# --- Calls --------------------------------------------------------------------------------------------------------


async def test_reading_needs_nobody(workshop: Workshop, repository: Path) -> None:
    calls = [call("read_file", path="hello.txt"), call("search", query="ell"), call("repo_tree"), call("git_status")]
    _, records = await do(workshop, reply("Looking.", *calls), "Done.")
    assert results(records) == [
        ("read_file", True, "     1\thello"),
        ("search", True, "hello.txt:1:hello"),
        ("repo_tree", True, "hello.txt"),
        ("git_status", True, "?? hello.txt"),
    ]


async def test_a_command_runs_once_it_is_approved(workshop: Workshop) -> None:
    workshop.says(reply("", call("shell", command="echo hi >&2; exit 3")), "It failed.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn())
        await approve(engine, accepted.session)
        await ended(accepted.session, accepted.job)
        ((name, ok, text),) = results(list(accepted.session.view.records()))
    told = json.loads(text)
    assert (name, ok, told["exit_code"], told["stderr"], told["cmd"]) == (
        "shell",
        False,
        3,
        "hi\n",
        "echo hi >&2; exit 3",
    )
    assert accepted.job.state is JobState.COMPLETED


async def test_a_denial_and_its_reason_are_the_result_and_the_turn_goes_on(
    workshop: Workshop, repository: Path
) -> None:
    workshop.says(reply("", call("apply_patch", patch=DIFF), call("git_status")), "Then not.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn())
        await approve(engine, accepted.session, "deny", reason="not today")
        await ended(accepted.session, accepted.job)
        found = results(list(accepted.session.view.records()))
    assert [(name, ok) for name, ok, _ in found] == [("apply_patch", False), ("git_status", False)]
    assert "not today" in found[0][2]
    assert (repository / "hello.txt").read_text() == "hello\n"
    assert accepted.job.state is JobState.COMPLETED


async def test_an_approval_may_change_the_input(workshop: Workshop) -> None:
    workshop.says(reply("", call("shell", command="echo no")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn())
        await approve(engine, accepted.session, updated_input={"command": "echo yes"})
        await ended(accepted.session, accepted.job)
        ((_, _, text),) = results(list(accepted.session.view.records()))
    assert json.loads(text)["stdout"] == "yes\n"


async def test_a_patch_is_applied(workshop: Workshop, repository: Path) -> None:
    workshop.says(reply("", call("apply_patch", patch=DIFF)), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn())
        await approve(engine, accepted.session)
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
    assert (repository / "hello.txt").read_text() == "goodbye\n"
    assert "VERIFY_SKIPPED" in notices(records)


async def test_an_unknown_tool_fails_the_turn(workshop: Workshop) -> None:
    job, _ = await do(workshop, reply("", call("fly")))
    assert error(job) == "unknown tool: fly"


async def test_a_failed_call_ends_the_batch(workshop: Workshop) -> None:
    calls = (call("read_file", path="nothing.txt"), call("repo_tree"))
    _, records = await do(workshop, reply("", *calls), "Done.")
    (first, second) = results(records)
    assert not first[1]
    assert second[2].startswith("This call was not run, because the read_file call before it")


async def test_the_last_object_in_a_broken_input_is_taken(workshop: Workshop, repository: Path) -> None:
    broken = raw_call("read_file", 'I will use {"path": "hello.txt"} now')
    _, records = await do(workshop, reply("", broken), "Done.")
    assert results(records) == [("read_file", True, "     1\thello")]


async def test_an_input_without_any_object_is_invalid(workshop: Workshop) -> None:
    _, records = await do(workshop, reply("", raw_call("read_file", "not at all")), "Done.")
    assert results(records)[0][2].startswith("invalid input: ")


async def test_a_long_result_is_cut_and_kept_whole(workshop: Workshop) -> None:
    workshop.says(reply("", call("shell", command="head -c 100000 /dev/zero | tr '\\0' x")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn())
        await approve(engine, accepted.session)
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
        (kept,) = only(records, "artifact")
        whole = accepted.session.dir.blobs.get(kept["sha256"])
    ((_, _, text),) = results(records)
    assert kept["name"] == f"artifacts/turn_1/{kept['call']}.txt"
    assert json.loads(whole)["stdout"] == "x" * 100000
    assert len(text) < 66_000
    assert text.endswith(f"[cut at 64 KiB; the whole of it is kept as {kept['name']}]")


# --- Going round in circles ---------------------------------------------------------------------------------------


async def test_a_call_is_not_run_a_fourth_time_and_a_fifth_fails_the_turn(workshop: Workshop) -> None:
    job, records = await do(workshop, *[reply("", call("repo_tree"))] * 6)
    finished = only(records, "tool.finished")
    assert [bool(each.get("skipped")) for each in finished] == [False, False, False, True]
    assert error(job) == "loop detected"


async def test_a_file_may_be_read_again_when_something_else_was_done(workshop: Workshop, repository: Path) -> None:
    one, other = reply("", call("repo_tree")), reply("", call("git_status"))
    job, records = await do(workshop, one, one, one, other, one, "Done.")
    assert job.state is JobState.COMPLETED
    assert all(ok for _, ok, _ in results(records))


async def test_a_turn_makes_no_more_calls_of_the_model_than_its_limit(workshop: Workshop) -> None:
    replies = [reply("", call("search", query=f"x{number}")) for number in range(5)]
    job, _ = await do(workshop, *replies, spec=turn(limits=Limits(turns=3)))
    assert error(job) == "max turn iterations reached"
    assert len(workshop.model.requests) == 3


async def test_a_turn_without_a_budget_makes_no_call_at_all(workshop: Workshop) -> None:
    job, _ = await do(workshop, "never", spec=turn(limits=Limits(usd=0.0)))
    assert error(job).startswith("budget exceeded: ")
    assert not workshop.model.requests


# --- Verification -------------------------------------------------------------------------------------------------


async def test_what_was_changed_is_verified_until_it_is_right(workshop: Workshop, repository: Path) -> None:
    workshop.says(
        reply("", call("shell", command="touch a")), "Done.", reply("", call("shell", command="touch b")), "Now."
    )
    async with workshop.open() as engine:
        accepted = await engine.accept(turn(verify=("test -e b",)))
        for _ in range(4):
            await approve(engine, accepted.session)
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
    assert [(name, ok) for name, ok, _ in results(records)] == [
        ("shell", True),
        ("verify", False),
        ("shell", True),
        ("verify", True),
    ]
    assert accepted.job.state is JobState.COMPLETED
    told = workshop.model.requests[2].messages[-1].text
    assert told.startswith("[verify was run; result of call_")


async def test_a_turn_that_changed_nothing_is_not_verified(workshop: Workshop) -> None:
    _, records = await do(workshop, reply("", call("repo_tree")), "Done.", spec=turn(verify=("false",)))
    assert [name for name, _, _ in results(records)] == ["repo_tree"]


async def test_a_denied_verification_fails_the_turn(workshop: Workshop) -> None:
    workshop.says(reply("", call("shell", command="true")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(turn(verify=("true",)))
        await approve(engine, accepted.session)
        await approve(engine, accepted.session, "deny")
        await ended(accepted.session, accepted.job)
    assert error(accepted.job) == "verification denied"


# --- Restarts -----------------------------------------------------------------------------------------------------


async def settled_after_restart(workshop: Workshop, decision: str = "allow") -> tuple[JobView, list[Record]]:
    """Settle what is asked in another process than the one that asked, and let the job come to its end."""
    async with workshop.open() as engine:
        (session,) = engine.sessions
        (job,) = session.state.jobs.values()
        await until(session, lambda: bool(session.state.open_asks()))
        (ask,) = session.state.open_asks()
        await engine.settle(ask.id, Settlement(decision, "later", "client"))  # type: ignore[arg-type]
        await until(session, lambda: job.state.terminal or bool(session.state.open_asks()))
        await engine.close(interrupt=True)
        return job, list(session.view.records())


async def begin(workshop: Workshop, *replies: Reply | str, **more: Any) -> None:
    """Have a turn come to its first ask, and end the process there."""
    workshop.says(*replies)
    async with workshop.open() as engine:
        accepted = await engine.accept(turn(**more))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        await engine.close(interrupt=True)


async def test_an_approval_outlives_the_process_that_asked(workshop: Workshop) -> None:
    await begin(workshop, reply("", call("shell", command="echo hi")), "Done.")
    job, records = await settled_after_restart(workshop)
    assert job.state is JobState.COMPLETED
    assert json.loads(results(records)[0][2])["stdout"] == "hi\n"
    assert len(only(records, "ask.opened")) == 1


async def test_a_verification_is_asked_about_once_whatever_process_runs_it(workshop: Workshop) -> None:
    await begin(workshop, reply("", call("shell", command="true")), "Done.", verify=("true",))
    job, _ = await settled_after_restart(workshop)
    assert job.state is JobState.WAITING
    job, records = await settled_after_restart(workshop)
    assert job.state is JobState.COMPLETED
    assert [data["tool"] for data in only(records, "ask.opened")] == ["shell", "verify"]
    assert [name for name, _, _ in results(records)] == ["shell", "verify"]
    assert len([data for data in only(records, "message") if data["id"] == "msg_1"]) == 1


# --- Specs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def spec_path(workshop: Workshop) -> Path:
    return workshop.workspace / "specs" / "x" / "spec.md"


def text_of(path: Path) -> str:
    return path.read_text()


async def test_a_missing_spec_is_drafted(workshop: Workshop, spec_path: Path) -> None:
    _, records = await do(workshop, "ok", spec=turn(spec=str(spec_path)))
    assert "# Acceptance tests" in text_of(spec_path)
    (phase,) = only(records, "phase")
    assert phase["details"] == {"spec": str(spec_path), "created": True}
    assert "# Goal" in workshop.model.requests[0].system


async def test_a_written_spec_is_validated_at_once_without_asking(workshop: Workshop, spec_path: Path) -> None:
    calls = (call("write_spec", content="# Goal\n\nGo.\n"), call("read_spec"))
    job, records = await do(workshop, reply("", *calls), "Done.", spec=turn(spec=str(spec_path), verify=("false",)))
    assert job.state is JobState.COMPLETED
    assert [name for name, _, _ in results(records)] == ["write_spec", "validate_spec", "read_spec"]
    problems = ["missing heading: # Constraints / nuances", "missing heading: # Acceptance tests"]
    validated = only(records, "tool.finished")[1]
    assert json.loads(validated["content"][1]["text"]) == {"ok": False, "problems": problems}
    assert text_of(spec_path) == "# Goal\n\nGo.\n"
    assert "[validate_spec was run" in workshop.model.requests[1].messages[-1].text


async def test_a_spec_that_a_link_takes_out_of_the_workspace_fails_the_turn(
    workshop: Workshop, spec_path: Path, tmp_path: Path
) -> None:
    spec_path.parent.parent.mkdir()
    spec_path.parent.symlink_to(tmp_path)
    job, _ = await do(workshop, "ok", spec=turn(spec=str(spec_path)))
    assert error(job).startswith("spec_path escapes workspace: ")
    assert not (tmp_path / "spec.md").exists()
