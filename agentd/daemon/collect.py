"""What nobody owns any more in a data directory that no daemon has: worktrees, sessions, caches. `agentd gc`.

Finding changes nothing that anybody could want. Removing is what a start of the daemon does too, see recovery.py: work
that is not committed is rescued into the repository first, and what somebody works in stays.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.daemon.executors import open_seats
from agentd.daemon.launchfile import reap_leftovers
from agentd.daemon.leftovers import disk_usage
from agentd.daemon.plan import Plan
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report, owned, recover, strays
from agentd.daemon.registry import Registry
from agentd.daemon.worktrees import open_worktrees
from agentd.store.home import Home

CACHE_SECONDS = 30 * 24 * 3600.0  # for which nothing looked at a cache


@attrs.frozen
class Garbage:
    kind: str  # worktree, session, cache
    state: str  # of a worktree: see Leftover; of a session: half-made, half-removed; of a cache: unused
    path: Path
    bytes: int


@asynccontextmanager
async def open_idle_pool(home: Home, base: Path) -> AsyncIterator[Pool]:
    """A pool that has taken no session in yet, and starts nothing. For whoever has the lock of *home*; *base*: where
    worktrees are. Raises Locked, StoreFailed."""
    registry = Registry(home.root_log)
    await trio.to_thread.run_sync(registry.load)
    async with (
        open_seats(Plan(forks=False)) as seats,
        open_worktrees(base, warm=0) as worktrees,
        trio.open_nursery() as nursery,
    ):
        yield Pool(1, home, registry, worktrees, seats, nursery)


async def find_garbage(pool: Pool) -> list[Garbage]:
    """Of an idle pool. Raises StoreFailed."""
    found = await trio.to_thread.run_sync(lambda: [*_sessions(pool), *_caches(pool.home)])
    leftovers = await pool.worktrees.leftovers(owned(pool))
    return [*(Garbage("worktree", each.state, each.path, each.bytes) for each in leftovers), *found]


async def remove_garbage(pool: Pool) -> Report:
    """All that find_garbage() finds, but for worktrees that are alive or not known. Raises StoreFailed."""
    report = await recover(pool, await reap_leftovers(pool.home))
    await trio.to_thread.run_sync(_remove_caches, pool.home)
    return report


def _sessions(pool: Pool) -> Iterator[Garbage]:
    for session_id in pool.registry.leaving:
        path = pool.home.sessions_path / session_id
        yield Garbage("session", "half-removed", path, disk_usage(path))
    for session in () if pool.registry.damaged else strays(pool):  # its word is not to be relied upon
        yield Garbage("session", "half-made", session.path, disk_usage(session.path))


def _caches(home: Home) -> Iterator[Garbage]:
    """Indexes of workspaces: they are made again when they are needed."""
    for path in sorted((home.root / "workspaces").glob("*/symbols")):
        if time.time() - max(each.stat().st_mtime for each in (path, *path.rglob("*"))) > CACHE_SECONDS:
            yield Garbage("cache", "unused", path, disk_usage(path))


def _remove_caches(home: Home) -> None:
    import shutil  # here: it loads three compressors

    for cache in _caches(home):
        shutil.rmtree(cache.path, ignore_errors=True)
