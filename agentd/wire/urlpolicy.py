"""Which URLs may be fetched on somebody else's word: a page's, a model's, a request's. Nothing is opened here.

The rule is the agent API contract, 12.5. It is applied twice: check_url() looks at what is written, when it comes in;
checked() looks at the addresses that a name has, and those are the ones that are then connected to. A name that has
another address a moment later (DNS rebinding) gains nothing by it. Through a proxy names are resolved by the proxy: its
own rules are the second check there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from agentd.errors import AgentdError
from agentd.wire.urls import Url, parse_url

INTERNAL = "URLs targeting internal resources are not allowed"

if TYPE_CHECKING:
    from agentd.wire.resolve import Resolve

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class UrlPolicy(StrEnum):
    LOCAL = "local"  # loopback and private networks are fine: hooks and MCP servers of a developer live there
    STRICT = "strict"


class UrlRefused(AgentdError):
    """The text names no address: whoever may not fetch it shall not learn what is there."""

    code = "URL_NOT_ALLOWED"

    def __init__(self) -> None:
        super().__init__(INTERNAL)


def check_url(text: str, policy: UrlPolicy) -> Url:
    """What is written in *text*. Raises InvalidUrl, and UrlRefused."""
    url = parse_url(text)
    check(url, policy)
    return url


def check(url: Url, policy: UrlPolicy) -> None:
    """Raises UrlRefused."""
    if url.scheme == "http+unix":
        raise UrlRefused
    check_host(url.host, policy)


def check_host(host: str, policy: UrlPolicy) -> None:
    """A name, or an address. Raises UrlRefused."""
    try:
        check_address(host, policy)
    except ValueError:  # a name
        names = _NEVER_NAMES if policy is UrlPolicy.LOCAL else (*_NEVER_NAMES, *_LOCAL_NAMES)
        if any(fnmatchcase(host.lower().rstrip("."), name) for name in names):
            raise UrlRefused from None


def check_address(text: str, policy: UrlPolicy) -> None:
    """Raises UrlRefused; ValueError if it is no address."""
    address = ip_address(text)
    if address.version == 6 and not _is_of(address, _IN_USE):  # link-local, multicast, unspecified, reserved
        raise UrlRefused
    networks = _NEVER if policy is UrlPolicy.LOCAL else (*_NEVER, *_LOCAL)
    if _is_of(address, networks) or _is_of(_meant(address), networks):
        raise UrlRefused  # 64:ff9b::a9fe:a9fe is 169.254.169.254 behind a translator


def is_loopback(host: str) -> bool:
    """Whether it is this machine, by what is written."""
    try:
        return _meant(ip_address(host)).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def checked(resolve: Resolve, policy: UrlPolicy) -> Resolve:
    """A resolver whose addresses *policy* lets pass. It raises UrlRefused when one of a name's addresses does not."""

    async def resolve_checked(host: str, port: int) -> Sequence[str]:
        check_host(host, policy)
        addresses = await resolve(host, port)
        for address in addresses:
            check_address(address, policy)
        return addresses

    return resolve_checked


def _is_of(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)


def _meant(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, where it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


# By number, and not by ipaddress' is_private and is_reserved: what those say differs between releases of Python.
_NAT64 = ip_network("64:ff9b::/96")
_NEVER = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",  # "this host": Linux connects it to itself
            "169.254.0.0/16",  # link-local: the metadata services of most clouds
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
            "100.100.100.200",  # metadata of Alibaba's cloud
            "168.63.129.16",  # of Azure
            "192.0.0.192",  # of Oracle
            "fd00:ec2::254",  # and of Amazon, by IPv6
        ),
    )
)
_IN_USE = tuple(map(ip_network, ("::1", "2000::/3", "fc00::/7", "::ffff:0:0/96", "64:ff9b::/96")))  # of IPv6
_LOCAL = tuple(
    map(
        ip_network,
        (
            "127.0.0.0/8",
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "100.64.0.0/10",  # shared by the customers of a carrier; VPNs use it too
            "192.0.0.0/24",
            "192.0.2.0/24",  # documentation, and so are 198.51.100 and 203.0.113
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",
            "203.0.113.0/24",
            "::1",
            "fc00::/7",
            "2001::/23",  # of protocols
            "2001:db8::/32",
            "2002::/16",  # 6to4, of which little is left
            "3fff::/20",
        ),
    )
)
_NEVER_NAMES = ("metadata.google.internal", "metadata.aws.*", "instance-data", "instance-data.*")
_LOCAL_NAMES = ("localhost", "*.localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback")
