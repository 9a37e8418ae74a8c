"""What a server says that it offers, page by page, and what of it can be offered to a model. Lists may be long, hostile
or never end: what is more than the bounds below is left out, and that is said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from agentd.tools.mcp import protocol
from agentd.tools.mcp.session import Session
from agentd.tools.mcp.terms import PromptArgument
from agentd.wire.jsonrpc import RpcError
from agentd.wire.jsonschema import SchemaError, compile_schema

PAGES = 100
TOOLS = 512
PROMPTS = 256
LONGEST_NAME = 1024  # characters
LONGEST_DESCRIPTION = 4096
LONGEST_SCHEMA = 65_536  # as JSON
ALL_SCHEMAS = 1_000_000
SHOWN_SCHEMA = 2000  # of one that is told instead of used
ARGUMENTS = 32

_PROPERTY = re.compile(r"[A-Za-z0-9_.-]{1,64}")  # what model services take
_AT_THE_TOP = ("oneOf", "anyOf", "allOf")  # is what they do not take: the server says what does not fit

Problem = Callable[[str], object]


@attrs.frozen
class ToolOffer:
    """*own*: what its server calls it; *schema*: what its server says, *input_schema*: what a model is told."""

    own: str
    description: str
    input_schema: Mapping[str, Any]
    schema: Mapping[str, Any]
    output_schema: Any
    reads_only: bool


@attrs.frozen
class PromptOffer:
    own: str
    description: str
    arguments: tuple[PromptArgument, ...]


async def all_pages(
    session: Session, method: str, key: str, *, most: int, seconds: float, problem: Problem
) -> list[dict[str, Any]]:
    """The entries of a list; *seconds* are of one page. Raises as Session.request() does."""
    entries: list[dict[str, Any]] = []
    cursor: str | None = None
    seen: set[str] = set()
    for _ in range(PAGES):
        page = await session.request(method, {"cursor": cursor} if cursor else {}, seconds=seconds)
        entries += protocol.objects_of(page.get(key))
        following = page.get("nextCursor")
        if len(entries) > most or (isinstance(following, str) and following in seen):
            break
        if not isinstance(following, str) or not following:
            return entries
        seen.add(following)
        cursor = following
    problem(f"{method} never ends, or has more than {most} entries: the first {min(most, len(entries))} are used")
    return entries[:most]


async def has_resources(session: Session, seconds: float) -> bool:
    """Many servers say that they do, and have none."""
    for method, key in (("resources/list", "resources"), ("resources/templates/list", "resourceTemplates")):
        try:
            if protocol.objects_of((await session.request(method, seconds=seconds)).get(key)):
                return True
        except RpcError:  # it knows nothing of templates
            continue
    return False


async def read_tools(
    entries: list[dict[str, Any]], refuses: Callable[[Mapping[str, Any]], str | None], problem: Problem
) -> tuple[ToolOffer, ...]:
    """Those that can be called. *refuses*: why one with such an input schema cannot."""
    offers: dict[str, ToolOffer] = {}
    room = ALL_SCHEMAS
    for entry in entries:
        await trio.lowlevel.checkpoint()  # to look at one may take long, and there may be many
        own = entry.get("name")
        if not isinstance(own, str) or not 0 < len(own) <= LONGEST_NAME or own in offers:
            problem("a tool without a name of its own is left out")
            continue
        schema: Any = entry.get("inputSchema")
        why = _unusable(schema)
        room -= _size(schema)
        if why or (why := "the tools are too much together" if room < 0 else refuses(schema)):
            problem(f"the tool {protocol.one_line(own, 60)} is left out: {protocol.one_line(why, 200)}")
            continue
        offers[own] = _offer(own, entry, schema)
    return tuple(offers.values())


def _unusable(schema: Any) -> str | None:
    if not isinstance(schema, dict) or schema.get("type", "object") != "object":
        return "its inputSchema is not of an object"
    return "its inputSchema is too large" if _size(schema) > LONGEST_SCHEMA else None


def _size(schema: Any) -> int:
    return len(json.dumps(schema, ensure_ascii=False))


def _offer(own: str, entry: Mapping[str, Any], schema: dict[str, Any]) -> ToolOffer:
    description = protocol.text_of(entry.get("description"), LONGEST_DESCRIPTION)
    shown = {"type": "object", **{key: value for key, value in schema.items() if key not in _AT_THE_TOP}}
    if not _is_for_models(shown):
        # A model service would refuse the whole conversation for it; told in words, it can still be followed.
        told = protocol.text_of(json.dumps(schema, ensure_ascii=False), SHOWN_SCHEMA)
        description, shown = f"{description}\n\nIts input, as its server says: {told}", {"type": "object"}
    return ToolOffer(
        own,
        description or protocol.one_line(entry.get("title"), 200) or own,
        shown,
        schema,
        entry.get("outputSchema"),
        protocol.object_of(entry.get("annotations")).get("readOnlyHint") is True,
    )


def _is_for_models(schema: dict[str, Any]) -> bool:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict) or not all(map(_PROPERTY.fullmatch, properties)):
        return False
    try:
        compile_schema(schema)
    except SchemaError:
        return False
    return True


def read_prompts(entries: list[dict[str, Any]]) -> tuple[PromptOffer, ...]:
    offers: dict[str, PromptOffer] = {}
    for entry in entries:
        own = entry.get("name")
        if isinstance(own, str) and 0 < len(own) <= LONGEST_NAME:
            told = protocol.one_line(entry.get("description"), LONGEST_DESCRIPTION)
            arguments = tuple(map(_argument, protocol.objects_of(entry.get("arguments"))[:ARGUMENTS]))
            offers.setdefault(own, PromptOffer(own, told, arguments))
    return tuple(offers.values())


def _argument(entry: Mapping[str, Any]) -> PromptArgument:
    name, told = protocol.text_of(entry.get("name"), 200), protocol.one_line(entry.get("description"), 500)
    return PromptArgument(name, told, entry.get("required") is True)
