"""The built-in model sums a conversation up, from its record alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Message, Text, ToolResult, ToolUse
from agentd.engine.compaction import HEADING, PROMPT
from agentd.providers.builtin.plan import LOST
from agentd.providers.builtin.provider import next_move
from agentd.providers.builtin.recap import MADE_BY, MAX_CHARS, SUMMED_UP, asks_recap, recap
from agentd.providers.protocol import ModelRequest, ToolSchema

if TYPE_CHECKING:
    from tests.providers.conftest import Tell, World

ASK = "Summarize the conversation so far, for yourself: it is about to be replaced by your summary."


def said(text: str) -> Message:
    return Message("user", (Text(text),))


def answered(text: str) -> Message:
    return Message("assistant", (Text(text),))


def call(name: str, result: str, *, ok: bool = True, **call_input: Any) -> list[Message]:
    """A call and its result."""
    call_id = f"{name}{sorted(map(str, call_input.items()))}"
    return [
        Message("assistant", (ToolUse(call_id, name, call_input),)),
        Message("user", (ToolResult(call_id, (Text(result),), is_error=not ok),)),
    ]


async def test_what_was_asked_done_run_and_answered_is_told(tell: Tell, world: type[World]) -> None:
    tools = world({"x.py": "def foo(): ...\n"}, {"make": "ok"})
    first = await tell("1. Replace 'foo' with 'bar' in x.py\n2. Run the command `make`\n3. Run `nope`", tools)
    second = await tell("Where is `bar` defined?", tools, history=first.messages)
    third = await tell(ASK, tools, history=second.messages)
    assert third.answer == (
        "What was asked, and what became of it:\n"
        "1. 1. Replace 'foo' with 'bar' in x.py 2. Run the command `make` 3. Run `nope`\n"
        "   2 of 3 items done. Item 3 failed: `nope` did not succeed\n"
        "2. Where is `bar` defined?\n"
        "   `bar` is defined in:\n"
        "   - x.py:1 `def bar(): ...`\n\n"
        "Files changed:\n- x.py\n\n"
        "Commands run:\n- `make` ran\n- `nope` failed: [exit code 127]\n\n"
        f"{MADE_BY}"
    )
    assert third.turns == 1


def test_tasks_and_todos_that_are_left_are_open() -> None:
    tasks = [{"title": title, "text": title} for title in ("One", "Two", "Three")]
    todos = [{"content": "Four", "status": "pending"}, {"content": "Five", "status": "completed"}]
    talk = [
        said("Do it all"),
        *call("TaskList", "The list has 3 tasks.", tasks=tasks),
        answered("The plan has 3 tasks."),
        Message("user", (Text("Task 1 of 3"), Text("One"))),
        answered("done"),
        Message("user", (Text("Task 2 of 3"), Text("Two"))),
        *call("TodoWrite", "The list is kept", todos=todos),
    ]
    assert "Still open:\n- Two\n- Three\n- Four\n\n" in recap(talk)


def test_what_the_code_model_was_told_is_in_it() -> None:
    talk = [
        said("x"),
        *call("Code", "Wrote a.txt", instructions="Create a.txt"),
        *call("Code", "no", ok=False, instructions="Edit b.txt"),
    ]
    assert "Files changed:\n- by the code model: Create a.txt\n- not by the code model: Edit b.txt" in recap(talk)


def test_an_edit_that_failed_changed_no_file() -> None:
    assert "Files changed" not in recap([said("x"), *call("Edit", "not found", ok=False, file_path="a.py")])


def test_an_earlier_summary_is_carried_on() -> None:
    first = recap([said("Where is it?"), answered("In a.py:1")])
    second = recap(
        [Message("user", (Text(f"{SUMMED_UP}\n\n{first}"), Text(""))), said("And b?"), answered("In b.py:2")]
    )
    assert second.index("And b?") < second.index("Before that:") < second.index("Where is it?")
    assert second.count(MADE_BY) == 1


def test_what_the_engine_asks_for_and_puts_before_a_summary_is_known() -> None:
    assert asks_recap(PROMPT)
    assert HEADING == SUMMED_UP


def test_nothing_is_said_of_nothing() -> None:
    assert recap([]) == f"Nothing has been asked or done yet.\n\n{MADE_BY}"


@given(st.lists(st.tuples(st.text(max_size=3000), st.text(max_size=9000), st.integers(0, 40)), max_size=30))
def test_a_summary_is_bounded_and_about_the_last_things_first(exchanges: list[tuple[str, str, int]]) -> None:
    talk: list[Message] = []
    for asked, answer, commands in exchanges:
        talk += [said(asked), *(each for n in range(commands) for each in call("Bash", answer, command=f"{n} {asked}"))]
        talk.append(answered(answer))
    assert len(recap(talk)) <= MAX_CHARS


@pytest.mark.parametrize(
    "text", [ASK, "Please summarise this conversation.", "Sum up our session", "Recap the chat so far"]
)
def test_a_summary_of_the_conversation_may_be_asked_for_in_other_words(text: str) -> None:
    assert asks_recap(text)


@pytest.mark.parametrize(
    "text",
    ["Summarize recent changes in the repo.", "Summarize the session module", "Write a summary", "Add a chat summary"],
)
def test_other_summaries_are_something_else(text: str) -> None:
    assert not asks_recap(text)


def test_a_task_whose_conversation_was_summed_up_is_not_begun_again() -> None:
    first = Message("user", (Text(f"{SUMMED_UP}\n\nmuch"), Text("Create a.txt with the content: x")))
    move = next_move(ModelRequest("builtin", "", (first,), (ToolSchema("Write", "", {}),)))
    assert (move.text, move.calls) == (LOST, ())


def test_a_task_behind_a_summary_is_begun() -> None:
    summary = Message("user", (Text(f"{SUMMED_UP}\n\nmuch"), Text("")))
    messages = (summary, said("Create a.txt with the content: x"))
    move = next_move(ModelRequest("builtin", "", messages, (ToolSchema("Write", "", {}),)))
    assert [made.name for made in move.calls] == ["Write"]


def test_a_summary_may_be_asked_for_while_tools_are_on_offer() -> None:
    move = next_move(ModelRequest("builtin", "", (said("x"), said(ASK)), (ToolSchema("TaskList", "", {}),)))
    assert move.calls == ()
