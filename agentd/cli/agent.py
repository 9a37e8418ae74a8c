"""`agentd agent`: the agent API alone. The rules: contract agent-api.md, 21.

How settings become that face on a daemon is here for `agentd serve` too.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import attrs
import trio

from agentd.cli.manager import open_executors, run
from agentd.config import Settings, read_settings
from agentd.daemon.access import Access
from agentd.daemon.app import Daemon, open_daemon
from agentd.daemon.contacts import go_offline
from agentd.daemon.figures import watch_in_place
from agentd.daemon.keys import Key, open_key
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import Work, open_work
from agentd.daemon.settings import (
    AGENT_OPTIONS,
    agent_keys,
    agent_workspace,
    count,
    data_directory,
    executor_settings,
    hosts,
    listed,
    load,
    load_services,
    rate_limits,
    seconds,
    seconds_or_off,
    url_policy,
)
from agentd.domain import Site
from agentd.faces.agent.keys import ApiKeys
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.rates import KINDS
from agentd.faces.agent.routes import AgentSettings, App, open_agent
from agentd.faces.agent.terms import Terms
from agentd.providers.settings import Catalog
from agentd.store.home import Home

OPTIONS = AGENT_OPTIONS
KEY = "agent"  # the file of a key that is made


def main(argv: list[str]) -> int:
    """0 after a signal; 1 if it cannot start, for whatever reason."""
    if any(word in ("-h", "--help") for word in argv):
        from agentd.cli.help import page, show

        show(page("agent"))
        return 0
    return run("agent", lambda: load(read_settings(OPTIONS, argv, os.environ), os.environ), serve_agent)


async def serve_agent(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises AgentdError."""
    executors, catalog = executor_settings(settings, hooks=True), load_services(settings, os.environ)
    executors = attrs.evolve(executors, site=go_offline(executors.site, catalog, os.environ))
    chosen, most = agent_settings(settings, catalog, executors.site), count(settings, "max-executors")
    async with open_daemon(Home(data_directory(settings)), os.environ) as daemon:
        keys = open_keys(daemon, settings)
        door = daemon.open_door(settings, "agent", "listen-addr", keys[0].text)
        access = Access(daemon.home.root_log, "")
        await trio.to_thread.run_sync(access.load)
        async with (
            open_executors(daemon, executors, catalog, "agent") as control,
            open_listing(daemon.home) as listing,
            open_work(control, listing, most=most, budget_of=access.budget) as work,
            open_face(daemon, chosen, keys, work, access) as agent,
        ):
            door.origins = chosen.origins
            watch_in_place(daemon.metrics, work.sessions)
            daemon.at_stop.append(work.sessions.tails.close)
            door.mounts.append(agent.mount())
            await daemon.serve(hosts(settings), lambda: print(told(daemon, keys[0]), flush=True))


def told(daemon: Daemon, key: Key) -> str:
    where = f"agentd agent: its key is in {key.path}\n" if key.path else ""
    return f"{where}agentd agent listening on {daemon.doors['agent'].address}"


def open_keys(daemon: Daemon, settings: Settings) -> list[Key]:
    """Those that are given, else one that is kept. Raises InvalidSetting, StoreFailed."""
    return [Key(text) for text in agent_keys(settings)] or [open_key(daemon.home, KEY)]


def agent_settings(settings: Settings, catalog: Catalog, site: Site) -> AgentSettings:
    """Raises InvalidSetting."""
    aliases = {**catalog.aliases, **settings.aliases("model-alias")}
    terms = Terms(
        workspace=agent_workspace(settings),
        models=ModelNames.of(attrs.evolve(catalog, aliases=aliases)),
        url_policy=url_policy(settings),
        question_seconds=seconds_or_off(settings, "question-timeout"),
        hook_seconds=count(settings, "hook-timeout"),
        turns=count(settings, "default-max-turns") if settings.text("default-max-turns") else None,
    )
    return AgentSettings(
        terms,
        request_seconds=seconds_or_off(settings, "request-timeout"),
        max_body_bytes=count(settings, "max-body-bytes"),
        grace_seconds=seconds(settings, "shutdown-grace"),
        site=site,
        origins=tuple(origin.lower().rstrip("/") for origin in listed(settings, "agent-cors-origin")),
        rates=rate_limits(settings, KINDS),
    )


@asynccontextmanager
async def open_face(
    daemon: Daemon, chosen: AgentSettings, keys: Sequence[Key], work: Work, access: Access
) -> AsyncIterator[App]:
    """The agent API on a daemon, which lets its runs end before it stops serving."""
    async with open_agent(work, ApiKeys((key.text for key in keys), access), chosen) as agent:
        daemon.before_stop.append(agent.stop)
        yield agent
