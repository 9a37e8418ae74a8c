"""A text protocol for models whose service has no tool calls: the tools are described in the system prompt, calls are
fenced blocks, and their results come as what the user says.

    ```tool_call
    {"name": "Read", "arguments": {"file_path": "src/a.py"}}
    ```

Wraps a provider. The conversation is told in this form, so that the model sees its own calls as it wrote them; a call
that it writes in another form is salvaged, as salvage.py does. Of two requests that begin alike so do the texts.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs

from agentd.domain import Block, Image, Message, Text, Thinking, ToolResult, ToolUse
from agentd.providers.assemble import INVALID_INPUT
from agentd.providers.protocol import Describing, ModelInfo, ModelRequest, Provider, StreamEvent, ToolSchema
from agentd.providers.requestbody import result_parts
from agentd.providers.salvage import Salvager, salvaged

CALL, RESULT = "tool_call", "tool_result"

INTRODUCTION = f"""\
# Tools

You have tools. To use one, write a block of exactly this form, with the tool's name and its arguments as JSON:

```{CALL}
{{"name": "NAME", "arguments": {{}}}}
```

You may write several blocks, one for each call. Stop after the last one: the results come in the next message, as
{RESULT} blocks. Never write such a block yourself. When you need no more tools, answer without a block.

The tools, each with the JSON Schema of its arguments:"""


class TextCallsProvider:
    """*provider*, with its *models* called without tools (None: all)."""

    def __init__(self, provider: Provider, models: Container[str] | None = None) -> None:
        self._provider = provider
        self._without_tools = models

    @property
    def name(self) -> str:
        return self._provider.name

    def models(self) -> tuple[str, ...]:
        return self._provider.models()

    def describe(self, model: str) -> ModelInfo:
        return self._provider.describe(model) if isinstance(self._provider, Describing) else ModelInfo()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        applies = self._without_tools is None or request.model in self._without_tools
        async with self._provider.stream(as_text(request) if applies else request) as events:
            if not applies:
                yield events
                return
            async with aclosing(salvaged(events, Salvager(request, own_fence=CALL))) as mended:
                yield mended


def as_text(request: ModelRequest) -> ModelRequest:
    """The same without tools, calls and results: all of it is text."""
    system = "\n\n".join(filter(None, [request.system, describe_tools(request.tools)]))
    messages = tuple(_message(message) for message in request.messages)
    stop = (*request.stop, f"```{RESULT}") if request.tools else request.stop
    return attrs.evolve(request, system=system, messages=messages, tools=(), stop=stop)


def describe_tools(tools: tuple[ToolSchema, ...]) -> str:
    """What a system prompt says of them; nothing if there are none."""
    if not tools:
        return ""
    described = (f"## {tool.name}\n{tool.description}\n{_json(tool.input_schema)}" for tool in tools)
    return "\n\n".join([INTRODUCTION, *described])


def _message(message: Message) -> Message:
    if message.role == "assistant":
        kept = tuple(block for block in message.content if isinstance(block, Thinking))
        said = "\n\n".join(filter(None, (_said(block).strip("\n") for block in message.content)))
        return attrs.evolve(message, content=(*kept, Text(said)))
    return attrs.evolve(message, content=tuple(part for block in message.content for part in _told(block)))


def _said(block: Block) -> str:
    if isinstance(block, ToolUse):
        return f"```{CALL}\n{_call(block)}\n```"
    return block.text if isinstance(block, Text) else ""


def _told(block: Block) -> Iterator[Block]:
    if isinstance(block, ToolResult):
        yield Text(_result(block))
        yield from (part for part in block.content if isinstance(part, Image))
    else:
        yield block


def _call(call: ToolUse) -> str:
    marked = call.input.get(INVALID_INPUT)
    if isinstance(marked, Mapping):
        return f'{{"name": {_json(call.name)}, "arguments": {marked.get("text")}}}'  # as the model wrote it
    return _json({"name": call.name, "arguments": call.input})


def _result(result: ToolResult) -> str:
    text = "\n".join(part.text if isinstance(part, Text) else "[an image]" for part in result_parts(result))
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{RESULT}{' error' if result.is_error else ''}\n{text}\n{fence}"


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
