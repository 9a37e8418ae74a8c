"""What faces with executors share, and the pool of the session manager on top of it: how they begin and end."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd.daemon.asks import Asks
from agentd.daemon.eviction import Idleness, evict_forever
from agentd.daemon.executors import Plan, Seats, open_seats
from agentd.daemon.launchfile import Reaped, reap_leftovers
from agentd.daemon.listing import Listing
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report, recover, resume
from agentd.daemon.registry import Registry
from agentd.daemon.sessions import Sessions
from agentd.daemon.settings import MOST_EXECUTORS
from agentd.daemon.worktrees import open_worktrees
from agentd.errors import AgentdError
from agentd.store.home import Home

logger = logging.getLogger(__name__)


@attrs.frozen
class Control:
    """Which sessions there are, and their executors. There is one for a data directory."""

    home: Home
    registry: Registry
    seats: Seats
    reaped: Sequence[Reaped] = ()  # what an earlier daemon had left of executors


@asynccontextmanager
async def open_control(home: Home, plan: Plan) -> AsyncIterator[Control]:
    """For whoever has the lock of *home*. Leaving the block ends the executors, all at once; sessions stay.

    Raises StoreFailed."""
    reaped = await reap_leftovers(home)
    registry = Registry(home.root_log)
    await trio.to_thread.run_sync(registry.load)
    async with open_seats(plan) as seats:
        yield Control(home, registry, seats, reaped)


@attrs.frozen
class Work:
    """What is done in sessions, whatever their face, and what is asked there. There is one for a daemon."""

    sessions: Sessions
    asks: Asks


@asynccontextmanager
async def open_work(
    control: Control,
    listing: Listing,
    pool: Pool | None = None,
    *,
    most: int = MOST_EXECUTORS,
    budget_of: Callable[[str], float | None] = lambda owner: None,
) -> AsyncIterator[Work]:
    """The sessions of *control*, and those of *pool*, if the session manager is on. *most*: executors of sessions in
    place; *budget_of*: USD that what an owner makes may cost, None for no limit. What was left of sessions is looked
    after behind; `sessions.recovered` says when that is done."""
    async with trio.open_nursery() as nursery:
        sessions = Sessions(control.home, control.registry, control.seats, pool, listing, nursery, most, budget_of)
        work = Work(sessions, Asks(sessions, nursery))
        nursery.start_soon(_recover, sessions)
        nursery.start_soon(work.asks.expire_forever)
        try:
            yield work
        finally:
            sessions.close()
            nursery.cancel_scope.cancel()


async def _recover(sessions: Sessions) -> None:
    try:
        await sessions.recover()
    except AgentdError as exc:
        logger.error("what was left of sessions is not looked at: %s", exc)


@asynccontextmanager
async def open_pool(
    control: Control, size: int, base: Path, idleness: Idleness, *, warm: int = 1
) -> AsyncIterator[tuple[Pool, Report]]:
    """A pool with the sessions that were there, and what was found. *base*: where worktrees are; *warm*: trees to keep
    ready for each repository. Its requests have to end before the block does.

    Raises Locked, saying who has *base*; StoreFailed."""
    async with open_worktrees(base, warm=warm) as worktrees, trio.open_nursery() as nursery:
        pool = Pool(size, control.home, control.registry, worktrees, control.seats, nursery)
        report = await recover(pool, control.reaped)
        logger.info("%s", report.line())
        for told in report.left:
            logger.warning("left alone: %s", told)
        nursery.start_soon(resume, pool, report)
        nursery.start_soon(evict_forever, pool, idleness)
        yield pool, report
        pool.hurry()
        nursery.cancel_scope.cancel()
