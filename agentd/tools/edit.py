"""Edit: one exact replacement in a file of the workspace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.replacement import numbered, replace
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject
from agentd.workspace import files
from agentd.workspace.paths import shown
from agentd.workspace.text import Encoding, printable, sniff


@attrs.frozen
class EditInput:
    file_path: str = arg("The file: absolute, or relative to the workspace")
    old_string: str = arg("The text to replace, exactly as it is in the file; empty to create the file")
    new_string: str = arg("The text to put there instead")
    replace_all: bool = arg("Replace it everywhere, not just where it is unique", default=False)


class Edit:
    name = "Edit"
    description = (
        "Replace a piece of a file. old_string has to be in the file exactly, with its white space but without the "
        "line numbers that Read shows, and only once unless replace_all is set. Empty, it creates a new file. "
        "The file keeps its line ends (CRLF or LF) and its encoding."
    )
    input_schema: Mapping[str, Any] = input_schema(EditInput)
    tool_class = ToolClass.EDIT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "file_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(EditInput, call_input)
        as_bytes(asked.old_string, "old_string")
        path = context.resolve_for_writing(asked.file_path)
        return await trio.to_thread.run_sync(_edit if asked.old_string else _create, path, context.workspace, asked)


def _create(path: Path, workspace: Path, asked: EditInput) -> ToolOutcome:
    name = shown(path, workspace)
    check_new(path, name)
    files.replace(path, workspace, as_bytes(asked.new_string, "new_string"))
    return ToolOutcome((Text(f"Created {name}"),), f"created {name}"[:120])


def _edit(path: Path, workspace: Path, asked: EditInput) -> ToolOutcome:
    name = shown(path, workspace)
    text, encoding, version = read_text(path, workspace)
    as_bytes(asked.new_string, "new_string")
    done = replace(text, asked.old_string, asked.new_string, everywhere=asked.replace_all)
    files.replace(path, workspace, encoding.encode(done.text), version)
    told = f"Replaced {done.count} occurrence{'s'[: done.count != 1]} in {name}"
    lines = [told, *map(printable, numbered(done.text, done.lines))]
    return ToolOutcome((Text("\n".join(lines)),), told[:120])


def check_new(path: Path, name: str) -> None:
    """Raises ToolFailed if there is something at *path* that an empty old_string would overwrite."""
    if path.exists() and path.stat().st_size > 0:
        raise ToolFailed(
            f"{name} exists and is not empty: old_string has to say what to replace. Write replaces it all"
        )


def read_text(path: Path, workspace: Path) -> tuple[str, Encoding, os.stat_result]:
    """A file to be edited: its text, what makes bytes of that again, and which version of it this is.
    Raises ToolFailed."""
    data, version = files.read(path, workspace)
    encoding = sniff(data)
    if encoding is None:
        raise ToolFailed(f"{shown(path, workspace)} is a binary file; only text can be edited")
    try:
        return encoding.decode(data), encoding, version
    except UnicodeDecodeError as exc:
        raise ToolFailed(
            f"{shown(path, workspace)} begins as {encoding.codec} but is not; it cannot be edited"
        ) from exc
