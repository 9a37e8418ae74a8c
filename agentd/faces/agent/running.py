"""Runs over the agent API: queries as streams and as one answer, resumed and forked sessions, and what steers them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import attrs
import trio

from agentd.errors import SessionNotFound
from agentd.faces.agent import requests
from agentd.faces.agent.answers import TimedOut, json_answer
from agentd.faces.agent.app import App, route
from agentd.faces.agent.dialect import Event, refused
from agentd.faces.agent.requests import Query
from agentd.faces.agent.single import answer_of, single
from agentd.faces.agent.spec import to_spec
from agentd.faces.agent.streams import PING, Run, RunFrames, encode
from agentd.faces.agent.terms import Terms
from agentd.wire.feed import Feed, WatchedFeed
from agentd.wire.messages import Answer, Request, Response, StreamResponse
from agentd.wire.presence import while_there

T = TypeVar("T")
LARGE_BYTES = 256 * 1024  # of a body, from which on it is read in a thread


@route("POST", "/api/v1/query")
async def query(app: App, request: Request) -> Answer:
    """200 and the events of a run. A session that is not there is told by those events."""
    app.check_open()
    asked = await _read(requests.query, request, app.terms)
    try:
        run = await app.begin(asked, request.principal)
    except SessionNotFound as exc:
        return StreamResponse(Feed(Told(_refused(app, asked, exc))))
    return await _stream(app, asked, run)


@route("POST", "/api/v1/query/single")
async def query_single(app: App, request: Request) -> Response:
    """200 and what the run came to; 504 if that took longer than it may."""
    app.check_open()
    asked = await _read(requests.query, request, app.terms)
    try:
        run = await app.begin(asked, request.principal, single=True)
    except SessionNotFound as exc:
        return json_answer(200, answer_of(_refused(app, asked, exc)))
    tail = await app.sessions.tail(run.session_id)
    told = await awaited(app, request, run, lambda: single(tail, run), detached=asked["detach"])
    return json_answer(200, told)


async def awaited(
    app: App, request: Request, run: Run, work: Callable[[], Awaitable[T]], *, detached: bool = False
) -> T:
    """What *work* makes of a run, which is stopped if its client leaves before that, unless it is *detached*. Raises
    TimedOut, Hangup; what *work* raises."""
    over = False
    try:
        with trio.fail_after(app.settings.request_seconds or math.inf):
            told = await while_there(request.wait_gone, work)
        over = True
    except trio.TooSlowError:
        raise TimedOut from None
    finally:
        if not over and not detached:
            app.abandon(run)
    return told


@route("POST", "/api/v1/sessions/{session_id}/resume")
async def resume(app: App, request: Request, session_id: str) -> Answer:
    """200 and the events of another run in the session; 404; 409 while another is at work."""
    return await _follow(app, request, session_id, fork=False)


@route("POST", "/api/v1/sessions/{session_id}/fork")
async def fork(app: App, request: Request, session_id: str) -> Answer:
    """200 and the events of a run in a new session, which knows what was said in this one; 404."""
    return await _follow(app, request, session_id, fork=True)


async def _follow(app: App, request: Request, session_id: str, *, fork: bool) -> Answer:
    app.check_open()
    asked = await _read(requests.follow_up, request, app.terms)
    return await _stream(app, asked, await app.begin(asked, request.principal, session_id=session_id, fork=fork))


@route("POST", "/api/v1/sessions/{session_id}/interrupt")
async def interrupt(app: App, request: Request, session_id: str) -> Response:
    """200 once the run is told to stop; 404 also where nothing runs."""
    await app.interrupt(session_id, request.principal)
    return json_answer(200, {"status": "interrupted", "session_id": session_id})


@route("POST", "/api/v1/sessions/{session_id}/answer")
async def answer(app: App, request: Request, session_id: str) -> Response:
    """200: what the run asks, or asks next, is answered; 404 also where nothing runs."""
    said = requests.answer(request.body)
    await app.answer(session_id, request.principal, said.answer, said.question_id)
    return json_answer(200, {"status": "accepted", "session_id": session_id})


@route("POST", "/api/v1/sessions/{session_id}/control")
async def control(app: App, request: Request, session_id: str) -> Response:
    """200: the permission mode is another from the next call on; 404 also where nothing runs."""
    mode = requests.control(request.body)
    await app.control(session_id, request.principal, mode)
    return json_answer(200, {"status": "accepted", "session_id": session_id, "permission_mode": mode})


# --- Streams ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Told:
    """Events that are there already, as frames for a feed."""

    events: list[Event]

    def read(self, after: int) -> tuple[bytes, int]:
        frames = b"".join(encode(event, event.ident) for event in self.events[after:])
        return frames, len(self.events)

    def ended(self, after: int) -> bool:
        return after >= len(self.events)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


async def _stream(app: App, asked: Query, run: Run) -> StreamResponse:
    frames = RunFrames(await app.sessions.tail(run.session_id), run)
    return StreamResponse(
        frames.feed() if asked["detach"] else WatchedFeed(frames, lambda: app.abandon(run), keepalive=PING)
    )


def _refused(app: App, asked: Query, exc: SessionNotFound) -> list[Event]:
    spec = attrs.asdict(to_spec(asked, app.terms))
    return refused(exc.session_id, exc.code, f"Session {exc.session_id} not found", spec)


async def _read(reading: Callable[[bytes, Terms], Query], request: Request, terms: Terms) -> Query:
    if len(request.body) < LARGE_BYTES:
        return reading(request.body, terms)
    return await trio.to_thread.run_sync(reading, request.body, terms)
