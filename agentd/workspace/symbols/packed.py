"""The definitions of a file, small. What look-ups by name need is at hand; where they are and how they are declared is
compressed. Standard library only: scanning processes import this."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from agentd.workspace.symbols.model import Definition, Kind

LETTERS = {
    Kind.CLASS: "c",
    Kind.INTERFACE: "i",
    Kind.ENUM: "e",
    Kind.TYPE: "t",
    Kind.FUNCTION: "f",
    Kind.METHOD: "m",
    Kind.FIELD: "v",
}
KINDS = {letter: kind for kind, letter in LETTERS.items()}
MAX_BYTES = 64 << 20  # of the places and signatures of one file


class Packed(NamedTuple):
    """Of the definitions of one file, in their order:"""

    names: str = ""  # a line each
    kinds: str = ""  # a letter each
    scopes: str = ""  # those there are, a line each
    scope_of: str = ""  # a character each: its code is the number of its scope
    rest: bytes = b""  # a line each: first, line, last, signature; compressed


NOTHING = Packed()


def pack(definitions: Iterable[Definition]) -> Packed:
    names, kinds, places, rest = [], [], [], []
    scopes: dict[str, int] = {}
    for each in definitions:
        names.append(_line(each.name))
        kinds.append(LETTERS[each.kind])
        places.append(chr(scopes.setdefault(_line(each.scope), len(scopes))))
        rest.append(f"{each.first} {each.line} {each.last} {_line(each.signature)}")
    if not names:
        return NOTHING
    data = zlib.compress("\n".join(rest).encode("utf-8", "replace"), 1)
    return Packed("\n".join(names), "".join(kinds), "\n".join(scopes), "".join(places), data)


def _line(text: str) -> str:
    return text if text.isprintable() else text.replace("\n", " ")


def unpack(packed: Packed) -> list[Definition]:
    """The inverse of pack(); nothing if it was something else that made this."""
    try:
        return list(_definitions(packed))
    except (zlib.error, ValueError, KeyError, IndexError):
        return []


def _definitions(packed: Packed) -> Iterator[Definition]:
    if not packed.kinds:
        return
    scopes = packed.scopes.split("\n")
    rest = zlib.decompressobj().decompress(packed.rest, MAX_BYTES).decode("utf-8", "replace").split("\n")
    for name, letter, place, line in zip(packed.names.split("\n"), packed.kinds, packed.scope_of, rest, strict=True):
        first, at, last, signature = line.split(" ", 3)
        yield Definition(KINDS[letter], name, scopes[ord(place)], int(first), int(at), int(last), signature)
