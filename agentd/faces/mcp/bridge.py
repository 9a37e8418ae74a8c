"""Between a client on standard input and output and the MCP server of a daemon, behind HTTP.

Each message becomes a request, with the header fields that belong to it; what comes back is told as it comes. A daemon
that has ended, or has forgotten the client's session, is found or begun again, of which the client need not know.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import attrs
import trio

from agentd.errors import AgentdError
from agentd.faces.mcp import protocol
from agentd.faces.mcp.protocol import CANCELLED, DIRECTORY_HEADER, EVENTS, JSON, PREFIX, SESSION_HEADER, STATELESS
from agentd.faces.mcp.stdio import Outbox, Work
from agentd.wire.client import Address, Client
from agentd.wire.failure import HttpFailed
from agentd.wire.incoming import Answer
from agentd.wire.jsonrpc import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    Id,
    Message,
    Notification,
    NotMessage,
    Request,
    Response,
    RpcError,
    encode,
    parse_message,
)
from agentd.wire.messages import Fields

HEAD_SECONDS = 120.0  # for an answer to begin; one that takes long begins as a stream
GOODBYE_SECONDS = 1.0
NO_SESSION = f"begin with initialize, or say what it says in the _meta of each request, as {STATELESS[0]} has it"
logger = logging.getLogger(__name__)


@attrs.frozen
class Place:
    """Where the daemon is, and what opens it."""

    address: str
    token: str = attrs.field(repr=False)


@attrs.define(eq=False)
class Bridge:
    """*find*: where the daemon is now; raises AgentdError where none can be had. *directory*: where work is done that
    does not say where."""

    find: Callable[[], Awaitable[Place]]
    directory: Path
    _place: Place | None = None
    _client: Client | None = None
    _session: str = ""
    _version: str = ""
    _began: Request | None = None  # with which the session began
    _begun: trio.Event | None = None  # set: there is a session, or there will be none; None: it was not asked for
    _running: dict[Id, trio.CancelScope] = attrs.field(factory=dict)
    _finding: trio.Lock = attrs.field(factory=trio.Lock)
    _beginning: trio.Lock = attrs.field(factory=trio.Lock)

    def take(self, message: Message, outbox: Outbox) -> Work | None:
        if isinstance(message, Notification) and message.method == CANCELLED:
            request_id = (message.params or {}).get("requestId")
            if isinstance(request_id, (str, int)) and (scope := self._running.get(request_id)) is not None:
                scope.cancel()  # the daemon takes a connection that is closed for the same
            return None
        if not isinstance(message, Request):
            return partial(self._relay, message, outbox, self._begun)
        scope = self._running[message.id] = trio.CancelScope()
        if message.method != "initialize":
            return partial(self._answer, message, outbox, scope, self._begun)
        self._begun = trio.Event()
        return partial(self._initialize, message, outbox, scope, self._begun)

    def take_batch(self, line: bytes, outbox: Outbox) -> Work:
        return partial(self._relay_batch, line, outbox, self._begun)

    async def close(self) -> None:
        """End the session that the client had."""
        with trio.move_on_after(GOODBYE_SECONDS, shield=True):
            if self._session and self._client is not None:
                try:
                    await self._client.request("DELETE", PREFIX, headers=self._fields(None))
                except HttpFailed as exc:
                    logger.debug("the session is not ended: %s", exc)
        if self._client is not None:
            self._client.close()

    # --- Messages -------------------------------------------------------------------------------------------------

    async def _initialize(self, request: Request, outbox: Outbox, scope: trio.CancelScope, begun: trio.Event) -> None:
        """What comes behind it waits until it is answered: it belongs to the session that this begins."""
        try:
            await self._answer(request, outbox, scope)
        finally:
            begun.set()

    async def _relay(self, message: Message, outbox: Outbox, begun: trio.Event | None) -> None:
        await _wait(begun)
        try:
            await self._post(message, outbox)
        except AgentdError as exc:
            logger.warning("a message is not relayed: %s", exc)

    async def _relay_batch(self, line: bytes, outbox: Outbox, begun: trio.Event | None) -> None:
        """What it is in is not looked at: so it is not sent again either."""
        await _wait(begun)
        try:
            self._check_begun(None)
            client = await self._opened()
            told = await client.request("POST", PREFIX, headers=self._fields(None), body=line, seconds=HEAD_SECONDS)
        except RpcError as exc:
            await outbox.send(encode(Response(None, error=exc)))
            return
        except AgentdError as exc:
            await outbox.send(encode(Response(None, error=RpcError(INTERNAL_ERROR, str(exc)))))
            return
        if told.body:
            await outbox.send(told.body)

    async def _answer(
        self, request: Request, outbox: Outbox, scope: trio.CancelScope, begun: trio.Event | None = None
    ) -> None:
        with scope:
            await _wait(begun)
            try:
                self._check_begun(request)
                await self._post(request, outbox)
            except RpcError as exc:
                await outbox.send(encode(Response(request.id, error=exc)))
            except AgentdError as exc:
                await outbox.send(encode(Response(request.id, error=RpcError(INTERNAL_ERROR, str(exc)))))
        if self._running.get(request.id) is scope:
            del self._running[request.id]

    async def _post(self, message: Message, outbox: Outbox, *, again: bool = True) -> None:
        """Raises AgentdError."""
        session, client = self._session, await self._opened()
        try:
            async with client.open_stream(
                "POST", PREFIX, headers=self._fields(message), body=encode(message), seconds=HEAD_SECONDS
            ) as answer:
                if not (answer.status == 404 and again and self._belongs_to_session(message)):
                    await self._pass_on(message, answer, outbox)
                    return
        except HttpFailed as exc:
            if exc.kind != "connect" or not again:
                raise
            self._forget(client)  # it may have been started anew, at another place
        await self._begin_again(session)
        await self._post(message, outbox, again=False)

    async def _pass_on(self, message: Message, answer: Answer, outbox: Outbox) -> None:
        if not isinstance(message, Request):
            await answer.read_all()
            return
        if answer.headers.get("content-type").startswith(EVENTS):
            async for event in answer.events():
                await outbox.send(event.data.encode())
            return
        body = await answer.read_all()
        if message.method == "initialize" and answer.status == 200:
            self._note_session(message, answer.headers.get(SESSION_HEADER), body)
        await outbox.send(_response_to(message, answer.status, body))

    # --- The session ----------------------------------------------------------------------------------------------

    def _check_begun(self, request: Request | None) -> None:
        """Raises RpcError for what needs a session where none was begun; the daemon would say so in words of HTTP."""
        if not self._session and not (request is not None and _stands_alone(request)):
            raise RpcError(INVALID_REQUEST, NO_SESSION)

    def _belongs_to_session(self, message: Message) -> bool:
        return bool(self._session) and not (isinstance(message, Request) and _stands_alone(message))

    def _note_session(self, began: Request, session: str, body: bytes) -> None:
        self._began, self._session = began, session
        self._version = json.loads(body)["result"]["protocolVersion"]

    async def _begin_again(self, lost: str) -> None:
        """The daemon has forgotten the client's session, or is another one. Raises AgentdError."""
        async with self._beginning:
            if self._began is None or self._session != lost:
                return
            client = await self._opened()
            body, fields = encode(self._began), self._fields(self._began)
            told = await client.request("POST", PREFIX, headers=fields, body=body)
            if told.status == 200:
                self._note_session(self._began, told.headers.get(SESSION_HEADER), told.body)

    # --- The daemon -----------------------------------------------------------------------------------------------

    async def _opened(self) -> Client:
        """Raises AgentdError."""
        async with self._finding:
            if self._client is None:
                self._place = await self.find()
                self._client = Client(Address.parse(self._place.address))
            return self._client

    def _forget(self, client: Client) -> None:
        client.close()
        if self._client is client:
            self._client = self._place = None

    def _fields(self, message: Message | None) -> Fields:
        fields = [
            ("Authorization", f"Bearer {self._place.token if self._place else ''}"),
            ("Accept", f"{JSON}, {EVENTS}"),
            ("Content-Type", JSON),
            (DIRECTORY_HEADER, quote(os.fsencode(self.directory))),
        ]
        if isinstance(message, Request) and protocol.is_stateless(message):
            return [*fields, *protocol.headers(message)]
        if self._session and not (isinstance(message, Request) and message.method == "initialize"):
            fields += [(SESSION_HEADER, self._session), (protocol.VERSION_HEADER, self._version)]
        return fields


def _stands_alone(request: Request) -> bool:
    """Whether it needs no session."""
    return request.method == "initialize" or protocol.is_stateless(request)


async def _wait(begun: trio.Event | None) -> None:
    if begun is not None:
        await begun.wait()


def _response_to(request: Request, status: int, body: bytes) -> bytes:
    """The daemon's response; where it answered as HTTP does, one that says so."""
    try:
        found = parse_message(body)
    except NotMessage:
        found = None
    if isinstance(found, Response) and found.id == request.id:
        return body
    error = found.error if isinstance(found, Response) and found.error is not None else None
    return encode(Response(request.id, error=error or RpcError(INTERNAL_ERROR, f"the daemon answered with {status}")))
