"""What an index says of a name. Functions of its files: nothing here waits, or reads a file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Iterator
from typing import NamedTuple

from agentd.workspace.symbols.cache import Files
from agentd.workspace.symbols.languages import language_of
from agentd.workspace.symbols.model import TYPES, Definition, Kind
from agentd.workspace.symbols.packed import NOTHING, unpack
from agentd.workspace.symbols.worker import Look

CLOSE = 0.7  # how alike names have to be that may have been meant
COMPARED = 2000  # names, at most: each takes some 10 µs

_ARGUMENTS = re.compile(r"\(.*\)$", re.DOTALL)


class Found(NamedTuple):
    """A definition, and the file that it is in."""

    file: bytes  # relative to the workspace
    definition: Definition

    @property
    def path(self) -> str:
        return shown(self.file)

    @property
    def place(self) -> str:
        return f"{self.path}:{self.definition.line}"


def shown(file: bytes) -> str:
    """A path as it can be sent."""
    return file.decode("utf-8", "replace")


def spellings(name: str) -> list[str]:
    """What a name may be called here: `a::B#c(int)` is a.B.c, and so is `a.B$c`."""
    plain = name.strip()
    bare = _ARGUMENTS.sub("", plain)
    dotted = re.sub(r"::|#|/", ".", bare).strip(".")
    return list(dict.fromkeys((plain, bare, dotted, dotted.replace("$", "."))))


def definitions_in(look: Look) -> list[Definition]:
    return unpack(look.packed or NOTHING)


def find(files: Files, name: str, kinds: Container[Kind] = frozenset(Kind)) -> list[Found]:
    """Definitions of exactly this qualified name; if there are none, those whose qualified name ends with it, whole
    components of it. By file and line."""
    for spelling in spellings(name):
        ends = [found for found in _named(files, spelling) if found.definition.kind in kinds]
        if ends:
            exact = [found for found in ends if found.definition.qualified == spelling]
            return sorted(exact or ends, key=lambda found: (found.file, found.definition.line))
    return []


def _named(files: Files, name: str) -> Iterator[Found]:
    """Definitions whose qualified name is or ends with *name*."""
    simple, end = name.rpartition(".")[2], f".{name}"
    if not simple:
        return
    for file, look in _with_name(files, simple):
        for definition in definitions_in(look):
            if definition.name == simple and f".{definition.qualified}".endswith(end):
                yield Found(file, definition)


def _with_name(files: Files, simple: str) -> Iterator[tuple[bytes, Look]]:
    line = f"\n{simple}\n"
    for file, look in files.items():
        if look.packed and simple in look.packed.names and line in f"\n{look.packed.names}\n":
            yield file, look


def places_of(files: Files, simple: str) -> set[tuple[bytes, int]]:
    """Files and lines in which something of that name is defined, in whatever scope."""
    return {
        (file, definition.line)
        for file, look in _with_name(files, simple)
        for definition in definitions_in(look)
        if definition.name == simple
    }


def members(files: Files, of: Found) -> list[Found]:
    """What a type has: fields, methods, types in it, also those that other files of its language add to it, as in Go
    and C++. Each part of a type that is declared in parts has its own."""
    type_ = of.definition
    here = definitions_in(files[of.file])
    parts = [each for each in here if each.kind in TYPES and each.qualified == type_.qualified]
    own = [each for each in here if each.scope == type_.qualified and _part_of(each, parts) == type_]
    return [*(Found(of.file, each) for each in own), *_elsewhere(files, of)]


def _part_of(member: Definition, parts: list[Definition]) -> Definition:
    """The declaration that a member is written in; the first one if it is written outside."""
    return next((part for part in parts if part.first <= member.line <= part.last), parts[0])


def _elsewhere(files: Files, of: Found) -> Iterator[Found]:
    scope, language = of.definition.qualified, language_of(of.path)
    line = f"\n{scope}\n"
    for file, look in sorted(files.items()):
        if look.packed and scope in look.packed.scopes and file != of.file and line in f"\n{look.packed.scopes}\n":
            there = definitions_in(look)
            if language_of(shown(file)) != language:
                continue
            if any(each.kind in TYPES and each.qualified == scope for each in there):
                continue  # another part, or another type of that name: its members are its own
            yield from (Found(file, each) for each in there if each.scope == scope)


def enclosing(definitions: list[Definition], line: int) -> Definition | None:
    """The innermost definition that is more than a field and has the line in it."""
    around = (each for each in definitions if each.kind is not Kind.FIELD and each.first <= line <= each.last)
    return min(around, key=lambda each: each.last - each.first, default=None)


def similar(files: Files, name: str, most: int = 5) -> list[str]:
    """Simple names that are much like *name*."""
    wanted = spellings(name)[-1].rpartition(".")[2].lower()
    near: dict[str, str] = {}  # as they are written, by how they are compared
    for look in files.values():
        for each in set(look.packed.names.split("\n")) if look.packed else ():
            if abs(len(each) - len(wanted)) <= 3 and each[:1].lower() == wanted[:1]:
                near.setdefault(each.lower(), each)
    nearest = sorted(near, key=lambda each: abs(len(each) - len(wanted)))[:COMPARED]
    return [near[match] for match in difflib.get_close_matches(wanted, nearest, most, CLOSE)]
