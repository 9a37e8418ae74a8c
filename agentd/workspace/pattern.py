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

import re
import warnings

from agentd.workspace.needle import literal_bits, required_literals, required_run
from agentd.workspace.tree import CR, LF, REPEATS, all_parts, inside, members, named, parse, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_CHARACTERS = 10_000
MAX_PATHS = 32  # ways to match at one place, up to which a pattern counts as quick: some 0.1 s for a megabyte at worst
LONG_LITERAL = 4  # bytes from which on a literal is looked for whatever else is known: nothing is faster

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
_SHORT_REPEAT = 16


class BadPattern(Exception):
    """Its text is what is wrong with the pattern."""


class Pattern:
    """A pattern ready to be run, and what is known of it. Raises BadPattern.

    literals    each match holds one of these (in lower case if *folded*); empty if that is not known
    run         each match holds this run of characters; None if that is not known, or *literals* say more
    is_literal  the pattern is its one literal, or its run, and nothing else
    anchored    a match is at the beginning of a line
    quick       no line makes it slow
    alone       a line has to be cut out before it is matched: the pattern sees what is around it, or would run on
    keeps_cr    `\\r\\n` is not made `\\n` first
    tree        what re made of it
    """

    def __init__(self, source: str, *, ignore_case: bool = False, multiline: bool = False) -> None:
        self.source = source
        self.ignore_case = ignore_case
        self.multiline = multiline
        if len(source) > MAX_CHARACTERS:
            raise BadPattern(f"it is longer than {MAX_CHARACTERS} characters")
        text = re.sub(r"\[:(\w+):\]", lambda found: _POSIX.get(found[1], found[0]), source)
        flags = re.MULTILINE | (re.IGNORECASE if ignore_case else 0) | (re.DOTALL if multiline else 0)
        flags |= re.ASCII if text.isascii() else 0
        try:
            with warnings.catch_warnings():  # Python warns of what may mean something else one day, like `[[`
                warnings.simplefilter("ignore", FutureWarning)
                self.regex = re.compile(text, flags)
                self.tree = parse(text, flags)
            self.folded = bool(self.regex.flags & re.IGNORECASE)
            self.unicode = not self.regex.flags & re.ASCII
            self._examine()
        except (re.error, RecursionError, OverflowError, ValueError) as exc:
            raise BadPattern(str(exc)) from exc

    def _examine(self) -> None:
        every = list(all_parts(self.tree))
        characters = {code for op, av in every for code in named(op, av)}
        if LF in characters and not self.multiline:
            raise BadPattern("it names \\n, but lines are searched one by one; multiline lets it match across them")
        self.keeps_cr = CR in characters
        first = next(iter(parts(self.tree)), ("", None))
        self.anchored = first[0] == "AT" and str(first[1]).startswith("AT_BEGINNING")
        self.alone = any(
            op in _OUTLOOK or (op == "AT" and str(av) in _WHOLE_TEXT) or self._runs_on(op, av) for op, av in every
        )
        self.quick = not self.multiline and _paths(self.tree) <= MAX_PATHS
        self._find_needle(all(op == "LITERAL" for op, _ in every) and len(every))

    def _find_needle(self, literal_length: int) -> None:
        """*literal_length*: of a pattern that is a literal; else 0."""
        # Which letters are the same in all of Unicode is for re to say, so there nothing is known.
        self.literals = frozenset() if self.folded and self.unicode else required_literals(self.tree, self.folded)
        self.run = required_run(self.tree, folded=self.folded, unicode=self.unicode, multiline=self.multiline)
        one = next(iter(self.literals)) if len(self.literals) == 1 and not self.folded else b""
        long = len(one) >= LONG_LITERAL or (len(self.literals) > 1 and min(map(len, self.literals)) >= LONG_LITERAL)
        if self.run and (long or self.run.bits <= literal_bits(self.literals) * (not self.folded)):
            self.run = None
        known = len(self.run.needle) if self.run else len(one.decode())
        self.is_literal = 0 < literal_length == known

    def _runs_on(self, op: str, av: Any) -> bool:
        """Whether a part can go from line to line without end; searching a whole text with it would take for ever."""
        if op not in REPEATS or av[1] <= _SHORT_REPEAT:
            return False
        dotall = bool(self.regex.flags & re.DOTALL)
        classes = (members(*part, dotall=dotall, unicode=self.unicode) for part in all_parts(av[2]))
        return any(found is not None and LF in found[0] for found in classes)


def _paths(tree: Any) -> float:
    """In how many ways a match may be tried at one place, at most: what backtracking costs, whatever the text."""
    total = 1.0
    for op, av in parts(tree):
        if op == "BRANCH":
            total *= sum(map(_paths, av[1]))
        elif op in REPEATS:
            once = _paths(av[2])
            endless = av[1] > 2 * MAX_PATHS or once > MAX_PATHS
            total *= float("inf") if endless else sum(once**n for n in range(av[0], av[1] + 1))
        elif op in ("GROUPREF", "GROUPREF_EXISTS"):
            total = float("inf")
        else:
            for sequence in inside(op, av):
                total *= _paths(sequence)
    return total
