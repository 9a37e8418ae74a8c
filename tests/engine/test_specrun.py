"""Runs of specs: what is read, planned and carried out, and how they end."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import JobSpec, JobState, Mode, Record, RunSpec, ToolPolicy
from agentd.engine.asks import Settlement
from agentd.engine.engine import Engine
from agentd.engine.session import Session
from agentd.engine.specrunplan import make_targets
from agentd.store.fold import JobView
from agentd.store.specrun import RunState
from tests.workshop import Workshop, ended, notices, only, until

SPEC = "specs/x/spec.md"
DIFF = "--- a/hello.txt\n+++ b/hello.txt\n@@ -1 +1 @@\n-hello\n+goodbye\n"


@pytest.fixture(autouse=True)
def no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in login shells: what a person's profile does there is no part of a test."""
    monkeypatch.setenv("HOME", str(tmp_path))


def plan(*steps: dict[str, Any]) -> str:
    return json.dumps({"steps": [{"id": f"s{number}", **step} for number, step in enumerate(steps, 1)]})


def command(line: str, **more: Any) -> dict[str, Any]:
    return {"title": line, "type": "command", "command": line, **more}


def asked(workshop: Workshop, spec: str = SPEC, verify: Sequence[str] = ()) -> JobSpec:
    run = RunSpec(str(workshop.workspace), spec, tuple(verify))
    return JobSpec(Mode.SPEC_RUN, f"Carry out {spec}", run=run, tools=ToolPolicy(ask_seconds=None))


async def do(workshop: Workshop, reply: str, **more: Any) -> tuple[JobView, list[Record], RunState]:
    workshop.says(reply)
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop, **more))
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
        return accepted.job, records, RunState.of(records)


def statuses(state: RunState) -> list[str]:
    return [step.status for step in state.steps]


def artifact(session: Session, step: str, name: str) -> Any:
    found = [data for data in only(session.view.records(), "artifact") if (data["call"], data["name"]) == (step, name)]
    return json.loads(session.dir.blobs.get(found[-1]["sha256"]))


@pytest.fixture
def repository(workshop: Workshop) -> Path:
    (workshop.workspace / "hello.txt").write_text("hello\n")
    subprocess.run(["git", "init", "--quiet", str(workshop.workspace)], check=True)
    return workshop.workspace


# --- Steps --------------------------------------------------------------------------------------------------------


async def test_steps_are_carried_out_in_order(workshop: Workshop) -> None:
    steps = [command("echo one > log"), {"type": "note", "title": "look"}, command("echo two >> log")]
    job, _, state = await do(workshop, plan(*steps))
    assert (job.state, state.status) == (JobState.COMPLETED, "succeeded")
    assert (workshop.workspace / "log").read_text() == "one\ntwo\n"
    assert statuses(state) == ["succeeded"] * 3


async def test_the_first_step_that_fails_ends_the_run(workshop: Workshop) -> None:
    _, _, state = await do(workshop, plan(command("echo no >&2; exit 3"), command("touch never")))
    assert statuses(state) == ["failed", "skipped"]
    assert state.error == "step s1 (echo no >&2; exit 3) failed: exit code 3: no"
    assert not (workshop.workspace / "never").exists()


async def test_what_a_command_says_is_kept_by_stream(workshop: Workshop) -> None:
    workshop.says(plan(command("echo out; echo err >&2; exit 2")))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await ended(accepted.session, accepted.job)
        told = artifact(accepted.session, "s1", "command.json")
    assert (told["stdout"], told["stderr"], told["exit_code"]) == ("out\n", "err\n", 2)
    assert told["duration"].endswith("ms")


async def test_a_command_that_says_much_on_both_streams_does_not_get_stuck(workshop: Workshop) -> None:
    _, _, state = await do(workshop, plan(command("head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero")))
    assert state.status == "succeeded"


async def test_a_patch_is_applied(workshop: Workshop, repository: Path) -> None:
    _, _, state = await do(workshop, plan({"type": "patch", "title": "edit", "patch": DIFF}))
    assert state.status == "succeeded"
    assert (repository / "hello.txt").read_text() == "goodbye\n"


async def test_a_patch_needs_a_repository(workshop: Workshop) -> None:
    _, _, state = await do(workshop, plan({"type": "patch", "title": "edit", "patch": DIFF}))
    assert state.error is not None
    assert "no git repository" in state.error


@pytest.mark.parametrize("target", ["../outside.txt", ".git/hooks/pre-commit", "/etc/agentd-was-here"])
async def test_a_patch_reaches_nothing_outside_of_the_files_of_its_workspace(
    workshop: Workshop, repository: Path, target: str
) -> None:
    diff = f"--- /dev/null\n+++ b/{target}\n@@ -0,0 +1 @@\n+bad\n"
    _, _, state = await do(workshop, plan({"type": "patch", "title": "edit", "patch": diff}))
    assert state.status == "failed"
    assert not (repository / target).exists()


async def test_a_diagram_step_makes_diagrams_whatever_it_says(workshop: Workshop) -> None:
    (workshop.workspace / "Makefile").write_text("diagrams:\n\ttouch drawn\n")
    await do(workshop, plan({"type": "Diagram", "title": "draw", "command": "touch other"}))
    assert (workshop.workspace / "drawn").exists()
    assert not (workshop.workspace / "other").exists()


async def test_steps_without_anything_to_do_succeed(workshop: Workshop) -> None:
    _, records, state = await do(workshop, plan({"type": "command", "command": " "}, {"type": "patch"}))
    assert state.status == "succeeded"
    done = [data["details"]["message"] for data in only(records, "phase") if data["name"] == "step.done"]
    assert done == ["no command (skipped)", "no patch (skipped)"]


@pytest.mark.parametrize("line", ["x" * 1_000_000, "echo \0"])
async def test_a_command_that_no_shell_takes_fails_its_step(workshop: Workshop, line: str) -> None:
    workshop.says(plan(command(line, title="much", needs_approval=False)))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        state = await approve_all(engine, accepted.session, accepted.job)
    assert state.status == "failed"
    assert state.error is not None
    assert "exit code 127" in state.error


# --- Before the steps ---------------------------------------------------------------------------------------------


async def test_a_spec_that_is_missing_in_the_workspace_is_drafted(workshop: Workshop) -> None:
    _, records, _ = await do(workshop, plan({"type": "note"}))
    assert "# Goal" in (workshop.workspace / SPEC).read_text()
    assert only(records, "phase")[0]["details"]["created"] is True


async def test_a_spec_that_is_missing_elsewhere_fails_the_run(workshop: Workshop, tmp_path: Path) -> None:
    _, _, state = await do(workshop, plan({"type": "note"}), spec=str(tmp_path / "elsewhere" / "spec.md"))
    assert state.status == "failed"
    assert not (tmp_path / "elsewhere").exists()


async def test_a_spec_may_lie_outside_of_the_workspace(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "spec.md").write_text("# Goal\n\nNothing.\n")
    _, records, state = await do(workshop, plan({"type": "note"}), spec=str(tmp_path / "spec.md"))
    assert state.status == "succeeded"
    assert only(records, "phase")[0]["details"]["bytes"] == len("# Goal\n\nNothing.\n")


async def test_what_cannot_be_planned_by_is_replaced_by_the_default_plan(workshop: Workshop) -> None:
    (workshop.workspace / "Makefile").write_text("test:\n\ttouch tested\ndiagrams:\n\ttouch drawn\n")
    _, records, state = await do(workshop, "I would rather not.")
    assert [step.command for step in state.steps] == ["make test", "make diagrams"]
    assert "no JSON" in next(data["details"]["why"] for data in only(records, "phase") if data["name"] == "planned")
    assert state.status == "succeeded"


@pytest.mark.parametrize(
    ("makefile", "targets"),
    [
        ("test: a b\n\ttrue\nx y::\n\ttrue\n", {"test", "x", "y"}),
        ("V := 1\nW ::= 2\nX = a:b\n# test:\n\ttest:\n", set()),
        (" " * 500_000, set()),
        ("a " * 250_000, set()),
    ],
)
def test_targets_are_read_from_makefiles(tmp_path: Path, makefile: str, targets: set[str]) -> None:
    (tmp_path / "Makefile").write_text(makefile)
    assert make_targets(tmp_path) == targets


async def test_no_diagrams_are_made_by_default_where_nothing_says_how(workshop: Workshop) -> None:
    (workshop.workspace / "Makefile").write_text("test:\n\ttrue\n")
    _, _, state = await do(workshop, "{}")
    assert [step.command for step in state.steps] == ["make test"]


async def test_a_plan_of_ten_thousand_steps_is_carried_out(workshop: Workshop) -> None:
    workshop.says(json.dumps({"steps": [{"type": "note"}] * 10_000}))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await ended(accepted.session, accepted.job, 60)
        assert RunState.of(accepted.session.view.records()).status == "succeeded"


# --- Verification -------------------------------------------------------------------------------------------------


async def test_what_a_patch_changed_is_verified(workshop: Workshop, repository: Path) -> None:
    steps = [{"type": "patch", "title": "edit", "patch": DIFF}, command("true")]
    _, _, state = await do(workshop, plan(*steps), verify=["grep -q goodbye hello.txt", "true"])
    assert [(step.type, step.command) for step in state.steps[2:]] == [("verify", "grep -q goodbye hello.txt")]
    assert state.status == "succeeded"


async def test_a_verification_that_fails_fails_the_run(workshop: Workshop, repository: Path) -> None:
    (repository / "Makefile").write_text("test:\n\tfalse\n")
    _, _, state = await do(workshop, plan({"type": "patch", "title": "edit", "patch": DIFF}))
    assert statuses(state) == ["succeeded", "failed"]


async def test_nothing_is_verified_where_no_patch_was_applied(workshop: Workshop) -> None:
    _, _, state = await do(workshop, plan(command("true")), verify=["false"])
    assert state.status == "succeeded"


# --- Gates --------------------------------------------------------------------------------------------------------


async def approve_all(engine: Engine, session: Session, job: JobView) -> RunState:
    """Say yes until the run is over."""
    while not job.state.terminal:
        await until(session, lambda: job.state.terminal or bool(session.state.open_asks()))
        for ask in session.state.open_asks():
            assert ask.data["options"] == ["allow"]
            assert ask.data["deadline"] is None
            await engine.settle(ask.id, Settlement("allow", "", "client"))
    return RunState.of(session.view.records())


async def test_a_gated_step_waits_for_approval(workshop: Workshop) -> None:
    workshop.says(plan(command("touch made", needs_approval=True)))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        state = RunState.of(accepted.session.view.records())
        assert (state.status, statuses(state)) == ("waiting_approval", ["waiting_approval"])
        assert not (workshop.workspace / "made").exists()
        state = await approve_all(engine, accepted.session, accepted.job)
    assert state.status == "succeeded"
    assert (workshop.workspace / "made").exists()


async def test_what_may_destroy_something_is_gated_whatever_the_plan_says(workshop: Workshop) -> None:
    workshop.says(plan(command("rm -rf build", needs_approval=False)))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))


async def test_a_run_that_waits_goes_on_in_the_next_executor(workshop: Workshop) -> None:
    steps = [command("echo one >> log"), command("echo two >> log", needs_approval=True), command("echo three >> log")]
    workshop.says(plan(*steps))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        await engine.close(interrupt=True)
    for _ in range(2):  # one more start in between, at which nobody answers
        async with workshop.open() as engine:
            (session,) = engine.sessions
            (job,) = session.state.jobs.values()
            assert job.state is JobState.WAITING
            await engine.close(interrupt=True)
    async with workshop.open() as engine:
        (session,) = engine.sessions
        (job,) = session.state.jobs.values()
        state = await approve_all(engine, session, job)
        records = list(session.view.records())
    assert (workshop.workspace / "log").read_text() == "one\ntwo\nthree\n"
    assert statuses(state) == ["succeeded"] * 3
    assert len(only(records, "ask.opened")) == len(only(records, "ask.settled")) == 1
    assert len([data for data in only(records, "phase") if data["name"] == "step"]) == 3


# --- Cancelling ---------------------------------------------------------------------------------------------------


async def test_a_command_that_is_cancelled_leaves_nothing_behind(workshop: Workshop, witness: Any) -> None:
    line = f"{witness.sleep} & touch begun; wait"
    workshop.says(plan(command(line), command("touch never")))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        with trio.fail_after(10):
            while not (workshop.workspace / "begun").exists():  # noqa: ASYNC110  # another process makes it
                await trio.sleep(0.01)
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)
        state = RunState.of(accepted.session.view.records())
    assert (state.status, state.error, statuses(state)) == ("canceled", None, ["failed", "skipped"])
    assert not witness.alive()


async def test_a_run_that_waits_can_be_cancelled(workshop: Workshop) -> None:
    workshop.says(plan(command("touch made", needs_approval=True)))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        await until(accepted.session, lambda: bool(accepted.session.state.open_asks()))
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)
        state = RunState.of(accepted.session.view.records())
    assert (state.status, statuses(state)) == ("canceled", ["skipped"])


@pytest.mark.parametrize("records", range(2, 30, 3))
async def test_a_run_that_is_cancelled_at_any_moment_ends_canceled(workshop: Workshop, records: int) -> None:
    workshop.says(plan(command("true"), command("true", needs_approval=True), {"type": "note"}))
    async with workshop.open() as engine:
        accepted = await engine.accept(asked(workshop))
        session, job = accepted.session, accepted.job
        await until(
            session, lambda: session.state.pos >= records or job.state.terminal or job.state is JobState.WAITING
        )
        engine.cancel(job.id)
        await ended(session, job)
        state = RunState.of(session.view.records())
    assert state.status == "canceled"
    assert all(step.status in ("succeeded", "failed", "skipped") for step in state.steps)


async def test_no_prompt_of_a_plan_gets_into_the_log(workshop: Workshop) -> None:
    (workshop.workspace / "AGENTS.md").write_text("the-secret-rule\n")
    _, records, _ = await do(workshop, plan({"type": "note"}))
    assert not notices(records)
    assert "the-secret-rule" not in repr(records)
