"""The daemon that `agentd mcp serve` is where there is no other: MCP and the admin API on a socket in its directory."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from agentd.cli.manager import open_executors
from agentd.config import Settings
from agentd.daemon.access import Access
from agentd.daemon.announced import announce
from agentd.daemon.app import Daemon, Door, open_daemon
from agentd.daemon.contacts import go_offline
from agentd.daemon.keys import open_key
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_work
from agentd.daemon.settings import count, data_directory, executor_settings, load_services
from agentd.faces.admin.routes import open_admin
from agentd.faces.mcp.routes import open_mcp
from agentd.store.home import Home
from agentd.wire.listeners import open_unix_listener

SOCKET = "mcp.sock"  # in the data directory


async def run_daemon(settings: Settings, stop: trio.Event, *, task_status: trio.TaskStatus[None]) -> None:
    """Until *stop* is set, or a signal; ready when requests are taken. At the end jobs that are at work are stopped,
    those that wait for an answer go on waiting. Raises Locked: somebody else has the directory; AgentdError."""
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        daemon.stop = stop
        await _serve(daemon, settings, task_status.started)


async def _serve(daemon: Daemon, settings: Settings, say: Callable[[], None]) -> None:
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
