"""Working trees that are checked out before anybody asks for them, and those that are checked out because one does.

They lie in the hidden directory of the base, and the repository knows nothing of them. A prepared tree is brought to
the commit that is wanted by moving only what differs. Few are kept, none for long, and none where the disk is nearly
full. Those of an earlier process are not trusted: a power loss may have torn them.
"""

from __future__ import annotations

import logging
import math
import os
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.daemon.plaingit import CHECKOUT_SECONDS, PlainGit, Recipe, open_plain
from agentd.daemon.trash import POOL, Trash
from agentd.errors import GitFailed

WORK = "work"
AT_ONCE = 4  # checkouts; each has WORKERS processes
REPOSITORIES = 4  # that trees are kept ready for
IDLE_SECONDS = 900.0  # after the last session of a repository
CALM_SECONDS = 1.0  # after the last creation: what it is made for starts first
FREE_SHARE = 0.1  # of the disk, below which nothing is prepared

logger = logging.getLogger(__name__)


@attrs.frozen
class Ready:
    plain: PlainGit
    commit: str  # that the tree is


@attrs.define
class Use:
    """Of one repository, lately."""

    recipe: Recipe
    commit: str
    until: float
    ready: list[Ready] = attrs.field(factory=list)


class Prepared:
    """serve() is its task: without it every tree is made when it is asked for."""

    def __init__(self, base: Path, trash: Trash, warm: int, lock: int) -> None:
        self._pool = base / POOL
        self._trash = trash
        self._warm = warm
        self._lock = lock  # git holds it too, so that an orphan of ours is noticed
        self._uses: dict[Path, Use] = {}
        self._more = trio.Event()
        self._checkouts = trio.Semaphore(AT_ONCE)
        self._calm_at = 0.0  # nothing is prepared before this

    async def take(self, recipe: Recipe, commit: str) -> PlainGit:
        """A tree of *commit* with its index; give it to discard() when both were moved away, or are not wanted.

        Raises GitFailed, OSError; then, and when it is cancelled, nothing is left."""
        ready = self._pop(recipe)
        self._stay_calm()
        if ready and await self._move(ready, commit):
            return ready.plain
        return await self._check_out(recipe, commit)

    def _stay_calm(self) -> None:
        self._calm_at = trio.current_time() + CALM_SECONDS
        self._more.set()

    def discard(self, plain: PlainGit) -> None:
        self._trash.drop(plain.directory.parent, self._pool)

    def want(self, recipe: Recipe, commit: str) -> None:
        """Keep trees of this repository ready for a while."""
        use = self._uses.pop(recipe.common, None)
        for ready in use.ready if use and use.recipe != recipe else ():
            self.discard(ready.plain)
        kept = use.ready if use and use.recipe == recipe else []
        self._uses[recipe.common] = Use(recipe, commit, trio.current_time() + IDLE_SECONDS, kept)  # the youngest last
        while len(self._uses) > REPOSITORIES:
            self._drop(next(iter(self._uses)))
        self._stay_calm()

    async def serve(self) -> None:
        while self._warm:
            now = trio.current_time()
            for common in [common for common, use in self._uses.items() if use.until <= now]:
                self._drop(common)
            self._more = trio.Event()
            missing = next((use for use in self._uses.values() if len(use.ready) < self._warm), None)
            if missing and self._calm_at <= now:
                await self._prepare(missing)
                continue
            times = [use.until for use in self._uses.values()] + ([self._calm_at] if missing else [])
            with trio.move_on_at(min(times, default=math.inf)):
                await self._more.wait()

    @property
    def count(self) -> int:
        """Trees that are ready."""
        return sum(len(use.ready) for use in self._uses.values())

    def _pop(self, recipe: Recipe) -> Ready | None:
        use = self._uses.get(recipe.common)
        return use.ready.pop() if use and use.ready and use.recipe == recipe else None

    def _drop(self, common: Path) -> None:
        for ready in self._uses.pop(common).ready:
            self.discard(ready.plain)

    async def _prepare(self, use: Use) -> None:
        commit = use.commit
        try:
            if await trio.to_thread.run_sync(has_room, self._pool):
                plain = await self._check_out(use.recipe, commit)
                if self._uses.get(use.recipe.common) is use:
                    use.ready.append(Ready(plain, commit))
                else:
                    self._give_on(plain, commit)
                return
        except (GitFailed, OSError) as exc:
            logger.warning("no worktree of %s is kept ready: %s", use.recipe.common, exc)
        if self._uses.get(use.recipe.common) is use:
            self._drop(use.recipe.common)

    def _give_on(self, plain: PlainGit, commit: str) -> None:
        """To the use that took the place of the one it was prepared for."""
        use = self._uses.get(plain.recipe.common)
        if use and use.recipe == plain.recipe:
            use.ready.append(Ready(plain, commit))
        else:
            self.discard(plain)

    async def _check_out(self, recipe: Recipe, commit: str) -> PlainGit:
        async with self._checkouts:
            plain = await trio.to_thread.run_sync(open_plain, self._pool / WORK, recipe)
            try:
                await self._read_tree(plain, commit)
            except BaseException:
                self.discard(plain)
                raise
            return plain

    async def _move(self, ready: Ready, commit: str) -> bool:
        """Bring a prepared tree to *commit*. False: it is gone, since it cannot be brought there."""
        if ready.commit == commit:
            return True
        try:
            names = await ready.plain.git("diff-tree", "-r", "-z", "--name-only", ready.commit, commit)
            if not any(name.rpartition(b"/")[2] == b".gitattributes" for name in names.split(b"\0")):
                await self._read_tree(ready.plain, ready.commit, commit)
                return True
        except GitFailed as exc:
            logger.info("a prepared worktree could not be brought to %s: %s", commit, exc)
        except BaseException:
            self.discard(ready.plain)
            raise
        self.discard(ready.plain)  # attributes decide over files that did not change themselves
        return False

    async def _read_tree(self, plain: PlainGit, *commits: str) -> None:
        read = partial(plain.git, seconds=CHECKOUT_SECONDS, pass_fds=(self._lock,))
        await read("read-tree", "-m", "-u", *commits)


def has_room(pool: Path) -> bool:
    disk = os.statvfs(pool)
    return disk.f_bavail >= disk.f_blocks * FREE_SHARE
