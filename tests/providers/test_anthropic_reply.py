"""Replies of services that speak the Messages API, as its documentation shows them ("Streaming messages")."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Text, Thinking, ToolUse, Usage
from agentd.providers.anthropic_reply import REDACTED, Decoder
from agentd.providers.failures import FAILURES
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingSigned,
)
from tests.providers.streams import assembled, at_every_cut, play


def sse(*events: dict[str, Any]) -> bytes:
    return "".join(f"event: {event.get('type')}\ndata: {json.dumps(event)}\n\n" for event in events).encode()


def start(**usage: Any) -> dict[str, Any]:
    message: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [],
        "stop_reason": None,
    }
    return {"type": "message_start", "message": message | {"usage": usage or {"input_tokens": 25, "output_tokens": 1}}}


def block(index: int, **content: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": content}


def delta(index: int, **change: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": change}


def json_delta(index: int, text: str) -> dict[str, Any]:
    return delta(index, type="input_json_delta", partial_json=text)


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def end(reason: str | None = "end_turn", **usage: Any) -> list[dict[str, Any]]:
    told = {"type": "message_delta", "delta": {"stop_reason": reason, "stop_sequence": None}, "usage": usage}
    return [told, {"type": "message_stop"}]


def reply(*events: dict[str, Any]) -> list[StreamEvent]:
    found, failure = play(Decoder, [sse(*events)])
    assert not failure
    return found


TEXT = [start(), block(0, type="text", text=""), delta(0, type="text_delta", text="Hi"), stop(0)]

# --- Transcripts --------------------------------------------------------------------------------------------------

BASIC = """\
event: message_start
data: {"type": "message_start", "message": {"id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message", \
"role": "assistant", "content": [], "model": "claude-opus-4-6", "stop_reason": null, "stop_sequence": null, \
"usage": {"input_tokens": 25, "cache_creation_input_tokens": 100, "cache_read_input_tokens": 2000, "output_tokens": 1}}}

event: content_block_start
data: {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}

event: ping
data: {"type": "ping"}

event: content_block_delta
data: {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Grüße 🌍"}}

event: content_block_stop
data: {"type": "content_block_stop", "index": 0}

event: message_delta
data: {"type": "message_delta", "delta": {"stop_reason": "end_turn", "stop_sequence":null}, \
"usage": {"output_tokens": 15}}

event: message_stop
data: {"type": "message_stop"}

"""


def test_text() -> None:
    events, failure = at_every_cut(Decoder, BASIC.encode())
    assert (events, failure) == ([TextDelta("Grüße 🌍"), Stopped("end_turn", Usage(2125, 15, 2000, 100))], "")


def test_thinking_text_and_parallel_calls() -> None:
    data = sse(
        start(),
        block(0, type="thinking", thinking="", signature=""),
        delta(0, type="thinking_delta", thinking="Look "),
        delta(0, type="thinking_delta", thinking="first."),
        delta(0, type="signature_delta", signature="EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="),
        stop(0),
        block(1, type="text", text=""),
        delta(1, type="text_delta", text="Let me."),
        stop(1),
        block(2, type="tool_use", id="toolu_01", name="Read", input={}),
        json_delta(2, ""),
        json_delta(2, '{"file_path":'),
        json_delta(2, ' "a"}'),
        stop(2),
        block(3, type="tool_use", id="toolu_02", name="LS", input={}),
        stop(3),
        *end("tool_use", output_tokens=89, input_tokens=25, cache_read_input_tokens=None),
    )
    events, failure = at_every_cut(Decoder, data)
    assert not failure
    assert assembled(events).message().content == (
        Thinking("Look first.", "EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="),
        Text("Let me."),
        ToolUse("toolu_01", "Read", {"file_path": "a"}),
        ToolUse("toolu_02", "LS", {}),
    )
    assert events[-1] == Stopped("tool_use", Usage(25, 89))


def test_thinking_that_is_encrypted_or_not_shown_keeps_what_has_to_go_back() -> None:
    events = reply(
        start(),
        block(0, type="redacted_thinking", data="EmwKAhgB"),
        stop(0),
        block(1, type="thinking", thinking="", signature=""),
        delta(1, type="signature_delta", signature="Er8="),
        stop(1),
        *TEXT[1:],
        *end(),
    )
    assert events[:2] == [ThinkingSigned(f"{REDACTED}EmwKAhgB"), ThinkingSigned("Er8=")]
    assert assembled(events).message().content == (
        Thinking("", f"{REDACTED}EmwKAhgB"),
        Thinking("", "Er8="),
        Text("Hi"),
    )


def test_a_document_instead_of_a_stream() -> None:
    document = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Hm.", "signature": "Er8="},
            {"type": "text", "text": "Let me."},
            {"type": "tool_use", "id": "toolu_01", "name": "LS", "input": {"path": "ü"}},
        ],
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 10, "cache_read_input_tokens": 5, "output_tokens": 3},
    }
    events, failure = at_every_cut(Decoder, json.dumps(document, ensure_ascii=False).encode())
    assert (events, failure) == (
        [
            ThinkingDelta("Hm."),
            ThinkingSigned("Er8="),
            TextDelta("Let me."),
            CallStarted("toolu_01", "LS"),
            CallDelta("toolu_01", '{"path": "ü"}'),
            Stopped("tool_use", Usage(15, 3, 5)),
        ],
        "",
    )


# --- What is left open, or done otherwise -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("end_turn", "end_turn"),
        ("tool_use", "tool_use"),
        ("max_tokens", "max_tokens"),
        ("refusal", "refusal"),
        ("stop_sequence", "end_turn"),
        ("model_context_window_exceeded", "max_tokens"),
        ("pause_turn", "pause_turn"),
        (None, "end_turn"),
    ],
)
def test_a_stop_reason_is_told_in_our_words(told: str | None, reason: str) -> None:
    assert reply(*TEXT, *end(told))[-1] == Stopped(reason, Usage(25, 1))


def test_a_call_means_tool_use_whatever_is_said() -> None:
    events = reply(start(), block(0, type="tool_use", id="a", name="LS", input={}), stop(0), *end("end_turn"))
    assert events == [CallStarted("a", "LS"), Stopped("tool_use", Usage(25, 1))]


def test_events_deltas_and_blocks_that_do_not_exist_yet_are_left_out() -> None:
    events = reply(
        start(),
        {"type": "vibe", "index": 0},
        block(0, type="server_tool_use", id="srv", name="web_search", input={}),
        json_delta(0, '{"query": "x"}'),
        stop(0),
        block(1, type="web_search_tool_result", content=[]),
        stop(1),
        block(2, type="text", text=""),
        delta(2, type="citations_delta", citation={}),
        delta(2, type="text_delta", text="Hi"),
        stop(2),
        *end(),
    )
    assert events == [TextDelta("Hi"), Stopped("end_turn", Usage(25, 1))]


def test_input_that_comes_at_once_is_the_arguments() -> None:
    events = reply(start(), block(0, type="tool_use", id="a", name="LS", input={"path": "x"}), stop(0), *end())
    assert events[:2] == [CallStarted("a", "LS"), CallDelta("a", '{"path": "x"}')]


def test_input_that_comes_twice_is_taken_from_the_deltas() -> None:
    begun = block(0, type="tool_use", id="a", name="LS", input={"path": "x"})
    events = reply(start(), begun, json_delta(0, '{"path": "x"}'), stop(0), *end())
    assert events[:2] == [CallStarted("a", "LS"), CallDelta("a", '{"path": "x"}')]
    assert len(events) == 3


def test_calls_of_one_id_or_none_stay_apart() -> None:
    events = reply(
        start(),
        block(0, type="tool_use", id="a", name="LS", input={}),
        block(1, type="tool_use", id="a", name="LS", input={}),
        block(2, type="tool_use", name="LS", input={}),
        json_delta(0, '{"n":0}'),
        json_delta(1, '{"n":1}'),
        json_delta(2, '{"n":2}'),
        *end(),
    )
    found = assembled(events).message().calls
    assert [call.input["n"] for call in found] == [0, 1, 2]
    assert found[0].id == "a"
    assert len({call.id for call in found}) == 3


def test_a_delta_for_a_block_that_never_began_begins_it() -> None:
    events = reply(start(), delta(0, type="text_delta", text="Hi"), json_delta(1, "{}"), *end())
    assert assembled(events).message().content == (Text("Hi"), ToolUse("call_1", "unnamed", {}))


def test_a_block_that_never_stops_stops_with_the_message() -> None:
    thought = [delta(0, type="thinking_delta", thinking="Hm"), delta(0, type="signature_delta", signature="Er8=")]
    events = reply(start(), block(0, type="thinking", thinking=""), *thought, *end())
    assert events == [ThinkingDelta("Hm"), ThinkingSigned("Er8="), Stopped("end_turn", Usage(25, 1))]


@pytest.mark.parametrize(
    ("first", "last", "told"),
    [
        ({"input_tokens": 0}, {"input_tokens": 30, "output_tokens": 4}, Usage(30, 4)),
        ({"input_tokens": 30}, {"input_tokens": 0, "output_tokens": 4}, Usage(30, 4)),
        ({"input_tokens": 3, "cache_creation_input_tokens": 7}, {}, Usage(10, 0, 0, 7)),
        ({"input_tokens": "3", "output_tokens": None}, {"cache_read_input_tokens": -1}, Usage()),
    ],
)
def test_usage_is_the_largest_of_what_is_told(first: dict[str, Any], last: dict[str, Any], told: Usage) -> None:
    assert reply(start(**first), *end("end_turn", **last))[-1] == Stopped("end_turn", told)


@pytest.mark.parametrize("message", [None, [], {}, {"usage": None}, {"usage": [1]}])
def test_a_start_that_says_nothing_says_nothing(message: Any) -> None:
    assert reply({"type": "message_start", "message": message}, *end()) == [Stopped("end_turn", Usage())]


# --- Faults -------------------------------------------------------------------------------------------------------

END = "NetworkFailed: the answer ended before the reply was complete"
HI = [TextDelta("Hi")]
DONE = [*HI, Stopped("end_turn", Usage(25, 1))]
OVERLOADED = {"type": "error", "error": {"details": None, "type": "overloaded_error", "message": "Overloaded"}}
FAULTS = {
    "nothing at all": (b"", [], END),
    "only a ping": (sse({"type": "ping"}), [], END),
    "the end after the start": (sse(start()), [], END),
    "the end after output": (sse(*TEXT), HI, END),
    "the end within an event": (sse(*TEXT) + b'event: message_delta\ndata: {"type": "mess', HI, END),
    "the end within a character": (
        sse(*TEXT[:2]) + 'data: {"type": "content_block_delta", "delta": {"text": "é'.encode()[:-1],
        [],
        END,
    ),
    "no message_stop": (sse(*TEXT, end()[0]), DONE, ""),
    "no empty line at the end": (sse(*TEXT, *end())[:-2], DONE, ""),
    "something after message_stop": (sse(*TEXT, *end(), *TEXT), DONE, ""),
    "[DONE] after all": (sse(*TEXT, *end()) + b"data: [DONE]\n\n", DONE, ""),
    "no event names": (sse(*TEXT, *end()).replace(b"event: ", b": "), DONE, ""),
    "an error at once": (sse(OVERLOADED), [], "Overloaded: Overloaded"),
    "an error midway": (sse(*TEXT, OVERLOADED, *end()), HI, "Overloaded: Overloaded"),
    "an error as a document": (json.dumps(OVERLOADED).encode(), [], "Overloaded: Overloaded"),
    "no JSON in an event": (sse(*TEXT) + b"data: {oops}\n\n", HI, "ProtocolBroken: this is no JSON: {oops}"),
    "another format": (b'data: {"choices": []}\n\ndata: [DONE]\n\n', [], "ProtocolBroken: its JSON is no message"),
    "another document": (b'{"choices": []}', [], "ProtocolBroken: its JSON is no message"),
    "a message without content": (b'{"type": "message"}', [Stopped("end_turn", Usage())], ""),
    "a page": (b"<html><title>Sign in</title>", [], "ProtocolBroken: its answer is no JSON: Sign in"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_outcome_wherever_the_bytes_are_cut(fault: str) -> None:
    data, events, failure = FAULTS[fault]
    assert at_every_cut(Decoder, data) == (events, failure)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["message", "delta", "index", "content_block", "text", "partial_json", "id", "usage", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
kinds = st.sampled_from(
    ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message"]
)


@given(st.lists(st.tuples(kinds, values), max_size=5))
def test_no_json_makes_the_decoder_raise_anything_else(found: list[tuple[str, Any]]) -> None:
    events = [
        ({"type": kind} | value) if isinstance(value, dict) else {"type": kind, "delta": value} for kind, value in found
    ]
    played, failure = play(Decoder, [sse(*events, *end())])
    assert failure.split(":")[0] in {"", *(kind.__name__ for kind in FAILURES)}
    assert failure or isinstance(played[-1], Stopped)
    assembled(played).message()


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes) -> None:
    at_every_cut(Decoder, data)
