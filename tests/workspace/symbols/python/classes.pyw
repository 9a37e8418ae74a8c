"""Module text.

class NotAClass:
    def not_a_method(self): ...
"""
from __future__ import annotations

import enum
import typing
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from enum import Enum, IntFlag, auto
from typing import Generic, NamedTuple, Protocol, TypedDict, TypeVar, overload

T = TypeVar("T")


class Empty: pass
class Dots: ...
class Parens(): x = 1; y = 2


class Plain:
    """def in_docstring(self): pass"""

    limit = 10
    names: list[str] = []
    bare: int
    a, b = 1, 2
    [c, (d, *e)] = range(5), (1, 2)
    first = second = None
    limit = 11
    limit += 1
    names[0:1] = ["x"]

    def __init__(self, size, *, other=None):
        self.size = size
        self.other: int | None = other
        self.left, (self.right, local) = 1, (2, 3)
        self.size = size + 1
        other.foreign = self
        self.items[0] = 1
        self.other.deep = 2
        self.count += 1
        if size:
            self.branch = 1
        else:
            self.branch = 2
        with open("x") as self.handle:
            self.within = 1
        for self.cursor in range(3):
            pass
        try:
            self.tried = 1
        except ValueError:
            self.failed = True
        finally:
            self.final = None

        def inner():
            self.not_told = 1

        class Local:
            self_told = 2

        self.callback = lambda self: self
        self.limit = 12

    def method(self):
        self.later = 1

        def helper(): ...

        return helper

    def one_line(self): return "def nothing(): pass"

    @property
    def value(self):
        return 1

    @value.setter
    def value(self, new):
        pass

    @value.deleter
    def value(self): del self

    @classmethod
    def make(cls): return cls()

    @staticmethod
    def helper(x, /, y, *, z): ...

    async def fetch(self): ...

    async   def   spaced (self) : ...

    key = lambda self: 1
    _private = property(lambda self: 2)

    def __eq__(self, other): return NotImplemented
    __hash__ = None


class Outer:
    class Inner:
        depth = 2

        class Innermost(Exception):
            def __init__(this, text):
                this.text = text
                self = this
                self.no = 1

            def where(self): ...

        def after(self): ...

    def of_outer(self):
        class Hidden:
            def hidden(self): ...
        return Hidden

    alias = Inner


@dataclass(frozen=True, slots=True)
class Point:
    x: float = 0.0
    y: float = field(
        default=0.0,
        metadata={"class": "Fake:", "def": "f():"},
    )
    tags: dict[str, list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "z", 1)


@decorated(
    name="class Fake(",
    func=lambda x: (x, [1, 2]),
)
# between decorator and class
@other
class Decorated(Base, metaclass=Meta, flag={"a": (1,)}):
    pass


class Colour(Enum):
    RED = 1
    GREEN = auto()
    BLUE = "}"

    @property
    def lower(self):
        return self.name.lower()


class Flags(enum.IntFlag):
    A = 1
    B = A << 1


class Text(str, Enum):
    ONE = "one"


class Reader(Protocol):
    def read(self, n: int = -1) -> bytes: ...


class Writer(typing.Protocol[T]):
    closed: bool
    def write(self, data: T) -> int: ...


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Movie(TypedDict, total=False):
    name: str
    year: int


class Row(NamedTuple):
    key: str
    value: int = 0


class Box(Generic[T]):
    @overload
    def get(self) -> T: ...
    @overload
    def get(self, default: int) -> T | int: ...
    def get(self, default=None):
        return default

    if typing.TYPE_CHECKING:
        checked: int
        def only_checked(self): ...
    else:
        def only_run(self): ...

    try:
        import fast
        def speed(self): return 1
    except ImportError:
        def speed(self): return 2

    for name in ("a", "b"):
        locals()[name] = 1
        loop_made = name


class Slots:
    __slots__ = ("a", "b")
    def __class_getitem__(cls, item): return cls
    def __new__(cls): self = object.__new__(cls); self.made = 1; return self


class WeirdSpacing   (
        Plain
)   :
    def \
        continued(self): pass
    def wrapped(
        self,
        a=")",
        b="):",
        c={"k": lambda: 0},
    ) -> "dict[str, int]": pass  # def trailing(): pass
