"""The dialect of a search, and what can be known of a pattern without running it. Standard library only: search workers
import this.

A pattern is one of Python's `re`, read so that every engine gives the same answer:

- It is matched against each line on its own, `^` and `$` being the line's ends; with *multiline* against the whole
  file, and then `.` is also a line end. A line ends in `\\n` or `\\r\\n`, unless the pattern itself names `\\r`.
- `.` is a character of the file as UTF-8; a byte that is no UTF-8 is a character, too.
- `\\w`, `\\d`, `\\s`, `\\b` and ignoring case are about ASCII. A pattern that has other characters in it asks for all
  of Unicode instead. POSIX classes (`[[:alpha:]]`) are ASCII.

Python decides what matches; a faster program may only say which files are worth asking about (sieve.py). So there is no
second dialect that could differ.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Iterator
from typing import Any

MAX_PATHS = 1000  # ways to match at one place, up to which a pattern counts as quick everywhere
MAX_LITERALS = 16  # alternatives worth looking for one by one

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": r"\x20\t",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": r"\x21-\x7e",
    "lower": "a-z",
    "print": r"\x20-\x7e",
    "punct": r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
    "space": r"\x20\t\n\r\f\v",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
# What looks beyond the text it matches, or keeps a match from being shortened: with these a line has to be alone.
_OUTLOOK = {"ASSERT", "ASSERT_NOT", "ATOMIC_GROUP", "POSSESSIVE_REPEAT", "FAILURE"}
_WHOLE_TEXT = {"AT_BEGINNING_STRING", "AT_END_STRING", "AT_NON_BOUNDARY"}  # (the last is never in an empty text)
REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
_CR, _LF = 13, 10


class BadPattern(Exception):
    """Its text is what is wrong with the pattern."""


class Pattern:
    """A pattern ready to be run, and what is known of it. Raises BadPattern.

    literals    each match holds one of these (in lower case if *folded*); empty if that is not known
    is_literal  the pattern is its one literal and nothing else
    quick       no text makes it slow
    alone       a line has to be cut out before it is matched: the pattern sees what is around it, or would run on
    keeps_cr    `\\r\\n` is not made `\\n` first
    tree        what re made of it; empty if this Python keeps that to itself
    """

    def __init__(self, source: str, *, ignore_case: bool = False, multiline: bool = False) -> None:
        self.source = source
        self.ignore_case = ignore_case
        self.multiline = multiline
        text = re.sub(r"\[:(\w+):\]", lambda found: _POSIX.get(found[1], found[0]), source)
        flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0) | (re.DOTALL if multiline else 0)
        flags |= re.ASCII if text.isascii() else 0
        try:
            with warnings.catch_warnings():  # Python warns of what may mean something else one day, like `[[`
                warnings.simplefilter("ignore", FutureWarning)
                self.regex = re.compile(text, flags)
                self.tree = importlib.import_module("re._parser").parse(text, flags)
        except (re.error, RecursionError, OverflowError, ValueError) as exc:
            raise BadPattern(str(exc)) from exc
        self.folded = bool(self.regex.flags & re.IGNORECASE)
        self.unicode = not self.regex.flags & re.ASCII
        self._examine()

    def _examine(self) -> None:
        nodes = list(_nodes(self.tree))
        named = {code for op, av in nodes for code in _codes(op, av)}
        if _LF in named and not self.multiline:
            raise BadPattern("it names \\n, but lines are searched one by one; multiline lets it match across them")
        self.keeps_cr = _CR in named
        self.alone = any(
            op in _OUTLOOK or (op == "AT" and str(av) in _WHOLE_TEXT) or _runs_on(op, av, self.regex.flags)
            for op, av in nodes
        )
        self.quick = _paths(self.tree) <= MAX_PATHS
        # Which letters are the same in all of Unicode is for re to say, so there nothing is known.
        self.literals = frozenset() if self.folded and self.unicode else _required(self.tree, self.folded)
        all_literal = bool(nodes) and all(op == "LITERAL" for op, _ in nodes)
        self.is_literal = all_literal and len(next(iter(self.literals), b"").decode()) == len(nodes)


def items(tree: Any) -> list[tuple[str, Any]]:
    """The parts of a parsed pattern, one after the other, with their kind by name."""
    return [(str(op), av) for op, av in tree]


def inner(op: str, av: Any) -> list[Any]:
    """The parsed patterns that are inside a part."""
    match op:
        case "SUBPATTERN":
            return [av[3]]
        case "BRANCH":
            return list(av[1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            return [av[2]]
        case "ASSERT" | "ASSERT_NOT":
            return [av[1]]
        case "ATOMIC_GROUP":
            return [av]
        case "GROUPREF_EXISTS":
            return [part for part in av[1:] if part is not None]
    return []


def _nodes(tree: Any) -> Iterator[tuple[str, Any]]:
    for op, av in items(tree):
        yield op, av
        for part in inner(op, av):
            yield from _nodes(part)


def _codes(op: str, av: Any) -> list[int]:
    """The characters that a part names one by one."""
    if op in ("LITERAL", "NOT_LITERAL"):
        return [av]
    return [value for kind, value in av if str(kind) == "LITERAL"] if op == "IN" else []


def _runs_on(op: str, av: Any, flags: int) -> bool:
    """Whether a part can go from line to line without end; searching a whole text with it would take forever."""
    return op in REPEATS and av[1] > MAX_LITERALS and any(_may_be_line_end(*node, flags) for node in _nodes(av[2]))


def _may_be_line_end(op: str, av: Any, flags: int) -> bool:
    if op == "IN":
        return any(
            str(kind) == "NEGATE"
            or (str(kind) == "CATEGORY" and ("SPACE" in str(value)) != ("_NOT_" in str(value)))
            or (str(kind) == "RANGE" and value[0] <= _LF <= value[1])
            for kind, value in av
        )
    return op == "NOT_LITERAL" or (op == "ANY" and bool(flags & re.DOTALL))


def _paths(tree: Any) -> float:
    """In how many ways a match may be tried at one place, at most: what backtracking costs, whatever the text."""
    total = 1.0
    for op, av in items(tree):
        if op == "BRANCH":
            total *= sum(map(_paths, av[1]))
        elif op in REPEATS:
            once = _paths(av[2])
            total *= sum(once**n for n in range(av[0], av[1] + 1)) if av[1] <= 64 else float("inf")
        elif op in ("GROUPREF", "GROUPREF_EXISTS"):
            total = float("inf")
        else:
            for part in inner(op, av):
                total *= _paths(part)
    return total


def _required(tree: Any, folded: bool) -> frozenset[bytes]:
    """Of the sets of which every match holds one, the one whose shortest member is longest."""
    best: frozenset[bytes] = frozenset()
    run = ""
    for op, av in [*items(tree), ("END", None)]:
        if op == "LITERAL" and av != _LF and not 0xD800 <= av <= 0xDFFF:  # a line end may be \r\n in the file
            run += chr(av)
            continue
        if run:
            literal = run.encode()
            best = max(best, frozenset({literal.lower() if folded else literal}), key=_worth)
            run = ""
        best = max(best, _required_inside(op, av, folded), key=_worth)
    return best


def _required_inside(op: str, av: Any, folded: bool) -> frozenset[bytes]:
    match op:
        case "SUBPATTERN" if not av[1] and not av[2]:  # no flags of its own
            return _required(av[3], folded)
        case "ATOMIC_GROUP":
            return _required(av, folded)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT" if av[0] > 0:
            return _required(av[2], folded)
        case "BRANCH" if len(av[1]) <= MAX_LITERALS:
            choices = [_required(choice, folded) for choice in av[1]]
            union = frozenset[bytes]().union(*choices)
            return union if all(choices) and len(union) <= MAX_LITERALS else frozenset()
    return frozenset()


def _worth(literals: frozenset[bytes]) -> tuple[int, int]:
    return min(map(len, literals), default=0), -len(literals)
