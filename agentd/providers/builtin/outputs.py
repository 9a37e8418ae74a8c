"""Reading what the tools said: numbered lines, matches, counts, paths. A line that is none of these is passed over."""

from __future__ import annotations

import re

import attrs

_NUMBERED = re.compile(r"\s*(\d+)\t(.*)", re.DOTALL)
_MATCH = re.compile(r"(.+?):(\d+):(.*)", re.DOTALL)
_COUNT = re.compile(r"(.+):(\d+)")
_MORE = re.compile(r"\[(\d+) more ")
_NOTE = re.compile(r"\[.*\]")


@attrs.frozen
class Line:
    number: int
    text: str


@attrs.frozen
class Page:
    """Lines of a file. *cut*: the file goes on behind them."""

    lines: tuple[Line, ...]
    cut: bool = False


@attrs.frozen
class Hit:
    """A line that Grep found."""

    path: str
    number: int
    text: str


def read_lines(output: str) -> Page:
    """What Read said."""
    lines = output.split("\n")
    numbered = [_NUMBERED.fullmatch(line) for line in lines]
    cut = bool(_NOTE.fullmatch(lines[-1].strip())) and any(numbered)
    return Page(tuple(Line(int(found[1]), found[2]) for found in numbered if found), cut)


def grep_hits(output: str) -> list[Hit]:
    """What Grep said in content mode; lines of context are left out."""
    found = (_MATCH.fullmatch(line) for line in output.split("\n"))
    return [Hit(match[1], int(match[2]), match[3]) for match in found if match]


def grep_counts(output: str) -> dict[str, int]:
    """What Grep said in count mode: matching lines by path."""
    found = (_COUNT.fullmatch(line) for line in output.split("\n"))
    return {match[1]: int(match[2]) for match in found if match}


def paths(output: str) -> list[str]:
    """What Glob said."""
    nothing = ("No files found", "No matches found")
    return [line for line in output.split("\n") if line and line not in nothing and not _NOTE.fullmatch(line)]


def number_of_paths(output: str) -> int:
    """How many files Glob found, with those that it did not tell."""
    more = _MORE.match(output.rsplit("\n", 1)[-1])
    return len(paths(output)) + (int(more[1]) if more else 0)


def is_cut(output: str) -> bool:
    """Whether there was more than is told."""
    return bool(_NOTE.fullmatch(output.rstrip("\n").rsplit("\n", 1)[-1]))
