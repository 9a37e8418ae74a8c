"""MCP on standard input and output: lines, who reads slowly, the end; and the relay to a daemon behind HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import Locked
from agentd.faces.mcp import stdio
from agentd.faces.mcp.bridge import Bridge, Place
from agentd.faces.mcp.protocol import CAPABILITIES_KEY, VERSION_KEY
from agentd.faces.mcp.stdio import Lines, Outbox, Work, serve_stdio
from agentd.providers.scripted import Hang, call, reply
from agentd.wire.jsonrpc import Message, Request, Response, encode
from tests.adminapi import ADMIN
from tests.faces.mcp.mcpapi import Api, request, serving

META = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}


# --- Lines --------------------------------------------------------------------------------------------------------


@given(st.lists(st.binary(max_size=9).filter(lambda line: b"\n" not in line)), st.integers(1, 7))
def test_lines_are_the_same_whatever_the_pieces(texts: list[bytes], size: int) -> None:
    data, lines, found = b"".join(text + b"\n" for text in texts), Lines(), []
    for start in range(0, len(data), size):
        found += lines.feed(data[start : start + size])
    assert found == texts


def test_a_line_that_is_too_long_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdio, "LINE_BYTES", 4)
    lines = Lines()
    assert lines.feed(b"12345") == []
    assert lines.feed(b"678\n1234\n12345\nab\n") == [None, b"1234", None, b"ab"]


# --- The loop -----------------------------------------------------------------------------------------------------


@attrs.define
class Echo:
    """Answers each request with its own parameters; of the method `hang` never."""

    begun: int = 0

    def take(self, message: Message, outbox: Outbox) -> Work | None:
        async def answer() -> None:
            assert isinstance(message, Request)
            self.begun += 1
            if message.method == "hang":
                await trio.sleep_forever()
            await outbox.send(encode(Response(message.id, message.params)))

        return answer if isinstance(message, Request) else None

    def take_batch(self, line: bytes, outbox: Outbox) -> Work:
        return partial(outbox.send, line)


async def test_messages_are_answered_and_what_is_none_is_told_so(autojump_clock: trio.testing.MockClock) -> None:
    (ours, theirs), echo = trio.testing.memory_stream_pair(), Echo()
    for line in (json.dumps(request("x", {"a": 1})).encode(), b"", b"{", b"7"):
        await theirs.send_all(line + b"\n")
    await theirs.send_eof()
    await serve_stdio(ours, ours, echo)
    await ours.aclose()
    told = [json.loads(line) for line in (await _all_of(theirs)).splitlines()]
    assert [each.get("result", each.get("error", {}).get("code")) for each in told] in (
        [{"a": 1}, -32700, -32600],
        [-32700, {"a": 1}, -32600],
        [-32700, -32600, {"a": 1}],
    )
    assert trio.current_time() == 0


async def _all_of(stream: Any) -> bytes:
    return b"".join([piece async for piece in stream])


async def test_what_is_being_answered_has_a_moment_when_nothing_more_comes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(json.dumps(request("hang")).encode() + b"\n")
    await theirs.send_eof()
    await serve_stdio(ours, ours, Echo())
    assert trio.current_time() == stdio.DRAIN_SECONDS


async def test_it_ends_when_nobody_reads(autojump_clock: trio.testing.MockClock) -> None:
    class Gone:
        async def send_all(self, data: bytes, /) -> None:
            raise trio.BrokenResourceError

    ours, theirs = trio.testing.memory_stream_pair()
    await theirs.send_all(json.dumps(request("x")).encode() + b"\n")
    with trio.fail_after(1):
        await serve_stdio(ours, Gone(), Echo())


async def test_who_reads_nothing_is_read_no_more(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdio, "MOST_TASKS", 3)
    monkeypatch.setattr(stdio, "QUEUED", 0)

    class Stuck:
        async def send_all(self, data: bytes, /) -> None:
            await trio.sleep_forever()

    (ours, theirs), echo = trio.testing.memory_stream_pair(), Echo()
    for number in range(50):
        await theirs.send_all(json.dumps(request("x", {}, number)).encode() + b"\n")
    with trio.move_on_after(1):
        await serve_stdio(ours, Stuck(), echo)
    assert echo.begun <= 4


# --- The relay ----------------------------------------------------------------------------------------------------


@attrs.define
class Program:
    """What started the server: it writes lines, and reads lines."""

    stream: trio.abc.HalfCloseableStream
    _lines: Lines = attrs.field(factory=Lines)
    _heard: list[Any] = attrs.field(factory=list)

    async def say(self, message: Any) -> None:
        await self.stream.send_all(json.dumps(message).encode() + b"\n")

    async def hear(self) -> Any:
        with trio.fail_after(10):
            while not self._heard:
                data = await self.stream.receive_some()
                assert data, "it ended"
                self._heard += [json.loads(line) for line in self._lines.feed(bytes(data)) if line]
        return self._heard.pop(0)

    async def ask(self, method: str, params: Any = None, request_id: Any = 1) -> Any:
        await self.say(request(method, params, request_id))
        told = await self.hear()
        assert told["id"] == request_id
        return told

    async def tool(self, name: str, /, **arguments: Any) -> Any:
        told = await self.ask("tools/call", {"name": name, "arguments": arguments}, name)
        return told["result"]["structuredContent"]

    async def initialize(self, **capabilities: Any) -> Any:
        params = {"protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t"}}
        told = await self.ask("initialize", params)
        await self.say({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return told["result"]


def place_of(api: Api, token: str = ADMIN) -> Callable[[], Awaitable[Place]]:
    async def find() -> Place:
        return Place(api.client._address.text, token)

    return find


@asynccontextmanager
async def relaying(api: Api, find: Callable[[], Awaitable[Place]] | None = None) -> AsyncIterator[Program]:
    """A program whose messages go to the server of *api*, and that closes its end when it leaves."""
    bridge = Bridge(find or place_of(api), api.workspace)
    ours, theirs = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_stdio, ours, ours, bridge)
        yield Program(theirs)
        await theirs.send_eof()
    await bridge.close()


async def test_a_session_is_relayed_and_ended(tmp_path: Path) -> None:
    async with serving(tmp_path, "Done.") as api:
        async with relaying(api) as program:
            assert (await program.initialize())["serverInfo"]["name"] == "agentd"
            assert (await program.ask("ping", None, 2))["result"] == {}
            told = await program.tool("start_job", prompt="go", wait_seconds=10)
            assert (told["job"]["state"], told["job"]["directory"]) == ("completed", str(api.workspace))
            assert (await program.ask("nope", {}, 3))["error"]["code"] == -32601
            assert len(api.server.sessions) == 1
        assert not api.server.sessions


async def test_what_comes_right_behind_initialize_belongs_to_its_session(tmp_path: Path) -> None:
    params = {"protocolVersion": "2025-11-25", "capabilities": {}}
    messages = (
        request("initialize", params),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        *(request("ping", None, number) for number in (2, 3)),
    )
    async with serving(tmp_path) as api, relaying(api) as program:
        await program.stream.send_all(b"".join(json.dumps(each).encode() + b"\n" for each in messages))
        told = [await program.hear() for _ in range(3)]
        assert told[0]["result"]["serverInfo"]["name"] == "agentd"
        assert {each["id"]: each["result"] for each in told[1:]} == {2: {}, 3: {}}
        assert len(api.server.sessions) == 1


async def test_a_program_that_does_not_begin_is_told_how(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, relaying(api) as program:
        assert (await program.ask("initialize", {}))["error"]["code"] == -32602
        for message in (request("ping"), [request("ping")]):
            await program.say(message)
            error = (await program.hear())["error"]
            assert (error["code"], error["message"][:21]) == (-32600, "begin with initialize")


async def test_stateless_requests_are_relayed_with_their_headers(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, relaying(api) as program:
        told = await program.ask("server/discover", {"_meta": META})
        assert told["result"]["supportedVersions"][0] == "2026-07-28"
        params = {"name": "search", "arguments": {"pattern": "ü"}, "_meta": META}
        assert (await program.ask("tools/call", params, 2))["result"]["isError"] is False
        wrong = {"name": "größe", "_meta": META}
        assert (await program.ask("tools/call", wrong, 3))["error"]["message"] == "Unknown tool: größe"
        old = {"_meta": META | {VERSION_KEY: "2031-01-01"}}
        assert (await program.ask("tools/list", old, 4))["error"]["code"] == -32022


async def test_progress_and_what_the_server_asks_come_as_they_are(tmp_path: Path) -> None:
    writes = (reply("I write it.", call("Write", about="a.py")), "Done.")
    async with serving(tmp_path, *writes) as api, relaying(api) as program:
        await program.initialize(elicitation={})
        began = await program.tool("start_job", prompt="go", mode="code", wait_seconds=10)
        arguments = {"job_id": began["job"]["job_id"], "position": began["position"], "wait_seconds": 10}
        params = {"name": "follow_job", "arguments": arguments, "_meta": {"progressToken": 7}}
        await program.say(request("tools/call", params, "f"))
        asked = await program.hear()
        assert asked["method"] == "elicitation/create"
        result = {"action": "accept", "content": {"decision": "allow"}}
        await program.say({"jsonrpc": "2.0", "id": asked["id"], "result": result})
        heard = [await program.hear()]
        while "id" not in heard[-1]:
            heard.append(await program.hear())
        assert {each["params"]["progressToken"] for each in heard[:-1]} == {7}
        assert heard[-1]["result"]["structuredContent"]["result"] == "Done."


async def test_batches_are_relayed_as_they_are(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, relaying(api) as program:
        await program.say([request("ping", {}, 7)])
        assert (await program.hear())["error"]["code"] == -32600
        params = {"protocolVersion": "2025-03-26", "capabilities": {}}
        assert (await program.ask("initialize", params))["result"]["protocolVersion"] == "2025-03-26"
        await program.say([request("ping", {}, 7)])
        assert await program.hear() == [{"jsonrpc": "2.0", "id": 7, "result": {}}]


async def test_a_request_that_is_taken_back_is_not_answered(tmp_path: Path) -> None:
    async with serving(tmp_path, reply(Hang())) as api, relaying(api) as program:
        await program.initialize()
        began = await program.tool("start_job", prompt="go")
        [session] = api.server.sessions.values()
        arguments = {"job_id": began["job"]["job_id"], "wait_seconds": 100}
        await program.say(request("tools/call", {"name": "follow_job", "arguments": arguments}, "f"))
        with trio.fail_after(5):
            while not session.conversation.is_busy:
                await trio.lowlevel.checkpoint()
            await program.say({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "f"}})
            while session.conversation.is_busy:
                await trio.lowlevel.checkpoint()
        assert (await program.ask("ping", None, 2))["result"] == {}


async def test_a_session_that_the_daemon_forgot_is_begun_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, relaying(api) as program:
        await program.initialize()
        for session in tuple(api.server.sessions.values()):
            api.server.close(session)
        for number in (2, 3):
            assert (await program.ask("ping", None, number))["result"] == {}
        assert len(api.server.sessions) == 1


async def test_a_daemon_that_has_moved_is_found_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        places = iter([Place("unix:/no/such/socket", ADMIN), await place_of(api)()])

        async def find() -> Place:
            return next(places)

        async with relaying(api, find) as program:
            assert (await program.ask("server/discover", {"_meta": META}))["result"]["capabilities"]


async def test_what_cannot_be_relayed_is_an_error_of_its_request(tmp_path: Path) -> None:
    async def nowhere() -> Place:
        raise Locked("somebody else has the directory")

    async with serving(tmp_path) as api:
        async with relaying(api, nowhere) as program:
            told = await program.ask("server/discover", {"_meta": META})
            assert told["error"] == {"code": -32603, "message": "somebody else has the directory"}
        async with relaying(api, place_of(api, "a wrong token".replace(" ", "-"))) as program:
            told = await program.ask("server/discover", {"_meta": META})
            assert "token" in told["error"]["message"]
