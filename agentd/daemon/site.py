"""What whoever runs this machine sets for every job on it, whichever verb and face it comes by. No trio here.

[jobs]                            [[plugins]]
sandbox = "best-effort"           path = "/srv/plugins/review"

[mcp.servers.wiki]                `agentd help config` has all of it
url = "https://wiki.example/mcp"
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from agentd.config import BOOLEANS, Option, Settings, Table
from agentd.domain import EVERY_HOST, McpServer, Plugin, Site
from agentd.wire.egress import endpoint_of, parse_endpoint

SITE = {
    "sandbox": Option("AGENTD_SANDBOX", key="jobs.sandbox", default="off"),
    "sandbox-network": Option("AGENTD_SANDBOX_NETWORK", many=True, key="jobs.sandbox_network"),
    "plugin": Option("AGENTD_PLUGINS", many=True),
    "allow-plugin-hooks": Option("AGENTD_ALLOW_PLUGIN_HOOKS", switch=True, key="jobs.allow_plugin_hooks"),
    "mcp-connect-timeout": Option("AGENTD_MCP_CONNECT_TIMEOUT", key="jobs.mcp_connect_timeout", default="5"),
    "offline": Option("AGENTD_OFFLINE", switch=True, key="serve.offline"),
    "reachable": Option("AGENTD_REACHABLE", many=True, key="serve.reachable"),
}
KEYS = tuple(option.key.removeprefix("jobs.") for option in SITE.values() if option.key.startswith("jobs."))
PLUGIN_KEYS = ("path", "name", "enabled")
SANDBOX = ("off", "best-effort", "require")


def read_site(settings: Settings) -> Site:
    """Of *settings* that have SITE and their configuration file. Raises InvalidSetting."""
    settings.file.table("jobs").only(*KEYS)
    return Site(
        servers=_servers(settings),
        connect_seconds=settings.number("mcp-connect-timeout"),
        plugins=tuple({plugin.name: plugin for plugin in _plugins(settings)}.values()),
        plugin_hooks=settings.switch("allow-plugin-hooks"),
        sandbox=cast("Any", settings.one_of("sandbox", *SANDBOX)),
        sandbox_hosts=_hosts(settings),
        offline=settings.switch("offline"),
        reachable=tuple(_endpoints(settings)),
    )


def _hosts(settings: Settings) -> tuple[str, ...]:
    """What is named, or one word for all or nothing."""
    named = tuple(host.strip() for text in settings.many("sandbox-network") for host in text.split(",") if host.strip())
    if len(named) == 1 and (said := BOOLEANS.get(named[0].lower())) is not None:
        return EVERY_HOST if said else ()
    for host in named:
        from agentd.sandbox.netproxy import Allowed  # most name none

        if Allowed.parse(host) is None:
            raise settings.misfit("sandbox-network", f"{host!r} is no host: name, *.name, name:port; or true, or false")
    return named


def _endpoints(settings: Settings) -> Iterator[str]:
    for text in (text for given in settings.many("reachable") for text in given.split(",") if text.strip()):
        try:
            yield endpoint_of(*parse_endpoint(text))
        except ValueError as exc:
            raise settings.misfit("reachable", str(exc)) from exc


def _servers(settings: Settings) -> dict[str, McpServer]:
    if not settings.file.table("mcp").only("servers").values:
        return {}
    from agentd.tools.mcp.config import servers_of  # most have none, and a daemon needs nothing else of it

    return servers_of(settings.file, settings.env)


def _plugins(settings: Settings) -> Iterator[Plugin]:
    """Those of the file, then those of flags or the environment; of one name the last counts."""
    for table in settings.file.array("plugins"):
        yield _plugin(table.only(*PLUGIN_KEYS), Path(settings.file.file).parent)
    given = [path for text in settings.from_environment("plugin") for path in text.split(os.pathsep) if path.strip()]
    for path in settings.flags("plugin") or given:
        place = Path(path.strip()).expanduser().absolute()
        yield Plugin(place.name, str(place))


def _plugin(table: Table, directory: Path) -> Plugin:
    """Relative to the configuration file's *directory*."""
    text = table.text("path")
    if text is None:
        raise table.misfit("path", "is missing")
    path = directory / Path(text).expanduser()
    return Plugin(table.text("name") or path.name, str(path), enabled=table.switch("enabled") is not False)
