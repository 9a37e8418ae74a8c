"""`agentd serve`: every API of this program, from one process and one data directory."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import attrs
import trio

from agentd import __version__
from agentd.cli.agent import agent_settings, open_keys
from agentd.cli.agent import open_face as open_agent
from agentd.cli.apidocs import face_docs, joint_docs
from agentd.cli.manager import open_executors, run
from agentd.cli.manager import open_face as open_manager
from agentd.cli.runsapi import RunsSettings, open_runs_key, runs_settings
from agentd.cli.runsapi import open_face as open_runs
from agentd.config import Settings, read_settings
from agentd.daemon.access import Access
from agentd.daemon.announced import announce
from agentd.daemon.app import Daemon, main_mounts, open_daemon
from agentd.daemon.contacts import go_offline
from agentd.daemon.figures import watch_in_place, watch_lists
from agentd.daemon.harness import load_env_file
from agentd.daemon.keys import Key, open_key
from agentd.daemon.listing import Listing, open_listing
from agentd.daemon.opening import Control, open_work
from agentd.daemon.settings import (
    OFF,
    SERVE_OPTIONS,
    ExecutorSettings,
    ManagerSettings,
    count,
    data_directory,
    executor_settings,
    hosts,
    load_serve,
    load_services,
    manager_settings,
)
from agentd.errors import InvalidSetting
from agentd.faces.admin.routes import open_admin
from agentd.faces.agent.routes import AgentSettings
from agentd.faces.dashboard.routes import Dashboard
from agentd.faces.mcp.routes import open_mcp
from agentd.faces.runs.base import EVERYBODY
from agentd.providers.settings import Catalog
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
        load_env_file(argv, os.environ)
        settings = read_settings(OPTIONS, argv, os.environ)
    except InvalidSetting as wrong:
        print(f"agentd serve: {wrong}; `agentd help serve` shows how it is used", file=sys.stderr)
        return 2
    return run("serve", lambda: load_serve(settings, os.environ), serve)


@attrs.frozen
class Chosen:
    """What is set, of every face."""

    executors: ExecutorSettings
    catalog: Catalog
    manager: ManagerSettings
    agent: AgentSettings
    most: int  # executors of sessions in place

    @classmethod
    def of(cls, settings: Settings) -> Chosen:
        """Raises InvalidSetting."""
        executors, catalog = executor_settings(settings, hooks=True), load_services(settings, os.environ)
        executors = attrs.evolve(executors, site=go_offline(executors.site, catalog, os.environ))
        return cls(
            executors,
            catalog,
            manager_settings(settings),
            agent_settings(settings, catalog, executors.site),
            count(settings, "max-executors"),
        )


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentdError."""
    chosen = Chosen.of(settings)
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        keys = open_doors(daemon, settings)
        runs = runs_settings(settings, keys["runs"][0]) if "runs" in keys else None
        async with (
            open_executors(daemon, chosen.executors, chosen.catalog, chosen.manager.id) as control,
            open_listing(daemon.home) as listing,
            open_faces(daemon, chosen, runs, keys, control, listing),
        ):
            files = {name: str(key.path) for name, (key, *_) in keys.items() if key.path}
            with announce(daemon.home.root, daemon.doors["main"].address, files):
                await daemon.serve(hosts(settings), lambda: tell(daemon, keys))


def open_doors(daemon: Daemon, settings: Settings) -> dict[str, list[Key]]:
    """Listen for every face that is not off; the tokens, by their names. Raises AgentdError."""
    keys = {"admin": [open_key(daemon.home, "admin", settings.text("admin-token"))]}
    daemon.open_door(settings, "main", "listen", keys["admin"][0].text)
    if settings.one_of("runs", "on", OFF) != OFF:
        keys["runs"] = [open_runs_key(daemon.home, settings)]
    if settings.text("manager") != OFF:
        keys["manager"] = [open_key(daemon.home, "manager", settings.text("auth-token"))]
        daemon.open_door(settings, "manager", "manager", keys["manager"][0].text)
    if settings.text("agent") != OFF:
        keys["agent"] = open_keys(daemon, settings)
        daemon.open_door(settings, "agent", "agent", keys["agent"][0].text)
    return keys


@asynccontextmanager
async def open_faces(
    daemon: Daemon,
    chosen: Chosen,
    runs: RunsSettings | None,
    keys: Mapping[str, Sequence[Key]],
    control: Control,
    listing: Listing,
) -> AsyncIterator[None]:
    """Put every face behind its own door, and behind a prefix of the main one. *runs* None: that one is off. Raises
    AgentdError."""
    main_door = daemon.doors["main"]
    watch_lists(daemon.metrics, listing)
    async with AsyncExitStack() as stack:
        manager = None
        if "manager" in daemon.doors:
            token = keys["manager"][0].text
            manager = await stack.enter_async_context(open_manager(daemon, chosen.manager, token, control))
            put(daemon, "manager", manager.mount)
        pool, report = (manager.pool, manager.report) if manager else (None, None)
        given = {runs.face.token: EVERYBODY} if runs is not None else {}
        access = Access(daemon.home.root_log, keys["admin"][0].text, given=given)
        await trio.to_thread.run_sync(access.load)
        work = await stack.enter_async_context(
            open_work(control, listing, pool, most=chosen.most, budget_of=access.budget)
        )
        watch_in_place(daemon.metrics, work.sessions)
        admin = await stack.enter_async_context(open_admin(control, listing, work, access, report=report))
        unseen = (daemon.home.root, *map(Path, chosen.catalog.files))
        mcp = await stack.enter_async_context(open_mcp(work, access, unseen))
        dashboard = Dashboard(access.principal, keys["admin"][0].path)
        main_door.mounts[:0] = [dashboard.mount(), *main_mounts(daemon, admin.access), admin.mount(), mcp.mount()]
        main_door.mounts += joint_docs(*(("runs", "chat") if runs is not None else ()), "admin")
        if runs is not None:
            main_door.origins = runs.face.origins
            face = open_runs(daemon.home, runs, chosen.catalog, work, access)
            main_door.mounts += await stack.enter_async_context(face)
        if "agent" in daemon.doors:
            agent = await stack.enter_async_context(open_agent(daemon, chosen.agent, keys["agent"], work, access))
            put(daemon, "agent", agent.mount)
            daemon.doors["agent"].origins = chosen.agent.origins  # not of the main one, where other faces are too
        daemon.at_stop += [admin.close_feeds, mcp.stop]
        yield


def put(daemon: Daemon, name: str, mount: Callable[[str], Mount]) -> None:
    """A face behind its own door, and below a prefix of the main one."""
    daemon.doors[name].mounts += [mount(""), *face_docs(name)]
    daemon.doors["main"].mounts += [mount(f"/{name}"), *face_docs(name, f"/{name}")]


def tell(daemon: Daemon, keys: Mapping[str, Sequence[Key]]) -> None:
    """What is where, and last of all, in a line of its own, that it is there. Of tokens, only where they are."""
    faces = [(door.name, door.address, told_of(door.mounts)) for door in daemon.doors.values()]
    tokens = [(name, place_of(key)) for name, (key, *_) in keys.items()]
    print(f"agentd {__version__}, process {os.getpid()}, data in {daemon.home.root}\n")
    print(f"{table([('FACE', 'ADDRESS', 'WHAT'), *faces])}\n")
    print(f"{table([('TOKEN', 'FILE'), *tokens])}\n")
    print(f"agentd listening on {faces[0][1]}", flush=True)


def place_of(key: Key) -> str:
    if key.path is not None:
        return str(key.path)
    return "as it was given" if key.text else "none is needed on this machine"


def told_of(mounts: Sequence[Mount]) -> str:
    # Each has /docs beside it, and some are below others: both would only make the lines longer.
    prefixes = [mount.prefix for mount in mounts if mount.name != "docs"]
    below = {each for each in prefixes if any(other and each.startswith(f"{other}/") for other in prefixes)}
    return " ".join(prefix or "/" for prefix in prefixes if prefix not in below)


def table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
