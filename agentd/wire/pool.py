"""Connections that are kept for the next request to the same place, and how many there may be at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import NamedTuple

import h11
import trio

from agentd.wire.exchange import Outgoing, Watch, Wire
from agentd.wire.failure import HttpFailed

Open = Callable[[Watch], Awaitable[Wire]]  # a new connection; raises HttpFailed


class PoolLimits(NamedTuple):
    in_use: int = 64  # connections to one place at a time; further requests wait for one
    idle: int = 8  # kept to one place
    idle_in_all: int = 32
    idle_seconds: float = 30.0  # many servers hang up after 60, some after 5: is_stale() sees that


class _Kept(NamedTuple):
    key: Hashable
    wire: Wire
    until: float  # trio time


class Pool:
    """A place is named by a key: whatever tells connections apart that are not for the same requests."""

    def __init__(self, limits: PoolLimits | None = None) -> None:
        self._limits = limits or PoolLimits()
        self._kept: list[_Kept] = []  # the one used last is at the end
        self._places: dict[Hashable, trio.Semaphore] = {}
        self._closed = False

    def close(self) -> None:
        """All that is kept; what is under way goes on, and is not kept."""
        self._closed = True
        while self._kept:
            self._kept.pop().wire.close()

    @asynccontextmanager
    async def exchange(
        self, key: Hashable, open_wire: Open, request: Outgoing, watch: Watch
    ) -> AsyncIterator[tuple[Wire, h11.Response]]:
        """A connection with the request sent and the head of its answer received. Raises HttpFailed."""
        async with self._place(key, watch):
            wire, head = await self._begin(key, open_wire, request, watch)
            try:
                yield wire, head
            finally:
                self.keep(key, wire)

    def keep(self, key: Hashable, wire: Wire) -> None:
        """For the next request, if it can take one; else it is closed."""
        self._drop_expired()
        if self._closed or not wire.make_ready():
            wire.close()
            return
        self._kept.append(_Kept(key, wire, trio.current_time() + self._limits.idle_seconds))
        self._drop_surplus([kept for kept in self._kept if kept.key == key], self._limits.idle)
        self._drop_surplus(self._kept, self._limits.idle_in_all)

    async def _begin(
        self, key: Hashable, open_wire: Open, request: Outgoing, watch: Watch
    ) -> tuple[Wire, h11.Response]:
        wire = self._take(key)
        if wire is not None:
            try:
                return wire, await wire.begin(request, watch)
            except HttpFailed as exc:  # the server may have hung up just then: or have done what it was asked to
                if wire.heard or exc.kind != "network" or not request.is_repeatable:
                    raise
        wire = await open_wire(watch)
        return wire, await wire.begin(request, watch)

    def _take(self, key: Hashable) -> Wire | None:
        self._drop_expired()
        for kept in [kept for kept in reversed(self._kept) if kept.key == key]:
            self._kept.remove(kept)
            if not kept.wire.is_stale():
                return kept.wire
            kept.wire.close()
        return None

    def _drop_expired(self) -> None:
        for kept in [kept for kept in self._kept if kept.until <= trio.current_time()]:
            self._drop(kept)

    def _drop_surplus(self, kept: list[_Kept], limit: int) -> None:
        for oldest in kept[: max(0, len(kept) - limit)]:
            self._drop(oldest)

    def _drop(self, kept: _Kept) -> None:
        self._kept.remove(kept)
        kept.wire.close()

    @asynccontextmanager
    async def _place(self, key: Hashable, watch: Watch) -> AsyncIterator[None]:
        places = self._places.setdefault(key, trio.Semaphore(self._limits.in_use))
        seconds = watch.deadlines.connect
        with watch.wait(seconds, f"{self._limits.in_use} requests are under way, and none ended within {seconds:g} s"):
            await places.acquire()
        try:
            yield
        finally:
            places.release()
            if places.value == self._limits.in_use and self._places.get(key) is places:
                del self._places[key]
