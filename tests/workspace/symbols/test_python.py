"""Python's scanner against samples, against another reading of the standard library, and against text of any kind."""

from __future__ import annotations

import ast
import os
import sysconfig
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.workspace.symbols.indented import scan_indented
from agentd.workspace.symbols.model import SIGNATURE_CHARS, TYPES, Definition, Kind
from agentd.workspace.symbols.python import python_module, scan

SAMPLES = {path.name: path.read_text() for path in (Path(__file__).parent / "python").rglob("*.pyw")}
STRIDE = int(os.environ.get("AGENTD_STDLIB_STRIDE", "30"))  # 1 reads all of the standard library, in minutes
LIBRARY = Path(sysconfig.get_path("stdlib"))
ENUMS = {"Enum", "IntEnum", "StrEnum", "Flag", "IntFlag", "ReprEnum"}
Told = tuple[int, str, str]  # line, kind, qualified name


def told(definitions: list[Definition]) -> list[Told]:
    return [(each.line, each.kind.value, each.qualified) for each in definitions]


def only(text: str, name: str) -> Definition:
    (found,) = (each for each in scan(text, "m.py") if each.name == name)
    return found


def library() -> Iterator[str]:
    files = sorted(path for path in LIBRARY.rglob("*.py") if "site-packages" not in path.parts)
    for path in files[::STRIDE]:
        if path.stat().st_size < 1 << 20:
            yield path.read_bytes().decode("utf-8", "replace")


def parsed(text: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except (SyntaxError, ValueError):
        return None


class Reference:
    """Another reading of a tree: all nodes with the way to them, from the leaves' point of view."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: set[Told] = set()
        self.fields: set[str] = set()
        for way in self.ways(tree):
            self.look_at(way)

    def ways(self, tree: ast.Module) -> Iterator[list[ast.AST]]:
        stack: list[list[ast.AST]] = [[tree]]
        while stack:
            way = stack.pop()
            yield way
            stack += [[*way, child] for child in reversed(list(ast.iter_child_nodes(way[-1])))]

    def look_at(self, way: list[ast.AST]) -> None:
        *around, node = way
        functions = [each for each in around if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
        classes = [each.name for each in around if isinstance(each, ast.ClassDef)]
        scope = ".".join(["m", *classes])
        if isinstance(node, ast.ClassDef) and not functions:
            names = {ast.unparse(base).split("[")[0].split(".")[-1] for base in node.bases}
            kind = "enum" if names & ENUMS else "interface" if "Protocol" in names else "class"
            self.found.add((node.lineno, kind, f"{scope}.{node.name}"))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not functions:
            self.found.add((node.lineno, "method" if classes else "function", f"{scope}.{node.name}"))
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and not functions:
            self.name(around, node, scope, bool(classes))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and len(functions) == 1:
            self.attribute(around, node, functions[0], scope)

    def name(self, around: list[ast.AST], node: ast.Name, scope: str, in_class: bool) -> None:
        statement = self.assignment(around)
        if statement is None:
            return
        value = ast.unparse(statement.value).split("(")[0].split(".")[-1] if statement.value else ""
        note = ast.unparse(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""
        kind = "type" if value == "NewType" or note.strip("'").split(".")[-1] == "TypeAlias" else "field"
        if isinstance(statement.value, ast.Lambda):
            kind = "method" if in_class else "function"
        qualified = f"{scope}.{node.id}"
        if kind != "field" or qualified not in self.fields:
            self.fields.add(qualified)
            self.found.add((node.lineno, kind, qualified))

    def attribute(self, around: list[ast.AST], node: ast.Attribute, function: ast.AST, scope: str) -> None:
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.name != "__init__":
            return
        inside = around[around.index(function) :]
        given = [argument.arg for argument in function.args.posonlyargs + function.args.args]
        is_own = isinstance(node.value, ast.Name) and given[:1] == [node.value.id]
        if not is_own or self.assignment(around) is None or any(isinstance(each, ast.ClassDef) for each in inside):
            return
        qualified = f"{scope}.{node.attr}"
        if isinstance(around[around.index(function) - 1], ast.Module) or qualified in self.fields or scope == "m":
            return
        self.fields.add(qualified)
        self.found.add((node.end_lineno or 0, "field", qualified))

    @staticmethod
    def assignment(around: list[ast.AST]) -> ast.Assign | ast.AnnAssign | None:
        """The statement that assigns to what stands directly in its targets."""
        targets = (ast.Tuple, ast.List, ast.Starred)
        nearest = next((each for each in reversed(around) if not isinstance(each, targets)), None)
        return nearest if isinstance(nearest, ast.Assign | ast.AnnAssign) else None


def test_the_samples_are_read_as_python_would(check_answers: Callable[..., None]) -> None:
    check_answers("python", scan, least=0.98)


def test_the_standard_library_is_read_as_another_reader_of_its_trees_does() -> None:
    expected = found = right = 0
    for text in library():
        tree = parsed(text)
        if tree is not None:
            ours, theirs = set(told(scan(text, "m.py"))), Reference(tree).found
            expected, found, right = expected + len(theirs), found + len(ours), right + len(ours & theirs)
    assert expected > 100_000 / STRIDE / 4
    assert right >= 0.98 * expected
    assert right >= 0.98 * found


def test_by_lines_and_indentation_classes_and_functions_of_the_standard_library_are_found_too() -> None:
    expected = found = right = 0
    kinds = TYPES | {Kind.FUNCTION, Kind.METHOD}
    for text in library():
        tree = parsed(text)
        if tree is not None:
            theirs = {each for each in Reference(tree).found if Kind(each[1]) in kinds}
            ours = {
                (each.line, each.kind.value, each.qualified) for each in scan_indented(text, "m") if each.kind in kinds
            }
            expected, found, right = expected + len(theirs), found + len(ours), right + len(ours & theirs)
    assert right >= 0.98 * expected
    assert right >= 0.98 * found


def test_both_ways_agree_on_where_definitions_end() -> None:
    text = SAMPLES["classes.pyw"]
    by_tree = {(each.qualified, each.line): each.last for each in scan(text, "m.py") if each.kind is not Kind.FIELD}
    by_lines = {(each.qualified, each.line): each.last for each in scan_indented(text, "m")}
    differing = {key for key, last in by_tree.items() if key in by_lines and by_lines[key] != last}
    assert len(differing) <= len(by_tree) * 0.02


@pytest.mark.parametrize(
    ("path", "module"),
    [("a/b.py", "a.b"), ("a/__init__.py", "a"), ("__init__.py", ""), ("b.pyi", "b"), ("script", "script")],
)
def test_a_package_is_called_by_its_directory(path: str, module: str) -> None:
    assert python_module(path) == module


def test_a_definition_begins_with_its_decorators_and_the_comment_above() -> None:
    text = "x = 1\n\n# not this\n\n# this\n# and this\n@one\n@two(\n  3)\n# between\ndef f():\n  pass\n\ny = 2\n"
    found = only(text, "f")
    assert (found.first, found.line, found.last) == (5, 11, 12)


def test_the_first_line_of_a_script_is_no_comment_on_what_follows() -> None:
    assert only("#!/usr/bin/python3\ndef f(): pass\n", "f").first == 2


def test_the_comment_behind_a_statement_belongs_to_that() -> None:
    assert only('x = """\n# text"""\ndef f(): pass\n', "f").first == 3


@pytest.mark.parametrize(
    ("text", "signature"),
    [
        ("def f(a, b=1): return a", "def f(a, b=1)"),
        ("def f(\n    a: int,\n    b: str = ':',\n) -> int:\n    pass", "def f(a: int, b: str = ':') -> int"),
        ("def f(\n    a,  # why: because)\n    b,\n): pass", "def f(a, b)"),
        ("async def f(*, a=(1,\n)): pass", "async def f(*, a=(1,))"),
        ("def f(a={'k': lambda: 1}): pass", "def f(a={'k': lambda: 1})"),
        ("@d\nclass f(A, metaclass=B['x:']): pass", "class f(A, metaclass=B['x:'])"),
        ("class f: pass", "class f"),
        ("def \\\n f(): pass", "def f()"),
        ("f: int = 1", "f: int = 1"),
        ("f: int", "f: int"),
        ("f = 'x' * 10  # comment", "f = 'x' * 10"),
        (f"f = '{'x' * 100}'", f"f = '{'x' * 58}…"),
        ("f = [\n  1,  # one\n  2,\n]", "f = […"),
    ],
)
def test_a_signature_is_the_declaration_without_a_body(text: str, signature: str) -> None:
    assert only(text, "f").signature == signature


def test_a_signature_has_an_end() -> None:
    text = f"def f({', '.join(f'argument_{n}' for n in range(200))}): pass"
    assert len(only(text, "f").signature) == SIGNATURE_CHARS


def test_a_lone_carriage_return_ends_no_line_for_us() -> None:
    assert told(scan("a = 1\rb = 2\ndef f(): pass\n", "m.py")) == [
        (1, "field", "m.a"),
        (1, "field", "m.b"),
        (2, "function", "m.f"),
    ]


def test_half_a_file_has_the_classes_and_functions_of_its_first_half() -> None:
    text = SAMPLES["classes.pyw"]
    cut = text[: text.index("class Colour") + 6]
    last = cut.count("\n")
    whole = {each[:2] for each in told(scan(text, "m.py")) if each[0] <= last and each[1] != "field"}
    half = {each[:2] for each in told(scan(cut, "m.py")) if each[1] != "field"}
    assert half <= whole
    assert len(whole - half) <= 1  # a lambda with a name


@given(st.text())
def test_any_text_can_be_scanned(text: str) -> None:
    scan(text, "m.py")
    scan_indented(text, "m")


@settings(deadline=None)
@given(st.sampled_from(sorted(SAMPLES)), st.data())
def test_damaged_samples_can_be_scanned(name: str, data: st.DataObject) -> None:
    text = SAMPLES[name]
    start = data.draw(st.integers(0, len(text)))
    damaged = text[:start] + data.draw(st.text(max_size=5)) + text[start + data.draw(st.integers(0, 30)) :]
    lines = damaged.count("\n") + 1
    for each in (*scan(damaged, "m.py"), *scan_indented(damaged, "m")):
        assert 1 <= each.first <= each.line <= each.last <= lines
        assert "\n" not in each.signature


HOSTILE = {
    "brackets": "([{",
    "quotes": '"',
    "escaped quotes": '"""\\',
    "both long quotes": "\"\"\"a'''b",
    "comments": "#",
    "decorators": "@a\n",
    "blanks": " \n\t",
    "open definitions": "def f(\n",
    "deep classes": "class A:\n ",
    "unary": "-",
    "elses": "if a: pass\nel",
    "targets": "a,",
    "words": "x = 1\n",
    "wrapped": "def f(a,\n\n\n        \n",
    "backslashes": "\\\n",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    "read", [lambda text: scan(text, "m.py"), lambda text: scan_indented(text, "m")], ids=["tree", "lines"]
)
def test_time_grows_with_length_only(read: Callable[[str], object], piece: str) -> None:
    def seconds(size: int) -> float:
        text = (piece * (size // len(piece) + 1))[:size]
        began = time.process_time()
        read(text)
        return time.process_time() - began

    once, eightfold = min(seconds(40_000) for _ in range(3)), seconds(320_000)
    assert eightfold <= 40 * max(once, 0.005)
