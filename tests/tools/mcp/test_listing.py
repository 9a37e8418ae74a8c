from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from agentd.tools.mcp.listing import (
    ALL_SCHEMAS,
    LONGEST_DESCRIPTION,
    LONGEST_SCHEMA,
    PAGES,
    ToolOffer,
    all_pages,
    read_prompts,
    read_tools,
)
from tests.tools.mcp.conftest import OpenSession
from tests.tools.mcp.fake import tool


async def listed(opened: OpenSession, script: dict[str, Any], most: int = 1000) -> tuple[list[str], list[str]]:
    """The names of the tools, and what was said of it."""
    problems: list[str] = []
    async with opened(script) as (session, _):
        entries = await all_pages(session, "tools/list", "tools", most=most, seconds=60, problem=problems.append)
    return [entry["name"] for entry in entries], problems


async def test_all_pages_are_read(opened: OpenSession) -> None:
    names = [f"t{number}" for number in range(7)]
    assert await listed(opened, {"tools": [tool(name) for name in names], "page": 3}) == (names, [])


async def test_a_list_in_circles_ends(opened: OpenSession, autojump_clock: MockClock) -> None:
    page = {"answer": {"tools": [tool("a")], "nextCursor": "more"}}
    names, problems = await listed(opened, {"on": {"tools/list": [page]}})
    assert names == ["a", "a"]
    assert len(problems) == 1


async def test_a_list_without_end_ends(opened: OpenSession) -> None:
    script = {"tools": [tool(f"t{number}") for number in range(PAGES * 2)], "page": 1}
    names, problems = await listed(opened, script)
    assert len(names) == PAGES
    assert len(problems) == 1


async def test_a_huge_list_is_cut(opened: OpenSession) -> None:
    names, problems = await listed(opened, {"tools": [tool(f"t{number}") for number in range(100_000)]}, most=500)
    assert len(names) == 500
    assert len(problems) == 1


@pytest.mark.parametrize("page", [{}, {"tools": None}, {"tools": "abc"}, {"tools": [1, None, "x"]}, {"nextCursor": 5}])
async def test_a_page_that_is_no_list_is_empty(opened: OpenSession, page: dict[str, Any]) -> None:
    assert await listed(opened, {"on": {"tools/list": [{"answer": page}]}}) == ([], [])


def offers(*entries: Any) -> tuple[tuple[ToolOffer, ...], list[str]]:
    problems: list[str] = []

    def refuses(schema: Mapping[str, Any]) -> str | None:
        return "refused" if "x" in schema else None

    return trio.run(read_tools, list(entries), refuses, problems.append), problems


def test_annotations_say_whether_a_tool_only_reads() -> None:
    hints = [{"readOnlyHint": True}, {"readOnlyHint": "yes"}, {"readOnlyHint": 1}, {}, None, []]
    found, _ = offers(*(tool(f"t{number}", annotations=hint) for number, hint in enumerate(hints)))
    assert [offer.reads_only for offer in found] == [True, False, False, False, False, False]


LEFT_OUT = {
    "no name": {"inputSchema": {"type": "object"}},
    "an empty name": tool(""),
    "a name that is a number": {**tool("a"), "name": 5},
    "an endless name": tool("x" * 2000),
    "no schema": {"name": "a"},
    "a schema that is a text": tool("a", inputSchema="object"),
    "a schema of an array": tool("a", inputSchema={"type": "array"}),
    "a schema of several types": tool("a", inputSchema={"type": ["object", "null"]}),
    "a huge schema": tool("a", inputSchema={"type": "object", "description": "x" * LONGEST_SCHEMA}),
    "what its transport refuses": tool("a", inputSchema={"type": "object", "x": 1}),
}


@pytest.mark.parametrize("why", LEFT_OUT)
def test_a_tool_that_cannot_be_called_is_left_out(why: str) -> None:
    found, problems = offers(LEFT_OUT[why], tool("good"))
    assert [offer.own for offer in found] == ["good"]
    assert len(problems) == 1


def test_the_first_of_two_tools_of_one_name_counts() -> None:
    found, problems = offers(tool("a", description="one"), tool("a", description="two"))
    assert [offer.description for offer in found] == ["one"]
    assert len(problems) == 1


def test_so_much_of_all_tools_is_taken() -> None:
    large = {"type": "object", "description": "x" * (LONGEST_SCHEMA - 100)}
    found, _ = offers(*(tool(f"t{number}", inputSchema=large) for number in range(100)))
    assert len(found) <= ALL_SCHEMAS // (LONGEST_SCHEMA - 100)


def test_a_long_description_is_cut() -> None:
    (found,), _ = offers(tool("a", description="x" * 5_000_000))
    assert len(found.description) == LONGEST_DESCRIPTION


@pytest.mark.parametrize("keyword", ["oneOf", "anyOf", "allOf"])
def test_what_model_services_refuse_at_the_top_of_a_schema_is_left_to_the_server(keyword: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, keyword: [{"required": ["a"]}]}
    (found,), _ = offers(tool("a", inputSchema=schema))
    assert found.input_schema == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert found.schema == schema


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a b": {}}},
        {"type": "object", "properties": {"x" * 65: {}}},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": {"type": "strin"}}},
        {"type": "object", "required": "a"},
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}},
    ],
)
def test_a_schema_that_model_services_refuse_is_told_in_words(schema: dict[str, Any]) -> None:
    (found,), problems = offers(tool("a", inputSchema=schema))
    assert found.input_schema == {"type": "object"}
    assert '"type": "object"' in found.description
    assert problems == []


def test_a_schema_without_a_type_is_of_an_object() -> None:
    (found,), _ = offers(tool("a", inputSchema={"properties": {}}))
    assert found.input_schema == {"type": "object", "properties": {}}


def test_prompts_have_arguments() -> None:
    entry = {"name": "p", "description": "d\n", "arguments": [{"name": "a", "required": True}, {"name": "b"}, 5]}
    (found,) = read_prompts([entry, {"name": 5}, {"name": "p"}])
    assert (found.own, found.description) == ("p", "d")
    assert [(argument.name, argument.required) for argument in found.arguments] == [("a", True), ("b", False)]
