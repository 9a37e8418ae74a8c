import typing
from typing import Final, NewType, TypeAlias, TypeVar

CONSTANT = 1
CONSTANT = 2
annotated: int = 3
only_annotated: str
MAX: Final = 10
a = b = c = 0
d, e = 1, 2
(f, g), *h = (1, 2), 3
[i, j] = 1, 2
k = (
    1 +
    2
)
l = """
m = 1
"""; n = 2
o = {
    "p": 1,
    **dict(q=2),
}
call(
    keyword=1,
    other={
        "r": lambda s=1: s,
    },
)
obj.attribute = 1
obj["key"] = 2
obj.x, t = 1, 2
u: "str | None" = None
v += 1
(w) = 1
(x): int = 2
y = \
    3
if (z := 10) > 5:
    aa = 1
else:
    aa = 2
    bb = 3
for cc in range(3):
    dd = cc
with open("f") as ee:
    ff = ee
try:
    gg = 1
except Exception as hh:
    gg = 2
    ii = 3
while True:
    jj = 1
    break
import os as kk
del a
Vector: TypeAlias = "list[float]"
Matrix: typing.TypeAlias = list[Vector]
Quoted: "TypeAlias" = int
UserId = NewType("UserId", int)
OrderId = typing.NewType("OrderId", int)
Implicit = dict[str, int]
S = TypeVar("S", bound="Base")
__all__ = ["CONSTANT", "def", "class"]
__all__ += ["more"]
__version__ = "1.0"
print = print
ll = mm = nn = lambda: None
oo, = [1]
long_value = some_function(argument_one="aaaaaaaaaaaaaaaaaaaaaaaaaaaa", argument_two="bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb")
assert CONSTANT == 1, "pp = 1"
global qq
rr = 1 if ss else 2
tt = [uu := 1, uu ** 2]
vv: dict[str, "Callable[[int], str]"] = {"a:b": lambda x: "="}
ww = xx == yy
zz = (yield_, await_) = 1, 2


class Settings:
    host: str = "localhost"
    port = 80; secure = False
    nested: "Settings.Inner"
    Alias: TypeAlias = int
    if DEBUG:
        level = "debug"
        def dump(self): ...
    else:
        level = "info"
    with lock:
        locked = True
    class Inner:
        host = "inner"
        port: int

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.host = "again"
        self.a = self.b = 1
        (self.c) = 2
        self \
            .d = 3
        self.e: list[int]
        if (n := 1) and [self.f for self.f in ()]: pass
        while n:
            self.g = n
        match n:
            case 1: self.h = 1
        async_ = [self.i for i in ()]
        self.__private = 1
        setattr(self, "j", 1)
        Settings.k = 1


class NoParameters:
    def __init__(): self.x = 1


class Positional:
    def __init__(me, /, x): me.x = x


class Starred:
    def __init__(*args): args[0].x = 1; self.y = 2


class Typed:
    @overload
    def __init__(self, a: int): ...
    @overload
    def __init__(self, a: str): ...
    def __init__(self, a):
        self.a = a
