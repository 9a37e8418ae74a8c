"""Regular expressions as ECMA-262 writes them, read into a tree. automaton.py runs it.

The rules: ECMA-262, 22.2.1 with the u flag, and of annex B what cannot be misread: a lone `{`, `}` or `]` is itself.
Refused is what no machine decides in linear time (references back to a group), what needs tables that Python does not
have (scripts), and flags.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NoReturn

import attrs

MAX_PATTERN_CHARS = 10_000
MAX_NESTING = 50  # of groups
MAX_COUNT_DIGITS = 6
MAX_CODE_POINT = 0x10FFFF


class PatternError(ValueError):
    """The text says what is wrong with a pattern."""


@attrs.frozen
class CharSet:
    """Characters: those in *ranges*, of one of the Unicode *categories* ("L", "Lu") or in one of *sets*; or all
    others."""

    ranges: tuple[tuple[str, str], ...] = ()
    categories: tuple[str, ...] = ()
    sets: tuple[CharSet, ...] = ()
    negated: bool = False

    def has(self, char: str) -> bool:
        found = any(low <= char <= high for low, high in self.ranges)
        found = found or (bool(self.categories) and unicodedata.category(char).startswith(self.categories))
        return (found or any(inner.has(char) for inner in self.sets)) is not self.negated


@attrs.frozen
class Sequence:
    parts: tuple[Tree, ...] = ()


@attrs.frozen
class Choice:
    parts: tuple[Tree, ...]


@attrs.frozen
class Repeat:
    part: Tree
    least: int
    most: int | None


@attrs.frozen
class Edge:
    kind: Literal["start", "end", "word", "inside"]  # of the text; where a word begins or ends, or not


@attrs.frozen
class Look:
    part: Tree
    ahead: bool
    negated: bool


Tree = CharSet | Sequence | Choice | Repeat | Edge | Look


def _set(text: str, *, negated: bool = False) -> CharSet:
    """Of pairs: "azAZ" is a to z and A to Z."""
    return CharSet(tuple(zip(text[::2], text[1::2], strict=True)), negated=negated)


_DIGIT, _WORD = "09", "azAZ09__"
_SPACE = "\t\r  \xa0\xa0\u1680\u1680\u2000\u200a\u2028\u2029\u202f\u202f\u205f\u205f\u3000\u3000\ufeff\ufeff"
WORD = _set(_WORD)
_ANY = _set("\n\n\r\r\u2028\u2029", negated=True)
_CLASSES = {
    letter: _set(text, negated=negated)
    for small, text in (("d", _DIGIT), ("w", _WORD), ("s", _SPACE))
    for letter, negated in ((small, False), (small.upper(), True))
}
_CONTROLS = {"t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r"}
_EDGES: dict[str, Edge] = {"^": Edge("start"), "$": Edge("end")}
_LOOKS = {"(?=": (True, False), "(?!": (True, True), "(?<=": (False, False), "(?<!": (False, True)}
_QUANTIFIERS: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
# General categories by their long names: PropertyValueAliases.txt of Unicode.
_CATEGORIES = dict(
    re.findall(
        r"(\w+)=(\w+)",
        "Letter=L Cased_Letter=LC Uppercase_Letter=Lu Lowercase_Letter=Ll Titlecase_Letter=Lt Modifier_Letter=Lm "
        "Other_Letter=Lo Mark=M Combining_Mark=M Nonspacing_Mark=Mn Spacing_Mark=Mc Enclosing_Mark=Me Number=N "
        "Decimal_Number=Nd digit=Nd Letter_Number=Nl Other_Number=No Punctuation=P punct=P Connector_Punctuation=Pc "
        "Dash_Punctuation=Pd Open_Punctuation=Ps Close_Punctuation=Pe Initial_Punctuation=Pi Final_Punctuation=Pf "
        "Other_Punctuation=Po Symbol=S Math_Symbol=Sm Currency_Symbol=Sc Modifier_Symbol=Sk Other_Symbol=So "
        "Separator=Z Space_Separator=Zs Line_Separator=Zl Paragraph_Separator=Zp Other=C Control=Cc cntrl=Cc "
        "Format=Cf Surrogate=Cs Private_Use=Co Unassigned=Cn",
    )
)


def parse(pattern: str) -> Tree:
    """Raises PatternError."""
    if len(pattern) > MAX_PATTERN_CHARS:
        raise PatternError(f"a pattern has at most {MAX_PATTERN_CHARS} characters")
    return _Parser(pattern).whole()


class _Parser:
    def __init__(self, pattern: str) -> None:
        self._text = pattern
        self._at = 0
        self._depth = 0

    def whole(self) -> Tree:
        tree = self._choice()
        if self._at < len(self._text):
            self._refuse("unmatched )")
        return tree

    def _refuse(self, what: str) -> NoReturn:
        raise PatternError(f"{what} at character {self._at + 1}")

    def _peek(self, size: int = 1) -> str:
        return self._text[self._at : self._at + size]

    def _take(self, text: str) -> bool:
        taken = self._text.startswith(text, self._at)
        self._at += len(text) if taken else 0
        return taken

    def _next(self) -> str:
        if self._at >= len(self._text):
            self._refuse("unexpected end")
        self._at += 1
        return self._text[self._at - 1]

    def _choice(self) -> Tree:
        parts = [self._sequence()]
        while self._take("|"):
            parts.append(self._sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def _sequence(self) -> Tree:
        parts: list[Tree] = []
        while self._peek() not in ("", "|", ")"):
            parts.append(self._quantified(self._term()))
        return Sequence(tuple(parts))

    def _quantified(self, term: Tree) -> Tree:
        if (counts := self._quantifier()) is None:
            return term
        if isinstance(term, Edge) or (isinstance(term, Look) and not term.ahead):
            self._refuse("nothing to repeat")
        self._take("?")  # reluctant: which way is tried first makes no difference to whether there is one
        return Repeat(term, *counts)

    def _quantifier(self) -> tuple[int, int | None] | None:
        if (counts := _QUANTIFIERS.get(self._peek())) is not None:
            self._at += 1
            return counts
        return self._counted() if self._peek() == "{" else None

    def _counted(self) -> tuple[int, int | None] | None:
        """{2}, {2,} or {2,5}. Anything else is a brace that stands for itself."""
        end = self._text.find("}", self._at)
        least, comma, most = self._text[self._at + 1 : max(end, 0)].partition(",")
        if not (_is_count(least) and (_is_count(most) or not most)):
            return None
        if max(len(least), len(most)) > MAX_COUNT_DIGITS:
            self._refuse("too large a number in {}")
        self._at = end + 1
        counts = int(least), int(most) if most else None if comma else int(least)
        if counts[1] is not None and counts[1] < counts[0]:
            self._refuse("numbers out of order in {}")
        return counts

    def _term(self) -> Tree:
        char = self._next()
        if char in _EDGES:
            return _EDGES[char]
        match char:
            case "(":
                return self._group()
            case "[":
                return self._class()
            case ".":
                return _ANY
            case "\\":
                return self._escape()
            case "*" | "+" | "?":
                self._refuse("nothing to repeat")
        return _set(char * 2)

    def _group(self) -> Tree:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._refuse(f"groups are nested more than {MAX_NESTING} deep")
        self._at -= 1
        opening = next((text for text in _LOOKS if self._take(text)), "")
        if not opening:
            self._open_plain()
        tree = self._choice()
        if not self._take(")"):
            self._refuse("missing )")
        self._depth -= 1
        return Look(tree, *_LOOKS[opening]) if opening else tree

    def _open_plain(self) -> None:
        if self._take("(?:"):
            return
        if self._take("(?<"):
            end = self._text.find(">", self._at)
            if not self._text[self._at : max(end, 0)].isidentifier():
                self._refuse("not a group's name")
            self._at = end + 1
        elif self._take("(?"):
            self._refuse("a group of an unknown kind")
        else:
            self._take("(")

    def _escape(self) -> Tree:
        if (edge := {"b": Edge("word"), "B": Edge("inside")}.get(self._peek())) is not None:
            self._at += 1
            return edge
        if self._peek() == "k" or (self._peek().isdigit() and self._peek() != "0"):
            self._refuse("a reference back to a group, which is not supported,")
        found = self._class_or_char()
        return _set(found * 2) if isinstance(found, str) else found

    def _class_or_char(self) -> CharSet | str:
        """What stands behind a backslash, in a class or out of it."""
        char = self._next()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            return _CONTROLS[char]
        match char:
            case "p" | "P":
                return self._property(negated=char == "P")
            case "c" if self._peek().isascii() and self._peek().isalpha():
                return chr(ord(self._next()) % 32)
            case "x":
                return chr(self._hex(2))
            case "u":
                return self._unicode()
            case "0" if not self._peek().isdigit():
                return "\0"
        if char.isalnum():
            self._refuse(f"unknown escape \\{char}")
        return char

    def _hex(self, digits: int) -> int:
        text = self._peek(digits)
        self._at += digits
        if len(text) < digits or not all(char in "0123456789abcdefABCDEF" for char in text):
            self._refuse("not a hexadecimal number")
        return int(text, 16)

    def _unicode(self) -> str:
        if self._take("{"):
            end = self._text.find("}", self._at)
            code = self._hex(max(end - self._at, 1))
            self._at += 1
        else:
            code = self._hex(4)
            if 0xD800 <= code < 0xDC00 and self._take("\\u"):
                code = 0x10000 + ((code - 0xD800) << 10) + self._hex(4) - 0xDC00
        if not 0 <= code <= MAX_CODE_POINT:
            self._refuse("not a code point")
        return chr(code)

    def _property(self, *, negated: bool) -> CharSet:
        end = self._text.find("}", self._at)
        if not self._take("{") or end < 0:
            self._refuse("expected {…} behind \\p")
        name, self._at = self._text[self._at : end], end + 1
        if name in ("Any", "ASCII"):
            return CharSet((("\0", chr(MAX_CODE_POINT if name == "Any" else 127)),), negated=negated)
        value = name.partition("=")[2] if name.startswith(("gc=", "General_Category=")) else name
        category = _CATEGORIES.get(value, value)
        if category not in {*_CATEGORIES.values()}:
            self._refuse(f"the Unicode property {name[:40]}, which is not supported,")
        return CharSet(categories=("Lu", "Ll", "Lt") if category == "LC" else (category,), negated=negated)

    def _class(self) -> CharSet:
        negated = self._take("^")
        ranges: list[tuple[str, str]] = []
        sets: list[CharSet] = []
        while not self._take("]"):
            low = self._class_atom()
            high = self._class_atom() if self._peek() == "-" and self._peek(2) != "-]" and self._take("-") else low
            if isinstance(low, str) and isinstance(high, str):
                if high < low:
                    self._refuse("range out of order in []")
                ranges.append((low, high))
            elif low is high and isinstance(low, CharSet):
                sets.append(low)
            else:
                self._refuse("a class cannot be the end of a range")
        return CharSet(tuple(ranges), sets=tuple(sets), negated=negated)

    def _class_atom(self) -> CharSet | str:
        char = self._next()
        if char != "\\":
            return char
        if self._peek() == "b":
            self._at += 1
            return "\b"
        return self._class_or_char()


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit()
