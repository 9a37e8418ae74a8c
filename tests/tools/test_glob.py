"""Glob and LS: files by name, and a directory as a tree."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ToolFailed
from agentd.tools import ls as ls_module
from agentd.tools.base import Tool, ToolOutcome
from agentd.tools.glob import MAX_FILES, Glob
from agentd.tools.ls import LS

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]


def plant(workspace: Path, *names: str) -> None:
    for age, name in enumerate(names):
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))


async def test_the_file_changed_last_comes_first(workspace: Path, told: Told) -> None:
    plant(workspace, "src/new.py", "old/mid.py", "src/a/oldest.py", "src/x.txt")
    assert await told(Glob(), {"pattern": "**/*.py"}) == "src/new.py\nold/mid.py\nsrc/a/oldest.py"


async def test_files_of_one_age_come_by_name(workspace: Path, told: Told) -> None:
    for name in "cab":
        (workspace / name).touch()
        os.utime(workspace / name, (1, 1))
    assert await told(Glob(), {"pattern": "*"}) == "a\nb\nc"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"pattern": "*.py"}, "top.py"),
        ({"pattern": "src/*.{py,ts}"}, "src/a.py\nsrc/b.ts"),
        ({"pattern": "*.py", "path": "src"}, "src/a.py"),
        ({"pattern": "src/a.py"}, "src/a.py"),
        ({"pattern": "{workspace}/src/*.py"}, "src/a.py"),
        ({"pattern": "build/*"}, "build/out.py"),
        ({"pattern": "**/out.py"}, "No files found"),
        ({"pattern": "src/../top.py"}, "top.py"),
        ({"pattern": "*.rs"}, "No files found\n[*.rs is looked for in the directory itself; **/*.rs is at any depth]"),
    ],
)
async def test_files_are_found_by_name(workspace: Path, told: Told, asked: dict[str, str], found: str) -> None:
    plant(workspace, "top.py", "src/a.py", "src/b.ts", "build/out.py", ".git/HEAD")
    (workspace / ".gitignore").write_text("build/\n")
    asked = {key: value.format(workspace=workspace) if "{w" in value else value for key, value in asked.items()}
    assert await told(Glob(), asked) == found


async def test_only_so_many_files_are_listed(workspace: Path, call: Call) -> None:
    plant(workspace, *(f"{number}" for number in range(MAX_FILES + 7)))
    outcome = await call(Glob(), {"pattern": "*"})
    lines = getattr(outcome.content[0], "text", "").split("\n")
    assert lines[: MAX_FILES + 1] == [
        *(str(number) for number in range(MAX_FILES)),
        "[7 more files; a narrower pattern or path shows them]",
    ]
    assert outcome.summary == f"{MAX_FILES + 7} files"


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"pattern": "/etc/*"}, "outside the workspace"),
        ({"pattern": "../*"}, "outside the workspace"),
        ({"pattern": "*", "path": "missing"}, "does not exist"),
        ({"pattern": "*", "path": "file"}, "not a directory"),
        ({"pattern": ".agentd/*"}, "off limits"),
        ({"pattern": 1}, "@ pattern"),
    ],
)
async def test_what_cannot_be_looked_for_is_said(workspace: Path, call: Call, asked: dict[str, Any], says: str) -> None:
    plant(workspace, "file")
    with pytest.raises(ToolFailed, match=says):
        await call(Glob(), asked)


async def test_a_directory_is_shown_as_a_tree(workspace: Path, told: Told) -> None:
    plant(workspace, "src/a.py", "src/sub/b.py", "z", "build/x", ".agentd/log")
    (workspace / "empty").mkdir()
    (workspace / ".gitignore").write_text("build/\n")
    assert await told(LS(), {"path": "."}) == (
        "./\n  .gitignore\n  empty/\n  src/\n    a.py\n    sub/\n      b.py\n  z"
    )
    assert await told(LS(), {"path": "src", "ignore": ["*.py"]}) == "src/\n  sub/"


async def test_an_ignored_directory_that_is_named_is_listed(workspace: Path, told: Told) -> None:
    plant(workspace, "build/x")
    (workspace / ".gitignore").write_text("build/\n")
    assert await told(LS(), {"path": "build"}) == "build/\n  x"


async def test_levels_that_do_not_fit_are_left_out_whole(
    workspace: Path, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ls_module, "MAX_ENTRIES", 4)
    plant(workspace, "a/1", "a/2", "b/3/deep")
    outcome = await call(LS(), {"path": "."})
    assert getattr(outcome.content[0], "text", "") == (
        "./\n  a/\n  b/\n[Levels below this are not shown; LS a directory to see what is in it]"
    )
    assert outcome.summary == "2 entries"


async def test_of_a_huge_directory_the_first_entries_are_shown(
    workspace: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ls_module, "MAX_ENTRIES", 2)
    plant(workspace, "a", "b", "c")
    assert (await told(LS(), {"path": "."})).split("\n") == [
        *("./", "  a", "  b"),
        "[1 more entries and all levels below are not shown; LS a directory to see what is in it]",
    ]


@pytest.mark.parametrize(
    ("path", "says"),
    [("file", "Read shows it"), ("missing", "does not exist"), ("..", "outside"), (".agentd", "off limits")],
)
async def test_what_cannot_be_listed_is_said(workspace: Path, call: Call, path: str, says: str) -> None:
    plant(workspace, "file")
    with pytest.raises(ToolFailed, match=says):
        await call(LS(), {"path": path})


async def test_an_empty_directory_is_said_to_be_so(workspace: Path, told: Told) -> None:
    assert (await told(LS(), {"path": "."})).split("\n") == ["./", "[the directory is empty, or all in it is ignored]"]
