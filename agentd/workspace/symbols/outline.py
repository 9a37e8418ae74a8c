"""Definitions as text that people and models read. A line of the file the answer is about is told as Read tells it,
with its number and a tab; a line of another file as Grep does, with its path."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from agentd.workspace.symbols.lookup import Found
from agentd.workspace.symbols.model import TYPES, Definition

MAX_MEMBERS = 400  # of a type that are told
INDENT = "    "


def heading(found: Found) -> str:
    """`src/users.py:12: class src.users.UserService, lines 10-80`."""
    each = found.definition
    lines = f"lines {each.first}-{each.last}" if each.first != each.last else f"line {each.first}"
    return f"{found.place}: {each.kind} {each.qualified}, {lines}"


def skeleton(found: Found, members: Sequence[Found]) -> str:
    """A type: its declaration, and those of its members."""
    lines = [heading(found), numbered(found.definition.line, found.definition.signature)]
    for member in members[:MAX_MEMBERS]:
        each = member.definition
        text = INDENT + each.signature
        lines.append(numbered(each.line, text) if member.file == found.file else f"{member.place}:{text}")
    if len(members) > MAX_MEMBERS:
        more = len(members) - MAX_MEMBERS
        at = members[MAX_MEMBERS].definition.line
        lines.append(f"[{more} more members; Read {found.path} with offset={at} shows them]")
    return "\n".join(dict.fromkeys(lines))  # `a = b = 0` is one line


def body(found: Found, text: str, *, numbers: bool, most: int) -> str:
    """The source of a definition, of a file's *text*; at most so many lines."""
    each = found.definition
    lines = text.split("\n")[each.first - 1 : each.last]
    shown = [line.removesuffix("\r") for line in lines[:most]]
    if numbers:
        shown = [numbered(each.first + place, line) for place, line in enumerate(shown)]
    if len(lines) > most:
        shown.append(f"[{len(lines) - most} more lines; Read {found.path} with offset={each.first + most} shows them]")
    return "\n".join([heading(found), *shown])


def outline(definitions: Iterable[Definition], *, inside: bool = True) -> Iterator[str]:
    """A line each, those in a type indented below it; without *inside*, only those that are in none."""
    around: list[Definition] = []
    told = ""
    for each in definitions:
        while around and not (each.scope == around[-1].qualified and each.line <= around[-1].last):
            around.pop()
        line = numbered(each.line, INDENT * len(around) + each.signature)
        if line != told and (inside or not around):
            told = line  # and not once more for the other names in it
            yield line
        if each.kind in TYPES:
            around.append(each)


def numbered(line: int, text: str) -> str:
    return f"{line:>6}\t{text}"
