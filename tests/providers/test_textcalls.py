from __future__ import annotations

import itertools

import attrs

from agentd.domain import Image, Message, Text, Thinking, ToolResult, ToolUse
from agentd.providers.assemble import Assembler, unreadable_input
from agentd.providers.openai import OpenAIOptions, encode_request
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.requestbody import NO_OUTPUT, common_prefix
from agentd.providers.scripted import ScriptedProvider
from agentd.providers.textcalls import INTRODUCTION, TextCallsProvider, as_text

READ = ToolSchema("Read", "Reads a file.", {"type": "object", "properties": {"file_path": {"type": "string"}}})
LS = ToolSchema("LS", "Lists a directory.", {"type": "object"})
BLOCK = '```tool_call\n{"name": "Read", "arguments": {"file_path": "a"}}\n```'
PICTURE = Image("image/png", "aa")


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def request(*messages: Message) -> ModelRequest:
    return ModelRequest("m", "Be brief.", messages, (READ, LS))


async def ask(provider: TextCallsProvider, asked: ModelRequest) -> Assembler:
    assembler = Assembler()
    async with provider.stream(asked) as events:
        async for event in events:
            assembler.feed(event)
    return assembler


def test_tools_are_described_in_the_system_prompt() -> None:
    asked = as_text(request(user("Hi")))
    assert asked.tools == ()
    assert asked.system == (
        f"Be brief.\n\n{INTRODUCTION}\n\n## Read\nReads a file.\n"
        '{"type": "object", "properties": {"file_path": {"type": "string"}}}\n\n'
        '## LS\nLists a directory.\n{"type": "object"}'
    )
    assert asked.stop == ("```tool_result",)


def test_without_tools_nothing_is_said_of_them() -> None:
    asked = attrs.evolve(request(user("Hi")), tools=())
    assert as_text(asked) == asked


def test_calls_and_results_are_told_as_they_are_written() -> None:
    asked = request(
        user("Look"),
        Message(
            "assistant",
            (Thinking("Hm."), Text("I look."), ToolUse("c", "Read", {"file_path": "a"}), ToolUse("d", "LS", {})),
        ),
        Message("user", (ToolResult("c", (Text("x"), PICTURE)), ToolResult("d", (), True), Text("Hurry."))),
    )
    assert as_text(asked).messages[1:] == (
        Message(
            "assistant",
            (Thinking("Hm."), Text(f'I look.\n\n{BLOCK}\n\n```tool_call\n{{"name": "LS", "arguments": {{}}}}\n```')),
        ),
        Message(
            "user",
            (
                Text("```tool_result\nx\n[an image]\n```"),
                PICTURE,
                Text(f"```tool_result error\n{NO_OUTPUT}\n```"),
                Text("Hurry."),
            ),
        ),
    )


def test_a_result_that_has_blocks_in_it_is_in_a_longer_one() -> None:
    asked = request(Message("user", (ToolResult("c", (Text("```py\nx\n```"),)),)))
    assert as_text(asked).messages[0].text == "````tool_result\n```py\nx\n```\n````"


async def test_a_conversation_without_tool_calls() -> None:
    inner = ScriptedProvider([f"I look.\n{BLOCK}\n", "It is empty."])
    provider = TextCallsProvider(inner)
    asked = request(user("What is in a?"))
    first = await ask(provider, asked)
    message = first.message()
    assert message.content == (Text("I look.\n"), ToolUse("text_call_1", "Read", {"file_path": "a"}))
    assert (first.stop_reason, first.salvaged, first.problems) == ("tool_use", 0, [])
    result = Message("user", (ToolResult("text_call_1", (Text("(empty)"),)),))
    second = await ask(provider, attrs.evolve(asked, messages=(*asked.messages, message, result)))
    assert second.message().text == "It is empty."
    assert [each.text for each in inner.requests[1].messages] == [
        "What is in a?",
        f"I look.\n\n{BLOCK}",
        "```tool_result\n(empty)\n```",
    ]


async def test_a_call_in_another_form_is_salvaged() -> None:
    provider = TextCallsProvider(ScriptedProvider(['<tool_call>{"name": "LS"}</tool_call>']))
    first = await ask(provider, request(user("Hi")))
    assert (first.message().calls, first.salvaged) == ((ToolUse("text_call_1", "LS", {}),), 1)


async def test_repairs_in_a_block_are_told() -> None:
    provider = TextCallsProvider(ScriptedProvider(["```tool_call\n{'name': 'LS', 'arguments': {}}\n```"]))
    first = await ask(provider, request(user("Hi")))
    assert first.problems[0].endswith("as a tool_call block; its arguments were repaired: single quotes")


async def test_a_broken_call_is_one_so_that_the_model_is_told_and_it_is_shown_as_it_was_written() -> None:
    block = '```tool_call\n{"name": "Read", "arguments": {"file_path": "a "b""}}\n```'
    provider = TextCallsProvider(ScriptedProvider([block]))
    message = (await ask(provider, request(user("Hi")))).message()
    (call,) = message.calls
    assert call.name == "Read"
    assert unreadable_input(call)
    assert as_text(request(message)).messages[0].text == block


async def test_only_the_models_that_need_it_go_without_tools() -> None:
    inner = ScriptedProvider(["Hi", "Hi"])
    provider = TextCallsProvider(inner, models={"small"})
    await ask(provider, request(user("Hi")))
    await ask(provider, attrs.evolve(request(user("Hi")), model="small"))
    assert [bool(asked.tools) for asked in inner.requests] == [True, False]


def test_it_is_the_provider_that_it_wraps() -> None:
    inner = ScriptedProvider(["Hi"])
    provider = TextCallsProvider(inner)
    assert (provider.name, provider.models(), provider.describe("m")) == (
        inner.name,
        inner.models(),
        inner.describe("m"),
    )


def test_the_prefix_stays_the_same() -> None:
    asked = request(
        user("Look"),
        Message("assistant", (ToolUse("c", "Read", {"file_path": "a"}),)),
        Message("user", (ToolResult("c", (Text("x"),)),)),
        Message("assistant", (Text("Done."),)),
    )
    bodies = [
        encode_request(as_text(attrs.evolve(asked, messages=asked.messages[:length])), OpenAIOptions()).body
        for length in (2, 3, 4)
    ]
    for before, after in itertools.pairwise(bodies):
        assert common_prefix(before, after) == len(before) - len("]}")
