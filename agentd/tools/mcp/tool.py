"""What a model calls: a tool of an MCP server, and the two by which the resources of all servers are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import trio

from agentd.domain import Image, Text, ToolClass
from agentd.errors import StoreFailed, ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.mcp import content, protocol
from agentd.tools.mcp.listing import ToolOffer
from agentd.tools.mcp.pending import Watch
from agentd.tools.mcp.server import Server
from agentd.tools.schema import SUBJECT_CHARACTERS, arg, input_schema, parse
from agentd.tools.schema import subject as subject_of
from agentd.wire.jsonschema import SchemaError, compile_schema

LIVE_LINES = 200  # of progress and logging of one call
RESOURCES = 1000  # of one server
MISFITS = 3  # that a result is told of


@attrs.frozen
class McpTool:
    """*name*: in full."""

    name: str
    server: Server = attrs.field(repr=False)
    offer: ToolOffer

    @property
    def description(self) -> str:
        return self.offer.description

    @property
    def input_schema(self) -> Mapping[str, Any]:
        return self.offer.input_schema

    @property
    def tool_class(self) -> ToolClass:
        return ToolClass.MCP_READ if self.offer.reads_only else ToolClass.MCP

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return protocol.one_line(json.dumps(call_input, ensure_ascii=False, default=str), SUBJECT_CHARACTERS)

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = {"name": self.offer.own, "arguments": dict(call_input)}
        watch = Watch(_some_lines(context.on_output), context.call)
        result = await self.server.ask("tools/call", asked, watch, self.offer.schema)
        return _outcome(result, self.offer, context)


def _outcome(result: Mapping[str, Any], offer: ToolOffer, context: ToolContext) -> ToolOutcome:
    parts = content.read_content(result.get("content"), context.keep)
    is_error = result.get("isError") is True
    structured = result.get("structuredContent")
    if structured is not None:
        told: list[Text | Image] = [] if parts else [Text(content.as_json(structured))]
        told += [] if is_error else _misfits(structured, offer.output_schema)
        parts = (*parts, *content.cut(told, context.keep))
    return ToolOutcome(parts or (Text("[no content]"),), _summary(parts), is_error)


def _misfits(structured: Any, schema: Any) -> list[Text | Image]:
    """A word on what a server says and then does not keep to; nothing where it cannot be checked."""
    if not isinstance(schema, dict):
        return []
    try:
        problems = compile_schema(schema).errors(structured)[:MISFITS]
    except SchemaError:
        return []
    told = protocol.one_line("; ".join(problems), 300)
    return [Text(f"[its structured content is not what its outputSchema says: {told}]")] if problems else []


def _summary(parts: Sequence[Text | Image]) -> str:
    text = next((part.text for part in parts if isinstance(part, Text)), "")
    images = sum(isinstance(part, Image) for part in parts)
    return protocol.one_line(text, SUBJECT_CHARACTERS) or (f"images: {images}" if images else "no content")


def _some_lines(tell: Callable[[str], object]) -> Callable[[str], None]:
    told = 0

    def tell_some(line: str) -> None:
        nonlocal told
        told += 1
        if told <= LIVE_LINES:
            try:
                tell(line if told < LIVE_LINES else "[there is more than is shown live]\n")
            except StoreFailed:  # the end of this call says it again, where it does not end a server
                told = LIVE_LINES

    return tell_some


@attrs.frozen
class ListInput:
    server: str | None = arg("List the resources of this server only", default=None)


@attrs.frozen
class ReadInput:
    server: str = arg("The server that has the resource")
    uri: str = arg("The URI of the resource, as mcp__list_resources tells it")


@attrs.frozen
class ListResources:
    servers: Mapping[str, Server] = attrs.field(repr=False)
    name: str = "mcp__list_resources"
    description: str = "Lists the resources that MCP servers offer, with their URIs, and the templates of URIs."
    input_schema: Mapping[str, Any] = input_schema(ListInput)
    tool_class: ToolClass = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject_of(call_input, "server")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(ListInput, call_input)
        chosen = self.servers if asked.server is None else {asked.server: _named(self.servers, asked.server)}
        told: dict[str, str] = {}
        async with trio.open_nursery() as nursery:
            for server in chosen.values():
                nursery.start_soon(_list, server, told)
        whole = "\n\n".join(told[name] for name in chosen)
        return ToolOutcome(content.cut([Text(whole)], context.keep), f"resources of {', '.join(chosen)}"[:120])


async def _list(server: Server, told: dict[str, str]) -> None:
    """What one has. Of several servers each may fail for itself."""
    lines = [f"{server.name}:"]
    for method, key, kind in (
        ("resources/list", "resources", ""),
        ("resources/templates/list", "resourceTemplates", "template "),
    ):
        try:
            entries = await server.entries(method, key, RESOURCES)
            lines += [f"- {kind}{content.describe_resource(entry)}" for entry in entries]
        except ToolFailed as exc:
            lines += [] if kind else [f"- {exc}"]  # many servers know nothing of templates
    told[server.name] = "\n".join(lines if len(lines) > 1 else [*lines, "- nothing"])


@attrs.frozen
class ReadResource:
    servers: Mapping[str, Server] = attrs.field(repr=False)
    name: str = "mcp__read_resource"
    description: str = "Reads one resource of an MCP server."
    input_schema: Mapping[str, Any] = input_schema(ReadInput)
    tool_class: ToolClass = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject_of(call_input, "uri")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(ReadInput, call_input)
        watch = Watch(_some_lines(context.on_output), context.call)
        result = await _named(self.servers, asked.server).ask("resources/read", {"uri": asked.uri}, watch)
        parts = content.read_contents(result.get("contents"), context.keep)
        return ToolOutcome(parts or (Text("[the resource is empty]"),), _summary(parts))


def _named(servers: Mapping[str, Server], name: str) -> Server:
    if name not in servers:
        raise ToolFailed(f"No MCP server {name!r} has resources. These have: {', '.join(servers) or 'none'}")
    return servers[name]
