"""A git worktree for each session: made from committed state, on a branch of its own, and removed without losing work.

The rules: contract manager.md §6 and §9. In the base directory there is one directory for each live session, and
`.pool`, which holds what is being prepared (`work`), what dies (`dying`), what could not be rescued and is therefore
not removed (`kept`), and the records of all worktrees. A repository knows of a worktree only while a session owns it.

Of the user's repository only these are written: `worktrees/<id>`, the branch `agentd/session/<id>`, and objects and a
ref of what is rescued. No hook and no filter runs. What is written there is not interrupted by cancellation, and a git
that outlives a daemon that was killed holds our lock: opening the base again waits for it.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.daemon.inspection import Inspection, has_files, inspect
from agentd.daemon.plaingit import PlainGit, Recipe, read_recipe
from agentd.daemon.prepared import WORK, Prepared
from agentd.daemon.processes import end_process, holders_of, name_of
from agentd.daemon.rescue import store
from agentd.daemon.trash import POOL, Trash, remove_tree
from agentd.daemon.worktree_records import BRANCH, UUID, Record, Records, Worktree
from agentd.daemon.worktree_source import Source, check_source, commits_of, common_directory, git_directory
from agentd.errors import GitFailed, Locked, WorktreeFailed
from agentd.store.files import FileLock, disk
from agentd.workspace.git import git

__all__ = ["Removed", "Source", "Worktree", "Worktrees", "open_worktrees"]

KEPT = "kept"
RECORDS = "records"
ORPHAN_SECONDS = 10.0  # for a git to clean up after itself, when it is asked to end

logger = logging.getLogger(__name__)


@attrs.frozen
class Removed:
    rescued: str | None  # the ref that has what only the worktree had
    branch_kept: bool
    kept: Path | None = None  # where the directory is, since what is in it could not be stored


class Worktrees:
    """Made by open_worktrees()."""

    def __init__(self, base: Path, trash: Trash, prepared: Prepared, lock: int) -> None:
        self.base = base
        self.pool = base / POOL
        self._trash = trash
        self._prepared = prepared
        self._lock = lock
        self._by_id: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._by_repository: defaultdict[Path, trio.Lock] = defaultdict(trio.Lock)

    async def check(self, repo_path: str, ref: str | None) -> Source:
        """Raises InvalidRequest, naming the field and the remedy."""
        return await check_source(repo_path, ref)

    def problem(self) -> str | None:
        """Why the base directory cannot be used now."""
        if not self.base.exists():
            return f"the worktree base directory {self.base} does not exist"
        if not self.base.is_dir():
            return f"the worktree base {self.base} is not a directory"
        if not os.access(self.base, os.W_OK | os.X_OK):
            return f"the worktree base directory {self.base} is not writable"
        return None

    # --- Making ---------------------------------------------------------------------------------------------------

    async def create(self, source: Source, worktree_id: str) -> Worktree:
        """A worktree at the source's commit; for an id that has one already, that one. *worktree_id*: a UUID.

        Raises WorktreeFailed; then, and when it is cancelled, nothing is left."""
        if not UUID.fullmatch(worktree_id):
            raise WorktreeFailed(f"not a UUID: {worktree_id!r}")
        path = self.base / worktree_id
        worktree = Worktree(worktree_id, path, source.repo, BRANCH + worktree_id, source.commit)
        async with self._by_id[worktree_id]:
            try:
                return await self._existing(worktree) or await self._make(worktree, source)
            except GitFailed as exc:
                raise WorktreeFailed(f"no worktree of {source.repo}: {exc}") from exc
            except OSError as exc:
                what = self.problem() or f"{exc.strerror or exc}: {exc.filename or path}"
                raise WorktreeFailed(f"no worktree of {source.repo}: {what}") from exc

    async def _existing(self, worktree: Worktree) -> Worktree | None:
        """What an earlier create() made of this id. A half-made one is taken down first."""
        record = await trio.to_thread.run_sync(self._records(worktree).read, worktree.id)
        if record is None:
            if await trio.to_thread.run_sync(os.path.lexists, worktree.path):
                raise WorktreeFailed(f"{worktree.path} is there already, and is not ours")
            if any(await commits_of(worktree.repo, [f"refs/heads/{worktree.branch}"])):
                raise WorktreeFailed(f"{worktree.repo} has a branch {worktree.branch} already, and it is not ours")
            return None
        if not record.removing and await trio.to_thread.run_sync(_is_whole, record.worktree):
            return record.worktree
        removed = await self._remove(record.worktree, worktree.id)
        if removed.branch_kept:
            raise WorktreeFailed(f"an earlier worktree {worktree.id} was removed, and its branch kept for its commits")
        return None

    async def _make(self, worktree: Worktree, source: Source) -> Worktree:
        recipe = await read_recipe(source)
        plain = await self._prepared.take(recipe, source.commit)
        try:
            with trio.CancelScope(shield=True):
                await self._register(worktree, source, plain)
        finally:
            self._prepared.discard(plain)
        self._prepared.want(recipe, source.commit)
        return worktree

    async def _register(self, worktree: Worktree, source: Source, plain: PlainGit) -> None:
        common = plain.recipe.common
        async with self._by_repository[common]:
            await trio.to_thread.run_sync(self._records(worktree).write, Record(worktree))
            try:
                await git(
                    *(source.top, "worktree", "add", "--quiet", "--no-checkout", "--lock", "--no-track"),
                    *("-b", worktree.branch, str(worktree.path), worktree.commit),
                    pass_fds=(self._lock,),
                )
                await trio.to_thread.run_sync(_furnish, worktree, plain)
            except BaseException:
                await self._unregister(worktree, common, worktree.commit)
                raise

    # --- Removing -------------------------------------------------------------------------------------------------

    async def remove(self, worktree: Worktree, session_id: str) -> Removed:
        """Store what only it has, and have it gone: renamed away and unregistered; the files are removed behind.

        Doing it again is safe. What cannot be stored is kept where the answer says. What git or the disk refuse is
        not raised, but logged."""
        async with self._by_id[worktree.id]:
            return await self._remove(worktree, session_id)

    async def _remove(self, worktree: Worktree, session_id: str) -> Removed:
        try:
            return await self._take_down(worktree, session_id)
        except (GitFailed, OSError) as exc:
            logger.warning("the worktree %s is not removed, but kept: %s", worktree.path, exc)
        try:
            return await self._keep(worktree, session_id)
        except OSError as exc:
            logger.error("the worktree %s cannot be moved: %s", worktree.path, exc)
        return Removed(None, branch_kept=True, kept=worktree.path)

    async def _take_down(self, worktree: Worktree, session_id: str) -> Removed:
        record = await trio.to_thread.run_sync(self._records(worktree).read, worktree.id)
        files = await trio.to_thread.run_sync(has_files, worktree.path)
        rescued_already = record is not None and record.removing and not files
        work = worktree.path.parent / POOL / WORK
        found = await inspect(worktree, session_id, work, content=not rescued_already)
        if found is None:
            raise GitFailed(f"its repository {worktree.repo} is gone")
        try:
            if found.nested:
                logger.warning("the worktree %s holds other repositories, so it is kept", worktree.path)
                return await self._keep(worktree, session_id)
            rescued = await store(found, session_id, self._lock)
        finally:
            self._clear_work(found)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(self._records(worktree).mark_removing, worktree)
            async with self._by_repository[found.common]:
                branch = None if found.branch_needed or found.elsewhere else found.tip
                kept = await self._unregister(worktree, found.common, branch, registered=not found.elsewhere)
        return Removed(rescued, branch_kept=kept)

    def _clear_work(self, found: Inspection) -> None:
        for plain in (found.plain, found.staged):
            if plain is not None:
                self._trash.bury(plain.directory.parent, plain.directory.parent.parent.parent)

    async def _unregister(
        self, worktree: Worktree, common: Path, branch_at: str | None, *, registered: bool = True
    ) -> bool:
        """Whether there still is a branch. *branch_at*: delete the branch if it is that commit; None: keep it."""
        self._trash.bury(worktree.path, worktree.path.parent / POOL)
        if registered:
            await trio.to_thread.run_sync(_forget_administration, common, worktree)
        kept = await self._delete_branch(worktree, common, branch_at)
        await trio.to_thread.run_sync(self._records(worktree).forget, worktree.id)
        return kept

    async def _delete_branch(self, worktree: Worktree, common: Path, commit: str | None) -> bool:
        ref = f"refs/heads/{worktree.branch}"
        await trio.to_thread.run_sync(partial((common / f"{ref}.lock").unlink, missing_ok=True))  # left by a kill
        if commit is None or await trio.to_thread.run_sync(_is_checked_out, common, ref):
            return any(await commits_of(worktree.repo, [ref]))
        try:
            # `git branch -D` would rewrite the user's configuration.
            await git(worktree.repo, "update-ref", "-d", ref, commit, pass_fds=(self._lock,))
        except GitFailed as exc:
            if any(await commits_of(worktree.repo, [ref])):
                logger.warning("the branch %s of %s is kept: %s", worktree.branch, worktree.repo, exc)
                return True
        return False

    async def _keep(self, worktree: Worktree, session_id: str) -> Removed:
        """Move the directory out of the way, whole; where there still is a repository it stays a worktree of that.

        Raises OSError."""
        kept = worktree.path.parent / POOL / KEPT / session_id
        with trio.CancelScope(shield=True):
            place = await trio.to_thread.run_sync(_move_away, worktree, kept)
            await trio.to_thread.run_sync(self._records(worktree).forget, worktree.id)
        return Removed(None, branch_kept=True, kept=place)

    def _records(self, worktree: Worktree) -> Records:
        return Records(worktree.path.parent / POOL / RECORDS)


# --- The files of a registration ----------------------------------------------------------------------------------


def _furnish(worktree: Worktree, plain: PlainGit) -> None:
    """Put files and index into what `git worktree add --no-checkout --lock` made. The rename that comes last makes it
    whole, see _is_whole(). While it is locked, nobody's `git worktree prune` takes it away. Raises OSError."""
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


def _is_whole(worktree: Worktree) -> bool:
    own = git_directory(worktree.path)
    return own is not None and (own / "index").is_file() and (worktree.path / ".git").is_file()


def _forget_administration(common: Path, worktree: Worktree) -> None:
    """`git worktree prune`, for one. Raises OSError."""
    directory = common / "worktrees"
    remove_tree(directory / worktree.id)
    try:
        directory.rmdir()  # as git does with an empty one
    except OSError:
        pass


def _is_checked_out(common: Path, ref: str) -> bool:
    """By somebody else, in any working tree. Raises OSError."""
    heads = [common / "HEAD", *(common / "worktrees").glob("*/HEAD")]
    return any(head.read_text(errors="replace").strip() == f"ref: {ref}" for head in heads if head.is_file())


def _move_away(worktree: Worktree, kept: Path) -> Path | None:
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


# --- Opening ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def open_worktrees(base: Path, *, warm: int = 1) -> AsyncIterator[Worktrees]:
    """The worktrees below *base*, which is made if it is not there. *warm*: trees to keep ready for each repository.

    One process at a time may have a base: raises Locked, naming it, and StoreFailed where the disk refuses."""
    lock = await trio.to_thread.run_sync(_open_base, base)
    try:
        base = base.resolve()  # noqa: ASYNC240  # once
        trash = Trash()
        prepared = Prepared(base, trash, warm, lock.fileno())
        await trio.to_thread.run_sync(_sweep, base / POOL, trash)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trash.serve)
            nursery.start_soon(prepared.serve)
            yield Worktrees(base, trash, prepared, lock.fileno())
            nursery.cancel_scope.cancel()
    finally:
        lock.release()


def _open_base(base: Path) -> FileLock:
    """Waits for what git began for a daemon that was killed: it holds the lock as well."""
    what = f"the worktree base directory {base}"
    with disk(f"make {what}"):
        (base / POOL).mkdir(parents=True, exist_ok=True)
    path = base.resolve() / POOL / "lock"
    try:
        return FileLock.acquire(path, what)
    except Locked:
        orphans = [pid for pid in holders_of(path) if name_of(pid) == "git"]
        if len(orphans) < len(holders_of(path)):
            raise
        for pid in orphans:
            end_process(pid)
        return FileLock.acquire(path, what, wait_seconds=ORPHAN_SECONDS)


def _sweep(pool: Path, trash: Trash) -> None:
    """What an earlier process prepared or was about to remove. Raises OSError."""
    with disk(f"use {pool}"):
        trash.sweep(pool)
        for name in os.listdir(pool / WORK) if (pool / WORK).is_dir() else ():
            trash.bury(pool / WORK / name, pool)
