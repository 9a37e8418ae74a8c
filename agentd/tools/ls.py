"""LS: a directory as a tree, as deep as fits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.files import missing
from agentd.workspace.globs import compile_filter
from agentd.workspace.paths import shown
from agentd.workspace.text import printable
from agentd.workspace.walk import Entry, Walk

MAX_ENTRIES = 400  # deeper levels are shown while all entries so far are no more than this


@attrs.frozen
class LSInput:
    path: str = arg("The directory: absolute, or relative to the workspace")
    ignore: tuple[str, ...] = arg("Globs of names or paths to leave out", default=())


class LS:
    name = "LS"
    description = (
        "List a directory as an indented tree, directories with a slash at the end. What git ignores is left out, "
        "unless the path itself is ignored; so are symbolic links. Deep levels are left out where the tree gets long. "
        "To find files by name use Glob."
    )
    input_schema: Mapping[str, Any] = input_schema(LSInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(LSInput, call_input)
        path = context.resolve(asked.path)
        if not path.exists():
            raise missing(path, context.workspace)
        if not path.is_dir():
            raise ToolFailed(f"{asked.path} is a file; Read shows it")
        return await trio.to_thread.run_sync(_list, path, context, asked.ignore)


def _list(top: Path, context: ToolContext, ignore: tuple[str, ...]) -> ToolOutcome:
    left_out = [compile_filter(glob) for glob in ignore]
    walk = Walk(top, off_limits=context.off_limits, check=trio.from_thread.check_cancelled)
    levels, deeper = _levels(walk, left_out)
    children: dict[bytes, list[Entry]] = {}
    for entry in (entry for level in levels for entry in level):
        children.setdefault(entry.path.rpartition(b"/")[0], []).append(entry)
    lines = [f"{shown(top, context.workspace)}/", *_tree(children, b"", 1)]
    count = len(lines) - 1
    if deeper:
        lines.append(f"[{deeper} are not shown; LS a directory to see what is in it]")
    elif not count:
        lines.append("[the directory is empty, or all in it is ignored]")
    return ToolOutcome((Text("\n".join(lines)),), f"{count} entr{'y' if count == 1 else 'ies'}")


def _levels(walk: Walk, left_out: list[re.Pattern[str]]) -> tuple[list[list[Entry]], str]:
    """Level after level while they fit, and what is left out ("" for nothing)."""
    levels: list[list[Entry]] = []
    room = MAX_ENTRIES
    parents = [b""]
    while parents:
        level: list[Entry] = []
        for parent in parents:
            level += (entry for entry in walk.entries(parent) if not _matches(entry, left_out))
            if len(level) > room:
                return _overfull(levels, level)
        if level:
            levels.append(level)
        room -= len(level)
        parents = [entry.path for entry in level if entry.is_dir]
    return levels, ""


def _overfull(levels: list[list[Entry]], level: list[Entry]) -> tuple[list[list[Entry]], str]:
    if levels:
        return levels, f"Levels below {'these' if len(levels) > 1 else 'this'}"
    return [level[:MAX_ENTRIES]], f"{len(level) - MAX_ENTRIES} more entries and all levels below"


def _matches(entry: Entry, left_out: list[re.Pattern[str]]) -> bool:
    return any(regex.fullmatch(os.fsdecode(entry.path)) for regex in left_out)


def _tree(children: dict[bytes, list[Entry]], parent: bytes, depth: int) -> list[str]:
    lines: list[str] = []
    for entry in children.get(parent, ()):
        name = printable(os.fsdecode(entry.path.rpartition(b"/")[2]))
        lines.append("  " * depth + name + "/" * entry.is_dir)
        if entry.is_dir:
            lines += _tree(children, entry.path, depth + 1)
    return lines
