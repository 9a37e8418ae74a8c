"""FileSummary: what a file, or each file of a directory, defines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.tools.symbols import counted, outcome, symbols_of
from agentd.workspace.files import missing
from agentd.workspace.paths import shown
from agentd.workspace.symbols.languages import is_source
from agentd.workspace.symbols.outline import outline
from agentd.workspace.symbols.query import Outlined, Outlines

MAX_FILES = 200
MAX_LINES = 1000
WHOLE_FILES = 3  # so many are told with what is in their types; more, without


@attrs.frozen
class FileSummaryInput:
    path: str = arg("A source file, or a directory: each file below it is told")


class FileSummary:
    name = "FileSummary"
    description = (
        "Show what a source file defines: classes, functions, methods and fields with line numbers, nested as they "
        "are. Of a directory, what each file below it defines at its top level."
    )
    input_schema: Mapping[str, Any] = input_schema(FileSummaryInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(FileSummaryInput, call_input)
        path = context.resolve(asked.path)
        name = shown(path, context.workspace)
        with symbols_of(context) as symbols:
            outlines = await symbols.outlines(name, MAX_FILES)
        if not outlines.total:
            raise _no_outline(path, name, context.workspace)
        return outcome("\n".join(_lines(outlines)), counted(outlines.total, "file"))


def _no_outline(path: Path, name: str, workspace: Path) -> ToolFailed:
    if not path.exists():
        return missing(path, workspace)
    if path.is_dir():
        return ToolFailed(f"No file below {name} is a source file that is known here; LS shows what there is")
    if is_source(name.encode("utf-8", "replace")):
        return ToolFailed(f"{name} is ignored by git and not indexed; Read shows it")
    return ToolFailed(f"{name} is in no language that is known here; Read shows it")


def _lines(outlines: Outlines) -> list[str]:
    whole = outlines.total <= WHOLE_FILES
    lines: list[str] = []
    told = 0
    for file in outlines.first:
        if len(lines) >= MAX_LINES:
            break
        lines += _file(file, inside=whole)
        told += 1
    if outlines.total > told:
        lines.append(f"[{counted(outlines.total - told, 'more file')}; name a directory below, or a file]")
    return lines


def _file(file: Outlined, *, inside: bool) -> Iterator[str]:
    if file.skipped:
        yield f"{file.path} [not read: {file.skipped}]"
        return
    yield f"{file.path}: {counted(len(file.definitions), 'definition')}"
    for place, line in enumerate(outline(file.definitions, inside=inside)):
        if place == MAX_LINES:
            yield f"[more; Read {file.path} shows the rest]"
            return
        yield line
