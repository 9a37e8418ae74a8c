"""Talking with one MCP server through one transport: requests and their answers, and what the server says of itself.

The other side is not trusted. Answers are told apart by ids of ours; one to nobody, a second one, and what is no
message are passed over, and whoever sends many of these waits. Every request has a clock, which progress sets back as
long as it really progresses, up to a limit; it stands while a person is asked something. What the server asks of us is
answered by tasks of the session, of which there are a few: `ping`, `roots/list`, `elicitation/create`. The rest is
refused, as the specification has it, with -32601; that is also the answer to `sampling/createMessage`, which is not
offered.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import trio

from agentd.errors import only_cause
from agentd.tools.mcp import protocol
from agentd.tools.mcp.pending import LONGEST_LINE, InFlight, Pending, Watch
from agentd.tools.mcp.transport import Outgoing, Transport, TransportClosed, TransportFailed
from agentd.wire.jsonrpc import (
    INTERNAL_ERROR,
    METHOD_NOT_FOUND,
    Id,
    Message,
    Notification,
    NotMessage,
    Request,
    Response,
    RpcError,
    encode,
    parse_batch,
    parse_message,
)

CANCEL_SECONDS = 0.5  # for a server to be told that nobody waits for an answer any more
REPLY_SECONDS = 5.0
TAIL_SECONDS = 1.0  # that a stream has to end, behind the response that it is for
SERVED_AT_ONCE = 8  # requests of the server's
# What nobody asked for costs: behind 100 messages, or as much as 100 times 16 KiB, nothing is read for a tenth second.
HELD_BACK, HOLD_SECONDS, HELD_BYTES = 100, 0.1, 16384
LARGE = 1 << 18  # bytes
ELICITATIONS = 50  # in a session

LIST_CHANGES = {f"notifications/{kind}/list_changed": kind for kind in ("tools", "prompts", "resources")}


@attrs.frozen
class Client:
    """What a server may have of us. *elicit*: gets the params of an elicitation and the call that it is for, if that is
    known, and returns the result; None: it is not offered."""

    roots: Callable[[], list[dict[str, Any]]]
    elicit: Callable[[Mapping[str, Any], str], Awaitable[dict[str, Any]]] | None
    log: Callable[[str, str], object]  # level, text: what belongs to no request
    changed: Callable[[str], object]  # tools, prompts or resources: the list is another


class Session:
    """From open_session(). *version* and *capabilities* are empty until both sides have agreed (see handshake.py)."""

    def __init__(self, transport: Transport, client: Client, nursery: trio.Nursery) -> None:
        self.transport = transport
        self.version = ""
        self.capabilities: Mapping[str, Any] = {}
        self.info: Mapping[str, Any] = {}  # what the server calls itself
        self.instructions = ""
        self.offered = protocol.capabilities(elicits=client.elicit is not None)
        self.client = client
        self.over = trio.Event()
        self.garbage = 0  # things that came and were no messages
        self.ended: TransportFailed | None = None
        self._nursery = nursery
        self._in_flight = InFlight()
        self._served: dict[Id, trio.CancelScope] = {}
        self._unasked = 0
        self._elicitations = 0

    @property
    def is_modern(self) -> bool:
        return self.version == protocol.MODERN

    def can(self, *path: str) -> bool:
        """Whether the server said that it has a capability: can("tools"), can("tools", "listChanged")."""
        value: Any = self.capabilities
        for name in path:
            value = protocol.object_of(value).get(name)
        return value is not None and value is not False

    # --- What we ask ----------------------------------------------------------------------------------------------

    async def request(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        seconds: float,
        watch: Watch | None = None,
        version: str | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The result. *version*: of a handshake, which is never cancelled; *schema*: the input schema of a tool that is
        called. Raises RpcError, RequestTimedOut, and TransportFailed for all else."""
        if self.ended is not None:
            raise self.ended
        with self._in_flight.one_more(method, seconds, watch) as pending:
            outgoing = self._request(pending, dict(params or {}), version, schema)
            try:
                with pending.scope:
                    self._in_flight.start_clock(pending)
                    await self._exchange(outgoing, pending)
            finally:
                if not pending.answered.is_set() and pending.sent and version is None:
                    await self._give_up(pending.id)
        return pending.result()

    def _request(
        self, pending: Pending, params: dict[str, Any], version: str | None, schema: Mapping[str, Any] | None
    ) -> Outgoing:
        speaks = version or self.version
        meta = protocol.modern_meta(self.offered) if speaks == protocol.MODERN else {}
        if pending.watch is not None:
            meta["progressToken"] = pending.id
        named = params.get("uri" if pending.method == "resources/read" else "name")
        try:
            message = encode(Request(pending.id, pending.method, {**params, "_meta": meta} if meta else params))
        except ValueError as exc:
            raise TransportFailed(f"what it would be told has no form as JSON: {exc}") from exc
        return Outgoing(
            message,
            pending.method,
            pending.id,
            named if isinstance(named, str) else None,
            speaks if pending.method != "initialize" else None,
            schema,
            params.get("arguments"),
        )

    async def _exchange(self, outgoing: Outgoing, pending: Pending) -> None:
        if not self.transport.answers_itself:
            await self._send(outgoing, pending)
            await pending.answered.wait()
            return
        sending = trio.CancelScope()
        self._nursery.start_soon(self._send_within, sending, outgoing, pending)
        try:
            await pending.answered.wait()
        finally:
            # What is behind a response is waited for a little: a connection that is read to its end can be used again.
            sending.deadline = trio.current_time() + TAIL_SECONDS if pending.answered.is_set() else -math.inf

    async def _send_within(self, scope: trio.CancelScope, outgoing: Outgoing, pending: Pending) -> None:
        with scope:
            pending.sent = True
            await self._send(outgoing, pending)
            pending.fail(TransportFailed("the answer ended before there was a response in it"))

    async def _send(self, outgoing: Outgoing, pending: Pending) -> None:
        try:
            await self.transport.send(outgoing, partial(self._take, pending))
            pending.sent = True
        except TransportFailed as exc:
            pending.fail(exc)

    async def _give_up(self, request_id: int) -> None:
        """Say that nobody waits; not where giving up the stream of a request has said it."""
        if self.ended is None and not (self.is_modern and self.transport.answers_itself):
            with trio.move_on_after(CANCEL_SECONDS, shield=True):
                await self.notify("notifications/cancelled", {"requestId": request_id, "reason": "no longer needed"})

    async def notify(self, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Nobody answers, so nobody learns whether it arrived."""
        await self._post(Notification(method, params), method)

    async def _post(self, message: Message, method: str = "") -> None:
        try:
            outgoing = Outgoing(encode(message), method, version=self.version or None)
            await self.transport.send(outgoing, partial(self._take, None))
        except (TransportFailed, ValueError):
            return

    # --- What comes -----------------------------------------------------------------------------------------------

    async def listen(self) -> None:
        """Ends when the connection does."""
        try:
            await self.transport.listen(partial(self._take, None))
        except TransportFailed as exc:
            self.end(exc)

    def end(self, why: TransportFailed) -> None:
        """There is nothing to be had here any more: whoever waits learns it."""
        self.ended = self.ended or why
        self._in_flight.fail(self.ended)
        self.over.set()

    async def _take(self, asked: Pending | None, data: bytes) -> None:
        """Look at what the server said. *asked*: the request on whose own stream it came."""
        for message in await self._read(data):
            if isinstance(message, Response) and self._answer(message, asked):
                continue
            if isinstance(message, NotMessage):
                self.garbage += 1
            elif isinstance(message, Notification):
                self._hear(message, asked)
            elif isinstance(message, Request):
                self._serve(message, asked)
            await self._hold_back(len(data))

    async def _hold_back(self, size: int) -> None:
        self._unasked += 1 + size // HELD_BYTES
        if self._unasked >= HELD_BACK:
            pause, self._unasked = HOLD_SECONDS * self._unasked / HELD_BACK, 0
            await trio.sleep(pause)

    async def _read(self, data: bytes) -> Sequence[Message | NotMessage]:
        read = parse_batch if self.version == protocol.BATCHES else _one_message
        try:
            # What takes long is read beside the event loop: others have something to do.
            return await trio.to_thread.run_sync(read, data) if len(data) > LARGE else read(data)
        except NotMessage as exc:
            return [exc]

    def _answer(self, response: Response, asked: Pending | None) -> bool:
        """Whether anybody waits for it."""
        pending = self._in_flight.get(response.id) if response.id is not None else self._only_one(response)
        if pending is None or (asked is not None and asked is not pending):
            return False
        pending.settle(response)
        return True

    def _only_one(self, response: Response) -> Pending | None:
        """The first message of a handshake may be answered as one that could not be read: without its id."""
        waiting = [*self._in_flight]
        return waiting[0] if response.error is not None and not self.version and len(waiting) == 1 else None

    def _hear(self, message: Notification, asked: Pending | None) -> None:
        params = message.params or {}
        if kind := LIST_CHANGES.get(message.method):
            self.client.changed(kind)
        elif message.method == "notifications/progress":
            self._in_flight.hear_progress(params)
        elif message.method == "notifications/message":
            self._log(params, asked)
        elif message.method == "notifications/cancelled":
            self._cancelled(params.get("requestId"))

    def _cancelled(self, request_id: Any) -> None:
        """The server does not want something of us any more; or it ends a subscription."""
        if isinstance(request_id, str | int) and (scope := self._served.get(request_id)) is not None:
            scope.cancel()
            return
        pending = self._in_flight.get(request_id)
        if pending is not None and pending.method == "subscriptions/listen":
            pending.fail(TransportFailed("the server ended the subscription"))

    def _log(self, params: Mapping[str, Any], asked: Pending | None) -> None:
        level = protocol.LEVELS.get(protocol.one_line(params.get("level"), 20), "error")
        data = params.get("data")
        text = protocol.one_line(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False), LONGEST_LINE)
        watches = self._in_flight.watches
        watch = asked.watch if asked is not None else watches[0] if len(watches) == 1 else None
        if watch is not None:
            watch.tell(f"[{level}] {text}\n")
        else:
            self.client.log(level, text)

    # --- What the server asks -------------------------------------------------------------------------------------

    def _serve(self, request: Request, asked: Pending | None) -> None:
        if len(self._served) < SERVED_AT_ONCE and request.id not in self._served:
            scope = self._served[request.id] = trio.CancelScope()
            self._nursery.start_soon(self._reply, request, asked, scope)

    async def _reply(self, request: Request, asked: Pending | None, scope: trio.CancelScope) -> None:
        try:
            with scope:
                response = await self._response(request, asked)
                with trio.move_on_after(REPLY_SECONDS):
                    await self._post(response)
        finally:
            del self._served[request.id]

    async def _response(self, request: Request, asked: Pending | None) -> Response:
        try:
            return Response(request.id, await self.perform(request.method, request.params or {}, self._call_of(asked)))
        except RpcError as exc:
            return Response(request.id, error=exc)

    async def perform(self, method: str, params: Mapping[str, Any], call: str | None) -> dict[str, Any]:
        """What a server asked for. *call*: the tool call that it is for; None: there is none. Raises RpcError."""
        if method == "ping":
            return {}
        if method == "roots/list":
            return {"roots": self.client.roots()}
        if method == "elicitation/create" and self.client.elicit is not None:
            return await self._elicit(params, call)
        raise RpcError(METHOD_NOT_FOUND, "Method not found")

    async def _elicit(self, params: Mapping[str, Any], call: str | None) -> dict[str, Any]:
        assert self.client.elicit is not None
        self._elicitations += 1
        if call is None:  # nobody uses this server just now: nobody shall be bothered by it
            return {"action": "cancel"}
        if self._elicitations > ELICITATIONS:
            raise RpcError(INTERNAL_ERROR, "there were too many elicitations")
        with self._in_flight.clocks_stand():
            return await self.client.elicit(params, call)

    def _call_of(self, asked: Pending | None) -> str | None:
        """The tool call in flight that a request of the server's is for: "" where it may be one of several."""
        watches = self._in_flight.watches
        if asked is not None and asked.watch is not None:
            return asked.watch.call
        return None if not watches else watches[0].call if len(watches) == 1 else ""


def _one_message(data: bytes) -> list[Message | NotMessage]:
    return [parse_message(data)]


@asynccontextmanager
async def open_session(transport: Transport, client: Client) -> AsyncIterator[Session]:
    """A session that listens; nothing has been said in it yet. Its tasks end with the block."""
    try:
        async with trio.open_nursery() as nursery:
            session = Session(transport, client, nursery)
            nursery.start_soon(session.listen)
            try:
                yield session
            finally:
                session.end(TransportClosed("the job has ended"))
                nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None
