"""The tools that answer from the index of symbols: what a model is told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.errors import ToolFailed
from agentd.tools import symbols as shared
from agentd.tools.base import Tool, ToolContext, ToolState
from agentd.tools.classskeleton import ClassSkeleton
from agentd.tools.filesummary import FileSummary
from agentd.tools.findusages import FindUsages
from agentd.tools.methodsource import MethodSource
from agentd.tools.searchsymbols import SearchSymbols
from agentd.workspace.symbols import index as index_module
from agentd.workspace.symbols.query import Symbols

Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]

USERS = """\
class Users:
    limit = 10

    def add(self, user):
        # adds
        check(user)

    def drop(self, user): ...


def check(user):
    return user
"""
MAIN = "from app.users import Users, check\n\n\ndef run():\n    check(Users())\n"


@pytest.fixture
def context(workspace: Path, tmp_path: Path) -> ToolContext:
    for name, text in {"app/users.py": USERS, "main.py": MAIN, "README.md": "# check\n"}.items():
        (workspace / name).parent.mkdir(exist_ok=True)
        (workspace / name).write_text(text)
    return ToolContext(
        workspace=workspace,
        state=ToolState(workspace),
        env={},
        off_limits=(workspace / ".agentd",),
        on_output=lambda _: None,
        keep=lambda path: path.name,
        symbols=Symbols(workspace, tmp_path / "cache"),
    )


@pytest.fixture
def told(context: ToolContext) -> Told:
    """What the model is told of a call, be it a success or a failure."""

    async def run(tool: Tool, call_input: Mapping[str, Any]) -> str:
        try:
            outcome = await tool.run(call_input, context)
        except ToolFailed as exc:
            return f"failed: {exc}"
        return "".join(getattr(part, "text", "") for part in outcome.content)

    return run


async def test_a_search_tells_place_kind_name_and_declaration(told: Told) -> None:
    assert await told(SearchSymbols(), {"pattern": "check"}) == (
        "app/users.py:11: function app.users.check  def check(user)"
    )
    assert await told(SearchSymbols(), {"pattern": "users|add", "kind": "method"}) == (
        "app/users.py:4: method app.users.Users.add  def add(self, user)"
    )


async def test_a_search_that_was_cut_says_how_to_get_more(told: Told) -> None:
    answer = await told(SearchSymbols(), {"pattern": ".", "limit": 1})
    assert answer.splitlines()[-1] == "[5 more; limit=4 shows more; a longer pattern, or kind, finds fewer]"


async def test_a_search_without_result_says_what_is_similar_and_what_was_not_read(told: Told, workspace: Path) -> None:
    (workspace / "binary.py").write_bytes(b"\0")
    assert await told(SearchSymbols(), {"pattern": "chekc"}) == (
        "No matches found\n[similar names: check]\n[files that were not read: 1 binary]"
    )


@pytest.mark.parametrize(
    "asked", [{"pattern": " "}, {"pattern": "a", "limit": 0}, {"pattern": "a", "kind": "verb"}, {}]
)
async def test_a_search_for_nothing_is_refused(told: Told, asked: dict[str, Any]) -> None:
    assert (await told(SearchSymbols(), asked)).startswith("failed: ")


async def test_a_skeleton_is_the_type_without_bodies(told: Told) -> None:
    assert await told(ClassSkeleton(), {"name": "Users"}) == (
        "app/users.py:1: class app.users.Users, lines 1-8\n"
        "     1\tclass Users\n"
        "     2\t    limit = 10\n"
        "     4\t    def add(self, user)\n"
        "     8\t    def drop(self, user)"
    )


async def test_a_source_has_numbered_lines(told: Told) -> None:
    assert await told(MethodSource(), {"name": "Users.add"}) == (
        "app/users.py:4: method app.users.Users.add, lines 4-6\n"
        "     4\t    def add(self, user):\n"
        "     5\t        # adds\n"
        "     6\t        check(user)"
    )


async def test_a_name_of_something_else_is_told_with_the_tool_that_shows_it(told: Told) -> None:
    assert await told(ClassSkeleton(), {"name": "Users.add"}) == (
        "failed: Users.add is no class, but there is (MethodSource shows it):\n"
        "app/users.py:4: method app.users.Users.add, lines 4-6"
    )
    assert "(ClassSkeleton shows it)" in await told(MethodSource(), {"name": "Users"})
    assert "(Read shows it)" in await told(MethodSource(), {"name": "Users.limit"})


async def test_an_unknown_name_is_answered_with_similar_ones(told: Told) -> None:
    assert await told(MethodSource(), {"name": "app.chekc"}) == (
        "failed: No function of the workspace is called app.chekc. Similar names: check. "
        "SearchSymbols finds names by a part of them"
    )
    assert "Similar names: Users." in await told(ClassSkeleton(), {"name": "Usres"})
    assert "Similar" not in await told(ClassSkeleton(), {"name": "qqqqqqqqqqqqqqqqqqqq"})


async def test_usages_come_with_definitions_and_what_they_are_in(told: Told) -> None:
    assert await told(FindUsages(), {"name": "check"}) == (
        "app/users.py:11: function app.users.check, lines 11-12\n"
        "app/users.py:6:        check(user)  [in app.users.Users.add]\n"
        "main.py:5:    check(Users())  [in main.run]\n"
        "main.py:1:from app.users import Users, check  [import]\n"
        "README.md:1:# check"
    )


async def test_usages_that_were_cut_are_counted(told: Told) -> None:
    answer = await told(FindUsages(), {"name": "check", "limit": 1})
    assert answer.splitlines()[-1] == "[3 more usages; limit=4 shows more]"


async def test_usages_of_what_is_not_defined_here_are_found_too(told: Told) -> None:
    answer = await told(FindUsages(), {"name": "adds"})
    assert answer.splitlines() == [
        "[nothing here defines adds; similar names: add]",
        "app/users.py:5:        # adds  [in app.users.Users.add]",
    ]
    assert (await told(FindUsages(), {"name": "nowhere"})).endswith("No usages found")
    assert (await told(FindUsages(), {"name": " "})).startswith("failed: ")


async def test_a_summary_of_a_file_is_its_outline(told: Told) -> None:
    assert await told(FileSummary(), {"path": "app/users.py"}) == (
        "app/users.py: 5 definitions\n"
        "     1\tclass Users\n"
        "     2\t    limit = 10\n"
        "     4\t    def add(self, user)\n"
        "     8\t    def drop(self, user)\n"
        "    11\tdef check(user)"
    )


async def test_a_summary_of_many_files_is_what_is_at_their_top_level(told: Told, workspace: Path) -> None:
    for number in range(3):
        (workspace / "app" / f"m{number}.py").write_text(f"class C{number}:\n    def f(self): ...\n")
    answer = await told(FileSummary(), {"path": "."})
    assert "     1\tclass C1\n" in answer
    assert "def f" not in answer
    assert answer.splitlines()[-2:] == ["main.py: 1 definition", "     4\tdef run()"]


async def test_a_summary_that_was_cut_says_so(told: Told, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.tools.filesummary.MAX_FILES", 1)
    answer = await told(FileSummary(), {"path": "."})
    assert answer.splitlines()[-1] == "[1 more file; name a directory below, or a file]"
    monkeypatch.setattr("agentd.tools.filesummary.MAX_LINES", 2)
    answer = await told(FileSummary(), {"path": "app/users.py"})
    assert answer.splitlines()[-1] == "[more; Read app/users.py shows the rest]"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("app/user.py", "Similar names: app/users.py"),
        ("README.md", "README.md is in no language that is known here; Read shows it"),
        ("ignored/a.py", "ignored/a.py is ignored by git and not indexed; Read shows it"),
        ("empty", "No file below empty is a source file"),
        ("/etc/passwd", "outside the workspace"),
        (".agentd/a.py", "off limits"),
    ],
)
async def test_a_summary_of_what_has_none_says_why(told: Told, workspace: Path, path: str, said: str) -> None:
    (workspace / ".git").mkdir()
    (workspace / ".gitignore").write_text("ignored/\n")
    for directory in ("ignored", "empty"):
        (workspace / directory).mkdir()
    (workspace / "ignored" / "a.py").write_text("a = 1\n")
    assert said in await told(FileSummary(), {"path": path})


async def test_a_file_that_was_not_read_is_told_with_the_reason(told: Told, workspace: Path) -> None:
    (workspace / "b.py").write_bytes(b"x = 1\0")
    assert await told(FileSummary(), {"path": "b.py"}) == "b.py [not read: binary]"


@pytest.mark.parametrize("tool", [SearchSymbols(), ClassSkeleton(), MethodSource(), FindUsages(), FileSummary()])
async def test_without_an_index_that_is_said(context: ToolContext, tool: Tool) -> None:
    without = attrs.evolve(context, symbols=None)
    with pytest.raises(ToolFailed, match="no index of symbols"):
        await tool.run({"pattern": "x", "name": "x", "path": "."}, without)


async def test_an_answer_that_takes_too_long_says_what_to_do(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "SECONDS", 0)
    assert "ask again to go on" in await told(SearchSymbols(), {"pattern": "x"})


async def test_progress_is_live_output(context: ToolContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_module, "PROGRESS_FILES", 1)
    said: list[str] = []
    await SearchSymbols().run({"pattern": "check"}, attrs.evolve(context, on_output=said.append))
    assert said == ["indexed 2 of 2 files\n"]


def test_a_long_answer_is_cut_at_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_CHARACTERS", 12)
    (part,) = shared.outcome("one\ntwo\nthree\nfour\nfive", "").content
    assert getattr(part, "text", "").startswith("one\ntwo\n[3 more lines; ")


@pytest.mark.parametrize(
    ("tool", "call_input", "subject"),
    [
        (SearchSymbols(), {"pattern": "x", "kind": "class"}, "class x"),
        (ClassSkeleton(), {"name": "A"}, "A"),
        (MethodSource(), {"name": "A.f"}, "A.f"),
        (FindUsages(), {}, ""),
        (FileSummary(), {"path": "src"}, "src"),
    ],
)
def test_a_call_is_about_its_name_pattern_or_path(tool: Tool, call_input: dict[str, Any], subject: str) -> None:
    assert tool.subject(call_input) == subject
