"""`agentd mcp serve`: agentd as an MCP server on standard input and output, for a program that starts it.

The daemon that has the data directory answers through it, and keeps the jobs. Where there is none this is one itself,
for as long as it lives: others that are started meanwhile find it, and so does `agentd ctl`.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from agentd.cli.manager import open_executors
from agentd.cli.mcp import SERVE_OPTIONS
from agentd.config import Settings, read_settings
from agentd.daemon.access import Access
from agentd.daemon.announced import announce, find_daemon
from agentd.daemon.app import SIGNALS, Daemon, Door, open_daemon
from agentd.daemon.contacts import go_offline
from agentd.daemon.keys import open_key
from agentd.daemon.listing import open_listing
from agentd.daemon.logs import configure
from agentd.daemon.opening import open_work
from agentd.daemon.settings import count, data_directory, executor_settings, load, load_services, log_settings
from agentd.errors import AgentdError, InvalidSetting, Locked, only_cause
from agentd.faces.admin.routes import open_admin
from agentd.faces.mcp.bridge import Bridge, Place
from agentd.faces.mcp.routes import open_mcp
from agentd.faces.mcp.stdio import serve_stdio
from agentd.store.home import Home
from agentd.wire.listeners import open_unix_listener

SOCKET = "mcp.sock"  # in the data directory
START_SECONDS, LOOK_SECONDS = 10.0, 0.1  # for a daemon that has the directory to say where it is; between two looks


class NoDaemon(AgentdError):
    code = "NO_DAEMON"


def main(argv: list[str]) -> int:
    """0 when there is nothing more to read, or after a signal; 1 if it cannot start; 2 if the command line is wrong."""
    try:
        settings = read_settings(SERVE_OPTIONS, argv, os.environ)
        load(settings, os.environ)
        configure(*log_settings(settings))
        with claimed_streams() as (source, sink):
            trio.run(serve, settings, source, sink)
    except (AgentdError, ExceptionGroup) as group:
        exc = only_cause(group)
        if not isinstance(exc, AgentdError):
            raise
        is_usage = isinstance(exc, InvalidSetting)
        hint = "; `agentd help mcp` shows how it is used" if is_usage else ""
        print(f"agentd mcp serve: {exc}{hint}", file=sys.stderr)
        return 2 if is_usage else 1
    return 0


@contextmanager
def claimed_streams() -> Iterator[tuple[int, int]]:
    """Descriptors of what were standard input and output, which no child gets. What else is printed in this process
    would be taken for a message, and goes to standard error."""
    sys.stdout.flush()
    source, sink = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3) for fd in (0, 1))
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    os.close(nothing)
    yield source, sink


async def serve(settings: Settings, source: int, sink: int) -> None:
    """Until there is nothing more to read, or a signal. Raises AgentdError."""
    async with (
        trio.lowlevel.FdStream(source) as reading,
        trio.lowlevel.FdStream(sink) as writing,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
        daemons = Daemons(settings, nursery)
        bridge = Bridge(daemons.find, workspace(settings))
        await daemons.find()  # what is wrong with it is said at once
        try:
            await serve_stdio(reading, writing, bridge)
        finally:
            await bridge.close()
        await daemons.close()
        nursery.cancel_scope.cancel()


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async for _ in signals:
            scope.cancel()


def workspace(settings: Settings) -> Path:
    """Where jobs work that do not say where. Raises InvalidSetting."""
    path = Path(settings.text("workspace") or ".").expanduser().absolute()
    if not path.is_dir():
        raise settings.misfit("workspace", f"{path} is no directory")
    return path


# --- Daemons ------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Daemons:
    """Those of one data directory, one after the other: somebody else's, or ours, which *nursery* owns."""

    settings: Settings
    nursery: trio.Nursery
    _ours: Daemon | None = None
    _over: trio.Event = attrs.field(factory=trio.Event)

    async def find(self) -> Place:
        """Where the daemon is, begun here where there is none. Raises AgentdError."""
        root = data_directory(self.settings)
        if find_daemon(root) is None:
            try:
                await self.nursery.start(self._own)
            except (Locked, ExceptionGroup) as exc:  # somebody was faster, and will say where it is
                if not isinstance(only_cause(exc), Locked):
                    raise only_cause(exc) from exc
                await wait_for_daemon(root)
        return place(self.settings)

    async def close(self) -> None:
        """End ours: jobs that are at work are stopped, those that wait for an answer go on waiting."""
        if self._ours is not None:
            self._ours.stop.set()
            await self._over.wait()

    async def _own(self, *, task_status: trio.TaskStatus[None]) -> None:
        try:
            async with open_daemon(Home(data_directory(self.settings)), os.environ) as self._ours:
                await serve_here(self._ours, self.settings, task_status.started)
        finally:
            self._ours = None
            self._over.set()
        self.nursery.cancel_scope.cancel()  # it was told to stop, and so is everything here


def place(settings: Settings) -> Place:
    """Raises NoDaemon."""
    found = find_daemon(data_directory(settings))
    if found is None:
        raise NoDaemon("the agentd that answered here has ended just now; ask again")
    if token := settings.text("admin-token"):
        return Place(found.address, token)
    try:
        return Place(found.address, Path(found.tokens["admin"]).read_text(encoding="latin-1").strip())
    except (KeyError, OSError):
        raise NoDaemon("the admin token of the agentd that runs is in no file; set AGENTD_ADMIN_TOKEN to it") from None


async def wait_for_daemon(root: Path) -> None:
    """Until whoever has the directory says where it is. Raises Locked: it does not."""
    with trio.move_on_after(START_SECONDS):
        while True:
            if find_daemon(root) is not None:
                return
            await trio.sleep(LOOK_SECONDS)
    raise Locked(f"{root} belongs to a process that answers no requests; end that, or name another with --data-dir")


async def serve_here(daemon: Daemon, settings: Settings, say: Callable[[], None]) -> None:
    """Serve on a socket in the data directory until the daemon is to stop. *say* is called once requests are taken.
    Raises AgentdError."""
    executors, catalog = executor_settings(settings, hooks=True), load_services(settings, os.environ)
    executors = attrs.evolve(executors, site=go_offline(executors.site, catalog, os.environ))
    most, home = count(settings, "max-executors"), daemon.home
    token = open_key(home, "admin", settings.text("admin-token"))
    door = daemon.doors["main"] = Door("main", [open_unix_listener(home.root / SOCKET)])
    access = Access(home.root_log, token.text)
    await trio.to_thread.run_sync(access.load)
    async with (
        open_executors(daemon, executors, catalog, "mcp") as control,
        open_listing(home) as listing,
        open_work(control, listing, most=most, budget_of=access.budget) as work,
        open_admin(control, listing, work, access) as admin,
        open_mcp(work, access, (home.root, *map(Path, catalog.files))) as mcp,
    ):
        door.mounts += [admin.mount(), mcp.mount()]
        daemon.at_stop += [admin.close_feeds, mcp.stop]
        with announce(home.root, door.address, {"admin": str(token.path)} if token.path else {}):
            await daemon.serve([], say)
