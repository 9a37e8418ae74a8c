from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Message, Text, Thinking, ToolUse, Usage, block_to_json
from agentd.providers.assemble import UNNAMED, Assembler, Piece, unreadable_input
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    RequestSent,
    Salvaged,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingSigned,
)


def assemble(*events: StreamEvent) -> Message:
    assembler = Assembler()
    for event in events:
        assembler.feed(event)
    return assembler.message("m")


def call_with(arguments: str) -> ToolUse:
    return assemble(CallStarted("c", "Read"), CallDelta("c", arguments)).calls[0]


def test_blocks_come_in_the_order_they_appeared() -> None:
    message = assemble(
        ThinkingDelta("Hm"),
        ThinkingDelta("m."),
        TextDelta("Let "),
        TextDelta("me."),
        CallStarted("c", "LS"),
        TextDelta("So."),
    )
    assert message == Message(
        "assistant", (Thinking("Hmm."), Text("Let me."), ToolUse("c", "LS", {}), Text("So.")), "m"
    )


def test_calls_may_overlap() -> None:
    message = assemble(
        CallStarted("a", "Read"),
        CallStarted("b", "Glob"),
        CallDelta("b", '{"pattern":'),
        CallDelta("a", '{"file_path": "x"}'),
        CallDelta("b", ' "*.py"}'),
    )
    assert message.calls == (ToolUse("a", "Read", {"file_path": "x"}), ToolUse("b", "Glob", {"pattern": "*.py"}))


def test_a_signature_ends_its_block_of_thinking() -> None:
    message = assemble(
        ThinkingDelta("One"),
        ThinkingSigned("1st"),
        ThinkingSigned("no text"),
        ThinkingDelta("Two"),
        TextDelta("So."),
        ThinkingSigned("after text"),
    )
    thoughts = (Thinking("One", "1st"), Thinking("", "no text"), Thinking("Two"))
    assert message.content == (*thoughts, Text("So."), Thinking("", "after text"))


def test_a_salvaged_call_is_one_like_any_other_and_is_counted_and_told() -> None:
    assembler = Assembler(taken={"c"})
    for event in (CallStarted("c", "LS"), Salvaged("c", "a fenced block", ("trailing commas",)), CallDelta("c", "{}")):
        assembler.feed(event)
    assert assembler.message().calls == (ToolUse("c_2", "LS", {}),)
    assert assembler.salvaged == 1
    assert assembler.problems[-1] == (
        "the LS call 'c_2' was written as text, as a fenced block; its arguments were repaired: trailing commas"
    )


def test_what_was_sent_is_no_part_of_the_reply() -> None:
    assert assemble(RequestSent(b"{}")).content == ()


def test_a_piece_tells_the_block_and_the_call_it_went_to() -> None:
    assembler = Assembler(taken={"c"})
    pieces = [assembler.feed(e) for e in (TextDelta("Hi"), TextDelta(""), CallStarted("c", "LS"), CallDelta("c", "{}"))]
    assert [(piece.block, piece.call) if piece else None for piece in pieces] == [
        (0, None),
        None,
        (1, "c_2"),
        (1, "c_2"),
    ]


def test_a_call_without_arguments_has_an_empty_input() -> None:
    assert call_with(" ").input == {}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ('{"file_path": "x', "it is no JSON (Unterminated string starting at at character 15)"),
        ('{"a": 1} {"b": 2}', "it is no JSON (Extra data at character 10)"),
        ('["x"]', "it is an array"),
        ("null", "it is null"),
        ('{"a": NaN}', "it is no JSON (NaN is no JSON value)"),
        ('{"a": "\\ud800"}', "it holds half of a surrogate pair"),
        ("[" * 100_000, "it is nested too deeply"),
    ],
)
def test_arguments_that_are_no_object_are_kept_and_told(arguments: str, problem: str) -> None:
    call = call_with(arguments)
    told = unreadable_input(call) or ""
    assert told.startswith(f"{problem}; its {len(arguments)} characters are ")
    assert arguments[:100] in told
    json.dumps(block_to_json(call), ensure_ascii=False).encode()


def test_an_object_of_its_own_is_readable() -> None:
    assert unreadable_input(call_with('{"file_path": "x"}')) is None


def test_a_long_unreadable_input_is_told_shortened_and_kept_whole() -> None:
    call = call_with("x" * 5000)
    assert len(unreadable_input(call) or "") < 400
    assert "x" * 5000 in json.dumps(dict(call.input))


def test_a_call_id_that_comes_twice_is_made_unique_and_deltas_go_to_the_later_call() -> None:
    message = assemble(
        CallStarted("c", "Read"), CallDelta("c", '{"n": 1}'), CallStarted("c", "Read"), CallDelta("c", '{"n": 2}')
    )
    assert message.calls == (ToolUse("c", "Read", {"n": 1}), ToolUse("c_2", "Read", {"n": 2}))


def test_ids_of_the_conversation_so_far_are_not_used_again() -> None:
    assembler = Assembler(taken={"call_0", "call_0_2"})
    assembler.feed(CallStarted("call_0", "LS"))
    assert assembler.message().calls[0].id == "call_0_3"
    assert assembler.problems == ["call id 'call_0' cannot be used again: the call is 'call_0_3'"]


def test_a_call_without_an_id_gets_one() -> None:
    assert [call.id for call in assemble(CallStarted("", "LS"), CallStarted("", "LS")).calls] == ["call", "call_2"]


def test_a_call_without_a_name_keeps_its_arguments_under_a_name_that_no_tool_has() -> None:
    message = assemble(CallStarted("c", ""), CallDelta("c", '{"a": 1}'))
    assert message.calls == (ToolUse("c", UNNAMED, {"a": 1}),)


def test_a_delta_for_a_call_that_never_began_begins_one() -> None:
    assert assemble(CallDelta("ghost", '{"a": 1}')).calls == (ToolUse("ghost", UNNAMED, {"a": 1}),)


def test_what_comes_after_the_end_is_left_out_and_said() -> None:
    assembler = Assembler()
    for event in (TextDelta("Hi"), Stopped("end_turn", Usage(3, 1)), TextDelta("!"), Stopped("x", Usage())):
        assembler.feed(event)
    assert assembler.message().text == "Hi"
    assert (assembler.stop_reason, assembler.usage) == ("end_turn", Usage(3, 1))
    assert len(assembler.problems) == 2


def test_a_stream_that_broke_leaves_what_had_come() -> None:
    assembler = Assembler()
    for event in (TextDelta("I will"), CallStarted("c", "Write"), CallDelta("c", '{"file_path": "a')):
        assembler.feed(event)
    assert assembler.stopped is None
    assert assembler.message().text == "I will"
    assert unreadable_input(assembler.message().calls[0])


def test_halves_of_a_surrogate_pair_in_two_deltas_become_one_character() -> None:
    assert assemble(TextDelta("\ud83d"), TextDelta("\ude00 \ud800")).text == "\U0001f600 \ufffd"


ids = st.sampled_from(["", "a", "b", "a_2", "call"])
events = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(max_size=3)),
        st.builds(ThinkingDelta, st.text(max_size=3)),
        st.builds(CallStarted, ids, st.sampled_from(["", "Read"])),
        st.builds(ThinkingSigned, st.text(max_size=1)),
        st.builds(Salvaged, ids, st.just("a form")),
        st.builds(CallDelta, ids, st.sampled_from(["{", "}", '"k": 1', "[]", ""])),
    )
)


@given(events, st.sets(ids))
def test_whatever_comes_no_text_is_lost_and_every_call_is_unique_named_and_an_object(
    stream: list[StreamEvent], taken: set[str]
) -> None:
    assembler = Assembler(taken)
    for event in stream:
        assembler.feed(event)
    message = assembler.message()
    used = [call.id for call in message.calls]
    assert message.text == "".join(event.text for event in stream if isinstance(event, TextDelta))
    assert len(set(used)) == len(used)
    assert not set(used) & taken
    assert all(call.id and call.name and isinstance(call.input, dict) for call in message.calls)
    assert len(used) >= sum(isinstance(event, CallStarted) for event in stream)


def test_an_id_that_another_conversation_has_is_no_fault_and_is_not_used() -> None:
    assembler = Assembler({"a"}, elsewhere={"b", "b_2"})
    assert assembler.feed(CallStarted("b", "Read")) == Piece(0, "b_3")
    assert assembler.problems == []
