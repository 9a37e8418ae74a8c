"""JSON as small models write it. Reads what can be meant in one way only, and says what it had to mend.

Mended: trailing commas, single quotes, names without quotes, line breaks and unknown escapes in strings, True, False
and None, and, where the caller knows that the text is all there is, missing closing brackets at its end. Never a string
that does not end: what it would have held is not known.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import attrs

MAX_DEPTH = 60

TRAILING_COMMA = "trailing comma"
SINGLE_QUOTES = "single quotes"
BARE_NAME = "name without quotes"
LINE_BREAK = "line break in a string"
ESCAPE = "unknown escape in a string"
PYTHON_WORD = "True, False or None"
UNCLOSED = "missing closing bracket"


class NotJson(ValueError):
    """There is no JSON value there, however read."""


class Unterminated(NotJson):
    """A string goes on to the end of the text."""


@attrs.frozen
class Parsed:
    value: Any
    end: int  # where in the text the value ends
    repairs: tuple[str, ...]  # what was mended, each kind once


def parse(text: str, start: int = 0, *, all_there: bool = False) -> Parsed:
    """The value that begins at *start*, after white space. *all_there*: brackets may be missing at the end of the text.
    Raises NotJson."""
    start = _skip(text, start)
    try:
        value, end = _STRICT.raw_decode(text, start)
        return Parsed(value, end, ())
    except (ValueError, RecursionError):
        reader = _Reader(text, start, all_there)
        value = reader.value(0)
        return Parsed(value, reader.at, tuple(dict.fromkeys(reader.repairs)))


class _Reader:
    def __init__(self, text: str, at: int, all_there: bool) -> None:
        self.text = text
        self.at = at
        self.repairs: list[str] = []
        self._all_there = all_there

    def value(self, depth: int) -> Any:
        char = self._peek()
        if depth > MAX_DEPTH:
            raise NotJson("nested too deeply")
        if char == "{":
            return self._object(depth)
        if char == "[":
            return self._array(depth)
        if char in ('"', "'"):
            return self._string()
        return self._word()

    def _object(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        self.at += 1
        while not self._closes("}", bool(members)):
            name = self._name()
            self._expect(":")
            members[name] = self.value(depth + 1)
            self._separate("}")
        return members

    def _array(self, depth: int) -> list[Any]:
        items: list[Any] = []
        self.at += 1
        while not self._closes("]", bool(items)):
            items.append(self.value(depth + 1))
            self._separate("]")
        return items

    def _closes(self, bracket: str, after_comma: bool) -> bool:
        """Whether the end of an object or array is here; it is passed then."""
        char = self._peek()
        if char == "" and self._all_there:
            self.repairs.append(UNCLOSED)
            return True
        if char != bracket:
            return False
        if after_comma and self.text[: self.at].rstrip().endswith(","):
            self.repairs.append(TRAILING_COMMA)
        self.at += 1
        return True

    def _separate(self, bracket: str) -> None:
        char = self._peek()
        if char == ",":
            self.at += 1
        elif char != bracket and not (char == "" and self._all_there):
            self._fail()

    def _name(self) -> str:
        if self._peek() in ('"', "'"):
            return self._string()
        found = _NAME.match(self.text, self.at)
        if found is None:
            self._fail()
        self.at = found.end()
        self.repairs.append(BARE_NAME)
        return found[0]

    def _string(self) -> str:
        quote = self.text[self.at]
        if quote == "'":
            self.repairs.append(SINGLE_QUOTES)
        parts: list[str] = []
        at = self.at + 1
        while True:
            found = _STRING_PART[quote].match(self.text, at)
            assert found is not None  # it matches nothing, too
            parts.append(found[0])
            at = found.end()
            if _CONTROL.search(found[0]):
                self.repairs.append(LINE_BREAK)
            if at >= len(self.text):
                raise Unterminated("a string does not end")
            if self.text[at] == quote:
                self.at = at + 1
                return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
            at = self._escape(at, parts)

    def _escape(self, at: int, parts: list[str]) -> int:
        found = _ESCAPE.match(self.text, at)
        if found is None:
            raise Unterminated("a string does not end")
        char = found["char"]
        if found["hex"]:
            parts.append(chr(int(found["hex"], 16)))
        elif char in _ESCAPES:
            parts.append(_ESCAPES[char])
        else:
            self.repairs.append(ESCAPE)
            parts.append(char if char in "'\n" else found[0])  # "\d" of a regular expression is meant as it is
        return found.end()

    def _word(self) -> Any:
        found = _WORD.match(self.text, self.at)
        if found is None:
            self._fail()
        self.at = found.end()
        if found[0] in _PYTHON:
            self.repairs.append(PYTHON_WORD)
            return _PYTHON[found[0]]
        try:
            return _STRICT.decode(found[0])
        except ValueError as exc:
            raise NotJson("no JSON value") from exc

    def _expect(self, char: str) -> None:
        if self._peek() != char:
            self._fail()
        self.at += 1

    def _peek(self) -> str:
        """The next character that is no white space; empty at the end."""
        self.at = _skip(self.text, self.at)
        return self.text[self.at : self.at + 1]

    def _fail(self) -> NoReturn:
        raise NotJson(f"no JSON at character {self.at + 1}")


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)


_STRICT = json.JSONDecoder(parse_constant=_refuse)
_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"[A-Za-z_$][\w$-]*")
_WORD = re.compile(r"[\w+.-]+")
_CONTROL = re.compile(r"[\x00-\x1f]")
_STRING_PART = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_ESCAPE = re.compile(r"\\(?:u(?P<hex>[0-9a-fA-F]{4})|(?P<char>.))", re.DOTALL)
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PYTHON = {"True": True, "False": False, "None": None}
