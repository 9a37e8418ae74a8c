"""TodoWrite: which lists it takes, and what it says of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from agentd.domain import Text
from agentd.errors import ToolFailed
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.todowrite import MAX_CHARACTERS, MAX_TODOS, TodoWrite

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]


def todo(content: str, status: str = "pending", **more: Any) -> dict[str, Any]:
    return {"content": content, "status": status, **more}


def test_the_schema_says_what_a_task_is() -> None:
    item = TodoWrite().input_schema["properties"]["todos"]["items"]
    assert (list(item["properties"]), item["required"]) == (["content", "status", "activeForm"], ["content", "status"])
    assert item["properties"]["status"]["enum"] == ["pending", "in_progress", "completed"]


async def test_a_list_is_taken_and_its_line_says_how_far_it_is(call: Call) -> None:
    todos = [todo("Look", "completed"), todo("Run it", "in_progress", activeForm="Running it"), todo("Tell")]
    outcome = await call(TodoWrite(), {"todos": todos})
    assert outcome == ToolOutcome(
        (Text("The list is kept: 1 completed, 1 in_progress, 1 pending."),), "1 of 3 done: Running it"
    )


async def test_an_empty_list_is_one_too(call: Call) -> None:
    assert (await call(TodoWrite(), {"todos": []})).summary == "0 of 0 done"


async def test_two_tasks_may_be_in_progress_and_the_line_names_the_first(call: Call) -> None:
    outcome = await call(TodoWrite(), {"todos": [todo("a\nb", "in_progress"), todo("c", "in_progress")]})
    assert (outcome.is_error, outcome.summary) == (False, "0 of 2 done: a b")


@pytest.mark.parametrize(
    ("call_input", "says"),
    [
        ({}, "todos"),
        ({"todos": "x"}, "an array @ todos"),
        ({"todos": ["x"]}, r"an object @ todos\[0\]"),
        ({"todos": [todo("a"), {"status": "pending"}]}, r"missing @ todos\[1\]\.content"),
        ({"todos": [todo("a", "done")]}, r"todos\[0\]\.status"),
        ({"todos": [todo("a"), todo("  ")]}, r"todos\[1\]\.content is empty"),
        ({"todos": [todo("x" * (MAX_CHARACTERS + 1))]}, r"todos\[0\] is longer"),
        ({"todos": [todo("a")] * (MAX_TODOS + 1)}, "has 201 tasks; 200 is the most"),
    ],
)
async def test_a_list_that_does_not_fit_says_why(call: Call, call_input: dict[str, Any], says: str) -> None:
    with pytest.raises(ToolFailed, match=says):
        await call(TodoWrite(), call_input)
