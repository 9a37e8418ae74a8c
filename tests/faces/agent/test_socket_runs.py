"""Sockets over the wire, whose runs are real: a library's client, the app, and engines with a scripted model."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_client_stream

from agentd.providers.scripted import Hang, reply
from agentd.wire.limits import Limits
from agentd.wire.listeners import open_unix_listener
from agentd.wire.messages import Request, Response
from agentd.wire.routing import respond
from agentd.wire.server import serve
from tests.agentapi import Told, check_run
from tests.agentserver import KEY, OTHER, Server, serving
from tests.wire.rawsocket import RawSocket, opening

SOCKET = "/api/v1/query/ws"
Connect = Callable[..., Any]


@attrs.define
class Client:
    socket: WebSocketConnection

    async def say(self, **message: Any) -> None:
        await self.socket.send_message(json.dumps(message))

    async def hear(self) -> Any:
        with trio.fail_after(20):
            return json.loads(await self.socket.get_message())

    async def ask(self, **message: Any) -> Any:
        await self.say(**message)
        return await self.hear()

    async def until(self, name: str) -> list[Told]:
        """The events up to the next of that name."""
        events: list[Told] = []
        while not events or events[-1][0] != name:
            heard = await self.hear()
            if heard["type"] == "sse_event":
                events.append((heard["event"], heard["data"]))
        return events

    async def closed(self) -> tuple[int, str | None]:
        with pytest.raises(ConnectionClosed) as caught, trio.fail_after(20):
            await self.socket.get_message()
        assert caught.value.reason is not None
        return caught.value.reason.code, caught.value.reason.reason


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with serving(tmp_path) as server:
        yield server


@pytest.fixture
async def door(server: Server, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[trio.CancelScope]:
    """The app behind a listener of its own; cancel it, and it ends."""
    scope = trio.CancelScope()

    async def run(*, task_status: trio.TaskStatus[None]) -> None:
        with scope:
            listener = open_unix_listener(tmp_path / "door")
            await serve([listener], [server.app.mount()], limits=Limits(drain_seconds=2), task_status=task_status)

    await nursery.start(run)
    yield scope
    scope.cancel()


@pytest.fixture
async def connect(door: trio.CancelScope, nursery: trio.Nursery, tmp_path: Path) -> AsyncIterator[Connect]:
    streams: list[trio.SocketStream] = []

    async def connect(query: str = f"?api_key={KEY}", **fields: str) -> Client:
        extra = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
        streams.append(await trio.open_unix_socket(tmp_path / "door"))
        made = await wrap_client_stream(nursery, streams[-1], "localhost", SOCKET + query, extra_headers=extra)
        return Client(made)

    yield connect
    for stream in streams:
        stream.socket.close()


async def test_a_run_over_a_socket_is_the_one_of_the_grammar(connect: Connect, server: Server) -> None:
    server.says("Hello there.")
    client = await connect()
    assert await client.ask(type="prompt", prompt="hello") == {"type": "ack", "message": "Query started"}
    events = await client.until("done")
    check_run(events)
    server.says("And again.")
    await client.say(type="prompt", prompt="and?", continue_conversation=True)
    more = await client.until("done")
    check_run(more)
    assert more[0][1]["session_id"] == events[0][1]["session_id"]


@pytest.mark.parametrize(
    ("query", "fields", "reason"),
    [
        ("", {}, "Missing API key"),
        ("?api_key=", {}, "Missing API key"),
        ("?api_key=wrong", {}, "Invalid API key"),
        (f"?api_key={KEY}", {"X_API_Key": "wrong"}, "Invalid API key"),
    ],
)
async def test_who_has_no_key_is_told_after_the_handshake(
    connect: Connect, query: str, fields: dict[str, str], reason: str
) -> None:
    client = await connect(query, **fields)
    assert await client.closed() == (4001, reason)


@pytest.mark.parametrize(
    ("query", "fields"), [("", {"X_API_Key": KEY}), (f"?api_key={quote(KEY, safe='').replace('k', '%6B')}", {})]
)
async def test_a_key_comes_in_the_head_or_percent_encoded(connect: Connect, query: str, fields: dict[str, str]) -> None:
    client = await connect(query, **fields)
    told = await client.ask(type="interrupt")
    assert told == {"type": "error", "message": "No active session to interrupt"}


async def test_what_is_no_handshake_gets_an_answer_of_this_face(server: Server) -> None:
    status, told = await server.ask("GET", SOCKET, Sec_WebSocket_Version="13")
    assert status == 426
    assert set(told) == {"detail", "error"}
    assert (await server.ask("GET", SOCKET, key=None))[0] == 401
    assert (await server.ask("POST", SOCKET))[0] == 405
    answer = await respond([server.app.mount()], Request("GET", SOCKET, {"Upgrade": "websocket"}))
    assert isinstance(answer, Response)
    assert answer.status == 400


async def test_a_client_that_leaves_interrupts_its_run(connect: Connect, server: Server) -> None:
    server.says(reply(Hang()))
    client = await connect()
    await client.say(type="prompt", prompt="wait")
    session_id = (await client.until("init"))[0][1]["session_id"]
    await client.socket.aclose()
    record = await server.until(session_id, lambda record: record["status"] != "active")
    assert record["status"] == "completed"


async def test_a_second_prompt_interrupts_the_first_run_in_good_order(connect: Connect, server: Server) -> None:
    server.says(reply(Hang()))
    client = await connect()
    await client.say(type="prompt", prompt="wait")
    first = await client.until("init")
    server.says("Done.")
    await client.say(type="prompt", prompt="do this instead")
    first += await client.until("done")
    check_run(first)
    assert first[-1][1]["reason"] == "interrupted"
    assert await client.hear() == {"type": "ack", "message": "Query started"}
    second = await client.until("done")
    check_run(second)


async def test_a_session_of_another_key_is_not_there(connect: Connect, server: Server) -> None:
    session_id = await server.session(key=OTHER)
    client = await connect()
    for message, text in (
        ({"type": "interrupt"}, "Session not found or not authorized"),
        ({"type": "answer", "answer": "x"}, "Session not found or no pending question"),
        ({"type": "control", "permission_mode": "plan"}, "Session not found or not active"),
    ):
        assert await client.ask(session_id=session_id, **message) == {"type": "error", "message": text}
    await client.say(type="prompt", prompt="go on", session_id=session_id)
    events = await client.until("done")
    assert [name for name, _ in events] == ["init", "error", "result", "done"]


async def test_a_server_that_ends_closes_its_sockets_with_1001(connect: Connect, door: trio.CancelScope) -> None:
    client = await connect()
    door.cancel()
    assert (await client.closed())[0] == 1001


async def test_a_key_in_the_address_is_in_no_line_of_the_log(
    door: trio.CancelScope, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    for query in ("?api_key=sk-secret", f"?api_key={KEY}"):
        async with await trio.open_unix_socket(tmp_path / "door") as stream:
            client = await RawSocket(stream).open(opening(SOCKET + query))
            await client.say({"type": "prompt"})
    assert "trio-websocket" in {record.name for record in caplog.records}
    assert "sk-secret" not in caplog.text
    assert KEY not in caplog.text
