"""Which servers the configuration alone makes this program contact: what --offline leaves. No trio here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from agentd.domain import Site
from agentd.errors import InvalidSetting
from agentd.providers.settings import Catalog
from agentd.wire import egress
from agentd.wire.failure import HttpFailed
from agentd.wire.proxy import Proxies
from agentd.wire.urls import InvalidUrl, Url, parse_url

REMOTE = ("http", "sse")  # transports of MCP servers that are reached by a URL


@attrs.frozen
class Contact:
    """*kind*: models, mcp, proxy, or reachable for what an operator named; *name*: by which it is set."""

    kind: str
    name: str
    endpoint: str  # host:port


def contacts(catalog: Catalog, site: Site, env: Mapping[str, str]) -> Iterator[Contact]:
    """Those that are set, each as often as it is set. What is no URL is left out: it is told where it is used."""
    urls = [("models", each.name, each.base_url) for each in catalog.providers]
    urls += [("mcp", name, each.url or "") for name, each in site.servers.items() if each.transport in REMOTE]
    for kind, name, text in urls:
        if (url := _url(text)) is not None and url.scheme != "http+unix":
            yield Contact(kind, name, egress.endpoint_of(url.host, url.port))
            yield from _proxy(url, env)
    yield from (Contact("reachable", "--reachable", each) for each in site.reachable)


def _proxy(url: Url, env: Mapping[str, str]) -> Iterator[Contact]:
    try:
        proxy = Proxies.from_env(env).choose(url)
    except HttpFailed:
        return
    if proxy is not None:
        yield Contact("proxy", f"{url.scheme}_proxy", egress.endpoint_of(proxy.host, proxy.port))


def _url(text: str) -> Url | None:
    try:
        return parse_url(text)
    except InvalidUrl:
        return None


def go_offline(site: Site, catalog: Catalog, env: Mapping[str, str]) -> Site:
    """Where the site is to be offline: from now on this process is; and the site as executors are told of it. Raises
    InvalidSetting."""
    if not site.offline:
        return site
    endpoints = tuple(dict.fromkeys(contact.endpoint for contact in contacts(catalog, site, env)))
    try:
        egress.install(endpoints)
    except ValueError as exc:
        raise InvalidSetting(f"--reachable: {exc}") from exc
    return attrs.evolve(site, reachable=endpoints)
