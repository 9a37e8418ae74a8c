"""From a host to a connected socket: the addresses of a name, and which of them answers first."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import chain, zip_longest

import trio

from agentd.wire import egress

ATTEMPTS = 8  # addresses of one host that are tried
HEAD_START_SECONDS = 0.25  # of one address before the next: RFC 8305, 5

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]  # host and port -> IP addresses, the best first
Dial = Callable[[str, int], Awaitable[trio.socket.SocketType]]


async def resolve(host: str, port: int) -> Sequence[str]:
    """The IP addresses of *host*, in the system's order of preference. Raises OSError."""
    if is_address(host):
        return [host]
    found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
    egress.learn(host, port, addresses)
    return addresses


def is_address(host: str) -> bool:
    if ":" in host:
        return True  # no name has a colon
    try:
        socket.inet_pton(socket.AF_INET, host)
    except OSError:
        return False
    return True


async def dial(address: str, port: int) -> trio.socket.SocketType:
    """Connect to one IP address. Raises OSError."""
    sock = trio.socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await sock.connect((address, port))
    except BaseException:
        sock.close()
        raise
    return sock


async def dial_first(addresses: Iterable[str], port: int, dial: Dial = dial) -> trio.socket.SocketType:
    """The first connection that succeeds (RFC 8305): an address gets a head start before the next one is tried too.
    Raises OSError, which says what each of them did."""
    failures: list[str] = []
    won: list[trio.socket.SocketType] = []

    async def attempt(address: str, over: trio.Event) -> None:
        try:
            sock = await dial(address, port)
        except OSError as exc:
            failures.append(f"{address}: {exc.strerror or exc}")
            over.set()
            return
        if won:
            sock.close()  # both were connected in the same moment
        won.append(sock)
        nursery.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            for address in in_turns(addresses)[:ATTEMPTS]:
                over = trio.Event()
                nursery.start_soon(attempt, address, over)
                with trio.move_on_after(HEAD_START_SECONDS):
                    await over.wait()
    except BaseException:
        for sock in won:
            sock.close()
        raise
    if not won:
        raise OSError("; ".join(failures) or "the name has no address")
    return won[0]


def in_turns(addresses: Iterable[str]) -> list[str]:
    """IPv6 and IPv4 by turns, the family that comes first beginning: one that leads nowhere costs one head start."""
    families: dict[bool, list[str]] = {}
    for address in addresses:
        families.setdefault(":" in address, []).append(address)
    return [address for address in chain(*zip_longest(*families.values())) if address is not None]
