"""A regular expression as `re` itself has parsed it: a sequence of parts, each a kind and what belongs to it. Standard
library only: search workers import this, and for their sake not even `typing`, which takes as long as all the rest."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REPEATS = ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")
ENDLESS = 4294967295  # re's MAXREPEAT
ASCII = frozenset(range(128))
LF, CR = 10, 13

_CATEGORIES = {
    "DIGIT": frozenset(b"0123456789"),
    "SPACE": frozenset(b" \t\n\r\f\v"),
    "WORD": frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}
_UNICODE_SPACE = frozenset(range(0x1C, 0x20))  # is space, but not for ASCII


def parse(source: str, flags: int) -> Any:
    """Raises re.error. The parser is a private module of the standard library, there since 3.11."""
    return importlib.import_module("re._parser").parse(source, flags)


def parts(tree: Any) -> list[tuple[str, Any]]:
    """The parts of a sequence with their kind by name: "LITERAL", "MAX_REPEAT" and so on."""
    return [(str(op), av) for op, av in tree]


def inside(op: str, av: Any) -> list[Any]:
    """The sequences that are inside a part."""
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
            return [sequence for sequence in av[1:] if sequence is not None]
    return []


def all_parts(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every part at any depth."""
    for op, av in parts(tree):
        yield op, av
        for sequence in inside(op, av):
            yield from all_parts(sequence)


def named(op: str, av: Any) -> list[int]:
    """The characters that a part names one by one."""
    if op in ("LITERAL", "NOT_LITERAL"):
        return [av]
    return [value for kind, value in av if str(kind) == "LITERAL"] if op == "IN" else []


def members(op: str, av: Any, *, dotall: bool, unicode: bool) -> tuple[frozenset[int], bool] | None:
    """For a part that matches one character: which ASCII characters that may be, and whether it may be another.
    Case is not folded. None for other parts."""
    match op:
        case "LITERAL":
            return ASCII & {av}, av > 127
        case "NOT_LITERAL":
            return ASCII - {av}, True
        case "ANY":
            return (ASCII if dotall else ASCII - {LF}), True
        case "IN":
            return _class_members(av, unicode)
    return None


def _class_members(listed: Any, unicode: bool) -> tuple[frozenset[int], bool]:
    found: frozenset[int] = frozenset()
    negated = str(listed[0][0]) == "NEGATE"
    wide = negated or unicode
    for kind, value in listed[negated:]:
        match str(kind):
            case "LITERAL":
                found |= {value}
            case "RANGE":
                found |= frozenset(range(value[0], min(value[1], 128) + 1))
            case "CATEGORY":
                found |= _category_members(str(value), unicode)
                wide = wide or "_NOT_" in str(value)
    wide = wide or any(code > 127 for code in found)
    return (ASCII - found if negated else ASCII & found), wide


def _category_members(name: str, unicode: bool) -> frozenset[int]:
    kind = name.rpartition("_")[2]
    found = _CATEGORIES[kind] | (_UNICODE_SPACE if kind == "SPACE" and unicode else frozenset())
    return ASCII - found if "_NOT_" in name else found
