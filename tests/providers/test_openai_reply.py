"""Replies of services that speak Chat Completions, as their documentation, source or issues show them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Text, Thinking, ToolUse, Usage
from agentd.providers.failures import FAILURES, ProtocolBroken, Target
from agentd.providers.jsonstream import MAX_ANSWER, MAX_DOCUMENT
from agentd.providers.openai_reply import Decoder
from agentd.providers.protocol import CallDelta, CallStarted, Stopped, StreamEvent, TextDelta, ThinkingDelta
from tests.providers.streams import assembled, at_every_cut, data_lines, play


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-123",
        "object": "chat.completion.chunk",
        "created": 1694268190,
        "model": "m",
        "choices": [{"index": 0, "delta": delta or {}, "logprobs": None, "finish_reason": finish}],
        **more,
    }


def call(index: int | None, *, id: str | None = None, name: str | None = None, args: Any = None) -> dict[str, Any]:  # noqa: A002
    function = {key: value for key, value in (("name", name), ("arguments", args)) if value is not None}
    piece: dict[str, Any] = {"function": function}
    if index is not None:
        piece["index"] = index
    if id is not None:
        piece |= {"id": id, "type": "function"}
    return {"tool_calls": [piece]}


class Fed:
    """100 MB, and how much of it was taken."""

    def __init__(self, start: bytes, piece: bytes) -> None:
        self.size = 0
        self._pieces = [start, *[piece] * (100_000_000 // len(piece))]

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.size += len(piece)
            yield piece


def reply(*chunks: Any) -> list[StreamEvent]:
    events, failure = play(Decoder, [data_lines(*chunks, "[DONE]")])
    assert not failure
    return events


def calls(*deltas: dict[str, Any]) -> list[tuple[str, str, Any]]:
    message = assembled(reply(*(chunk(delta) for delta in deltas), chunk({}, "tool_calls"))).message()
    return [(each.id, each.name, each.input) for each in message.calls]


# --- Transcripts --------------------------------------------------------------------------------------------------

OPENAI_TEXT = """\
data: {"id":"chatcmpl-B9","object":"chat.completion.chunk","created":1741570283,"model":"gpt-4o-2024-08-06",\
"service_tier":"default","system_fingerprint":"fp_fc9","choices":[{"index":0,"delta":{"role":"assistant","content":"",\
"refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"7jP"}

data: {"id":"chatcmpl-B9","choices":[{"index":0,"delta":{"content":"Grüße, "},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B9","choices":[{"index":0,"delta":{"content":"Welt 🌍"},"finish_reason":null}],"usage":null}

data: {"id":"chatcmpl-B9","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}],"usage":null}

data: {"id":"chatcmpl-B9","choices":[],"usage":{"prompt_tokens":1117,"completion_tokens":46,"total_tokens":1163,\
"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0}}}

data: [DONE]

"""


def test_text_from_openai() -> None:
    events, failure = at_every_cut(Decoder, OPENAI_TEXT.encode())
    assert not failure
    assert events == [TextDelta("Grüße, "), TextDelta("Welt 🌍"), Stopped("end_turn", Usage(1117, 46, 1024))]


def test_parallel_calls_from_openai() -> None:
    data = data_lines(
        chunk({"role": "assistant", "content": None}),
        chunk(call(0, id="call_a", name="Read", args="")),
        chunk(call(0, args='{"file_')),
        chunk(call(0, args='path":"a"}')),
        chunk(call(1, id="call_b", name="LS", args="")),
        chunk(call(1, args="{}")),
        chunk({}, "tool_calls"),
        "[DONE]",
    )
    events, failure = at_every_cut(Decoder, data)
    assert not failure
    assert events == [
        CallStarted("call_a", "Read"),
        CallDelta("call_a", '{"file_'),
        CallDelta("call_a", 'path":"a"}'),
        CallStarted("call_b", "LS"),
        CallDelta("call_b", "{}"),
        Stopped("tool_use", Usage()),
    ]


def test_reasoning_and_a_call_from_vllm() -> None:
    usage = {"prompt_tokens": 340, "total_tokens": 392, "completion_tokens": 52, "prompt_tokens_details": None}
    data = data_lines(
        chunk({"role": "assistant", "content": ""}, prompt_token_ids=None),
        chunk({"reasoning": "Look "}),
        chunk({"reasoning_content": "first."}),
        chunk({"content": "\n\n", "reasoning": None}),
        chunk({"tool_calls": [{"id": "chatcmpl-tool-8e", "type": "function", "index": 0, "function": {"name": "LS"}}]}),
        chunk(call(0, args='{"path": ')),
        chunk(call(0, args='"."}')),
        chunk({"content": ""}, "tool_calls", stop_reason=None),
        {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage},
        "[DONE]",
    )
    events, failure = at_every_cut(Decoder, data)
    assert not failure
    message = assembled(events).message()
    assert message.content == (Thinking("Look first."), Text("\n\n"), ToolUse("chatcmpl-tool-8e", "LS", {"path": "."}))
    assert events[-1] == Stopped("tool_use", Usage(340, 52))


def test_a_reply_from_llama_cpp_whose_usage_is_beside_its_last_choice() -> None:
    timings = {"prompt_n": 1, "prompt_ms": 30.7, "predicted_n": 4, "cache_n": 236}
    usage = {"completion_tokens": 4, "prompt_tokens": 237, "total_tokens": 241}
    data = data_lines(
        chunk({"role": "assistant", "content": None}),
        chunk({"content": "Hi"}),
        chunk({}, "stop", usage=usage, timings=timings),
        "[DONE]",
    )
    events, failure = at_every_cut(Decoder, data)
    assert (events, failure) == ([TextDelta("Hi"), Stopped("end_turn", Usage(237, 4))], "")


def test_two_calls_of_one_index_from_ollama() -> None:
    """github.com/ollama/ollama/issues/15457: whole calls, all of index 0, and "stop" at the end of some versions."""
    events = reply(
        chunk({"role": "assistant", "content": ""} | call(0, id="call_1", name="Write", args='{"file_path":"a"}')),
        chunk({"role": "assistant", "content": ""} | call(0, id="call_2", name="Write", args='{"file_path":"b"}')),
        chunk({"role": "assistant", "content": ""}, "stop"),
    )
    message = assembled(events).message()
    assert [each.input["file_path"] for each in message.calls] == ["a", "b"]
    assert events[-1] == Stopped("tool_use", Usage())


def test_keep_alives_and_reasoning_from_deepseek() -> None:
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "prompt_cache_hit_tokens": 16, "prompt_cache_miss_tokens": 4}
    data = (
        b": keep-alive\n\n: keep-alive\n\n"
        + data_lines(chunk({"role": "assistant", "content": None, "reasoning_content": ""}))
        + b": OPENROUTER PROCESSING\n\n"
        + data_lines(chunk({"content": None, "reasoning_content": "Hm."}), chunk({"content": "Yes."}))
        + data_lines(chunk({"content": ""}, "stop", usage=usage), "[DONE]")
    )
    events, failure = at_every_cut(Decoder, data.replace(b"\n", b"\r\n"))
    assert not failure
    assert events == [ThinkingDelta("Hm."), TextDelta("Yes."), Stopped("end_turn", Usage(20, 5, 16))]


def test_a_document_instead_of_a_stream() -> None:
    document = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "reasoning_content": "Hm.",
                    "content": "Lé",
                    "tool_calls": [
                        {"id": "a", "type": "function", "function": {"name": "LS", "arguments": "{}"}},
                        {"id": "b", "type": "function", "function": {"name": "Read", "arguments": '{"file_path":"x"}'}},
                    ],
                },
                "finish_reason": "tool_calls",
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3},
    }
    events, failure = at_every_cut(Decoder, b" \n" + json.dumps(document, indent=1, ensure_ascii=False).encode())
    assert not failure
    message = assembled(events).message()
    assert message.content == (
        Thinking("Hm."),
        Text("Lé"),
        ToolUse("a", "LS", {}),
        ToolUse("b", "Read", {"file_path": "x"}),
    )
    assert events[-1] == Stopped("tool_use", Usage(7, 3))


# --- What is left open, or done otherwise -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("tool_calls", "tool_use"),
        ("function_call", "tool_use"),
        ("eos", "eos"),
        (None, "end_turn"),
    ],
)
def test_a_finish_reason_is_told_in_our_words(finish: str | None, reason: str) -> None:
    assert reply(chunk({"content": "x"}), chunk({}, finish))[-1] == Stopped(reason, Usage())


def test_a_reply_that_was_cut_in_a_call_was_cut() -> None:
    events = reply(chunk(call(0, id="a", name="Write", args='{"content": "a long')), chunk({}, "length"))
    assert events[-1] == Stopped("max_tokens", Usage())


def test_a_refusal_is_text_and_the_reason() -> None:
    events = reply(chunk({"refusal": "I can't."}), chunk({}, "stop"))
    assert events == [TextDelta("I can't."), Stopped("refusal", Usage())]


def test_content_may_come_as_parts() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    events = reply(chunk({"content": [thought, {"type": "text", "text": "Yes."}, {"type": "text", "text": ""}, 3]}))
    assert events[:2] == [ThinkingDelta("Hm."), TextDelta("Yes.")]


def test_only_the_first_choice_is_the_reply() -> None:
    two = chunk({"content": "a"})
    two["choices"].append({"index": 1, "delta": {"content": "b"}, "finish_reason": "length"})
    assert reply(two) == [TextDelta("a"), Stopped("end_turn", Usage())]


def test_a_final_chunk_that_repeats_the_message_repeats_nothing() -> None:
    last = chunk({}, "stop")
    last["choices"][0]["message"] = {"role": "assistant", "content": "Hi"}
    assert reply(chunk({"content": "Hi"}), last) == [TextDelta("Hi"), Stopped("end_turn", Usage())]


@pytest.mark.parametrize("choices", [[], None, "x", [None], [{}], [{"delta": None}], [{"index": 0, "delta": []}]])
def test_a_chunk_that_says_nothing_says_nothing(choices: Any) -> None:
    assert reply({"choices": choices}, chunk({"content": "x"})) == [TextDelta("x"), Stopped("end_turn", Usage())]


@pytest.mark.parametrize(
    ("usage", "told"),
    [
        ({"prompt_tokens": 5}, Usage(5, 0)),
        ({"completion_tokens": 5}, Usage(0, 5)),
        ({"prompt_tokens": "5", "completion_tokens": None}, Usage()),
        ({"prompt_tokens": -1, "completion_tokens": 2}, Usage(0, 2)),
        ({"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}}, Usage(5, 0, 5)),
        ({"prompt_tokens": 5, "prompt_tokens_details": []}, Usage(5)),
        ([], Usage()),
        (None, Usage()),
    ],
)
def test_usage_is_what_can_be_read_of_it(usage: Any, told: Usage) -> None:
    assert reply(chunk({"content": "x"}), {"choices": [], "usage": usage})[-1] == Stopped("end_turn", told)


def test_of_usage_in_every_chunk_the_last_counts() -> None:
    first, last = ({"prompt_tokens": 9, "completion_tokens": number} for number in (1, 2))
    assert reply(chunk({"content": "x"}, usage=first), chunk({}, "stop", usage=last))[-1] == Stopped(
        "end_turn", Usage(9, 2)
    )


# --- Calls --------------------------------------------------------------------------------------------------------


def test_calls_whose_pieces_alternate() -> None:
    assert calls(
        call(0, id="a", name="Read", args='{"file_path"'),
        call(1, id="b", name="LS", args='{"path"'),
        call(0, args=':"x"}'),
        call(1, args=':"y"}'),
    ) == [("a", "Read", {"file_path": "x"}), ("b", "LS", {"path": "y"})]


def test_several_calls_in_one_delta() -> None:
    both = call(0, id="a", name="LS", args="{}")["tool_calls"] + call(1, id="b", name="LS", args="{}")["tool_calls"]
    assert calls({"tool_calls": both}) == [("a", "LS", {}), ("b", "LS", {})]


def test_calls_without_index() -> None:
    assert calls(
        call(None, id="a", name="LS", args='{"pa'),
        call(None, args='th":"x"}'),
        call(None, id="b", name="LS", args="{}"),
    ) == [("a", "LS", {"path": "x"}), ("b", "LS", {})]


def test_calls_without_ids() -> None:
    assert calls(call(0, name="LS", args="{}"), call(1, name="LS", args='{"path":"x"}')) == [
        ("call_1", "LS", {}),
        ("call_2", "LS", {"path": "x"}),
    ]


def test_calls_with_neither_ids_nor_index() -> None:
    found = calls(call(None, name="LS", args="{}"), call(None, name="Read", args='{"file_path":"x"}'))
    assert [(name, given) for _, name, given in found] == [("LS", {}), ("Read", {"file_path": "x"})]


def test_calls_of_one_id_stay_apart() -> None:
    assert calls(
        call(0, id="a", name="LS", args='{"path":'), call(1, id="a", name="LS", args="{}"), call(0, args="1}")
    ) == [
        ("a", "LS", {"path": 1}),
        ("a_2", "LS", {}),
    ]


def test_a_made_up_id_is_not_one_of_the_service() -> None:
    ids = [each[0] for each in calls(call(0, id="call_2", name="LS"), call(1, name="LS"), call(2, name="LS"))]
    assert len(set(ids)) == 3


def test_an_id_and_the_name_in_every_delta_are_one_call() -> None:
    assert calls(
        call(0, id="r1", name="LS", args='{"path"'),
        call(0, id="r2", name="LS", args=":"),
        call(0, id="r3", name="LS", args='"x"}'),
    ) == [("r1", "LS", {"path": "x"})]


def test_a_name_that_comes_late() -> None:
    assert calls(call(0, id="a"), call(0, args='{"path":'), call(0, name="LS", args='"x"}')) == [
        ("a", "LS", {"path": "x"})
    ]


def test_a_name_that_never_comes() -> None:
    assert calls(call(0, id="a", args='{"path":"x"}')) == [("a", "unnamed", {"path": "x"})]


def test_arguments_as_an_object() -> None:
    assert calls(call(0, id="a", name="LS", args={"path": "ü"})) == [("a", "LS", {"path": "ü"})]


def test_a_function_call_as_it_was_before_tools() -> None:
    assert calls({"function_call": {"name": "LS", "arguments": ""}}, {"function_call": {"arguments": "{}"}}) == [
        ("call_1", "LS", {})
    ]


# --- Faults -------------------------------------------------------------------------------------------------------

HEAD = data_lines(chunk({"content": "Hi"}))
END = "NetworkFailed: the answer ended before the reply was complete"
FAULTS = {
    "nothing at all": (b"", [], END),
    "only keep-alives": (b": ping\n\n", [], END),
    "the end after output": (HEAD, [TextDelta("Hi")], END),
    "the end within an event": (HEAD + b'data: {"choices":[{"del', [TextDelta("Hi")], END),
    "the end within a character": (
        HEAD + data_lines(chunk({"content": "é"})).split(b"\xa9")[0],
        [TextDelta("Hi")],
        END,
    ),
    "the end of the last event is missing": (
        HEAD + data_lines(chunk({}, "stop"))[:-2],
        [TextDelta("Hi"), Stopped("end_turn", Usage())],
        "",
    ),
    "no [DONE]": (HEAD + data_lines(chunk({}, "stop")), [TextDelta("Hi"), Stopped("end_turn", Usage())], ""),
    "no [DONE] and a broken event": (
        HEAD + data_lines(chunk({}, "stop")) + b'data: {"ch',
        [TextDelta("Hi"), Stopped("end_turn", Usage())],
        "",
    ),
    "no finish_reason": (HEAD + b"data: [DONE]\n\n", [TextDelta("Hi"), Stopped("end_turn", Usage())], ""),
    "something after [DONE]": (
        HEAD + data_lines("[DONE]", chunk({"content": "x"}), "junk"),
        [TextDelta("Hi"), Stopped("end_turn", Usage())],
        "",
    ),
    "only [DONE]": (b"data: [DONE]\n\n", [Stopped("end_turn", Usage())], ""),
    "no space after the colon": (
        b'data:{"choices":[{"delta":{"content":"x"}}]}\n\ndata:[DONE]\n\n',
        [TextDelta("x"), Stopped("end_turn", Usage())],
        "",
    ),
    "no JSON in an event": (HEAD + b"data: {oops}\n\n", [TextDelta("Hi")], "ProtocolBroken: this is no JSON: {oops}"),
    "half JSON in an event": (
        HEAD + b'data: {"choices":\n\n',
        [TextDelta("Hi")],
        'ProtocolBroken: this is no JSON: {"choices":',
    ),
    "JSON that is no object": (
        HEAD + data_lines(3, None, [1], "[DONE]"),
        [TextDelta("Hi"), Stopped("end_turn", Usage())],
        "",
    ),
    "an error instead of a reply": (
        data_lines({"error": {"message": "Overloaded", "type": "overloaded_error"}}),
        [],
        "Overloaded: Overloaded",
    ),
    "an error midway": (
        HEAD + data_lines({"error": {"code": 502, "message": "Provider gone"}, "choices": []}, "[DONE]"),
        [TextDelta("Hi")],
        "ServerFailed: Provider gone",
    ),
    "an error midway, as vLLM's": (
        HEAD + data_lines({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}),
        [TextDelta("Hi")],
        "BadRequest: bad",
    ),
    "an error as text": (
        HEAD + data_lines({"error": "out of memory"}),
        [TextDelta("Hi")],
        "ServerFailed: out of memory",
    ),
    "an error as a document": (
        b'{"error":{"code":400,"message":"too big","type":"exceed_context_size_error"}}',
        [],
        "ContextOverflow: too big",
    ),
    "another format": (
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        [],
        "ProtocolBroken: its JSON is no chat completion",
    ),
    "another document": (b'{"status": "ok"}', [], "ProtocolBroken: its JSON is no chat completion"),
    "a document that is no object": (b"[]", [], "ProtocolBroken: its JSON is no chat completion"),
    "a document without choices": (b'{"choices": []}', [Stopped("end_turn", Usage())], ""),
    "half a document": (b'{"choices": [', [], 'ProtocolBroken: this is no JSON: {"choices": ['),
    "lines of JSON": (b'{"a":1}\n{"b":2}', [], 'ProtocolBroken: this is no JSON: {"a":1} {"b":2}'),
    "a page": (
        b"<!doctype html><title>Sign in</title><p>Please",
        [],
        "ProtocolBroken: its answer is no JSON: Sign in",
    ),
    "plain text": (b"Not here", [], "ProtocolBroken: its answer is no JSON: Not here"),
    "a byte order mark": (
        b"\xef\xbb\xbf" + HEAD + b"data: [DONE]\n\n",
        [TextDelta("Hi"), Stopped("end_turn", Usage())],
        "",
    ),
    "deep JSON": (b"data: " + b"[" * 2000 + b"\n\n", [], f"ProtocolBroken: this is no JSON: {'[' * 282}…"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_has_its_outcome_wherever_the_bytes_are_cut(fault: str) -> None:
    data, events, failure = FAULTS[fault]
    assert at_every_cut(Decoder, data) == (events, failure)


def test_a_long_page_is_told_before_its_end() -> None:
    decoder = Decoder(Target())
    with pytest.raises(ProtocolBroken, match="is no JSON: Welcome"):
        list(decoder.feed(b"<html><title>Welcome</title>" + b" " * 4000))


@pytest.mark.parametrize("start", [b"data: ", b"data: {}\n\ndata: ", b'{"choices": "', b": "])
def test_an_endless_line_is_not_kept(start: bytes) -> None:
    fed = Fed(start, b"x" * 65536)
    _, failure = play(Decoder, fed)
    assert "of more than 16777216" in failure
    assert fed.size <= MAX_DOCUMENT + 3 * 65536


def test_an_endless_answer_ends() -> None:
    fed = Fed(b"", data_lines(chunk({"content": "x" * 500_000})))
    _, failure = play(Decoder, fed)
    assert failure == f"ProtocolBroken: its answer is larger than {MAX_ANSWER} bytes"
    assert fed.size <= MAX_ANSWER + 600_000


def test_a_reply_is_finished_once_its_reason_has_come() -> None:
    decoder = Decoder(Target())
    list(decoder.feed(HEAD))
    assert not decoder.finished
    list(decoder.feed(data_lines(chunk({}, "stop"))))
    assert decoder.finished


values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "index",
                    "tool_calls",
                    "function",
                    "name",
                    "arguments",
                    "id",
                    "content",
                    "usage",
                    "error",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(values, max_size=5))
def test_no_json_makes_the_decoder_raise_anything_else(chunks: list[Any]) -> None:
    events, failure = play(Decoder, [data_lines(*map(json.dumps, chunks), "[DONE]")])
    assert failure.split(":")[0] in {"", *(kind.__name__ for kind in FAILURES)}
    assert failure or isinstance(events[-1], Stopped)
    assembled(events).message()


@given(st.binary(max_size=200))
def test_no_bytes_make_the_decoder_raise_anything_else(data: bytes) -> None:
    at_every_cut(Decoder, data)
