"""Source text of languages with braces as words and marks: comments are gone, literals are opaque, brackets are paired.

A language is a table: the regular expressions of its comments and literals. What its definitions look like is found
in the tokens, where nothing in a string or a comment can fool it and a function's body is skipped in one step.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence

import attrs

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = frozenset(OPENING.values())


@attrs.frozen
class Lexis:
    """Patterns of one language, each a list of alternatives without capturing groups, tried in order."""

    comments: Sequence[str]
    literals: Sequence[str]
    word: str = r"[^\W\d][\w$]*"
    marks: Sequence[str] = ("::", "->", "=>", r"\.\.\.")  # besides every single character
    pattern: re.Pattern[str] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        groups = ("|".join(self.comments), "|".join(self.literals), self.word, "|".join((*self.marks, r"[^\s\w]")))
        numbers = r"\d[\w.]*"
        pattern = re.compile("({})|({}|{})|({})|({})".format(groups[0], groups[1], numbers, *groups[2:]), re.DOTALL)
        object.__setattr__(self, "pattern", pattern)


COMMENT, LITERAL, WORD, MARK = 1, 2, 3, 4


@attrs.define
class Tokens:
    """Parallel lists, a place a token. `partner` of a bracket is the place of the other one of its pair."""

    text: str
    texts: list[str] = attrs.field(factory=list)
    starts: list[int] = attrs.field(factory=list)
    kinds: list[int] = attrs.field(factory=list)
    partner: dict[int, int] = attrs.field(factory=dict)
    comments: list[tuple[int, int]] = attrs.field(factory=list)  # (start, end) of each
    _newlines: list[int] = attrs.field(factory=list)

    def __attrs_post_init__(self) -> None:
        self._newlines = [match.start() for match in re.finditer("\n", self.text)]

    def __len__(self) -> int:
        return len(self.texts)

    def line(self, offset: int) -> int:
        """The line, from 1, of a place in the text."""
        return bisect_right(self._newlines, offset - 1) + 1

    def line_of(self, place: int) -> int:
        return self.line(self.starts[place])

    def end(self, place: int) -> int:
        """The offset behind a token."""
        return self.starts[place] + len(self.texts[place])

    def source(self, first: int, last: int) -> str:
        """The text from one token to another, both included."""
        return self.text[self.starts[first] : self.end(last)]

    def skip(self, place: int) -> int:
        """The place behind a token, or behind the whole bracket that it opens."""
        return self.partner.get(place, place) + 1 if self.texts[place] in OPENING else place + 1


def tokenize(text: str, lexis: Lexis) -> Tokens:
    tokens = Tokens(text)
    texts, starts, kinds = tokens.texts, tokens.starts, tokens.kinds
    for match in lexis.pattern.finditer(text):
        kind = match.lastindex or 0
        if kind == COMMENT:
            tokens.comments.append(match.span())
            continue
        texts.append(match.group())
        starts.append(match.start())
        kinds.append(kind)
    pair_brackets(tokens)
    return tokens


def pair_brackets(tokens: Tokens) -> None:
    """Find each bracket's partner. One without goes by its kind: a `}` ends every `(` and `[` that is still open."""
    open_ones: list[int] = []
    for place, token in enumerate(tokens.texts):
        if tokens.kinds[place] != MARK:
            continue
        if token in OPENING:
            open_ones.append(place)
        elif token in CLOSING:
            depth = _matching(tokens, open_ones, token)
            if depth is not None:
                tokens.partner[open_ones[depth]], tokens.partner[place] = place, open_ones[depth]
                del open_ones[depth:]
    for place in open_ones:  # never closed: it reaches to the end
        tokens.partner[place] = len(tokens) - 1


def _matching(tokens: Tokens, open_ones: list[int], token: str) -> int | None:
    for depth in range(len(open_ones) - 1, -1, -1):
        opening = tokens.texts[open_ones[depth]]
        if OPENING[opening] == token:
            return depth
        if opening == "{":  # a stray `)` or `]` must not end a block
            return None
    return None
