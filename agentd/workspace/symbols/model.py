"""What is known of a definition in source code. Lines are counted from 1, and ranges include both ends."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    CLASS = "class"  # also struct, union, record, and what else has members and can be made
    INTERFACE = "interface"  # also trait, protocol and annotation types
    ENUM = "enum"
    TYPE = "type"  # a name for another type: typedef, alias, delegate, Go's named types that are no struct or interface
    FUNCTION = "function"  # in no class
    METHOD = "method"  # in a class; also constructors, destructors, operators, accessors with a body of their own
    FIELD = "field"  # a field, property, constant or enum member of a class; a constant or variable of a module


TYPES = frozenset({Kind.CLASS, Kind.INTERFACE, Kind.ENUM, Kind.TYPE})
CALLABLES = frozenset({Kind.FUNCTION, Kind.METHOD})


class Definition(NamedTuple):
    kind: Kind
    name: str  # as it is written where it is defined: `parse`, `~Pool`, `operator+`
    scope: str  # the qualified name of what it is in: package or module, then classes; "" where there is none
    first: int  # its first line: decorators and annotations are part of it, as is the comment right above it
    line: int  # the one that its name is on
    last: int
    signature: str  # the declaration without its body, on one line of at most SIGNATURE_CHARS

    @property
    def qualified(self) -> str:
        return f"{self.scope}.{self.name}" if self.scope else self.name


SIGNATURE_CHARS = 300

Scan = Callable[[str, str], list[Definition]]
"""A language: (text, path relative to the workspace with "/") to what the text defines, in the order of the text.

It never raises, whatever the text is: half a file, another language, a megabyte on one line. What is defined inside of
a function's body belongs to that function and is not told.
"""


def one_line(text: str) -> str:
    """A declaration that may go over several lines, as a signature."""
    line = " ".join(text.split())
    return line if len(line) <= SIGNATURE_CHARS else line[: SIGNATURE_CHARS - 1] + "…"


def module_of(path: str) -> str:
    """`src/api/client.ts` is `src.api.client`: the scope of languages whose files are modules."""
    return path.rpartition(".")[0].replace("/", ".") if "." in path.rpartition("/")[2] else path.replace("/", ".")


VALUE_CHARS = 60  # of what a field is set to


def with_value(declaration: str, value: str) -> str:
    """A field's signature: `MAX_SIZE = 10`. A value that is longer than VALUE_CHARS is cut."""
    shown = " ".join(value.split())
    return one_line(f"{declaration} = {shown if len(shown) <= VALUE_CHARS else shown[: VALUE_CHARS - 1] + '…'}")
