"""Queries over a WebSocket: prompts and what steers them come in, the events of one run at a time go out.

No error closes the socket; a client that leaves takes its run with it. The contract: agent-api.md, 8.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, Protocol

import attrs
import trio

from agentd.errors import AgentdError, AskNotFound, InvalidRequest, SessionNotFound
from agentd.faces.agent import requests
from agentd.faces.agent.answers import problem
from agentd.faces.agent.app import SOCKET, App, route
from agentd.faces.agent.dialect import Event, refused
from agentd.faces.agent.keys import key_of
from agentd.faces.agent.requests import Query
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.streams import Run, run_events
from agentd.faces.agent.tables import MODES
from agentd.faces.agent.terms import Terms
from agentd.wire.frames import BadHandshake, text_frame, upgrade
from agentd.wire.messages import Answer, Hangup, Request, to_json
from agentd.wire.typed import NotJson, parse

UNAUTHORIZED = 4001
LARGE_CHARS = 256 * 1024  # of a message, from which on it is read in a thread
END_SECONDS = 30.0  # for a run to end, and to say so, when another is to begin
SHOWN_CHARS = 100  # of a value that the client made up

logger = logging.getLogger(__name__)


class Runs(Protocol):
    """What a socket needs of the app: see there."""

    @property
    def terms(self) -> Terms: ...
    def check_open(self) -> None: ...
    async def find(self, session_id: str, owner: str) -> object: ...
    async def begin(self, asked: Query, owner: str) -> Run: ...
    def abandon(self, run: Run) -> None: ...
    async def interrupt(self, session_id: str, owner: str) -> None: ...
    async def answer(self, session_id: str, owner: str, text: str, question_id: str | None = None) -> None: ...
    async def control(self, session_id: str, owner: str, permission_mode: str) -> None: ...


class Socket(Protocol):
    """What a conversation needs of a wire.websocket.WebSocket."""

    def __aiter__(self) -> Socket: ...
    async def __anext__(self) -> str | bytes: ...
    async def send_frames(self, frames: bytes) -> None: ...
    async def close(self, code: int = 1000, reason: str = "") -> None: ...


Events = Callable[[Run], AsyncGenerator[Event, None]]


@route("GET", SOCKET, public=True)
async def query_socket(app: App, request: Request) -> Answer:
    """101. Who has no key is told so by a close code: a browser shows a page nothing of an answer that refuses."""
    owner = app.principal(request, in_query=True)
    try:
        if owner is None:
            missing = not key_of(request, in_query=True)
            return upgrade(request, partial(_refuse, "Missing API key" if missing else "Invalid API key"))
        return upgrade(request, lambda socket: converse(socket, app, owner, partial(_events, app)))
    except BadHandshake as exc:
        return problem(exc.status, exc.code, str(exc), headers=exc.headers)


async def _refuse(reason: str, socket: Socket) -> None:
    await socket.close(UNAUTHORIZED, reason)


async def _events(app: App, run: Run) -> AsyncGenerator[Event, None]:
    async with aclosing(run_events(await app.sessions.tail(run.session_id), run)) as events:
        async for event in events:
            yield event


async def converse(socket: Socket, app: Runs, owner: str, events: Events) -> None:
    """Until the client leaves. *owner*: to whom belongs what it begins; *events*: of a run, `done` last."""
    async with trio.open_nursery() as nursery:
        conversation = Conversation(socket, app, owner, events, nursery)
        try:
            async for message in socket:
                await conversation.hear(message)
        finally:
            conversation.leave()
            nursery.cancel_scope.cancel()


class Refused(AgentdError):
    """A message cannot be done: the text says why, in the contract's words."""


@attrs.define
class Running:
    """The run of a socket, while its events are sent. *run* None: it never began, its events are made up."""

    run: Run | None
    detached: bool
    is_over: bool = False  # its last event is out, or nothing more comes
    told: trio.Event = attrs.field(factory=trio.Event)


@attrs.define(eq=False)
class Conversation:
    """One socket's: the session that it is about, and the run that is under way."""

    _socket: Socket
    _app: Runs
    _owner: str
    _events: Events
    _nursery: trio.Nursery
    _session_id: str | None = None
    _running: Running | None = None

    async def hear(self, text: str | bytes) -> None:
        """Do what a message says, and tell how it went. Raises Hangup."""
        try:
            message = await _read(text)
            kind = message.get("type")
            act = _ACTS.get(kind) if isinstance(kind, str) else None
            if act is None:
                raise Refused(f"Unknown message type: {_shown(kind)}")
            await act(self, message)
        except AgentdError as exc:
            await self._tell("error", str(exc))
        except Hangup:
            raise
        except Exception:
            logger.exception("a message on a socket failed")
            await self._tell("error", "An unexpected error occurred")

    def leave(self) -> None:
        """Nobody reads what the run says: unless it is detached, it ends."""
        running = self._running
        if running is not None and running.run is not None and not running.is_over and not running.detached:
            self._app.abandon(running.run)

    # --- What a client says ---------------------------------------------------------------------------------------

    async def prompt(self, message: dict[str, Any]) -> None:
        if message.get("prompt") in (None, ""):
            raise Refused("prompt is required")
        if message.get("continue_conversation") is True and message.get("session_id") is None:
            message["session_id"] = self._session_id
        try:
            asked = requests.prompt(message, self._app.terms)
        except InvalidRequest as exc:
            raise Refused(f"Invalid request: {exc}") from exc
        self._app.check_open()
        await self._finish()
        await self._begin(asked)

    async def _finish(self) -> None:
        """End the run that is under way, and let it say so."""
        if (running := self._running) is None:
            return
        if running.run is not None and not running.is_over:
            self._app.abandon(running.run)
        with trio.move_on_after(END_SECONDS):
            await running.told.wait()
        if not running.told.is_set():
            raise Refused("The running query has not ended yet")

    async def _begin(self, asked: Query) -> None:
        self._session_id = asked.session_id or self._session_id
        detached = bool(asked["detach"])
        try:
            run = await self._app.begin(asked, self._owner)
        except SessionNotFound as exc:
            running = Running(None, detached)
            events = _told(exc, asked, self._app.terms)
        else:
            running, events = Running(run, detached), self._events(run)
            self._session_id = run.session_id
        self._running = running
        await self._tell("ack", "Query started")
        self._nursery.start_soon(self._relay, running, events)

    async def interrupt(self, message: dict[str, Any]) -> None:
        session_id = self._named(message)
        if session_id is None:
            raise Refused("No active session to interrupt")
        await self._find(session_id, "Session not found or not authorized")
        try:
            await self._app.interrupt(session_id, self._owner)
        except SessionNotFound:
            raise Refused("Session not found or not active") from None
        await self._tell("ack", "Query interrupted")

    async def answer(self, message: dict[str, Any]) -> None:
        answer, session_id = message.get("answer"), self._named(message)
        if answer is None or answer == "":
            raise Refused("answer is required")
        if session_id is None:
            raise Refused("No active session")
        try:
            said = requests.answer(to_json({name: message.get(name) for name in ("answer", "question_id")}))
        except InvalidRequest as exc:
            raise Refused(f"Invalid request: {exc}") from exc
        try:
            await self._app.answer(session_id, self._owner, said.answer, said.question_id)
        except (SessionNotFound, AskNotFound):
            raise Refused("Session not found or no pending question") from None
        await self._tell("ack", "Answer submitted")

    async def control(self, message: dict[str, Any]) -> None:
        mode, session_id = message.get("permission_mode"), self._named(message)
        if mode is None or session_id is None:
            raise Refused("session_id and permission_mode required")
        if mode not in MODES:
            raise Refused(f"Invalid permission_mode: {_shown(mode)}. Must be one of: {', '.join(sorted(MODES))}")
        try:
            await self._app.control(session_id, self._owner, mode)
        except SessionNotFound:
            raise Refused("Session not found or not active") from None
        await self._tell("ack", "Permission mode updated")

    def _named(self, message: Mapping[str, Any]) -> str | None:
        """The session that a message is about: the one it names, else the socket's."""
        named = message.get("session_id")
        return self._session_id if named is None else str(named)

    async def _find(self, session_id: str, otherwise: str) -> None:
        try:
            await self._app.find(session_id, self._owner)
        except SessionNotFound:
            raise Refused(otherwise) from None

    # --- What it is told ------------------------------------------------------------------------------------------

    async def _relay(self, running: Running, events: AsyncGenerator[Event, None]) -> None:
        """Send the events of a run at the client's pace."""
        try:
            with suppress(Hangup):  # whoever receives finds out
                await self._send_all(running, events)
        finally:
            running.told.set()

    async def _send_all(self, running: Running, events: AsyncGenerator[Event, None]) -> None:
        try:
            async with aclosing(events):
                async for event in events:
                    running.is_over = event.name == "done"
                    await self._send({"type": "sse_event", "event": event.name, "data": event.data})
        except AgentdError as exc:
            await self._tell("error", str(exc))
        except Hangup:
            raise
        except Exception:
            logger.exception("the events of a run cannot be told")
            await self._tell("error", "An unexpected error occurred")

    async def _tell(self, kind: str, text: str) -> None:
        await self._send({"type": kind, "message": text})

    async def _send(self, value: dict[str, Any]) -> None:
        await self._socket.send_frames(text_frame(to_json(value)))


_ACTS = {
    "prompt": Conversation.prompt,
    "interrupt": Conversation.interrupt,
    "answer": Conversation.answer,
    "control": Conversation.control,
}


async def _read(text: str | bytes) -> dict[str, Any]:
    """Raises Refused for what is no JSON object, or no text."""
    if isinstance(text, bytes):
        raise Refused("Invalid JSON message")
    try:
        if len(text) < LARGE_CHARS:
            value = parse(text.encode())
        else:
            value = await trio.to_thread.run_sync(lambda: parse(text.encode()))
    except NotJson:
        value = None
    if not isinstance(value, dict):
        raise Refused("Invalid JSON message")
    return value


def _shown(value: object) -> str:
    return str(value)[:SHOWN_CHARS]


async def _told(exc: SessionNotFound, asked: Query, terms: Terms) -> AsyncGenerator[Event, None]:
    """The events of a run in a session that is not there."""
    spec = attrs.asdict(to_spec(asked, terms))
    for event in refused(exc.session_id, exc.code, f"Session {exc.session_id} not found", spec):
        yield event
