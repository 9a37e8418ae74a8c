"""One piece of a text exchanged for another, exactly; and where it is not to be found, what may have been meant.
No files here."""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Iterator

import attrs

from agentd.errors import ToolFailed

MAX_CHARACTERS = 64 << 20  # of a text that something was replaced in: a repeated replace_all grows without end
MAX_SHOWN_LINES = 50
MAX_LINE_CHARACTERS = 2000
MAX_COMPARED_LINES = 5000  # of a file, when similar lines are looked for
MAX_COMPARED_CHARACTERS = 300  # of a line

_NUMBERED = re.compile(r" *\d+\t")


@attrs.frozen
class Replaced:
    text: str
    count: int
    lines: tuple[tuple[int, int], ...]  # of the new text, first and last, from 1: what each replacement became


def replace(text: str, old: str, new: str, *, everywhere: bool) -> Replaced:
    """*text* with *old* exchanged for *new*; both may have other line ends than *text*, which keeps its own.
    Raises ToolFailed if *old* is not there, or more than once without *everywhere*."""
    if old == new:
        raise ToolFailed("old_string and new_string are the same, so there is nothing to change")
    old, new = _with_line_ends_of(text, old, new)
    places = list(_places(text, old))
    if not places:
        raise ToolFailed(f"old_string was not found. {_hint(text, old)}")
    if len(places) > 1 and not everywhere:
        lines = ", ".join(str(text.count("\n", 0, place) + 1) for place in places[:10])
        raise ToolFailed(
            f"old_string is there {len(places)} times (lines {lines}{', …'[: 3 * (len(places) > 10)]}). "
            "Add lines around it until it is unique, or set replace_all"
        )
    if len(text) + len(places) * (len(new) - len(old)) > MAX_CHARACTERS:
        raise ToolFailed(f"the file would grow beyond {MAX_CHARACTERS} characters")
    return Replaced(text.replace(old, new), len(places), tuple(_new_lines(text, old, new, places)))


def _with_line_ends_of(text: str, old: str, new: str) -> tuple[str, str]:
    lf = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
    crlf = lf[0].replace("\n", "\r\n"), lf[1].replace("\n", "\r\n")
    only_crlf = "\r\n" in text and text.count("\n") == text.count("\r\n")
    choices = [crlf, (old, new)] if only_crlf else [(old, new), crlf, lf]
    return next((choice for choice in choices if choice[0] in text), choices[0])


def _places(text: str, old: str) -> Iterator[int]:
    place = text.find(old)
    while place >= 0:
        yield place
        place = text.find(old, place + len(old))


def _new_lines(text: str, old: str, new: str, places: list[int]) -> Iterator[tuple[int, int]]:
    grown = new.count("\n") - old.count("\n")  # lines that each replacement before has added
    line, counted = 1, 0
    for number, place in enumerate(places):
        line += text.count("\n", counted, place)
        counted = place
        first = line + number * grown
        yield first, first + new.removesuffix("\n").count("\n")


def numbered(text: str, ranges: tuple[tuple[int, int], ...]) -> list[str]:
    """Lines of *text* as Read shows them, each once, at most MAX_SHOWN_LINES."""
    lines = text.split("\n")
    wanted = list(dict.fromkeys(number for first, last in ranges for number in range(first, last + 1)))
    shown = [f"{number:>6}\t{_cut(lines[number - 1])}" for number in wanted[:MAX_SHOWN_LINES] if number <= len(lines)]
    if len(wanted) > MAX_SHOWN_LINES:
        shown.append(f"[{len(wanted) - MAX_SHOWN_LINES} more changed lines]")
    return shown


def _cut(line: str) -> str:
    return line[:MAX_LINE_CHARACTERS].removesuffix("\r")


def _hint(text: str, old: str) -> str:
    wanted = old.splitlines() or [""]
    if all(map(_NUMBERED.match, filter(str.strip, wanted))):
        return "It has the line numbers that Read prints; leave them and the tab after them out"
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    first = _ignoring_space(lines, wanted)
    if first is not None:
        return "This text has other white space:\n" + _shown(lines, range(first, first + len(wanted)))
    near = _nearest(lines, max(wanted, key=lambda line: len(line.strip())))
    if near:
        return "Similar lines are:\n" + _shown(lines, near)
    return "Read the file again: it may have changed, or this is another one"


def _ignoring_space(lines: list[str], wanted: list[str]) -> int | None:
    """Index of the first of the lines that are *wanted* but for white space."""
    squeezed, pattern = ["".join(line.split()) for line in lines], ["".join(line.split()) for line in wanted]
    starts = (index for index, line in enumerate(squeezed) if line == pattern[0])
    return next((start for start in starts if squeezed[start : start + len(pattern)] == pattern), None)


def _nearest(lines: list[str], wanted: str) -> list[int]:
    """Indexes of up to three lines that are like *wanted*."""
    candidates = {
        line[:MAX_COMPARED_CHARACTERS]: index
        for index, line in reversed(list(enumerate(itertools.islice(lines, MAX_COMPARED_LINES))))
        if line.strip()
    }
    if not wanted.strip():
        return []
    near = difflib.get_close_matches(wanted[:MAX_COMPARED_CHARACTERS], candidates, n=3, cutoff=0.6)
    return sorted(candidates[line] for line in near)


def _shown(lines: list[str], indexes: list[int] | range) -> str:
    return "\n".join(f"{index + 1:>6}\t{_cut(lines[index])}" for index in indexes[:MAX_SHOWN_LINES])
