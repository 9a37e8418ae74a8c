"""The files by which git knows a linked worktree, handled one by one, so that a kill between any two can be undone."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import trio

from agentd.daemon.plaingit import PlainGit
from agentd.daemon.processes import name_of, users_of
from agentd.daemon.trash import remove_tree
from agentd.daemon.worktree_records import Worktree
from agentd.daemon.worktree_source import common_directory, git_directory
from agentd.errors import GitFailed
from agentd.workspace.git import git

LOCK_SECONDS = 120.0  # longer than any of our commands that locks refs

logger = logging.getLogger(__name__)


def furnish(worktree: Worktree, plain: PlainGit) -> None:
    """Put files and index into what `git worktree add --no-checkout --lock` made. The rename that comes last makes it
    whole, see is_whole(). While it is locked, nobody's `git worktree prune` takes it away. Raises OSError."""
    link = worktree.path / ".git"
    link.rename(plain.tree / ".git")
    directory = plain.recipe.common / "worktrees" / worktree.id
    _move_index(plain.index, directory / "index")
    plain.tree.rename(worktree.path)
    (directory / "locked").unlink()


def _move_index(index: Path, to: Path) -> None:
    os.utime(index)  # nobody has written to the tree: with a younger index git need not read the files again
    try:
        index.rename(to)
    except OSError:  # another file system
        import shutil  # here: it loads three compressors

        half = to.with_name("index.agentd")
        shutil.copyfile(index, half)
        half.rename(to)


def is_whole(worktree: Worktree) -> bool:
    own = git_directory(worktree.path)
    return own is not None and (own / "index").is_file() and (worktree.path / ".git").is_file()


def forget_administration(common: Path, worktree: Worktree) -> None:
    """`git worktree prune`, for one. Raises OSError."""
    directory = common / "worktrees"
    remove_tree(directory / worktree.id)
    try:
        directory.rmdir()  # as git does with an empty one
    except OSError:
        pass


def is_checked_out(common: Path, ref: str) -> bool:
    """By somebody else, in any working tree. Raises OSError."""
    heads = [common / "HEAD", *(common / "worktrees").glob("*/HEAD")]
    return any(head.read_text(errors="replace").strip() == f"ref: {ref}" for head in heads if head.is_file())


def move_away(worktree: Worktree, kept: Path) -> Path | None:
    if not os.path.lexists(worktree.path):
        return None
    kept.parent.mkdir(parents=True, exist_ok=True)
    while os.path.lexists(kept):
        kept = kept.with_name(f"{kept.name}+")
    worktree.path.rename(kept)
    common = common_directory(worktree.repo)
    gitdir = common / "worktrees" / worktree.id / "gitdir" if common else None
    if gitdir and gitdir.is_file():
        gitdir.write_bytes(os.fsencode(kept / ".git") + b"\n")
    return kept


def remove_lock(common: Path, ref: str) -> None:
    """Of a ref that only we write, left by a git that was killed; we hold the lock of the base, so none is at work."""
    (common / f"{ref}.lock").unlink(missing_ok=True)


async def update_ref(common: Path, repo: Path, ref: str, *words: str, lock: int) -> None:
    """`git update-ref`; once more if that was killed, which leaves its locks. *lock*: a descriptor for git to hold.

    Raises GitFailed."""
    began = time.time()
    await trio.to_thread.run_sync(remove_lock, common, ref)
    try:
        await git(repo, "update-ref", *words, pass_fds=(lock,))
    except GitFailed as exc:
        logger.info("once more: %s", exc)
        await trio.to_thread.run_sync(remove_lock, common, ref)
        await trio.to_thread.run_sync(remove_packed_lock, common, repo, began)
        await git(repo, "update-ref", *words, pass_fds=(lock,))


def remove_packed_lock(common: Path, repo: Path, since: float) -> None:
    """The lock of all refs, which git takes to delete one: if it is from the time of a removal that was killed, which
    began at *since*, and no git is at work there now. Left alone it would stop the user's own git. Raises OSError."""
    lock = common / "packed-refs.lock"
    try:
        made = lock.stat().st_mtime
    except FileNotFoundError:
        return
    at_work = [pid for place in (common, repo) for pid in users_of(place, files=False) if name_of(pid) == "git"]
    if not at_work and since - 1 <= made <= since + LOCK_SECONDS:
        lock.unlink(missing_ok=True)
