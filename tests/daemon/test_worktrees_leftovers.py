"""What nobody owns: told apart, and cleared without a loss."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.daemon.worktrees import Removed, Worktree, Worktrees, open_worktrees
from tests.daemon.worktree_repos import commit, git, make_repository, new_id, refs, shown, write


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
async def worktrees(tmp_path: Path) -> AsyncIterator[Worktrees]:
    async with open_worktrees(tmp_path / "base", warm=0) as opened:
        yield opened


@pytest.fixture
async def tree(worktrees: Worktrees, repo: Path) -> Worktree:
    return await worktrees.create(await worktrees.check(str(repo), None), new_id())


async def test_what_is_owned_is_no_leftover(worktrees: Worktrees, tree: Worktree) -> None:
    assert await worktrees.leftovers([tree.path]) == []


async def test_a_clean_leftover_goes(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    [left] = await worktrees.leftovers([])
    assert (left.path, left.repo, left.branch, left.state) == (tree.path, repo, tree.branch, "clean")
    assert left.bytes > 0
    assert await worktrees.clear(left) == Removed(None, branch_kept=False)
    assert await worktrees.leftovers([]) == []
    assert refs(repo).keys() == {"refs/heads/main"}


async def test_a_dirty_leftover_is_rescued_under_its_own_name(worktrees: Worktrees, tree: Worktree) -> None:
    write(tree.path, {"c": "c"})
    [left] = await worktrees.leftovers([])
    assert left.state == "dirty"
    assert await worktrees.clear(left) == Removed(f"refs/agentd/rescued/{tree.id}", branch_kept=False)


async def test_commits_on_a_detached_head_make_a_leftover_dirty(worktrees: Worktrees, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "--detach")
    commit(tree.path, {"c": "c"})
    [left] = await worktrees.leftovers([])
    assert left.state == "dirty"


async def test_the_branch_of_an_unpushed_leftover_is_kept(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    made = commit(tree.path, {"c": "c"})
    [left] = await worktrees.leftovers([])
    assert left.state == "unpushed"
    assert await worktrees.clear(left) == Removed(None, branch_kept=True)
    assert refs(repo)[f"refs/heads/{tree.branch}"] == made


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
@pytest.mark.parametrize("how", ["works there", "has a file open"])
async def test_a_leftover_that_somebody_uses_is_left_alone(worktrees: Worktrees, tree: Worktree, how: str) -> None:
    place = tree.path / "src"
    words = ["cat"] if how == "works there" else ["sh", "-c", f"exec 9<{tree.path}/a.txt; echo; exec cat"]
    with subprocess.Popen(  # noqa: ASYNC220  # it lives only here
        words, cwd=place if how == "works there" else "/", stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        if how != "works there":
            process.stdout.readline()
        [left] = await worktrees.leftovers([])
        assert left.state == "alive"
        assert await worktrees.clear(left) == Removed(None, branch_kept=True, kept=tree.path)
        process.stdin.close()
        process.wait()
    assert [left.state for left in await worktrees.leftovers([])] == ["clean"]


async def test_a_leftover_without_a_record_is_recognized_by_its_branch(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    (worktrees.pool / "records" / f"{tree.id}.json").unlink()
    write(tree.path, {"c": "c"})
    [left] = await worktrees.leftovers([])
    assert (left.repo, left.branch, left.state) == (repo, tree.branch, "dirty")
    assert (await worktrees.clear(left)).rescued == f"refs/agentd/rescued/{tree.id}"
    assert refs(repo).keys() == {"refs/heads/main", f"refs/agentd/rescued/{tree.id}"}


async def test_a_leftover_with_a_damaged_record_is_one_without(worktrees: Worktrees, tree: Worktree) -> None:
    (worktrees.pool / "records" / f"{tree.id}.json").write_bytes(b"\0\0\0")
    [left] = await worktrees.leftovers([])
    assert left.state == "clean"
    assert await worktrees.clear(left) == Removed(None, branch_kept=False)


async def test_what_is_not_ours_is_unknown_and_left_alone(worktrees: Worktrees, repo: Path) -> None:
    plain, foreign = worktrees.base / new_id(), worktrees.base / new_id()
    write(plain, {"somebody": "else's"})
    git(repo, "worktree", "add", "-q", "-b", "theirs", str(foreign))
    write(worktrees.base, {"notes/x": "y"})
    found = await worktrees.leftovers([])
    assert {left.path: left.state for left in found} == {plain: "unknown", foreign: "unknown"}
    for left in found:
        assert await worktrees.clear(left) == Removed(None, branch_kept=True, kept=left.path)
    assert shown(worktrees.base) == sorted(["notes", plain.name, foreign.name])


async def test_a_leftover_whose_repository_is_gone_is_unknown_and_kept(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    repo.rename(tmp_path / "away")  # noqa: ASYNC240
    [left] = await worktrees.leftovers([])
    assert left.state == "unknown"
    kept = worktrees.pool / "kept" / tree.id
    assert await worktrees.clear(left) == Removed(None, branch_kept=True, kept=kept)
    assert shown(worktrees.base) == []
    assert (kept / "a.txt").exists()
