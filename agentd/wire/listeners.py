"""Listening sockets: TCP, and unix sockets with an owner."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from agentd.errors import AgentdError
from agentd.wire import egress

if TYPE_CHECKING:
    import ssl

BACKLOG = 4096  # the system cuts it to its own limit
SUN_PATH = 100  # bytes of a unix socket's path that every system takes


class ListenFailed(AgentdError):
    code = "LISTEN_FAILED"


@attrs.frozen
class Listener:
    """A bound, listening, non-blocking socket. The server it is given to closes it."""

    sock: socket.socket
    tls: ssl.SSLContext | None = None
    path: Path | None = None  # of a unix socket: removed when it is closed

    @property
    def is_tcp(self) -> bool:
        return self.path is None

    @property
    def address(self) -> str:
        """http://127.0.0.1:8787, or unix:/run/agentd.sock: what client.connect() takes."""
        if self.path is not None:
            return f"unix:{self.path}"
        host, port = self.sock.getsockname()[:2]
        return f"{'https' if self.tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"

    def close(self) -> None:
        if self.path is not None and self.sock.fileno() >= 0:
            self.path.unlink(missing_ok=True)
        self.sock.close()


def open_tcp_listeners(host: str, port: int, *, tls: ssl.SSLContext | None = None) -> list[Listener]:
    """One for each address of *host*, all on one port; 0 picks a free one. Raises ListenFailed."""
    listeners: list[Listener] = []
    if host:  # it is this machine: its name may be looked up
        egress.permit(egress.endpoint_of(host, port or 1))
    try:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in infos:
            taken = listeners[0].sock.getsockname()[1] if listeners else port
            if (sock := _bind_tcp(family, (address[0], taken, *address[2:]))) is not None:
                listeners.append(Listener(sock, tls))
        if not listeners:
            raise OSError(errno.EADDRNOTAVAIL, "no address of that host is this machine's")
    except OSError as exc:
        for listener in listeners:
            listener.close()
        raise ListenFailed(f"cannot listen on {host}:{port}: {exc.strerror or exc}") from exc
    return listeners


def _bind_tcp(family: int, address: tuple[Any, ...]) -> socket.socket | None:
    """None: this machine has no such address, as with ::1 for localhost where IPv6 is off."""
    try:
        sock = socket.socket(family, socket.SOCK_STREAM)
    except OSError as exc:
        if exc.errno == errno.EAFNOSUPPORT:
            return None
        raise
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        if exc.errno == errno.EADDRNOTAVAIL:
            return None
        raise
    return sock


def open_unix_listener(path: Path, mode: int = 0o600) -> Listener:
    """A socket file with *mode*. One that nobody listens on is replaced. Raises ListenFailed."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        _remove_stale(path)
        with unix_address(path) as address:
            before = os.umask(0o777 & ~mode)  # with chmod after bind there would be a moment when anyone may connect
            try:
                sock.bind(address)
            finally:
                os.umask(before)
        sock.listen(BACKLOG)
    except OSError as exc:
        sock.close()
        raise ListenFailed(f"cannot listen on {path}: {exc.strerror or exc}") from exc
    return Listener(sock, path=path)


def _remove_stale(path: Path) -> None:
    if not path.is_socket():
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, unix_address(path) as address:
        probe.setblocking(False)
        if probe.connect_ex(address) == errno.ECONNREFUSED:
            path.unlink(missing_ok=True)


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """What bind() and connect() take for *path*, while the block lasts: the system allows about 100 bytes, and paths of
    workspaces are longer. Linux can name the directory by a descriptor."""
    if len(os.fsencode(path)) <= SUN_PATH or not Path("/proc/self/fd").is_dir():
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
