"""A run whose executor is killed behind any record of its log: it has failed, or goes on where nothing was at work."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentd.domain import JobSpec, JobState, Mode, Record, RunSpec, ToolPolicy
from agentd.engine.asks import Settlement
from agentd.store.specrun import RESTARTED, RunState
from tests.workshop import Workshop, only, until

STEPS = [
    {"id": "a", "type": "command", "command": "echo a >> done"},
    {"id": "b", "type": "command", "command": "echo b >> done", "needs_approval": True},
    {"id": "c", "type": "patch", "patch": "nonsense", "needs_approval": True},
]


@pytest.fixture(autouse=True)
def no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in login shells: what a person's profile does there is no part of a test."""
    monkeypatch.setenv("HOME", str(tmp_path))


async def see_through(workshop: Workshop, *, new: bool) -> RunState:
    """Approve what is asked until the run is over."""
    workshop.says(json.dumps({"steps": STEPS}))
    run = RunSpec(str(workshop.workspace), "spec.md")
    async with workshop.open() as engine:
        if new:
            await engine.accept(JobSpec(Mode.SPEC_RUN, "go", run=run, tools=ToolPolicy(ask_seconds=None)))
        (session,) = engine.sessions
        (job,) = session.state.jobs.values()
        while not job.state.terminal:
            await until(session, lambda: job.state.terminal or bool(session.state.open_asks()))
            for ask in session.state.open_asks():
                await engine.settle(ask.id, Settlement("allow", "", "client"))
        records = list(session.view.records())
    assert len(only(records, "job.started")) == len(only(records, "job.finished")) == 1
    return RunState.of(records)


async def test_a_run_that_is_killed_anywhere_comes_to_an_end_and_does_nothing_twice(workshop: Workshop) -> None:
    assert (await see_through(workshop, new=True)).status == "failed"  # at its last step
    (directory,) = workshop.home.sessions()
    lines = directory.log_path.read_bytes().splitlines(keepends=True)
    done = workshop.workspace / "done"
    outcomes = []
    for cut in range(3, len(lines)):
        directory.log_path.write_bytes(b"".join(lines[:cut]))
        done.write_text("before\n")
        state = await see_through(workshop, new=False)
        assert state.status == "failed"
        assert all(step.status in ("succeeded", "failed", "skipped") for step in state.steps)
        said = done.read_text().split()[1:]
        assert said in (["a", "b"], ["b"], [])
        outcomes.append(state.error == RESTARTED)
    assert True in outcomes
    assert False in outcomes


@pytest.mark.parametrize("outcome", [JobState.COMPLETED, JobState.CANCELLED, JobState.FAILED, JobState.INTERRUPTED])
def test_every_end_of_a_job_is_one_of_a_run(outcome: JobState) -> None:
    names = {"completed": "succeeded", "cancelled": "canceled", "failed": "failed", "interrupted": "failed"}
    created = Record(1, 1, "j", "job.created", {"spec": {"run": {"workspace": "/w", "spec": "s"}}})
    finished = Record(2, 2, "j", "job.finished", {"outcome": outcome.value, "stop_reason": "x", "error": None})
    assert RunState.of([created, finished]).status == names[outcome.value]
