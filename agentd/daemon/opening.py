"""How a daemon begins and ends: what all its faces share, and the pool of the session manager on top of that."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.daemon.eviction import Idleness, evict_forever
from agentd.daemon.executors import Plan, Seats, open_seats
from agentd.daemon.launchfile import Reaped, reap_leftovers
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report, recover, resume
from agentd.daemon.registry import Registry
from agentd.daemon.worktrees import open_worktrees
from agentd.store.home import Home

logger = logging.getLogger(__name__)


@attrs.frozen
class Daemon:
    """What the faces of one daemon share. There is one daemon for a data directory."""

    home: Home
    registry: Registry
    seats: Seats
    reaped: Sequence[Reaped] = ()  # executors that an earlier daemon had left


@asynccontextmanager
async def open_daemon(home: Home, plan: Plan) -> AsyncIterator[Daemon]:
    """Owns the data directory, and the executors. Leaving the block ends them, all at once; sessions stay.

    Raises Locked, saying who has the directory; StoreFailed."""
    with home.lock():
        reaped = await reap_leftovers(home)
        await trio.to_thread.run_sync(home.sweep)
        registry = Registry(home.root_log)
        await trio.to_thread.run_sync(registry.load)
        async with open_seats(plan) as seats:
            yield Daemon(home, registry, seats, reaped)


@asynccontextmanager
async def open_pool(
    daemon: Daemon, size: int, base: Path, idleness: Idleness, *, warm: int = 1
) -> AsyncIterator[tuple[Pool, Report]]:
    """A pool with the sessions that were there, and what was found. *base*: where worktrees are; *warm*: trees to keep
    ready for each repository. Its requests have to end before the block does.

    Raises Locked, saying who has *base*; StoreFailed."""
    async with open_worktrees(base, warm=warm) as worktrees, trio.open_nursery() as nursery:
        pool = Pool(size, daemon.home, daemon.registry, worktrees, daemon.seats, nursery)
        report = await recover(pool, daemon.reaped)
        logger.info("%s", report.line())
        for told in report.left:
            logger.warning("left alone: %s", told)
        nursery.start_soon(resume, pool, report)
        nursery.start_soon(evict_forever, pool, idleness)
        yield pool, report
        pool.hurry()
        nursery.cancel_scope.cancel()
