"""What each mode does: whose model works, with which tools, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.domain import TASK_MODES, JobState, Limits, Mode, Models, PermissionMode, ToolPolicy
from agentd.engine.asks import Settlement
from agentd.engine.modes import MODES
from agentd.providers.scripted import Fail, Reply, ScriptedProvider, call, reply
from agentd.tools.registry import FILE_TOOLS
from tests.workshop import Workshop, ended, notices, only, spec, until

WRITING = {tool.name for tool in FILE_TOOLS if tool.tool_class.value != "read"} | {"Bash"}


class Actor(ScriptedProvider):
    """A script under a name of its own."""

    @property
    def name(self) -> str:
        return self._name


def models(workshop: Workshop, **replies: list[Reply | str]) -> dict[str, Actor]:
    """Models of these names, each with its own script."""
    made = {name: Actor(script, name) for name, script in replies.items()}
    workshop.services = tuple(made.values())
    return made


# --- Modes that only read -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.SEARCH])
async def test_a_reading_mode_offers_nothing_that_writes(workshop: Workshop, mode: Mode) -> None:
    workshop.says("Nothing.")
    await workshop.do(mode=mode)
    [request] = workshop.model.requests
    assert not {tool.name for tool in request.tools} & (WRITING | {"Code", "TaskList"})


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.SEARCH])
async def test_a_model_that_tries_to_write_in_a_reading_mode_writes_nothing(workshop: Workshop, mode: Mode) -> None:
    workshop.tools = FILE_TOOLS
    workshop.says(
        reply(call("Write", file_path="made.txt", content="x"), call("Bash", command="touch made.txt")), "Ok."
    )
    job, records = await workshop.do(mode=mode, auto_commit=True)
    assert job.state is JobState.COMPLETED
    assert [data["ok"] for data in only(records, "tool.finished")] == [False, False]
    assert list(workshop.workspace.iterdir()) == []


async def test_a_search_is_done_by_the_scan_model(workshop: Workshop) -> None:
    scripts = models(workshop, planner=[], scanner=["Found it."])
    job, _ = await workshop.do(mode=Mode.SEARCH, models=Models(planner="nobody", scan="scanner", code="nobody"))
    assert job.finished
    assert job.finished["result"] == "Found it."
    assert not scripts["planner"].requests


async def test_a_scan_comes_before_the_answer_where_it_is_asked_for(workshop: Workshop) -> None:
    scripts = models(
        workshop, planner=[reply("Then a.py.", expect=["a.py:3 the parser"])], scanner=["a.py:3 the parser"]
    )
    job, records = await workshop.do(mode=Mode.ASK, pre_scan=True, models=Models(planner="planner", scan="scanner"))
    assert job.state is JobState.COMPLETED
    assert notices(records) == ["SCAN_STARTED", "SCAN_COMPLETED"]
    assert not {tool.name for tool in scripts["scanner"].requests[0].tools} & WRITING


async def test_a_scan_that_does_not_work_fails_nothing(workshop: Workshop) -> None:
    models(workshop, planner=["Yes.", "Yes."], scanner=[reply(Fail("no"))])
    for scan in ("nobody", "scanner"):
        job, records = await workshop.do(mode=Mode.ASK, pre_scan=True, models=Models(planner="planner", scan=scan))
        assert job.state is JobState.COMPLETED
    assert notices(records)[-3:] == ["SCAN_STARTED", "SCAN_FAILED", "SCAN_COMPLETED"]


# --- ARCHITECT ----------------------------------------------------------------------------------------------------


async def test_an_architect_has_the_code_model_edit(workshop: Workshop) -> None:
    scripts = models(
        workshop,
        planner=[reply(call("Code", instructions="Write a.txt")), reply("All done.", expect=["I wrote it."])],
        coder=[reply(call("Write", about="a.txt"), expect=["Write a.txt"]), "I wrote it."],
    )
    job, records = await workshop.do(mode=Mode.ARCHITECT, models=Models(planner="planner", code="coder"))
    assert job.finished
    assert job.finished["result"] == "All done."
    assert "Write" not in {tool.name for tool in scripts["planner"].requests[0].tools}
    assert {"Write", "Bash"} <= {tool.name for tool in scripts["coder"].requests[0].tools}
    assert "Code" not in {tool.name for tool in scripts["coder"].requests[0].tools}
    assert "NO_EDIT" not in notices(records)


async def test_what_a_subagent_says_and_does_is_logged_below_the_call_it_works_for(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply(call("Write", about="a")), "Wrote.", "Done.")
    _, records = await workshop.do(mode=Mode.ARCHITECT)
    [code] = [record.data["call"] for record in records if record.type == "tool.started" and not record.parent]
    below = [record.type for record in records if record.parent == code]
    assert below.count("message") == 3
    assert {"tool.started", "tool.finished", "usage"} <= set(below)


async def test_the_conversation_of_a_planner_holds_only_the_reports_of_the_code_model(workshop: Workshop) -> None:
    workshop.says(
        reply(call("Code", instructions="go")), reply(call("Write", about="secret")), "Report.", "Done.", "Later."
    )
    async with workshop.open() as engine:
        for mode in (Mode.ARCHITECT, Mode.ASK):
            accepted = await engine.accept(spec(mode=mode))
            await ended(accepted.session, accepted.job)
    assert "secret" not in str(workshop.model.requests[-1].messages)
    assert "Report." in str(workshop.model.requests[-1].messages)


async def test_calls_of_one_job_never_share_an_id(workshop: Workshop) -> None:
    workshop.says(
        reply(raw("Code", instructions="go")), reply(raw("Write")), "Wrote.", reply(raw("Read")), "Done."
    )  # fmt: skip
    _, records = await workshop.do(mode=Mode.ARCHITECT)
    ids = [data["call"] for data in only(records, "tool.started")]
    assert len(ids) == len(set(ids)) == 3


def raw(tool: str, **call_input: Any) -> Any:
    return type(call("x"))(tool, call(tool, **call_input).input_json, "same")


async def test_a_subagent_that_fails_is_told_to_its_planner(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply("The text is not there.", stop="failed"), "It failed.")
    job, records = await workshop.do(mode=Mode.ARCHITECT)
    [finished] = only(records, "tool.finished")
    assert (finished["ok"], finished["content"][0]["text"]) == (False, "The text is not there.")
    assert job.state is JobState.COMPLETED


async def test_a_code_model_that_cannot_be_reached_fails_the_job(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply(Fail("out of order")))
    job, _ = await workshop.do(mode=Mode.ARCHITECT)
    assert job.finished is not None
    assert (job.state, job.finished["stop_reason"]) == (JobState.FAILED, "llm_error")
    assert not workshop.model.left


async def test_turns_of_subagents_count_against_the_limit(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply(call("Write", about="a")), "never said")
    job, _ = await workshop.do(mode=Mode.ARCHITECT, limits=Limits(turns=2))
    assert job.finished is not None
    assert (job.finished["stop_reason"], job.turns) == ("max_turns_reached", 2)


@pytest.mark.parametrize("mode", [Mode.CODE, Mode.ARCHITECT, Mode.LUTZ])
async def test_an_unknown_model_fails_a_job_before_anything_is_done(workshop: Workshop, mode: Mode) -> None:
    workshop.says("never said")
    job, records = await workshop.do(mode=mode, models=Models(code="nobody"))
    assert job.finished is not None
    assert "MODEL_UNAVAILABLE: nobody" in job.finished["error"]["message"]
    assert not workshop.model.requests
    assert not only(records, "job.started")


async def test_a_model_says_that_it_could_not_do_what_was_spelled_out(workshop: Workshop) -> None:
    workshop.says(reply("`foo` is not in a.py.\nNothing was changed.", stop="failed"))
    job, _ = await workshop.do(mode=Mode.CODE)
    assert job.state is JobState.FAILED
    assert job.finished is not None
    assert job.finished["error"] == {"code": "NOT_DONE", "message": "`foo` is not in a.py."}


async def test_the_error_of_what_could_not_be_done_has_the_reason(workshop: Workshop) -> None:
    workshop.says(reply("`rm -- a` did not succeed:\nrm: no such file\n[exit code 1]", stop="failed"))
    job, _ = await workshop.do()
    assert job.finished is not None
    assert job.finished["error"]["message"] == "`rm -- a` did not succeed: rm: no such file"


async def test_that_nothing_was_done_is_told_with_the_reason(workshop: Workshop) -> None:
    workshop.says("That is a matter of taste.")
    job, records = await workshop.do(mode=Mode.CODE)
    [notice] = only(records, "notice")
    assert job.state is JobState.COMPLETED
    assert (notice["level"], notice["text"]) == ("warning", "no edit was made: That is a matter of taste.")


# --- LUTZ ---------------------------------------------------------------------------------------------------------

LONG = "word " * 300
THREE = reply(call("TaskList", tasks=[{"title": title} for title in ("First", "Second", "Third")]))
WORK = (reply(call("Code", instructions="go")), reply(call("Write", about="a")), "Wrote.", "Done.")


async def test_lutz_makes_a_list_and_does_task_after_task(workshop: Workshop) -> None:
    workshop.says(THREE, "A plan.", *WORK * 3)
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.LUTZ))
        await ended(accepted.session, accepted.job)
        records = list(accepted.session.view.records())
        tasks = accepted.session.state.tasks
    phases = [(data["name"], data["index"], data["percent"]) for data in only(records, "phase")]
    assert phases == [
        ("plan", 0, 0), ("planned", 0, 0),
        ("task", 1, 0), ("task.done", 1, 33), ("task", 2, 33), ("task.done", 2, 66), ("task", 3, 66),
        ("task.done", 3, 100),
    ]  # fmt: skip
    assert accepted.job.state is JobState.COMPLETED
    assert [(task.title, task.done) for task in tasks] == [("First", True), ("Second", True), ("Third", True)]


async def test_the_plan_is_made_by_reading_alone(workshop: Workshop) -> None:
    workshop.says(THREE, "A plan.", *WORK * 3)
    await workshop.do(mode=Mode.LUTZ)
    planning, doing = workshop.model.requests[0], workshop.model.requests[2]
    assert not {tool.name for tool in planning.tools} & (WRITING | {"Code"})
    assert "TaskList" not in {tool.name for tool in doing.tools}


async def test_a_plan_without_tasks_ends_the_job_well(workshop: Workshop) -> None:
    workshop.says("There is nothing to be done.")
    job, records = await workshop.do(mode=Mode.LUTZ)
    assert job.state is JobState.COMPLETED
    assert notices(records) == ["NO_TASKS"]


async def test_a_task_that_fails_stops_the_ones_after_it(workshop: Workshop) -> None:
    workshop.says(THREE, "A plan.", *WORK, reply("It does not apply.", stop="failed"))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.LUTZ))
        await ended(accepted.session, accepted.job)
        tasks = accepted.session.state.tasks
    assert accepted.job.state is JobState.FAILED
    assert accepted.job.percent == 33
    assert [task.done for task in tasks] == [True, False, False]


async def test_a_task_that_changes_nothing_is_told_and_ends_normally(workshop: Workshop) -> None:
    workshop.says(
        reply(call("TaskList", tasks=[{"title": "Only"}])), "A plan.", "Nothing to change, because it is fine."
    )
    job, records = await workshop.do(mode=Mode.LUTZ)
    assert job.state is JobState.COMPLETED
    assert notices(records) == ["NO_EDIT"]


async def test_a_task_list_that_cannot_be_taken_is_told_to_the_model(workshop: Workshop) -> None:
    workshop.says(reply(call("TaskList", tasks=[{"title": " "}])), "No plan.")
    job, records = await workshop.do(mode=Mode.LUTZ)
    [finished] = only(records, "tool.finished")
    assert "tasks[0].title is empty" in finished["content"][0]["text"]
    assert job.state is JobState.FAILED
    assert job.finished is not None
    assert "tasks[0].title is empty" in job.finished["error"]["message"]


async def test_a_task_list_that_is_mended_is_the_plan(workshop: Workshop) -> None:
    mended = reply(call("TaskList", tasks=[{"title": "Only"}]))
    workshop.says(reply(call("TaskList", tasks=[{"title": " "}])), mended, "A plan.", "It is fine.")
    job, _ = await workshop.do(mode=Mode.LUTZ)
    assert job.state is JobState.COMPLETED


async def test_a_planner_that_makes_list_after_list_is_stopped(workshop: Workshop) -> None:
    workshop.says(*(reply(call("TaskList", tasks=[{"title": f"Plan {n}"}])) for n in range(20)))
    job, records = await workshop.do(mode=Mode.LUTZ)
    assert (job.state, len(only(records, "tasks"))) == (JobState.FAILED, 10)
    assert job.finished is not None
    assert job.finished["stop_reason"] == "llm_error"


async def test_history_is_summed_up_after_each_task_where_that_is_asked_for(workshop: Workshop) -> None:
    workshop.says(
        reply(call("TaskList", tasks=[{"title": "One"}, {"title": "Two"}])), "A plan.", LONG, "SUMMARY ONE",
        reply(LONG, expect=["SUMMARY ONE", "Two"]), "SUMMARY TWO", reply("Later.", expect=["SUMMARY TWO"]),
    )  # fmt: skip
    async with workshop.open() as engine:
        for mode in (Mode.LUTZ, Mode.ASK):
            accepted = await engine.accept(spec(mode=mode, auto_compress=mode is Mode.LUTZ))
            await ended(accepted.session, accepted.job)
            assert accepted.job.state is JobState.COMPLETED


async def test_what_is_short_or_would_not_get_shorter_is_not_summed_up(workshop: Workshop) -> None:
    workshop.says("Yes.", LONG, LONG * 2)
    for _ in range(2):
        _, records = await workshop.do(prompt="a question", mode=Mode.ASK, auto_compress=True)
    assert not only(records, "history.compacted")
    assert not workshop.model.left


async def test_a_summary_that_fails_changes_nothing_about_the_job(workshop: Workshop) -> None:
    workshop.says(LONG, reply(Fail("out of order")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec("the question", mode=Mode.ASK, auto_compress=True))
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.COMPLETED
        assert notices(list(accepted.session.view.records())) == ["NOT_COMPRESSED"]
        assert [message.text for message in accepted.session.state.history.messages] == ["the question", LONG]


async def test_a_job_that_is_cancelled_in_a_task_leaves_the_rest_of_the_list_open(workshop: Workshop) -> None:
    workshop.says(THREE, "A plan.", *WORK, reply(call("Code", instructions="go")), reply(call("Sleep", about="long")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.LUTZ))
        await until(
            accepted.session, lambda: "Sleep" in str(only(list(accepted.session.view.records()), "tool.started"))
        )
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.CANCELLED
        assert [task.done for task in accepted.session.state.tasks] == [True, False, False]


# --- Asks and restarts --------------------------------------------------------------------------------------------

ASKING = ToolPolicy(permission_mode=PermissionMode.DEFAULT, ask_seconds=None)
YES = Settlement("allow", "", "client")


async def killed_while_waiting(workshop: Workshop, mode: Mode) -> tuple[str, str]:
    """The job and the ask that a process left which was killed while the ask was open."""
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=mode, tools=ASKING))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        log = accepted.session.dir.log_path.read_bytes()
        ask = accepted.session.state.open_asks()[0].id
    accepted.session.dir.log_path.write_bytes(log)  # as kill -9 would have left it
    return accepted.job.id, ask


async def test_a_task_that_waited_for_an_ask_goes_on_in_the_next_process(workshop: Workshop) -> None:
    two = reply(call("TaskList", tasks=[{"title": "One"}, {"title": "Two"}]))
    workshop.says(two, "A plan.", "Nothing to do for one.", reply(call("Bash", about="ls")))
    job_id, ask = await killed_while_waiting(workshop, Mode.LUTZ)
    workshop.says(reply("Two is done.", expect=["saw ls"]))
    async with workshop.open() as engine:
        session, job = engine.find_job(job_id)
        await engine.settle(ask, YES)
        await ended(session, job)
        records = list(session.view.records())
    assert job.state is JobState.COMPLETED
    assert [data["index"] for data in only(records, "phase") if data["name"] == "task.done"] == [1, 2]
    assert [data["name"] for data in only(records, "phase")].count("plan") == 1


async def test_a_subagent_asks_like_everybody_else(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply(call("Write", about="a")), "Wrote.", "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.ARCHITECT, tools=ASKING))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        await engine.settle(accepted.session.state.open_asks()[0].id, YES)
        await ended(accepted.session, accepted.job)
    assert accepted.job.state is JobState.COMPLETED


async def test_a_subagent_that_waited_for_an_ask_is_interrupted_by_a_restart(workshop: Workshop) -> None:
    workshop.says(reply(call("Code", instructions="go")), reply(call("Write", about="a")))
    job_id, _ = await killed_while_waiting(workshop, Mode.ARCHITECT)
    async with workshop.open() as engine:
        session, job = engine.find_job(job_id)
        assert job.state is JobState.INTERRUPTED
        assert not session.state.open_asks()
        assert not session.state.history.unanswered


def test_every_mode_has_a_rule() -> None:
    assert set(MODES) >= {*TASK_MODES, Mode.QUERY}
