"""Lists of sessions, jobs and asks, as fresh as the logs are when they are asked for; and word of what has changed."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

from agentd.errors import StoreFailed
from agentd.store.home import Home
from agentd.store.index import Change, SessionIndex
from agentd.store.tables import Found

WATCH_SECONDS = 0.5  # between two looks at all logs, while somebody wants to hear of changes
T = TypeVar("T")
logger = logging.getLogger(__name__)


@attrs.frozen
class News:
    """*found*: the row as it is now; None if there is none any more."""

    change: Change
    found: Found[Any] | None


class Listing:
    """Made by open_listing()."""

    def __init__(self, index: SessionIndex) -> None:
        self._index = index
        self._limiter = trio.CapacityLimiter(1)  # SQLite is used by one thread at a time
        self._lock = trio.Lock()
        self._asked = self._done = 0
        self._callbacks: list[Callable[[Sequence[News]], object]] = []
        self._watchers = 0
        self._watched = trio.Event()
        self._primed = False  # what there was at the start is no news

    async def refresh(self) -> None:
        """Whatever was appended before this was called is in the lists when it returns. Raises StoreFailed."""
        self._asked += 1
        mine = self._asked
        async with self._lock:
            if self._done >= mine:  # who had the lock began after we had come
                return
            upto = self._asked
            news = await trio.to_thread.run_sync(self._catch_up, limiter=self._limiter)
            self._done = upto
            if self._primed:
                self._tell(news)
            self._primed = True

    async def ask(self, work: Callable[[SessionIndex], T]) -> T:
        """What *work* says of the index, as it is now. It blocks, and is run in a thread. Raises StoreFailed."""
        await self.refresh()
        return await self.probe(work)

    async def probe(self, work: Callable[[SessionIndex], T]) -> T:
        """The same of the index as it is, without a look at the logs. Raises StoreFailed."""
        return await trio.to_thread.run_sync(work, self._index, limiter=self._limiter)

    def subscribe(self, callback: Callable[[Sequence[News]], object]) -> None:
        """*callback* is called with every change that is noticed: at a refresh, and while somebody watches."""
        self._callbacks.append(callback)

    def watch(self) -> Callable[[], None]:
        """Notice changes as they come, until what is returned is called."""
        self._watchers += 1
        self._watched.set()

        def leave() -> None:
            self._watchers -= 1

        return leave

    async def run(self) -> None:
        """The task that looks. Until cancelled."""
        while True:
            try:
                await self.refresh()
            except StoreFailed as exc:
                logger.warning("%s", exc)
            if not self._watchers:
                self._watched = trio.Event()
                await self._watched.wait()
            await trio.sleep(WATCH_SECONDS)

    def _catch_up(self) -> list[News]:
        changes = self._index.catch_up()
        return [News(change, self._find(change)) for change in changes] if self._primed else []

    def _find(self, change: Change) -> Found[Any] | None:
        if change.gone:
            return None
        look = {"session": self._index.session, "job": self._index.job, "ask": self._index.ask}[change.kind]
        return look(change.id)

    def _tell(self, news: Sequence[News]) -> None:
        for callback in tuple(self._callbacks) if news else ():
            callback(news)


@asynccontextmanager
async def open_listing(home: Home) -> AsyncIterator[Listing]:
    """It begins at once to read what is there; the first list waits for that."""
    index = SessionIndex(home)
    listing = Listing(index)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listing.run)
        try:
            yield listing
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(index.close)
