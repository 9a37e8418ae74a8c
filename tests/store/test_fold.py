"""The fold: what a session is, by its records."""

from __future__ import annotations

import json
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Entry, JobState, Message, Record, Text, ToolResult, ToolUse, block_to_json
from agentd.store.fold import INTERRUPTED_CALL, SessionState, state_from_json, state_to_json

JOB = "job-1"


def fold(*entries: Entry) -> SessionState:
    state = SessionState()
    state.apply_all(Record(n, 1000 + n, e.job, e.type, e.data, e.parent) for n, e in enumerate(entries, 1))
    return state


def created(job: str = JOB) -> Entry:
    return Entry("job.created", {"spec": {"mode": "ask"}, "key": "k", "payload": "p", "dialect": 1}, job)


def said(role: str, *blocks: Any) -> Entry:
    content = [block_to_json(block) for block in blocks]
    return Entry("message", {"id": "m", "role": role, "content": content, "model": None, "usage": None}, JOB)


def answered(call: str, text: str = "done", ok: bool = True, name: str = "Read") -> Entry:
    content = [block_to_json(Text(text))]
    data = {
        "call": call,
        "name": name,
        "ok": ok,
        "summary": "",
        "duration_ms": 1,
        "content": content,
        "artifact": None,
    }
    return Entry("tool.finished", data, JOB)


def ended(outcome: str = "completed") -> Entry:
    data = {"outcome": outcome, "stop_reason": outcome, "error": None, "result": "r", "turns": 1, "cost": None}
    return Entry("job.finished", data | {"duration_ms": 1, "diff": None}, JOB)


CALLS = said("assistant", ToolUse("a", "Read", {}), ToolUse("b", "Read", {}))


def test_results_come_in_the_order_of_the_calls() -> None:
    state = fold(created(), said("user", Text("q")), CALLS, answered("b"), answered("a"))
    results = state.history.view()[-1].content
    assert [block.tool_use_id for block in results if isinstance(block, ToolResult)] == ["a", "b"]


def test_a_call_without_a_result_is_closed_as_interrupted_when_the_job_ends() -> None:
    state = fold(created(), CALLS, answered("a"), ended("interrupted"))
    assert state.history.messages[-1].content[1] == ToolResult("b", (Text(INTERRUPTED_CALL),), is_error=True)


def test_unanswered_calls_are_known_until_the_history_is_read() -> None:
    assert [call.id for call in fold(created(), CALLS, answered("a")).history.unanswered] == ["b"]


def test_an_ask_makes_its_job_wait_and_settling_it_lets_it_go_on() -> None:
    opened = Entry("ask.opened", {"id": "x", "call": "a", "tool": "Bash"}, JOB)
    settled = Entry("ask.settled", {"id": "x", "decision": "allow", "reason": "", "by": "client"}, JOB)
    assert fold(created(), opened).jobs[JOB].state is JobState.WAITING
    assert fold(created(), opened, settled).jobs[JOB].state is JobState.RUNNING


def test_the_end_of_a_job_settles_its_open_asks() -> None:
    state = fold(created(), Entry("ask.opened", {"id": "x", "call": "a", "tool": "Bash"}, JOB), ended("cancelled"))
    assert state.open_asks() == []


def test_a_job_costs_what_its_calls_cost_and_nothing_known_stays_none() -> None:
    def used(cost: float | None) -> Entry:
        return Entry("usage", {"input_tokens": 1, "output_tokens": 2, "cached_tokens": 0, "cost": cost}, JOB)

    assert fold(created(), used(None)).jobs[JOB].cost is None
    assert fold(created(), used(0.5), used(None), used(0.25)).jobs[JOB].cost == 0.75


def listed(*contents: str) -> list[dict[str, str]]:
    return [{"content": content, "status": "pending"} for content in contents]


def todo_call(call: str, *contents: str) -> ToolUse:
    return ToolUse(call, "TodoWrite", {"todos": listed(*contents)})


def test_the_list_of_what_is_to_be_done_is_that_of_the_last_call_that_wrote_one() -> None:
    first = (said("assistant", todo_call("a", "one")), answered("a", name="TodoWrite"))
    second = (said("assistant", todo_call("b", "one", "two")), answered("b", name="TodoWrite"))
    assert fold(created()).todos == []
    assert fold(created(), *first).todos == listed("one")
    assert fold(created(), *first, *second, said("assistant", Text("z")), ended()).todos == listed("one", "two")


def test_a_call_that_failed_or_never_ended_leaves_the_list_as_it_was() -> None:
    first = (created(), said("assistant", todo_call("a", "one")), answered("a", name="TodoWrite"))
    bad = said("assistant", todo_call("b", "bad"))
    assert fold(*first, bad, answered("b", ok=False, name="TodoWrite")).todos == listed("one")
    assert fold(*first, bad, ended("interrupted")).todos == listed("one")


def test_of_two_lists_in_one_message_the_second_counts_whichever_call_ends_last() -> None:
    calls = said("assistant", todo_call("a", "one"), todo_call("b", "two"))
    ends = [answered("a", name="TodoWrite"), answered("b", name="TodoWrite")]
    assert fold(created(), calls, *ends).todos == fold(created(), calls, *reversed(ends)).todos == listed("two")


def test_a_list_of_a_subagent_is_not_the_sessions() -> None:
    theirs = [
        attrs.evolve(e, parent="t") for e in (said("assistant", todo_call("a", "x")), answered("a", name="TodoWrite"))
    ]
    assert fold(created(), *theirs).todos == []


def test_the_fold_survives_being_kept_as_json() -> None:
    noted = (said("assistant", todo_call("t", "one")), answered("t", name="TodoWrite"))
    told = (said("user", Text("q")), CALLS, answered("a"), answered("b"), *noted, said("assistant", Text("z")))
    state = fold(created(), *told, ended())
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state


def test_records_of_a_job_whose_creation_is_lost_are_passed_over() -> None:
    state = fold(said("user", Text("q")), Entry("job.started", {}, JOB), answered("a"), ended())
    assert (state.jobs, state.pos) == ({}, 4)


ids = st.sampled_from("abcd")
events = st.lists(
    st.one_of(
        st.builds(said, st.just("user"), st.just(Text("q"))),
        st.lists(ids, max_size=3, unique=True).map(
            lambda names: said("assistant", Text("t"), *(ToolUse(name, "Read", {}) for name in names))
        ),
        ids.map(answered),
        st.just(ended("failed")),
    ),
    max_size=30,
)


def pairs(messages: tuple[Message, ...]) -> list[tuple[list[str], list[str]]]:
    """For each message with calls: the ids of its calls, and of the results in the message after it."""
    found = []
    for message, following in zip(messages, (*messages, Message("user", ()))[1:], strict=True):
        if message.calls:
            results = [block.tool_use_id for block in following.content if isinstance(block, ToolResult)]
            found.append(([call.id for call in message.calls], results))
    return found


@given(events)
def test_every_call_has_exactly_one_result_whatever_the_log_holds(entries: list[Entry]) -> None:
    messages = fold(created(), *entries).history.view()
    assert all(calls == results for calls, results in pairs(messages))
    results = sum(isinstance(block, ToolResult) for message in messages for block in message.content)
    assert results == sum(len(message.calls) for message in messages)


@given(events, events)
def test_a_history_only_grows_at_its_end(first: list[Entry], more: list[Entry]) -> None:
    state = fold(created(), *first)
    before = state.history.view()
    state.apply_all(Record(100 + n, 2000, e.job, e.type, e.data, e.parent) for n, e in enumerate(more))
    assert state.history.view()[: len(before)] == before
