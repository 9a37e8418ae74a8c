"""What tests of the MCP client share: servers that do what a script says, within the test or as programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import Image, McpServer
from agentd.errors import ToolFailed
from agentd.sandbox.contain import GROUP
from agentd.tools.base import ToolContext, ToolOutcome, ToolState
from agentd.tools.mcp.servers import Elicitation, Elicited, Servers, Terms, open_servers
from agentd.tools.mcp.session import Client, Session, open_session
from agentd.tools.mcp.transport import Deliver, Outgoing, TransportClosed
from agentd.wire.urlpolicy import UrlPolicy
from tests.tools.mcp import fake

FAKE = Path(fake.__file__)


class FakeTransport:
    """A Transport to a server of the test itself, so that time can be virtual."""

    answers_itself = False
    modern = True

    def __init__(self, script: Mapping[str, Any]) -> None:
        self.server = fake.FakeServer(script)
        self.version = ""
        self.reads = True  # no: nothing that is sent gets out
        self._send, self._receive = trio.open_memory_channel[bytes](0)
        self._in, self._out = trio.open_memory_channel[dict[str, Any]](100)

    def negotiated(self, version: str) -> None:
        self.version = version

    def refuses(self, schema: Mapping[str, Any]) -> str | None:
        return "it is refused" if "x-refused" in schema else None

    async def send(self, outgoing: Outgoing, deliver: Deliver) -> None:
        if not self.reads:
            await trio.sleep_forever()
        await self._in.send(json.loads(outgoing.message))

    async def listen(self, deliver: Deliver) -> None:
        async with self._receive:
            async for data in self._receive:
                await deliver(data)
        raise TransportClosed("it hung up")

    async def say(self, message: Any) -> None:
        await self._send.send(json.dumps(message).encode())

    async def run(self) -> None:
        async with self._send, trio.open_nursery() as nursery:
            async for message in self._out:
                nursery.start_soon(self._do, message, nursery.cancel_scope)

    async def _do(self, message: dict[str, Any], all_of_it: trio.CancelScope) -> None:
        for step in self.server.steps(message):
            if "say" in step:
                await self.say(step["say"])
            elif "raw" in step:
                for _ in range(step.get("repeat", 1)):
                    await self._send.send(step["raw"].encode())
            elif "sleep" in step:
                await trio.sleep(step["sleep"])
            else:
                all_of_it.cancel()


@attrs.define
class Told:
    """What a session told whoever opened it, and what it gets when it asks."""

    logged: list[tuple[str, str]] = attrs.field(factory=list)
    changed: list[str] = attrs.field(factory=list)
    asked: list[tuple[Mapping[str, Any], str]] = attrs.field(factory=list)
    answer: Mapping[str, Any] = attrs.field(factory=lambda: {"action": "accept", "content": {"name": "Ann"}})
    thinks: float = 0.0  # seconds

    async def elicit(self, params: Mapping[str, Any], call: str) -> dict[str, Any]:
        self.asked.append((params, call))
        await trio.sleep(self.thinks)
        return dict(self.answer)


@pytest.fixture
def told() -> Told:
    return Told()


OpenSession = Callable[[Mapping[str, Any]], AbstractAsyncContextManager[tuple[Session, FakeTransport]]]


@pytest.fixture
def opened(told: Told) -> OpenSession:
    """A session with a scripted server in which nothing has been said."""

    @asynccontextmanager
    async def open_it(script: Mapping[str, Any]) -> AsyncIterator[tuple[Session, FakeTransport]]:
        transport = FakeTransport(script)
        client = Client(
            lambda: [{"uri": "file:///w"}],
            told.elicit,
            lambda level, text: told.logged.append((level, text)),
            told.changed.append,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(transport.run)
            async with open_session(transport, client) as session:
                yield session, transport
            nursery.cancel_scope.cancel()

    return open_it


@attrs.define
class Job:
    """A job that has servers: what it is told, and how it calls."""

    terms: Terms
    notices: list[tuple[str, str, str]]
    live: list[str]
    kept: list[bytes]
    elicited: list[Elicitation] = attrs.field(factory=list)

    def context(self) -> ToolContext:
        def keep(path: Path) -> str:
            self.kept.append(path.read_bytes())
            return f"artifact {len(self.kept)}"

        cwd = self.terms.cwd
        return ToolContext(cwd, ToolState(cwd), {}, (), self.live.append, keep, call="call_1")

    async def call(self, servers: Servers, name: str, **call_input: Any) -> ToolOutcome:
        return await servers.tools[name].run(call_input, self.context())

    async def said(self, servers: Servers, name: str, **call_input: Any) -> str:
        """What a model is told, of a result or of a failure."""
        try:
            outcome = await self.call(servers, name, **call_input)
        except ToolFailed as exc:
            return str(exc)
        return "".join(f"<{part.media_type}>" if isinstance(part, Image) else part.text for part in outcome.content)

    def open(self, **servers: McpServer) -> AbstractAsyncContextManager[Servers]:
        return open_servers(servers, self.terms)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    notices: list[tuple[str, str, str]] = []
    elicited: list[Elicitation] = []

    async def elicit(elicitation: Elicitation) -> Elicited:
        elicited.append(elicitation)
        return Elicited("accept", {"name": "Ann"})

    terms = Terms(
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        roots=[tmp_path],
        confine=GROUP,
        url_policy=UrlPolicy.LOCAL,
        notice=lambda level, code, text: notices.append((level, code, text)),
        elicit=elicit,
        connect_seconds=10.0,
        call_seconds=10.0,
    )
    return Job(terms, notices, [], [], elicited)


def program(script: Mapping[str, Any], **more: Any) -> McpServer:
    """The scripted server as a program of its own."""
    return McpServer(command=sys.executable, args=("-S", str(FAKE), json.dumps(script)), **more)


def running_in(directory: Path) -> list[Path]:
    """Processes whose working directory it is."""
    return [path for path in Path("/proc").glob("[0-9]*") if _is_in(path, directory)]


def _is_in(process: Path, directory: Path) -> bool:
    try:
        state = (process / "stat").read_text().rpartition(")")[2].split()[0]
        return (process / "cwd").readlink() == directory and state not in "ZX"
    except OSError:
        return False
