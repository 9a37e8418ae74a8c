"""Jupyter notebooks: as text, cell after cell, and with one cell changed. No files here. The format: nbformat 4."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from agentd.tools.jsontext import Place, after_space, elements, members, with_element, with_values, without_element

MAX_OUTPUT_LINES = 100  # of one output of a cell
MAX_IDS = 20  # that an error names

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OF_CODE: Mapping[str, Any] = {"execution_count": None, "outputs": []}  # what a code cell has and others must not
_OF_TEXT = ("attachments",)  # what a code cell must not have


class BadNotebook(Exception):
    """Its text is what is wrong, to be read after the notebook's name."""


def render(data: bytes) -> str | None:
    """The notebook as text; None if *data* is not one that can be understood."""
    try:
        notebook = Notebook(data)
    except BadNotebook:
        return None
    return "".join(f"{line}\n" for index in range(len(notebook.cells)) for line in notebook.lines(index))


class Notebook:
    """A notebook and its cells, as nbformat has them. Raises BadNotebook.

    What changes a cell returns the whole file anew: it differs from the old one in what had to change, and in nothing
    else, whatever other keys and whichever layout it has.
    """

    def __init__(self, data: bytes) -> None:
        try:
            self._text = data.decode()
            notebook = json.loads(self._text)
        except (ValueError, RecursionError) as exc:
            raise BadNotebook(f"is no notebook: {_why(exc)}") from exc
        _check(notebook)
        self.cells: list[dict[str, Any]] = notebook["cells"]
        self._has_ids = notebook.get("nbformat_minor", 0) >= 5

    def find(self, name: str) -> int:
        """The index of the cell of that id, or of that number, from 1. Raises BadNotebook, saying which there are."""
        found = [index for index, cell in enumerate(self.cells) if cell.get("id") == name]
        if len(found) == 1:
            return found[0]
        if not found and re.fullmatch("[0-9]{1,9}", name) and 0 < int(name) <= len(self.cells):
            return int(name) - 1
        what = f"has {len(found)} cells with the id {name}; use a number" if found else f"has no cell {name}"
        raise BadNotebook(f"{what}. Its cells are numbered from 1 to {len(self.cells)}{self._ids()}")

    def title(self, index: int) -> str:
        """What a cell is called: its number, its type, its id if it has one."""
        cell = self.cells[index]
        name = f", id {cell['id']}" if cell.get("id") else ""
        return f"cell {index + 1}: {cell['cell_type']}{name}"

    def lines(self, index: int) -> Iterator[str]:
        """A cell as text: its title, its source, what it printed."""
        cell = self.cells[index]
        yield f"[{self.title(index)}]"
        yield from _joined(cell["source"]).splitlines()
        for output in cell.get("outputs") or ():
            yield "[output]"
            lines = _output(output).splitlines()
            yield from lines[:MAX_OUTPUT_LINES]
            if len(lines) > MAX_OUTPUT_LINES:
                yield f"[{len(lines) - MAX_OUTPUT_LINES} more lines of output]"

    # --- With one cell changed ------------------------------------------------------------------------------------

    def replaced(self, index: int, source: str, cell_type: str | None) -> bytes:
        """With *source* in a cell; what a code cell printed before goes. *cell_type*: None for the one it has."""
        cell = self.cells[index]
        text = _like(source, cell["source"])
        place = elements(self._text, self._place_of_cells().start)[index]
        if cell_type not in (None, cell["cell_type"]):
            return with_values(self._text, [(place, _retyped(cell, text, cell_type))]).encode()
        new = {"source": text, **(_OF_CODE if cell["cell_type"] == "code" else {})}
        at = members(self._text, place.start)
        changed = [(at[key], value) for key, value in new.items() if key in at and at[key].value != value]
        return with_values(self._text, changed).encode()

    def inserted(self, index: int, source: str, cell_type: str) -> bytes:
        """With a new cell, which gets that *index*."""
        return with_element(self._text, self._place_of_cells(), index, self._new_cell(source, cell_type)).encode()

    def deleted(self, index: int) -> bytes:
        """Without a cell."""
        return without_element(self._text, self._place_of_cells(), index).encode()

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _ids(self) -> str:
        ids = [str(cell["id"]) for cell in self.cells if cell.get("id")]
        return f"; the ids are {', '.join(ids[:MAX_IDS])}{', …'[: 3 * (len(ids) > MAX_IDS)]}" if ids else ""

    def _place_of_cells(self) -> Place:
        return members(self._text, after_space(self._text))["cells"]

    def _new_cell(self, source: str, cell_type: str) -> dict[str, Any]:
        whole = bool(self.cells) and all(isinstance(cell["source"], str) for cell in self.cells)
        cell = {"cell_type": cell_type, "metadata": {}, "source": _like(source, "" if whole else [])}
        cell |= _OF_CODE if cell_type == "code" else {}
        cell |= {"id": self._new_id()} if self._has_ids else {}
        return dict(sorted(cell.items()))  # as nbformat writes them

    def _new_id(self) -> str:
        taken = [cell.get("id") for cell in self.cells]
        while (name := secrets.token_hex(4)) in taken:
            pass
        return name


def _why(exc: Exception) -> str:
    match exc:
        case json.JSONDecodeError():
            return f"it is not JSON ({exc.msg}, line {exc.lineno}, column {exc.colno})"
        case UnicodeDecodeError():
            return f"it is not UTF-8 (at byte {exc.start})"
        case RecursionError():
            return "it is nested too deeply"
    return str(exc)


def _check(notebook: Any) -> None:
    """Raises BadNotebook for what the rest of this file does not take."""
    if not isinstance(notebook, dict):
        raise BadNotebook("is no notebook: it is not a JSON object")
    if "worksheets" in notebook or notebook.get("nbformat", 4) != 4:
        raise BadNotebook(
            f"is a notebook of nbformat {notebook.get('nbformat')}, and only 4 is known here; "
            "`jupyter nbconvert --to notebook --inplace` makes it one of 4"
        )
    if not isinstance(notebook.get("nbformat_minor", 0), int) or not isinstance(notebook.get("cells"), list):
        raise BadNotebook("is no notebook: it has no list of cells")
    for number, cell in enumerate(notebook["cells"], 1):
        if not isinstance(cell, dict) or not isinstance(cell.get("cell_type"), str):
            raise BadNotebook(f"is broken: its cell {number} has no cell_type")
        if not _is_text(cell.get("source")):
            raise BadNotebook(f"is broken: the source of its cell {number} is neither text nor a list of lines")
        if not isinstance(cell.get("outputs") or [], list):
            raise BadNotebook(f"is broken: the outputs of its cell {number} are no list")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(line, str) for line in value))


def _retyped(cell: Mapping[str, Any], source: str | list[str], cell_type: str | None) -> dict[str, Any]:
    """The cell as one of another type, with what that must have and without what it must not."""
    unwanted = _OF_TEXT if cell_type == "code" else tuple(_OF_CODE)
    kept = {key: value for key, value in cell.items() if key not in unwanted}
    kept |= {"cell_type": cell_type, "source": source, **(_OF_CODE if cell_type == "code" else {})}
    return dict(sorted(kept.items())) if list(cell) == sorted(cell) else kept


def _like(source: str, other: str | list[str]) -> str | list[str]:
    """*source* as *other* is written: nbformat stores text whole, or as a list of lines that keep their ends."""
    return source if isinstance(other, str) else source.splitlines(keepends=True)


def _output(output: Any) -> str:
    try:
        match output["output_type"]:
            case "stream":
                return _joined(output["text"])
            case "error":
                return _COLOURS.sub("", "\n".join(output["traceback"]))
            case _:
                data = output.get("data") or {}
                return _joined(data["text/plain"]) if "text/plain" in data else f"[{', '.join(data)}: not shown]"
    except (KeyError, TypeError, AttributeError):
        return "[not as nbformat has it: not shown]"


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
