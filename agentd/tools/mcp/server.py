"""One MCP server of a job: connected, asked what it offers, and begun anew when it dies. A task of the job owns it.

What a server does can fail its own calls and nothing else. One that dies comes back a few times, later each time; one
that has been well for a while has its chances back. A call that was in flight is not repeated, since nobody knows how
far it came; only a session that the server has forgotten is begun anew, and the call sent once more.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

import trio

from agentd.domain import McpServer
from agentd.errors import ToolFailed, only_cause
from agentd.providers.redact import redact, without
from agentd.tools.mcp import handshake, listing, protocol, rounds
from agentd.tools.mcp.listing import LONGEST_SCHEMA, PromptOffer, ToolOffer
from agentd.tools.mcp.pending import Watch
from agentd.tools.mcp.session import Client, Session, open_session
from agentd.tools.mcp.stdio import open_stdio
from agentd.tools.mcp.terms import Elicitation, ServerStatus, Terms
from agentd.tools.mcp.transport import SessionLost, Transport, TransportClosed, TransportFailed
from agentd.wire.jsonrpc import HEADER_MISMATCH, INVALID_PARAMS, RpcError
from agentd.wire.jsonschema import SchemaError, compile_schema

T = TypeVar("T")

KINDS = ("tools", "prompts", "resources")
LESS_WANTED = 0.3  # of the time to connect is for each of the lists without which a server is of use too
RESTARTS = 3
BACKOFF_SECONDS = 0.5  # before the first, and twice as much before each of the others
WELL_SECONDS = 60.0  # after so long a connection its end is the first again
AT_ONCE = 16  # calls
DEBOUNCE_SECONDS, BETWEEN_SECONDS = 0.2, 2.0  # before a changed list is read, and behind it
SUBSCRIBE_SECONDS = 86_400.0  # a subscription is a request whose answer is its end
NOTICES = 20  # of one server
LONGEST_ERROR, LONGEST_FAILURE = 500, 4000  # characters, for people and for models
LONGEST_MESSAGE = 4000  # of an elicitation
_WEB_PAGE = re.compile(r"https?://[!-~]{1,2000}")
SHORTEST_SECRET = 8  # characters: "true" and "/tmp" are none


class Server:
    """*changes* counts up whenever what it offers is another."""

    def __init__(self, name: str, config: McpServer, terms: Terms) -> None:
        self.name = name
        self.config = config
        self.tools: tuple[ToolOffer, ...] = ()
        self.prompts: tuple[PromptOffer, ...] = ()
        self.has_resources = False
        self.instructions = ""
        self.changes = 0
        self.connect_seconds = config.connect_seconds or terms.connect_seconds
        self.call_seconds = config.call_seconds or terms.call_seconds
        self.error: str | None = None
        self._terms = terms
        self._deadline = trio.current_time() + self.connect_seconds  # for it to be there at first
        self._session: Session | None = None
        self._legacy = False
        self._gone = False
        self._settled, self._changing = trio.Event(), trio.Event()
        self._news, self._changed = trio.Event(), set[str]()
        self._notices = 0
        self._limit = trio.CapacityLimiter(AT_ONCE)
        values = [*config.env.values(), *(word for value in config.headers.values() for word in value.split())]
        self._secrets = {value for value in values if len(value) >= SHORTEST_SECRET}

    @property
    def status(self) -> ServerStatus:
        state = "connected" if self.error is None else "failed"
        return ServerStatus(self.name, self.config.transport, state, self.error, len(self.tools))  # type: ignore[arg-type]

    @property
    def session(self) -> Session | None:
        """The present one; None: it is not connected now."""
        return self._session

    # --- Its life -------------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """It is connected, or has failed; at the end of its time it has."""
        with trio.CancelScope(deadline=self._deadline):
            await self._settled.wait()
        if not self._settled.is_set():
            self._fail(f"it was not there within {self.connect_seconds:g} s")

    async def run(self) -> None:
        """Ends when there is nothing more to be had of it."""
        if problem := self._hindrance():
            return self._fail(problem)
        deaths, first = 0, None
        while not self._gone:
            began = trio.current_time()
            why = await self._live()
            if self._gone:
                return self._forget()
            if not self._settled.is_set() and isinstance(why, TransportClosed) and not self._legacy and first is None:
                self._legacy, first = True, why  # some legacy servers die of a first message that they do not know
                continue
            deaths = 1 if trio.current_time() - began > WELL_SECONDS else deaths + 1
            if deaths > RESTARTS or not self._settled.is_set():
                # A modern server that died refuses to be a legacy one: that is not what is wrong with it.
                return self._fail(self._words(first if first is not None and isinstance(why, RpcError) else why))
            if not isinstance(why, SessionLost) or deaths > 1:
                self.notice("warning", f"{self._words(why)}; it is begun anew")
                await trio.sleep(BACKOFF_SECONDS * 2 ** (deaths - 1))
        return None

    def _hindrance(self) -> str:
        if self.config.problem:
            return self.config.problem
        remote = self.config.transport != "stdio"
        if remote and not self._terms.network:
            return "network disabled by sandbox"
        return "" if (self.config.url if remote else self.config.command) else "it has neither a command nor a url"

    def _fail(self, why: str) -> None:
        self.error = protocol.one_line(self.safe(why), LONGEST_ERROR)
        self._gone = True
        if self._settled.is_set():
            self.notice("error", f"{why}; it is left alone")
        else:
            self._forget()
        self._settled.set()
        self._tell_waiting()

    def _forget(self) -> None:
        """What it told before it failed is not to be had."""
        self.tools, self.prompts, self.has_resources = (), (), False
        self.changes += 1

    async def _live(self) -> Exception:
        """Connect and stay so for as long as it goes. What ended it."""
        again = trio.current_time() + self.connect_seconds
        with trio.CancelScope(deadline=again if self._settled.is_set() else self._deadline) as scope:
            try:
                await self._connect(scope)
            except (TransportFailed, RpcError) as exc:
                return exc
            except BaseExceptionGroup as group:  # it died while we were leaving: only the latter goes on
                died, rest = group.split((TransportFailed, RpcError))
                if rest is not None or died is None:
                    raise rest or group from None
                return only_cause(died)
            finally:
                self._session = None
        return TransportFailed(f"it was not there within {self.connect_seconds:g} s")

    async def _connect(self, scope: trio.CancelScope) -> None:
        async with self._open_transport() as transport, open_session(transport, self._client()) as session:
            seconds = self.connect_seconds
            await handshake.agree(session, seconds=seconds, legacy=self._legacy)
            self._legacy = not session.is_modern
            await self._read(session, "tools", seconds)
            for kind in ("prompts", "resources"):
                await self._read_if_it_can(session, kind, LESS_WANTED * seconds)
            if self._gone:
                return
            self._session, scope.deadline = session, math.inf
            self.instructions = session.instructions
            self._settled.set()
            self._tell_waiting()
            await self._stay(session)

    async def _stay(self, session: Session) -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handshake.ask_for_logs, session)
                nursery.start_soon(self._follow, session)
                nursery.start_soon(self._subscribe, session)
                await session.over.wait()
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise only_cause(group) from None
        assert session.ended is not None
        raise session.ended

    @asynccontextmanager
    async def _open_transport(self) -> AsyncIterator[Transport]:
        if self.config.transport == "stdio":
            async with open_stdio(self.config, self._terms) as transport:
                yield transport
        elif self.config.transport == "sse":
            from agentd.tools.mcp.sse import open_sse

            async with open_sse(self.config, self._terms.url_policy) as remote:
                yield remote
        else:
            from agentd.tools.mcp.http import open_http

            async with open_http(self.config, self._terms.url_policy) as remote:
                yield remote

    # --- What it offers -------------------------------------------------------------------------------------------

    async def _read(self, session: Session, kind: str, seconds: float) -> None:
        """What it has of them now; of resources only whether there are any. Raises as Session.request() does."""
        if not session.can(kind):
            return
        before = (self.tools, self.prompts, self.has_resources)
        if kind == "resources":
            self.has_resources = await listing.has_resources(session, seconds)
        elif kind == "tools":
            entries = await self._entries(session, "tools/list", "tools", listing.TOOLS, seconds)
            self.tools = await listing.read_tools(entries, session.transport.refuses, self._problem)
        else:
            entries = await self._entries(session, "prompts/list", "prompts", listing.PROMPTS, seconds)
            self.prompts = listing.read_prompts(entries)
        self.changes += before != (self.tools, self.prompts, self.has_resources)

    async def _read_if_it_can(self, session: Session, kind: str, seconds: float) -> None:
        """What cannot be read stays what it was, and that is said. Raises what ended the session."""
        try:
            with trio.fail_after(seconds):
                await self._read(session, kind, seconds)
        except (RpcError, TransportFailed, trio.TooSlowError) as exc:
            if session.ended is not None:
                raise session.ended from exc
            self.notice("warning", f"its {kind} could not be read: {self._words(exc)}")

    async def _entries(
        self, session: Session, method: str, key: str, most: int, seconds: float
    ) -> list[dict[str, Any]]:
        return await listing.all_pages(session, method, key, most=most, seconds=seconds, problem=self._problem)

    def _hear_of(self, kind: str) -> None:
        self._changed.add(kind)
        self._news.set()

    async def _follow(self, session: Session) -> None:
        """Read lists again when they have changed, however often that is said; one that cannot be had stays."""
        while True:
            await self._news.wait()
            await trio.sleep(DEBOUNCE_SECONDS)
            self._news, changed, self._changed = trio.Event(), self._changed, set()
            for kind in changed:
                await self._read_if_it_can(session, kind, self.call_seconds)
            await trio.sleep(BETWEEN_SECONDS)

    async def _subscribe(self, session: Session) -> None:
        """Since 2026-07-28 a server tells of changes only who has asked for that."""
        wanted = {f"{kind}ListChanged": True for kind in KINDS if session.can(kind, "listChanged")}
        if not session.is_modern or not wanted:
            return
        pause = BETWEEN_SECONDS
        while True:
            try:
                await session.request("subscriptions/listen", {"notifications": wanted}, seconds=SUBSCRIBE_SECONDS)
            except RpcError:
                return  # it says that it can, and cannot
            except TransportFailed:
                pass
            await trio.sleep(pause)
            pause = min(pause * 2, WELL_SECONDS)
            self._changed.update(KINDS)  # what was changed meanwhile nobody told
            self._news.set()

    # --- What is asked of it --------------------------------------------------------------------------------------

    async def ask(
        self, method: str, params: Mapping[str, Any], watch: Watch, schema: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The result of tools/call, prompts/get or resources/read. Raises ToolFailed."""

        async def do(session: Session) -> dict[str, Any]:
            return await rounds.ask(session, method, params, seconds=self.call_seconds, watch=watch, schema=schema)

        return await self._in_session(do)

    async def entries(self, method: str, key: str, most: int) -> list[dict[str, Any]]:
        """A list, as it is now. Raises ToolFailed."""

        async def do(session: Session) -> list[dict[str, Any]]:
            with trio.fail_after(self.call_seconds):
                return await self._entries(session, method, key, most, self.call_seconds)

        return await self._in_session(do)

    async def _in_session(self, do: Callable[[Session], Awaitable[T]]) -> T:
        """Once more in a new one, if the server has forgotten the first. Raises ToolFailed."""
        with self._told_to_models():
            session = await self._connected()
            try:
                async with self._limit:
                    return await do(session)
            except SessionLost as lost:
                session.end(lost)
            session = await self._connected()
            async with self._limit:
                return await do(session)

    async def _connected(self) -> Session:
        """The session, if need be the next one. Raises TransportClosed."""
        with trio.move_on_after(self.connect_seconds):
            while not self._gone:
                if self._session is not None and self._session.ended is None:
                    return self._session
                await self._changing.wait()
        raise TransportClosed(self.error or "it is being begun anew")

    def _tell_waiting(self) -> None:
        self._changing.set()
        self._changing = trio.Event()

    @contextmanager
    def _told_to_models(self) -> Iterator[None]:
        try:
            yield
        except TransportClosed as exc:
            raise ToolFailed(f"MCP server {self.name} is gone: {self._words(exc)}") from exc
        except (TransportFailed, RpcError, trio.TooSlowError) as exc:
            if isinstance(exc, RpcError) and exc.code == HEADER_MISMATCH:
                self._hear_of("tools")  # their schemas say which arguments go into headers, and may be others now
            raise ToolFailed(f"MCP server {self.name}: {self._words(exc)}") from exc

    # --- What it asks of us, and says -----------------------------------------------------------------------------

    def _client(self) -> Client:
        elicit = self._elicit if self._terms.elicit is not None else None
        return Client(self._roots, elicit, lambda level, text: self._log(level, text), self._hear_of)

    def _roots(self) -> list[dict[str, Any]]:
        return [{"uri": root.as_uri(), "name": root.name or str(root)} for root in self._terms.roots]

    async def _elicit(self, params: Mapping[str, Any], call: str) -> dict[str, Any]:
        """Raises RpcError for what cannot be asked."""
        assert self._terms.elicit is not None
        url, schema = params.get("url"), params.get("requestedSchema")
        by_url = params.get("mode", "form") == "url"
        if by_url and not (isinstance(url, str) and _WEB_PAGE.fullmatch(url)):
            raise RpcError(INVALID_PARAMS, "the url is none that a person can be sent to")
        if not by_url and not _is_form(schema):
            raise RpcError(INVALID_PARAMS, "requestedSchema is no schema of an object, or a large one")
        message = protocol.text_of(params.get("message"), LONGEST_MESSAGE)
        asked = Elicitation(self.name, message, {} if by_url else schema, url if by_url else None, call or None)  # type: ignore[arg-type]
        answer = await self._terms.elicit(asked)
        content = {"content": dict(answer.content or {})} if answer.action == "accept" and not by_url else {}
        return {"action": answer.action, **content}

    def _log(self, level: str, text: str) -> None:
        if level != "info":
            self.notice(level, text)

    def _problem(self, text: str) -> None:
        self.notice("warning", text)

    def notice(self, level: str, text: str) -> None:
        self._notices += 1
        if self._notices <= NOTICES:
            last = " (nothing more is told of it)" if self._notices == NOTICES else ""
            said = protocol.one_line(self.safe(text), LONGEST_ERROR)
            self._terms.notice(level, "mcp", f"MCP server {self.name}: {said}{last}")

    def safe(self, text: str) -> str:
        return redact(without(text[: LONGEST_FAILURE * 2], self._secrets))

    def _words(self, exc: Exception) -> str:
        if isinstance(exc, trio.TooSlowError):
            return f"there was no answer within {self.call_seconds:g} s"
        said = f"{exc.message or 'it failed'} (error {exc.code})" if isinstance(exc, RpcError) else str(exc)
        return protocol.text_of(self.safe(said), LONGEST_FAILURE)


def _is_form(schema: Any) -> bool:
    if not isinstance(schema, dict) or len(json.dumps(schema)) > LONGEST_SCHEMA:
        return False
    try:
        compile_schema(schema)
    except SchemaError:
        return False
    return True
