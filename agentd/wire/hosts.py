"""Host and Origin checks, for listeners that a browser can reach. No sockets and no trio here.

A page from anywhere may make its visitor's browser send requests to 127.0.0.1, and a name that its owner re-points to
127.0.0.1 makes them same-origin (DNS rebinding). So a request must name a host that is ours, and come from no page or
from one of ours. An address is as good as a name of ours: rebinding needs a name.
"""

from __future__ import annotations

from collections.abc import Collection
from ipaddress import ip_address

from agentd.errors import AgentdError
from agentd.wire.messages import Headers

LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})
REMEMBERED = 256


class ForeignRequest(AgentdError):
    """A browser was made to send this by somebody else's page."""

    code = "FORBIDDEN"


class HostCheck:
    """*names*: public names of this server, besides loopback and addresses. *origins*: of pages that may send requests
    although they are not ours; "*": of any."""

    def __init__(self, names: Collection[str] = (), origins: Collection[str] = ()) -> None:
        self._origins = frozenset(origin.lower().rstrip("/") for origin in origins)
        self._public = frozenset(name.lower().rstrip(".") for name in names)
        self._good: set[str] = set()  # Host values that passed: nearly every request has the one before's

    def check(self, headers: Headers) -> None:
        """Raises ForeignRequest."""
        host = headers.get("host")
        if host not in self._good and host:  # HTTP/1.0 may have none; browsers always send it
            if not self._is_ours(_name(host)):
                raise ForeignRequest(f"this server does not answer for the host {host!r}; see allowed_hosts")
            if len(self._good) < REMEMBERED:
                self._good.add(host)
        if b"origin" in headers.raw and not self._is_own_origin(headers["origin"].lower(), host.lower()):
            raise ForeignRequest("requests from pages of other origins are not accepted; see allowed_hosts")

    def _is_ours(self, name: str) -> bool:
        return name in LOOPBACK_NAMES or name in self._public or name.endswith(".localhost") or _is_address(name)

    def _is_own_origin(self, origin: str, host: str) -> bool:
        if not self._origins.isdisjoint((origin, "*")):
            return True
        scheme, _, authority = origin.partition("://")
        if scheme not in ("http", "https"):
            return False  # "null" too: a sandboxed frame, a file
        return authority == host or _name(authority) in self._public


def _name(authority: str) -> str:
    """Without the port: [::1]:80 -> ::1."""
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
