"""What is sent to services that speak the Messages API."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from agentd.domain import Image, Message, Text, Thinking, ToolResult, ToolUse
from agentd.providers.anthropic import MAX_TOKENS, VERSION, AnthropicOptions, default_max_tokens, encode_request
from agentd.providers.anthropic_reply import REDACTED
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.requestbody import NO_OUTPUT, common_prefix

LS = ToolSchema("LS", "Lists a directory", {"type": "object", "properties": {"path": {"type": "string"}}})
READ = ToolSchema("Read", "Reads a file", {"type": "object"})
PICTURE = Image("image/png", "iVBORw0KGgo=")
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
MARK = {"cache_control": {"type": "ephemeral"}}


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def result(call_id: str, *parts: Any, is_error: bool = False) -> ToolResult:
    return ToolResult(call_id, tuple(Text(part) if isinstance(part, str) else part for part in parts), is_error)


def request(*messages: Message, system: str = "", tools: tuple[ToolSchema, ...] = ()) -> ModelRequest:
    return ModelRequest("claude-x", system, messages, tools)


def body(asked: ModelRequest, **options: Any) -> Any:
    return json.loads(encode_request(asked, AnthropicOptions(**options)).body)


def said(*messages: Message) -> Any:
    return body(request(*messages), cache=False)["messages"]


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def test_a_whole_request() -> None:
    encoded = encode_request(request(user("Hi"), system="Be brief.", tools=(READ, LS)), AnthropicOptions(key="sk-1"))
    assert encoded.path == "/v1/messages"
    assert encoded.headers == {"anthropic-version": VERSION, "x-api-key": "sk-1"}
    assert json.loads(encoded.body) == {
        "model": "claude-x",
        "max_tokens": MAX_TOKENS,
        "stream": True,
        "tools": [
            {"name": "Read", "description": "Reads a file", "input_schema": READ.input_schema},
            {"name": "LS", "description": "Lists a directory", "input_schema": LS.input_schema} | MARK,
        ],
        "system": [text("Be brief.") | MARK],
        "messages": [{"role": "user", "content": [text("Hi") | MARK]}],
    }


def test_a_gateway_may_want_the_key_and_more_in_other_headers() -> None:
    options = AnthropicOptions(key="sk-1", bearer=True, betas=("a", "b"), headers={"x-team": "t"})
    assert encode_request(request(user("Hi")), options).headers == {
        "anthropic-version": VERSION,
        "anthropic-beta": "a,b",
        "authorization": "Bearer sk-1",
        "x-team": "t",
    }


def test_the_key_is_in_no_repr() -> None:
    options = AnthropicOptions(key="sk-secret")
    assert "sk-secret" not in repr(options) + repr(encode_request(request(user("Hi")), options))


@pytest.mark.parametrize(
    ("model", "limit"),
    [
        ("claude-3-opus-20240229", 4096),
        ("claude-3-5-sonnet-20241022", 8192),
        ("claude-3-7-sonnet-20250219", MAX_TOKENS),
        ("claude-opus-4-6", MAX_TOKENS),
        ("glm-5", MAX_TOKENS),
    ],
)
def test_max_tokens_has_a_default(model: str, limit: int) -> None:
    assert default_max_tokens(model) == limit


def test_max_tokens_may_be_configured_and_asked_for() -> None:
    asked = request(user("Hi"))
    assert body(asked, max_tokens=9)["max_tokens"] == 9
    assert body(attrs.evolve(asked, max_tokens=5), max_tokens=9)["max_tokens"] == 5


def test_further_members_and_a_schema_for_the_answer() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    asked = attrs.evolve(request(user("Hi")), output_schema=schema)
    sent = body(asked, extra={"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}, "stream": False})
    assert sent["thinking"] == {"type": "adaptive"}
    assert sent["output_config"] == {"effort": "low", "format": {"type": "json_schema", "schema": schema}}
    assert sent["stream"] is True


def test_texts_to_stop_at() -> None:
    assert body(attrs.evolve(request(user("Hi")), stop=("END",)))["stop_sequences"] == ["END"]


def test_calls_and_results() -> None:
    assert said(
        user("Look"),
        assistant("I will.", ToolUse("a", "LS", {"path": "é"}), ToolUse("b", "LS", {})),
        user("And hurry.", result("a", "x", PICTURE), result("b", is_error=True)),
    )[1:] == [
        {
            "role": "assistant",
            "content": [
                text("I will."),
                {"type": "tool_use", "id": "a", "name": "LS", "input": {"path": "é"}},
                {"type": "tool_use", "id": "b", "name": "LS", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": [text("x"), IMAGE]},
                {"type": "tool_result", "tool_use_id": "b", "content": [text(NO_OUTPUT)], "is_error": True},
                text("And hurry."),
            ],
        },
    ]


def test_ids_and_names_that_this_service_refuses_are_changed_alike_in_calls_and_results() -> None:
    found = said(assistant(ToolUse("functions.LS:0", "l s", {})), user(result("functions.LS:0", "x")))
    (call,), (answer,) = (message["content"] for message in found)
    assert call["id"] == answer["tool_use_id"] == "functions_LS_0_7b7ec4cc"
    assert call["name"] == "l_s"


def test_signed_thinking_goes_back_unchanged() -> None:
    call = ToolUse("a", "LS", {})
    content = said(assistant(Thinking("Hm.", "Er8="), Thinking("", "Eq8="), Thinking("", f"{REDACTED}Emw"), call))[0][
        "content"
    ]
    assert content[:3] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "Er8="},
        {"type": "thinking", "thinking": "", "signature": "Eq8="},
        {"type": "redacted_thinking", "data": "Emw"},
    ]


def test_thinking_without_signature_is_not_sent() -> None:
    assert said(assistant(Thinking("Hm."), "Yes.")) == [{"role": "assistant", "content": [text("Yes.")]}]


def test_thinking_that_nothing_follows_is_not_sent() -> None:
    assert said(assistant("Yes.", Thinking("Hm.", "Er8=")), user("So?"), assistant(Thinking("Hm.", "Er8="))) == [
        {"role": "assistant", "content": [text("Yes.")]},
        {"role": "user", "content": [text("So?")]},
    ]


def test_blank_text_is_not_sent() -> None:
    assert said(user("One", " "), assistant("\n"), user(PICTURE)) == [{"role": "user", "content": [text("One"), IMAGE]}]


# --- The prompt cache ---------------------------------------------------------------------------------------------

CONVERSATION = (
    user("Look"),
    assistant(Thinking("Hm.", "Er8="), "I will.", ToolUse("a", "LS", {"path": "."}), ToolUse("b", "Read", {})),
    user(result("a", "x"), result("b", "y" * 50, PICTURE)),
    assistant(ToolUse("c", "LS", {})),
    user(result("c", "z")),
    assistant("Done."),
    user("More"),
)


def encoded(length: int) -> bytes:
    return encode_request(request(*CONVERSATION[:length], system="Be brief.", tools=(LS,)), AnthropicOptions()).body


def test_the_same_request_is_the_same_bytes() -> None:
    assert encoded(7) == encoded(7)


def test_what_a_message_adds_is_at_the_end() -> None:
    for length in range(1, len(CONVERSATION)):
        unmarked = encoded(length).replace(b',"cache_control":{"type":"ephemeral"}', b"")
        assert common_prefix(encoded(length), encoded(length + 1)) == len(unmarked) - len("]}")


def test_at_most_four_marks_are_set_and_each_call_marks_where_the_one_before_ended() -> None:
    for length in range(1, len(CONVERSATION) + 1, 2):
        sent = json.loads(encoded(length))
        users = [message["content"] for message in sent["messages"] if message["role"] == "user"]
        assert encoded(length).count(b'"cache_control"') == 2 + min(2, len(users))
        assert all("cache_control" in content[-1] for content in users[-2:])


def test_marks_can_be_switched_off() -> None:
    asked = request(*CONVERSATION, system="Be brief.", tools=(LS,))
    assert b"cache_control" not in encode_request(asked, AnthropicOptions(cache=False)).body


def thinking(model: str, tokens: int | None, max_tokens: int | None = None, **extra: Any) -> Any:
    asked = attrs.evolve(request(user("Hi")), model=model, thinking_tokens=tokens, max_tokens=max_tokens)
    sent = body(asked, extra=extra)
    return {key: sent[key] for key in ("thinking", "output_config", *extra) if key in sent}


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-7-sonnet-20250219",
        "claude-opus-4-20250514",
        "claude-opus-4-1-20250805",
        "claude-sonnet-4-0",
        "claude-haiku-4-5",
        "anthropic/claude-sonnet-4.6",
        "kimi-k2",
    ],
)
def test_a_model_that_takes_a_number_of_tokens_gets_it(model: str) -> None:
    assert thinking(model, 5000) == {"thinking": {"type": "enabled", "budget_tokens": 5000}}
    assert thinking(model, 0) == {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize("model", ["claude-opus-4-7", "claude-opus-4.8", "claude-sonnet-5-5", "claude-haiku-5-5"])
def test_a_model_that_takes_an_effort_gets_that(model: str) -> None:
    adaptive = {"type": "adaptive"}
    assert [thinking(model, tokens) for tokens in (0, 5000, 32_000)] == [
        {"thinking": adaptive, "output_config": {"effort": effort}} for effort in ("low", "medium", "high")
    ]


@pytest.mark.parametrize("model", ["claude-3-5-haiku-latest", "claude-3-opus-20240229", "claude-2.1"])
def test_a_model_that_does_not_think_is_told_nothing_of_it(model: str) -> None:
    assert thinking(model, 5000) == {}


@pytest.mark.parametrize(
    ("tokens", "max_tokens", "budget"), [(1, None, 1024), (99_999, 10_000, 5904), (99_999, 5120, 1024), (9, 5119, None)]
)
def test_what_is_thought_leaves_room_for_an_answer(tokens: int, max_tokens: int | None, budget: int | None) -> None:
    found = thinking("claude-haiku-4-5", tokens, max_tokens).get("thinking")
    assert found == (None if budget is None else {"type": "enabled", "budget_tokens": budget})


def test_what_is_refused_beside_thinking_is_left_out() -> None:
    assert thinking("claude-haiku-4-5", 2000, temperature=0, top_k=5, top_p=0.99) == {
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "top_p": 0.99,
    }


def test_what_a_request_says_of_thinking_counts_before_what_is_configured() -> None:
    extra: dict[str, Any] = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max", "x": 1}}
    assert thinking("claude-opus-5-5", None, **extra) == extra
    assert thinking("claude-opus-5-5", 0, **extra)["output_config"] == {"effort": "low", "x": 1}


def test_a_schema_and_an_effort_stand_beside_each_other() -> None:
    schema = {"type": "object"}
    asked = attrs.evolve(request(user("Hi")), model="claude-opus-5-5", thinking_tokens=1, output_schema=schema)
    assert body(asked)["output_config"] == {"format": {"type": "json_schema", "schema": schema}, "effort": "low"}


def test_the_end_user_is_told() -> None:
    assert body(attrs.evolve(request(user("Hi")), user="ann"))["metadata"] == {"user_id": "ann"}
    assert "metadata" not in body(request(user("Hi")))
