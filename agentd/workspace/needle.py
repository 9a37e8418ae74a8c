"""What every match of a pattern has to hold, so that most files are dismissed at the speed of `in`. Standard library
only: search workers import this.

Either one of some literals; or a run of characters, each of some class, like five capitals and three digits. A run is
looked for in a text in which every character is replaced by the number of its class.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from agentd.workspace.tree import LF, REPEATS, members, parts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_LITERALS = 16  # alternatives worth looking for one by one
MAX_RUN = 128  # characters

_CHARACTER_BITS = math.log2(96)  # what it says that a character is this one

Class = frozenset[int]


class Run:
    """A run of character classes, of which any two are equal or have nothing in common. It is looked for by
    `needle in data.translate(table)`. *bits*: how much it says."""

    __slots__ = ("bits", "needle", "table")

    def __init__(self, classes: list[Class]) -> None:
        numbers: dict[Class, int] = {}
        self.needle = bytes(numbers.setdefault(one, len(numbers) + 1) for one in classes)
        table = bytearray(256)
        for one, number in numbers.items():
            for code in one:
                table[code] = number
        self.table = bytes(table)
        self.bits = sum(map(_bits, classes))


def required_run(tree: Any, *, folded: bool, unicode: bool, multiline: bool) -> Run | None:
    """The run that says most; None if there is none. It says nothing of Unicode's idea of case."""
    if folded and unicode:
        return None
    sequences = _Sequences(folded, unicode, multiline).of(tree)
    best = max((run for one in sequences for run in _consistent(one)), key=lambda run: sum(map(_bits, run)), default=[])
    return Run(best) if best else None


def literal_bits(literals: frozenset[bytes]) -> float:
    """How much it says that one of *literals* is there."""
    return min(map(len, literals), default=0) * _CHARACTER_BITS


def _bits(one: Class) -> float:
    return _CHARACTER_BITS - math.log2(len(one))


class _Sequences:
    """Classes of characters that follow one another in every match."""

    def __init__(self, folded: bool, unicode: bool, multiline: bool) -> None:
        self._folded = folded
        self._unicode = unicode
        self._multiline = multiline

    def of(self, tree: Any) -> Iterator[list[Class]]:
        current: list[Class] = []
        for op, av in _flat(tree):
            if op in REPEATS:
                low, high, repeated = av
                copies = self._copies(parts(repeated), min(low, MAX_RUN))
                yield current + copies
                current = current + copies if low == high == len(copies) else copies
            elif one := self._class(op, av):
                current = [*current, one]
            elif op not in ("AT", "ASSERT", "ASSERT_NOT"):  # those stand between characters
                yield current
                current = []
        yield current

    def _copies(self, repeated: list[tuple[str, Any]], count: int) -> list[Class]:
        one = self._class(*repeated[0]) if len(repeated) == 1 else None
        return [one] * count if one else []

    def _class(self, op: str, av: Any) -> Class | None:
        """The class of a part that matches one ASCII character and nothing else; a line end may be two in the file."""
        found, wide = members(op, av, dotall=self._multiline, unicode=self._unicode) or (frozenset(), True)
        if wide or (self._multiline and LF in found):
            return None
        if self._folded:
            found = frozenset(b"".join((bytes([code]).lower() + bytes([code]).upper()) for code in found))
        return found - {LF} or None


def _flat(tree: Any) -> Iterator[tuple[str, Any]]:
    """The parts of a sequence, those of its groups among them."""
    for op, av in parts(tree):
        if op == "SUBPATTERN" and not av[1] and not av[2]:  # no flags of its own
            yield from _flat(av[3])
        else:
            yield op, av


def _consistent(classes: list[Class]) -> Iterator[list[Class]]:
    """The longest pieces in which any two classes are equal or have nothing in common."""
    start = 0
    for end, new in enumerate(classes[:MAX_RUN]):
        clash = next((at for at in range(end - 1, start - 1, -1) if classes[at] != new and classes[at] & new), None)
        if clash is not None:
            yield classes[start:end]
            start = clash + 1
    yield classes[start:MAX_RUN]


def required_literals(tree: Any, folded: bool) -> frozenset[bytes]:
    """Of the sets of which every match holds one, the one whose shortest member is longest."""
    best: frozenset[bytes] = frozenset()
    run = ""
    for op, av in [*parts(tree), ("END", None)]:
        if op == "LITERAL" and av != LF and not 0xD800 <= av <= 0xDFFF:  # a line end may be \r\n in the file
            run += chr(av)
            continue
        if run:
            literal = run.encode()
            best = max(best, frozenset({literal.lower() if folded else literal}), key=_worth)
            run = ""
        best = max(best, _literals_inside(op, av, folded), key=_worth)
    return best


def _literals_inside(op: str, av: Any, folded: bool) -> frozenset[bytes]:
    match op:
        case "SUBPATTERN" if not av[1] and not av[2]:
            return required_literals(av[3], folded)
        case "ATOMIC_GROUP":
            return required_literals(av, folded)
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT" if av[0] > 0:
            return required_literals(av[2], folded)
        case "BRANCH" if len(av[1]) <= MAX_LITERALS:
            choices = [required_literals(choice, folded) for choice in av[1]]
            union = frozenset[bytes]().union(*choices)
            return union if all(choices) and len(union) <= MAX_LITERALS else frozenset()
    return frozenset()


def _worth(literals: frozenset[bytes]) -> tuple[int, int]:
    return min(map(len, literals), default=0), -len(literals)
