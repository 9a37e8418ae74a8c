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
import stat
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import attrs
import trio

from agentd.daemon.inspection import Inspection, has_files, inspect
from agentd.daemon.leftovers import Leftover, children, classify, measure, recognize
from agentd.daemon.plaingit import PlainGit, Recipe, read_recipe
from agentd.daemon.prepared import WORK, Prepared
from agentd.daemon.processes import end_process, holders_of, name_of
from agentd.daemon.rescue import store
from agentd.daemon.trash import DYING, POOL, Trash
from agentd.daemon.worktree_files import (
    forget_administration,
    furnish,
    is_checked_out,
    is_whole,
    move_away,
    remove_lock,
    remove_packed_lock,
    update_ref,
)
from agentd.daemon.worktree_records import BRANCH, UUID, Record, Records, Worktree
from agentd.daemon.worktree_source import Source, check_source, commits_of
from agentd.errors import GitFailed, Locked, WorktreeFailed
from agentd.store.files import FileLock, disk, sweep
from agentd.workspace.git import git

__all__ = ["Leftover", "Removed", "Source", "Worktree", "Worktrees", "open_worktrees"]

KEPT = "kept"
RECORDS = "records"
PROMISOR = r"^(remote\..*\.promisor|extensions\.partialclone)$"  # settings of a clone that fetches as it goes
DYING_SECONDS = 2.0  # for a daemon that was killed to be gone
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
        self._recipes: dict[str, Recipe] = {}  # of the worktrees that were made here
        self._by_id: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._by_repository: defaultdict[Path, trio.Lock] = defaultdict(trio.Lock)

    async def check(self, repo_path: str, ref: str | None) -> Source:
        """Raises InvalidRequest, naming the field and the remedy."""
        return await check_source(repo_path, ref)

    def problem(self) -> str | None:
        """Why the base directory cannot be used now."""
        try:
            if not stat.S_ISDIR(self.base.stat().st_mode):
                return f"the worktree base {self.base} is not a directory"
        except OSError as exc:
            return f"the worktree base directory {self.base} cannot be used: {exc.strerror}"
        if not os.access(self.base, os.W_OK | os.X_OK):
            return f"the worktree base directory {self.base} is not writable"
        return None

    # --- Looking --------------------------------------------------------------------------------------------------

    async def leftovers(self, owned: Collection[Path]) -> list[Leftover]:
        """The worktrees of the base that are none of *owned*, the smallest id first; also those without a directory,
        of a step that was killed. A directory that is not named by a UUID is nobody's business."""
        records = {record.worktree.path: record.worktree for record in await trio.to_thread.run_sync(self._all)}
        paths = await trio.to_thread.run_sync(children, self.base)
        found = []
        for path in sorted({*records, *paths} - set(owned)):
            worktree = records.get(path) or await trio.to_thread.run_sync(recognize, path)
            with self._work(path) as work:
                found.append(await classify(path, worktree, work))
        return found

    async def clear(self, leftover: Leftover) -> Removed:
        """As remove(), under the name of the worktree. What is alive, or was never ours, is left where it is."""
        record = await trio.to_thread.run_sync(Records(self.pool / RECORDS).read, leftover.path.name)
        worktree = record.worktree if record else await trio.to_thread.run_sync(recognize, leftover.path)
        if leftover.state == "alive" or worktree is None or (record is None and leftover.state == "unknown"):
            return Removed(None, branch_kept=True, kept=leftover.path)
        return await self.remove(worktree, worktree.id)

    @property
    def prepared(self) -> int:
        """Trees that are ready for somebody who asks."""
        return self._prepared.count

    async def usage(self) -> dict[str, int]:
        """Bytes on disk by what they are for."""
        places = {"sessions": self.base, "prepared": self.pool / WORK, "dying": self.pool / DYING}
        return await trio.to_thread.run_sync(measure, places | {"kept": self.pool / KEPT})

    def _all(self) -> list[Record]:
        return Records(self.pool / RECORDS).all()

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
                raise WorktreeFailed(f"no worktree of {source.repo}: {exc}{await _hint(source)}") from exc
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
        if not record.removing and await trio.to_thread.run_sync(is_whole, record.worktree):
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
        self._recipes[worktree.id] = recipe
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
                await trio.to_thread.run_sync(furnish, worktree, plain)
            except BaseException:
                await self._unregister(worktree, common, worktree.commit)
                raise

    # --- Removing -------------------------------------------------------------------------------------------------

    async def remove(self, worktree: Worktree, session_id: str) -> Removed:
        """Store what only it has, and have it gone: renamed away and unregistered; the files are removed behind.

        Doing it again is safe. What cannot be stored is kept where the answer says. What git or the disk refuse is
        not raised, but logged."""
        async with self._by_id[worktree.id]:
            removed = await self._remove(worktree, session_id)
        if not self._by_id[worktree.id].locked():  # nobody waits to do it again
            del self._by_id[worktree.id]
        self._recipes.pop(worktree.id, None)
        return removed

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
        with self._work(worktree.path) as work:
            found = await self._inspect(worktree, session_id, work, content=not rescued_already)
            if found.content.nested:
                logger.warning("the worktree %s holds other repositories, so it is kept", worktree.path)
                return await self._keep(worktree, session_id)
            rescued = await store(found, session_id, self._lock)
        commits = found.commits
        with trio.CancelScope(shield=True):
            async with self._by_repository[found.common]:
                if record and record.removing:
                    await trio.to_thread.run_sync(remove_packed_lock, found.common, worktree.repo, record.since)
                branch = None if commits.branch_needed or found.elsewhere else commits.tip
                kept = await self._unregister(worktree, found.common, branch, registered=not found.elsewhere)
        return Removed(rescued, branch_kept=kept)

    @contextmanager
    def _work(self, path: Path) -> Iterator[Path]:
        pool = path.parent / POOL
        work = pool / WORK / str(uuid.uuid4())
        try:
            yield work
        finally:
            self._trash.drop(work, pool)

    async def _inspect(self, worktree: Worktree, session_id: str, work: Path, *, content: bool = True) -> Inspection:
        recipe = self._recipes.get(worktree.id)
        found = await inspect(worktree, session_id, work, recipe=recipe, content=content)
        if found is None:
            raise GitFailed(f"its repository {worktree.repo} is gone")
        return found

    async def _unregister(
        self, worktree: Worktree, common: Path, branch_at: str | None, *, registered: bool = True
    ) -> bool:
        """Whether there still is a branch. *branch_at*: delete the branch if it is that commit; None: keep it."""
        await trio.to_thread.run_sync(self._records(worktree).mark_removing, worktree)
        self._trash.bury(worktree.path, worktree.path.parent / POOL)
        if registered:
            await trio.to_thread.run_sync(forget_administration, common, worktree)
        kept = await self._delete_branch(worktree, common, branch_at)
        await trio.to_thread.run_sync(self._records(worktree).forget, worktree.id)
        return kept

    async def _delete_branch(self, worktree: Worktree, common: Path, commit: str | None) -> bool:
        ref = f"refs/heads/{worktree.branch}"
        if commit is None or await trio.to_thread.run_sync(is_checked_out, common, ref):
            await trio.to_thread.run_sync(remove_lock, common, ref)
            return any(await commits_of(worktree.repo, [ref]))
        try:
            # `git branch -D` would rewrite the user's configuration.
            await update_ref(common, worktree.repo, ref, "-d", ref, commit, lock=self._lock)
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
            place = await trio.to_thread.run_sync(move_away, worktree, kept)
            await trio.to_thread.run_sync(self._records(worktree).forget, worktree.id)
        return Removed(None, branch_kept=True, kept=place)

    def _records(self, worktree: Worktree) -> Records:
        return Records(worktree.path.parent / POOL / RECORDS)


async def _hint(source: Source) -> str:
    """What helps where objects are missing, since nothing is fetched here."""
    try:
        if await git(source.top, "config", "--get-regexp", PROMISOR, ok=(0, 1)):
            return f"; it is a partial clone: `git checkout {source.commit}` there once fetches what this commit needs"
    except GitFailed:
        pass  # then that is not what is wrong
    return ""


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
    """Waits for what a daemon that was killed had begun: its git holds the lock as well, and is asked to end if need
    be. Raises Locked, StoreFailed."""
    what = f"the worktree base directory {base}"
    with disk(f"make {what}"):
        (base / POOL).mkdir(parents=True, exist_ok=True)
    path = base.resolve() / POOL / "lock"
    try:
        return FileLock.acquire(path, what, wait_seconds=DYING_SECONDS)
    except Locked:
        holders = holders_of(path)
        if not holders or any(name_of(pid) != "git" for pid in holders):  # a daemon that lives, or one we cannot see
            raise
        for pid in holders:
            end_process(pid)
        return FileLock.acquire(path, what, wait_seconds=ORPHAN_SECONDS)


def _sweep(pool: Path, trash: Trash) -> None:
    """What an earlier process prepared or was about to remove. Raises OSError."""
    with disk(f"use {pool}"):
        sweep(pool / RECORDS)
        trash.sweep(pool)
        for prepared in (pool / WORK).iterdir() if (pool / WORK).is_dir() else ():
            trash.bury(prepared, pool)
