"""The HTTP/1.1 server: listeners in, connections out, and an orderly end. Sockets and tasks are here; HTTP is not."""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import suppress
from functools import partial

import trio

from agentd.wire.connection import Connection, Phase
from agentd.wire.feed import Hub
from agentd.wire.hosts import HostCheck
from agentd.wire.limits import Limits
from agentd.wire.listeners import Listener
from agentd.wire.messages import BadMessage
from agentd.wire.observer import Load, Observer
from agentd.wire.routing import Mount, by_prefix
from agentd.wire.transport import SocketTransport, TlsTransport, Transport

logger = logging.getLogger(__name__)

ACCEPT_BATCH = 64  # connections taken before others get their turn
ACCEPT_PAUSE_SECONDS = 0.25  # when the system has no descriptors or memory left for one more
REFUSED = 64  # clients over the limit that are told so at the same time, at most; more are just hung up on
SPARE_DESCRIPTORS = 2 * REFUSED  # for them, and for files and processes: connections take none of the last ones
RETRY_AFTER = ("Retry-After", "1")

_UNUSABLE = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK}  # of a listener: there is nothing to wait for


async def serve(
    listeners: Iterable[Listener],
    mounts: Iterable[Mount],
    *,
    limits: Limits | None = None,
    hosts: Collection[str] | None = (),
    origins: Collection[str] = (),
    observer: Observer | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled; then stop accepting, let exchanges end for `limits.drain_seconds`, and cut what is left.

    *hosts*: names that TCP listeners answer for besides loopback names and addresses; None: any, and any Origin.
    *origins*: of pages of others that may send requests; what a face tells them of its answers is its own business.
    With an *observer* every answer carries X-Request-Id.
    Closes *listeners*. WebSockets are closed with 1001; streams that never end by themselves should be closed
    (Feed.close) before this is cancelled.
    """
    server = Server(mounts, limits or Limits(), None if hosts is None else HostCheck(hosts, origins), observer)
    async with trio.open_nursery() as nursery:
        await nursery.start(server.run)
        try:
            async with trio.open_nursery() as acceptors:
                for listener in listeners:
                    acceptors.start_soon(server.accept_forever, listener)
                task_status.started()
        finally:
            await server.drain()


class Server:
    """Owns every connection's task, and the two that look after all of them."""

    def __init__(
        self, mounts: Iterable[Mount], limits: Limits, check: HostCheck | None, observer: Observer | None = None
    ) -> None:
        self.mounts = by_prefix(mounts)
        self.limits = limits
        self.draining = False
        self.observer = observer
        self.hub: Hub
        self._check = check
        self._room = room_for(limits.connections)
        self._refusals = max(1, min(REFUSED, self._room // 4))
        self._nursery: trio.Nursery
        self._connections: set[Connection] = set()
        self._refused: set[Connection] = set()  # over the limit: they are told so
        self._empty = trio.Event()  # while draining: the last connection has gone

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        # Shielded: when serve() is cancelled, exchanges go on until drain() ends them.
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as self._nursery:
                self.hub = Hub(self._nursery)
                if self.observer is not None:
                    self.observer.serving(self.load)
                self._nursery.start_soon(self._reap_forever)
                self._nursery.start_soon(self.hub.keep_alive_forever, self.limits.keepalive_seconds)
                self._nursery.start_soon(self.hub.beat_forever, self.limits.ping_seconds)
                task_status.started()

    def load(self) -> Load:
        return Load(len(self._connections), *self.hub.count())

    async def drain(self) -> None:
        with trio.CancelScope(shield=True), trio.move_on_after(self.limits.drain_seconds):
            self.draining = True
            for connection in self._connections:
                if connection.phase is Phase.IDLE:
                    connection.scope.cancel()
            self.hub.end_sockets()
            if self._connections:
                await self._empty.wait()
        self._nursery.cancel_scope.cancel()

    async def accept_forever(self, listener: Listener) -> None:
        failure: str | None = None
        try:
            while True:
                await trio.lowlevel.wait_readable(listener.sock)
                try:
                    self._accept_batch(listener)
                    failure = None
                except OSError as exc:
                    if exc.errno in _UNUSABLE:
                        raise
                    if failure != exc.strerror:  # told once, not four times a second
                        logger.error("cannot accept connections: %s; will go on when it can", exc.strerror)
                    failure = exc.strerror
                    await trio.sleep(ACCEPT_PAUSE_SECONDS)
        finally:
            listener.close()

    def _accept_batch(self, listener: Listener) -> None:
        for _ in range(ACCEPT_BATCH):
            try:
                sock, address = listener.sock.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # it came and went
            sock.setblocking(False)
            if listener.is_tcp:
                with suppress(OSError):  # some systems refuse it where the client has gone already
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._welcome(listener, sock, f"{address[0]}:{address[1]}" if listener.is_tcp else "unix")

    def _welcome(self, listener: Listener, sock: socket.socket, peer: str) -> None:
        stall = self.limits.stall_seconds
        transport: Transport = TlsTransport(sock, listener.tls, stall) if listener.tls else SocketTransport(sock, stall)
        connection = Connection(self, transport, peer, self._check if listener.is_tcp else None)
        if len(self._connections) < self._room:
            self._start(connection, self._connections, connection.run)
        elif len(self._refused) < self._refusals:
            busy = BadMessage(503, "too many connections; try again")
            busy.code = "TOO_MANY_CONNECTIONS"
            self._start(connection, self._refused, partial(connection.refuse, busy, RETRY_AFTER))
        else:
            sock.close()

    def _start(self, connection: Connection, members: set[Connection], work: Callable[[], Awaitable[None]]) -> None:
        members.add(connection)
        self._nursery.start_soon(self._run_connection, connection, members, work)

    async def _run_connection(
        self, connection: Connection, members: set[Connection], work: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await work()
        except Exception:
            logger.exception("a connection failed")
        finally:
            members.discard(connection)
            if self.draining and not self._connections:
                self._empty.set()
            await connection.close()

    async def _reap_forever(self) -> None:
        """The only timer of all connections: one look at all their deadlines a second."""
        while True:
            await trio.sleep(self.limits.tick_seconds)
            now = trio.current_time()
            for connection in (*self._connections, *self._refused):
                if connection.transport.deadline <= now and not connection.transport.is_taken_from():
                    connection.scope.cancel()


def room_for(connections: int) -> int:
    """How many of so many *connections* the system allows (`ulimit -n`), with descriptors left for everything else."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return connections
    return min(connections, max(allowed - SPARE_DESCRIPTORS, allowed // 2))
