"""Tasks that name the tool to be used."""

from __future__ import annotations

import pytest

from agentd.domain import Message, Text, ToolResult, ToolUse
from agentd.providers.builtin.provider import next_move
from agentd.providers.builtin.toolcall import named_call
from agentd.providers.protocol import ModelRequest, ToolSchema

OFFERED = frozenset({"mcp__demo__echo", "Task", "Skill"})


@pytest.mark.parametrize(
    ("task", "name", "given"),
    [
        ('Call mcp__demo__echo with {"message": "hi. there"}', "mcp__demo__echo", {"message": "hi. there"}),
        ("use the tool `mcp__demo__echo`.", "mcp__demo__echo", {}),
        ('Please use the Skill tool with {"skill": "pdf"}', "Skill", {"skill": "pdf"}),
        (
            "Have the tester agent to run\nall tests",
            "Task",
            {"description": "run all tests", "prompt": "run\nall tests", "subagent_type": "tester"},
        ),
        (
            "Ask the general-purpose subagent: where is main?",
            "Task",
            {"description": "where is main?", "prompt": "where is main?", "subagent_type": "general-purpose"},
        ),
    ],
)
def test_a_call_that_is_spelled_out_is_read(task: str, name: str, given: object) -> None:
    call = named_call(task, OFFERED)
    assert call is not None
    assert (call.name, call.input) == (name, given)


@pytest.mark.parametrize(
    "task",
    [
        "Call mcp__other__echo",
        "Use the tool to look",
        "Call mcp__demo__echo with {broken}",
        "How do I call mcp__demo__echo?",
        "Use the tester agent",
    ],
)
def test_what_is_no_such_call_is_left_to_others(task: str) -> None:
    assert named_call(task, OFFERED) is None


def test_what_came_of_it_is_the_answer() -> None:
    tools = (ToolSchema("mcp__demo__echo", "", {}),)
    asked = Message("user", (Text('Call mcp__demo__echo with {"message": "hi"}'),))
    made = next_move(ModelRequest("builtin", "", (asked,), tools))
    assert [call.name for call in made.calls] == ["mcp__demo__echo"]
    said = Message("assistant", (ToolUse("1", "mcp__demo__echo", {"message": "hi"}),))
    for failed, text in [(False, "hi"), (True, "mcp__demo__echo did not work:\nhi")]:
        result = Message("user", (ToolResult("1", (Text("hi"),), failed),))
        move = next_move(ModelRequest("builtin", "", (asked, said, result), tools))
        assert (move.text, move.failed) == (text, failed)
