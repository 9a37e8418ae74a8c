"""Source text of languages with braces as words and marks: comments are gone, literals are opaque, brackets are paired.

A language is a table: the regular expressions of its comments and literals. What its definitions look like is found
in the tokens, where nothing in a string or a comment can fool it and a function's body is skipped in one step.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence, Set

import attrs

OPENING = {"(": ")", "[": "]", "{": "}"}
CLOSING = {closing: opening for opening, closing in OPENING.items()}
BRACKETS = frozenset((*OPENING, *CLOSING))


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
SHOWN_CHARS = 2000  # of source that a signature is made from


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

    def last_line(self, place: int) -> int:
        """The line that a token ends on: a literal may go over several."""
        return self.line(self.end(place) - 1)

    def parted(self, place: int) -> bool:
        """Does a line end between this token and the one before it?"""
        return place > 0 and self.text.find("\n", self.end(place - 1), self.starts[place]) >= 0

    def begins_line(self, place: int) -> bool:
        """Does it stand at the very start of its line, not indented?"""
        start = self.starts[place]
        return start == 0 or self.text[start - 1] == "\n"

    def end(self, place: int) -> int:
        """The offset behind a token."""
        return self.starts[place] + len(self.texts[place])

    def source(self, first: int, last: int) -> str:
        """The text from one token to another, both included."""
        return self.text[self.starts[first] : self.end(last)]

    def code(self, first: int, behind: int) -> str:
        """The source from a token up to another one without comments, and not more of it than a signature can show."""
        if behind <= first:
            return ""
        start = self.starts[first]
        stop = min(self.end(behind - 1), start + SHOWN_CHARS)
        pieces = []
        for at in range(bisect_left(self.comments, (start, 0)), len(self.comments)):
            begin, end = self.comments[at]
            if begin >= stop:
                break
            pieces.append(self.text[start:begin])
            start = end
        return " ".join((*pieces, self.text[start:stop]))

    def skip(self, place: int) -> int:
        """The place behind a token, or behind the whole bracket that it opens."""
        return self.partner.get(place, place) + 1 if self.texts[place] in OPENING else place + 1

    def content_end(self, opening: int) -> int:
        """Where what is in a bracket ends: at its partner, or behind the last token of one that is never closed."""
        behind = self.skip(opening)
        return behind - 1 if self.texts[behind - 1] in CLOSING else behind

    def first_line(self, place: int) -> int:
        """The first line of a declaration that begins with this token: of the comments right above, if there are any.

        A comment behind something else on its line is not above, and neither is one with an empty line between. What
        begins with `#` is a directive that a language has among its comments, and ends the search.
        """
        return self.first_line_at(self.starts[place], self.end(place - 1) if place else 0)

    def first_line_at(self, start: int, behind: int) -> int:
        """The same for a declaration that begins at an offset, where the one before it ends at the offset *behind*."""
        line = self.line(start)
        taken = self.line(behind) if behind else 0
        for at in range(bisect_left(self.comments, (start, 0)) - 1, -1, -1):
            begin, end = self.comments[at]
            if begin < behind or self.line(end) < line - 1 or self.line(begin) == taken or self.text[begin] == "#":
                break
            line = self.line(begin)
        return line


def tokenize(text: str, lexis: Lexis, restarts: Set[str] = frozenset()) -> Tokens:
    """*restarts*: see pair_brackets."""
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
    pair_brackets(tokens, restarts)
    return tokens


def pair_brackets(tokens: Tokens, restarts: Set[str] = frozenset(), around: Set[int] = frozenset()) -> None:
    """Find each bracket's partner. One without goes by its kind: a `}` ends every `(` and `[` that is still open.

    What is never closed reaches to the end. With *restarts*, the words that begin a declaration: to the next of them at
    the start of a line. Few indent by nothing within brackets, so half-finished code does not hide what follows it.
    *around*: the places of those that declarations are in without being indented, as they often are in a namespace.
    """
    if not _pair(tokens, frozenset(), around) and restarts:
        tokens.partner.clear()
        _pair(tokens, restarts, around)


def _pair(tokens: Tokens, restarts: Set[str], around: Set[int]) -> bool:
    """Was every bracket closed, none by a restart?"""
    partner, closed = tokens.partner, True
    open_ones: list[int] = []
    stay = 0  # how many of them no restart ends
    depths: dict[str, list[int]] = {opening: [] for opening in OPENING}  # of each kind, where in open_ones they are
    for place, token in enumerate(tokens.texts):
        if token in OPENING:
            depths[token].append(len(open_ones))
            open_ones.append(place)
        elif token in CLOSING:
            depth = _matching(depths, CLOSING[token])
            if depth is not None:
                partner[open_ones[depth]], partner[place] = place, open_ones[depth]
                _forget(open_ones, depths, depth)
                stay = min(stay, depth)
        elif token in restarts and len(open_ones) > stay and tokens.begins_line(place):
            while stay < len(open_ones) and open_ones[stay] in around:
                stay += 1
            partner.update(dict.fromkeys(open_ones[stay:], place - 1))
            _forget(open_ones, depths, stay)
            closed = False
    partner.update(dict.fromkeys(open_ones, len(tokens) - 1))
    return closed and not open_ones


def _matching(depths: dict[str, list[int]], opening: str) -> int | None:
    depth = depths[opening][-1] if depths[opening] else None
    if depth is None or (depths["{"] and depths["{"][-1] > depth):  # a stray `)` or `]` must not end a block
        return None
    return depth


def _forget(open_ones: list[int], depths: dict[str, list[int]], depth: int) -> None:
    del open_ones[depth:]
    for stack in depths.values():
        while stack and stack[-1] >= depth:
            stack.pop()
