"""Syntax that came after Python 3.11: the same has to be found by one that cannot parse it."""
from typing import override

type Number = int | float
type Pairs[K, V] = dict[K, V]


class Stack[T]:
    items: list[T]
    type Item = T

    def push(self, item: T) -> None:
        self.items.append(item)

    def map[U](self, f: "Callable[[T], U]") -> "Stack[U]":
        type Hidden = U
        return f"{self.items["key"]} class No:"

    @override
    def pop(self) -> T: ...


class Bounded[T: (int, str), *Ts, **P](Base[T]):
    size = 1


def first[T](items: list[T]) -> T:
    return items[0]


async def fetch[
    T,
](url: str) -> T:
    return await get(url)


LAST = f"{", ".join(["def no(): pass"])}"


def raised():
    try:
        pass
    except* ValueError:
        pass


class Kind(StrEnum):
    A = "a"
