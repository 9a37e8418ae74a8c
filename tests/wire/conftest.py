"""A server on a unix socket, a client that sends bytes as it likes, and a source of frames to play with."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import h11
import pytest
import trio
import trustme
from trio.testing import wait_all_tasks_blocked

from agentd.wire.limits import Limits
from agentd.wire.listeners import open_tcp_listeners, open_unix_listener
from agentd.wire.messages import ChunkedResponse, Request, Response, json_response
from agentd.wire.routing import Mount, Routes
from agentd.wire.server import serve
from tests.wire.stranger import Authority


@attrs.frozen
class Answer:
    """What h11 made of the bytes that came: it checks that they are HTTP."""

    status: int
    headers: dict[str, str]
    body: bytes


class RawClient:
    """Bytes out, answers in."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._rest = b""

    async def send(self, data: bytes, *, one_at_a_time: bool = False) -> None:
        if not one_at_a_time:
            await self.stream.send_all(data)
        for i in range(len(data) if one_at_a_time else 0):
            await self.stream.send_all(data[i : i + 1])
            await wait_all_tasks_blocked()  # the server has seen this one by itself

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, or a 100, read to its end and no further. Raises EOFError."""
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        head: h11.Response | h11.InformationalResponse | None = None
        body = b""
        if self._rest:
            http.receive_data(self._rest)
        while not isinstance(event := http.next_event(), (h11.EndOfMessage, h11.InformationalResponse)):
            if event is h11.NEED_DATA:
                http.receive_data(await self.stream.receive_some(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            else:
                raise EOFError("the server hung up")
        head = event if isinstance(event, h11.InformationalResponse) else head
        assert head is not None
        self._rest = http.trailing_data[0]
        return Answer(head.status_code, {name.decode(): value.decode("latin-1") for name, value in head.headers}, body)

    async def ask(self, data: bytes, method: str = "GET") -> Answer:
        await self.send(data)
        return await self.answer(method)

    async def read(self) -> bytes:
        """What has come; b"" when the server has hung up."""
        data, self._rest = self._rest, b""
        return data or bytes(await self.stream.receive_some(65536))

    async def read_to_end(self) -> bytes:
        data = b""
        while piece := await self.read():
            data += piece
        return data


class House:
    """A running server."""

    def __init__(self, path: Path, scope: trio.CancelScope) -> None:
        self.path = path
        self.scope = scope  # cancel it, and the server drains
        self.ended = trio.Event()
        self._clients: list[RawClient] = []

    async def connect(self) -> RawClient:
        self._clients.append(RawClient(await trio.open_unix_socket(self.path)))
        return self._clients[-1]

    def close_clients(self) -> None:
        for client in self._clients:
            client.stream.socket.close()


Start = Callable[..., Any]


@pytest.fixture
async def start(nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Start]:
    """start(routes, limits=…, hosts=…) runs a server of routes, or of several mounts, on a unix socket."""
    houses: list[House] = []

    async def start(served: Routes | list[Mount], limits: Limits | None = None) -> House:
        house = House(tmp_path / f"{len(houses)}.sock", trio.CancelScope())
        houses.append(house)
        mounts = [Mount(served, None)] if isinstance(served, Routes) else served
        listener = open_unix_listener(house.path)

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with house.scope:
                await serve([listener], mounts, limits=limits, task_status=task_status)
            house.ended.set()

        await nursery.start(run)
        return house

    yield start
    for house in houses:
        house.close_clients()


@pytest.fixture
def routes() -> Routes:
    """A small face: what most tests ask."""
    made = Routes()

    @made.get("/hello")
    async def hello(app: object, request: Request) -> Response:
        return json_response(200, {"hello": "world"})

    @made.post("/echo")
    async def echo(app: object, request: Request) -> Response:
        return Response(200, request.body, "application/octet-stream")

    @made.get("/empty")
    async def empty(app: object, request: Request) -> Response:
        return Response(204)

    @made.get("/pieces")
    async def pieces(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(three_pieces(), "text/plain")

    return made


async def three_pieces() -> AsyncIterator[bytes]:
    for piece in (b"one ", b"", b"two ", b"three"):
        yield piece


class FakeSource:
    """Frames of a feed in a list; ordinals from 1. *piece*: bytes a read returns at most, one frame at least."""

    def __init__(self, piece: int = 65536) -> None:
        self.frames: list[bytes] = []
        self.reads = 0
        self.over = False
        self.callbacks: list[Callable[[], None]] = []
        self._piece = piece

    def read(self, after: int) -> tuple[bytes, int]:
        self.reads += 1
        at, size = max(after, 0), 0
        while at < len(self.frames) and (not size or size + len(self.frames[at]) <= self._piece):
            size += len(self.frames[at])
            at += 1
        return b"".join(self.frames[max(after, 0) : at]), max(at, after)

    def ended(self, after: int) -> bool:
        return self.over and after >= len(self.frames)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)

    def add(self, *frames: bytes) -> None:
        self.frames.extend(frames)
        self._announce()

    def end(self) -> None:
        self.over = True
        self._announce()

    def _announce(self) -> None:
        for callback in self.callbacks:
            callback()


@pytest.fixture
def source() -> FakeSource:
    return FakeSource()


@attrs.frozen
class Tls:
    server: ssl.SSLContext
    client: ssl.SSLContext


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Nobody trusts it but who is told to."""
    made = Authority(trustme.CA(), tmp_path_factory.mktemp("authority") / "ca.pem")
    made.ca.cert_pem.write_to_path(str(made.file))
    return made


@pytest.fixture(scope="session")
def tls() -> Tls:
    """Two sides that trust one another, for 127.0.0.1."""
    authority = trustme.CA()
    found = Tls(ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context())
    authority.issue_cert("127.0.0.1").configure_cert(found.server)
    authority.configure_trust(found.client)
    return found


@pytest.fixture
async def tcp(nursery: trio.Nursery, routes: Routes) -> Callable[..., Any]:
    """tcp(**options of serve) runs the small face on a free port of 127.0.0.1; its port."""

    async def start(*, tls: ssl.SSLContext | None = None, **options: Any) -> int:
        listeners = open_tcp_listeners("127.0.0.1", 0, tls=tls)
        mounts = options.pop("mounts", [Mount(routes, None)])

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            await serve(listeners, mounts, task_status=task_status, **options)

        await nursery.start(run)
        port: int = listeners[0].sock.getsockname()[1]
        return port

    return start
