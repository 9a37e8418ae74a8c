"""Python that Python cannot parse: half a file, Python 2, a newer syntax. Classes and functions are found by lines that
begin as one, scopes by their indentation. Strings and comments are blanked first, so nothing in them counts.
"""

from __future__ import annotations

import keyword
import re
from typing import NamedTuple

from agentd.workspace.symbols.model import Definition, Kind, one_line

ENUMS = frozenset({"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum"})
INTERFACES = frozenset({"Protocol"})
VALUE_CHARS = 60  # of what a field is set to, in its signature
HEAD_CHARS = 2000  # within which a declaration has its colon

_STRING = "\x01"  # what a character in a string becomes
_HIDDEN = re.compile(
    r"""(?P<long>"{3}|'{3})|(?P<short>"(?:[^"\\\n]|\\.)*+["\\]?|'(?:[^'\\\n]|\\.)*+['\\]?)|#[^\n]*""", re.DOTALL
)
_LONG_END = {
    '"""': re.compile(r'(?:[^"\\]|\\.|"(?!""))*+"""', re.DOTALL),
    "'''": re.compile(r"(?:[^'\\]|\\.|'(?!''))*+'''", re.DOTALL),
}
_NOT_LINE_END = re.compile(r"[^\n]")
_MARGIN = re.compile(r"[ \t\f\r]*")
_NAME = r"[^\W\d]\w*"
_BLOCK = re.compile(
    rf"(?:async[ \t]+)?def[ \t]+(?P<function>{_NAME})(?=\s*[(\[]|\s*$)|class[ \t]+(?P<class>{_NAME})(?=\s*[(\[:]|\s*$)"
)
_NEXT = re.compile(r"\n[ \t]*(?:async[ \t]+)?(?:def|class)[ \t]")
_FIELD = re.compile(rf"(?P<names>{_NAME}(?:[ \t]*,[ \t]*{_NAME})*)[ \t]*(?:=(?!=)|:(?!=)[ \t]*(?P<note>[^\s=][^=]*))")
_ALIAS = re.compile(rf"type[ \t]+(?P<names>{_NAME})[ \t]*[=\[]")
_ATTRIBUTE = re.compile(rf"self\.(?P<names>{_NAME})[ \t]*(?:=(?!=)|:(?!=)[ \t]*[^\s=])")
_MARK = re.compile(r"[()\[\]{}:\n]")


def scan_indented(text: str, module: str) -> list[Definition]:
    outline = _Outline(text, module)
    outline.read()
    return outline.definitions


class _Block(NamedTuple):
    """A class or function that has not ended yet."""

    indent: int
    place: int  # of its definition
    scope: str  # of what is in it
    name: str
    is_class: bool


class _Outline:
    def __init__(self, text: str, module: str) -> None:
        self.definitions: list[Definition] = []
        self._module = module
        self._told: set[tuple[str, str]] = set()  # fields, by scope and name
        self._plain, self._code = _blanked(text)
        self._lines = text.split("\n")
        self._open: list[_Block] = []
        self._last = 0  # the last line with code on it
        self._decorated = 0  # the line of the first decorator of what comes next

    def read(self) -> None:
        depth, continued, offset = 0, False, 0
        for number, line in enumerate(self._code.split("\n"), 1):
            margin = _margin(line)
            if margin < len(line):
                block = _BLOCK.match(line, margin)
                if block:  # never inside of brackets: one was not closed
                    depth, continued = 0, False
                if depth == 0 and not continued and line[0] != _STRING:
                    self._statement(number, line, margin, offset, block)
                depth = max(0, depth + sum(map(line.count, "([{")) - sum(map(line.count, ")]}")))
                continued = line.rstrip("\r").endswith("\\")
                self._last = number
            offset += len(line) + 1
        self._close(-1)

    def _statement(self, number: int, line: str, margin: int, offset: int, block: re.Match[str] | None) -> None:
        indent = len(line[:margin].expandtabs())
        self._close(indent)
        if line[margin] == "@":
            self._decorated = self._decorated or number
            return
        inner = self._open[-1] if self._open else None
        if block and (inner is None or inner.is_class):
            self._begin(number, indent, offset + margin, block, inner)
        elif inner is None or inner.is_class:
            self._fields(number, line, margin, inner.scope if inner else self._module)
        elif inner.name == "__init__" and len(self._open) > 1:
            self._tell(number, line, _ATTRIBUTE.match(line, margin), Kind.FIELD, self._open[-2].scope)
        self._decorated = 0

    def _begin(self, number: int, indent: int, at: int, found: re.Match[str], inner: _Block | None) -> None:
        scope = inner.scope if inner else self._module
        head = self._head(at)
        is_class = found["class"] is not None
        words = set(re.findall(r"\w+", head.partition("(")[2])) if is_class else set()
        base = Kind.ENUM if words & ENUMS else Kind.INTERFACE if words & INTERFACES else Kind.CLASS
        kind = base if is_class else Kind.METHOD if inner else Kind.FUNCTION
        first = self._commented(self._decorated or number)
        definition = Definition(kind, found["class"] or found["function"], scope, first, number, number, head)
        self._open.append(_Block(indent, len(self.definitions), definition.qualified, definition.name, is_class))
        self.definitions.append(definition)

    def _close(self, indent: int) -> None:
        while self._open and self._open[-1].indent >= indent:
            place = self._open.pop().place
            self.definitions[place] = self.definitions[place]._replace(last=self._last)

    def _fields(self, number: int, line: str, margin: int, scope: str) -> None:
        alias = _ALIAS.match(line, margin)
        if alias:
            self._tell(number, line, alias, Kind.TYPE, scope)
            return
        found = _FIELD.match(line, margin)
        if found and not keyword.iskeyword(found["names"]):
            is_alias = "TypeAlias" in (found["note"] or "")
            self._tell(number, line, found, Kind.TYPE if is_alias else Kind.FIELD, scope)

    def _tell(self, number: int, line: str, found: re.Match[str] | None, kind: Kind, scope: str) -> None:
        if found is None:
            return
        margin = _margin(line)
        told = self._lines[number - 1][margin:]
        assigned = line.find("=", margin) + 1
        signature = one_line(told if not assigned else told[: assigned - margin + VALUE_CHARS])
        for name in re.findall(_NAME, found["names"]):
            if (scope, name) not in self._told:
                self._told.add((scope, name))
                first = self._commented(number)
                self.definitions.append(Definition(kind, name, scope, first, number, number, signature))

    def _head(self, at: int) -> str:
        """A declaration up to its colon, or the end of its line where there is none."""
        depth, end = 0, len(self._code)
        following = _NEXT.search(self._code, at, at + HEAD_CHARS)  # if it is not closed before that, it never is
        for mark in _MARK.finditer(self._code, at, following.start() + 1 if following else at + HEAD_CHARS):
            depth += (mark[0] in "([{") - (mark[0] in ")]}")
            if mark[0] == ":" and depth <= 0:
                return one_line(self._plain[at : mark.start()])
            if mark[0] == "\n":
                end = min(end, mark.start())
        return one_line(self._plain[at:end])

    def _commented(self, line: int) -> int:
        """Where the comment right above a line begins; the line itself if there is none."""
        while line - 1 > max(self._last, 0) and self._lines[line - 2].lstrip()[:1] == "#":
            line -= 1
        return line + 1 if line == 1 and self._lines[0].startswith("#!") else line


def _margin(line: str) -> int:
    found = _MARGIN.match(line)
    return found.end() if found else 0


def _blanked(text: str) -> tuple[str, str]:
    """The text without comments, and without what strings hold either. Every character stays where it is."""
    plain, code = [], []
    done = at = 0
    unclosed: set[str] = set()  # quotes that nothing closes from here on
    while found := _HIDDEN.search(text, at):
        at = found.end()
        long = found["long"]
        if long:
            end = None if long in unclosed else _LONG_END[long].match(text, at)
            if end is None:
                unclosed.add(long)
                continue
            at = end.end()
        before, hidden, done = text[done : found.start()], text[found.start() : at], at
        is_string = bool(long or found["short"])
        plain += [before, hidden if is_string else " " * len(hidden)]
        code += [before, _NOT_LINE_END.sub(_STRING, hidden) if is_string else " " * len(hidden)]
    rest = text[done:]
    return "".join([*plain, rest]), "".join([*code, rest])
