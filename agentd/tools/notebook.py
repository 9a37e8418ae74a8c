"""Jupyter notebooks as text: cell after cell, its source and what it printed. The format: nbformat 4."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_OUTPUT_LINES = 100  # of one output of a cell

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def render(data: bytes) -> str | None:
    """The notebook as text; None if *data* is not one that can be understood."""
    try:
        notebook = json.loads(data)
        cells = notebook["cells"]
        return "".join(f"{line}\n" for number, cell in enumerate(cells, 1) for line in _cell(number, cell))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _cell(number: int, cell: dict[str, Any]) -> Iterator[str]:
    name = f", id {cell['id']}" if cell.get("id") else ""
    yield f"[cell {number}: {cell['cell_type']}{name}]"
    yield from _joined(cell["source"]).splitlines()
    for output in cell.get("outputs") or ():
        yield "[output]"
        lines = _output(output).splitlines()
        yield from lines[:MAX_OUTPUT_LINES]
        if len(lines) > MAX_OUTPUT_LINES:
            yield f"[{len(lines) - MAX_OUTPUT_LINES} more lines of output]"


def _output(output: dict[str, Any]) -> str:
    match output["output_type"]:
        case "stream":
            return _joined(output["text"])
        case "error":
            return _COLOURS.sub("", "\n".join(output["traceback"]))
        case _:
            data = output.get("data") or {}
            return _joined(data["text/plain"]) if "text/plain" in data else f"[{', '.join(data)}: not shown]"


def _joined(text: str | list[str]) -> str:
    """nbformat stores text whole, or as a list of lines that keep their ends."""
    return text if isinstance(text, str) else "".join(text)
