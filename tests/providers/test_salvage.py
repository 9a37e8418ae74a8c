from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Message, Text, Thinking, ToolUse, Usage
from agentd.errors import ProviderFailed
from agentd.providers.assemble import Assembler
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    ModelRequest,
    RequestSent,
    Salvaged,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ToolSchema,
)
from agentd.providers.salvage import Salvager, SalvagingProvider
from agentd.providers.scripted import Fail, Reply, ScriptedProvider, Think, call, reply

TOOLS = tuple(ToolSchema(name, "", {"type": "object"}) for name in ("Read", "LS"))
CALL = '{"name": "Read", "arguments": {"file_path": "a"}}'
LEAK = f"<tool_call>{CALL}</tool_call>"
DONE = Stopped("end_turn", Usage(3, 4))


def request(*messages: Message, tools: tuple[ToolSchema, ...] = TOOLS) -> ModelRequest:
    return ModelRequest("m", "", messages, tools)


def salvage(*events: StreamEvent, asked: ModelRequest | None = None) -> list[StreamEvent]:
    salvager = Salvager(asked or request())
    return [found for event in events for found in salvager.feed(event)]


def test_a_leaked_call_is_made_marked_and_ends_the_turn_as_calls_do() -> None:
    assert salvage(TextDelta("I look. <tool_"), TextDelta("call>" + CALL), TextDelta("</tool_call>"), DONE) == [
        TextDelta("I look. "),
        CallStarted("text_call_1", "Read"),
        Salvaged("text_call_1", "<tool_call>"),
        CallDelta("text_call_1", '{"file_path": "a"}'),
        Stopped("tool_use", Usage(3, 4)),
    ]


def test_repairs_are_told() -> None:
    events = salvage(TextDelta("{'name': 'LS', 'parameters': {},}"), DONE)
    assert events[1] == Salvaged("text_call_1", "bare JSON", ("single quotes", "trailing comma"))


def test_ids_go_on_from_the_calls_of_the_conversation() -> None:
    before = Message("assistant", (ToolUse("x", "LS", {}), ToolUse("y", "LS", {})))
    assert salvage(TextDelta(LEAK), DONE, asked=request(before))[0] == CallStarted("text_call_3", "Read")


def test_other_events_pass_as_they_are() -> None:
    sent = RequestSent(b"{}")
    assert salvage(sent, ThinkingDelta(LEAK), TextDelta("Hi"), DONE) == [
        sent,
        ThinkingDelta(LEAK),
        TextDelta("Hi"),
        DONE,
    ]


def test_after_a_call_as_it_should_be_text_is_text() -> None:
    events: list[StreamEvent] = [
        TextDelta("So <tool_"),
        CallStarted("c", "LS"),
        CallDelta("c", "{}"),
        TextDelta(LEAK),
        DONE,
    ]
    found = salvage(*events)
    assert found == [TextDelta("So "), TextDelta("<tool_"), *events[1:]]


def test_without_tools_nothing_is_held_back() -> None:
    events: list[StreamEvent] = [TextDelta("<tool_"), TextDelta("call>"), DONE]
    assert salvage(*events, asked=request(tools=())) == events


def test_where_the_answer_is_to_be_json_bare_json_is_the_answer() -> None:
    asked = ModelRequest("m", "", (), TOOLS, output_schema={"type": "object"})
    assert salvage(TextDelta(CALL), DONE, asked=asked) == [TextDelta(CALL), DONE]


@pytest.mark.parametrize("reason", ["max_tokens", "refusal"])
def test_a_reply_that_was_cut_off_stays_so_and_half_a_call_is_text(reason: str) -> None:
    cut = Stopped(reason, Usage())
    assert salvage(TextDelta(LEAK[:-20]), cut) == [TextDelta(LEAK[:-20]), cut]
    assert salvage(TextDelta(LEAK), cut)[-1] == cut


# --- As a provider ------------------------------------------------------------------------------------------------


async def ask(provider: SalvagingProvider, asked: ModelRequest | None = None) -> Assembler:
    assembler = Assembler()
    async with provider.stream(asked or request()) as events:
        async for event in events:
            assembler.feed(event)
    return assembler


def scripted(*replies: Reply | str) -> ScriptedProvider:
    return ScriptedProvider(replies, "m")


async def test_replies_of_a_provider_are_salvaged_and_counted() -> None:
    provider = SalvagingProvider(scripted(reply(Think("Hm."), f"Look:\n{LEAK}\n{LEAK}"), reply("Fine.", call("LS"))))
    leaked, native = await ask(provider), await ask(provider)
    assert leaked.message().content == (
        Thinking("Hm."),
        Text("Look:\n"),
        ToolUse("text_call_1", "Read", {"file_path": "a"}),
        ToolUse("text_call_2", "Read", {"file_path": "a"}),
    )
    assert (leaked.salvaged, leaked.stop_reason) == (2, "tool_use")
    assert (native.salvaged, native.stop_reason) == (0, "tool_use")


async def test_only_the_models_that_need_it_are_salvaged() -> None:
    provider = SalvagingProvider(scripted(LEAK, LEAK), models={"m"})
    assert (await ask(provider)).salvaged == 1
    assert (await ask(provider, ModelRequest("other", "", (), TOOLS))).message().text == LEAK


async def test_what_is_held_back_when_a_reply_breaks_off_is_not_lost() -> None:
    provider = SalvagingProvider(scripted(reply("Look: <tool_call>{", Fail("gone"))))
    assembler = Assembler()

    async def run() -> None:
        async with provider.stream(request()) as events:
            async for event in events:
                assembler.feed(event)

    with pytest.raises(ProviderFailed, match="gone"):
        await run()
    assert assembler.message().text == "Look: <tool_call>{"


def test_it_is_the_provider_that_it_wraps() -> None:
    inner = scripted("Hi")
    provider = SalvagingProvider(inner)
    assert (provider.name, provider.models(), provider.describe("m")) == (
        inner.name,
        inner.models(),
        inner.describe("m"),
    )


deltas = st.one_of(
    st.builds(
        TextDelta, st.one_of(st.text(max_size=8), st.sampled_from(["<tool_call>", LEAK, "{", '{"name": "LS"', "```\n"]))
    ),
    st.builds(ThinkingDelta, st.text(max_size=3)),
    st.builds(CallStarted, st.sampled_from("ab"), st.just("LS")),
    st.builds(CallDelta, st.sampled_from("ab"), st.text(max_size=3)),
)


@given(st.lists(deltas, max_size=10), st.sampled_from(["end_turn", "max_tokens", "tool_use"]))
def test_whatever_comes_every_call_is_started_before_it_grows_and_the_end_is_the_end(
    events: list[StreamEvent], reason: str
) -> None:
    found = salvage(*events, Stopped(reason, Usage()))
    salvaged = [event.id for event in found if isinstance(event, Salvaged)]
    begun = [event.id for event in found if isinstance(event, CallStarted)]
    assert set(salvaged) <= set(begun)
    assert isinstance(found[-1], Stopped)
    assert sum(isinstance(event, Stopped) for event in found) == 1
    if not salvaged:
        said = ("".join(e.text for e in each if isinstance(e, TextDelta)) for each in (events, found))
        assert len(set(said)) == 1
