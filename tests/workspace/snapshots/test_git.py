"""Running git: what it inherits, what it may say, and when it is over."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agentd.errors import GitFailed
from agentd.workspace import git as git_module
from agentd.workspace.git import git, repository_root, unfiltered

if TYPE_CHECKING:
    from tests.workspace.snapshots.conftest import Repository


async def test_it_returns_what_git_prints(repository: Repository) -> None:
    repository.commit(a="one\n")
    assert await git(repository.top, "cat-file", "blob", "HEAD:a") == b"one\n"
    assert await git(repository.top, "hash-object", "--stdin", input=b"one\n") != b""


async def test_a_failure_tells_what_git_said(repository: Repository) -> None:
    with pytest.raises(GitFailed, match=r"^git cat-file failed: fatal: Not a valid object name nothing$"):
        await git(repository.top, "cat-file", "blob", "nothing")


async def test_exit_codes_that_are_answers_are_not_failures(repository: Repository) -> None:
    assert await git(repository.top, "config", "no.such", ok=(0, 1)) == b""


async def test_variables_that_lead_git_elsewhere_are_not_inherited(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.bare")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", "true")
    assert await repository_root(repository.top) == repository.top


async def test_more_than_it_may_print_is_an_error(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(git_module, "OUTPUT_LIMIT", 1 << 20)
    repository.commit(a="x" * 2_000_000)
    with pytest.raises(GitFailed, match="more than 1 MiB"):
        await git(repository.top, "cat-file", "blob", "HEAD:a")


async def test_a_git_that_hangs_is_ended(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "git").write_text("#!/bin/sh\nexec sleep 1000\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(GitFailed, match=r"git status took longer than 0\.05 s"):
        await git(repository.top, "status", seconds=0.05)


async def test_without_git_it_says_so(repository: Repository, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitFailed, match="git could not be run"):
        await git(repository.top, "status")


async def test_the_root_of_a_repository_is_found_from_anywhere_in_it(repository: Repository) -> None:
    repository.commit(**{"some/where/deep": "x\n"})
    assert await repository_root(repository.top / "some/where") == repository.top


async def test_the_root_in_a_linked_worktree_or_submodule_is_its_own(repository: Repository) -> None:
    repository.commit(a="one\n")
    repository.git("worktree", "add", "-q", "../linked")
    assert await repository_root(repository.top.parent / "linked") == repository.top.parent / "linked"
    inner = repository.another("inner")
    assert await repository_root(inner.top) == inner.top


async def test_there_is_no_root_without_a_working_tree(repository: Repository, tmp_path: Path) -> None:
    assert await repository_root(tmp_path) is None
    assert await repository_root(repository.another("bare", "--bare").top) is None
    assert await repository_root(repository.top / ".git") is None


@pytest.mark.parametrize("driver", ["x", "a=b", "with.dots"])
@pytest.mark.parametrize("kind", ["clean", "process"])
async def test_without_filters_none_of_the_repositorys_is_run(
    repository: Repository, tmp_path: Path, driver: str, kind: str
) -> None:
    repository.commit(a="one\n")
    mark = tmp_path / "ran"
    repository.git("config", f"filter.{driver}.{kind}", f"touch {mark}; cat")
    repository.git("config", f"filter.{driver}.required", "true")
    repository.write(".git/info/attributes", f"* filter={driver}\n")
    repository.write("a", "two\n")
    repository.git("status", check=False)
    assert mark.exists()  # with filters it is
    mark.unlink()
    repository.write("a", "two!\n")
    told = await git(repository.top, "status", "--porcelain", env=await unfiltered(repository.top))
    assert told == b" M a\n"
    assert not mark.exists()
