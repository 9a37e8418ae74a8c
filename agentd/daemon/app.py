"""The process that a daemon is: owner of a data directory, with listeners, a service manager, and an orderly end.

The first SIGTERM or SIGINT stops it: no more is accepted, exchanges may end, executors are ended. A second one ends it
at once, by that signal: nothing is lost by it, since everything here can be killed at any time.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import attrs
import trio

from agentd import __version__
from agentd.config import Settings
from agentd.daemon.access import Access, authorization
from agentd.daemon.metrics import Metrics
from agentd.daemon.notify import ServiceManager
from agentd.daemon.settings import Address, refuse_open
from agentd.errors import Locked
from agentd.store.home import Home
from agentd.wire.listeners import Listener, ListenFailed, open_tcp_listeners, open_unix_listener
from agentd.wire.messages import Request, Response, json_response
from agentd.wire.routing import Guard, Mount, Routes
from agentd.wire.server import serve

SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger(__name__)


@attrs.define(eq=False)
class Door:
    """A face's listeners, and what is behind them."""

    name: str
    listeners: list[Listener]
    mounts: list[Mount] = attrs.field(factory=list)
    origins: Sequence[str] = ()  # of pages of others that may send requests here

    @property
    def address(self) -> str:
        return self.listeners[0].address


@attrs.define(eq=False)
class Daemon:
    """Made by open_daemon()."""

    home: Home
    manager: ServiceManager
    metrics: Metrics = attrs.field(factory=Metrics)
    stop: trio.Event = attrs.field(factory=trio.Event)  # set: it is to end
    doors: dict[str, Door] = attrs.field(factory=dict)  # by name; the first is the one that is told of
    before_stop: list[Callable[[], Awaitable[None]]] = attrs.field(factory=list)  # while requests are taken still
    at_stop: list[Callable[[], Awaitable[None] | None]] = attrs.field(
        factory=list
    )  # in this order, while requests end; may be async

    def open_door(self, settings: Settings, name: str, flag: str, token: str) -> Door:
        """Listen at the address of the setting *flag*; *token* is what is asked for there. It is closed with the
        daemon. Raises InvalidSetting, ListenFailed."""
        door = Door(name, listen(refuse_open(settings, flag, token), flag))
        self.doors[name] = door
        return door

    async def serve(self, hosts: Collection[str], say: Callable[[], None]) -> None:
        """Serve all doors until it is to stop, and drain. *say* is called once requests are taken."""
        async with trio.open_nursery() as ending, trio.open_nursery() as serving:
            for door in self.doors.values():
                observer = self.metrics.exchanges
                await serving.start(
                    partial(serve, door.listeners, door.mounts, hosts=hosts, origins=door.origins, observer=observer)
                )
            try:
                say()
            except BrokenPipeError:  # whoever started us does not want to know
                logger.info("listening on %s", next(iter(self.doors.values())).address)
            self.manager.tell("READY=1", f"STATUS=agentd {__version__} on {next(iter(self.doors.values())).address}")
            await self.stop.wait()
            for prepare in self.before_stop:
                await prepare()
            ending.start_soon(self._end)
            serving.cancel_scope.cancel()

    async def _end(self) -> None:
        for end in self.at_stop:
            if (waiting := end()) is not None:
                await waiting

    async def watch_signals(self, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(*SIGNALS) as signals:
            task_status.started()
            async for number in signals:
                if self.stop.is_set():
                    signal.signal(number, signal.SIG_DFL)
                    os.kill(os.getpid(), number)
                logger.info("stopping: %s", signal.Signals(number).name)
                self.manager.tell("STOPPING=1")
                self.stop.set()


@asynccontextmanager
async def open_daemon(home: Home, env: Mapping[str, str]) -> AsyncIterator[Daemon]:
    """A daemon that owns *home* and has no doors yet; they are closed with it. Raises Locked, saying who has the
    directory and what to do; StoreFailed."""
    with own(home):
        await trio.to_thread.run_sync(home.sweep)
        daemon = Daemon(home, ServiceManager.from_env(env))
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(daemon.watch_signals)
                nursery.start_soon(daemon.metrics.watch_loop)
                nursery.start_soon(daemon.manager.feed_watchdog)
                yield daemon
                nursery.cancel_scope.cancel()
        finally:
            for listener in (each for door in daemon.doors.values() for each in door.listeners):
                listener.close()


@contextmanager
def own(home: Home) -> Iterator[None]:
    """Raises Locked, StoreFailed."""
    try:
        lock = home.lock()
    except Locked as exc:
        raise Locked(f"{exc}; end that one first, or name another directory with --data-dir") from exc
    with lock:
        yield


def listen(address: Address, flag: str) -> list[Listener]:
    """Raises ListenFailed, saying which setting is to be changed."""
    try:
        if address.path is not None:
            return [open_unix_listener(address.path)]
        return open_tcp_listeners(address.host, address.port)
    except ListenFailed as exc:
        raise ListenFailed(f"{exc}; end what is there, or choose another address with --{flag}") from exc


# --- The main listener --------------------------------------------------------------------------------------------


def reader_guard(access: Access) -> Guard:
    """Lets in who has the admin token, or one that was issued for looking at everything."""

    def guard(request: Request) -> Response | None:
        principal = access.principal(authorization(request))
        if principal is None:
            return _refusal(401, "UNAUTHORIZED", "this needs the admin token, or one of a viewer")
        return None if principal.may("read") else _refusal(403, "FORBIDDEN", "this token is not for that")

    return guard


def _refusal(status: int, code: str, message: str) -> Response:
    challenge = [("WWW-Authenticate", "Bearer")] if status == 401 else []
    return json_response(status, {"error": {"code": code, "message": message, "details": None}}, challenge)


health = Routes()


@health.get("/live")
async def live(app: Daemon, request: Request) -> Response:
    return json_response(200, {"status": "live", "version": __version__})


@health.get("/ready")
async def ready(app: Daemon, request: Request) -> Response:
    """200 while requests are taken; 503 while it stops."""
    if app.stop.is_set():
        return json_response(503, {"status": "stopping"}, [("Retry-After", "5")])
    return json_response(200, {"status": "ready", "faces": list(app.doors)})


def main_mounts(daemon: Daemon, access: Access) -> list[Mount]:
    """What crosses faces: health for everybody, figures for who may read them."""
    return [
        Mount(health, daemon, prefix="/health", name="main"),
        daemon.metrics.mount(reader_guard(access)),
    ]
