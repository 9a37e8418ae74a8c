"""search: lines that hold a text, as it is written. The contract: runs-and-chat.md, 7.1 and 7.2."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from fnmatch import translate
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.chat.secretfiles import looks_secret
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.pattern import BadPattern, Pattern
from agentd.workspace.scan import Scan
from agentd.workspace.search import FileHits, Search
from agentd.workspace.text import printable
from agentd.workspace.walk import Walk

NOTHING = "No matches found"
DEFAULT_RESULTS, MAX_RESULTS = 50, 1000
SECONDS = 50.0  # less than the engine gives a tool


@attrs.frozen
class SearchInput:
    query: str = arg("The text to look for, as it is written; upper and lower case differ")
    glob: str | None = arg("Only files whose name matches, like *.py", default=None)
    max_results: int = arg(f"At most so many lines, up to {MAX_RESULTS}", default=DEFAULT_RESULTS)


class SearchFiles:
    name = "search"
    description = (
        "Search the files of the workspace for a text. Prints path:line:text. What git ignores is left out, and so are "
        "binary files and files that look as if they held secrets."
    )
    input_schema: Mapping[str, Any] = input_schema(SearchInput)
    tool_class = ToolClass.READ

    def __init__(self, find_rg: Callable[[], str | None] = lambda: shutil.which("rg")) -> None:
        self._find_rg = find_rg

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "query")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(SearchInput, call_input)
        if not asked.query or asked.max_results < 1:
            raise ToolFailed("query must not be empty, and max_results has to be at least 1")
        found = _Found(min(asked.max_results, MAX_RESULTS))
        walk = Walk(context.workspace, off_limits=context.off_limits, check=trio.from_thread.check_cancelled)
        files = _wanted(walk, asked.glob)
        scan = Scan(_pattern(asked.query), "content", 0, 0)
        try:
            with trio.fail_after(SECONDS):
                rg = self._find_rg()
                await Search(context.workspace, files, scan, found.add, keep=found.room + 1, rg=rg).run()
        except trio.TooSlowError as exc:
            raise ToolFailed(f"The search took longer than {SECONDS:.0f} s; look in less with glob") from exc
        return found.outcome()


def _pattern(query: str) -> Pattern:
    try:
        return Pattern(re.escape(query))
    except BadPattern as exc:
        raise ToolFailed(f"This text cannot be looked for: {exc}") from exc


def _wanted(walk: Walk, glob: str | None) -> Iterator[bytes]:
    matches = re.compile(translate(glob)).fullmatch if glob else None
    for path in walk:
        name = os.fsdecode(path)
        if (matches is None or matches(name.rpartition("/")[2])) and not looks_secret(name):
            yield path


class _Found:
    def __init__(self, room: int) -> None:
        self.room, self._lines, self._more = room, list[str](), False

    def add(self, hits: FileHits) -> bool:
        """Whether more is wanted."""
        name = printable(os.fsdecode(hits.path))
        for number, _, text in hits.lines:
            if len(self._lines) == self.room:
                self._more = True
                return False
            self._lines.append(f"{name}:{number}:{text.strip()}")
        return True

    def outcome(self) -> ToolOutcome:
        count = len(self._lines)
        lines = [*self._lines, *(["[there are more matches; max_results shows more]"] if self._more else [])]
        return ToolOutcome((Text("\n".join(lines) or NOTHING),), f"{count} line{'s'[: count != 1]}")
