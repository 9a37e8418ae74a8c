"""TodoWrite: the list of what is to be done. The call itself is the record of it: the session's fold keeps the list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse

MAX_TODOS = 200
MAX_CHARACTERS = 2000  # of one


@attrs.frozen
class Todo:
    content: str = arg("What is to be done: Run the tests")
    status: Literal["pending", "in_progress", "completed"] = arg("How far it is")
    activeForm: str = arg("The same while it is done: Running the tests", default="")  # noqa: N815 - the wire's name


@attrs.frozen
class TodoWriteInput:
    todos: tuple[Todo, ...] = arg("The whole list, in order; it replaces the one before")


class TodoWrite:
    name = "TodoWrite"
    description = (
        "Keep a list of what is to be done, for work of three or more steps. Send the whole list each time: mark a "
        "task in_progress before you begin with it, and completed as soon as it is done."
    )
    input_schema: Mapping[str, Any] = input_schema(TodoWriteInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""  # what the list says is in the summary

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        await trio.lowlevel.checkpoint()
        todos = parse(TodoWriteInput, call_input).todos
        _check(todos)
        counts = Counter(todo.status for todo in todos)
        told = ", ".join(f"{count} {status}" for status, count in counts.items()) or "none"
        return ToolOutcome((Text(f"The list is kept: {told}."),), _summary(todos))


def _check(todos: Sequence[Todo]) -> None:
    """Raises ToolFailed."""
    if len(todos) > MAX_TODOS:
        raise ToolFailed(f"The list has {len(todos)} tasks; {MAX_TODOS} is the most. Put small ones together")
    for index, todo in enumerate(todos):
        if not todo.content.strip():
            raise ToolFailed(f"todos[{index}].content is empty; it says what is to be done")
        if max(len(todo.content), len(todo.activeForm)) > MAX_CHARACTERS:
            raise ToolFailed(f"todos[{index}] is longer than {MAX_CHARACTERS} characters; say it in a line")


def _summary(todos: Sequence[Todo]) -> str:
    done = sum(todo.status == "completed" for todo in todos)
    now = next((todo.activeForm or todo.content for todo in todos if todo.status == "in_progress"), "")
    return " ".join(f"{done} of {len(todos)} done{': ' * bool(now)}{now}".split())[:120]
