"""`agentd serve`: every API of this program, from one process and one data directory."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from agentd import __version__
from agentd.cli.manager import open_executors, open_face, run
from agentd.config import Settings, read_settings
from agentd.daemon.access import Access
from agentd.daemon.app import Daemon, main_mounts, open_daemon
from agentd.daemon.figures import watch_lists
from agentd.daemon.keys import Key, open_key
from agentd.daemon.listing import Listing, open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.settings import (
    OFF,
    SERVE_OPTIONS,
    ManagerSettings,
    data_directory,
    hosts,
    load_serve,
    load_services,
    manager_settings,
    refuse_unbuilt,
)
from agentd.errors import InvalidSetting
from agentd.faces.admin.routes import open_admin
from agentd.store.home import Home
from agentd.wire.routing import Mount

OPTIONS = SERVE_OPTIONS


def main(argv: list[str]) -> int:
    """0 after a signal; 1 if it cannot start; 2 if the command line is wrong."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("serve"))
        return 0
    try:
        settings = read_settings(OPTIONS, argv, os.environ)
    except InvalidSetting as wrong:
        print(f"agentd serve: {wrong}; `agentd help serve` shows how it is used", file=sys.stderr)
        return 2
    return run("serve", lambda: load_serve(settings, os.environ), serve)


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentdError."""
    refuse_unbuilt(settings)
    chosen, catalog = manager_settings(settings), load_services(settings, os.environ)
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        keys = open_doors(daemon, settings)
        async with (
            open_executors(daemon, chosen, catalog) as control,
            open_listing(daemon.home) as listing,
            open_faces(daemon, chosen, keys, control, listing),
        ):
            await daemon.serve(hosts(settings), lambda: tell(daemon, keys))


def open_doors(daemon: Daemon, settings: Settings) -> dict[str, Key]:
    """Listen for every face that is not off; the tokens, by their names. Raises AgentdError."""
    keys = {"admin": open_key(daemon.home, "admin", settings.text("admin-token"))}
    daemon.open_door(settings, "main", "listen", keys["admin"].text)
    if settings.text("manager") != OFF:
        keys["manager"] = open_key(daemon.home, "manager", settings.text("auth-token"))
        daemon.open_door(settings, "manager", "manager", keys["manager"].text)
    return keys


@asynccontextmanager
async def open_faces(
    daemon: Daemon, chosen: ManagerSettings, keys: Mapping[str, Key], control: Control, listing: Listing
) -> AsyncIterator[None]:
    """Put every face behind its own door, and behind a prefix of the main one. Raises AgentdError."""
    main_door = daemon.doors["main"]
    watch_lists(daemon.metrics, listing)
    async with AsyncExitStack() as stack:
        manager = None
        if "manager" in daemon.doors:
            manager = await stack.enter_async_context(open_face(daemon, chosen, keys["manager"].text, control))
            daemon.doors["manager"].mounts.append(manager.mount())
            main_door.mounts.append(manager.mount("/manager"))
        pool, report = (manager.pool, manager.report) if manager else (None, None)
        access = Access(daemon.home.root_log, keys["admin"].text)
        await trio.to_thread.run_sync(access.load)
        work = await stack.enter_async_context(open_work(control, listing, pool))
        admin = await stack.enter_async_context(open_admin(control, listing, work, access, report=report))
        main_door.mounts[:0] = [*main_mounts(daemon, admin.access), admin.mount()]
        daemon.at_stop.append(admin.close_feeds)
        yield


def tell(daemon: Daemon, keys: Mapping[str, Key]) -> None:
    """What is where, and last of all, in a line of its own, that it is there. Of tokens, only where they are."""
    faces = [(door.name, door.address, told_of(door.mounts)) for door in daemon.doors.values()]
    tokens = [(name, str(key.path) if key.path else "as it was given") for name, key in keys.items()]
    print(f"agentd {__version__}, process {os.getpid()}, data in {daemon.home.root}\n")
    print(f"{table([('FACE', 'ADDRESS', 'WHAT'), *faces])}\n")
    print(f"{table([('TOKEN', 'FILE'), *tokens])}\n")
    print(f"agentd listening on {faces[0][1]}", flush=True)


def told_of(mounts: Sequence[Mount]) -> str:
    return " ".join(mount.prefix or "/" for mount in mounts)


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
