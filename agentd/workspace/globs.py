"""Glob patterns as regular expressions: git's wildmatch (wildmatch.c, with WM_PATHNAME), and braces where asked for.

`*` and `?` stop at a slash, `**` between slashes does not; `[a-z]`, `[!a]`, `[^a]` and `[[:alpha:]]` are classes, none
of which holds a slash; a backslash takes the next character as it is. A pattern git calls malformed matches nothing.
"""

from __future__ import annotations

import itertools
import re

MAX_ALTERNATIVES = 256  # of one pattern with braces

_NOTHING = "(?!)"
_ESCAPED = {chr(code): re.escape(chr(code)) for code in range(128)}
_CLASSES = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "blank": "  \t\t",
    "cntrl": "\x00\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\r  ",
    "upper": "AZ",
    "xdigit": "09AFaf",
}


def translate(pattern: str) -> str:
    """A regular expression, to be used with `fullmatch` and DOTALL on a path relative to the pattern's base."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        piece, at = _piece(pattern, at)
        if piece == _NOTHING:
            return _NOTHING
        out.append(piece)
    return "".join(out)


def _piece(pattern: str, at: int) -> tuple[str, int]:
    match pattern[at]:
        case "*":
            return _stars(pattern, at)
        case "?":
            return "[^/]", at + 1
        case "[":
            return _bracket(pattern, at)
        case "\\":
            escaped = pattern[at + 1 : at + 2]
            return (_quote(escaped), at + 2) if escaped else (_NOTHING, at + 1)
        case char:
            return _quote(char), at + 1


def _quote(char: str) -> str:
    return _ESCAPED.get(char, char)


def _stars(pattern: str, at: int) -> tuple[str, int]:
    end = at
    while pattern[end : end + 1] == "*":
        end += 1
    whole_component = (at == 0 or pattern[at - 1] == "/") and pattern[end : end + 1] in ("", "/")
    if end - at < 2 or not whole_component:
        return "[^/]*", end
    if pattern[end : end + 1] == "/":
        return "(?:.*/)?", end + 1
    return ".*", end


def _bracket(pattern: str, at: int) -> tuple[str, int]:
    at += 1
    negated = pattern[at : at + 1] in ("!", "^")
    at += negated
    ranges: list[tuple[str, str]] = []
    first = True
    while first or pattern[at : at + 1] != "]":
        first = False
        named = re.compile(r"\[:([^\]]*):\]").match(pattern, at)
        if named:
            if named[1] not in _CLASSES:
                return _NOTHING, at
            ends = _CLASSES[named[1]]
            ranges += zip(ends[::2], ends[1::2], strict=True)
            at = named.end()
            continue
        low, at = _member(pattern, at)
        high = low
        if pattern[at : at + 1] == "-" and pattern[at + 1 : at + 2] not in ("", "]"):
            high, at = _member(pattern, at + 1)
        if not low or not high:
            return _NOTHING, at
        ranges.append((low, max(low, high)))  # where a range is upside down its first character still counts
    inside = "".join(f"{_code(low)}-{_code(high)}" for low, high in ranges)
    if negated:
        return f"[^/{inside}]", at + 1
    return (f"(?!/)[{inside}]" if inside else _NOTHING), at + 1


def _member(pattern: str, at: int) -> tuple[str, int]:
    """One character of a class, "" where the pattern ends too early."""
    at += pattern[at : at + 1] == "\\"
    return pattern[at : at + 1], at + 1


def _code(char: str) -> str:
    return f"\\x{ord(char):02x}" if ord(char) < 256 else f"\\U{ord(char):08x}"


def expand_braces(pattern: str) -> list[str]:
    """`a.{b,c{d,e}}` is `a.b`, `a.cd` and `a.ce`. Unbalanced braces and `{x}` stand for themselves.
    At most MAX_ALTERNATIVES are made; what would be more is left unexpanded."""
    done: list[str] = []
    todo = [pattern]
    while todo:
        current = todo.pop(0)
        found = _first_braces(current) if len(done) + len(todo) < MAX_ALTERNATIVES else None
        if found is None:
            done.append(current)
        else:
            start, end, choices = found
            todo[:0] = [current[:start] + choice + current[end:] for choice in choices]
    return done


def _first_braces(pattern: str) -> tuple[int, int, list[str]] | None:
    """Where the first group with a comma in it starts and ends, and its choices."""
    opened: list[tuple[int, list[int]]] = []  # positions of `{`, and of the commas directly in it
    groups: list[tuple[int, int, list[str]]] = []
    at = 0
    while at < len(pattern):
        match pattern[at]:
            case "\\":
                at += 1
            case "{":
                opened.append((at, []))
            case "," if opened:
                opened[-1][1].append(at)
            case "}" if opened:
                start, commas = opened.pop()
                if commas:
                    edges = [start, *commas, at]
                    choices = [pattern[a + 1 : b] for a, b in itertools.pairwise(edges)]
                    groups.append((start, at + 1, choices))
        at += 1
    return min(groups, default=None)


def compile_glob(pattern: str) -> re.Pattern[str]:
    """A regular expression for `fullmatch` on a path relative to the glob's base, braces expanded."""
    return re.compile("|".join(translate(one) for one in expand_braces(pattern)), re.DOTALL)


def compile_filter(pattern: str) -> re.Pattern[str]:
    """As compile_glob, with the rules of an ignore file: without a slash a pattern is about names at any depth, a slash
    at its end means all that is below, and commas outside braces separate patterns."""
    globs: list[str] = []
    for one in (part for expanded in expand_braces(pattern) for part in expanded.split(",") if part):
        below = one + "**" if one.endswith("/") else one
        globs.append(below.removeprefix("/") if "/" in one.rstrip("/") else f"**/{below}")
    return re.compile("|".join(map(translate, globs)), re.DOTALL)
