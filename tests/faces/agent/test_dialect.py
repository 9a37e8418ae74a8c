"""Records of real runs as events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agentd.domain import Record
from agentd.faces.agent.dialect import Dialect, Event, refused
from tests.agentapi import check_run
from tests.agentlogs import LOGS, jobs_of, made
from tests.workshop import Workshop


def fold(records: list[Record], job: str | None = None, *, partials: bool | None = None) -> list[Event]:
    dialect = Dialect("s", job or jobs_of(records)[0], partials)
    return [event for record in records for event in dialect.apply(record)]


def told(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, event.data) for event in events]


def names(events: list[Event]) -> list[str]:
    return [event.name if event.name != "message" else event.data["role"] for event in events]


def messages(events: list[Event], role: str) -> list[dict[str, Any]]:
    return [event.data for event in events if event.name == "message" and event.data["role"] == role]


def result(events: list[Event]) -> dict[str, Any]:
    [data] = [event.data for event in events if event.name == "result"]
    return data


@pytest.mark.parametrize("partials", [True, False])
@pytest.mark.parametrize("name", LOGS)
async def test_every_run_follows_the_grammar(workshop: Workshop, name: str, partials: bool) -> None:
    _, records = await made(workshop, name)
    for job in jobs_of(records):
        check_run(told(fold(records, job, partials=partials)), partials=partials)


@pytest.mark.parametrize("name", LOGS)
async def test_without_partials_everything_else_is_the_same(workshop: Workshop, name: str) -> None:
    _, records = await made(workshop, name)
    everything = told(fold(records, partials=True))
    assert told(fold(records, partials=False)) == [each for each in everything if each[0] != "partial"]


async def test_an_answer(workshop: Workshop) -> None:
    _, records = await made(workshop, "answer")
    events = fold(records)
    assert names(events) == ["init", "partial", "partial", "partial", "assistant", "result", "done"]
    assert events[0].data["model"] == "sonnet"
    [message] = messages(events, "assistant")
    assert [block["text"] for block in message["content"]] == ["Hello, world."]
    assert (message["model"], message["parent_tool_use_id"]) == ("sonnet", None)
    counted = {"input_tokens": 100, "output_tokens": 40}
    counted |= {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100}
    assert message["usage"] == result(events)["usage"] == counted
    assert result(events)["model_usage"] == {"sonnet": counted}
    assert (result(events)["result"], result(events)["total_cost_usd"]) == ("Hello, world.", 0.0)
    assert events[-1].data == {"reason": "completed"}


async def test_the_prompt_is_told_where_files_can_be_rewound_to_it(workshop: Workshop) -> None:
    _, records = await made(workshop, "without_partials")
    [prompt, results] = messages(fold(records), "user")
    [said] = [record.data for record in records if record.type == "message" and record.data["role"] == "user"]
    assert (prompt["uuid"], prompt["content"][0]["text"]) == (said["id"], "do it")
    assert [block["type"] for block in results["content"]] == ["tool_result"]


async def test_results_are_one_message_in_the_order_of_the_calls(workshop: Workshop) -> None:
    _, records = await made(workshop, "tools")
    first = messages(fold(records), "user")[1]
    assert [(block["content"], block["is_error"]) for block in first["content"]] == [
        ("saw a", False),
        ("that did not work", True),
        (f"saw {'b' * 999}", False),
    ]


async def test_a_question_names_the_call_and_what_can_be_answered(workshop: Workshop) -> None:
    _, records = await made(workshop, "asks")
    first = next(event.data for event in fold(records) if event.name == "question")
    opened = next(record.data for record in records if record.type == "ask.opened")
    assert first == {
        "tool_use_id": opened["call"],
        "question": "Allow Write: a?",
        "session_id": "s",
        "question_id": opened["id"],
        "kind": "permission",
        "options": ["allow", "deny", "always"],
        "questions": None,
        "tool_name": "Write",
        "tool_input": {"about": "a"},
        "parent_tool_use_id": None,
    }


async def test_questions_and_plans_are_told_as_what_they_are(workshop: Workshop) -> None:
    _, records = await made(workshop, "asks_questions")
    question, plan = [event.data for event in fold(records) if event.name == "question"]
    assert (question["kind"], question["question"], question["options"]) == (
        "question",
        "Which?",
        ["SQLite", "Postgres"],
    )
    assert (question["tool_name"], question["questions"][0]["header"]) == (None, "Database")
    assert (plan["kind"], plan["tool_name"], plan["tool_input"]) == ("plan", "ExitPlanMode", {"plan": "1. Write"})


async def test_an_answer_that_had_to_be_json_is_there_as_such(workshop: Workshop) -> None:
    _, records = await made(workshop, "answers_in_json")
    events = fold(records)
    assert names(events)[0] == "init"
    assert (result(events)["structured_output"], result(events)["num_turns"]) == ({"a": 1}, 2)


async def test_an_answer_that_is_not_the_json_it_had_to_be_is_an_error(workshop: Workshop) -> None:
    _, records = await made(workshop, "answers_in_no_json")
    [error] = [event.data for event in fold(records) if event.name == "error"]
    assert error["code"] == "STRUCTURED_OUTPUT_VALIDATION_ERROR"
    assert set(error["details"]) == {"validation_errors", "schema_type"}


async def test_what_a_subagent_says_names_the_call_that_it_works_for(workshop: Workshop) -> None:
    _, records = await made(workshop, "subagents")
    events = fold(records)
    calls = [block["id"] for block in messages(events, "assistant")[0]["content"]]
    assert {data["parent_tool_use_id"] for data in messages(events, "assistant")} == {None, *calls}
    assert result(events)["num_turns"] == 2


async def test_a_run_that_never_started_says_how_it_was_asked_for(workshop: Workshop) -> None:
    _, records = await made(workshop, "no_such_model")
    events = fold(records)
    assert names(events) == ["init", "user", "error", "result", "done"]
    assert (events[0].data["model"], events[0].data["tools"], events[0].data["resolved_model"]) == ("sonnet", [], None)
    assert events[2].data["code"] == "MODEL_UNAVAILABLE"
    assert [event.ident for event in events] == ["4-1", "4-2", "4-3", "4-4", "4"]


@pytest.mark.parametrize("name", ["cancelled_in_a_tool", "cancelled_while_the_model_speaks"])
async def test_a_run_that_was_stopped_is_interrupted_and_no_error(workshop: Workshop, name: str) -> None:
    _, records = await made(workshop, name)
    events = fold(records)
    assert (result(events)["stop_reason"], result(events)["is_error"]) == ("interrupted", False)
    assert events[-1].data == {"reason": "interrupted"}


async def test_a_call_that_was_stopped_has_a_result_that_says_so(workshop: Workshop) -> None:
    _, records = await made(workshop, "cancelled_in_a_tool")
    [results] = messages(fold(records), "user")
    assert [block["is_error"] for block in results["content"]] == [False, True]
    assert results["content"][1]["content"].startswith("[interrupted")


async def test_a_run_that_its_executor_left_is_an_error(workshop: Workshop) -> None:
    _, records = await made(workshop, "interrupted")
    events = fold(records)
    assert [event.data["code"] for event in events if event.name == "error"] == ["AGENT_ERROR"]
    assert events[-1].data == {"reason": "error"}


async def test_a_run_that_is_out_of_turns_is_no_error_and_not_complete(workshop: Workshop) -> None:
    _, records = await made(workshop, "out_of_turns")
    told_of_it = result(fold(records))
    assert (told_of_it["stop_reason"], told_of_it["is_complete"], told_of_it["is_error"]) == (
        "max_turns_reached",
        False,
        False,
    )


async def test_what_a_notice_says_is_a_system_message(workshop: Workshop) -> None:
    _, records = await made(workshop, "summed_up")
    [message] = messages(fold(records), "system")
    assert message["content"][0]["text"].startswith("the conversation was summed up")


async def test_each_run_of_a_session_has_events_of_its_own(workshop: Workshop) -> None:
    _, records = await made(workshop, "two_runs")
    first, second = (fold(records, job) for job in jobs_of(records))
    assert (first[0].data["model"], result(first)["result"]) == ("sonnet", "Still one.")
    assert (second[0].data["model"], result(second)["result"]) == ("opus", "Two.")
    assert (result(first)["num_turns"], result(second)["num_turns"]) == (2, 1)


@pytest.mark.parametrize("name", LOGS)
async def test_a_copy_goes_on_by_itself(workshop: Workshop, name: str) -> None:
    _, records = await made(workshop, name)
    for cut in range(len(records)):
        dialect = Dialect("s", jobs_of(records)[0])
        for record in records[:cut]:
            dialect.apply(record)
        other = dialect.copy()
        rest = [dialect.apply(record) for record in records[cut:]]
        assert [other.apply(record) for record in records[cut:]] == rest


# --- Single records -----------------------------------------------------------------------------------------------


def run_of(*entries: Any, started: Mapping[str, Any] | None = None, **spec: Any) -> list[Event]:
    """A job that says this between its beginning and its end: records' types and data, and whose they are if they are
    a subagent's. *started*: more that its beginning says."""
    begins = {"model": "m", "resolved_model": "m-1", "provider": "p", "tools": ["Read"], "mcp_servers": []}
    begins |= {"permission_mode": "plan", "cwd": "/here", **(started or {})}
    ended = {"outcome": "completed", "stop_reason": "completed", "error": None, "result": "R", "cost": None}
    all_of_them: tuple[Any, ...] = (
        ("job.created", {"spec": spec}),
        ("job.started", begins),
        *entries,
        ("job.finished", ended | {"duration_ms": 5, "structured": {"a": 1}}),
    )
    events = fold([Record(pos, pos, "j", *each) for pos, each in enumerate(all_of_them, 1)], "j")
    check_run(told(events))
    return events


def delta(message: str, index: int, kind: str = "text", text: str = "x", **more: Any) -> tuple[str, dict[str, Any]]:
    return f"{kind}.delta", {"message": message, "block": index, "text": text, **more}


def said(message: str, *content: dict[str, Any], model: str = "m-1", broke_off: bool = False) -> Any:
    used = None if broke_off else {"input_tokens": 1, "output_tokens": 1, "cached_tokens": 0}
    return "message", {"id": message, "role": "assistant", "content": list(content), "model": model, "usage": used}


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def use(call: str, **call_input: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": call, "name": "Read", "input": call_input}


def finished(call: str, **more: Any) -> tuple[str, dict[str, Any]]:
    return "tool.finished", {"call": call, "ok": True, "content": [text("R")], **more}


def partials(events: list[Event]) -> list[tuple[str, int]]:
    return [(e.data["type"].removeprefix("content_block_"), e.data["index"]) for e in events if e.name == "partial"]


def test_calls_may_grow_side_by_side() -> None:
    calls = [use("a", x=1), use("b", y=2)]
    pieces = [("a", 1, '{"x"'), ("b", 2, '{"y": 2'), ("a", 1, ": 1}"), ("b", 2, "}")]
    growing = [delta("M", index, "input", piece, call=call, name="Read") for call, index, piece in pieces]
    events = run_of(
        delta("M", 0), *growing, said("M", text("x"), *calls), finished("a"), finished("b"), face={"partials": True}
    )
    assert partials(events) == [
        *(("start", 0), ("delta", 0), ("stop", 0), ("start", 1), ("delta", 1), ("start", 2), ("delta", 2)),
        *(("delta", 1), ("delta", 2), ("stop", 1), ("stop", 2)),
    ]


def test_a_block_that_was_not_streamed_has_one_delta() -> None:
    events = run_of(
        said("M", text("whole"), use("a", x=1), use("b")), finished("b"), finished("a"), face={"partials": 1}
    )
    assert partials(events) == [
        *(("start", 0), ("delta", 0), ("stop", 0), ("start", 1), ("delta", 1), ("stop", 1), ("start", 2), ("stop", 2)),
    ]


def test_a_reply_after_one_that_broke_off_begins_anew() -> None:
    events = run_of(
        *(delta("M", 0, "thinking"), delta("M", 1, text="lost"), delta("N", 0, text="found"), said("N", text("found"))),
        face={"partials": True},
    )
    assert partials(events)[:5] == [("start", 0), ("delta", 0), ("stop", 0), ("start", 1), ("delta", 1)]
    assert partials(events)[5:] == [("stop", 1), ("start", 0), ("delta", 0), ("stop", 0)]


def test_a_model_that_took_over_is_named() -> None:
    events = run_of(said("M", text("a")), said("N", text("b"), model="other-1"), face={"model": "opus"})
    assert [data["model"] for data in messages(events, "assistant")] == ["opus", "other-1"]


def test_pictures_in_results_are_parts_of_a_list() -> None:
    picture = {"type": "image", "media_type": "image/png", "data": "", "sha256": "0a"}
    events = run_of(said("M", use("a")), finished("a", content=[text("a"), picture]))
    [results] = messages(events, "user")
    assert results["content"][0]["content"] == [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {"type": "blob", "media_type": "image/png", "sha256": "0a"}},
    ]


def test_what_comes_before_init_waits_for_it() -> None:
    notice = ("notice", {"level": "info", "code": "X", "text": "early"})
    records = [Record(1, 0, "j", "job.created", {"spec": {"face": {}}}), Record(2, 0, "j", *notice)]
    end = {"outcome": "failed", "stop_reason": "error", "error": {"code": "LOOP", "message": "m"}, "result": None}
    records.append(Record(3, 0, "j", "job.finished", {**end, "cost": None, "duration_ms": 1}))
    events = fold(records, "j")
    assert names(events) == ["init", "system", "error", "result", "done"]
    assert events[2].data == {"code": "AGENT_ERROR", "message": "m", "details": {"cause": "LOOP"}}


def test_that_there_is_no_price_is_told_where_there_is_a_budget() -> None:
    notice = ("notice", {"level": "info", "code": "NO_PRICE", "text": "no price"})
    assert messages(run_of(notice), "system") == []
    assert len(messages(run_of(notice, limits={"usd": 1.0}), "system")) == 1


def test_init_says_what_the_run_has() -> None:
    server = {"name": "db", "type": "http", "status": "failed", "error": "refused", "tool_count": 0}
    command = {"name": "review", "path": ".claude/commands/review.md", "source": "project", "description": "d"}
    has = {"mcp_servers": [server], "commands": [command], "agents": ["a"], "skills": ["s"], "plugins": ["p"]}
    has |= {"plugin_errors": [{"name": "q", "error": "no such directory"}]}
    spec = {"servers": {"db": {"transport": "http"}}, "plugins": [{"name": "q"}, {"name": "r", "enabled": False}]}
    init = run_of(**spec, started=has)[0].data
    assert {name: init[name] for name in has} == has | {"plugins": ["p", "q"]}
    assert (init["permission_mode"], init["cwd"]) == ("plan", "/here")
    assert "sandbox" not in init


def test_a_run_that_never_began_had_no_server() -> None:
    spec = {"servers": {"db": {"transport": "sse"}}, "plugins": [{"name": "p"}], "sandbox": {"enabled": True}}
    init = refused("gone", "SESSION_NOT_FOUND", "Session gone not found", spec)[0].data
    [server] = init["mcp_servers"]
    assert (server["name"], server["type"], server["status"], server["tool_count"]) == ("db", "sse", "failed", 0)
    assert (init["plugins"], init["plugin_errors"]) == (["p"], [])
    assert init["sandbox"] == {"active": False, "bash": "unavailable"}


@pytest.mark.parametrize(
    ("level", "told_of"),
    [
        ("bwrap", {"active": True, "bash": "bwrap"}),
        ("landlock", {"active": True, "bash": "landlock"}),
        ("none", {"active": True, "bash": "unavailable"}),
    ],
)
@pytest.mark.parametrize("spec", [{"sandbox": {"enabled": True}}, {}], ids=["asked for", "of the site"])
def test_init_says_what_commands_are_kept_in(level: str, told_of: dict[str, Any], spec: dict[str, Any]) -> None:
    assert run_of(**spec, started={"sandbox": level})[0].data["sandbox"] == told_of


def test_a_sandbox_that_a_query_does_not_want_is_not_spoken_of() -> None:
    assert "sandbox" not in run_of(sandbox={"enabled": False}, started={"sandbox": "off"})[0].data


def permission(call: str, **more: Any) -> dict[str, Any]:
    options = ["allow", "deny", "always"]
    return {"id": f"ask-{call}", "kind": "permission", "call": call, "tool": "Bash", "input": {}, **more} | {
        "question": "Allow Bash?",
        "options": options,
    }


def used(**more: int) -> dict[str, int]:
    return {"input_tokens": 10, "output_tokens": 1, "cached_tokens": 0, **more}


def test_what_a_subagent_uses_counts_and_its_turns_do_not() -> None:
    events = run_of(
        said("M", use("task")),
        ("usage", used() | {"model": "m-1"}),
        ("message", {"id": "P", "role": "user", "content": [text("Look.")], "model": "", "usage": None}, "task"),
        (*said("N", use("inner")), "task"),
        ("usage", used() | {"model": "m-1"}, "task"),
        ("ask.opened", permission("inner"), "task"),
        (*finished("inner"), "task"),
        (*said("O", text("Seen."), model="small-1"), "task"),
        ("usage", used(input_tokens=7) | {"model": "small-1"}, "task"),
        finished("task"),
        said("Q", text("Done.")),
        ("usage", used() | {"model": "m-1"}),
    )
    parents = [event.data["parent_tool_use_id"] for event in events if event.name in ("message", "question")]
    assert parents == [None, "task", "task", "task", "task", "task", None, None]
    ended = result(events)
    assert (ended["num_turns"], ended["result"]) == (2, "R")
    assert ended["usage"]["input_tokens"] == 37
    assert {name: counted["input_tokens"] for name, counted in ended["model_usage"].items()} == {
        "sonnet": 30,
        "small-1": 7,
    }


@pytest.mark.parametrize("parent", [None, "task"])
def test_what_a_server_asks_names_the_call_that_it_works_for(parent: str | None) -> None:
    asked = permission("inner:1") | {"kind": "question", "tool": "mcp__db", "input": {"message": "Which?"}}
    outer = (said("M", use("task")),) if parent else ()
    records = [(*said("N", use("inner")), parent), ("ask.opened", asked, "inner"), (*finished("inner"), parent)]
    events = run_of(*outer, *records, *([finished("task")] if parent else []))
    [question] = [event.data for event in events if event.name == "question"]
    assert (question["tool_use_id"], question["parent_tool_use_id"]) == ("inner", parent)
    assert (question["kind"], question["tool_name"]) == ("question", "mcp__db")


def test_a_server_may_ask_while_it_works_for_no_call() -> None:
    asked = permission("mcp:1") | {"kind": "question", "tool": "mcp__db"}
    [question] = [event.data for event in run_of(("ask.opened", asked, "mcp")) if event.name == "question"]
    assert (question["tool_use_id"], question["parent_tool_use_id"]) == (None, None)


def test_a_question_before_init_waits_for_it() -> None:
    asked = permission("mcp:1") | {"kind": "question", "tool": "mcp__db"}
    records = [Record(1, 0, "j", "job.created", {"spec": {}}), Record(2, 0, "j", "ask.opened", asked)]
    started = {"resolved_model": "m", "tools": [], "mcp_servers": [], "permission_mode": "default"}
    assert fold(records, "j") == []
    assert names(fold([*records, Record(3, 0, "j", "job.started", started)], "j")) == ["init", "question"]


def test_a_question_that_the_model_asks_has_the_labels_of_its_options() -> None:
    asked: dict[str, Any] = {"id": "q", "kind": "question", "call": "a", "tool": "AskUserQuestion", "input": {}}
    asked |= {
        "question": "Which?",
        "options": [{"label": "A", "description": ""}],
        "questions": [{"question": "Which?"}],
    }
    events = run_of(said("M", use("a")), ("ask.opened", asked), finished("a"))
    [question] = [event.data for event in events if event.name == "question"]
    assert (question["options"], question["tool_name"], question["tool_input"]) == (["A"], None, None)
    assert question["questions"] == [{"question": "Which?"}]


def test_what_the_result_says_as_json_is_in_it() -> None:
    assert result(run_of())["structured_output"] == {"a": 1}


def test_a_run_without_a_session_has_an_end_too() -> None:
    events = refused("gone", "SESSION_NOT_FOUND", "Session gone not found", {"face": {"model": "haiku"}})
    check_run(told(events))
    assert events[0].data["session_id"] == "gone"
    assert {event.ident for event in events} == {"0"}
