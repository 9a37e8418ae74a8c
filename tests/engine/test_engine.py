"""Jobs from acceptance to their last record, over a scripted model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import JobState, Limits, Mode, PermissionMode, Record, ToolClass, ToolPolicy, Usage
from agentd.engine.asks import Settlement
from agentd.engine.turn import KEPT_CHARS
from agentd.errors import AskSettled, IdempotencyKeyReused, InvalidRequest, JobInProgress
from agentd.providers.scripted import Delay, Fail, Hang, call, raw_call, reply
from agentd.tools.base import ToolContext
from agentd.workspace.symbols.query import Symbols
from tests.workshop import FakeTool, Workshop, ended, only, spec, until

ASKING = ToolPolicy(permission_mode=PermissionMode.DEFAULT)
ALONE = ToolPolicy(permission_mode=PermissionMode.DEFAULT, ask_seconds=0.0)


def types(records: list[Record]) -> list[str]:
    return [record.type for record in records]


def results(records: list[Record]) -> list[str]:
    return ["".join(block["text"] for block in data["content"]) for data in only(records, "tool.finished")]


# --- A conversation -----------------------------------------------------------------------------------------------


async def test_a_job_is_a_conversation_that_ends_with_an_answer(workshop: Workshop) -> None:
    workshop.says(reply("Let me look.", call("Read", about="a.py")), reply("It is fine.", expect=["saw a.py"]))
    job, records = await workshop.do(prompt="Is a.py fine?")
    assert job.state is JobState.COMPLETED
    assert job.finished is not None
    assert (job.finished["result"], job.finished["turns"]) == ("It is fine.", 2)
    assert results(records) == ["saw a.py"]


async def test_every_record_is_in_the_log_with_its_position(workshop: Workshop) -> None:
    workshop.says("Hello.")
    _, records = await workshop.do()
    assert [record.pos for record in records] == list(range(1, len(records) + 1))
    assert types(records) == [
        "session.created", "job.created", "message", "job.started", "text.delta", "message", "usage", "notice",
        "job.finished",
    ]  # fmt: skip


async def test_the_pieces_of_a_reply_add_up_to_its_message(workshop: Workshop) -> None:
    workshop.says("word " * 1000)
    _, records = await workshop.do()
    deltas = only(records, "text.delta")
    assert "".join(data["text"] for data in deltas) == "word " * 1000
    assert len(deltas) < 10


async def test_a_pause_of_the_model_does_not_hold_back_what_it_said(workshop: Workshop) -> None:
    workshop.says(reply("first", Hang()))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "text.delta" in types(list(accepted.session.view.records())))


async def test_a_session_remembers_its_earlier_jobs(workshop: Workshop) -> None:
    workshop.says("One.", reply("Two.", expect=["second question"]))
    async with workshop.open() as engine:
        for prompt in ("first question", "second question"):
            accepted = await engine.accept(spec(prompt))
            await ended(accepted.session, accepted.job)
    texts = [message.text for message in workshop.model.requests[-1].messages]
    assert texts == ["first question", "One.", "second question"]


async def test_between_two_calls_of_the_model_the_request_only_grows_at_its_end(workshop: Workshop) -> None:
    workshop.says(reply(call("Read", about="a")), reply(call("Read", about="b")), "Done.")
    await workshop.do()
    requests = workshop.model.requests
    for earlier, later in itertools.pairwise(requests):
        assert later.messages[: len(earlier.messages)] == earlier.messages
        assert (later.system, later.tools) == (earlier.system, earlier.tools)


# --- Tool calls ---------------------------------------------------------------------------------------------------


async def test_reads_run_beside_each_other_and_are_answered_in_the_order_of_the_calls(workshop: Workshop) -> None:
    workshop.says(reply(*(call("Read", about=name) for name in "abc")), "Done.")
    await workshop.do()
    answers = workshop.model.requests[-1].messages[-1].content
    assert [block.content[0].text for block in answers] == ["saw a", "saw b", "saw c"]  # type: ignore[union-attr]


async def test_a_failing_tool_is_told_to_the_model_and_the_job_goes_on(workshop: Workshop) -> None:
    workshop.says(reply(call("Glob")), reply("I see.", expect=["that did not work"]))
    job, records = await workshop.do()
    assert job.state is JobState.COMPLETED
    assert only(records, "tool.finished")[0]["ok"] is False


async def test_the_whole_output_of_a_call_is_kept_where_only_a_part_of_it_is_shown(workshop: Workshop) -> None:
    full = "a line of output\n" * 10_000

    async def print_much(call_input: Mapping[str, Any], context: ToolContext) -> str:
        await trio.lowlevel.checkpoint()
        path = workshop.workspace / "output"
        path.write_text(full)
        return context.keep(path)

    workshop.tools = (FakeTool("Bash", ToolClass.EXEC, print_much),)
    workshop.symbols = Symbols(workshop.workspace, workshop.home.root / "symbols")
    workshop.says(reply(call("Bash")), "done")

    job, records = await workshop.do()
    (artifact,) = only(records, "artifact")
    assert (job.state, artifact["size"]) == (JobState.COMPLETED, len(full))
    assert Path(results(records)[0]).read_text() == full  # noqa: ASYNC240


async def test_a_tool_that_is_not_there_is_refused_with_what_there_is(workshop: Workshop) -> None:
    workshop.says(reply(call("Teleport")), reply("I see.", expect=["There is no tool Teleport here", "Read"]))
    job, records = await workshop.do()
    assert job.state is JobState.COMPLETED
    assert "tool.started" not in types(records)


async def test_arguments_that_are_no_json_are_told_to_the_model(workshop: Workshop) -> None:
    workshop.says(reply(raw_call("Read", '{"about": "a')), reply("I see.", expect=["is not a JSON object"]))
    job, _ = await workshop.do()
    assert job.state is JobState.COMPLETED


async def test_a_question_is_answered_with_tools_that_only_read(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), reply("No.", expect=["There is no tool Write"]))
    await workshop.do(mode=Mode.ASK)
    assert [tool.name for tool in workshop.model.requests[0].tools] == ["Read", "Glob", "Grep", "LS", "NotebookRead"]


async def test_a_policy_narrows_what_is_on_offer(workshop: Workshop) -> None:
    workshop.says("Done.")
    policy = ToolPolicy(allowed=("Read", "Bash"), disallowed=("Bash",), permission_mode=PermissionMode.BYPASS)
    await workshop.do(tools=policy)
    assert [tool.name for tool in workshop.model.requests[0].tools] == ["Read"]


# --- Permissions --------------------------------------------------------------------------------------------------


async def test_an_ask_waits_for_an_answer_and_the_call_runs_if_it_is_allowed(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(tools=ASKING))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        [ask] = accepted.session.state.open_asks()
        await engine.settle(ask.id, Settlement("allow", "", "client"))
        await ended(accepted.session, accepted.job)
    assert results(list(accepted.session.view.records())) == ["saw a"]


async def test_a_denied_call_is_not_run_and_the_model_learns_why(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), reply("I see.", expect=["permission was refused (not today)"]))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(tools=ASKING))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        [ask] = accepted.session.state.open_asks()
        await engine.settle(ask.id, Settlement("deny", "not today", "client"))
        with pytest.raises(AskSettled):
            await engine.settle(ask.id, Settlement("allow", "", "client"))
        await ended(accepted.session, accepted.job)
    assert accepted.job.state is JobState.COMPLETED
    assert "tool.started" not in types(list(accepted.session.view.records()))


async def test_always_is_asked_once_in_a_session(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), reply(call("Write", about="b")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(tools=ASKING))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        await engine.settle(accepted.session.state.open_asks()[0].id, Settlement("always", "", "client"))
        await ended(accepted.session, accepted.job)
    assert types(list(accepted.session.view.records())).count("ask.opened") == 1


async def test_where_nobody_is_there_an_ask_is_refused_at_once_with_the_flag_that_would_allow_it(
    workshop: Workshop,
) -> None:
    workshop.says(reply(call("Bash", about="ls")), reply("I see.", expect=["--permission-mode bypassPermissions"]))
    job, records = await workshop.do(tools=ALONE)
    assert job.state is JobState.COMPLETED
    assert only(records, "ask.settled")[0]["by"] == "timeout"


async def test_an_open_ask_outlives_the_engine_and_its_call_runs_when_it_is_settled(workshop: Workshop) -> None:
    policy = ToolPolicy(permission_mode=PermissionMode.DEFAULT, ask_seconds=None)
    workshop.says(reply(call("Read", about="a"), call("Write", about="b")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(tools=policy))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        kept = (accepted.session.dir.log_path.read_bytes(), accepted.job.id)
    accepted.session.dir.log_path.write_bytes(kept[0])  # as kill -9 would have left it
    workshop.says(reply("Done.", expect=["saw a", "saw b"]))
    async with workshop.open() as engine:
        session, job = engine.find_job(kept[1])
        assert job.state.name == "WAITING"
        await engine.settle(session.state.open_asks()[0].id, Settlement("allow", "", "client"))
        await ended(session, job)
    assert job.state is JobState.COMPLETED
    assert results(list(session.view.records())) == ["saw a", "saw b"]


async def test_a_job_that_waits_for_an_ask_stays_when_its_executor_is_ended(workshop: Workshop) -> None:
    policy = ToolPolicy(permission_mode=PermissionMode.DEFAULT, ask_seconds=None)
    workshop.says(reply(call("Write", about="b")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(tools=policy))
        await until(accepted.session, lambda: accepted.job.state is JobState.WAITING)
        await engine.close(interrupt=True)
        assert types(list(accepted.session.view.records()))[-1] == "ask.opened"
    workshop.says(reply("Done.", expect=["saw b"]))
    async with workshop.open() as engine:
        session, job = engine.find_job(accepted.job.id)
        await engine.settle(session.state.open_asks()[0].id, Settlement("allow", "", "client"))
        await ended(session, job)
    assert job.state is JobState.COMPLETED


async def test_a_job_at_work_is_interrupted_when_its_executor_is_ended(workshop: Workshop) -> None:
    workshop.says(reply(call("LS")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "tool.started" in types(list(accepted.session.view.records())))
        await engine.close(interrupt=True)
    assert accepted.job.state is JobState.INTERRUPTED


# --- Ends ---------------------------------------------------------------------------------------------------------


async def test_a_cancelled_job_ends_at_once_and_its_open_call_is_closed(workshop: Workshop) -> None:
    workshop.says(reply(call("Sleep")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "tool.output" in types(list(accepted.session.view.records())))
        assert engine.cancel(accepted.job.id) is True
        await ended(accepted.session, accepted.job)
        assert engine.cancel(accepted.job.id) is False
        assert accepted.job.state is JobState.CANCELLED
        assert accepted.session.state.history.unanswered == ()


@pytest.mark.parametrize(("interrupt", "state"), [(True, JobState.INTERRUPTED), (False, JobState.CANCELLED)])
async def test_a_job_that_is_at_work_when_its_engine_closes_ends_as_that_wants(
    workshop: Workshop, interrupt: bool, state: JobState
) -> None:
    workshop.says(reply(call("Sleep")))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "tool.output" in types(list(accepted.session.view.records())))
        await engine.close(interrupt=interrupt)
        assert accepted.job.state is state


async def test_a_limit_of_turns_lets_the_last_calls_run_and_then_stops(workshop: Workshop) -> None:
    workshop.says(reply(call("Read", about="a")), "never asked for")
    job, records = await workshop.do(limits=Limits(turns=1))
    assert (job.state, results(records)) == (JobState.COMPLETED, ["saw a"])
    assert only(records, "job.finished")[0]["stop_reason"] == "max_turns_reached"
    assert workshop.model.left == 1


async def test_a_limit_of_time_ends_a_job_that_hangs(workshop: Workshop, autojump_clock: trio.abc.Clock) -> None:
    workshop.says(reply(call("Sleep")))
    job, records = await workshop.do(limits=Limits(seconds=5))
    assert job.state is JobState.FAILED
    assert only(records, "job.finished")[0]["error"]["code"] == "TIME_LIMIT"


async def test_a_model_that_repeats_itself_is_stopped(workshop: Workshop) -> None:
    workshop.says(*[reply(call("Read", about="a"))] * 9)
    job, records = await workshop.do()
    assert job.state is JobState.FAILED
    assert only(records, "job.finished")[0]["stop_reason"] == "loop"
    assert workshop.model.left == 4


async def test_a_service_that_fails_midway_fails_the_job_and_keeps_what_was_said(workshop: Workshop) -> None:
    workshop.says(reply("half a", Fail("the line was cut")))
    job, records = await workshop.do()
    assert job.state is JobState.FAILED
    assert only(records, "job.finished")[0]["stop_reason"] == "llm_error"
    assert only(records, "text.delta")[0]["text"] == "half a"


async def test_of_a_long_reply_that_breaks_off_the_conversation_keeps_the_beginning(workshop: Workshop) -> None:
    workshop.says(reply("a" * KEPT_CHARS, "b" * 5000, Fail("the line was cut")), "Go on.")
    await workshop.do()
    await workshop.do(prompt="and now?")
    [_, kept, _] = workshop.model.requests[-1].messages
    assert kept.text == "a" * KEPT_CHARS + "\n[5000 more characters came, and are left out]"


async def test_a_reply_that_holds_nothing_is_a_failure(workshop: Workshop) -> None:
    workshop.says(reply())
    job, records = await workshop.do()
    assert (job.state, only(records, "job.finished")[0]["error"]["code"]) == (JobState.FAILED, "EMPTY_REPLY")


async def test_an_unknown_model_fails_the_job_before_anything_is_done(workshop: Workshop) -> None:
    from agentd.domain import Models

    job, records = await workshop.do(models=Models(code="gpt-9"))
    assert job.state is JobState.FAILED
    message = only(records, "job.finished")[0]["error"]["message"]
    assert "MODEL_UNAVAILABLE: gpt-9" in message
    assert "--model-alias gpt-9=builtin" in message
    assert "job.started" not in types(records)


async def test_a_bug_in_a_job_ends_the_job_and_not_the_engine(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    workshop.says("Fine.")
    async with workshop.open() as engine:
        with monkeypatch.context() as patch:
            patch.setattr(engine.bench.registry, "resolve", lambda *_: 1 / 0)
            accepted = await engine.accept(spec())
            await ended(accepted.session, accepted.job)
        assert accepted.job.finished is not None
        assert accepted.job.finished["error"]["code"] == "INTERNAL_ERROR"
        accepted = await engine.accept(spec())
        await ended(accepted.session, accepted.job)
        assert accepted.job.state is JobState.COMPLETED


async def test_usage_is_counted_over_the_turns(workshop: Workshop) -> None:
    workshop.says(reply(call("Read"), usage=Usage(10, 2, 0)), reply("Done.", usage=Usage(20, 3, 10)))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await ended(accepted.session, accepted.job)
        assert accepted.session.state.usage == Usage(30, 5, 10)


async def test_a_read_only_engine_answers_and_refuses_to_write(workshop: Workshop) -> None:
    workshop.read_only = True
    workshop.says("Fine.")
    job, records = await workshop.do(mode=Mode.CODE)
    assert (job.state, only(records, "notice")[0]["code"]) == (JobState.FAILED, "READ_ONLY")
    job, _ = await workshop.do(mode=Mode.ASK)
    assert job.state is JobState.COMPLETED


# --- One at a time, once each -------------------------------------------------------------------------------------


async def test_a_second_job_is_refused_while_one_runs_and_leaves_no_trace(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(), key="a", payload="x")
        with pytest.raises(JobInProgress):
            await engine.accept(spec(), key="b", payload="y")
        assert list(accepted.session.state.jobs) == [accepted.job.id]


async def test_a_key_makes_one_job_and_replays_it_even_while_it_runs(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with workshop.open() as engine:
        first = await engine.accept(spec(), key="a", payload="x")
        again = await engine.accept(spec(), key="a", payload="x")
        assert (again.new, again.job.id) == (False, first.job.id)
        with pytest.raises(IdempotencyKeyReused):
            await engine.accept(spec(), key="a", payload="other")


async def test_two_requests_at_once_with_one_key_make_one_job(workshop: Workshop) -> None:
    workshop.says(reply(Delay(0.05), "Done."))
    answers = []

    async def submit() -> None:
        answers.append(await engine.accept(spec(), key="a", payload="x"))

    async with workshop.open() as engine, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(submit)
    assert sorted(answer.new for answer in answers) == [False] * 4 + [True]
    assert len({answer.job.id for answer in answers}) == 1


async def test_a_key_is_remembered_across_restarts(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with workshop.open() as engine:
        first = await engine.accept(spec(), key="a", payload="x")
        await ended(first.session, first.job)
    async with workshop.open() as engine:
        again = await engine.accept(spec(), key="a", payload="x")
        assert (again.new, again.job.id, again.job.state) == (False, first.job.id, JobState.COMPLETED)


async def test_an_unknown_session_is_refused_and_the_key_stays_free(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with workshop.open() as engine:
        with pytest.raises(InvalidRequest, match="Unknown Session-Id"):
            await engine.accept(spec(), key="a", payload="x", session_id="nope")
        assert (await engine.accept(spec(), key="a", payload="x")).new


async def test_a_job_that_was_at_work_when_the_engine_was_killed_is_interrupted(workshop: Workshop) -> None:
    workshop.says(reply("working", Hang()))
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await until(accepted.session, lambda: "text.delta" in types(list(accepted.session.view.records())))
        log = accepted.session.dir.log_path
        kept = log.read_bytes()
    log.write_bytes(kept)
    async with workshop.open() as engine:
        _, job = engine.find_job(accepted.job.id)
        assert job.state is JobState.INTERRUPTED


async def test_a_job_that_was_accepted_when_the_engine_was_killed_is_run(workshop: Workshop) -> None:
    workshop.says("never said")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec())
        await ended(accepted.session, accepted.job)
        log = accepted.session.dir.log_path
        lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(line for line in lines[: accepted.job.first + 1]))
    workshop.says("Done.")
    async with workshop.open() as engine:
        session, job = engine.find_job(accepted.job.id)
        await ended(session, job)
        assert job.state is JobState.COMPLETED
