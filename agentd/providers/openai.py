"""Chat Completions, as spoken by OpenAI, vLLM, llama.cpp, Ollama (/v1), LiteLLM and most others: what is sent.

openai_reply.py reads what comes back. The rules: the API reference (developers.openai.com/api/reference, "Create chat
completion"), and docs.vllm.ai, "OpenAI-Compatible Server"; docs.ollama.com/openai; llama.cpp, tools/server/README.md.
Thinking is not sent back: the format has no place for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from agentd.domain import Image, Message, Text, ToolResult, ToolUse
from agentd.providers.failures import Target
from agentd.providers.openai_reply import Decoder
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.requestbody import Encoded, dump, effort, result_parts, safe_name, user_tag
from agentd.providers.service import Service

PATH = "/chat/completions"
LONGEST_NAME = 64
_THINKS = re.compile(r"(?:^|/)(?:o\d|gpt-5|gpt-oss)(?!.*-chat)")  # models that take an effort
_NOT_WITH_TOOLS = re.compile(r"(?:^|/)gpt-5\.")  # and those that take it only where no tools are on offer


@attrs.frozen
class OpenAIOptions:
    """How a service, or one model of it, is spoken to."""

    key: str = attrs.field(default="", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)  # what a gateway or an organisation wants
    max_tokens: int | None = None  # where a request does not say; None: the service's own limit
    max_tokens_field: str = "max_tokens"  # OpenAI's own models want max_completion_tokens
    include_usage: bool = True  # ask for token counts, which a few old servers refuse
    extra: Mapping[str, Any] = attrs.field(factory=dict)  # members of the body: temperature, reasoning_effort …


class OpenAIProvider(Service[OpenAIOptions]):
    """A service that speaks Chat Completions. Its base URL is what comes before /chat/completions; where that has no
    path, /v1 is meant."""

    def encode(self, request: ModelRequest, options: OpenAIOptions) -> Encoded:
        return encode_request(request, options)

    def decoder(self, target: Target) -> Decoder:
        return Decoder(target)

    def base_path(self, path: str) -> str:
        return path or "/v1"


def encode_request(request: ModelRequest, options: OpenAIOptions) -> Encoded:
    """The request that asks for a stream. Of two whose messages begin alike, so do the bodies."""
    body: dict[str, Any] = {**options.extra, "model": request.model, "stream": True}
    if options.include_usage:
        body["stream_options"] = {"include_usage": True}
    if (limit := request.max_tokens or options.max_tokens) is not None:
        body[options.max_tokens_field] = limit
    if request.thinking_tokens is not None and _takes_effort(request):
        body["reasoning_effort"] = effort(request.thinking_tokens)
    if request.user:
        body["user"] = user_tag(request.user)
    if request.stop:
        body["stop"] = list(request.stop)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.output_schema is not None:
        body["response_format"] = _response_format(request.output_schema)
    body["messages"] = _messages(request)
    authorization = {"authorization": f"Bearer {options.key}"} if options.key else {}
    return Encoded(PATH, {**authorization, **options.headers}, dump(body))


def _takes_effort(request: ModelRequest) -> bool:
    """Whether it makes sense: elsewhere the member is ignored at best."""
    model = request.model.lower()
    return bool(_THINKS.search(model)) and not (request.tools and _NOT_WITH_TOOLS.search(model))


def _tool(tool: ToolSchema) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}
    return {"type": "function", "function": function}


def _response_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "json_schema",
        "json_schema": {"name": "answer", "strict": _is_strict(schema), "schema": schema},
    }


def _is_strict(schema: Any) -> bool:
    """Whether strict mode takes a schema: every object closed, every property required ("Structured outputs")."""
    if isinstance(schema, list):
        return all(_is_strict(each) for each in schema)
    if not isinstance(schema, Mapping):
        return True
    if schema.get("type") == "object" or "properties" in schema:
        named = set(schema.get("properties", ()))
        if schema.get("additionalProperties") is not False or set(schema.get("required", ())) != named:
            return False
    return all(_is_strict(each) for each in schema.values())


def _messages(request: ModelRequest) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = [{"role": "system", "content": request.system}] if request.system else []
    for message in request.messages:
        for each in _assistant(message) if message.role == "assistant" else _user(message):
            if each["role"] == "user" and said and said[-1]["role"] == "user":
                said[-1]["content"] += each["content"]  # templates of many models want the roles to take turns
            else:
                said.append(each)
    for each in said:
        if each["role"] == "user":
            each["content"] = _plain(each["content"])
    return said


def _assistant(message: Message) -> Iterator[dict[str, Any]]:
    text, calls = message.text, message.calls
    if calls:
        yield {"role": "assistant", "content": text or None, "tool_calls": [_call(call) for call in calls]}
    elif text.strip():
        yield {"role": "assistant", "content": text}


def _call(call: ToolUse) -> dict[str, Any]:
    arguments = json.dumps(call.input, ensure_ascii=False, separators=(",", ":"))
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": safe_name(call.name, LONGEST_NAME), "arguments": arguments},
    }


def _user(message: Message) -> Iterator[dict[str, Any]]:
    """The results, each a message of its own right after the calls; then what else was said, and images of results,
    for which a result has no place. The content of a user message is a list of parts here."""
    parts: list[dict[str, Any]] = []
    for block in message.content:
        if isinstance(block, ToolResult):
            yield {"role": "tool", "tool_call_id": block.tool_use_id, "content": _result(block)}
            images = [part for part in block.content if isinstance(part, Image)]
            if images:
                parts.append(_text(f"Returned by the tool call {block.tool_use_id}:"))
            parts += map(_image, images)
        elif isinstance(block, Text):
            parts.append(_text(block.text))
        elif isinstance(block, Image):
            parts.append(_image(block))
    if parts:
        yield {"role": "user", "content": parts}


def _result(result: ToolResult) -> str:
    return "\n".join(
        part.text if isinstance(part, Text) else "[an image, in the next message]" for part in result_parts(result)
    )


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(image: Image) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}


def _plain(parts: list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    """Just text where there is nothing else: not every server takes parts."""
    if all(part["type"] == "text" for part in parts):
        return "\n\n".join(part["text"] for part in parts)
    return parts
