#!/usr/bin/env python3
# -*- coding: utf-8 -*-
'''class InSingleTriple:
    pass
'''
import functools
import sys

if sys.version_info >= (3, 8):
    def versioned(): return "new"
elif sys.version_info >= (3, 0):
    def versioned(): return "middle"
else:
    def versioned(): return "old"

def simple(): pass
def with_default(a=1, b="def x():", c={'class': 'Y:'}): return a
def annotated(a: "int" = 1, *args: str, b: dict[str, int] = {}, **kw: object) -> tuple[int, ...]: return a, b
def positional(a, b, /, c, *, d): ...
def slices(a=x[1:2], b=y[::-1]) -> "A:B": ...
def lambdas(f=lambda x: x, g=lambda: {1: 2}): ...
def \
 broken_line(a,
        b): return """
def in_string():
    pass
class InString: x = 1
"""

async def coroutine(): await something()
async def generator():
    async with a as b:
        yield b

@functools.lru_cache(maxsize=None)
def cached(n):
    def nested():
        class DeepNested:
            pass
        return DeepNested
    global made_global
    made_global = 1
    return nested

@a.b.c
@d(e, f=[g for g in h if g])

# a comment and an empty line between decorator and function

def decorated():
    "def x(): pass"

square = lambda x: x ** 2
typed_lambda: "Callable[[int], int]" = lambda x: x
pair = lambda: 1, lambda: 2
conditional = (lambda: 1) if square else None

try:
    from json import loads
except ImportError:
    def loads(text):
        return eval(text)
else:
    def loads_too(): ...
finally:
    def always(): ...

with suppress(Exception) as manager, other() as second:
    def in_with(): ...
    with deeper:
        if deepest:
            async def in_deepest(): ...

for item in range(3):
    def in_for(item=item): return item
else:
    def in_for_else(): ...

while False:
    def in_while(): ...
    class InWhile:
        def method(self): ...

match command:
    case ["go", direction]:
        def in_case(): ...
    case {"class": kind} if kind:
        class InCase: ...
    case _:
        in_default = 1

def match(case): return case
match = match
case = 1
type = "type"
def type(of): return of
_ = gettext

if True: inline = 1; also_inline = 2

def many(a, b=[i for i in range(10) if i], *c, d: "x[1:2]" = (yield_ := 5), **e): return lambda: (
    a, b)

x = [
    def_ for def_ in (1, 2)  # def no(): pass
]
x2 = f"{'def no(): pass'}" f'''
class No:
    def no(self): pass
'''
rb"""
def no_bytes(): pass
"""
r'\'; def no_raw(): pass #'
"""quotes ' and \""" and def no_escaped():
    pass
"""

def last(
):
    # only a comment
    return 1
    # trailing comment
