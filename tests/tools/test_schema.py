"""Schemas of tools, and how their inputs are read."""

from __future__ import annotations

from typing import Literal

import attrs
import pytest

from agentd.domain import ToolClass
from agentd.errors import ToolFailed
from agentd.tools.registry import CODE_TOOLS, FILE_TOOLS, built_in
from agentd.tools.schema import arg, input_schema, parse, subject


@attrs.frozen
class Input:
    name: str = arg("Its name")
    count: int | None = arg("How many", default=None)
    kind: Literal["a", "b"] = arg("Which", default="a")
    tags: tuple[str, ...] = arg("Words", default=())
    fold: bool = arg("Ignore case", default=False, key="-i")


def test_a_schema_says_what_the_class_does() -> None:
    assert input_schema(Input) == {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "Its name"},
            "count": {"type": "integer", "description": "How many"},
            "kind": {"type": "string", "enum": ["a", "b"], "description": "Which"},
            "tags": {"type": "array", "items": {"type": "string"}, "description": "Words"},
            "-i": {"type": "boolean", "description": "Ignore case"},
        },
        "required": ["name"],
    }


@attrs.frozen
class Outer:
    inner: tuple[Input, ...] = arg("Several")


def test_a_list_of_objects_has_the_schema_of_its_class() -> None:
    inner = {"type": "array", "items": input_schema(Input), "description": "Several"}
    assert input_schema(Outer) == {"type": "object", "properties": {"inner": inner}, "required": ["inner"]}


def test_objects_in_a_list_are_read_as_the_input_itself_is() -> None:
    read = parse(Outer, {"inner": [{"name": "x", "-i": True, "count": None, "other": 1}]})
    assert read == Outer((Input("x", fold=True),))
    with pytest.raises(ToolFailed, match=r"missing @ inner\[1\]\.name"):
        parse(Outer, {"inner": [{"name": "x"}, {}]})


def test_an_input_is_read_by_its_keys() -> None:
    read = parse(Input, {"name": "x", "-i": True, "fold": False, "tags": ["a"], "count": None, "other": 1})
    assert read == Input("x", None, "a", ("a",), True)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "name"),
        ({"name": None}, "@ name"),
        ({"name": "x", "-i": "yes"}, "@ -i"),
        ({"name": "x", "count": "1"}, "@ count"),
        ({"name": "x", "count": True}, "@ count"),
        ({"name": "x", "kind": "c"}, "@ kind"),
        ({"name": "x", "tags": "abc"}, "@ tags"),
        ({"name": "x", "tags": ["a", 1]}, r"@ tags\[1\]"),
    ],
)
def test_a_misfit_is_named_as_the_model_knows_it(given: dict[str, object], says: str) -> None:
    with pytest.raises(ToolFailed, match=says):
        parse(Input, given)


def test_every_misfit_is_named() -> None:
    with pytest.raises(ToolFailed, match=r"count.*-i|-i.*count"):
        parse(Input, {"name": "x", "count": "1", "-i": 1})


def test_a_subject_is_one_short_line() -> None:
    assert subject({"x": "a\n  b"}, "x") == "a b"
    assert subject({"x": "y" * 10**6}, "x") == "y" * 119 + "…"
    assert subject({"x": 3}, "x") == subject({}, "x") == ""


def test_the_file_tools_are_those_of_the_contract() -> None:
    assert {tool.name: tool.tool_class for tool in FILE_TOOLS} == {
        "Read": ToolClass.READ,
        "Write": ToolClass.EDIT,
        "Edit": ToolClass.EDIT,
        "MultiEdit": ToolClass.EDIT,
        "Glob": ToolClass.READ,
        "Grep": ToolClass.READ,
        "LS": ToolClass.READ,
        "NotebookRead": ToolClass.READ,
        "NotebookEdit": ToolClass.EDIT,
    }


def test_what_knows_the_code_only_reads() -> None:
    assert {tool.tool_class for tool in CODE_TOOLS} == {ToolClass.READ}


def test_what_ships_is_the_file_tools_what_knows_the_code_and_what_runs_commands_keeps_lists_or_fetches_pages() -> None:
    tools = built_in()
    assert tools[: len(FILE_TOOLS) + len(CODE_TOOLS)] == (*FILE_TOOLS, *CODE_TOOLS)
    assert {tool.name: tool.tool_class for tool in tools[len(FILE_TOOLS) + len(CODE_TOOLS) :]} == {
        "TodoWrite": ToolClass.READ,
        "Bash": ToolClass.EXEC,
        "BashOutput": ToolClass.READ,
        "KillShell": ToolClass.EXEC,
        "WebFetch": ToolClass.NET,
    }


def test_inputs_have_the_names_of_the_contract() -> None:
    keys = {tool.name: (list(tool.input_schema["properties"]), tool.input_schema["required"]) for tool in FILE_TOOLS}
    grep = ["pattern", "path", "glob", "type", "output_mode", "-i", "-n", "-A", "-B", "-C", "multiline"]
    assert keys == {
        "Read": (["file_path", "offset", "limit"], ["file_path"]),
        "Write": (["file_path", "content"], ["file_path", "content"]),
        "Edit": (
            ["file_path", "old_string", "new_string", "replace_all"],
            ["file_path", "old_string", "new_string"],
        ),
        "MultiEdit": (["file_path", "edits"], ["file_path", "edits"]),
        "Glob": (["pattern", "path"], ["pattern"]),
        "Grep": ([*grep, "head_limit", "offset"], ["pattern"]),
        "LS": (["path", "ignore"], ["path"]),
        "NotebookRead": (["notebook_path", "cell_id"], ["notebook_path"]),
        "NotebookEdit": (
            ["notebook_path", "new_source", "cell_id", "cell_type", "edit_mode"],
            ["notebook_path", "new_source"],
        ),
    }
