"""A client of one server of ours, over its unix socket or plain TCP. For everybody else's servers there is http.py.

Both are thin: connections are kept in pool.py, what goes over one is exchange.py, and answers are read in incoming.py.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import trio

from agentd.wire.exchange import Deadlines, Outgoing, Watch, Wire
from agentd.wire.failure import HttpFailed
from agentd.wire.incoming import MAX_BODY, Answer, WholeAnswer
from agentd.wire.listeners import unix_address
from agentd.wire.messages import Fields
from agentd.wire.pool import Pool, PoolLimits
from agentd.wire.resolve import dial_first, resolve

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
IDLE_SECONDS = 60.0  # a server of ours sends a comment every 15


class Address(NamedTuple):
    text: str  # as it was given
    host: str  # for the Host field
    path: Path | None = None  # of a unix socket
    name: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """unix:/path, tcp:host:port or http://host:port. Raises HttpFailed."""
        if text.startswith("unix:"):
            return cls(text, "localhost", Path(text.removeprefix("unix:")))
        url = urlsplit(f"http://{text.removeprefix('tcp:')}" if text.startswith("tcp:") else text)
        try:
            name, port = url.hostname, url.port or 80
        except ValueError:
            name = None
        if url.scheme != "http" or not name:
            raise HttpFailed("connect", f"{text!r} is no address; write unix:/path, tcp:host:port or http://host:port")
        return cls(text, url.netloc, None, name, port)

    async def open(self, watch: Watch) -> Wire:
        """Raises HttpFailed."""
        seconds = watch.deadlines.connect
        with watch.wait(seconds, f"no connection within {seconds:g} s", broken="connect"):
            stream = await _dial_tcp(self.name, self.port) if self.path is None else await dial(self.path)
        return Wire(stream, stream.socket)


async def _dial_tcp(host: str, port: int) -> trio.SocketStream:
    return trio.SocketStream(await dial_first(await resolve(host, port), port))


async def dial(path: Path) -> trio.SocketStream:
    """A connection to the server that listens on a socket file. Raises OSError."""
    sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            await sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return trio.SocketStream(sock)


async def connect(address: str, *, seconds: float = CONNECT_SECONDS) -> Client:
    """A client of the server at *address*, with a connection open. Raises HttpFailed."""
    client = Client(Address.parse(address), connect_seconds=seconds)
    await client.open()
    return client


class Client:
    """Requests may overlap: idle connections are kept, and more are opened as needed. Its methods raise HttpFailed."""

    def __init__(
        self, address: Address, *, connect_seconds: float = CONNECT_SECONDS, limits: PoolLimits | None = None
    ) -> None:
        self._address = address
        self._connect_seconds = connect_seconds
        self._pool = Pool(limits)
        self.begun, self.under_way = 0, 0  # exchanges: all so far, and those that have not ended

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Of the kept connections; what is under way goes on."""
        self._pool.close()

    async def open(self) -> None:
        """A connection, for the next request."""
        watch = Watch(f"connecting to {self._address.text}", Deadlines(connect=self._connect_seconds))
        self._pool.keep(None, await self._address.open(watch))

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Fields = (),
        body: bytes = b"",
        seconds: float = ANSWER_SECONDS,
        max_body: int = MAX_BODY,
    ) -> WholeAnswer:
        """The whole answer, whatever its status, within *seconds*."""
        deadlines = Deadlines(min(self._connect_seconds, seconds), seconds, seconds, seconds)
        async with self._exchange(method, path, headers, body, deadlines) as answer:
            return await answer.whole(max_body)

    @asynccontextmanager
    async def open_stream(
        self,
        method: str,
        path: str,
        *,
        headers: Fields = (),
        body: bytes | AsyncIterable[bytes] = b"",
        seconds: float = ANSWER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> AsyncIterator[Answer]:
        """An answer that is read as it comes: its head within *seconds*, then a byte at least every *idle_seconds*.

        A *body* in pieces goes out chunked, unless *headers* have its Content-Length; what it raises is raised here."""
        deadlines = Deadlines(min(self._connect_seconds, seconds), seconds, idle_seconds)
        async with self._exchange(method, path, headers, body, deadlines) as answer:
            yield answer

    @asynccontextmanager
    async def _exchange(
        self, method: str, path: str, headers: Fields, body: bytes | AsyncIterable[bytes], deadlines: Deadlines
    ) -> AsyncIterator[Answer]:
        request = Outgoing(method, path, [("Host", self._address.host), *headers], body)
        watch = Watch(f"{method} {path}", deadlines)
        self.begun += 1
        self.under_way += 1
        try:
            async with self._pool.exchange(None, self._open, request, watch) as (wire, head):
                yield Answer(head, wire, watch)
        finally:
            self.under_way -= 1

    async def _open(self, watch: Watch) -> Wire:
        return await self._address.open(Watch(f"connecting to {self._address.text}", watch.deadlines))
