"""JSON as it stands in its file: where each value is, and how it is laid out, so that one can be exchanged and every
other byte stays. No files here. What is given has to be sound JSON: json.loads() has taken it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import attrs

_SPACE = re.compile(r"[ \t\r\n]*")
_ESCAPED = re.compile(r"(?<!\\)(?:\\\\)*\\u(?!00[0-7])")  # of a character beyond ASCII
_decoder = json.JSONDecoder()


@attrs.frozen
class Place:
    """A value, and where its text is."""

    start: int
    end: int
    value: Any


def members(text: str, start: int) -> dict[str, Place]:
    """What is in the object that begins at *start*, by key. Of several members of one name the last counts."""
    found = {}
    at = after_space(text, start + 1)
    while text[at] != "}":
        key, at = _decoder.raw_decode(text, at)
        colon = after_space(text, at)
        found[key] = _value(text, after_space(text, colon + 1))
        at = _after_comma(text, found[key].end)
    return found


def elements(text: str, start: int) -> list[Place]:
    """What is in the array that begins at *start*."""
    found = []
    at = after_space(text, start + 1)
    while text[at] != "]":
        found.append(_value(text, at))
        at = _after_comma(text, found[-1].end)
    return found


def after_space(text: str, at: int = 0) -> int:
    """Where the next thing begins."""
    match = _SPACE.match(text, at)
    assert match is not None
    return match.end()


def _after_comma(text: str, at: int) -> int:
    at = after_space(text, at)
    return after_space(text, at + 1) if text[at] == "," else at


def _value(text: str, start: int) -> Place:
    value, end = _decoder.raw_decode(text, start)
    return Place(start, end, value)


@attrs.frozen
class Style:
    """How a text is laid out: as json.dumps() would, in one of its ways."""

    indent: str | None  # one step; None: all on one line
    newline: str
    spaced: bool  # a space after colons, and after commas that end no line
    escaped: bool  # characters beyond ASCII are written as \uXXXX

    @classmethod
    def of(cls, text: str) -> Style:
        """The style of *text*, an object that is not empty."""
        first = after_space(text, after_space(text) + 1)
        gap = text[after_space(text) + 1 : first]
        indent = gap.rpartition("\n")[2] if "\n" in gap else None
        _, colon = _decoder.raw_decode(text, first)
        spaced = text[after_space(text, colon) + 1].isspace()
        escaped = text.isascii() and _ESCAPED.search(text) is not None
        return cls(indent, "\r\n" if "\r\n" in gap else "\n", spaced, escaped)

    def dump(self, value: Any, margin: str = "") -> str:
        """*value* in this style. *margin* is the white space before the line that it begins on."""
        text = self._dump(value, self.escaped)
        try:
            text.encode()
        except UnicodeEncodeError:  # half a character, which only an escape can write
            text = self._dump(value, True)
        return text.replace("\n", self.newline + margin)  # in strings it is written \n

    def _dump(self, value: Any, escaped: bool) -> str:
        between = ", " if self.spaced and self.indent is None else ","
        separators = (between, ": " if self.spaced else ":")
        return json.dumps(value, indent=self.indent, ensure_ascii=escaped, separators=separators)


def margin_at(text: str, at: int) -> str:
    """The white space at the beginning of the line that *at* is on."""
    start = text.rfind("\n", 0, at) + 1
    return text[start : min(after_space(text, start), at)]


# --- A text with one thing changed --------------------------------------------------------------------------------


def with_values(text: str, values: Iterable[tuple[Place, Any]]) -> str:
    """*text* with other values in these places, of which none is in another."""
    style = Style.of(text)
    pieces: list[str] = []
    at = 0
    for place, value in sorted(values, key=lambda pair: pair[0].start):
        pieces += (text[at : place.start], style.dump(value, margin_at(text, place.start)))
        at = place.end
    return "".join((*pieces, text[at:]))


def with_element(text: str, array: Place, index: int, value: Any) -> str:
    """*text* with one more value in an array, which gets that *index*."""
    style, places, outside = Style.of(text), elements(text, array.start), margin_at(text, array.start)
    if places:
        gap = text[array.start + 1 : places[0].start]
    else:
        gap = "" if style.indent is None else style.newline + outside + style.indent
    new = style.dump(value, gap.rpartition("\n")[2] if "\n" in gap else outside)
    between = gap if "\n" in gap else " " * style.spaced
    if index > 0:
        return f"{text[: places[index - 1].end]},{between}{new}{text[places[index - 1].end :]}"
    if places:
        return f"{text[: places[0].start]}{new},{between}{text[places[0].start :]}"
    return f"{text[: array.start + 1]}{gap}{new}{style.newline + outside if gap else ''}{text[array.end - 1 :]}"


def without_element(text: str, array: Place, index: int) -> str:
    """*text* without one value of an array."""
    places = elements(text, array.start)
    if index + 1 < len(places):
        return text[: places[index].start] + text[places[index + 1].start :]
    if index > 0:
        return text[: places[index - 1].end] + text[places[index].end :]
    return text[: array.start + 1] + text[array.end - 1 :]
