"""Talking to who is outside: each of these is answered with a secret."""

from __future__ import annotations

import socket
import time
from contextlib import closing, suppress

from tests.sandbox.hostile.program import E, tell, won

SECONDS = 0.3
FAST_OPEN = 0x20000000
FAMILIES = {  # that no network namespace keeps apart, or that open much of the kernel
    "AF_VSOCK": socket.SOCK_STREAM,
    "AF_ALG": socket.SOCK_SEQPACKET,
    "AF_BLUETOOTH": socket.SOCK_RAW,
    "AF_TIPC": socket.SOCK_STREAM,
    "AF_CAN": socket.SOCK_RAW,
}


def ask(family: int, address: object) -> None:
    with closing(socket.socket(family, socket.SOCK_STREAM)) as sock:
        sock.settimeout(SECONDS)
        sock.connect(address)  # type: ignore[arg-type]  # each family has its own
        tell(sock.recv(100))


def tcp() -> None:
    ask(socket.AF_INET, ("127.0.0.1", int(E["TCP"])))


def tcp6() -> None:
    ask(socket.AF_INET6, ("::1", int(E["TCP6"])))


def tcp_fast_open() -> None:
    with closing(socket.socket()) as sock:
        sock.sendto(b"x", FAST_OPEN, ("127.0.0.1", int(E["TCP"])))
        sock.settimeout(SECONDS)
        tell(sock.recv(100))


def udp() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.settimeout(SECONDS)
        sock.sendto(b"x", ("127.0.0.1", int(E["UDP"])))
        tell(sock.recv(100))


def listen() -> None:
    """For who is outside to come."""
    with closing(socket.socket()) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.settimeout(SECONDS)
        sock.bind(("127.0.0.1", int(E["LISTEN"])))
        sock.listen()
        sock.accept()
        won()


def unix_of_executor() -> None:
    ask(socket.AF_UNIX, f"{E['VAULT']}/executor.sock")


def unix_elsewhere() -> None:
    ask(socket.AF_UNIX, f"{E['SOCKETS']}/daemon.sock")


def unix_made_later() -> None:
    """By a daemon that was started after the job."""
    ask(socket.AF_UNIX, f"{E['SOCKETS']}/unix_made_later.sock")


def unix_made_meanwhile() -> None:
    """By one that is started while a command runs: servers do so for as long as a job."""
    until = time.monotonic() + 2 * SECONDS
    reached = False
    while not reached and time.monotonic() < until:
        with suppress(FileNotFoundError, ConnectionRefusedError):
            ask(socket.AF_UNIX, f"{E['SOCKETS']}/unix_made_meanwhile.sock")
            reached = True
        time.sleep(0.01)


def unix_renamed() -> None:
    """One that the kernel knows by the name that it had at first."""
    ask(socket.AF_UNIX, f"{E['SOCKETS']}/unix_renamed.sock")


def abstract() -> None:
    ask(socket.AF_UNIX, f"\0{E['NAME']}")


def abstract_where_network_is_allowed() -> None:
    abstract()


def packet() -> None:
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close()
    won()


def exotic() -> None:
    for name, kind in FAMILIES.items():
        try:
            socket.socket(getattr(socket, name), kind).close()
        except (OSError, AttributeError):
            continue
        won()
