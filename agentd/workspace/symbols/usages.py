"""Where a name is used: lines with that word in them, found as Grep finds them. Which of several things of one name is
meant on a line is not decided."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import trio

from agentd.workspace.pattern import BadPattern, Pattern
from agentd.workspace.scan import Scan
from agentd.workspace.search import FileHits, Search
from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.languages import is_source
from agentd.workspace.symbols.lookup import definitions_in, enclosing, places_of, shown
from agentd.workspace.symbols.names import is_test
from agentd.workspace.walk import Walk

MAX_LINES = 20_000  # that are looked at
MAX_LINES_A_FILE = 1000

_IMPORT = re.compile(
    r"\s*(?:import\b|from\s+\S+\s+import\b|export\b.*\bfrom\b|#\s*include\b|(?:global\s+)?using\b|.*\brequire\s*\()"
)


class Usage(NamedTuple):
    file: bytes
    line: int
    text: str
    within: str  # the qualified name of the function or type around it; "" if it is in none
    is_import: bool

    @property
    def place(self) -> str:
        return f"{shown(self.file)}:{self.line}"


class Usages(NamedTuple):
    total: int  # at least so many there are
    complete: bool  # and no more
    first: list[Usage]  # sources, then tests, then files that are no source; in each imports come last


async def find_usages(
    workspace: Path, off_limits: tuple[Path, ...], rg: str | None, files: Files, name: str, limit: int
) -> Usages:
    """Of the simple name *name*, but for the lines that define something of that name. Cancellable at any time."""
    try:
        scan = Scan(Pattern(_word(name)), "content")
    except BadPattern:  # longer than any name, or with a line end in it
        return Usages(0, True, [])
    walk = Walk(workspace, off_limits=off_limits, check=trio.from_thread.check_cancelled)
    gathered = _Gathered()
    await Search(workspace, iter(walk), scan, gathered.add, keep=MAX_LINES_A_FILE, rg=rg).run()
    return await trio.to_thread.run_sync(_usages, files, name, gathered, limit)


def _word(name: str) -> str:
    before, after = (r"\b" if re.match(r"\w", end) else "" for end in (name[0], name[-1]))
    return before + re.escape(name) + after


class _Gathered:
    def __init__(self) -> None:
        self.lines: list[tuple[bytes, int, str]] = []
        self.complete = True

    def add(self, hits: FileHits) -> bool:
        """Whether more is wanted."""
        self.lines += ((hits.path, number, text) for number, _, text in hits.lines)
        self.complete = hits.count == len(hits.lines) and len(self.lines) < MAX_LINES and self.complete
        return len(self.lines) < MAX_LINES


def _usages(files: Files, name: str, gathered: _Gathered, limit: int) -> Usages:
    defined = places_of(files, name)
    used = [Usage(*line, "", bool(_IMPORT.match(line[2]))) for line in gathered.lines if line[:2] not in defined]
    used.sort(key=_order)
    return Usages(len(used), gathered.complete, [_placed(usage, files) for usage in used[:limit]])


def _order(usage: Usage) -> tuple[bool, bool, bool, bytes, int]:
    return not is_source(usage.file), is_test(shown(usage.file)), usage.is_import, usage.file, usage.line


def _placed(usage: Usage, files: Files) -> Usage:
    look = files.get(usage.file)
    around = enclosing(definitions_in(look), usage.line) if look else None
    return usage._replace(within=around.qualified if around else "")
