"""The Messages API, as spoken by Anthropic and by services that copy it: what is sent.

anthropic_reply.py reads what comes back. The rules: platform.claude.com/docs, "Messages", "Prompt caching", "Structured
outputs", "Preserved thinking" (signed thinking goes back unchanged, and what is before it too), "Extended thinking" and
"Adaptive thinking", "Handle tool calls" (the results first in a user message, directly after the calls).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from agentd.domain import Block, Image, Message, Text, Thinking, ToolResult, ToolUse
from agentd.providers.anthropic_reply import REDACTED, Decoder
from agentd.providers.failures import Target
from agentd.providers.protocol import ModelRequest, ToolSchema
from agentd.providers.requestbody import (
    CACHE_MARK,
    Encoded,
    dump,
    effort,
    result_parts,
    safe_id,
    safe_name,
    user_tag,
)
from agentd.providers.service import Service

PATH = "/v1/messages"
VERSION = "2023-06-01"
MAX_TOKENS = 32_000  # of a reply, where nobody says; all models since 3.7 can do more
_OLDER_MAX_TOKENS = (("claude-3-7-", MAX_TOKENS), ("claude-3-5-", 8192), ("claude-3-", 4096))
LONGEST_NAME = 64
LEAST_BUDGET = 1024  # tokens that a model may be told to think for
ANSWER_TOKENS = 4096  # of a reply that are not for thinking: both count towards max_tokens
_THOUGHTLESS = re.compile(r"claude-(?:2|instant|3-(?:opus|sonnet|haiku)|3[-.]5)")
_BUDGETED = re.compile(r"claude-(?:3[-.]7|(?:opus|sonnet|haiku)-4(?![-.](?:[7-9]|\d\d)(?!\d)))")  # 3.7, 4 … 4.6


@attrs.frozen
class AnthropicOptions:
    """How a service, or one model of it, is spoken to."""

    key: str = attrs.field(default="", repr=False)
    bearer: bool = False  # the key goes into Authorization, as gateways want it, not into x-api-key
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    betas: tuple[str, ...] = ()
    max_tokens: int | None = None  # where a request does not say; None: what the model is known to take
    cache: bool = True  # mark what the service should keep in its prompt cache
    extra: Mapping[str, Any] = attrs.field(factory=dict)  # members of the body: thinking, temperature …


class AnthropicProvider(Service[AnthropicOptions]):
    """A service that speaks the Messages API. Its base URL is what comes before /v1/messages."""

    def encode(self, request: ModelRequest, options: AnthropicOptions) -> Encoded:
        return encode_request(request, options)

    def decoder(self, target: Target) -> Decoder:
        return Decoder(target)

    def base_path(self, path: str) -> str:
        return path.removesuffix("/v1")


def encode_request(request: ModelRequest, options: AnthropicOptions) -> Encoded:
    """The request that asks for a stream. Of two whose messages begin alike, so do the bodies, but for cache marks."""
    limit = request.max_tokens or options.max_tokens or default_max_tokens(request.model)
    body: dict[str, Any] = {**options.extra, "model": request.model, "max_tokens": limit, "stream": True}
    if request.output_schema is not None:
        _configure_output(body, format={"type": "json_schema", "schema": request.output_schema})
    if request.thinking_tokens is not None:
        _think(body, request.thinking_tokens, limit)
    if request.user:
        body["metadata"] = {"user_id": user_tag(request.user)}
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [_tool(tool) for tool in request.tools]
    if request.system:
        body["system"] = [{"type": "text", "text": request.system}]
    body["messages"] = _messages(request.messages)
    if options.cache:
        _mark(body)
    return Encoded(PATH, _headers(options), dump(body))


def _configure_output(body: dict[str, Any], **said: Any) -> None:
    body["output_config"] = {**body.get("output_config", {}), **said}


def _think(body: dict[str, Any], tokens: int, limit: int) -> None:
    """A number of tokens is refused by Claude since 4.7, and an effort is not known to Claude before 4.6, nor to the
    services that copy the format."""
    model = body["model"].lower()
    if _THOUGHTLESS.search(model):
        return
    if "claude-" in model and not _BUDGETED.search(model):
        body["thinking"] = {"type": "adaptive"}  # some of these cannot be kept from thinking
        _configure_output(body, effort=effort(tokens))
    elif tokens == 0:
        body["thinking"] = {"type": "disabled"}
    elif limit >= LEAST_BUDGET + ANSWER_TOKENS:
        budget = min(max(tokens, LEAST_BUDGET), limit - ANSWER_TOKENS)
        body["thinking"] = {"type": "enabled", "budget_tokens": budget}
        for name in ("temperature", "top_k"):  # of the configuration: refused beside thinking
            body.pop(name, None)


def default_max_tokens(model: str) -> int:
    return next((limit for start, limit in _OLDER_MAX_TOKENS if model.startswith(start)), MAX_TOKENS)


def _headers(options: AnthropicOptions) -> dict[str, str]:
    headers = {"anthropic-version": VERSION}
    if options.betas:
        headers["anthropic-beta"] = ",".join(options.betas)
    if options.key:
        headers |= {"authorization": f"Bearer {options.key}"} if options.bearer else {"x-api-key": options.key}
    return headers | dict(options.headers)


def _tool(tool: ToolSchema) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "input_schema": tool.input_schema}


def _mark(body: dict[str, Any]) -> None:
    """Four marks are allowed. The tools are the same for all jobs, the system prompt for those in one workspace; the
    last user message is what the next call goes on from, and the one before is what this call does."""
    users = [message for message in body["messages"] if message["role"] == "user"]
    for blocks in (body.get("tools"), body.get("system"), *(message["content"] for message in users[-2:])):
        if blocks:
            blocks[-1]["cache_control"] = CACHE_MARK


def _messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    for message in messages:
        content = list(_assistant(message.content) if message.role == "assistant" else _user(message.content))
        if content and said and said[-1]["role"] == message.role:
            said[-1]["content"] += content
        elif content:
            said.append({"role": message.role, "content": content})
    return said


def _assistant(content: tuple[Block, ...]) -> Iterator[dict[str, Any]]:
    """What the model said. Thinking is left out where it has no signature, so was not made by this service or not to
    its end, and where nothing follows it: such a message is refused."""
    last = max((at for at, block in enumerate(content) if _is_said(block)), default=-1)
    for block in content[: last + 1]:
        if isinstance(block, Thinking) and block.signature:
            yield _thinking(block.thinking, block.signature)
        elif isinstance(block, ToolUse):
            name = safe_name(block.name, LONGEST_NAME)
            yield {"type": "tool_use", "id": safe_id(block.id), "name": name, "input": block.input}
        elif isinstance(block, Text) and _is_said(block):
            yield _text(block)


def _is_said(block: Block) -> bool:
    return isinstance(block, ToolUse) or (isinstance(block, Text) and bool(block.text.strip()))  # blank text is refused


def _thinking(text: str, signature: str) -> dict[str, Any]:
    if signature.startswith(REDACTED):
        return {"type": "redacted_thinking", "data": signature.removeprefix(REDACTED)}
    return {"type": "thinking", "thinking": text, "signature": signature}


def _user(content: tuple[Block, ...]) -> Iterator[dict[str, Any]]:
    for block in content:
        if isinstance(block, ToolResult):
            yield _result(block)
    for block in content:
        if isinstance(block, Image) or (isinstance(block, Text) and _is_said(block)):
            yield _part(block)


def _result(result: ToolResult) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "type": "tool_result",
        "tool_use_id": safe_id(result.tool_use_id),
        "content": [_part(part) for part in result_parts(result)],
    }
    return encoded | {"is_error": True} if result.is_error else encoded


def _part(part: Text | Image) -> dict[str, Any]:
    return _text(part) if isinstance(part, Text) else _image(part)


def _text(text: Text) -> dict[str, Any]:
    return {"type": "text", "text": text.text}


def _image(image: Image) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}}
