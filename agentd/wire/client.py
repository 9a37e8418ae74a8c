"""A thin HTTP/1.1 client over unix sockets and plain TCP. No TLS, proxies, redirects or cookies here."""

from __future__ import annotations

import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

import attrs
import h11
import trio

from agentd.errors import AgentdError
from agentd.wire.listeners import unix_address
from agentd.wire.messages import Fields, Headers
from agentd.wire.sse import Decoder, Event

T = TypeVar("T")

RECEIVE_BYTES = 64 * 1024
MAX_HEAD = 64 * 1024
MAX_BODY = 64 * 1024 * 1024
MAX_LINE = 16 * 1024 * 1024
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 30.0
IDLE_SECONDS = 60.0  # a server of ours sends a comment every 15

_SAFE_TO_REPEAT = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS"}  # RFC 9110, 9.2.2


class RequestFailed(AgentdError):
    """No answer, or not a whole one: nobody listens, time ran out, the connection broke, or it is not HTTP."""

    code = "REQUEST_FAILED"


@attrs.frozen
class ClientResponse:
    status: int
    headers: Headers
    body: bytes


@attrs.frozen
class Address:
    text: str  # as it was given
    host: str  # for the Host field
    path: Path | None = None  # of a unix socket
    name: str = ""
    port: int = 0

    @classmethod
    def parse(cls, text: str) -> Address:
        """unix:/path, tcp:host:port or http://host:port. Raises RequestFailed."""
        if text.startswith("unix:"):
            return cls(text, "localhost", Path(text.removeprefix("unix:")))
        url = urlsplit(f"http://{text.removeprefix('tcp:')}" if text.startswith("tcp:") else text)
        try:
            name, port = url.hostname, url.port or 80
        except ValueError:
            name = None
        if url.scheme != "http" or not name:
            raise RequestFailed(f"{text!r} is no address; write unix:/path, tcp:host:port or http://host:port")
        return cls(text, url.netloc, None, name, port)

    async def open(self) -> trio.SocketStream:
        if self.path is None:
            return await trio.open_tcp_stream(self.name, self.port)
        sock = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with unix_address(self.path) as address:
                await sock.connect(address)
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)


async def connect(address: str, *, seconds: float = CONNECT_SECONDS) -> Client:
    """A client of the server at *address*, with a connection open. Raises RequestFailed."""
    client = Client(Address.parse(address), connect_seconds=seconds)
    client.keep(await client.open_wire())
    return client


class Client:
    """Requests may overlap: one idle connection is kept, and more are opened as needed."""

    def __init__(self, address: Address, *, connect_seconds: float = CONNECT_SECONDS) -> None:
        self._address = address
        self._connect_seconds = connect_seconds
        self._kept: _Wire | None = None

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Of the kept connection; what is under way goes on."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    async def request(
        self,
        method: str,
        path: str,
        *,
        headers: Fields = (),
        body: bytes = b"",
        seconds: float = ANSWER_SECONDS,
        max_body: int = MAX_BODY,
    ) -> ClientResponse:
        """The whole answer, whatever its status, within *seconds*. Raises RequestFailed."""
        with _failing(f"{method} {path}", seconds):
            wire, response = await self._begin(method, path, headers, body)
            try:
                content = await wire.read_all(max_body)
            finally:
                self.keep(wire)
        return ClientResponse(response.status_code, _headers(response), content)

    @asynccontextmanager
    async def open_stream(
        self,
        method: str,
        path: str,
        *,
        headers: Fields = (),
        body: bytes = b"",
        seconds: float = ANSWER_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> AsyncIterator[ClientStream]:
        """An answer that is read as it comes: its head within *seconds*, and then a byte at least every *idle_seconds*.
        Raises RequestFailed."""
        with _failing(f"{method} {path}", seconds):
            wire, response = await self._begin(method, path, headers, body)
        try:
            yield ClientStream(response.status_code, _headers(response), wire, f"{method} {path}", idle_seconds)
        finally:
            self.keep(wire)

    async def _begin(self, method: str, path: str, headers: Fields, body: bytes) -> tuple[_Wire, h11.Response]:
        wire, self._kept = self._kept, None
        if wire is not None and not wire.is_stale():
            try:
                return wire, await wire.begin(method, path, self._address.host, headers, body)
            except _BROKEN:
                if wire.heard or method not in _SAFE_TO_REPEAT:
                    raise  # the server may have done it
        wire = await self.open_wire()
        return wire, await wire.begin(method, path, self._address.host, headers, body)

    async def open_wire(self) -> _Wire:
        with _failing(f"connecting to {self._address.text}", self._connect_seconds):
            return _Wire(await self._address.open())

    def keep(self, wire: _Wire) -> None:
        """For the next request, if it can take one."""
        if self._kept is None and wire.is_reusable():
            self._kept = wire
        else:
            wire.close()


class ClientStream:
    """A body as it comes: take chunks(), lines() or events(). They raise RequestFailed when it breaks or stalls."""

    def __init__(self, status: int, headers: Headers, wire: _Wire, what: str, idle_seconds: float) -> None:
        self.status = status
        self.headers = headers
        self._wire = wire
        self._what = what
        self._idle_seconds = idle_seconds

    async def read_all(self, max_body: int = MAX_BODY) -> bytes:
        """What is left: an error's text, say."""
        with _failing(self._what, self._idle_seconds):
            return await self._wire.read_all(max_body)

    def chunks(self) -> AsyncIterator[bytes]:
        async def step() -> list[bytes] | None:
            piece = await self._next_piece()
            return [piece] if piece else None

        return _Items(step)

    def lines(self) -> AsyncIterator[bytes]:
        """Without their ends; empty ones, which keep a stream of NDJSON alive, are left out."""
        rest = b""

        async def step() -> list[bytes] | None:
            nonlocal rest
            piece = await self._next_piece()
            *lines, rest = (rest + piece).split(b"\n") if piece else (rest, b"")
            if len(rest) > MAX_LINE:
                raise RequestFailed(f"{self._what}: a line of more than {MAX_LINE} bytes")
            found = [line for line in lines if line]
            return found if piece or found else None

        return _Items(step)

    def events(self) -> AsyncIterator[Event]:
        """Server-Sent Events."""
        decoder = Decoder()

        async def step() -> list[Event] | None:
            piece = await self._next_piece()
            return decoder.feed(piece) if piece else None

        return _Items(step)

    async def _next_piece(self) -> bytes:
        with _failing(self._what, self._idle_seconds):
            return await self._wire.next_piece()


class _Items(Generic[T]):
    """An iterator that may be dropped in the middle, which an async generator may not."""

    def __init__(self, step: Callable[[], Awaitable[list[T] | None]]) -> None:
        self._step = step
        self._ready: deque[T] = deque()

    def __aiter__(self) -> _Items[T]:
        return self

    async def __anext__(self) -> T:
        while not self._ready:
            if (items := await self._step()) is None:
                raise StopAsyncIteration
            self._ready.extend(items)
        return self._ready.popleft()


class _Wire:
    """One connection, and the request that is on it."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self.heard = False  # a byte of the answer has come

    def close(self) -> None:
        self._stream.socket.close()

    def is_reusable(self) -> bool:
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE} and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        return self._http.our_state is h11.IDLE

    def is_stale(self) -> bool:
        """The server has hung up meanwhile, or talks out of turn."""
        poll = select.poll()
        poll.register(self._stream.socket.fileno(), select.POLLIN)
        if stale := bool(poll.poll(0)):
            self.close()
        return stale

    async def begin(self, method: str, path: str, host: str, headers: Fields, body: bytes) -> h11.Response:
        """Send the request, and wait for the head of its answer. When that fails the connection is closed."""
        try:
            self.heard = False
            await self._stream.send_all(self._request(method, path, host, headers, body))
            while not isinstance(event := await self._next_event(), h11.Response):
                if not isinstance(event, h11.InformationalResponse):
                    raise h11.RemoteProtocolError("the server hung up before it answered")
            return event
        except BaseException:
            self.close()
            raise

    def _request(self, method: str, path: str, host: str, headers: Fields, body: bytes) -> bytes:
        fields = [("Host", host), *headers]
        if body or method in ("POST", "PUT", "PATCH"):
            fields.append(("Content-Length", str(len(body))))
        data = self._http.send(h11.Request(method=method, target=path, headers=fields)) or b""
        data += self._http.send(h11.Data(data=body)) or b"" if body else b""
        self._http.send(h11.EndOfMessage())
        return data

    async def next_piece(self) -> bytes:
        """b"" when it is over."""
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        event = await self._next_event()
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    async def read_all(self, max_body: int) -> bytes:
        pieces, size = [], 0
        while piece := await self.next_piece():
            pieces.append(piece)
            size += len(piece)
            if size > max_body:
                raise RequestFailed(f"the answer is larger than {max_body} bytes")
        return b"".join(pieces)

    async def _next_event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            data = await self._stream.receive_some(RECEIVE_BYTES)
            self.heard = self.heard or bool(data)
            self._http.receive_data(data)
        return event


_BROKEN = (OSError, trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@contextmanager
def _failing(what: str, seconds: float) -> Iterator[None]:
    """What may go wrong while we wait for a server, as RequestFailed."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as exc:
        raise RequestFailed(f"{what}: nothing came for {seconds:g} s") from exc
    except h11.LocalProtocolError as exc:
        raise RequestFailed(f"{what}: {exc}") from exc
    except _BROKEN as exc:
        raise RequestFailed(f"{what}: {exc or type(exc).__name__}") from exc


def _headers(response: h11.Response) -> Headers:
    return Headers([(name.decode("ascii"), value.decode("latin-1")) for name, value in response.headers])
