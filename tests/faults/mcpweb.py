"""The server of mcpserver.py over HTTP, by either of the two transports, on sockets of this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from tests.faults.mcpfaults import answer
from tests.faults.mcpserver import FaultyServer, frame
from tests.tools.mcp.fake import Step
from tests.wire.stranger import Link, Seen, Stranger, stranger

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
END = b"0\r\n\r\n"
ENDPOINT = "/messages"


@attrs.define
class Out:
    """What is said on one connection: a chunked stream of events, begun by what comes first."""

    link: Link
    fields: str = ""
    begun: bool = False
    over: bool = False  # another answer was given, or none
    mute: bool = False  # there is nobody to hear it
    within: bool = False  # an event

    async def say(self, data: bytes, *, ends: bool) -> None:
        if self.mute:
            return
        if not self.begun:
            self.begun = True
            await self.link.send((HEAD + self.fields + "\r\n").encode("latin-1"))
        lead = b"" if self.within else b"data: "
        self.within = not ends
        piece = lead + data + (b"\n\n" if ends else b"")
        await self.link.send(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def end(self) -> None:
        if self.begun and not self.over:
            await self.link.send(END)
        self.over = True


@attrs.define(eq=False)
class WebServer:
    """*kind*: http or sse."""

    kind: str
    fake: FaultyServer
    port: int = 0
    _stream: Out | None = None  # of events that answer no POST; over sse of all
    _died: trio.Event = attrs.field(factory=trio.Event)
    _named: int = 0
    site: Stranger | None = None

    @property
    def script(self) -> Mapping[str, Any]:
        return self.fake.script

    async def left_alone(self) -> None:
        """Wait for the last connection to end. Raises AssertionError if it does not."""
        assert self.site is not None
        for _ in range(200):
            if not self.site.open:
                return
            await trio.sleep(0.01)
        raise AssertionError("its connections are left open")

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Until it dies: then nobody listens, and no connection is left."""
        async with stranger(self.attend) as self.site:
            self.port = self.site.port
            task_status.started()
            await self._died.wait()

    async def attend(self, link: Link) -> None:
        while True:
            seen = await link.request()
            if "first" in self.script:
                await self._do(self.script["first"], Out(link))
            else:
                await getattr(self, f"_{seen.method.lower()}")(link, seen)

    async def _post(self, link: Link, seen: Seen) -> None:
        message = json.loads(seen.body)
        answers_itself = self.kind == "http" and "method" in message and "id" in message
        own = Out(link, self._session(message) if answers_itself else "", mute=not answers_itself)
        steps = list(self.fake.steps(message))
        if answers_itself:
            await self._do_all(steps, own, own)
            if not own.begun and not own.over:
                await link.send(answer(202).encode())
            return await own.end()
        if self.kind == "sse" and not any("http" in step for step in steps):
            await self._taken(own)
        await self._do_all(steps, own, self._stream)
        return await self._taken(own)

    async def _taken(self, out: Out) -> None:
        if not out.over:
            out.over = True
            await out.link.send(answer(202).encode())

    def _session(self, message: Mapping[str, Any]) -> str:
        if message["method"] == "server/discover" or self.script.get("era") == "modern":
            return ""
        name = self.script.get("session", "session")
        self._named += 1
        return f"Mcp-Session-Id: {name}{self._named if name == 'another' else ''}\r\n"

    async def _get(self, link: Link, seen: Seen) -> None:
        does = self.script.get("get")
        if self.kind == "http" and does is None:
            return await link.send(answer(405).encode())
        if does is not None and does != "lost":
            return await link.send(does.encode("latin-1"))
        self._stream = out = Out(link)
        if self.kind == "sse":
            head = (HEAD + "\r\n").encode()
            event = f"event: endpoint\ndata: {ENDPOINT}\n\n".encode()
            out.begun = True
            await link.send(head, b"%x\r\n%b\r\n" % (len(event), event))
        else:
            await out.say(b'{"jsonrpc":"2.0","method":"notifications/x"}', ends=True)
        if does == "lost":
            raise EOFError
        return await link.is_hung_up_on()

    async def _delete(self, link: Link, seen: Seen) -> None:
        out = Out(link)
        await self._do_all(self.script.get("delete", [{"http": answer(200)}]), out, out)

    async def _do_all(self, steps: Any, own: Out, out: Out | None) -> None:
        for step in steps:
            if out is None or {"http", "taken", "hang"} & set(step):
                await self._do(step, own)
            else:
                await self._do(step, out)

    async def _do(self, step: Step, out: Out) -> None:
        if "raw" in step or "say" in step:
            data = frame(step)
            for _ in range(step.get("repeat", 1)):
                await out.say(data, ends=step.get("ends", True))
                await trio.sleep(step.get("pause", 0))
        elif "drip" in step:
            for char in step["drip"]:
                await out.say(char.encode(), ends=False)
                await trio.sleep(step["pause"])
        elif "sleep" in step:
            await trio.sleep(step["sleep"])
        elif "hang" in step and not out.over:
            await out.link.is_hung_up_on()
            raise EOFError
        elif "die" in step:
            self._died.set()
            await trio.sleep_forever()
        elif "taken" in step:
            await self._taken(out)
        elif "close" in step:
            await out.link.stream.aclose()
        elif "http" in step:
            out.over = True
            await self._answer(out.link, step)

    async def _answer(self, link: Link, step: Step) -> None:
        data, then = step["http"].encode("latin-1"), step.get("then")
        if data:
            await link.send(data)
        if then == "hang":
            await link.is_hung_up_on()
        elif then == "reset":
            link.reset()
        if then is not None:
            raise EOFError


@asynccontextmanager
async def web_server(kind: str, script: Mapping[str, Any]) -> AsyncIterator[WebServer]:
    server = WebServer(kind, FaultyServer(script))
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(server.run))
        yield server
        nursery.cancel_scope.cancel()
