"""Code: the tool by which a planner has the code model edit. Each call is a conversation of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from agentd.domain import JobState, Text, ToolClass
from agentd.engine.conversation import Ending
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import SUBJECT_CHARACTERS, arg, input_schema, parse

CODE_TOOL = "Code"


@attrs.frozen
class CodeInput:
    instructions: str = arg("What to change, complete in itself: files, edits, texts to the letter, how to check it")


@attrs.frozen
class Code:
    """*work*: has the code model follow instructions, in a conversation that belongs to this call."""

    work: Callable[[str, str], Awaitable[Ending]]  # call id, instructions
    name: str = CODE_TOOL
    description: str = (
        "Hand instructions to an engineer who can edit files and run commands in this workspace. They know nothing of "
        "this conversation: what they need to know has to be in the instructions. Their report is the result."
    )
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(CodeInput))
    tool_class: ToolClass = ToolClass.AGENT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return " ".join(str(call_input.get("instructions", "")).split())[:SUBJECT_CHARACTERS]

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        instructions = parse(CodeInput, call_input).instructions
        if not instructions.strip():
            raise ToolFailed("instructions is empty; it says what is to be changed")
        return report_of(await self.work(context.call, instructions))


def report_of(ending: Ending) -> ToolOutcome:
    """What is told of a conversation to who had it held."""
    failed = ending.outcome is not JobState.COMPLETED
    text = ending.result or (ending.error or {}).get("message") or "There was no report."
    if ending.error is None and ending.stop_reason != "completed":
        text += f"\n[it was stopped: {ending.stop_reason}]"
    return ToolOutcome((Text(text),), "not done" if failed else "done", is_error=failed)
