"""No edit is lost when a worktree is removed, whatever state it is in."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.daemon.worktrees import Removed, Worktree, Worktrees, open_worktrees
from tests.daemon.worktree_repos import commit, contents, files_of, git, make_repository, new_id, refs, shown, write

REF = "refs/agentd/rescued/s"
AS_MADE = {"a.txt": "a\n", "src/b.txt": "b\n"}
RESCUED = Removed(REF, branch_kept=False)


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


async def test_edits_deletions_and_new_files_are_rescued_but_not_ignored_ones(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(
        tree.path, {"src/b.txt": "edited\n", "new/n": "n", "build/out": "o", ".gitignore": "build/\n", "-x\ny": "odd"}
    )
    (tree.path / "a.txt").unlink()
    (tree.path / "link").symlink_to("nowhere")
    assert await worktrees.remove(tree, "s") == RESCUED
    text = git(repo, "ls-tree", "-r", "-z", "--name-only", REF).split("\0")
    assert text[:-1] == ["-x\ny", ".gitignore", "link", "new/n", "src/b.txt"]
    assert git(repo, "show", f"{REF}:src/b.txt") == "edited"
    assert git(repo, "rev-parse", f"{REF}^") == tree.commit
    assert refs(repo).keys() == {"refs/heads/main", REF}
    assert not shown(worktrees.base)


async def test_a_rescue_can_be_applied_like_any_commit(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    write(tree.path, {"src/b.txt": "edited\n", "new": "n"})
    await worktrees.remove(tree, "s")
    git(repo, "cherry-pick", REF)
    assert (repo / "src/b.txt").read_text() == "edited\n"


async def test_what_is_staged_and_differs_from_the_files_is_rescued_too(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tree.path, {"a.txt": "staged\n", "gone": "staged, then deleted\n"})
    git(tree.path, "add", ".")
    write(tree.path, {"a.txt": "a\n"})
    (tree.path / "gone").unlink()
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF) == AS_MADE
    assert files_of(repo, f"{REF}^2") == AS_MADE | {"a.txt": "staged\n", "gone": "staged, then deleted\n"}


async def test_commits_on_the_branch_keep_it(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    made = commit(tree.path, {"a.txt": "committed\n"})
    write(tree.path, {"a.txt": "and edited\n"})
    assert await worktrees.remove(tree, "s") == Removed(REF, branch_kept=True)
    assert refs(repo)[f"refs/heads/{tree.branch}"] == made == git(repo, "rev-parse", f"{REF}^")


async def test_commits_that_another_branch_has_do_not_keep_it(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    commit(tree.path, {"a.txt": "committed\n"})
    git(repo, "merge", "-q", tree.branch)
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)


async def test_commits_on_another_branch_stay_there(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "-b", "other")
    made = commit(tree.path, {"c": "c"})
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)
    assert refs(repo) == {"refs/heads/main": tree.commit, "refs/heads/other": made}


async def test_a_branch_that_was_renamed_is_the_users(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "branch", "-m", "mine")
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)
    assert refs(repo).keys() == {"refs/heads/main", "refs/heads/mine"}


async def test_commits_on_a_detached_head_are_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "--detach")
    made = commit(tree.path, {"c": "c"})
    assert await worktrees.remove(tree, "s") == RESCUED
    assert refs(repo)[REF] == made


async def test_commits_that_were_left_behind_are_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "--detach")
    one = commit(tree.path, {"c": "1"})
    git(tree.path, "checkout", "-q", "--detach", tree.commit)
    two = commit(tree.path, {"c": "2"})
    git(tree.path, "checkout", "-q", tree.branch)
    write(tree.path, {"c": "3"})
    assert await worktrees.remove(tree, "s") == RESCUED
    assert set(git(repo, "rev-list", "--no-walk", f"{REF}^@").split()) == {tree.commit, one, two}
    assert git(repo, "show", f"{REF}:c") == "3"


async def test_two_lost_lines_of_commits_are_rescued_together(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "--detach")
    one = commit(tree.path, {"c": "1"})
    git(tree.path, "reset", "-q", "--hard", tree.commit)
    two = commit(tree.path, {"c": "2"})
    git(tree.path, "checkout", "-q", tree.branch)
    assert await worktrees.remove(tree, "s") == RESCUED
    assert set(git(repo, "rev-list", REF).split()) >= {one, two}


async def test_a_merge_with_conflicts_is_rescued_as_it_is(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    theirs = commit(repo, {"a.txt": "theirs\n"})
    commit(tree.path, {"a.txt": "ours\n"})
    with pytest.raises(subprocess.CalledProcessError):
        git(tree.path, "merge", theirs)
    marked = (tree.path / "a.txt").read_text()
    assert await worktrees.remove(tree, "s") == Removed(REF, branch_kept=True)
    assert files_of(repo, REF)["a.txt"] == marked
    assert "<<<<" in marked


async def test_an_autostash_is_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    theirs = commit(repo, {"a.txt": "theirs\n"})
    commit(tree.path, {"a.txt": "ours\n"})
    write(tree.path, {"src/b.txt": "in the middle of something\n"})
    with pytest.raises(subprocess.CalledProcessError):
        git(tree.path, "rebase", "--autostash", theirs)
    await worktrees.remove(tree, "s")
    found = [git(repo, "show", f"{name}:src/b.txt") for name in git(repo, "rev-list", REF).split()]
    assert "in the middle of something" in found


async def test_a_branch_without_a_commit_is_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    git(tree.path, "checkout", "-q", "--orphan", "fresh")
    write(tree.path, {"a.txt": "new start\n"})
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF)["a.txt"] == "new start\n"


@pytest.mark.parametrize("flag", ["--assume-unchanged", "--skip-worktree"])
async def test_edits_that_git_was_told_not_to_see_are_rescued(
    worktrees: Worktrees, repo: Path, tree: Worktree, flag: str
) -> None:
    git(tree.path, "update-index", flag, "a.txt")
    write(tree.path, {"a.txt": "quietly\n"})
    assert git(tree.path, "status", "--porcelain") == ""
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF)["a.txt"] == "quietly\n"


async def test_an_edit_of_the_same_size_in_the_same_moment_is_seen(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tree.path, {"a.txt": "b\n"})
    assert await worktrees.remove(tree, "s") == RESCUED


async def test_a_large_file_is_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    (tree.path / "large").write_bytes(b"0123456789abcdef" * (40 << 16))
    assert await worktrees.remove(tree, "s") == RESCUED
    assert git(repo, "cat-file", "-s", f"{REF}:large") == str(40 << 20)


async def test_files_whose_times_alone_changed_are_no_edits(worktrees: Worktrees, tree: Worktree) -> None:
    os.utime(tree.path / "a.txt")
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)


@pytest.mark.parametrize("damage", ["garbage", "split", "locked", "none"])
async def test_whatever_happened_to_its_index_the_edits_are_rescued(
    worktrees: Worktrees, repo: Path, tree: Worktree, damage: str
) -> None:
    write(tree.path, {"a.txt": "edited\n"})
    own = repo / ".git" / "worktrees" / tree.id
    if damage == "garbage":
        (own / "index").write_bytes(b"DIRC garbage")
    elif damage == "split":
        git(tree.path, "update-index", "--split-index")
    elif damage == "locked":
        (own / "index.lock").write_bytes(b"")
    else:
        (own / "index").unlink()
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF) == AS_MADE | {"a.txt": "edited\n"}
    assert not own.exists()


async def test_a_tree_that_was_half_removed_has_the_rest_rescued(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tree.path, {"src/b.txt": "edited\n"})
    (tree.path / ".git").unlink()
    (tree.path / "a.txt").unlink()
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF) == {"src/b.txt": "edited\n"}


async def test_a_tree_that_git_has_forgotten_is_rescued(worktrees: Worktrees, repo: Path, tree: Worktree) -> None:
    made = commit(tree.path, {"c": "c"})
    write(tree.path, {"c": "edited"})
    shutil.rmtree(repo / ".git" / "worktrees")
    assert await worktrees.remove(tree, "s") == Removed(REF, branch_kept=True)
    assert git(repo, "rev-parse", f"{REF}^") == made
    assert files_of(repo, REF) == AS_MADE | {"c": "edited"}


async def test_of_a_tree_that_somebody_deleted_what_was_staged_is_rescued(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tree.path, {"c": "staged"})
    git(tree.path, "add", "c")
    shutil.rmtree(tree.path)
    assert await worktrees.remove(tree, "s") == RESCUED
    assert files_of(repo, REF) == AS_MADE | {"c": "staged"}
    assert not (repo / ".git" / "worktrees").exists()


async def test_a_tree_that_somebody_deleted_is_nothing_to_rescue(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    shutil.rmtree(tree.path)
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)
    assert refs(repo).keys() == {"refs/heads/main"}


async def test_what_was_rescued_under_the_same_name_before_is_not_overwritten(
    worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    git(repo, "update-ref", REF, commit(repo, {"earlier": "e"}))
    git(repo, "reset", "-q", "--hard", "HEAD~1")
    write(tree.path, {"later": "l"})
    assert await worktrees.remove(tree, "s") == RESCUED
    assert git(repo, "show", f"{REF}:later") == "l"
    assert "e" in [git(repo, "show", f"{name}:earlier") for name in git(repo, "rev-list", f"{REF}^2").split()[:1]]


async def test_a_link_in_the_place_of_a_tree_is_not_followed(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tmp_path / "home", {"private": "p"})
    tree.path.rename(tmp_path / "away")
    tree.path.symlink_to(tmp_path / "home")
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=False)
    assert contents(tmp_path / "home") == {"private": "p"}
    assert not shown(worktrees.base)


async def test_a_worktree_that_the_user_moved_stays_the_users(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    write(tree.path, {"c": "c"})
    git(repo, "worktree", "move", str(tree.path), str(tmp_path / "mine"))
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=True)
    assert git(tmp_path / "mine", "status", "--porcelain") == "?? c"


async def test_a_tree_with_another_repository_in_it_is_kept_whole(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree
) -> None:
    inner = make_repository(tree.path / "inner")
    write(tree.path, {"c": "c"})
    kept = worktrees.pool / "kept" / "s"
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=True, kept=kept)
    assert not shown(worktrees.base)
    assert git(kept, "status", "--porcelain") == "?? c\n?? inner/"
    assert git(kept, "rev-parse", "--abbrev-ref", "HEAD") == tree.branch
    assert git(kept / inner.name, "log", "--format=%s") == "first"


async def test_a_tree_whose_repository_was_committed_as_a_link_is_kept_whole(
    worktrees: Worktrees, tree: Worktree
) -> None:
    make_repository(tree.path / "inner")
    commit(tree.path, {})
    assert (await worktrees.remove(tree, "s")).kept == worktrees.pool / "kept" / "s"


@pytest.mark.parametrize("then", ["nothing", "another repository"])
async def test_a_tree_whose_repository_is_gone_is_kept(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree, then: str
) -> None:
    write(tree.path, {"c": "c"})
    repo.rename(tmp_path / "moved")  # noqa: ASYNC240
    if then != "nothing":
        make_repository(repo, {"x": "y"})
    kept = worktrees.pool / "kept" / "s"
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=True, kept=kept)
    assert contents(kept) == AS_MADE | {"c": "c"}
    assert not shown(worktrees.base)
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=True)


async def test_a_tree_is_kept_where_the_disk_of_the_repository_is_full(
    tmp_path: Path, worktrees: Worktrees, repo: Path, tree: Worktree, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tree.path, {"c": "c"})
    (tmp_path / "bin").mkdir()
    full = 'case "$*" in *update-index*) echo "fatal: No space left on device" >&2; exit 128;; esac'
    (tmp_path / "bin" / "git").write_text(f'#!/bin/sh\n{full}\nPATH={os.environ["PATH"]} exec git "$@"\n')
    (tmp_path / "bin" / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    kept = worktrees.pool / "kept" / "s"
    assert await worktrees.remove(tree, "s") == Removed(None, branch_kept=True, kept=kept)
    assert git(kept, "status", "--porcelain") == "?? c"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
async def test_a_tree_with_a_file_that_cannot_be_read_is_kept(worktrees: Worktrees, tree: Worktree) -> None:
    write(tree.path, {"c": "c"})
    (tree.path / "c").chmod(0)
    assert (await worktrees.remove(tree, "s")).kept is not None


async def test_a_worktree_of_an_earlier_base_is_removed_too(tmp_path: Path, worktrees: Worktrees, repo: Path) -> None:
    async with open_worktrees(tmp_path / "old", warm=0) as old:
        tree = await old.create(await old.check(str(repo), None), new_id())
        write(tree.path, {"c": "c"})
    assert await worktrees.remove(tree, "s") == RESCUED
    assert not shown(tmp_path / "old")


async def test_a_name_for_a_session_is_no_way_out_of_the_refs(worktrees: Worktrees, tree: Worktree) -> None:
    write(tree.path, {"c": "c"})
    head = (tree.path / ".git").read_text().removeprefix("gitdir:").strip()
    Path(head, "HEAD").write_text("ref: refs/heads/../../../../etc/passwd\n")  # noqa: ASYNC240
    assert await worktrees.remove(tree, "s") == RESCUED
