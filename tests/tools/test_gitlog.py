"""GitLog: commits that fit, and nothing that a repository or a model could smuggle in."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.tools.base import Tool
from agentd.tools.gitlog import GitLog

Git = Callable[..., str]
Told = Callable[[Tool, Mapping[str, Any]], Awaitable[str]]


@pytest.fixture
def git(workspace: Path) -> Git:
    """Run git in the workspace, by Ada on 2025-03-01 if nobody else says so; what it prints."""
    env = os.environ | {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}

    def run(*arguments: str, author: str = "Ada <ada@example.org>", date: str = "2025-03-01T12:00:00Z") -> str:
        name, _, address = author.rstrip(">").partition(" <")
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", name), ("EMAIL", address), ("DATE", date))
        }
        done = subprocess.run(
            ["git", *arguments], cwd=workspace, env=env | who, check=True, capture_output=True, timeout=30
        )
        return done.stdout.decode().strip()

    return run


@pytest.fixture
def commit(workspace: Path, git: Git) -> Callable[..., str]:
    git("init", "-q")

    def make(message: str, files: Mapping[str, str], **by: str) -> str:
        for name, text in files.items():
            (workspace / name).parent.mkdir(exist_ok=True)
            (workspace / name).write_text(text)
        git("add", "--all")
        git("commit", "-q", "--allow-empty", "-m", message, **by)
        return git("rev-parse", "--short", "HEAD")

    return make


@pytest.fixture
def history(commit: Callable[..., str]) -> list[str]:
    """Four commits, the first one first."""
    return [
        commit("Begin", {"a.py": "one = 1\n", "lib/b.py": "two = 2\n"}),
        commit("Add THREE\n\nBecause of the parser.", {"c.py": "three = needle\n"}, date="2025-04-01T12:00:00Z"),
        commit("Change a", {"a.py": "one = 11\n"}, author="Bob <bob@example.org>", date="2025-05-01T12:00:00Z"),
        commit("Drop the needle", {"c.py": "three = 3\n"}, date="2025-06-01T12:00:00Z"),
    ]


async def test_commits_are_told_with_message_and_files(told: Told, history: list[str]) -> None:
    answer = await told(GitLog(), {})
    assert answer == (
        f"{history[3]} 2025-06-01 Ada: Drop the needle\n"
        "  M c.py\n"
        f"{history[2]} 2025-05-01 Bob: Change a\n"
        "  M a.py\n"
        f"{history[1]} 2025-04-01 Ada: Add THREE\n"
        "    Because of the parser.\n"
        "  A c.py\n"
        f"{history[0]} 2025-03-01 Ada: Begin\n"
        "  A a.py\n"
        "  A lib/b.py"
    )


@pytest.mark.parametrize(
    ("asked", "which"),
    [
        ({"path": "a.py"}, [2, 0]),
        ({"path": "lib"}, [0]),
        ({"path": "."}, [3, 2, 1, 0]),
        ({"path": "gone.py"}, []),
        ({"query": "three"}, [1]),
        ({"query": "PARSER"}, [1]),
        ({"query": "a.*r"}, []),
        ({"changed": "needle"}, [3, 1]),
        ({"author": "bob@"}, [2]),
        ({"since": "2025-04-15"}, [3, 2]),
        ({"until": "2025-04-15"}, [1, 0]),
        ({"since": "2025-03-15", "until": "2025-05-15", "author": "ada"}, [1]),
        ({"limit": 1, "offset": 3}, [0]),
    ],
)
async def test_commits_are_those_that_fit(
    told: Told, history: list[str], asked: dict[str, Any], which: list[int]
) -> None:
    answer = await told(GitLog(), asked)
    shas = [line.split()[0] for line in answer.splitlines() if line[0] != " "]
    assert shas == ([history[number] for number in which] or ["No"])


async def test_renames_are_followed(told: Told, history: list[str], commit: Callable[..., str], git: Git) -> None:
    git("mv", "a.py", "z.py")
    moved = commit("Move", {})
    answer = await told(GitLog(), {"path": "z.py"})
    assert [line.split()[0] for line in answer.splitlines() if line[0] != " "] == [moved, history[2], history[0]]
    assert "  R z.py" in answer


async def test_more_commits_than_wanted_are_told_of(told: Told, history: list[str]) -> None:
    answer = await told(GitLog(), {"limit": 2, "offset": 1})
    assert answer.splitlines()[-1] == "[more commits; offset=3 shows them]"


async def test_a_directory_in_a_repository_has_the_history_of_that(
    tmp_path: Path, workspace: Path, told: Told, git: Git
) -> None:
    git("init", "-q", str(tmp_path))
    (tmp_path / "above").write_text("x")
    (workspace / "a").write_text("x")
    git("add", str(tmp_path / "above"))
    git("commit", "-qm", "Above")
    git("add", "a")
    git("commit", "-qm", "Here")
    assert (await told(GitLog(), {})).splitlines()[0].endswith(": Here")
    assert "Above" not in await told(GitLog(), {})


async def test_where_is_no_repository_there_is_no_history(told: Told) -> None:
    assert "is not in a git repository" in await told(GitLog(), {})


async def test_where_nothing_was_committed_nothing_is_found(told: Told, git: Git) -> None:
    git("init", "-q")
    assert await told(GitLog(), {}) == "No commits found"


@pytest.mark.parametrize("key", ["path", "query", "changed", "author", "since", "until"])
@pytest.mark.parametrize(
    "value", ["--output={0}", "-O{0}", "--exec=touch {0}", ";touch {0}", "$(touch {0})", "`touch {0}`"]
)
async def test_a_value_is_never_an_option_or_a_command(
    told: Told, history: list[str], tmp_path: Path, key: str, value: str
) -> None:
    await told(GitLog(), {key: value.format(tmp_path / "touched")})
    await told(GitLog(), {key: value.format("touched")})
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "workspace" / "touched").exists()


async def test_no_program_of_the_repository_is_run(
    told: Told, history: list[str], workspace: Path, git: Git, tmp_path: Path
) -> None:
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path / 'ran'}\ncat\n")
    program.chmod(0o755)
    for setting in (
        *("core.pager", "pager.log", "gpg.program", "diff.external", "diff.mine.textconv", "diff.mine.command"),
        *("core.fsmonitor", "core.sshCommand", "filter.mine.clean", "filter.mine.smudge", "alias.log"),
    ):
        git("config", setting, f"!{program}" if setting.startswith("alias") else str(program))
    git("config", "log.showSignature", "true")
    git("config", "format.pretty", "raw")
    (workspace / ".git" / "info" / "attributes").write_text("* diff=mine filter=mine\n")
    answer = await told(GitLog(), {"changed": "needle"})
    assert [line.split()[0] for line in answer.splitlines() if line[0] != " "] == [history[3], history[1]]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "asked",
    [{"limit": 0}, {"offset": -1}, {"query": "\0"}, {"query": "\ud800"}, {"author": "x" * 1001}, {"path": "../x"}],
)
async def test_what_cannot_be_asked_is_refused(told: Told, history: list[str], asked: dict[str, Any]) -> None:
    answer = await told(GitLog(), asked)
    assert not answer.startswith(history[3])


async def test_a_message_with_odd_characters_is_one_commit(told: Told, commit: Callable[..., str]) -> None:
    sha = commit("Odd \x1e\x1f subject\n\nA\tb\n\nM  c\n", {"x y\n.py": "1"})
    assert (
        await told(GitLog(), {})
        == f"{sha} 2025-03-01 Ada: Odd \x1e\x1f subject\n    A\tb\n    \n    M  c\n  A x y\n.py"
    )


async def test_long_messages_and_many_files_are_cut(told: Told, commit: Callable[..., str]) -> None:
    commit("Much\n\n" + "\n".join(f"line {n}" for n in range(30)), {f"f{n:02}": "1" for n in range(30)})
    lines = (await told(GitLog(), {})).splitlines()
    assert lines[21] == "    [10 more lines of this message]"
    assert lines[-1] == "  [10 more files in this commit]"


def test_a_call_is_about_what_it_looks_for() -> None:
    assert GitLog().subject({"query": "fix", "path": "a.py"}) == "fix a.py"
