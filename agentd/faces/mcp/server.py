"""The MCP server behind HTTP: who may come in, sessions of clients that began with `initialize`, requests at work.

A session ends with DELETE, when it was not used for an hour, or when there are too many; its client then begins another
one, and loses nothing but that.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import attrs
import trio

from agentd.daemon.access import Access, Principal
from agentd.daemon.opening import Work
from agentd.errors import Forbidden
from agentd.faces.mcp import answers, protocol
from agentd.faces.mcp.answers import Refused, problem
from agentd.faces.mcp.app import FACE, App, Call, may_come_in
from agentd.faces.mcp.conversation import MOST_AT_ONCE, Conversation
from agentd.faces.mcp.exchanges import Exchange
from agentd.faces.mcp.protocol import DIRECTORY_HEADER, EVENTS, PREFIX, SESSION_HEADER
from agentd.wire import jsonrpc
from agentd.wire.jsonrpc import INVALID_REQUEST, RpcError
from agentd.wire.messages import Answer, Request, Response
from agentd.wire.routing import Mount, Routes

BODY_BYTES = 4 << 20
MOST_SESSIONS = 256
IDLE_SECONDS = 3600.0

routes = Routes()


@attrs.define(eq=False)
class Session:
    """*owner*: nobody else may use it. *used*: when it was, on trio's clock."""

    id: str
    owner: str
    client: protocol.Client
    used: float
    conversation: Conversation = attrs.field(factory=Conversation)


@attrs.define(eq=False)
class Server:
    app: App
    sessions: OrderedDict[str, Session] = attrs.field(factory=OrderedDict)  # the one that was used last is last
    _at_once: Counter[str] = attrs.field(factory=Counter)  # requests that are being answered, by whose they are

    def mount(self, prefix: str = PREFIX) -> Mount:
        return Mount(
            routes,
            self,
            prefix,
            FACE,
            guard=self.guard,
            answer_error=answers.answer_error,
            not_found=answers.not_found,
            method_not_allowed=answers.method_not_allowed,
            body_limit=BODY_BYTES,
        )

    def guard(self, request: Request) -> Response | None:
        """None for who may go on, with `request.principal` set. No cookie opens this: it is not for pages."""
        request.principal = self.app.access.principal(request.headers.get("authorization"))
        if request.principal is None:
            return answers.unauthorized()
        return None if may_come_in(request.principal) else answers.answer_error(Forbidden("this token is not for MCP"))

    # --- Sessions -------------------------------------------------------------------------------------------------

    def open(self, principal: Principal, client: protocol.Client) -> Session:
        self._expire()
        if len(self.sessions) >= MOST_SESSIONS:
            idle = (each for each in self.sessions.values() if not each.conversation.is_busy)
            self.close(next(idle, next(iter(self.sessions.values()))))
        made = Session(secrets.token_urlsafe(24), principal.id, client, trio.current_time())
        self.sessions[made.id] = made
        return made

    def find(self, request: Request) -> Session:
        """The one that a request names. Raises Refused."""
        version, ident = request.headers.get(protocol.VERSION_HEADER), request.headers.get(SESSION_HEADER)
        if version and version not in protocol.HANDSHAKE:
            raise Refused(problem(400, protocol.unsupported(version)))
        if not ident:
            raise Refused(problem(400, RpcError(INVALID_REQUEST, "Mcp-Session-Id is missing: begin with initialize")))
        self._expire()
        session = self.sessions.get(ident)
        if session is None or session.owner != request.principal.id:
            raise Refused(problem(404, RpcError(INVALID_REQUEST, "Session not found: begin another with initialize")))
        session.used = trio.current_time()
        self.sessions.move_to_end(ident)
        return session

    def close(self, session: Session) -> None:
        del self.sessions[session.id]
        session.conversation.end()

    def _expire(self) -> None:
        old = trio.current_time() - IDLE_SECONDS
        for each in tuple(self.sessions.values()):
            if each.used >= old:
                break
            if not each.conversation.is_busy:
                self.close(each)

    # --- Requests -------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End subscriptions: the server is stopping. Who follows a job is let go by the end of its log."""
        self.app.stopping.set()

    async def answer(
        self, request: Request, message: jsonrpc.Request, client: protocol.Client, conversation: Conversation
    ) -> Answer:
        """Raises Refused, Hangup."""
        may_stream = EVENTS in request.headers.get("accept")
        return await self._begin(request, message, client, conversation, may_stream=may_stream).answer(request)

    async def answer_all(self, request: Request, messages: Sequence[jsonrpc.Request], session: Session) -> list[bytes]:
        """The responses to the requests of a batch. Raises Refused, Hangup."""
        begin = partial(self._begin, request, client=session.client, conversation=session.conversation)
        exchanges = [begin(message=message, may_stream=False) for message in messages]
        return [made for exchange in exchanges if (made := await exchange.whole(request)) is not None]

    def _begin(
        self,
        request: Request,
        message: jsonrpc.Request,
        client: protocol.Client,
        conversation: Conversation,
        *,
        may_stream: bool,
    ) -> Exchange:
        """Raises Refused."""
        principal: Principal = request.principal
        if self._at_once[principal.id] >= MOST_AT_ONCE:
            raise Refused(
                problem(429, RpcError(INVALID_REQUEST, "too many requests at once; wait for one"), message.id)
            )
        exchange = Exchange(conversation, client.is_stateless, may_stream)
        call = Call(
            message.id,
            principal,
            client,
            message.method,
            message.params or {},
            exchange,
            directory_of(request),
            protocol.progress_token(message.params or {}),
        )
        self.app.nursery.start_soon(self._work, call, exchange)
        return exchange

    async def _work(self, call: Call, exchange: Exchange) -> None:
        from agentd.faces.mcp import methods  # and with them the tools, which nobody needs before the first request

        response: jsonrpc.Response | None = None
        self._at_once[call.principal.id] += 1
        try:
            with exchange.scope, exchange.conversation.answering(call.id, exchange.scope):
                response = await methods.answer(self.app, call)
        except RpcError as exc:
            response = jsonrpc.Response(call.id, error=exc)
        finally:
            exchange.end(response)
            self._at_once[call.principal.id] -= 1


def directory_of(request: Request) -> Path | None:
    """Where work is done that does not say where, as who relays for a process in a directory says it."""
    named = unquote(request.headers.get(DIRECTORY_HEADER), errors="surrogateescape")
    return Path(named) if named.startswith("/") else None


@asynccontextmanager
async def open_mcp(work: Work, access: Access, off_limits: Sequence[Path]) -> AsyncIterator[Server]:
    """An MCP server over the sessions of *work*. *off_limits*: what no search shows. Serve its mount inside the block,
    and end serving before the block ends."""
    async with trio.open_nursery() as nursery:
        yield Server(App(work, access, tuple(off_limits), nursery))
        nursery.cancel_scope.cancel()
