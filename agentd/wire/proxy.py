"""Which proxy a request goes through, by the variables that programs share. Nothing is opened here.

There is no standard; where programs differ this does what most of curl, Go and Python's urllib do. `http_proxy` and
`https_proxy` name the proxy for URLs of that scheme, `all_proxy` that for both; lower case counts before upper case.
`no_proxy` lists exemptions, with commas or spaces between them:

    *                    everything
    example.com          that name and all below it, as .example.com and *.example.com
    10.1.2.3  [fd00::1]  an address        10.0.0.0/8  fd00::/8  a network; names are not looked up for these
    example.com:8080     any of them with a port: only on that port

Loopback is never reached through a proxy: it would be the proxy's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import attrs

from agentd.wire.failure import HttpFailed
from agentd.wire.urls import InvalidUrl, Url, basic, parse_url


@attrs.frozen
class Proxy:
    tls: bool  # whether the proxy itself is spoken to over TLS
    host: str
    port: int
    authorization: str = attrs.field(default="", repr=False)  # the value of Proxy-Authorization; "" for none

    def __str__(self) -> str:
        return f"the proxy {f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


@attrs.frozen
class _Setting:
    variable: str
    text: str = attrs.field(repr=False)  # may hold a password


@attrs.frozen
class Exemption:
    """One item of no_proxy: *where* is a network, or a name, or None for everything."""

    where: IPv4Network | IPv6Network | str | None
    port: int | None

    def covers(self, host: str, address: IPv4Address | IPv6Address | None, port: int) -> bool:
        if self.port not in (None, port):
            return False
        if self.where is None:
            return True
        if isinstance(self.where, str):
            return host == self.where or host.endswith(f".{self.where}")
        return address is not None and address.version == self.where.version and address in self.where


@attrs.frozen
class Proxies:
    """What the environment says. Without any, everything is reached directly."""

    by_scheme: Mapping[str, _Setting] = attrs.field(factory=dict)
    exemptions: tuple[Exemption, ...] = ()

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Proxies:
        """Settings that are no URLs are told when they are to be used."""
        by_scheme = {}
        for scheme in ("http", "https"):
            for variable in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY"):
                if variable == "HTTP_PROXY" and "REQUEST_METHOD" in env:
                    continue  # a CGI program: this is the client's field `Proxy` (CVE-2016-5385)
                if text := env.get(variable, "").strip():
                    by_scheme[scheme] = _Setting(variable, text)
                    break
        return cls(by_scheme, parse_exemptions(env.get("no_proxy") or env.get("NO_PROXY") or ""))

    def choose(self, url: Url) -> Proxy | None:
        """The proxy for *url*; None: go there directly. Raises HttpFailed for a setting that names no proxy."""
        setting = self.by_scheme.get(url.scheme)
        if setting is None or self._is_exempt(url):
            return None
        return _parse(setting)

    def _is_exempt(self, url: Url) -> bool:
        address = _address(url.host)
        if url.host == "localhost" or url.host.endswith(".localhost") or (address and address.is_loopback):
            return True
        return any(exemption.covers(url.host, address, url.port) for exemption in self.exemptions)


def parse_exemptions(text: str) -> tuple[Exemption, ...]:
    """The items of no_proxy. One that means nothing is left out, as all programs do."""
    items = (_parse_exemption(item) for item in re.split(r"[,\s]+", text.lower()) if item)
    return tuple(item for item in items if item is not None)


def _parse_exemption(item: str) -> Exemption | None:
    if item == "*":
        return Exemption(None, None)
    network = _network(item)
    if network is not None:  # before a port is looked for: fd00::1 has colons of its own
        return Exemption(network, None)
    name, colon, digits = item.rpartition(":")
    if not colon:
        name = item
    elif not re.fullmatch(r"[0-9]{1,5}", digits):
        return None
    port = int(digits) if colon else None
    if name == "*":
        return Exemption(None, port)
    where = _network(name) or name.removeprefix("*").strip(".")
    return Exemption(where, port) if where else None


def _network(text: str) -> IPv4Network | IPv6Network | None:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        network = ip_network(bare, strict=False)
    except ValueError:
        return None
    mapped = network.network_address.ipv4_mapped if isinstance(network, IPv6Network) else None
    return ip_network(mapped) if mapped is not None and network.prefixlen == 128 else network


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _parse(setting: _Setting) -> Proxy:
    text = setting.text if "://" in setting.text else f"http://{setting.text}"
    scheme = text.partition("://")[0].lower()
    if scheme not in ("http", "https"):
        raise HttpFailed("proxy", f"{setting.variable} names a {scheme} proxy; only http and https proxies can be used")
    try:
        url = parse_url(text)
    except InvalidUrl as exc:
        raise HttpFailed("proxy", f"{setting.variable} is no URL of a proxy: {exc}") from exc
    return Proxy(scheme == "https", url.host, url.port, basic(url.userinfo) if url.userinfo else "")
