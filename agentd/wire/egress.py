"""--offline: this process contacts nothing but this machine and what is configured. Nothing is opened here.

An audit hook (sys.addaudithook, PEP 578) sees every connect, send to an address and look-up of a name that Python code
makes, whatever library it is in; it stays for as long as the process lives. What is not of this machine has to be one
of the endpoints that were named. Of a name, the addresses count that it was looked up to have, no others, and only with
the port that was named. What other programs do is not its business: they get a network namespace of their own.

One thing comes too late for a hook: a name given to socket.connect() is looked up before it is told of. No code here
does that; trio refuses to.
"""

from __future__ import annotations

import errno
import logging
import socket
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

MOST_ADDRESSES = 256  # that all names together have had
MOST_TARGETS = 100  # that are told apart, in the log and in figures
OTHERS = "others"
LOCAL_FAMILIES = frozenset(
    getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK", "AF_ALG") if hasattr(socket, name)
)  # of sockets that end on this machine
logger = logging.getLogger(__name__)


class EgressRefused(PermissionError):
    """Who wanted to contact something that is neither of this machine nor configured gets this, an OSError."""

    def __init__(self, target: str) -> None:
        super().__init__(errno.EPERM, f"refused: offline; {target} is neither loopback nor configured")
        self.target = target


class Guard:
    """Decides. *reachable*: `host:port`, the host a name or an address, an IPv6 one in brackets."""

    def __init__(self, reachable: Iterable[str] = ()) -> None:
        self.refused: Counter[str] = Counter()  # by target
        self._endpoints: set[tuple[str, int]] = set()
        self._addresses: dict[tuple[str, int], None] = {}  # of names, those looked up last at the end
        for endpoint in reachable:
            self.permit(endpoint)

    def permit(self, endpoint: str) -> None:
        """Raises ValueError for what is no endpoint."""
        self._endpoints.add(parse_endpoint(endpoint))

    def learn(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """*host* was looked up: if it may be reached on *port*, so may these."""
        if (_plain(host), port) in self._endpoints:
            for address in addresses:
                self._addresses.pop((address, port), None)
                self._addresses[address, port] = None
            while len(self._addresses) > MOST_ADDRESSES:
                del self._addresses[next(iter(self._addresses))]

    def check(self, host: str, port: int) -> None:
        """Raises EgressRefused."""
        plain = _plain(host)
        if not (is_local(plain) or (plain, port) in self._endpoints or (plain, port) in self._addresses):
            self._refuse(endpoint_of(plain, port))

    def check_name(self, host: str) -> None:
        """Whether it may be looked up. Raises EgressRefused."""
        plain = _plain(host)
        if not (is_local(plain) or is_literal(plain) or any(plain == name for name, _ in self._endpoints)):
            self._refuse(plain)

    def _refuse(self, target: str) -> None:
        counted = target if target in self.refused or len(self.refused) < MOST_TARGETS else OTHERS
        self.refused[counted] += 1
        if self.refused[counted] == 1:
            logger.warning("offline: nothing is sent to %s, which is neither loopback nor configured", counted)
        raise EgressRefused(target)

    # --- What the hook is told ------------------------------------------------------------------------------------

    def audit(self, event: str, args: tuple[Any, ...]) -> None:
        """Raises EgressRefused."""
        if (look := _LOOKS.get(event)) is not None:
            look(self, args)

    def _on_contact(self, args: tuple[Any, ...]) -> None:
        """A socket, and the address that it is to send to; None: it is connected."""
        sock, address = args
        if sock.family in LOCAL_FAMILIES or address is None:
            return
        if sock.family not in (socket.AF_INET, socket.AF_INET6):
            self._refuse(f"an address of family {int(sock.family)}")
        if isinstance(address, tuple) and len(address) >= 2:  # else Python is about to raise TypeError
            self.check(_text(address[0]), address[1])

    def _on_lookup(self, args: tuple[Any, ...]) -> None:
        if args[0] is not None:
            self.check_name(_text(args[0]))

    def _on_reverse_lookup(self, args: tuple[Any, ...]) -> None:
        host = args[0][0] if isinstance(args[0], tuple) else args[0]
        plain = _plain(_text(host))
        if not (is_local(plain) or any(plain == known for known, _ in (*self._endpoints, *self._addresses))):
            self._refuse(plain)


_LOOKS: Mapping[str, Callable[[Guard, tuple[Any, ...]], None]] = {
    "socket.connect": Guard._on_contact,  # connect_ex too
    "socket.sendto": Guard._on_contact,
    "socket.sendmsg": Guard._on_contact,
    "socket.getaddrinfo": Guard._on_lookup,
    "socket.gethostbyname": Guard._on_lookup,  # and gethostbyname_ex
    "socket.gethostbyaddr": Guard._on_reverse_lookup,
    "socket.getnameinfo": Guard._on_reverse_lookup,
}


# --- Endpoints ----------------------------------------------------------------------------------------------------


def parse_endpoint(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port`, as a name or an address and a port. Raises ValueError."""
    host, colon, digits = text.strip().rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not host or (":" in host and not bracketed):
        raise ValueError(f"{text!r} is not host:port")
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
        raise ValueError(f"{text!r} has no port from 1 to 65535")
    return _plain(host.strip("[]")), int(digits)


def endpoint_of(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_local(host: str) -> bool:
    """Whether it is this machine, by what is written: loopback, its names, and the address that stands for "here"."""
    if host in ("", "localhost", "127.0.0.1", "::1", "0.0.0.0", "::") or host.endswith(".localhost"):
        return True
    from ipaddress import ip_address

    try:
        address = ip_address(host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback  # not what a translator would make of it


def _plain(host: str) -> str:
    """In one of the ways in which it can be written: no dot behind it, no zone, one form of IPv6."""
    plain = host.partition("%")[0].rstrip(".").lower()
    if ":" not in plain:
        return plain
    from ipaddress import ip_address

    try:
        return str(ip_address(plain))
    except ValueError:
        return plain


def is_literal(host: str) -> bool:
    """Whether it is an address, for which nobody is asked."""
    from ipaddress import ip_address

    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _text(host: object) -> str:
    return host.decode("utf-8", "replace") if isinstance(host, bytes | bytearray) else str(host)


# --- This process -------------------------------------------------------------------------------------------------

_guard: Guard | None = None


def install(reachable: Iterable[str] = ()) -> Guard:
    """From now on, and for good. Once more: *reachable* may be contacted too. Raises ValueError for what is no
    endpoint."""
    global _guard
    if _guard is not None:
        for endpoint in reachable:
            _guard.permit(endpoint)
        return _guard
    guard = _guard = Guard(reachable)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event.startswith("socket."):  # of thousands of events, these few
            guard.audit(event, args)

    sys.addaudithook(hook)
    return guard


def permit(endpoint: str) -> None:
    """What this process has started elsewhere, or was started by."""
    if _guard is not None:
        _guard.permit(endpoint)


def learn(host: str, port: int, addresses: Iterable[str]) -> None:
    if _guard is not None:
        _guard.learn(host, port, addresses)


def check(host: str, port: int) -> None:
    """Before anything else is done for it: a proxy would be asked for any host. Raises EgressRefused."""
    if _guard is not None:
        _guard.check(host, port)


def refused() -> Mapping[str, int]:
    """How often what was refused since this process began."""
    return dict(_guard.refused) if _guard is not None else {}
