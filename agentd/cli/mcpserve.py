"""`agentd mcp serve`: agentd as an MCP server on standard input and output, for a program that starts it.

The daemon that has the data directory answers through it, and keeps the jobs. Where there is none this is one itself,
for as long as it lives: others that are started meanwhile find it, and so does `agentd ctl`.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import trio

from agentd.cli.mcp import SERVE_OPTIONS
from agentd.config import Settings, read_settings
from agentd.daemon.announced import find_daemon
from agentd.daemon.logs import configure
from agentd.daemon.settings import data_directory, load, log_settings
from agentd.errors import AgentdError, InvalidSetting, Locked, only_cause
from agentd.faces.mcp.bridge import Bridge, Place
from agentd.faces.mcp.stdio import serve_stdio

SIGNALS = (signal.SIGTERM, signal.SIGINT)
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
    would be taken for a message, and goes to standard error. Raises InvalidSetting."""
    if sys.stdin is None or sys.stdout is None:
        raise InvalidSetting("standard input or output is closed, and messages come and go there")
    if sys.stdin.isatty():
        print("agentd mcp serve: a program is expected at standard input: a message of MCP a line", file=sys.stderr)
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
    _stop: trio.Event = attrs.field(factory=trio.Event)  # set: ours is to end
    _over: trio.Event | None = None  # set: ours has ended

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
        """End ours."""
        self._stop.set()
        if self._over is not None:
            await self._over.wait()

    async def _own(self, *, task_status: trio.TaskStatus[None]) -> None:
        from agentd.cli.mcpdaemon import run_daemon  # much that who only relays does not need

        over = trio.Event()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(run_daemon, self.settings, self._stop)
                self._over = over
                task_status.started()
        finally:
            over.set()
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
