"""TaskList: the tool by which a planner says which tasks an objective comes to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.store.fold import Task
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse

TASK_TOOL = "TaskList"
MOST_TASKS = 100
TITLE_CHARS = 200


@attrs.frozen
class TaskInput:
    title: str = arg("What is to be done, in a few words: Improve error handling")
    text: str = arg("All that is needed to do it; the title alone if it is left out", default="")


@attrs.frozen
class TaskListInput:
    tasks: tuple[TaskInput, ...] = arg("The whole list, in the order in which it is to be done")


@attrs.frozen
class TaskList:
    """*keep*: makes the tasks the session's list. *refused*: why, of each list that could not be taken."""

    keep: Callable[[Sequence[Task]], None]
    refused: list[str] = attrs.field(factory=list)
    name: str = TASK_TOOL
    description: str = "Make the list of tasks that the objective comes to. It replaces the list there was."
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(TaskListInput))
    tool_class: ToolClass = ToolClass.AGENT  # alone: it writes to the log

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""  # what the list says is in the summary

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        await trio.lowlevel.checkpoint()
        try:
            tasks = make_tasks([(task.title, task.text) for task in parse(TaskListInput, call_input).tasks])
        except ToolFailed as exc:
            self.refused.append(str(exc))
            raise
        self.keep(tasks)
        return ToolOutcome((Text(f"The list has {len(tasks)} tasks now."),), f"{len(tasks)} tasks")


def make_tasks(given: Sequence[tuple[str, str]]) -> list[Task]:
    """Tasks from (title, text); each has one of the two at least. Raises ToolFailed."""
    if len(given) > MOST_TASKS:
        raise ToolFailed(f"There are {len(given)} tasks; {MOST_TASKS} is the most. Put small ones together")
    tasks = []
    for number, (title, text) in enumerate(given, 1):
        short = " ".join((title.strip() or text.strip().split("\n", 1)[0]).split())[:TITLE_CHARS]
        if not short:
            raise ToolFailed(f"tasks[{number - 1}].title is empty; it says what is to be done")
        tasks.append(Task(str(number), short, text.strip() or title.strip()))
    return tasks
