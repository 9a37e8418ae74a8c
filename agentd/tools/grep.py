"""Grep: lines by a regular expression. How patterns are read is in workspace/pattern.py; ripgrep makes it faster where
there is one, and changes no answer."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.files import missing
from agentd.workspace.filetypes import FILE_TYPES, globs_of
from agentd.workspace.globs import compile_filter
from agentd.workspace.paths import shown
from agentd.workspace.pattern import BadPattern, Pattern
from agentd.workspace.scan import Scan
from agentd.workspace.search import FileHits, Search
from agentd.workspace.text import printable
from agentd.workspace.walk import Walk

NOTHING = "No matches found"
DEFAULT_LINES = 250
MAX_LINES = 10_000
MAX_CHARACTERS = 100_000  # of one answer
MAX_CONTEXT = 1000
COUNTED = 10_000  # how many more matches are counted when the answer is full
SECONDS = 50.0  # less than the engine gives a tool


@attrs.frozen
class GrepInput:
    pattern: str = arg("A regular expression as in Python's re, matched against each line")
    path: str | None = arg("The file or directory to search; the workspace if not given", default=None)
    glob: str | None = arg("Only files that match, like *.js or src/**/*.{ts,tsx}", default=None)
    type: str | None = arg("Only files of this type, like py, js, rust, go", default=None)
    output_mode: Literal["files_with_matches", "content", "count"] = arg(
        "files_with_matches: paths. content: the lines. count: matching lines by file", default="files_with_matches"
    )
    ignore_case: bool = arg("Ignore case", default=False, key="-i")
    numbers: bool = arg("Line numbers, in content mode", default=True, key="-n")
    after: int = arg("Lines of context after each match, in content mode", default=0, key="-A")
    before: int = arg("Lines of context before each match, in content mode", default=0, key="-B")
    context: int = arg("Lines of context before and after, in content mode", default=0, key="-C")
    multiline: bool = arg("Match across lines; then . is also a line end", default=False)
    head_limit: int = arg(f"At most so many lines of output; 0 for {MAX_LINES}", default=DEFAULT_LINES)
    offset: int = arg("Leave out so many lines of output first", default=0)


class Grep:
    name = "Grep"
    description = (
        "Search file contents with a regular expression. Escape what is meant literally: interface\\{\\}. "
        "What git ignores is left out, unless an ignored path is named; so are binary files. "
        "content mode prints path:line:text, context as path-line-text."
    )
    input_schema: Mapping[str, Any] = input_schema(GrepInput)
    tool_class = ToolClass.READ

    def __init__(self, find_rg: Callable[[], str | None] = lambda: shutil.which("rg")) -> None:
        self._find_rg = find_rg

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return " in ".join(filter(None, (subject(call_input, "pattern"), subject(call_input, "path"))))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(GrepInput, call_input)
        if min(asked.after, asked.before, asked.context, asked.head_limit, asked.offset) < 0:
            raise ToolFailed("-A, -B, -C, head_limit and offset have to be 0 or more")
        scan = _scan(asked)
        path = context.resolve(asked.path or ".")
        top, files, walk = _files(path, asked, context)
        report = _Report(asked, shown(top, context.workspace))
        keep = report.offset + report.room + 1
        try:
            with trio.fail_after(SECONDS):
                await Search(top, files, scan, report.add, keep=keep, rg=self._find_rg()).run()
        except trio.TooSlowError as exc:
            raise ToolFailed(
                f"The search took longer than {SECONDS:.0f} s and was ended. Make the pattern simpler (no repeat in a "
                "repeat), or search in less with path, glob or type"
            ) from exc
        return report.outcome(cut=walk is not None and walk.cut)


def _scan(asked: GrepInput) -> Scan:
    try:
        pattern = Pattern(asked.pattern, ignore_case=asked.ignore_case, multiline=asked.multiline)
    except BadPattern as exc:
        raise ToolFailed(
            f"The pattern is no regular expression that can be used: {exc}. Patterns are those of Python's re; "
            f"what is meant literally is written {re.escape(asked.pattern)}"
        ) from exc
    before, after = max(asked.before, asked.context), max(asked.after, asked.context)
    return Scan(pattern, asked.output_mode, min(before, MAX_CONTEXT), min(after, MAX_CONTEXT))


def _files(path: Path, asked: GrepInput, context: ToolContext) -> tuple[Path, Iterator[bytes], Walk | None]:
    """Where the search begins, and what is searched, relative to that."""
    filters = [compile_filter(asked.glob.removeprefix("!"))] if asked.glob else []
    if asked.type:
        globs = globs_of(asked.type)
        if globs is None:
            raise ToolFailed(f"No file type is called {asked.type}. Use glob, or one of: {', '.join(FILE_TYPES)}")
        filters.append(compile_filter(globs))
    if not path.is_dir():
        if not path.exists():
            raise missing(path, context.workspace)
        if not path.is_file():
            raise ToolFailed(f"{asked.path} is no regular file, but a device, a pipe or a socket")
        return path.parent, iter([os.fsencode(path.name)]), None
    walk = Walk(path, off_limits=context.off_limits, check=trio.from_thread.check_cancelled)
    negated = bool(asked.glob) and asked.glob.startswith("!")  # type: ignore[union-attr]
    return path, _wanted(walk, filters, negated), walk


def _wanted(walk: Walk, filters: list[re.Pattern[str]], negated: bool) -> Iterator[bytes]:
    for path in walk:
        name = os.fsdecode(path)
        if all(bool(regex.fullmatch(name)) != (negated and regex is filters[0]) for regex in filters):
            yield path


class _Report:
    """The answer, made while files come in; when it is full, the rest is only counted."""

    def __init__(self, asked: GrepInput, top: str) -> None:
        self.offset = asked.offset
        self.room = min(asked.head_limit or MAX_LINES, MAX_LINES)
        self._mode = asked.output_mode
        self._numbers = asked.numbers
        self._grouped = bool(asked.before or asked.after or asked.context)
        self._prefix = "" if top == "." else f"{top}/"
        self._lines: list[str] = []
        self._characters = 0
        self._to_skip = asked.offset
        self._files = 0
        self._matches = 0
        self._past = 0  # matches that were shown or skipped
        self._began = False

    @property
    def _full(self) -> bool:
        return len(self._lines) >= self.room or self._characters > MAX_CHARACTERS

    def add(self, hits: FileHits) -> bool:
        """Whether more is wanted."""
        self._files += 1
        self._matches += hits.count
        if not self._full:
            path = self._prefix + printable(os.fsdecode(hits.path))
            for line, matches in self._render(path, hits):
                self._put(line, matches)
        return self._matches - self._past <= COUNTED

    def _render(self, path: str, hits: FileHits) -> Iterator[tuple[str, int]]:
        """Lines of the answer, and how many matches each stands for."""
        if self._mode == "files_with_matches":
            yield path, hits.count
        elif self._mode == "count":
            yield f"{path}:{hits.count}", hits.count
        else:
            last = -1
            for number, matched, text in hits.lines:
                if self._grouped and self._began and number != last + 1:
                    yield "--", 0
                last, self._began = number, True
                mark = ":" if matched else "-"
                yield f"{path}{mark}{f'{number}{mark}' if self._numbers else ''}{text}", int(matched)

    def _put(self, line: str, matches: int) -> None:
        if self._full:
            return
        self._past += matches
        if self._to_skip:
            self._to_skip -= 1
        else:
            self._lines.append(line)
            self._characters += len(line) + 1

    def outcome(self, cut: bool) -> ToolOutcome:
        lines = list(self._lines)
        more = self._matches - self._past
        at_least = "more than " if more > COUNTED else ""
        if not self._matches:
            lines.append(NOTHING)
        elif more:
            what = "files" if self._mode == "files_with_matches" else "matching lines"
            following = self.offset + len(self._lines)
            lines.append(f"[{at_least}{more} more {what}; offset={following} shows what follows]")
        elif not lines:
            lines.append(f"[offset {self.offset} is past the end of the answer]")
        if cut:
            lines.append("[the tree is too large to be searched whole; give a path]")
        files = f"{self._files} file{'s'[: self._files != 1]}"
        matches = f"{self._matches} match{'es'[: 2 * (self._matches != 1)]} in "
        summary = at_least + ("" if self._mode == "files_with_matches" else matches) + files
        return ToolOutcome((Text("\n".join(lines)),), summary if self._matches else "no matches")
