"""What is sent to services that speak Chat Completions."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest

from agentd.domain import Image, Message, Text, Thinking, ToolResult, ToolUse
from agentd.providers.openai import OpenAIOptions, encode_request
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.requestbody import NO_OUTPUT, common_prefix

LS = ToolSchema("LS", "Lists a directory", {"type": "object", "properties": {"path": {"type": "string"}}})
PICTURE = Image("image/png", "iVBORw0KGgo=")
DATA_URL = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def user(*blocks: Any) -> Message:
    return Message("user", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def assistant(*blocks: Any) -> Message:
    return Message("assistant", tuple(Text(block) if isinstance(block, str) else block for block in blocks))


def result(call_id: str, *parts: Any, is_error: bool = False) -> ToolResult:
    return ToolResult(call_id, tuple(Text(part) if isinstance(part, str) else part for part in parts), is_error)


def request(*messages: Message, system: str = "", tools: tuple[ToolSchema, ...] = ()) -> ModelRequest:
    return ModelRequest("gpt-x", system, messages, tools)


def body(asked: ModelRequest, **options: Any) -> Any:
    return json.loads(encode_request(asked, OpenAIOptions(**options)).body)


def said(*messages: Message, **options: Any) -> Any:
    return body(request(*messages), **options)["messages"]


def test_a_whole_request() -> None:
    encoded = encode_request(request(user("Hi"), system="Be brief.", tools=(LS,)), OpenAIOptions(key="sk-1"))
    assert encoded.path == "/chat/completions"
    assert encoded.headers == {"authorization": "Bearer sk-1"}
    assert json.loads(encoded.body) == {
        "model": "gpt-x",
        "stream": True,
        "stream_options": {"include_usage": True},
        "tools": [
            {
                "type": "function",
                "function": {"name": "LS", "description": "Lists a directory", "parameters": LS.input_schema},
            }
        ],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
    }


def test_without_a_key_nothing_is_said_of_one() -> None:
    assert encode_request(request(user("Hi")), OpenAIOptions()).headers == {}


def test_the_key_is_in_no_repr() -> None:
    options = OpenAIOptions(key="sk-secret", headers={"x-token": "sk-secret"})
    assert "sk-secret" not in repr(options) + repr(encode_request(request(user("Hi")), options))


def test_parallel_calls_and_their_results() -> None:
    assert said(
        user("Look"),
        assistant("I will.", ToolUse("a", "LS", {"path": "é"}), ToolUse("b", "LS", {})),
        user(result("a", "x", "y"), result("b", is_error=True)),
        assistant("Done."),
    )[1:] == [
        {
            "role": "assistant",
            "content": "I will.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "LS", "arguments": '{"path":"é"}'}},
                {"id": "b", "type": "function", "function": {"name": "LS", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "x\ny"},
        {"role": "tool", "tool_call_id": "b", "content": NO_OUTPUT},
        {"role": "assistant", "content": "Done."},
    ]


def test_a_call_without_text_has_null_for_content() -> None:
    assert said(assistant(ToolUse("a", "LS", {})))[0]["content"] is None


def test_thinking_is_not_sent_back() -> None:
    assert said(assistant(Thinking("Hm.", "sig"), "Yes."), assistant(Thinking("Only this."))) == [
        {"role": "assistant", "content": "Yes."}
    ]


def test_a_tool_that_a_model_invented_has_a_name_that_services_take() -> None:
    calls = said(assistant(ToolUse("a", "run shell!", {}), ToolUse("b", "x" * 99, {})))[0]["tool_calls"]
    assert [call["function"]["name"] for call in calls] == ["run_shell_", "x" * 64]


def test_images_of_a_user_are_data_urls() -> None:
    assert said(user("See", PICTURE)) == [{"role": "user", "content": [{"type": "text", "text": "See"}, DATA_URL]}]


def test_images_of_results_follow_all_results() -> None:
    found = said(
        assistant(ToolUse("a", "Read", {}), ToolUse("b", "LS", {})),
        user(result("a", "a.png", PICTURE), result("b", "x")),
    )
    assert found[1:] == [
        {"role": "tool", "tool_call_id": "a", "content": "a.png\n[an image, in the next message]"},
        {"role": "tool", "tool_call_id": "b", "content": "x"},
        {"role": "user", "content": [{"type": "text", "text": "Returned by the tool call a:"}, DATA_URL]},
    ]


def test_users_that_follow_each_other_are_one() -> None:
    assert said(user("One", "Two"), user("Three"), assistant("Four")) == [
        {"role": "user", "content": "One\n\nTwo\n\nThree"},
        {"role": "assistant", "content": "Four"},
    ]


def test_an_empty_reply_leaves_no_message() -> None:
    assert said(user("One"), assistant(" "), user("Two")) == [{"role": "user", "content": "One\n\nTwo"}]


def test_limits_and_further_members() -> None:
    asked = attrs.evolve(request(user("Hi")), max_tokens=5)
    sent = body(
        asked, max_tokens=9, max_tokens_field="max_completion_tokens", extra={"temperature": 0, "stream": False}
    )
    assert sent["max_completion_tokens"] == 5
    assert (sent["temperature"], sent["stream"]) == (0, True)
    assert body(request(user("Hi")), max_tokens=9, include_usage=False) == {
        "model": "gpt-x",
        "stream": True,
        "max_tokens": 9,
        "messages": [{"role": "user", "content": "Hi"}],
    }


def test_texts_to_stop_at() -> None:
    assert body(attrs.evolve(request(user("Hi")), stop=("END",)))["stop"] == ["END"]


def schema_sent(schema: dict[str, Any]) -> Any:
    return body(attrs.evolve(request(user("Hi")), output_schema=schema))["response_format"]


def test_a_schema_for_the_answer() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
    }
    assert schema_sent(schema) == {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": True, "schema": schema},
    }


def test_a_schema_that_strict_mode_would_refuse_is_not_sent_as_strict() -> None:
    open_object = {"type": "object", "properties": {"a": {}}, "required": ["a"]}
    optional = {"type": "object", "properties": {"a": {}}, "additionalProperties": False}
    inner = {"type": "array", "items": open_object}
    assert [schema_sent(each)["json_schema"]["strict"] for each in (open_object, optional, inner)] == [False] * 3


def test_half_a_surrogate_pair_can_be_sent() -> None:
    assert said(user("a\ud800b")) == [{"role": "user", "content": "a?b"}]


# --- The prompt cache ---------------------------------------------------------------------------------------------

CONVERSATION = (
    user("Look"),
    assistant("I will.", ToolUse("a", "LS", {"path": "."}), ToolUse("b", "Read", {"file_path": "x"})),
    user(result("a", "x"), result("b", "y" * 50, PICTURE)),
    assistant(Thinking("Hm."), ToolUse("c", "LS", {})),
    user(result("c", "z")),
    assistant("Done."),
    user("More"),
)


def encoded(length: int) -> bytes:
    return encode_request(request(*CONVERSATION[:length], system="Be brief.", tools=(LS,)), OpenAIOptions()).body


def test_the_same_request_is_the_same_bytes() -> None:
    assert encoded(7) == encoded(7)


def test_what_a_message_adds_is_at_the_end() -> None:
    for length in range(1, len(CONVERSATION)):
        assert common_prefix(encoded(length), encoded(length + 1)) == len(encoded(length)) - len("]}")


def test_a_message_that_joins_the_last_changes_only_its_end() -> None:
    one, two = (
        encode_request(request(*messages), OpenAIOptions()).body for messages in ((user("A"),), (user("A"), user("B")))
    )
    assert common_prefix(one, two) == len(one) - len('"}]}')


@pytest.mark.parametrize(
    ("model", "tokens", "with_tools", "effort"),
    [
        ("o3", 0, True, "low"),
        ("o4-mini", 4095, True, "low"),
        ("openai/gpt-oss-120b", 4096, True, "medium"),
        ("gpt-5", 16_384, True, "high"),
        ("gpt-5-mini", 99_999, False, "high"),
        ("gpt-5.6-terra", 99_999, False, "high"),
        ("gpt-5.6-terra", 99_999, True, None),  # Chat Completions refuses it beside tools
        ("gpt-5-chat-latest", 99_999, False, None),
        ("gpt-4.1", 99_999, False, None),
        ("qwen3-coder", 99_999, False, None),
        ("phi-o3", 99_999, False, None),
        ("o3", None, False, None),
    ],
)
def test_how_much_to_think_is_said_where_it_makes_sense(
    model: str, tokens: int | None, with_tools: bool, effort: str | None
) -> None:
    asked = attrs.evolve(request(user("Hi")), model=model, thinking_tokens=tokens, tools=(LS,) if with_tools else ())
    assert body(asked).get("reasoning_effort") == effort


def test_what_a_request_says_of_thinking_counts_before_what_is_configured() -> None:
    extra = {"reasoning_effort": "high"}
    asked = attrs.evolve(request(user("Hi")), model="o3", thinking_tokens=0)
    assert body(asked, extra=extra)["reasoning_effort"] == "low"
    assert body(attrs.evolve(asked, thinking_tokens=None), extra=extra)["reasoning_effort"] == "high"


def test_the_end_user_is_told() -> None:
    assert body(attrs.evolve(request(user("Hi")), user="ann"))["user"] == "ann"
    assert "user" not in body(request(user("Hi")))
