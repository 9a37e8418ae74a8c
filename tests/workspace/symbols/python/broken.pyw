"""Half a file: somebody is typing."""
import os

FIRST = 1
SECOND: int = 2

class Whole(Base):
    """def in_docstring(): pass"""
    limit = 3

    @property
    def value(self):
        return {"class": "X:"}

    def unfinished(self, a, b

    def after_unfinished(self):
        x = [1, 2, (3
        return x

    async def still_there(self): pass

<<<<<<< HEAD
def ours(a):
    return a
=======
def theirs(a, b):
    return b
>>>>>>> branch

class Next:
    def __init__(self):
        self.there = 1
        self.also: int = 2
        call(
            self, keyword=1,
            other=2,
        )
    def one(self): return 'def no(): pass'
    class Deep(Exception):
        code = 1
        def two(self):
            def hidden(): pass
            class Hidden: pass
    three, four = 1, 2

@decorator(
    name="class Fake:",
)
# a comment
def decorated(a,
              b="): def no():",
              c={'x': 1}):
    text = '''
def in_text(): pass
class InText: pass
'''
    return text

if os.name == "nt":
    def windows(): pass
    WINDOWS = True
else:
    def windows(): pass

class Colour(enum.Enum):
    RED = 1

class Reader(Protocol[T]):
    def read(self) -> bytes: ...

type Alias = int
name = "it's"
print "Python 2 here"
if x == 1: y = 2
else: z = 3
return
for i in range(
def last(self, arg: str = "x") -> None:
    it's unfinished
    def nested(
