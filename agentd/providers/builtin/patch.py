"""Unified diffs, and putting changed lines where they belong: as an Edit whose old text occurs once. Pure.

A diff's line numbers are a hint only: a hunk goes where its lines are, at the place nearest to what it says.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

import attrs

_HEADER = re.compile(r"@@ -(?P<at>\d+)(?:,\d+)? \+\d+(?:,\d+)? @@|@@")
_NOWHERE = "/dev/null"


@attrs.frozen
class Hunk:
    old: tuple[str, ...]
    new: tuple[str, ...]
    at: int = 1  # where *old* is said to begin, 1-based; for no *old*, the line it comes after


@attrs.frozen
class FilePatch:
    """*old* is None for a file that is new, *new* for one that goes."""

    old: str | None
    new: str | None
    hunks: tuple[Hunk, ...]


@attrs.frozen
class Replacement:
    """For the Edit tool."""

    old: str
    new: str


def parse_diff(diff: str) -> list[FilePatch]:
    """The files of a unified diff, with or without git's extra lines. Empty if it is none."""
    lines = diff.split("\n")
    starts = [i for i in range(len(lines) - 1) if lines[i].startswith("--- ") and lines[i + 1].startswith("+++ ")]
    patches = []
    for start, end in itertools.pairwise([*starts, len(lines)]):
        hunks = tuple(_hunks(lines[start + 2 : end]))
        patches.append(FilePatch(_name(lines[start], "a/"), _name(lines[start + 1], "b/"), hunks))
    return patches


def _name(line: str, prefix: str) -> str | None:
    name = line[4:].split("\t")[0].strip().strip('"')
    return None if name == _NOWHERE else name.removeprefix(prefix)


def _hunks(lines: Sequence[str]) -> Iterator[Hunk]:
    header: re.Match[str] | None = None
    body: list[str] = []
    for line in [*lines, "@@"]:
        if (found := _HEADER.match(line)) or line.startswith(("diff ", "index ")):
            if header is not None:
                yield _hunk(header, body)
            header, body = found, []
        elif header is not None:
            body.append(line)


def _hunk(header: re.Match[str], body: list[str]) -> Hunk:
    while body and not body[-1]:
        body.pop()  # blank lines behind a hunk are not of it: its own begin with a space
    # Inside one, editors and mail strip that space: an empty line is an empty line of the context.
    marked = [line or " " for line in body if not line.startswith("\\")]
    old = tuple(line[1:] for line in marked if line[0] in " -")
    new = tuple(line[1:] for line in marked if line[0] in " +")
    return Hunk(old, new, int(header["at"] or 1))


def find(hunk: Hunk, lines: Sequence[str], first: int) -> int | None:
    """The index in *lines* where the hunk applies; *first* is the number of the first of them."""
    wanted = hunk.at - first
    if not hunk.old:
        return wanted + 1 if -1 <= wanted < len(lines) else None
    size = len(hunk.old)
    places = [i for i in range(len(lines) - size + 1) if tuple(lines[i : i + size]) == hunk.old]
    return min(places, key=lambda place: abs(place - wanted), default=None)


def replacement(hunk: Hunk, lines: Sequence[str], place: int) -> Replacement:
    """The hunk as a replacement at lines[place:], with as many lines around it as make its old text unique in *lines*.

    Whole lines: the text neither begins nor ends inside one unless the file does.
    """
    start, end = place, place + len(hunk.old)
    if start == end or not hunk.new:  # it would be empty, or leave an empty line behind
        start, end = _widen(start, end, len(lines))
    while not _unique(lines, start, end) and (start, end) != (0, len(lines)):
        start, end = _widen(start, end, len(lines))
    before, after = lines[start:place], lines[place + len(hunk.old) : end]
    return Replacement("\n".join(lines[start:end]), "\n".join([*before, *hunk.new, *after]))


def _widen(start: int, end: int, count: int) -> tuple[int, int]:
    return max(0, start - 1), end if start > 0 else min(count, end + 1)


def _unique(lines: Sequence[str], start: int, end: int) -> bool:
    wanted, whole = "\n".join(lines[start:end]), "\n".join(lines)
    return bool(wanted) and wanted not in whole[whole.index(wanted) + 1 :]  # occurrences may overlap
