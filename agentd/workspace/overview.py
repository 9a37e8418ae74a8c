"""A workspace at a glance, for a model that has not seen it and for people: its files, and what the first ones define.

Only a beginning of it is looked at, so it takes no longer in a large repository. The bounds: runs-and-chat.md, 14.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from agentd.workspace.symbols.languages import scanner
from agentd.workspace.symbols.model import Definition, Kind
from agentd.workspace.walk import Walk

SKIPPED = frozenset(
    {"node_modules", "vendor", "dist", "build", "bin", ".agent-harness", ".agent-harness-cache"}
)  # beside what a walk leaves out anyway
MAX_FILES, MAX_DEPTH = 5000, 30
MAPPED = frozenset({"py", "js", "jsx", "ts", "tsx", "go"})  # suffixes of files that are looked into
MAP_SYMBOLS, MAP_LINES, MAP_BYTES = 400, 300, 64 * 1024
BINDINGS = frozenset({"js", "jsx", "ts", "tsx"})  # where what is bound at the top counts too


def files(top: Path, most: int = MAX_FILES, depth: int = MAX_DEPTH, off_limits: Iterable[Path] = ()) -> list[str]:
    """The first regular files below *top*, in directories that are at most *depth* deep, sorted. Blocks."""
    found = islice(_below(Walk(top, off_limits=off_limits), b"", depth), most)
    return sorted(os.fsdecode(path).encode("utf-8", "replace").decode() for path in found)


def _below(walk: Walk, directory: bytes, depth: int) -> Iterator[bytes]:
    for path, is_dir in walk.entries(directory):
        if not is_dir:
            yield path
        elif depth > 1 and os.fsdecode(path.rpartition(b"/")[2]) not in SKIPPED:
            yield from _below(walk, path, depth - 1)


def symbol_map(top: Path, paths: Sequence[str], most: int = MAP_SYMBOLS) -> list[str]:
    """Lines: a file, and below it what its first lines define, as `  kind name (line n)`. Blocks."""
    lines: list[str] = []
    for path in paths:
        if path.rpartition(".")[2].lower() not in MAPPED or "." not in path or most <= 0:
            continue
        shown = [each for each in _definitions(top, path) if _is_shown(each, path)][:most]
        most -= len(shown)
        if shown:
            lines += [path, *(f"  {each.kind} {each.qualified} (line {each.line})" for each in shown)]
    return lines


def _definitions(top: Path, path: str) -> list[Definition]:
    try:
        with (top / path).open("rb") as file:
            text = file.read(MAP_BYTES).decode("utf-8", "replace")
    except OSError:
        return []
    beginning = "".join(text.splitlines(keepends=True)[:MAP_LINES])
    return sorted(scanner(path)(beginning, path), key=lambda each: each.line)


def _is_shown(definition: Definition, path: str) -> bool:
    is_binding = path.rpartition(".")[2].lower() in BINDINGS and definition.kind is Kind.FIELD
    return definition.kind is not Kind.FIELD or (is_binding and "." not in definition.scope.rpartition("/")[2])
