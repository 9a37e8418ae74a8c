"""A session manager over pools that are not real, and an executor that a test plays by hand."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import h11
import trio

from agentd.daemon.pool import Managed, Pool
from agentd.daemon.recovery import Report
from agentd.daemon.tokens import SessionTokens
from agentd.faces.manager.routes import ManagerApp
from agentd.wire.client import dial
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import Request, Response
from agentd.wire.routing import respond
from agentd.wire.server import serve
from tests.managerpool import MASTER, Bench, FakeSeats, make_bench

MANAGER_ID = "00000000-0000-4000-8000-00000000000a"


@attrs.define
class Asked:
    """A request as it came to the executor."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes = b""


@attrs.define
class Talk:
    """One connection to the executor, from its side. h11 checks both directions."""

    stream: trio.SocketStream
    http: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))

    async def head(self) -> Asked | None:
        """None: the manager hung up."""
        event = await self.event()
        if not isinstance(event, h11.Request):
            return None
        headers = {name.decode(): value.decode() for name, value in event.headers}
        return Asked(event.method.decode(), event.target.decode(), headers)

    async def event(self) -> Any:
        while (event := self.http.next_event()) is h11.NEED_DATA:
            self.http.receive_data(await self.stream.receive_some(65536))
        return event

    async def body(self) -> bytes:
        pieces = []
        while isinstance(event := await self.event(), h11.Data):
            pieces.append(bytes(event.data))
        return b"".join(pieces)

    async def send(self, event: Any) -> None:
        await self.stream.send_all(self.http.send(event) or b"")

    async def begin(self, status: int = 200, **headers: str) -> None:
        fields = [(name.replace("_", "-"), value) for name, value in headers.items()]
        await self.send(h11.Response(status_code=status, headers=fields or [("Transfer-Encoding", "chunked")]))

    async def piece(self, data: bytes) -> None:
        await self.send(h11.Data(data=data))

    async def end(self) -> None:
        await self.send(h11.EndOfMessage())

    async def answer(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        await self.begin(status, content_length=str(len(body)), **headers)
        if body:
            await self.piece(body)
        await self.end()

    async def gone(self) -> None:
        """Returns when the manager has hung up."""
        while await self.stream.receive_some(65536):
            pass


Play = Callable[[Talk, Asked], Awaitable[None]]


async def echo(talk: Talk, asked: Asked) -> None:
    asked.body = await talk.body()
    await talk.answer(200, json.dumps(attrs.asdict(asked) | {"body": asked.body.decode()}).encode())


@attrs.define
class Executor:
    """Plays one request after the other, each by *play*."""

    play: Play = echo
    asked: list[Asked] = attrs.field(factory=list)

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            try:
                talk = Talk(stream)
                while (asked := await talk.head()) is not None:
                    self.asked.append(asked)
                    await self.play(talk, asked)
                    talk.http.start_next_cycle()
            except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
                return


@attrs.define
class Manager:
    """One session manager; a test asks it as it likes."""

    app: ManagerApp
    bench: Bench
    executor: Executor
    address: Path

    @property
    def pool(self) -> Pool:
        return self.app.pool

    async def create(self, name: str = "a session") -> tuple[Managed, str]:
        """A session and its token."""
        managed = await self.pool.create(name, "/repo", None)
        return managed, self.app.tokens.issue(managed.id).text

    async def ask(
        self, method: str, path: str, token: str | None = MASTER, body: Any = None, **headers: str
    ) -> Response:
        """Without a socket."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            fields["authorization"] = f"Bearer {token}"
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        answer = await respond([self.app.mount()], Request(method, path, fields, raw))
        assert isinstance(answer, Response)
        return answer

    async def call(self, raw: bytes) -> trio.SocketStream:
        """Over a socket, with *raw* sent."""
        stream = await dial(self.address)
        await stream.send_all(raw)
        return stream


def code(answer: Response) -> tuple[int, str]:
    problem = json.loads(answer.body)
    assert set(problem) == {"code", "message", "details"}
    return answer.status, problem["code"]


def head(method: str, target: str, token: str, *fields: str) -> bytes:
    lines = (f"{method} {target} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}", *fields, "", "")
    return "\r\n".join(lines).encode()


async def read_answer(stream: trio.SocketStream, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    """Status, header fields in lower case, and the body. Raises EOFError: the connection was cut."""
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    http.send(h11.EndOfMessage())
    status, headers, body = 0, {}, b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            data = await stream.receive_some(65536)
            if not data:
                raise EOFError
            http.receive_data(data)
        elif isinstance(event, h11.Response):
            status = event.status_code
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += event.data
    return status, headers, body


@asynccontextmanager
async def open_fake_manager(path: Path) -> AsyncIterator[Manager]:
    """With an executor behind every session, and a listener in front."""
    executor, bench = Executor(), make_bench(path)
    behind, before = path / "executor.sock", path / "manager.sock"
    bench.seats = FakeSeats(f"unix:{behind}")
    async with bench.open() as (pool, _), trio.open_nursery() as nursery:
        app = ManagerApp(pool, SessionTokens(MASTER), MANAGER_ID, Report(), MASTER)
        listener = open_unix_listener(behind)
        nursery.start_soon(trio.serve_listeners, executor.serve, [as_trio(listener.sock)])
        await nursery.start(
            lambda task_status: serve([open_unix_listener(before)], [app.mount()], task_status=task_status)
        )
        yield Manager(app, bench, executor, before)
        nursery.cancel_scope.cancel()
        for seat in bench.seats.seats.values():
            seat.die()


def as_trio(sock: Any) -> trio.SocketListener:
    return trio.SocketListener(trio.socket.from_stdlib_socket(sock))
