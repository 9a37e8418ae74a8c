"""Somebody else's server: what it does is a test's script, byte by byte, and it remembers what it was sent."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import attrs
import h11
import trio
import trustme

from agentd.wire.exchange import Deadlines
from agentd.wire.http import HttpSettings
from agentd.wire.resolve import is_address
from agentd.wire.tls import Trust

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
QUICK = Deadlines(connect=5, first_byte=7, between_bytes=3, total=60)
PAST = datetime(2020, 1, 1, tzinfo=UTC)
BROKEN = (trio.BrokenResourceError, trio.ClosedResourceError)


@attrs.frozen
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Link:
    """One connection, from the server's side."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType, server: Stranger) -> None:
        self.stream = stream
        self.number = server.connections  # from 1
        self._server = server
        self._sock = sock
        self._rest = b""

    async def request(self) -> Seen:
        """The next one, whole. Raises EOFError when the client has hung up."""
        http = h11.Connection(h11.SERVER)
        if self._rest:
            http.receive_data(self._rest)
        head, body = None, bytearray()
        while not isinstance(event := http.next_event(), h11.EndOfMessage):
            if event is h11.NEED_DATA:
                try:
                    http.receive_data(bytes(await self.stream.receive_some(65536)))
                except BROKEN:
                    raise EOFError from None
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                raise EOFError
        assert head is not None
        self._rest = http.trailing_data[0]
        headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
        self._server.seen.append(Seen(head.method.decode(), head.target.decode(), headers, bytes(body)))
        return self._server.seen[-1]

    async def send(self, *data: bytes) -> None:
        for piece in data:
            await self.stream.send_all(piece)

    async def drip(self, data: bytes, seconds: float = 1) -> None:
        """A byte at a time, with a pause before each."""
        for i in range(len(data)):
            await trio.sleep(seconds)
            await self.stream.send_all(data[i : i + 1])

    async def is_hung_up_on(self) -> None:
        """Wait for it, and throw away what comes before."""
        try:
            while await self.stream.receive_some(65536):
                pass
        except BROKEN:
            pass

    def reset(self) -> None:
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


Script = Callable[[Link], Awaitable[None]]


@attrs.define
class Stranger:
    port: int
    seen: list[Seen] = attrs.field(factory=list)
    connections: int = 0
    open: int = 0  # of those connections, now

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@asynccontextmanager
async def stranger(
    script: Script, *, tls: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[Stranger]:
    """A server on a free port of 127.0.0.1, or on a socket file, that runs *script* for each connection."""
    sock = trio.socket.socket(socket.AF_UNIX if path else socket.AF_INET)
    await sock.bind(str(path) if path else ("127.0.0.1", 0))
    sock.listen()
    server = Stranger(0 if path else sock.getsockname()[1])

    async def handle(raw: trio.SocketStream) -> None:
        server.connections += 1
        server.open += 1
        stream: trio.abc.Stream = trio.SSLStream(raw, tls, server_side=True) if tls else raw
        link = Link(stream, raw.socket, server)
        try:
            await script(link)
        except (*BROKEN, EOFError, OSError, h11.RemoteProtocolError):
            pass  # the client has left
        finally:
            server.open -= 1
            raw.socket.close()

    async with trio.open_nursery() as nursery:
        await nursery.start(trio.serve_listeners, handle, [trio.SocketListener(sock)])
        yield server
        nursery.cancel_scope.cancel()


def answering(*answers: bytes) -> Script:
    """Each request of a connection gets the next of these; the last one over and over."""

    async def script(link: Link) -> None:
        left = list(answers)
        while True:
            await link.request()
            await link.send(left.pop(0) if len(left) > 1 else left[0])

    return script


def once(*pieces: bytes) -> Script:
    """One answer, and then the end."""

    async def script(link: Link) -> None:
        await link.request()
        await link.send(*pieces)

    return script


@attrs.frozen
class Authority:
    """It signs certificates; *file* is its own."""

    ca: trustme.CA
    file: Path

    @property
    def trust(self) -> Trust:
        """In nobody else."""
        return Trust(str(self.file), str(self.file.parent))

    def server(self, *names: str, expired: bool = False) -> ssl.SSLContext:
        """A server's side, with a certificate for *names*."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.ca.issue_cert(*names, not_after=PAST if expired else None).configure_cert(context)
        return context


def names(**addresses: str) -> HttpSettings:
    """Settings with a resolver that knows these names, with _ for a dot, and no others."""
    known = {name.replace("_", "."): address for name, address in addresses.items()}

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        if is_address(host):
            return [host]
        if host not in known:
            raise OSError(f"nobody knows {host}")
        return [known[host]]

    return HttpSettings(resolve=resolve, resolve_proxy=resolve)
