"""Questions about names: what is found, how it is told, and that it is told as of now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.errors import ToolFailed
from agentd.workspace.symbols import query as query_module
from agentd.workspace.symbols import sourcefile
from agentd.workspace.symbols.lookup import spellings
from agentd.workspace.symbols.model import Kind
from agentd.workspace.symbols.names import is_test, match
from agentd.workspace.symbols.query import Symbols

USERS = '''\
import json


class UserService(Base):
    """Keeps users."""

    table: str = "users"

    def __init__(self, store):
        self.store = store

    def findUserById(
        self,
        number: int,
    ) -> User:
        return self.store[number]

    # removes
    @logged
    def delete(self, user):
        parse(user)

    class Error(Exception):
        def text(self): ...


def parse(text):
    return json.loads(text)
'''
GO = {
    "pool/pool.go": "package pool\n\ntype Pool struct {\n\tsize int\n}\n\nfunc New() *Pool { return nil }\n",
    "pool/get.go": "package pool\n\n// Get takes one.\nfunc (p *Pool) Get() int {\n\treturn p.size\n}\n",
}
CPP = {
    "src/a.hpp": "namespace net {\nclass Socket {\npublic:\n  int read(char* to, int n);\n  int fd;\n};\n}\n",
    "src/a.cpp": '#include "a.hpp"\nint net::Socket::read(char* to, int n) {\n  return n;\n}\n',
}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()


@pytest.fixture
def plant(top: Path) -> Callable[[dict[str, str]], None]:
    def write(files: dict[str, str]) -> None:
        for name, text in files.items():
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


@pytest.fixture
def symbols(top: Path, tmp_path: Path, plant: Callable[[dict[str, str]], None]) -> Symbols:
    plant({"app/users.py": USERS, **GO, **CPP})
    return Symbols(top, tmp_path / "cache")


async def places(symbols: Symbols, name: str) -> list[str]:
    return [each.place for each in await symbols.find(name)]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("app.users.UserService", "app/users.py:4"),
        ("users.UserService", "app/users.py:4"),
        ("UserService", "app/users.py:4"),
        (" UserService ", "app/users.py:4"),
        ("app/users/UserService", "app/users.py:4"),
        ("UserService.findUserById", "app/users.py:12"),
        ("UserService#findUserById", "app/users.py:12"),
        ("UserService::findUserById", "app/users.py:12"),
        ("UserService.findUserById(int)", "app/users.py:12"),
        ("app.users.UserService$Error", "app/users.py:23"),
        ("UserService$Error#text", "app/users.py:24"),
        ("UserService.store", "app/users.py:10"),
        ("pool.Pool.Get", "pool/get.go:4"),
    ],
)
async def test_a_name_is_found_however_it_is_spelled(symbols: Symbols, name: str, place: str) -> None:
    assert await places(symbols, name) == [place]


@pytest.mark.parametrize(
    "name",
    ["", ".", "Service", "ers.UserService", "userservice", "x.UserService", "find", "\n", "a\nb"],
)
async def test_nothing_is_found_by_a_part_of_a_word_or_another_name(symbols: Symbols, name: str) -> None:
    assert await places(symbols, name) == []


async def test_all_definitions_of_a_name_are_found_by_file_and_line(symbols: Symbols) -> None:
    assert await places(symbols, "net::Socket::read") == ["src/a.cpp:2", "src/a.hpp:4"]


async def test_a_whole_name_goes_before_the_end_of_a_longer_one(
    symbols: Symbols, plant: Callable[[dict[str, str]], None]
) -> None:
    plant({"lib/app/users.py": "class UserService: pass\n"})
    assert await places(symbols, "app.users.UserService") == ["app/users.py:4"]
    assert await places(symbols, "users.UserService") == ["app/users.py:4", "lib/app/users.py:1"]


async def test_types_and_functions_are_told_apart(symbols: Symbols) -> None:
    assert [each.definition.kind for each in await symbols.types("UserService")] == [Kind.CLASS]
    assert await symbols.callables("UserService") == []
    assert [each.definition.kind for each in await symbols.callables("parse")] == [Kind.FUNCTION]
    assert await symbols.types("parse") == []


def test_a_dollar_in_a_name_may_be_part_of_it() -> None:
    assert spellings("a.$scope") == ["a.$scope", "a..scope"]


async def test_a_summary_has_declaration_fields_and_signatures_without_bodies(symbols: Symbols) -> None:
    assert await symbols.summary("app.users.UserService") == (
        "app/users.py:4: class app.users.UserService, lines 4-24\n"
        "     4\tclass UserService(Base)\n"
        '     7\t    table: str = "users"\n'
        "     9\t    def __init__(self, store)\n"
        "    10\t    self.store = store\n"
        "    12\t    def findUserById(self, number: int) -> User\n"
        "    20\t    def delete(self, user)\n"
        "    23\t    class Error(Exception)"
    )


async def test_a_summary_has_members_that_other_files_add(symbols: Symbols) -> None:
    go = await symbols.summary("pool.Pool")
    assert go is not None
    assert go.splitlines()[0] == "pool/pool.go:3: class pool.Pool, lines 3-5"
    assert go.splitlines()[-1] == "pool/get.go:4:    func (p *Pool) Get() int"
    cpp = await symbols.summary("net.Socket")
    assert cpp is not None
    assert "src/a.cpp:2:" in cpp


async def test_a_part_of_a_type_has_its_own_members(symbols: Symbols, plant: Callable[[dict[str, str]], None]) -> None:
    plant(
        {
            "One.cs": "namespace N;\npartial class P { int one; }\n",
            "Two.cs": "namespace N;\npartial class P { int two; }\n",
        }
    )
    told = await symbols.summary("N.P")
    assert told is not None
    first, second = told.split("\n\n")
    assert ("one" in first, "two" in first, "one" in second, "two" in second) == (True, False, False, True)


async def test_two_types_of_one_name_in_a_file_have_their_own_members(
    symbols: Symbols, plant: Callable[[dict[str, str]], None]
) -> None:
    plant({"w.py": "if a:\n    class W:\n        x = 1\nelse:\n    class W:\n        y = 2\n"})
    told = await symbols.summary("w.W")
    assert told is not None
    assert [part.splitlines()[-1] for part in told.split("\n\n")] == [
        "     3\t        x = 1"[:7] + "    x = 1",
        "     6\t    y = 2",
    ]


@pytest.mark.parametrize("name", ["nothing", "parse", "UserService.table", ""])
async def test_what_is_no_type_has_no_summary(symbols: Symbols, name: str) -> None:
    assert await symbols.summary(name) is None


async def test_a_source_is_exactly_the_lines_of_the_definition(symbols: Symbols) -> None:
    assert await symbols.sources("UserService.delete") == (
        "app/users.py:20: method app.users.UserService.delete, lines 18-21\n"
        "    # removes\n"
        "    @logged\n"
        "    def delete(self, user):\n"
        "        parse(user)"
    )


async def test_sources_of_all_of_a_name_come_one_after_the_other(symbols: Symbols) -> None:
    told = await symbols.sources("Socket.read", numbers=True)
    assert told == (
        "src/a.cpp:2: method net.Socket.read, lines 2-4\n"
        "     2\tint net::Socket::read(char* to, int n) {\n"
        "     3\t  return n;\n"
        "     4\t}\n"
        "\n"
        "src/a.hpp:4: method net.Socket.read, line 4\n"
        "     4\t  int read(char* to, int n);"
    )


async def test_a_long_source_is_cut_and_the_cut_told(symbols: Symbols) -> None:
    told = await symbols.sources("UserService.delete", most=2)
    assert told is not None
    assert told.splitlines()[-1] == "[2 more lines; Read app/users.py with offset=20 shows them]"


@pytest.mark.parametrize("name", ["nothing", "UserService", "UserService.table", ""])
async def test_what_is_no_function_has_no_source(symbols: Symbols, name: str) -> None:
    assert await symbols.sources(name) is None


async def test_answers_are_of_the_files_as_they_are_now(
    symbols: Symbols, plant: Callable[[dict[str, str]], None]
) -> None:
    assert await places(symbols, "parse") == ["app/users.py:27"]
    plant({"app/users.py": "# a new line\n\n" + USERS})
    assert await places(symbols, "parse") == ["app/users.py:29"]
    plant({"app/users.py": "def other(): pass\n"})
    assert await symbols.sources("parse") is None


async def test_a_source_is_read_again_when_the_file_changes_under_it(
    symbols: Symbols, plant: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = sourcefile.read

    def read(top: bytes, path: bytes) -> tuple[os.stat_result, bytes] | None:
        monkeypatch.setattr(sourcefile, "read", real)
        plant({"app/users.py": "# a new line\n" * 3 + USERS})
        return real(top, path)

    await symbols.find("parse")
    monkeypatch.setattr(sourcefile, "read", read)
    told = await symbols.sources("parse")
    assert (
        told == "app/users.py:30: function app.users.parse, lines 30-31\ndef parse(text):\n    return json.loads(text)"
    )


async def test_a_file_that_is_gone_has_no_source(symbols: Symbols, top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = sourcefile.read

    def read(top_: bytes, path: bytes) -> tuple[os.stat_result, bytes] | None:
        (top / "app/users.py").unlink(missing_ok=True)
        return real(top_, path)

    await symbols.find("parse")
    monkeypatch.setattr(sourcefile, "read", read)
    assert await symbols.sources("parse") is None


# --- Search -------------------------------------------------------------------------------------------------------


async def test_the_best_match_comes_first(symbols: Symbols, plant: Callable[[dict[str, str]], None]) -> None:
    names = ("reload", "do_load", "load", "loader", "preload", "fileLoad")
    plant({"n.py": "".join(f"def {name}(): pass\n" for name in names), "test_n.py": "def load(): pass\n"})
    found = await symbols.search("load", frozenset({Kind.FUNCTION}))
    assert [each.definition.qualified for each in found.best] == [
        "n.load",
        "test_n.load",
        "n.loader",
        "n.do_load",
        "n.fileLoad",
        "n.reload",
        "n.preload",
    ]


async def test_a_search_may_be_for_a_kind_and_for_few(symbols: Symbols) -> None:
    found = await symbols.search("e", frozenset({Kind.METHOD}), limit=1)
    assert found.total > 1
    assert [each.definition.kind for each in found.best] == [Kind.METHOD]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("userservice", ["UserService"]),
        ("USERSERVICE", []),
        ("^find.*Id$", ["findUserById"]),
        ("Users?Ser", ["UserService"]),
        ("UserService.delete", ["delete"]),
        ("UserService::del", ["delete"]),
        ("service#delete", ["delete"]),
        ("(", []),
        ("[", []),
        ("no such", []),
    ],
)
async def test_a_pattern_is_an_expression_or_a_text(symbols: Symbols, pattern: str, found: list[str]) -> None:
    assert [each.definition.name for each in (await symbols.search(pattern)).best] == found


async def test_a_pattern_that_never_ends_is_ended(
    symbols: Symbols, plant: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_module, "MATCH_SECONDS", 0.2)
    plant({"a.py": f"def {'a' * 100}b(): pass\n"})
    with pytest.raises(ToolFailed, match="too long"):
        await symbols.search("(a|aa)+$")


def test_a_name_that_ends_with_what_was_asked_for_is_exactly_that() -> None:
    files = [("a.py", "add\nadd", "mm", "app.Users\napp.SuperUsers", "\0\1")]
    assert match("Users.add", "", 5, files) == (2, [(0, 0), (0, 1)])


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("tests/a.py", True),
        ("src/test/java/A.java", True),
        ("test_a.py", True),
        ("a/conftest.py", True),
        ("a_test.go", True),
        ("a.spec.ts", True),
        ("src/UserTest.java", True),
        ("src/latest.py", False),
        ("src/attest/a.py", False),
        ("src/contest.go", False),
        ("Protest.java", False),
    ],
)
def test_tests_are_known_by_where_they_are(path: str, is_one: bool) -> None:
    assert is_test(path) is is_one


@pytest.mark.parametrize(
    ("name", "similar"), [("UserServise", "UserService"), ("app.users.pasre", "parse"), ("userservice", "UserService")]
)
async def test_a_name_with_a_mistake_has_similar_ones(symbols: Symbols, name: str, similar: str) -> None:
    assert similar in await symbols.similar(name)


# --- Files and usages ---------------------------------------------------------------------------------------------


async def test_outlines_are_of_a_file_or_of_a_directory(symbols: Symbols) -> None:
    one = await symbols.outlines("pool/get.go")
    assert [(each.path, [found.name for found in each.definitions]) for each in one.first] == [("pool/get.go", ["Get"])]
    below = await symbols.outlines("pool/", limit=1)
    assert (below.total, [each.path for each in below.first]) == (2, ["pool/get.go"])
    assert (await symbols.outlines(".")).total == 5
    assert (await symbols.outlines("poo")).total == 0


async def test_usages_are_lines_with_that_word_other_than_definitions(
    symbols: Symbols, plant: Callable[[dict[str, str]], None]
) -> None:
    plant(
        {
            "main.py": "from app.users import parse\n\ndef run():\n  parse(1)\n  reparse(2)\n  x = parser\nparse()\n",
            "tests/test_main.py": "def test_it():\n    parse(2)\n",
            "notes.md": "parse is used\n",
        }
    )
    usages = await symbols.usages("app.users.parse")
    assert [(each.place, each.within, each.is_import) for each in usages.first] == [
        ("app/users.py:21", "app.users.UserService.delete", False),
        ("main.py:4", "main.run", False),
        ("main.py:7", "", False),
        ("main.py:1", "", True),
        ("tests/test_main.py:2", "tests.test_main.test_it", False),
        ("notes.md:1", "", False),
    ]
    assert (usages.total, usages.complete) == (6, True)
    assert len((await symbols.usages("parse", limit=2)).first) == 2


async def test_usages_of_a_name_that_is_no_word_are_found(
    symbols: Symbols, plant: Callable[[dict[str, str]], None]
) -> None:
    plant({"a.js": "class A {\n  #secret = 1;\n  get() { return this.#secret; }\n}\n"})
    assert [each.place for each in (await symbols.usages("#secret")).first] == ["a.js:3"]


@pytest.mark.parametrize("name", ["  ", "a(b", "a\nb", "x" * 20_000, "\ud800", "\0"])
async def test_what_is_no_name_has_no_usages(symbols: Symbols, name: str) -> None:
    assert (await symbols.usages(name)).first == []
    assert await symbols.find(name) == []
    assert (await symbols.search(name.strip() or "~")).best == []
    assert await symbols.similar(name) == []


async def test_what_was_not_read_is_counted(symbols: Symbols, plant: Callable[[dict[str, str]], None]) -> None:
    plant({"a.py": "x = 1\0", "b.py": "y = 1\0", "c.js": "var a=1;" * 9999})
    assert await symbols.skipped() == {"binary": 2, "minified": 1}


async def test_the_index_is_kept_when_it_is_closed(symbols: Symbols, tmp_path: Path) -> None:
    await symbols.find("parse")
    await symbols.aclose()
    assert list((tmp_path / "cache").iterdir())
