"""NotebookEdit: one cell of a Jupyter notebook replaced, inserted or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.notebook import Notebook
from agentd.tools.notebook_read import find_cell, open_notebook
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject
from agentd.workspace import files
from agentd.workspace.paths import shown


@attrs.frozen
class NotebookEditInput:
    notebook_path: str = arg("The notebook (.ipynb): absolute, or relative to the workspace")
    new_source: str = arg('All that the cell is to hold; "" to delete it')
    cell_id: str | None = arg(
        "Which cell: its id, or its number from 1, as NotebookRead shows them. A new cell is inserted after it; before "
        "all others if this is not given",
        default=None,
    )
    cell_type: Literal["code", "markdown"] | None = arg(
        "What the cell is to be. A new one has to have it; another keeps its own if this is not given", default=None
    )
    edit_mode: Literal["replace", "insert", "delete"] = arg("What to do with the cell", default="replace")


class NotebookEdit:
    name = "NotebookEdit"
    description = (
        "Change one cell of a Jupyter notebook: replace its source, insert a new cell, or delete it. What a replaced "
        "code cell had printed is cleared. All else in the file stays as it is."
    )
    input_schema: Mapping[str, Any] = input_schema(NotebookEditInput)
    tool_class = ToolClass.EDIT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "notebook_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(NotebookEditInput, call_input)
        as_bytes(asked.new_source, "new_source")
        if asked.edit_mode == "insert" and asked.cell_type is None:
            raise ToolFailed("cell_type says what the new cell is: code or markdown")
        if asked.edit_mode != "insert" and asked.cell_id is None:
            raise ToolFailed(f"cell_id says which cell to {asked.edit_mode}; NotebookRead shows them")
        path = context.resolve_for_writing(asked.notebook_path)
        return await trio.to_thread.run_sync(_edit, path, context.workspace, asked)


def _edit(path: Path, workspace: Path, asked: NotebookEditInput) -> ToolOutcome:
    name = shown(path, workspace)
    notebook, version = open_notebook(path, workspace)
    index = None if asked.cell_id is None else find_cell(notebook, asked.cell_id, name)
    data, told = _changed(notebook, index, asked)
    files.replace(path, workspace, data, version)
    return ToolOutcome((Text(f"{told} in {name}"),), told[:120])


def _changed(notebook: Notebook, index: int | None, asked: NotebookEditInput) -> tuple[bytes, str]:
    """The file as it is to be, and what was done to it."""
    if asked.edit_mode == "insert":
        new = 0 if index is None else index + 1
        data = notebook.inserted(new, asked.new_source, asked.cell_type or "code")
        return data, f"Inserted {Notebook(data).title(new)}"
    assert index is not None
    if asked.edit_mode == "delete":
        return notebook.deleted(index), f"Deleted {notebook.title(index)}"
    data = notebook.replaced(index, asked.new_source, asked.cell_type)
    return data, f"Replaced {Notebook(data).title(index)}"
