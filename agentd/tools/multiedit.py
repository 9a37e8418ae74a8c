"""MultiEdit: several exact replacements in one file, all of them or none."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.edit import check_new, read_text
from agentd.tools.replacement import Replaced, numbered, replace
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject
from agentd.workspace import files
from agentd.workspace.paths import shown
from agentd.workspace.text import UTF_8, printable

Ranges = tuple[tuple[int, int], ...]  # of lines: first and last, from 1


@attrs.frozen
class Change:
    old_string: str = arg("The text to replace, exactly as the edits before this one have left it")
    new_string: str = arg("The text to put there instead")
    replace_all: bool = arg("Replace it everywhere, not just where it is unique", default=False)


@attrs.frozen
class MultiEditInput:
    file_path: str = arg("The file: absolute, or relative to the workspace")
    edits: tuple[Change, ...] = arg("What to replace, in this order")


class MultiEdit:
    name = "MultiEdit"
    description = (
        "Make several replacements in one file, one after the other, each as Edit would and on what the ones before it "
        "have left. If one of them cannot be made, none is. An empty old_string in the first edit creates a new file."
    )
    input_schema: Mapping[str, Any] = input_schema(MultiEditInput)
    tool_class = ToolClass.EDIT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "file_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(MultiEditInput, call_input)
        if not asked.edits:
            raise ToolFailed("edits is empty, so there is nothing to change")
        for index, edit in enumerate(asked.edits):
            as_bytes(edit.old_string, f"edits[{index}].old_string")
            as_bytes(edit.new_string, f"edits[{index}].new_string")
        path = context.resolve_for_writing(asked.file_path)
        return await trio.to_thread.run_sync(_edit, path, context.workspace, asked.edits)


def _edit(path: Path, workspace: Path, edits: Sequence[Change]) -> ToolOutcome:
    name = shown(path, workspace)
    if edits[0].old_string:
        text, encoding, version = read_text(path, workspace)
        done, ranges = _apply(edits, 0, text)
        told = f"Made {len(edits)} edit{'s'[: len(edits) != 1]} in {name}"
    else:
        check_new(path, name)
        encoding, version = UTF_8, None
        done, ranges = _apply(edits, 1, edits[0].new_string)
        told = f"Created {name}"
    files.replace(path, workspace, encoding.encode(done), version)
    lines = [told, *map(printable, numbered(done, ranges))]
    return ToolOutcome((Text("\n".join(lines)),), told[:120])


def _apply(edits: Sequence[Change], first: int, text: str) -> tuple[str, Ranges]:
    """*text* after all *edits* from the *first*, and where it has changed."""
    ranges: Ranges = ()
    for index, edit in enumerate(edits[first:], first):
        trio.from_thread.check_cancelled()
        try:
            done = _replace(text, edit)
        except ToolFailed as exc:
            raise ToolFailed(f"edits[{index}] cannot be made, so nothing was changed: {exc}") from exc
        ranges = moved(ranges, done, edit.old_string.count("\n"), edit.new_string.count("\n")) + done.lines
        text = done.text
    return text, tuple(sorted(ranges))


def _replace(text: str, edit: Change) -> Replaced:
    if not edit.old_string:
        raise ToolFailed("old_string is empty, which only the first edit may have, to create a new file")
    return replace(text, edit.old_string, edit.new_string, everywhere=edit.replace_all)


def moved(ranges: Ranges, done: Replaced, old_ends: int, new_ends: int) -> Ranges:
    """Where the lines in *ranges* are after a replacement of texts with so many line ends; a range that it touched
    grows to hold it."""
    grown = new_ends - old_ends
    new_firsts = [first for first, _ in done.lines]
    old_firsts = [first - number * grown for number, first in enumerate(new_firsts)]
    old_lasts = [first + old_ends for first in old_firsts]
    found: list[tuple[int, int]] = []
    for first, last in ranges:
        before, until = bisect_left(old_lasts, first), bisect_right(old_firsts, last)
        first, last = first + before * grown, last + until * grown
        if before < until:
            first, last = min(first, new_firsts[before]), max(last, new_firsts[until - 1] + new_ends)
        found.append((first, last))
    return tuple(found)
