"""A pattern as a regular expression for Rust's regex crate that matches wherever the pattern does, and possibly
elsewhere. It is made from the parsed pattern, never from its text, and works on bytes: what Rust has no equal of
becomes something wider. ripgrep, given this, says which files are worth looking into; the answer is still re's.
"""

from __future__ import annotations

import re
from typing import Any

from agentd.workspace.pattern import Pattern, items

_ASCII = frozenset(range(128))
_CATEGORIES = {
    "DIGIT": frozenset(b"0123456789"),
    "SPACE": frozenset(b" \t\n\r\f\v"),
    "WORD": frozenset(b"0123456789_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
}
_UNICODE_SPACE = frozenset(range(0x1C, 0x20))  # for Python, not for ASCII nor for Rust
_LF = 10
_ENDLESS = 4294967295  # re's MAXREPEAT


class _NoSieve(Exception):
    """Nothing useful can be said."""


def sieve(pattern: Pattern) -> str | None:
    """The wider expression; None if there is none worth having."""
    if pattern.folded and pattern.unicode:
        return None
    # The ends of a line are only looked at where the pattern begins or ends; elsewhere they have seldom a meaning.
    parts = [] if pattern.multiline else items(pattern.tree)
    start = r"(?:^|\xef\xbb\xbf)" if parts and _is_place(parts[0], "AT_BEGINNING") else ""  # or after the BOM
    end = r"\r?$" if parts and _is_place(parts[-1], "AT_END") else ""
    try:
        return f"(?{'im' if pattern.folded else 'm'}-u){start}{_Writer(pattern).sequence(pattern.tree)}{end}"
    except _NoSieve:
        return None


def _is_place(part: tuple[str, Any], name: str) -> bool:
    return part[0] == "AT" and str(part[1]).startswith(name)


class _Writer:
    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._dot = _ASCII if pattern.regex.flags & re.DOTALL else _ASCII - {_LF}

    def sequence(self, tree: Any) -> str:
        return "".join(self._part(op, av) for op, av in items(tree))

    def _part(self, op: str, av: Any) -> str:
        match op:
            case "LITERAL":
                return _literal(av)
            case "ANY":
                return self._one_of(self._dot, wide=True)
            case "NOT_LITERAL":
                return self._one_of(_ASCII - {av}, wide=True)
            case "IN":
                return self._one_of(*self._members(av))
            case "BRANCH":
                return "(?:" + "|".join(self.sequence(choice) for choice in av[1]) + ")"
            case "SUBPATTERN" if not av[1] and not av[2]:
                return f"(?:{self.sequence(av[3])})"
            case "ATOMIC_GROUP":
                return f"(?:{self.sequence(av)})"
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, repeated = av
                return f"(?:{self.sequence(repeated)}){{{int(low)},{int(high) if high < _ENDLESS else ''}}}"
            case "AT" if str(av) == "AT_BOUNDARY" and not self._pattern.unicode:
                return r"\b"
            case "AT" | "ASSERT" | "ASSERT_NOT":
                return ""
        raise _NoSieve(op)

    def _members(self, listed: Any) -> tuple[frozenset[int], bool]:
        """The ASCII characters of a class, and whether it may hold others."""
        members: frozenset[int] = frozenset()
        negated = wide = str(listed[0][0]) == "NEGATE"
        for kind, value in listed[negated:]:
            match str(kind):
                case "LITERAL":
                    members |= {value}
                case "RANGE":
                    members |= frozenset(range(value[0], min(value[1], 128) + 1))
                case "CATEGORY":
                    members |= self._category(str(value))
                    wide = wide or self._pattern.unicode or "_NOT_" in str(value)
        wide = wide or any(code > 127 for code in members)
        return (_ASCII - members if negated else _ASCII & members), wide

    def _category(self, name: str) -> frozenset[int]:
        kind = name.rpartition("_")[2]
        members = _CATEGORIES[kind] | (_UNICODE_SPACE if kind == "SPACE" and self._pattern.unicode else frozenset())
        return _ASCII - members if "_NOT_" in name else members

    def _one_of(self, members: frozenset[int], wide: bool) -> str:
        """Anything beyond ASCII is taken for one to four bytes of which nothing else is known."""
        choices = []
        if self._pattern.multiline and _LF in members:
            choices.append(r"\r\n")
        if not self._pattern.multiline:
            members -= {_LF}
        if members:
            choices.append("[" + "".join(f"\\x{code:02x}" for code in sorted(members)) + "]")
        if wide:
            choices.append(r"[\x80-\xff]{1,4}")
        if not choices:
            raise _NoSieve("it cannot match")
        return f"(?:{'|'.join(choices)})"


def _literal(code: int) -> str:
    if code == _LF:
        return r"\r?\n"
    if 0xD800 <= code <= 0xDFFF:
        raise _NoSieve("a byte that is no UTF-8")
    return "".join(f"\\x{byte:02x}" for byte in chr(code).encode())
