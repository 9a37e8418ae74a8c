"""MCP servers on the web that do what a test says, byte by byte, and a transport that talks with one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.domain import McpServer
from agentd.tools.mcp.transport import Outgoing, Transport
from agentd.wire.http import HttpSettings
from agentd.wire.urlpolicy import UrlPolicy
from tests.wire.stranger import Link, Script, Seen

LEGACY, MODERN = "2025-11-25", "2026-07-28"
PATH = "/secret/mcp?key=secret"  # in no text of an error
ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

Open = Callable[[McpServer, UrlPolicy, HttpSettings], AbstractAsyncContextManager[Transport]]
Handler = Callable[[Link, Seen], Awaitable[None]]


def document(value: Any, status: int = 200, *fields: str) -> bytes:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    kind = (
        () if any(field.lower().startswith("content-type") for field in fields) else ("Content-Type: application/json",)
    )
    lines = "\r\n".join([f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *kind, *fields])
    return f"{lines}\r\n\r\n".encode() + body


def event(message: Any, ident: str = "", retry: int | None = None) -> bytes:
    """One of a stream. *message*: "" for one that only tells an id."""
    lines = [f"id: {ident}"] if ident else []
    lines += [f"retry: {retry}"] if retry is not None else []
    data = message if isinstance(message, str) else json.dumps(message)
    return ("\n".join([*lines, f"data: {data}"]) + "\n\n").encode()


def stream(*events: bytes, ended: bool = True, fields: str = "") -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n{fields}\r\n".encode()
    return head + b"".join(map(chunk, events)) + (b"0\r\n\r\n" if ended else b"")


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def asked(
    method: str = "tools/list",
    request_id: int = 1,
    version: str | None = LEGACY,
    params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Outgoing:
    message = {"jsonrpc": "2.0", "id": request_id, "method": method, **({} if params is None else {"params": params})}
    return Outgoing(json.dumps(message).encode(), method, request_id, version=version, **more)


def told(method: str = "notifications/initialized", version: str | None = LEGACY) -> Outgoing:
    return Outgoing(json.dumps({"jsonrpc": "2.0", "method": method}).encode(), method, version=version)


def result(request_id: int | str | None = 1, **members: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "result": members}


def error(code: int, message: str, request_id: int | None = None) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": request_id, "error": {"code": code, "message": message}}


def note(number: int) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": "notifications/message", "params": {"number": number}}


async def hang(link: Link, seen: Seen) -> None:
    await link.is_hung_up_on()


def always(*data: bytes, hold: bool = False) -> Handler:
    """Say that; then wait until the client leaves, if *hold*."""

    async def handle(link: Link, seen: Seen) -> None:
        await link.send(*data)
        if hold:
            await link.is_hung_up_on()

    return handle


def in_turn(*handlers: Handler | bytes) -> Handler:
    """Each request gets the next of these, on whatever connection; the last one over and over."""
    left = list(handlers)

    async def handle(link: Link, seen: Seen) -> None:
        handler = left.pop(0) if len(left) > 1 else left[0]
        await (link.send(handler) if isinstance(handler, bytes) else handler(link, seen))

    return handle


def web(post: Handler | bytes = ACCEPTED, get: Handler | bytes = b"", delete: Handler | bytes = b"") -> Script:
    """A server, by what it does with each method; 405 where that is not said."""
    by_method = {"POST": post, "GET": get, "DELETE": delete}

    async def script(link: Link) -> None:
        while True:
            seen = await link.request()
            handler = by_method[seen.method] or document(b"", 405)
            await (link.send(handler) if isinstance(handler, bytes) else handler(link, seen))

    return script


@attrs.define
class Peer:
    """A transport, and what it delivered."""

    transport: Transport
    got: list[Any] = attrs.field(factory=list)
    failed: list[Exception] = attrs.field(factory=list)  # of listen()

    async def deliver(self, message: bytes) -> None:
        self.got.append(json.loads(message))

    async def send(self, outgoing: Outgoing) -> None:
        await self.transport.send(outgoing, self.deliver)

    async def listen(self) -> None:
        try:
            await self.transport.listen(self.deliver)
        except Exception as exc:
            self.failed.append(exc)

    async def begin(self) -> None:
        """As a session does."""
        await self.send(asked("initialize", 0, None))
        self.transport.negotiated(LEGACY)
        self.got.clear()


@asynccontextmanager
async def connected(
    opened: Open,
    url: str,
    headers: Mapping[str, str] | None = None,
    *,
    settings: HttpSettings | None = None,
    policy: UrlPolicy = UrlPolicy.LOCAL,
    listening: bool = False,
) -> AsyncIterator[Peer]:
    server = McpServer("http", url=url if url.count("/") > 2 else url + PATH, headers=headers or {})
    async with opened(server, policy, settings or HttpSettings()) as transport, trio.open_nursery() as nursery:
        peer = Peer(transport)
        if listening:
            nursery.start_soon(peer.listen)
        yield peer
        nursery.cancel_scope.cancel()
