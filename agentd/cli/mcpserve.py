"""`agentd mcp serve`: agentd as an MCP server on standard input and output, for a program that starts it.

A daemon that has the data directory answers through it, and keeps the jobs. Where there is none this is one itself, for
as long as it lives: others that are started meanwhile find it, and so does `agentd ctl`.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import trio

from agentd.cli.manager import open_executors
from agentd.cli.mcp import SERVE_OPTIONS
from agentd.config import Settings, read_settings
from agentd.daemon.access import Access
from agentd.daemon.announced import announce, find_daemon
from agentd.daemon.app import SIGNALS, Door, open_daemon
from agentd.daemon.keys import open_key
from agentd.daemon.listing import open_listing
from agentd.daemon.logs import configure
from agentd.daemon.opening import open_work
from agentd.daemon.settings import count, data_directory, executor_settings, load, load_services, log_settings
from agentd.errors import AgentdError, InvalidSetting, Locked, only_cause
from agentd.faces.admin.routes import open_admin
from agentd.faces.mcp.bridge import Bridge, Place
from agentd.faces.mcp.routes import open_mcp
from agentd.faces.mcp.stdio import Backend, Local, serve_stdio
from agentd.store.home import Home
from agentd.wire.listeners import open_unix_listener

SOCKET = "mcp.sock"  # in the data directory
START_SECONDS, LOOK_SECONDS = 10.0, 0.1  # for a daemon that has the directory to say where it is; between two looks
Talk = Callable[[Backend], Awaitable[None]]


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
    except InvalidSetting as wrong:
        print(f"agentd mcp serve: {wrong}; `agentd help mcp` shows how it is used", file=sys.stderr)
        return 2
    except (AgentdError, ExceptionGroup) as group:
        exc = only_cause(group)
        if not isinstance(exc, AgentdError):
            raise
        print(f"agentd mcp serve: {exc}", file=sys.stderr)
        return 1
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
    async with trio.lowlevel.FdStream(source) as reading, trio.lowlevel.FdStream(sink) as writing:
        talk = partial(serve_stdio, reading, writing)
        root, directory = data_directory(settings), workspace(settings)
        if find_daemon(root) is None:
            try:
                await own(settings, directory, talk)
                return
            except Locked:  # somebody was faster, and will say where it is
                await wait_for_daemon(root)
        await relay(settings, directory, talk)


def workspace(settings: Settings) -> Path:
    """Where jobs work that do not say where. Raises InvalidSetting."""
    path = Path(settings.text("workspace") or ".").expanduser().absolute()
    if not path.is_dir():
        raise settings.misfit("workspace", f"{path} is no directory")
    return path


# --- With a daemon ------------------------------------------------------------------------------------------------


async def relay(settings: Settings, directory: Path, talk: Talk) -> None:
    """Let the daemon answer, and leave the jobs with it. Raises AgentdError."""
    bridge = Bridge(partial(place, settings), directory)
    place(settings)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cancel_on_signal, nursery.cancel_scope)
        try:
            await talk(bridge)
        finally:
            await bridge.close()
        nursery.cancel_scope.cancel()


def place(settings: Settings) -> Place:
    """Raises NoDaemon."""
    found = find_daemon(data_directory(settings))
    if found is None:
        raise NoDaemon("the agentd that this was connected to has ended; start this server again, or `agentd serve`")
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


async def cancel_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async for _ in signals:
            scope.cancel()


# --- Without one --------------------------------------------------------------------------------------------------


async def own(settings: Settings, directory: Path, talk: Talk) -> None:
    """Be the daemon of the data directory. At the end jobs that are at work are stopped; those that wait for an answer
    go on waiting. Raises Locked: there is one; AgentdError."""
    executors, catalog = executor_settings(settings, hooks=True), load_services(settings, os.environ)
    most = count(settings, "max-executors")
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        home = daemon.home
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
            trio.open_nursery() as nursery,
        ):
            door.mounts += [admin.mount(), mcp.mount()]
            daemon.at_stop.append(admin.close_feeds)

            async def talk_until_over() -> None:
                await talk(Local(mcp.app, directory))
                daemon.stop.set()

            nursery.start_soon(talk_until_over)
            with announce(home.root, door.address, {"admin": str(token.path)} if token.path else {}):
                await daemon.serve([], lambda: None)
            nursery.cancel_scope.cancel()
