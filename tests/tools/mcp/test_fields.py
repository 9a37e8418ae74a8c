"""What header fields say of a message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.mcp.fields import BadMarks, encoded, fields_of, marked
from agentd.tools.mcp.transport import Outgoing

MARKED = {"type": "string", "x-mcp-header": "Region"}


def call(version: str | None, **more: Any) -> dict[str, str]:
    return dict(fields_of(Outgoing(b"", "tools/call", 1, "run", version, **more)))


def test_a_legacy_message_says_its_version_only() -> None:
    assert call(None) == {}
    assert call("2025-11-25", schema={"properties": {"a": MARKED}}, arguments={"a": "b"}) == {
        "MCP-Protocol-Version": "2025-11-25"
    }


def test_a_modern_message_says_method_and_name() -> None:
    said = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "run"}
    assert call("2026-07-28") == said


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("string", "eu-1", "eu-1"),
        ("string", "", ""),
        ("string", " é", "=?base64?IMOp?="),
        ("integer", 42, "42"),
        ("boolean", True, "true"),
        ("boolean", False, "false"),
        ("string", None, None),
        ("string", ["eu"], None),
    ],
)
def test_an_argument_that_is_marked_is_said_too(kind: str, value: Any, said: str | None) -> None:
    schema = {"properties": {"in": {"properties": {"a": {"type": kind, "x-mcp-header": "Region"}}}}}
    fields = call("2026-07-28", schema=schema, arguments={"in": {"a": value}})
    assert fields.get("Mcp-Param-Region") == said
    assert "Mcp-Param-Region" not in call("2026-07-28", schema=schema, arguments={"in": "else"})


@pytest.mark.parametrize(
    "schema",
    [
        MARKED,
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": ["string", "null"], "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": "A\r\nB: c"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": 1}}},
        {"properties": {"a": {"items": MARKED}}},
        {"properties": {"a": {"anyOf": [MARKED]}}},
        {"$defs": {"a": MARKED}},
        {"properties": {"a": MARKED, "b": {"type": "string", "x-mcp-header": "region"}}},
    ],
)
def test_marks_that_are_not_allowed_are_found(schema: Any) -> None:
    with pytest.raises(BadMarks, match="x-mcp-header"):
        marked(schema)


def test_what_only_looks_like_a_mark_is_none() -> None:
    schema = {"properties": {"x-mcp-header": {"type": "string"}, "a": {"default": MARKED, "enum": [MARKED]}}}
    assert marked(schema) == {}


@given(st.text())
def test_whatever_a_name_is_the_field_can_be_sent(name: str) -> None:
    value = encoded(name)
    assert value.isascii()
    assert value.isprintable()
    assert value == value.strip()


def test_what_looks_as_if_it_were_encoded_is() -> None:
    assert encoded("=?base64?YQ==?=") == "=?base64?PT9iYXNlNjQ/WVE9PT89?="
