"""`agentd doctor --egress`: everything that could be contacted from here, why, and what --offline would leave of it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from agentd.cli.doctor import Finding
from agentd.config import Settings
from agentd.daemon.contacts import REMOTE, Contact, contacts
from agentd.daemon.site import read_site
from agentd.domain import Site
from agentd.providers.settings import Catalog, read_catalog
from agentd.wire.egress import is_local, parse_endpoint

RESOLVER = Path("/etc/resolv.conf")
STAYS, GOES = "--offline leaves it", "--offline refuses it"
WHY: Mapping[str, Callable[[Contact], str]] = {
    "models": lambda each: f"language models of the service {each.name}",
    "mcp": lambda each: f"the MCP server {each.name}",
    "proxy": lambda each: f"the proxy that {each.name} names: it is asked for what is not local",
    "reachable": lambda each: "named by --reachable",
}
BY_JOBS = (
    (
        "web pages",
        "WebFetch, where it is permitted: any public page; of this machine and its network by the URL policy",
    ),
    ("images", "that a request names by URL"),
    ("hooks", "webhooks that a request names; the URL policy says which"),
    ("mcp", "servers that a request brings along by URL"),
)
NOTHING_ELSE = "nothing else: no telemetry, no look for updates, nothing is fetched when it is not asked for"


def examine(settings: Settings, env: Mapping[str, str]) -> Iterator[Finding]:
    """Raises InvalidSetting."""
    catalog, site = read_catalog(settings.read_file(), env), read_site(settings)
    yield Finding("offline", "good", "on: what is refused is not contacted" if site.offline else "off")
    listed = list(contacts(catalog, site, env))
    yield from map(_configured, listed)
    yield from _names(listed)
    yield from _fallback(catalog)
    yield from _programs(site, settings)
    yield from (Finding(name, "good", f"{text}: {GOES}, but for loopback and --reachable") for name, text in BY_JOBS)
    yield Finding("else", "good", NOTHING_ELSE)


def _configured(each: Contact) -> Finding:
    return Finding(each.kind, "good", f"{each.endpoint}, {WHY[each.kind](each)}: {STAYS}")


def _names(listed: list[Contact]) -> Iterator[Finding]:
    """Who is asked for the addresses of what is configured by name."""
    hosts = {parse_endpoint(each.endpoint)[0] for each in listed}
    names = sorted(host for host in hosts if not is_local(host) and ":" not in host and not host[-1:].isdigit())
    if names:
        yield Finding("dns", "good", f"{_resolvers()}, for the addresses of {', '.join(names)}: --offline leaves these")


def _resolvers() -> str:
    try:
        lines = RESOLVER.read_text(errors="replace").splitlines()
    except OSError:
        return "the system's resolver"
    found = [words[1] for words in map(str.split, lines) if words[:1] == ["nameserver"] and len(words) > 1]
    return ", ".join(found) or "the system's resolver"


def _fallback(catalog: Catalog) -> Iterator[Finding]:
    if catalog.roles.fallback is not None:
        text = f"{catalog.roles.fallback} serves a job whose own model cannot be reached: {STAYS}"
        yield Finding("fallback", "good", text)


def _programs(site: Site, settings: Settings) -> Iterator[Finding]:
    alone = "--offline gives them a loopback and no other network, or refuses them where that cannot be had"
    yield Finding("commands", "good", f"commands of jobs reach what this machine reaches: {alone}")
    for name, server in site.servers.items():
        if server.transport not in REMOTE and not server.problem:
            text = f"{name} runs {shlex.quote(Path(server.command or '').name)}, which reaches what it likes: {alone}"
            yield Finding("mcp", "good", text)
    if (command := settings.text("executor-command")) is not None:
        text = f"`{shlex.split(command)[0]}` starts executors, which are reached where they say that they are: {STAYS}"
        yield Finding("executors", "good", text)
