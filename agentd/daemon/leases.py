"""The daemon's side of an executor's lease: it is renewed, its end is a death, and nobody follows before it is over.

A launcher is no witness. It may be killed, or give a node up, while the executor lives on over there and writes. So the
next one may start only when this one said that it had stopped, or is seen to be gone, or must have ended by its lease.
"""

from __future__ import annotations

import math
import socket
from contextlib import suppress
from ipaddress import ip_address

import trio

from agentd.domain import Ready
from agentd.errors import ExecutorFailed
from agentd.store.generations import boot_id
from agentd.wire.client import Address, Client, dial
from agentd.wire.failure import HttpFailed

LEASE_SECONDS = 15.0
BEATS = 3  # requests in the time of a lease
GRACE_SECONDS = 5.0  # beyond the lease: the executor kills itself 4 s after its end, if it has not ended by then
STOP_SECONDS = 30.0  # for it to write its job's end
ASK_AGAIN_SECONDS = 0.5


class HeldLease:
    """Of one executor. It lasts for *seconds* from each request on; one that is not answered within a beat is none."""

    def __init__(self, token: str, seconds: float) -> None:
        self._headers = [("Authorization", f"Bearer {token}")]
        self._seconds = seconds
        self.started: float | None = None
        self.has_ended = False
        self._contact = -math.inf  # when it was renewed last, or later than that
        self._address: Address | None = None
        self._same_kernel = False

    def begin(self) -> None:
        """The executor has started."""
        self.started = self._contact = trio.current_time()

    def end(self) -> None:
        """The executor says that it has stopped."""
        self.has_ended = True

    async def meet(self, ready: Ready) -> None:
        """Learn where it is. Raises ExecutorFailed: that address does not lead there."""
        if self.started is None:
            self.begin()
        self._same_kernel = ready.boot_id == boot_id()
        try:
            self._address = Address.parse(ready.address)
            await self._ask("GET", "/_/health")
        except HttpFailed as exc:
            raise ExecutorFailed(f"the executor is ready, but cannot be reached at {ready.address}: {exc}") from exc

    async def keep(self) -> str:
        """Renew it again and again. Return when the executor must have ended, saying so."""
        while trio.current_time() < self._over:
            await trio.sleep(self._seconds / BEATS)
            try:
                await self._ask("GET", "/_/health")
            except HttpFailed:
                continue
        return f"it did not answer for {self._seconds + GRACE_SECONDS:g} s, and its lease is over"

    async def wait_over(self) -> None:
        """The launcher has ended, and the executor, if it had started, did not say that it stopped: return when it must
        have. It is told to; one that goes on answering is not waited for without end."""
        with trio.move_on_after(self._seconds + GRACE_SECONDS + STOP_SECONDS):
            while trio.current_time() < self._over and not await self._is_gone():
                with suppress(HttpFailed):
                    await self._ask("POST", "/_/shutdown")
                await trio.sleep(ASK_AGAIN_SECONDS)

    @property
    def _over(self) -> float:
        return -math.inf if self.has_ended else self._contact + self._seconds + GRACE_SECONDS

    async def _ask(self, method: str, path: str) -> None:
        if self._address is None:
            raise HttpFailed("connect", "its address is not known")
        beat = self._seconds / BEATS
        async with Client(self._address, connect_seconds=beat) as client:
            answer = await client.request(method, path, headers=self._headers, seconds=beat)
        if answer.status == 401:
            raise HttpFailed("protocol", "another one listens there")
        self._contact = trio.current_time()

    async def _is_gone(self) -> bool:
        """Whether nobody listens there any more. Of a tunnel that says nothing: perhaps just the tunnel is gone."""
        if self._address is None:
            return False
        is_direct = self._same_kernel or (self._address.path is None and not is_loopback(self._address.name))
        return is_direct and await is_refused(self._address, self._seconds / BEATS)


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def is_refused(address: Address, seconds: float) -> bool:
    """Whether the system there answers that nobody listens; False also where nothing answers."""
    try:
        with trio.move_on_after(seconds):
            if address.path is not None:
                await (await dial(address.path)).aclose()
                return False
            infos = await trio.socket.getaddrinfo(address.name, address.port, type=socket.SOCK_STREAM)
            family, kind, _, _, there = infos[0]
            with trio.socket.socket(family, kind) as sock:
                await sock.connect(there)
    except (ConnectionRefusedError, FileNotFoundError):
        return True
    except OSError:
        return False
    return False
