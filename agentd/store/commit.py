"""Group commit: many wait for their records to survive power loss, one sync covers them all.

There is no thread or task that has to be running for `covered` to return: of those who wait, one does the sync and the
others wait for it (leader and followers). `run` adds the syncs that nobody waits for.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import trio

from agentd.errors import StoreFailed
from agentd.store.files import refusal

SYNC_AFTER_SECONDS = 0.04  # what nobody waits for is synced within 50 ms: the sync takes the rest


class GroupCommit:
    """*sync* blocks until what *written* returned before is on the disk, or raises OSError."""

    def __init__(self, sync: Callable[[], None], written: Callable[[], int]) -> None:
        self._sync = sync
        self._written = written
        self._limiter = trio.CapacityLimiter(1)  # of its own: tools that block threads do not delay it
        self._syncing = threading.Lock()
        self._leader: trio.Event | None = None  # set when the sync in flight has ended
        self._wake: trio.Event | None = None
        self.synced_pos = 0
        self.failure: str | None = None  # of a sync; there is no second try, which might claim what is not true
        self._renewed = trio.Event()  # after a failure

    def poke(self) -> None:
        """Something was written."""
        if self._wake is not None:
            self._wake.set()
            self._wake = None

    def check(self) -> None:
        """Raises StoreFailed if a sync has failed."""
        # After a failed fsync the kernel drops the pages that it could not write and calls the next one a success.
        if self.failure is not None:
            raise StoreFailed(self.failure)

    def renew(self, switch: Callable[[], None]) -> None:
        """Go on after a failure. *switch*, while nothing is synced, to a log that is on the disk as far as written."""
        with self._syncing:
            switch()
            self.synced_pos, self.failure = self._written(), None
        self._renewed.set()
        self._renewed = trio.Event()

    async def renewed(self) -> None:
        """Returns when a log that has failed works again."""
        await self._renewed.wait()

    async def covered(self, pos: int) -> None:
        """Returns when *pos*, which was written, is synced. Raises StoreFailed if that failed, now or earlier."""
        if self.synced_pos >= pos:
            await trio.lowlevel.checkpoint()
        while self.synced_pos < pos:
            self.check()
            if self._leader is None:
                await self._lead()
            else:
                await self._leader.wait()

    def sync_last(self) -> None:
        """The last sync, blocking: what it covers needs no other, not even one that a waiter has begun. Raises
        StoreFailed if it fails; nothing happens if one has failed already."""
        if self.failure is None:
            self._do(self._written())

    async def run(self) -> None:
        """Sync what nobody waits for, until cancelled. No timer runs while nothing is written. Raises StoreFailed."""
        while True:
            if self.synced_pos >= self._written():
                self._wake = trio.Event()
                await self._wake.wait()
            await trio.sleep(SYNC_AFTER_SECONDS)
            await self.covered(self._written())

    async def _lead(self) -> None:
        self._leader = ended = trio.Event()
        try:
            # The first of 32 must not sync its own record alone and have the other 31 wait for another. Those that
            # the last one released run in the next tick, in any order, and append: see how far the log goes after it.
            for _ in range(2):
                await trio.lowlevel.cancel_shielded_checkpoint()
            await trio.to_thread.run_sync(self._do, self._written(), limiter=self._limiter)
        finally:
            self._leader = None
            ended.set()

    def _do(self, pos: int) -> None:
        with self._syncing:
            self.check()
            if self.synced_pos >= pos:
                return
            try:
                self._sync()
            except OSError as exc:
                self.failure = refusal("sync the session log", exc)
                raise StoreFailed(self.failure) from exc
            self.synced_pos = pos
