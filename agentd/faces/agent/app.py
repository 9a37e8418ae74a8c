"""What the handlers of the agent API share: keys, sessions, and how a query becomes a run. The contract: agent-api.md.

A run begins with one call, whatever it came by: a request, a fork or a socket. It belongs to its client, and is stopped
when that leaves, unless it was asked for as detached.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial, wraps
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import attrs
import trio

from agentd.daemon.asks import Asks
from agentd.daemon.opening import Work
from agentd.daemon.sessions import Sessions
from agentd.domain import Entry, JobSpec, PermissionMode, Site
from agentd.errors import (
    AgentdError,
    AskNotFound,
    AskSettled,
    JobInProgress,
    JobNotFound,
    Locked,
    SessionNotFound,
    StoreFailed,
)
from agentd.faces.agent import records
from agentd.faces.agent.answers import (
    SessionLocked,
    ShuttingDown,
    answer_error,
    method_not_allowed,
    not_found,
    unauthorized,
)
from agentd.faces.agent.fields import Unprocessable
from agentd.faces.agent.headers import correlation, cors
from agentd.faces.agent.keys import ApiKeys, key_of
from agentd.faces.agent.rates import QUERIES, Rates, kind_of
from agentd.faces.agent.replies import read_reply
from agentd.faces.agent.requests import Query as Asked
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.streams import Run, SharedFrames
from agentd.faces.agent.terms import Terms
from agentd.store.home import SessionDir
from agentd.store.summary import AskRow, SessionRow
from agentd.store.tables import Found, Query
from agentd.wire.messages import Fields, Request, Response
from agentd.wire.routing import Handler, Mount, Routes

PUBLIC = frozenset({"/", "/health", "/api/v1/health"})
SOCKET = "/api/v1/query/ws"
PATIENCE_SECONDS = 5.0  # for a session that is at work: the contract, 9.4
LATEST = 50  # sessions among which the one to continue is looked for
DRAIN_LOOK_SECONDS = 0.2
END_SECONDS = 5.0  # for runs that are stopped with the server to tell how they ended
logger = logging.getLogger(__name__)

routes = Routes()


def route(method: str, pattern: str, *, public: bool = False) -> Callable[[Handler], Handler]:
    """Register a handler; unless it is *public*, for requests with a key, whatever the guard has let through, and as
    often as it may ask."""
    kind = kind_of(pattern)

    def register(handler: Handler) -> Handler:
        @wraps(handler)
        async def checked(app: App, request: Request, **params: Any) -> Any:
            if not public and request.principal is None:
                return unauthorized(missing=not key_of(request))
            if not public and kind is not None:
                app.rates.count(request.principal, kind)
            return await handler(app, request, **params)

        routes.add(method, pattern)(checked)
        return handler

    return register


@attrs.frozen
class AgentSettings:
    """What is set of this API, but for what requests are read by, which is in *terms*. Times are seconds."""

    terms: Terms
    request_seconds: float | None = None  # for which a single query may run; None: no limit
    max_body_bytes: int = 32 * 1024 * 1024
    grace_seconds: float = 30.0  # for runs to end when the server stops
    site: Site = attrs.field(factory=Site)
    origins: tuple[str, ...] = ()  # of pages of others that may use this API; "*": of any
    rates: Mapping[str, int] = attrs.field(factory=dict)  # requests a minute of one key, by rates.KINDS


@attrs.define(eq=False)
class App:
    """Made by open_agent()."""

    work: Work
    keys: ApiKeys
    settings: AgentSettings
    nursery: trio.Nursery  # owns what is done for clients that have left
    frames: SharedFrames = attrs.field(factory=SharedFrames)
    stopping: bool = False
    rates: Rates = attrs.field(default=attrs.Factory(lambda app: Rates(app.settings.rates), takes_self=True))

    @property
    def sessions(self) -> Sessions:
        return self.work.sessions

    @property
    def asks(self) -> Asks:
        return self.work.asks

    @property
    def terms(self) -> Terms:
        return self.settings.terms

    def mount(self, prefix: str = "") -> Mount:
        return Mount(
            routes,
            self,
            prefix,
            records.FACE,
            guard=self.guard,
            answer_error=answer_error,
            not_found=not_found,
            method_not_allowed=method_not_allowed,
            sign=self.sign,
            body_limit=self.settings.max_body_bytes,
        )

    def sign(self, request: Request) -> Fields:
        return (*correlation(request), *cors(request, self.settings.origins))

    # --- Who asks -------------------------------------------------------------------------------------------------

    def guard(self, request: Request) -> Response | None:
        """None for who may go on, with `request.principal` set where a key is needed: to whom belongs what it makes."""
        path = unquote(request.inner_target.partition("?")[0]).rstrip("/") or "/"
        if request.method == "OPTIONS" or path in PUBLIC or not f"{path}/".startswith(("/api/v1/", "/v1/")):
            return None
        if path == SOCKET and request.headers.get("upgrade").lower() == "websocket":
            return None  # who may not is told so on the socket
        request.principal = self.principal(request)
        return None if request.principal else unauthorized(missing=not key_of(request))

    def principal(self, request: Request, *, in_query: bool = False) -> str | None:
        """To whom belongs what the request makes; None: it has no key, or a wrong one. *in_query*: see key_of()."""
        key = key_of(request, in_query=in_query)
        return self.keys.owner(key) if key else None

    async def find(self, session_id: str, owner: str) -> Found[SessionRow]:
        """Raises SessionNotFound, also for one of another key, or of another face; StoreFailed."""
        try:
            found = await self.sessions.find(session_id)
        except SessionNotFound:
            raise SessionNotFound(session_id) from None
        if found.row.face != records.FACE or found.owner != owner:
            raise SessionNotFound(session_id)
        return found

    # --- Beginning a run ------------------------------------------------------------------------------------------

    async def begin(
        self,
        asked: Asked,
        owner: str,
        *,
        session_id: str | None = None,
        fork: bool = False,
        single: bool = False,
        history: Sequence[Entry] = (),
    ) -> Run:
        """A run that is on disk. *session_id*: what it continues, or *fork*s; else the query says it. *single*: nobody
        can be asked while it runs. *history*: what a new session begins with. Once this has begun it comes to its end,
        also when it is cancelled.

        Raises ShuttingDown, RateLimited, SessionNotFound, SessionLocked, Busy, Forbidden, ExecutorFailed, HttpFailed,
        StoreFailed.
        """
        self.check_open()
        self.rates.count(owner, QUERIES)
        if session_id is None:
            session_id, fork = await self._to_continue(asked, owner), asked["fork_session"]
        begun: list[Run] = []
        with trio.CancelScope(shield=True):
            if session_id is None:
                spec = to_spec(asked, self.terms, single=single)
                make = partial(self.sessions.create, records.FACE, "", fill=lambda _: history)
                begun.append(await self._begin_new(asked, owner, spec, make))
            else:
                begun.append(await self._go_on(asked, owner, session_id, fork=fork, single=single))
        return begun[0]

    async def _go_on(self, asked: Asked, owner: str, session_id: str, *, fork: bool, single: bool) -> Run:
        found = await self.find(session_id, owner)
        spec = to_spec(asked, self.terms, await self.sessions.last_spec(found), single=single)
        if fork:
            await _check_directory(spec.face["cwd"])
            make = partial(self.sessions.fork, found.row.id, records.FACE, "")
            return await self._begin_new(asked, owner, spec, make)
        self.keys.check_root(owner, Path(spec.face["cwd"]))
        await _check_directory(spec.face["cwd"])
        try:
            return await self._start(self.sessions.directory(found.row.id), asked, spec)
        except (JobInProgress, Locked):
            raise SessionLocked(found.row.id) from None

    def check_open(self) -> None:
        """Raises ShuttingDown."""
        if self.stopping:
            raise ShuttingDown

    async def _to_continue(self, asked: Asked, owner: str) -> str | None:
        if asked.session_id is not None or not asked["continue_conversation"]:
            return asked.session_id
        workspace = str(self.terms.workspace / (asked["cwd"] or ""))
        query = Query(face=records.FACE, owner=owner, workspace=workspace, limit=LATEST)
        page = await self.sessions.listing.ask(lambda index: index.sessions(query))
        return max((found.row for found in page.items), key=lambda row: row.modified, default=SessionRow("")).id or None

    async def _begin_new(
        self, asked: Asked, owner: str, spec: JobSpec, make: Callable[..., Awaitable[SessionDir]]
    ) -> Run:
        """In a session of its own; when this raises, there is none."""
        workspace = Path(spec.face["cwd"])
        self.keys.check_root(owner, workspace)
        session = await make(workspace, owner=owner)
        try:
            return await self._start(session, asked, spec)
        except Exception:
            await self.sessions.discard(session)
            raise

    async def _start(self, session: SessionDir, asked: Asked, spec: JobSpec) -> Run:
        if blobs := asked.blobs:
            await trio.to_thread.run_sync(_put, session, blobs)
        first = (await self.sessions.tail(session.id)).reader.last_pos + 1
        workspace = Path(spec.face["cwd"])
        job = await self.sessions.start(session.id, spec, workspace=workspace, patience=PATIENCE_SECONDS)
        return Run(session.id, job, first)

    # --- While it runs --------------------------------------------------------------------------------------------

    async def interrupt(self, session_id: str, owner: str) -> None:
        """Raises SessionNotFound, also where nothing runs; StoreFailed, HttpFailed."""
        if await self.sessions.cancel(await self.find(session_id, owner)) is None:
            raise SessionNotFound(session_id)

    def abandon(self, run: Run) -> None:
        """Stop a run whose client has left. That goes on by itself; a server that stops has its own way with runs."""
        if not self.stopping:
            self.nursery.start_soon(self._stop, run)

    async def _stop(self, run: Run) -> None:
        try:
            await self.sessions.cancel(await self.sessions.find(run.session_id), run.job_id)
        except SessionNotFound:  # it is deleted already
            return
        except AgentdError as exc:
            logger.warning("a run is not stopped: %s", exc, extra={"session": run.session_id})

    async def answer(self, session_id: str, owner: str, text: str, question_id: str | None = None) -> None:
        """To the question that is open, the oldest or the one that is named; else to the next one that the run asks.

        Raises SessionNotFound, also where nothing runs; AskNotFound; ExecutorFailed, HttpFailed, StoreFailed."""
        found = await self._running(session_id, owner)
        ask = await self._open_ask(found, question_id)
        try:
            if ask is not None:
                await self.asks.settle(ask, read_reply(ask.row.kind, text))
            else:
                await self.sessions.control(found.row.id, answer=text)
        except AskSettled:  # just now, by somebody else, whose answer stands
            return
        except JobNotFound:
            raise SessionNotFound(session_id) from None

    async def control(self, session_id: str, owner: str, permission_mode: str) -> None:
        """Change the permission mode of a run. Raises SessionNotFound, also where nothing runs; ExecutorFailed,
        HttpFailed, StoreFailed."""
        found = await self._running(session_id, owner)
        try:
            await self.sessions.control(found.row.id, permission_mode=PermissionMode(permission_mode))
        except JobNotFound:
            raise SessionNotFound(session_id) from None

    async def _running(self, session_id: str, owner: str) -> Found[SessionRow]:
        found = await self.find(session_id, owner)
        if not records.is_active(found.row):
            raise SessionNotFound(session_id)
        return found

    async def _open_ask(self, found: Found[SessionRow], question_id: str | None) -> Found[AskRow] | None:
        query = Query(session=found.row.id, states=["open"])
        asks = (await self.sessions.listing.ask(lambda index: index.asks(query))).items
        if question_id is None:
            return asks[-1] if asks else None
        named = next((ask for ask in asks if ask.row.id == question_id), None)
        if named is None:
            raise AskNotFound(question_id)
        return named

    async def find_ask(self, ask_id: str, owner: str) -> Found[AskRow]:
        """Raises AskNotFound, also for one of a session that is not the key's own; StoreFailed."""
        found = await self.asks.find(ask_id)
        if found.session.face != records.FACE or found.owner != owner:
            raise AskNotFound(ask_id)
        return found

    # --- The end --------------------------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Begin no more runs; let those that are at work end for a while, and then stop them. Those that wait for a
        person go on waiting, also without a server."""
        self.stopping = True
        try:
            for found in await self._drain(self.settings.grace_seconds):
                await self._stop(Run(found.row.id, found.row.last_job or ""))
            await self._drain(END_SECONDS)
        except StoreFailed as exc:
            logger.warning("runs are not waited for: %s", exc)

    async def _drain(self, seconds: float) -> list[Found[SessionRow]]:
        """Those that are at work still."""
        end = trio.current_time() + seconds
        while True:
            left = await self._at_work()
            if not left or trio.current_time() >= end:
                return left
            await trio.sleep(DRAIN_LOOK_SECONDS)

    async def _at_work(self) -> list[Found[SessionRow]]:
        query = Query(face=records.FACE, states=["running", "queued"])
        return (await self.sessions.listing.ask(lambda index: index.sessions(query))).items


@asynccontextmanager
async def open_agent(work: Work, keys: ApiKeys, settings: AgentSettings) -> AsyncIterator[App]:
    """The agent API over the sessions of *work*. Serve its mount inside the block.

    Await stop() when serving is to end, and end serving before the block ends."""
    async with trio.open_nursery() as nursery:
        yield App(work, keys, settings, nursery)
        nursery.cancel_scope.cancel()


def _put(session: SessionDir, blobs: list[bytes]) -> None:
    for data in blobs:
        session.blobs.put(data)


async def _check_directory(cwd: str) -> None:
    """Raises Unprocessable where the directory that a session has worked in is gone."""
    if not await trio.to_thread.run_sync(Path(cwd).is_dir):
        told = "the session's directory is gone; name another one as cwd"
        raise Unprocessable([{"type": "value_error", "loc": ["body", "cwd"], "msg": told, "ctx": {"error": told}}])
