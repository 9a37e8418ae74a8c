"""What the daemon has, and what is left over while it runs."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agentd.daemon.eviction import Idleness
from agentd.daemon.inventory import SessionBeingMade, collect, storage
from agentd.daemon.opening import open_control, open_pool
from agentd.daemon.plan import Plan
from agentd.daemon.pool import Pool
from agentd.daemon.worktrees import Worktrees
from agentd.store.home import make_home
from agentd.workspace.git import git


@asynccontextmanager
async def pooling(root: Path) -> AsyncIterator[Pool]:
    home = make_home(root / "data")
    idleness = Idleness(900, 60)
    async with (
        open_control(home, Plan(forks=False)) as control,
        open_pool(control, 4, root / "trees", idleness, warm=0) as (pool, _),
    ):
        yield pool


async def leave_a_worktree(pool: Pool, root: Path) -> Path:
    """As a creation does that nobody finished."""
    repo = root / "repo"
    repo.mkdir()
    (repo / "a.txt").write_text("one\n")
    identity = {"user.name": "n", "user.email": "e@example.org"}
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        await git(repo, *words, settings=identity)
    source = await pool.worktrees.check(str(repo), None)
    return (await pool.worktrees.create(source, str(uuid.uuid4()))).path


async def test_what_is_left_over_is_told_and_then_removed(tmp_path: Path) -> None:
    async with pooling(tmp_path) as pool:
        path = await leave_a_worktree(pool, tmp_path)
        [told] = await collect(pool, dry_run=True)
        assert (told.leftover.path, told.leftover.state, told.action) == (path, "clean", "would_remove")
        assert path.exists()
        [done] = await collect(pool, dry_run=False)
        assert (done.action, done.rescued) == ("removed", None)
        assert not path.exists()
        assert await collect(pool, dry_run=False) == []


async def test_work_that_is_left_over_is_rescued_first(tmp_path: Path) -> None:
    async with pooling(tmp_path) as pool:
        path = await leave_a_worktree(pool, tmp_path)
        (path / "a.txt").write_text("two\n")
        [done] = await collect(pool, dry_run=False)
        assert (done.leftover.state, done.action) == ("dirty", "removed")
        assert done.rescued is not None
        assert await git(tmp_path / "repo", "show", f"{done.rescued}:a.txt") == b"two\n"


async def test_nothing_is_removed_while_a_session_is_being_made(tmp_path: Path) -> None:
    async with pooling(tmp_path) as pool:
        path = await leave_a_worktree(pool, tmp_path)
        pool._creating += 1
        with pytest.raises(SessionBeingMade):
            await collect(pool, dry_run=False)
        pool._creating -= 1
        assert path.exists()


async def test_nothing_is_removed_on_the_word_of_a_damaged_registry(tmp_path: Path) -> None:
    async with pooling(tmp_path) as pool:
        path = await leave_a_worktree(pool, tmp_path)
        pool.registry.damaged = 1
        [kept] = await collect(pool, dry_run=False)
        assert (kept.action, path.exists()) == ("kept", True)


async def test_worktrees_are_part_of_what_is_stored(tmp_path: Path) -> None:
    async with pooling(tmp_path) as pool:
        await leave_a_worktree(pool, tmp_path)
        assert isinstance(pool.worktrees, Worktrees)
        assert (await storage(pool.home, pool))["worktrees"]["sessions"] > 0
