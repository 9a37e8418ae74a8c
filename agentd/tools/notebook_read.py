"""NotebookRead: a Jupyter notebook as cells."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.notebook import BadNotebook, Notebook
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace import files
from agentd.workspace.paths import shown

MAX_LINE_CHARACTERS = 2000
MAX_CHARACTERS = 100_000  # of one answer


@attrs.frozen
class NotebookReadInput:
    notebook_path: str = arg("The notebook (.ipynb): absolute, or relative to the workspace")
    cell_id: str | None = arg("Only this cell: its id, or its number from 1; all of them if not given", default=None)


class NotebookRead:
    name = "NotebookRead"
    description = (
        "Read a Jupyter notebook: each cell with its number, its type and its id, then its source and what it "
        "printed. NotebookEdit changes a cell."
    )
    input_schema: Mapping[str, Any] = input_schema(NotebookReadInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "notebook_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(NotebookReadInput, call_input)
        path = context.resolve(asked.notebook_path)
        return await trio.to_thread.run_sync(_read, path, context.workspace, asked.cell_id)


def open_notebook(path: Path, workspace: Path) -> tuple[Notebook, os.stat_result]:
    """The notebook, and which version of it this is. Raises ToolFailed."""
    data, version = files.read(path, workspace)
    try:
        return Notebook(data), version
    except BadNotebook as exc:
        raise ToolFailed(f"{shown(path, workspace)} {exc}") from exc


def find_cell(notebook: Notebook, cell_id: str, name: str) -> int:
    """The index of a cell. *name*: the notebook's. Raises ToolFailed."""
    try:
        return notebook.find(cell_id)
    except BadNotebook as exc:
        raise ToolFailed(f"{name} {exc}") from exc


def _read(path: Path, workspace: Path, cell_id: str | None) -> ToolOutcome:
    notebook, _ = open_notebook(path, workspace)
    if cell_id is not None:
        indexes = [find_cell(notebook, cell_id, shown(path, workspace))]
    else:
        indexes = list(range(len(notebook.cells)))
    text = "\n".join(_lines(notebook, indexes)) or "[the notebook has no cells]"
    return ToolOutcome((Text(_sendable(text)),), f"read {len(indexes)} cell{'s'[: len(indexes) != 1]}")


def _lines(notebook: Notebook, indexes: Sequence[int]) -> Iterator[str]:
    room = MAX_CHARACTERS
    for number, index in enumerate(indexes, 1):
        for line in map(_cut, notebook.lines(index)):
            if room < len(line):
                after = len(indexes) - number
                also = f" and {after} more cell{'s'[: after != 1]}" if after else ""
                yield f"[the rest of cell {index + 1}{also} not shown: cell_id shows one, Read with offset any part]"
                return
            room -= len(line) + 1
            yield line


def _cut(line: str) -> str:
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    return f"{line[:MAX_LINE_CHARACTERS]} [line cut: it is {len(line)} characters long]"


def _sendable(text: str) -> str:
    """Half a character, which an escape in JSON can write, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
