"""Python, as Python itself reads it: `ast`. What this Python cannot parse is read by its indentation (indented.py).

What a scope assigns is a FIELD, told once and where it is assigned first; so is what `__init__` assigns to `self`. What
is inside of an `if`, `for`, `try`, `with` and so on belongs to the scope around it. A property is a METHOD, as is a
lambda with a name; an Enum is an ENUM, a Protocol an INTERFACE.
"""

from __future__ import annotations

import ast
import copy
import re
import warnings
from collections.abc import Iterable, Iterator

from agentd.workspace.symbols.indented import ENUMS, INTERFACES, VALUE_CHARS, scan_indented
from agentd.workspace.symbols.model import Definition, Kind, module_of, one_line

_LINE_END = re.compile(r"\r\n?|\n")
_LONE_RETURN = re.compile(r"\r(?!\n)")
_KEYWORD = re.compile(r"(?:async[\s\\]+)?(?:def|class)[\s\\]+")
_COLON = re.compile(r"[^:#]*(?:#[^\n]*[^:#]*)*:")
_WRAPPED = re.compile(r"(?<=[(\[{])\n|,?\n(?=\)(?: ->|\Z))|\n(?=[)\]}])")
_COMPOUND = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.Try, ast.TryStar, ast.With, ast.AsyncWith, ast.Match)
_FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)
_Declaration = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def scan(text: str, path: str) -> list[Definition]:
    text = text.removeprefix("\ufeff")
    module = python_module(path)
    try:
        with warnings.catch_warnings():  # a `\d` in a string is none of our business
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
        return list(_Reader(text).scope(tree.body, module, in_class=False))
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: NUL characters, half characters
        return scan_indented(text, module)


def python_module(path: str) -> str:
    """`src/api/client.py` is `src.api.client`, and `src/api/__init__.py` is `src.api`."""
    module = module_of(path)
    return module.rpartition(".")[0] if module.rpartition(".")[2] == "__init__" else module


class _Reader:
    """Takes definitions out of a tree whose text is at hand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._ascii = text.isascii()
        self._starts = [0, *(found.end() for found in _LINE_END.finditer(text)), len(text) + 1]
        # For Python a lone carriage return ends a line, for everybody else it does not.
        self._told = self._lines_as_told() if _LONE_RETURN.search(text) else None

    def _lines_as_told(self) -> list[int]:
        lines, line, before = [0], 1, 0
        for start in self._starts[:-1]:
            line, before = line + self._text.count("\n", before, start), start
            lines.append(line)
        return lines

    def _line(self, number: int) -> int:
        return self._told[number] if self._told else number

    def _offset(self, line: int, column: int) -> int:
        """*column* counts bytes."""
        start = self._starts[line - 1]
        if self._ascii:
            return start + column
        text = self._text[start : self._starts[line]]
        return start + (column if text.isascii() else len(text.encode()[:column].decode()))

    def scope(self, body: list[ast.stmt], scope: str, *, in_class: bool) -> Iterator[Definition]:
        fields: set[str] = set()
        above = 0  # the last line that is not free for a comment on what follows
        for statement in _flat(body):
            if isinstance(statement, _FUNCTION):
                yield self._declaration(statement, Kind.METHOD if in_class else Kind.FUNCTION, scope, above)
                if in_class and statement.name == "__init__":
                    yield from self._attributes(statement, scope, fields)
            elif isinstance(statement, ast.ClassDef):
                definition = self._declaration(statement, _kind_of(statement), scope, above)
                yield definition
                yield from self.scope(statement.body, definition.qualified, in_class=True)
            else:
                yield from self._assigned(statement, scope, fields, above, in_class)
            above = statement.end_lineno or above

    def _declaration(self, node: _Declaration, kind: Kind, scope: str, above: int) -> Definition:
        start = self._offset(node.lineno, node.col_offset)
        keyword = _KEYWORD.match(self._text, start)
        name_at = keyword.end() if keyword else start
        line = node.lineno + (keyword[0].count("\n") if keyword else 0)
        first = min((decorator.lineno for decorator in node.decorator_list), default=node.lineno)
        return Definition(
            kind,
            node.name,
            scope,
            self._line(self._commented(first, above)),
            self._line(line),
            self._line(node.end_lineno or node.lineno),
            self._head(node, start, name_at),
        )

    def _head(self, node: _Declaration, start: int, name_at: int) -> str:
        """The declaration up to its colon."""
        last = max(_ends(node), default=None)
        colon = _COLON.match(self._text, self._offset(*last) if last else name_at)
        head = self._text[start : colon.end() - 1 if colon else name_at + len(node.name)]
        if "\n" in head:
            head = _without_comments(node, head) if "#" in head or "\\\n" in head else _unwrapped(head)
        return one_line(head)

    def _attributes(
        self, init: ast.FunctionDef | ast.AsyncFunctionDef, scope: str, fields: set[str]
    ) -> Iterator[Definition]:
        """What `__init__` makes the object have."""
        parameters = init.args.posonlyargs + init.args.args
        if not parameters:
            return
        above = init.lineno
        for statement in _flat(init.body):
            for target in _targets(statement):
                if (
                    isinstance(target, ast.Attribute)
                    and isinstance(target.value, ast.Name)
                    and target.value.id == parameters[0].arg
                    and target.attr not in fields
                ):
                    fields.add(target.attr)
                    line = target.end_lineno or target.lineno
                    yield self._field(statement, Kind.FIELD, target.attr, line, scope, above)
            above = statement.end_lineno or above

    def _assigned(
        self, statement: ast.stmt, scope: str, fields: set[str], above: int, in_class: bool
    ) -> Iterator[Definition]:
        names = [target for target in _targets(statement) if isinstance(target, ast.Name)]
        kind = _kind_of_assigned(statement, in_class) if names else Kind.FIELD
        for target in names:
            if kind is not Kind.FIELD or target.id not in fields:
                fields.add(target.id)
                yield self._field(statement, kind, target.id, target.lineno, scope, above)

    def _field(self, statement: ast.stmt, kind: Kind, name: str, line: int, scope: str, above: int) -> Definition:
        first = self._line(self._commented(statement.lineno, above))
        last = self._line(statement.end_lineno or statement.lineno)
        return Definition(kind, name, scope, first, self._line(line), last, self._assignment(statement))

    def _assignment(self, statement: ast.stmt) -> str:
        start = self._offset(statement.lineno, statement.col_offset)
        end = self._offset(statement.end_lineno or statement.lineno, statement.end_col_offset or 0)
        value = getattr(statement, "value", None)
        if value is None:
            return one_line(self._text[start:end])
        at = self._offset(value.lineno, value.col_offset)
        text = self._text[at:end]
        if "\n" in text and "#" in text:  # a comment, maybe: on one line it would seem to go on to the end
            text = text.partition("\n")[0].partition("#")[0] + "…"
        text = one_line(text)
        return one_line(self._text[start:at] + (text if len(text) <= VALUE_CHARS else text[: VALUE_CHARS - 1] + "…"))

    def _commented(self, line: int, above: int) -> int:
        """Where the comment right above a line begins; the line itself if there is none."""
        while line - 1 > above and self._text[self._starts[line - 2] : self._starts[line - 1]].lstrip()[:1] == "#":
            line -= 1
        return line + 1 if line == 1 and self._text.startswith("#!") else line


def _flat(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a scope in their order, those inside of compound ones in the place of these."""
    pending = body[::-1]
    while pending:
        statement = pending.pop()
        if isinstance(statement, _COMPOUND):
            pending.extend(reversed(list(_inside(statement))))
        else:
            yield statement


def _inside(statement: ast.stmt) -> Iterator[ast.stmt]:
    for field in ("body", "cases", "handlers", "orelse", "finalbody"):
        for node in getattr(statement, field, ()):
            if isinstance(node, ast.match_case | ast.ExceptHandler):
                yield from node.body
            else:
                yield node


def _targets(statement: ast.stmt) -> Iterator[ast.expr]:
    """What a statement assigns to, each name of a tuple by itself."""
    pending: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        pending = statement.targets[::-1]
    elif isinstance(statement, ast.AnnAssign):
        pending = [statement.target]
    elif type(statement).__name__ == "TypeAlias":  # since Python 3.12
        pending = [statement.name]  # type: ignore[attr-defined]
    while pending:
        target = pending.pop()
        if isinstance(target, ast.Tuple | ast.List):
            pending.extend(reversed(target.elts))
        elif isinstance(target, ast.Starred):
            pending.append(target.value)
        else:
            yield target


def _kind_of(node: ast.ClassDef) -> Kind:
    bases = {_last_name(base) for base in node.bases}
    return Kind.ENUM if bases & ENUMS else Kind.INTERFACE if bases & INTERFACES else Kind.CLASS


def _kind_of_assigned(statement: ast.stmt, in_class: bool) -> Kind:
    value = getattr(statement, "value", None)
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        if isinstance(value, ast.Lambda):
            return Kind.METHOD if in_class else Kind.FUNCTION
        alias = isinstance(statement, ast.AnnAssign) and _last_name(statement.annotation) == "TypeAlias"
        new_type = isinstance(value, ast.Call) and _last_name(value.func) == "NewType"
        return Kind.TYPE if alias or new_type else Kind.FIELD
    return Kind.TYPE


def _last_name(node: ast.expr) -> str:
    """`Protocol` of `typing.Protocol[T]`."""
    while isinstance(node, ast.Subscript):
        node = node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):  # an annotation in quotes
        return node.value.rpartition(".")[2]
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _ends(node: _Declaration) -> Iterator[tuple[int, int]]:
    """Where the expressions of a declaration end."""
    parts: Iterable[ast.AST | None]
    if isinstance(node, ast.ClassDef):
        parts = (*node.bases, *node.keywords)
    else:
        given = node.args
        parameters = (*given.posonlyargs, *given.args, given.vararg, *given.kwonlyargs, given.kwarg)
        parts = (node.returns,) if node.returns else (*parameters, *given.defaults, *given.kw_defaults)
    for part in (*parts, *getattr(node, "type_params", ())):
        if part is not None:
            yield part.end_lineno, part.end_col_offset


def _unwrapped(head: str) -> str:
    """Without the line ends that brackets are wrapped with, and the comma before the last."""
    return _WRAPPED.sub("", "\n".join(filter(None, map(str.strip, head.split("\n")))))


def _without_comments(node: _Declaration, head: str) -> str:
    bare = copy.copy(node)
    bare.body, bare.decorator_list = [ast.Pass()], []
    try:
        return ast.unparse(bare).rpartition(":\n")[0]
    except RecursionError:
        return head
