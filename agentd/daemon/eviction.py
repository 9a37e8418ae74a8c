"""Sessions that nobody uses are closed. One whose executor is at work is not idle. Contract manager.md, §7."""

from __future__ import annotations

import logging

import attrs
import trio

from agentd.daemon.pool import Managed, Pool
from agentd.errors import AgentdError, SessionNotFound

logger = logging.getLogger(__name__)


@attrs.frozen
class Idleness:
    seconds: float = 900.0  # without a call, after which a session is closed
    interval_seconds: float = 60.0  # between two looks


async def evict_forever(pool: Pool, idleness: Idleness) -> None:
    while True:
        await trio.sleep(idleness.interval_seconds)
        await evict(pool, idleness)


async def evict(pool: Pool, idleness: Idleness) -> None:
    """Close the sessions that are idle now."""
    async with trio.open_nursery() as nursery:
        for managed in pool:
            if _is_idle(pool, managed, idleness):
                nursery.start_soon(_evict, pool, managed, idleness)


def _is_idle(pool: Pool, managed: Managed, idleness: Idleness) -> bool:
    return not managed.calls and pool.clock() - managed.active > idleness.seconds * 1000


async def _evict(pool: Pool, managed: Managed, idleness: Idleness) -> None:
    try:
        if await _is_at_work(managed) or not _is_idle(pool, managed, idleness):  # it may have been called meanwhile
            return
        logger.info("closed: nobody used it for %g s", idleness.seconds, extra={"session": managed.id})
        await pool.delete(managed.id, "idle")
    except SessionNotFound:  # somebody else was faster
        return
    except AgentdError as exc:  # it is looked at again
        logger.warning("idle, and not closed: %s", exc, extra={"session": managed.id})


async def _is_at_work(managed: Managed) -> bool:
    """Raises HttpFailed: its executor does not say."""
    match managed.seat.state:
        case "absent":
            return False
        case "live":
            return await managed.job() is not None
        case _:
            return True
