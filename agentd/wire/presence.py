"""Work for a client that is worth nothing to anybody else: it is dropped when the client hangs up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

import trio

from agentd.wire.messages import Hangup
from agentd.wire.transport import GONE

T = TypeVar("T")
WaitGone = Callable[[], Awaitable[None]]


async def while_there(wait_gone: WaitGone | None, work: Callable[[], Awaitable[T]]) -> T:
    """What *work* returns or raises, bare. If the client leaves first, *work* is cancelled, and then Hangup is raised.

    *wait_gone*: a request's; None where there is no connection. The request's body must have been read.
    """
    if wait_gone is None:
        return await work()
    failure: Exception | None = None
    results: list[T] = []

    async def watch(wait: WaitGone) -> None:
        with suppress(*GONE):
            await wait()
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, wait_gone)
        try:
            results.append(await work())
        except Exception as exc:  # out of here it would come in a group
            failure = exc
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    if not results:
        raise Hangup
    return results[0]
