"""`agentd manager`: the session manager alone, with the flags and variables of its own document.

The rules: contract manager.md, §1. How settings become that face on a daemon is here for `agentd serve` too.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import attrs
import trio

from agentd.cli.apidocs import face_docs
from agentd.config import Settings, read_settings
from agentd.daemon.app import Daemon, open_daemon
from agentd.daemon.contacts import go_offline
from agentd.daemon.executors import Seats
from agentd.daemon.figures import watch_pool, watch_seats
from agentd.daemon.launchers import LOCAL, Launcher
from agentd.daemon.logs import configure
from agentd.daemon.opening import Control, open_control
from agentd.daemon.plan import Plan
from agentd.daemon.settings import (
    MANAGER_OPTIONS,
    ExecutorSettings,
    ManagerSettings,
    data_directory,
    executor_settings,
    hosts,
    load,
    load_services,
    log_settings,
    manager_settings,
)
from agentd.errors import AgentdError, InvalidSetting, Locked, only_cause
from agentd.faces.manager.routes import ManagerApp, open_manager
from agentd.providers.settings import Catalog
from agentd.store.home import Home

OPTIONS = MANAGER_OPTIONS


def main(argv: list[str]) -> int:
    """0 after a signal; 1 if it cannot start, for whatever reason: the contract, §1."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("manager"))
        return 0
    return run("manager", lambda: load(read_settings(OPTIONS, argv, os.environ), os.environ), serve_manager)


def run(verb: str, read: Callable[[], Settings], serve: Callable[[Settings], Awaitable[None]]) -> int:
    """Read settings and serve. What keeps it from starting is one line, and exit code 1."""
    try:
        settings = read()
        configure(*log_settings(settings))
        trio.run(serve, settings)
    except (AgentdError, ExceptionGroup) as group:
        exc = only_cause(group)
        if not isinstance(exc, AgentdError):
            raise
        hint = f"; `agentd help {verb}` shows how it is used" if isinstance(exc, InvalidSetting) else ""
        print(f"agentd {verb}: {exc}{hint}", file=sys.stderr)
        return 1
    return 0


async def serve_manager(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentdError."""
    token = settings.required("auth-token")
    settings.required("listen-addr")
    chosen, executors = manager_settings(settings), executor_settings(settings, hooks=False)
    catalog = load_services(settings, os.environ)
    executors = attrs.evolve(executors, site=go_offline(executors.site, catalog, os.environ))
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        door = daemon.open_door(settings, "manager", "listen-addr", token)
        async with (
            open_executors(daemon, executors, catalog, chosen.id) as control,
            open_face(daemon, chosen, token, control) as manager,
        ):
            door.mounts += [manager.mount(), *face_docs("manager")]
            await daemon.serve(
                hosts(settings),
                lambda: print(f"agentd manager {chosen.id} listening on {door.address}", flush=True),
            )


@asynccontextmanager
async def open_executors(
    daemon: Daemon, chosen: ExecutorSettings, catalog: Catalog, name: str
) -> AsyncIterator[Control]:
    """What all faces share, with its figures. Executors end when the daemon is to stop. *name*: by which a launcher's
    template knows this daemon. Raises AgentdError."""
    async with open_control(daemon.home, plan(daemon, chosen, catalog, name)) as control:
        watch_seats(daemon.metrics, control.seats)
        daemon.at_stop.append(partial(end_executors, control.seats))
        yield control


@asynccontextmanager
async def open_face(daemon: Daemon, chosen: ManagerSettings, token: str, control: Control) -> AsyncIterator[ManagerApp]:
    """A session manager, with its figures. Raises AgentdError."""
    try:
        async with open_manager(chosen, token, control) as manager:
            watch_pool(daemon.metrics, manager.pool)
            yield manager
    except Locked as exc:
        raise Locked(f"{exc}; end that one first, or name another with --worktree-base-dir") from exc


async def end_executors(seats: Seats) -> None:
    """All at once, and before requests are cut: who follows a job sees how it ends."""
    async with trio.open_nursery() as nursery:
        for seat in seats:
            nursery.start_soon(seat.down)


def plan(daemon: Daemon, chosen: ExecutorSettings, catalog: Catalog, name: str) -> Plan:
    """How executors are started. Raises InvalidSetting for a launcher's template."""
    made = Plan(
        words=chosen.words,
        catalog=catalog,
        launcher=Launcher(chosen.template) if chosen.template else LOCAL,
        url_policy=chosen.url_policy,
        hook_secret=chosen.hook_secret,
        site=chosen.site,
        values={"mgr": name, "run_dir": str(daemon.home.root), "callback": socket.gethostname()},
    )
    if not chosen.command:
        return made
    return attrs.evolve(made, program=lambda role, *words: [*chosen.command, *words], forks=False)
