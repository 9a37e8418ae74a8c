"""Which repositories and refs a worktree can be made of, and what is said of the others."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agentd.daemon.worktree_source import Source, check_source
from agentd.errors import InvalidRequest
from tests.daemon.worktree_repos import commit, git, make_repository


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def head(repo: Path) -> str:
    return git(repo, "rev-parse", "HEAD")


async def refused(path: Path | str, ref: str | None = None) -> str:
    with pytest.raises(InvalidRequest) as caught:
        await check_source(str(path), ref)
    [problem] = caught.value.problems
    return problem


@pytest.mark.parametrize("ref", [None, "", "  "])
async def test_without_a_ref_it_is_what_is_checked_out(repo: Path, ref: str | None) -> None:
    git(repo, "checkout", "-q", "-b", "elsewhere")
    commit(repo, {"c": "c"})
    assert await check_source(str(repo), ref) == Source(repo, head(repo), None)


async def test_a_branch_a_tag_and_a_commit_are_refs(repo: Path) -> None:
    first = head(repo)
    git(repo, "tag", "-a", "-m", "one", "v1")
    git(repo, "branch", "feature/x")
    commit(repo, {"c": "c"})
    for ref in ("v1", "feature/x", first, first[:8], "HEAD~1", "refs/heads/feature/x"):
        assert (await check_source(str(repo), ref)).commit == first


async def test_a_branch_goes_before_a_tag_of_the_same_name(repo: Path) -> None:
    git(repo, "tag", "main")
    second = commit(repo, {"c": "c"})
    assert (await check_source(str(repo), "main")).commit == second


async def test_a_branch_that_one_remote_has_is_found_by_its_name(tmp_path: Path, repo: Path) -> None:
    git(repo, "branch", "feature/x")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    source = await check_source(str(tmp_path / "clone"), "feature/x")
    assert (source.commit, source.ref) == (head(repo), "feature/x")


async def test_a_branch_that_two_remotes_have_is_refused_with_their_names(tmp_path: Path, repo: Path) -> None:
    git(repo, "branch", "x")
    git(tmp_path, "clone", "-q", str(repo), "clone")
    git(tmp_path / "clone", "remote", "add", "fork", str(repo))
    git(tmp_path / "clone", "fetch", "-q", "fork")
    problem = await refused(tmp_path / "clone", "x")
    assert problem == 'several remotes have a branch "x"; name one: fork/x, origin/x @ $.ref'


async def test_an_unknown_ref_is_answered_with_names_that_are_near(repo: Path) -> None:
    git(repo, "branch", "feature")
    assert await refused(repo, "featrue") == 'no branch, tag or commit "featrue"; near: feature @ $.ref'


@pytest.mark.parametrize("ref", ["--detach", "-b", "a\nb", "HEAD:a.txt", "a..b", "[x", "\udc80", "0" * 40, "x" * 5000])
async def test_what_is_no_ref_is_refused(repo: Path, ref: str) -> None:
    assert (await refused(repo, ref)).endswith(" @ $.ref")


async def test_a_repository_without_a_commit_is_refused(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "empty")
    assert "has no commit to start from" in await refused(tmp_path / "empty")


async def test_paths_that_are_none_are_refused(tmp_path: Path, repo: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert await refused("repo") == "must be an absolute path @ $.repoPath"
    assert "control characters" in await refused("/a\0b")
    assert "No such file or directory" in await refused(tmp_path / "none")
    assert "is not a directory" in await refused(repo / "a.txt")
    assert "cannot be opened" in await refused(tmp_path / "loop")
    assert (await refused("/\udc80\ud800")).endswith(" @ $.repoPath")
    assert "is not a git repository; `git init`" in await refused(tmp_path)


async def test_a_directory_inside_a_repository_is_refused_with_the_right_one(repo: Path) -> None:
    assert await refused(repo / "src") == (
        f"{repo}/src is a directory inside the git repository {repo}: give that @ $.repoPath"
    )
    assert "inside a git directory" in await refused(repo / ".git")
    assert "inside a git directory" in await refused(repo / ".git" / "refs")


async def test_a_link_to_a_repository_is_that_repository(tmp_path: Path, repo: Path) -> None:
    (tmp_path / "link").symlink_to(repo)
    assert (await check_source(f"{tmp_path}/link/", None)).repo == repo


async def test_a_bare_repository_is_one(tmp_path: Path, repo: Path) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(repo), "bare.git")
    assert await check_source(str(tmp_path / "bare.git"), "main") == Source(tmp_path / "bare.git", head(repo), "main")


async def test_of_a_linked_worktree_the_head_is_its_own_and_the_repository_the_main_one(
    tmp_path: Path, repo: Path
) -> None:
    git(repo, "worktree", "add", "-q", "-b", "side", str(tmp_path / "side"))
    there = commit(tmp_path / "side", {"c": "c"})
    assert await check_source(str(tmp_path / "side"), None) == Source(repo, there, None, tmp_path / "side")


async def test_a_git_directory_may_be_elsewhere(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--separate-git-dir", str(tmp_path / "store"), str(tmp_path / "tree"))
    made = commit(tmp_path / "tree", {"a": "a"})
    assert await check_source(str(tmp_path / "tree"), None) == Source(tmp_path / "tree", made, None)


async def test_a_submodule_is_a_repository(tmp_path: Path, repo: Path) -> None:
    outer = make_repository(tmp_path / "outer")
    git(outer, "submodule", "--quiet", "add", str(repo), "sub")
    assert await check_source(str(outer / "sub"), None) == Source(outer / "sub", head(repo), None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_repository_of_another_user_is_refused_with_what_would_allow_it(repo: Path) -> None:
    for path in (repo, repo / ".git"):
        os.chown(path, 12345, 12345)
    problem = await refused(repo)
    assert "belongs to another user" in problem
    assert f"git config --global --add safe.directory {repo} @ $.repoPath" in problem


async def test_a_shallow_clone_is_a_repository(tmp_path: Path, repo: Path) -> None:
    commit(repo, {"c": "c"})
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repo}", "shallow")
    assert (await check_source(str(tmp_path / "shallow"), None)).commit == head(repo)
