from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import Message, Text, Thinking, ToolResult, ToolUse, Usage
from agentd.errors import InvalidRequest, ProviderFailed
from agentd.providers.assemble import Assembler, unreadable_input
from agentd.providers.protocol import ModelRequest, Provider, ToolSchema
from agentd.providers.scripted import Delay, Fail, Hang, ScriptedProvider, Think, call, raw_call, reply
from agentd.providers.scriptfile import load_script, parse_script

Assembled = Callable[[Provider, ModelRequest], Awaitable[Assembler]]


def asking(text: str, *tools: str) -> ModelRequest:
    schemas = tuple(ToolSchema(name, "", {}) for name in tools)
    return ModelRequest("scripted", "", (Message("user", (Text(text),)),), schemas)


async def test_a_script_plays_its_replies_in_order(assembled: Assembled) -> None:
    script = ScriptedProvider([reply(Think("Hm."), "Let me look.", call("Read", file_path="a")), "It is empty."])
    first, second = [await assembled(script, asking("Hi")) for _ in range(2)]
    assert first.message().content == (
        Thinking("Hm."),
        Text("Let me look."),
        ToolUse("scripted_1", "Read", {"file_path": "a"}),
    )
    assert (first.stop_reason, second.stop_reason) == ("tool_use", "end_turn")
    assert second.message().text == "It is empty."


async def test_a_script_keeps_the_requests_it_got(assembled: Assembled) -> None:
    script = ScriptedProvider(["One.", "Two."])
    await assembled(script, asking("Hi"))
    assert script.requests == [asking("Hi")]
    assert script.left == 1


async def test_a_request_beyond_the_script_fails(assembled: Assembled) -> None:
    with pytest.raises(ProviderFailed, match="no reply to request 1: its last was 0"):
        await assembled(ScriptedProvider([]), asking("Hi"))


async def test_a_script_may_fail_before_any_output(assembled: Assembled) -> None:
    with pytest.raises(ProviderFailed, match="overloaded"):
        await assembled(ScriptedProvider([reply(Fail("overloaded"))]), asking("Hi"))


async def test_a_script_may_fail_midway() -> None:
    seen = Assembler()

    async def listen() -> None:
        async with ScriptedProvider([reply("Half", Fail("cut"))]).stream(asking("Hi")) as events:
            async for event in events:
                seen.feed(event)

    with pytest.raises(ProviderFailed, match="cut"):
        await listen()
    assert seen.message().text == "Half"


async def test_delays_take_their_time(autojump_clock: Any, assembled: Assembled) -> None:
    await assembled(ScriptedProvider([reply(Delay(3), "Late.")]), asking("Hi"))
    assert trio.current_time() == 3


async def test_a_hang_lasts_until_the_caller_gives_up(autojump_clock: Any, assembled: Assembled) -> None:
    with trio.move_on_after(5) as scope:
        await assembled(ScriptedProvider([reply("Well", Hang())]), asking("Hi"))
    assert scope.cancelled_caught


async def test_a_call_may_be_broken_on_purpose(assembled: Assembled) -> None:
    got = await assembled(ScriptedProvider([reply(raw_call("Read", '{"file_', "x"))]), asking("Hi"))
    assert got.message().calls[0].id == "x"
    assert unreadable_input(got.message().calls[0])


async def test_an_expectation_sees_what_came_since_the_last_reply(assembled: Assembled) -> None:
    result = Message("user", (ToolResult("c", (Text("42 lines"),)),))
    request = ModelRequest("m", "", (*asking("Hi").messages, Message("assistant", (Text("ok"),)), result), ())
    await assembled(ScriptedProvider([reply("Fine.", expect=["42"])]), request)
    with pytest.raises(ProviderFailed, match="expects of request 1: 'Hi' in '42 lines'; the tool Bash in"):
        await assembled(ScriptedProvider([reply("Fine.", expect=["Hi"], tools=["Bash"])]), request)


async def test_a_file_says_all_that_python_can(tmp_path: Path, assembled: Assembled) -> None:
    file = tmp_path / "script.json"
    parts = [
        {"thinking": "Hm."},
        {"delay_seconds": 0},
        "Hi.",
        {"call": "Read", "input": {"file_path": "a"}, "id": "c"},
        {"call": "LS"},
        {"call": "LS", "raw": "["},
    ]
    first = {"parts": parts, "stop": "max_tokens", "usage": {"input_tokens": 7}, "expect": {"contains": ["Hi"]}}
    replies = ["Just text.", first, {"parts": [{"fail": "gone"}, {"hang": True}]}]
    file.write_text(json.dumps({"replies": replies, "price": {"input": 2, "output": 3.5}}))
    script = load_script(file)
    assert script.models() == (f"scripted:{file}",)
    assert (await assembled(script, asking("Hi"))).message().text == "Just text."
    got = await assembled(script, asking("Hi"))
    assert (got.stop_reason, got.usage) == ("max_tokens", Usage(7))
    assert got.message().content[:3] == (Thinking("Hm."), Text("Hi."), ToolUse("c", "Read", {"file_path": "a"}))
    price = script.describe(script.models()[0]).price
    assert price is not None
    assert price.cost(Usage(1_000_000, 1_000_000)) == 5.5


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ([], "expected an object @ $"),
        ({}, "'replies' is missing @ $"),
        ({"replies": {}}, "expected a list @ $.replies"),
        ({"replies": [], "x": 1}, "unknown key 'x'; there are replies, price @ $"),
        ({"replies": [{"parts": [1]}]}, "expected an object @ $.replies[0].parts[0]"),
        ({"replies": [{"parts": [{}]}]}, "a part is text, or an object with one of thinking, call"),
        ({"replies": [{"parts": [{"call": 1}]}]}, "expected text @ $.replies[0].parts[0].call"),
        ({"replies": [{"parts": [{"call": "R", "input": []}]}]}, "expected an object @ $.replies[0].parts[0].input"),
        ({"replies": [{"parts": [{"call": "R", "input": {}, "raw": ""}]}]}, "a call has input or raw, not both"),
        ({"replies": [{"parts": [{"call": "R", "inputs": {}}]}]}, "unknown key 'inputs'"),
        ({"replies": [{"parts": [{"hang": 1}]}]}, "expected true @ $.replies[0].parts[0].hang"),
        ({"replies": [{"parts": [{"delay_seconds": -1}]}]}, "expected a number of 0 or more"),
        ({"replies": [{"parts": [{"delay_seconds": True}]}]}, "expected a number of 0 or more"),
        ({"replies": [{"parts": [], "usage": {"input_tokens": 1.5}}]}, "expected a whole number of 0 or more"),
        ({"replies": [], "price": {"input": 1}}, "'output' is missing @ $.price"),
    ],
)
def test_a_misfit_in_a_script_is_told_with_its_place(script: Any, problem: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_script(script)
    assert problem in str(caught.value)


@pytest.mark.parametrize(("content", "problem"), [(None, "cannot read the script"), ("{", "is no JSON")])
def test_a_script_that_cannot_be_read_is_told_with_its_path(tmp_path: Path, content: str | None, problem: str) -> None:
    file = tmp_path / "s.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(InvalidRequest, match=problem) as caught:
        load_script(file)
    assert str(file) in str(caught.value)
