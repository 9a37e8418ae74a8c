"""A pattern as a regular expression for Rust's regex crate that matches wherever the pattern does, and possibly
elsewhere. It is made from the parsed pattern, never from its text, and works on bytes: what Rust has no equal of
becomes something wider. ripgrep, given this, says which files are worth looking into; the answer is still re's.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from agentd.workspace.pattern import Pattern
from agentd.workspace.tree import ENDLESS, LF, members, parts


class _NoSieve(Exception):
    """Nothing useful can be said."""


def sieve(pattern: Pattern) -> str | None:
    """The wider expression; None if there is none worth having."""
    if pattern.folded and pattern.unicode:
        return None
    # The ends of a line are only looked at where the pattern begins or ends; elsewhere they have seldom a meaning.
    edges = [] if pattern.multiline else parts(pattern.tree)
    start = r"(?:^|\xef\xbb\xbf)" if edges and _is_place(edges[0], "AT_BEGINNING") else ""  # or after the BOM
    end = r"\r?$" if edges and _is_place(edges[-1], "AT_END") else ""
    try:
        return f"(?{'im' if pattern.folded else 'm'}-u){start}{_Writer(pattern).sequence(pattern.tree)}{end}"
    except _NoSieve:
        return None


def _is_place(part: tuple[str, Any], name: str) -> bool:
    return part[0] == "AT" and str(part[1]).startswith(name)


class _Writer:
    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._dotall = bool(pattern.regex.flags & re.DOTALL)

    def sequence(self, tree: Any) -> str:
        return "".join(self._part(op, av) for op, av in parts(tree))

    def _part(self, op: str, av: Any) -> str:
        match op:
            case "LITERAL":
                return _literal(av)
            case "ANY" | "NOT_LITERAL" | "IN":
                return self._one_of(*members(op, av, dotall=self._dotall, unicode=self._pattern.unicode) or ((), True))
            case "BRANCH":
                return "(?:" + "|".join(self.sequence(choice) for choice in av[1]) + ")"
            case "SUBPATTERN" if not av[1] and not av[2]:  # no flags of its own
                return f"(?:{self.sequence(av[3])})"
            case "ATOMIC_GROUP":
                return f"(?:{self.sequence(av)})"
            case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
                low, high, repeated = av
                return f"(?:{self.sequence(repeated)}){{{int(low)},{int(high) if high < ENDLESS else ''}}}"
            case "AT" if str(av) == "AT_BOUNDARY" and not self._pattern.unicode:
                return r"\b"
            case "AT" | "ASSERT" | "ASSERT_NOT":
                return ""
        raise _NoSieve(op)

    def _one_of(self, codes: Iterable[int], wide: bool) -> str:
        """Anything beyond ASCII is taken for one to four bytes of which nothing else is known."""
        codes = set(codes)
        choices = [r"\r\n"] if self._pattern.multiline and LF in codes else []
        if not self._pattern.multiline:
            codes -= {LF}
        if codes:
            choices.append("[" + "".join(f"\\x{code:02x}" for code in sorted(codes)) + "]")
        if wide:
            choices.append(r"[\x80-\xff]{1,4}")
        if not choices:
            raise _NoSieve("it cannot match")
        return f"(?:{'|'.join(choices)})"


def _literal(code: int) -> str:
    if code == LF:
        return r"\r?\n"
    if 0xD800 <= code <= 0xDFFF:
        raise _NoSieve("a byte that is no UTF-8")
    return "".join(f"\\x{byte:02x}" for byte in chr(code).encode())
