"""One client's connection: a request is read, admitted, handled and answered, and then the next. One task, no timers.

The deadline of whatever it waits for is a number on its transport; the server's reaper cancels `scope` when it is past.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from enum import Enum, auto
from typing import Protocol

import trio

from agentd.errors import PayloadTooLarge
from agentd.wire.answers import send_answer, send_whole
from agentd.wire.feed import Hub
from agentd.wire.frames import WANTED, BadHandshake
from agentd.wire.head import CONTINUE, Form
from agentd.wire.hosts import ForeignRequest, HostCheck
from agentd.wire.limits import Limits
from agentd.wire.messages import Answer, BadMessage, Hangup, Request, Response, Upgrade
from agentd.wire.observer import Observer, current, id_of, new_id
from agentd.wire.parser import Head, Parser
from agentd.wire.routing import Mount, Route, default_answer_error, default_not_found, find_mount
from agentd.wire.transport import BULK_BYTES, GONE, RECEIVE_BYTES, Transport

logger = logging.getLogger(__name__)

DISCARD_BYTES = 64 * 1024  # of a body that nobody wants: up to here reading it is cheaper than a new connection


class Phase(Enum):
    """What the connection waits for: it decides what a time-out means."""

    IDLE = auto()  # the next request: hang up
    REQUEST = auto()  # the rest of one: 408
    WORK = auto()  # a handler
    ANSWER = auto()  # the client to take the answer: cut
    LINGER = auto()  # the client to read why it was refused: hang up


class Service(Protocol):
    """What connections share."""

    limits: Limits
    mounts: list[Mount]
    hub: Hub
    draining: bool
    observer: Observer | None


class Connection:
    __slots__ = (
        *("_check", "_head", "_mount", "_parser", "_peer", "_service", "_size"),
        *("phase", "scope", "transport"),
    )

    def __init__(self, service: Service, transport: Transport, peer: str, check: HostCheck | None) -> None:
        self.transport = transport
        self.phase = Phase.IDLE
        self.scope = trio.CancelScope()
        self._service = service
        self._peer = peer
        self._check = check
        self._parser = Parser(service.limits)
        self._mount: Mount | None = None  # in charge of the request

    @property
    def hub(self) -> Hub:
        return self._service.hub

    @property
    def limits(self) -> Limits:
        return self._service.limits

    def failed(self, exc: Exception) -> Answer:
        """An error as whoever is in charge shows it."""
        return default_answer_error(exc) if self._mount is None else self._mount.failed(exc)

    async def run(self) -> None:
        """Serve the client until one of us hangs up. Nothing that a client does raises here."""
        with suppress(Hangup, *GONE), self.scope:
            if await self._exchange_all():
                await self._linger()
        if self.scope.cancelled_caught and self.phase is Phase.REQUEST:
            await self.refuse(BadMessage(408, "the request did not come in time"))

    async def refuse(self, why: BadMessage, *fields: tuple[str, str]) -> None:
        """Say why, in a scope of its own, and hang up when the client can have read it."""
        with suppress(*GONE), trio.CancelScope() as self.scope:
            await self._send_refusal(why, *fields)
            await self._linger()

    async def close(self) -> None:
        self.transport.deadline = trio.current_time() + self._service.limits.linger_seconds  # TLS says goodbye first
        with suppress(*GONE), trio.CancelScope() as self.scope:
            await self.transport.aclose()

    async def _send_refusal(self, why: BadMessage, *fields: tuple[str, str]) -> None:
        self.phase = Phase.ANSWER
        answer = default_answer_error(why)
        answer.headers = fields
        form = Form("GET", modern=True, keep_alive=False)
        if (observer := self._service.observer) is not None:
            form.request_id = new_id()
            observer.refused(why.status)
        await send_whole(self.transport, answer, form)

    async def _linger(self) -> None:
        # Closing with unread bytes makes the system send a reset, which may overtake the answer. So: say that no more
        # comes, and read on for a while.
        self.phase = Phase.LINGER
        self.transport.deadline = trio.current_time() + self._service.limits.linger_seconds
        self.transport.end_sending()
        while await self.transport.receive(RECEIVE_BYTES):
            pass

    async def _exchange_all(self) -> bool:
        """True: the client may be sending still."""
        limits = self._service.limits
        try:
            head = await self._next_head(limits.head_seconds)
            while head is not None and await self._exchange(head):
                head = await self._next_head(limits.idle_seconds)
        except BadMessage as exc:
            await self._send_refusal(exc)
            return True
        return self._parser.started

    async def _next_head(self, idle_seconds: float) -> Head | None:
        """None: the client hung up, or the server is about to."""
        parser = self._parser
        self.phase = Phase.IDLE
        self.transport.deadline = trio.current_time() + idle_seconds
        if parser.started:
            await trio.lowlevel.checkpoint()  # a client that pipelines must not keep the others waiting
        while not parser.started or (head := parser.next_head()) is None:
            if self.phase is Phase.IDLE and parser.started:
                self.phase = Phase.REQUEST
                self.transport.deadline = trio.current_time() + self._service.limits.head_seconds
            if self.phase is Phase.IDLE and self._service.draining:
                return None
            data = await self.transport.receive(RECEIVE_BYTES)
            if not data:
                return None
            parser.feed(data)
        self.phase = Phase.WORK
        self.transport.deadline = math.inf
        return head

    async def _exchange(self, head: Head) -> bool:
        """Answer one request. False: the connection ends with it."""
        self._head, self._size = head, 0
        request = Request(
            head.method, head.target, head.headers, peer=self._peer, read=self._read_body, wait_gone=self.wait_gone
        )
        if self._service.observer is None:
            answer = await self._answer(request)
        else:
            answer = await self._watched(self._service.observer, request)
        del request  # a stream may last for hours
        if self._service.draining or (self._parser.in_body and not self._is_rest_small(head)):
            head.keep_alive = False
        self.phase = Phase.ANSWER
        if type(answer) is Response:
            await send_whole(self.transport, answer, head)
        elif type(answer) is Upgrade:
            await self._switch(answer, head)
        else:
            await send_answer(self, answer, head)
        while head.keep_alive and self._parser.in_body and await self._read_body(None):
            pass
        return head.keep_alive

    async def _switch(self, answer: Upgrade, head: Head) -> None:
        from agentd.wire.websocket import serve_websocket  # 50 ms that a daemon without one need not spend

        head.keep_alive = False
        if await serve_websocket(self, answer, head.request_id, self._parser.release()):
            await self._linger()

    async def _watched(self, observer: Observer, request: Request) -> Answer:
        began = trio.current_time()
        self._head.request_id = id_of(request.headers)
        current.set(self._head.request_id)
        answer = await self._answer(request)
        observer.answered(request, self._mount, answer.status, trio.current_time() - began)
        return answer

    def _is_rest_small(self, head: Head) -> bool:
        """What is left of a body that nobody wanted is little, and surely comes."""
        return head.length is not None and head.length <= DISCARD_BYTES and not self._parser.expects_continue

    async def _answer(self, request: Request) -> Answer:
        mount = self._mount = find_mount(self._service.mounts, request.raw_path)
        if mount is None or request.target == "*":
            return Response(204, content_type=None) if request.target == "*" else default_not_found(request)
        return mount.signed(request, await self._answer_of(mount, request))

    async def _answer_of(self, mount: Mount, request: Request) -> Answer:
        try:
            if self._check is not None:
                self._check.check(request.headers)
            route = mount.admit(request)
            if not isinstance(route, Route):
                return route
            if self._parser.in_body:
                await self._take_body(request, route, mount.body_limit)
        except (ForeignRequest, PayloadTooLarge) as exc:
            return mount.failed(exc)
        answer = await mount.call(route, request)
        if type(answer) is Upgrade and not self._head.modern:  # RFC 9110, 7.8
            return default_answer_error(BadHandshake(426, "a WebSocket needs HTTP/1.1", WANTED))
        return answer

    async def _take_body(self, request: Request, route: Route, limit: int | None) -> None:
        if route.limit is not None or route.streamed:
            limit = route.limit
        elif limit is None:
            limit = self._service.limits.body
        if limit is not None and (self._head.length or 0) > limit:
            raise PayloadTooLarge(limit)
        if not route.streamed:
            request.body = self._parser.whole_body() or await self._read_whole_body(limit)

    async def _read_whole_body(self, limit: int | None) -> bytes:
        pieces = []
        while piece := await self._read_body(limit):
            pieces.append(piece)
        return b"".join(pieces)

    async def _read_body(self, limit: int | None) -> bytes:
        """The next piece of the body; b"" when it is over. Raises PayloadTooLarge, BadMessage, Hangup."""
        if limit is not None and (self._head.length or 0) > limit:
            raise PayloadTooLarge(limit)  # before the client is told to go on
        while (piece := self._parser.next_chunk()) is None:
            await self._receive_body()
        self._size += len(piece)
        if limit is not None and self._size > limit:
            raise PayloadTooLarge(limit)
        return piece

    async def _receive_body(self) -> None:
        phase = self.phase
        if phase is not Phase.ANSWER:  # once a head is out there is no second answer
            self.phase = Phase.REQUEST
            if self._parser.expects_continue:
                self._parser.expects_continue = False
                await self.transport.send_all(CONTINUE)
        self.transport.deadline = trio.current_time() + self._service.limits.body_seconds
        try:
            data = await self.transport.receive(BULK_BYTES)
        except GONE as exc:
            raise Hangup from exc  # a handler's OSError would be a bug of ours
        self.transport.deadline = math.inf
        self.phase = phase
        if not data:
            raise Hangup
        self._parser.feed(data)

    async def wait_gone(self) -> None:
        """Until the client leaves, or sends more than a head: what it sends meanwhile is kept for afterwards."""
        while self._parser.held <= self._service.limits.head:
            data = await self.transport.receive(RECEIVE_BYTES)
            if not data:
                return
            self._parser.feed(data)
