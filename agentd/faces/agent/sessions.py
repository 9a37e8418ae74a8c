"""Sessions over the agent API: lists, records, events, checkpoints, transcripts; and what is open to be answered."""

from __future__ import annotations

import re

import trio

from agentd.daemon.asks import Answer as Said
from agentd.daemon.transcript import FORMATS, transcript
from agentd.errors import InvalidRequest, JobInProgress, Locked
from agentd.faces.agent import records, requests
from agentd.faces.agent.answers import SessionLocked, json_answer
from agentd.faces.agent.app import App, route
from agentd.faces.agent.fields import Unprocessable
from agentd.store.checkpoints import CheckpointView, checkpoints_of, saved_records
from agentd.store.home import SessionDir
from agentd.store.tables import MOST_ITEMS, Query
from agentd.store.view import LogReader
from agentd.wire.messages import Answer, Request, Response, StreamResponse

PAGE_EVENTS = 100


@route("GET", "/api/v1/sessions")
async def list_sessions(app: App, request: Request) -> Response:
    """A page of the key's sessions, the newest first."""
    asked = requests.page(request.raw_query)
    query = records.listed(asked, request.principal)
    found = await app.sessions.listing.ask(lambda index: index.sessions(query).items) if query else []
    total = await app.sessions.listing.ask(lambda index: index.count_sessions(query)) if query else 0
    page = {"total": total, "page": asked.page, "page_size": asked.page_size}
    return json_answer(200, {"sessions": [records.session(each.row) for each in found], **page})


@route("GET", "/api/v1/sessions/{session_id}")
async def read_session(app: App, request: Request, session_id: str) -> Response:
    """200; 404 unknown, or another key's."""
    return json_answer(200, records.session((await app.find(session_id, request.principal)).row))


@route("PATCH", "/api/v1/sessions/{session_id}")
async def rename_session(app: App, request: Request, session_id: str) -> Response:
    """200 and the record under its new title; 409 while a run is at work."""
    title = requests.rename(request.body)
    found = await app.find(session_id, request.principal)
    try:
        await app.sessions.rename(found, title)
    except (JobInProgress, Locked):
        raise SessionLocked(found.row.id) from None
    return json_answer(200, records.session((await app.find(session_id, request.principal)).row))


@route("DELETE", "/api/v1/sessions/{session_id}")
async def delete_session(app: App, request: Request, session_id: str) -> Response:
    """204 once nothing is left of it but the files that it worked on; 409 while a run is at work."""
    found = await app.find(session_id, request.principal)
    try:
        await app.sessions.delete(found)
    except Locked:
        raise SessionLocked(found.row.id) from None
    return Response(204, content_type=None)


@route("GET", "/api/v1/sessions/{session_id}/events")
async def read_events(app: App, request: Request, session_id: str) -> Answer:
    """The events of all its runs behind Last-Event-ID or ?after=, live; with ?after= and no stream accepted a page of
    them as JSON, at most ?limit=."""
    found = await app.find(session_id, request.principal)
    frames, feed = app.frames.of(await app.sessions.tail(found.row.id))
    try:
        after = frames.after(request)
    except InvalidRequest:
        raise _misfit("after", "Input should be the id of an event") from None
    if _wants_stream(request):
        return StreamResponse(feed, after)
    return json_answer(200, await frames.page(after, _limit(request)))


@route("GET", "/api/v1/sessions/{session_id}/transcript")
async def read_transcript(app: App, request: Request, session_id: str) -> Answer:
    """The conversation; ?format=json or md."""
    form = request.query.get("format") or FORMATS[0]
    if form not in FORMATS:
        raise _misfit("format", f"Input should be {' or '.join(map(repr, FORMATS))}")
    found = await app.find(session_id, request.principal)
    return await transcript(app.sessions.directory(found.row.id), form, records.transcribed(found.row))


@route("GET", "/api/v1/sessions/{session_id}/checkpoints")
async def list_checkpoints(app: App, request: Request, session_id: str) -> Response:
    """The oldest first."""
    found = await app.find(session_id, request.principal)
    views = await trio.to_thread.run_sync(_checkpoints, app.sessions.directory(found.row.id))
    return json_answer(200, {"checkpoints": [records.checkpoint(view, found.row.id) for view in views]})


@route("POST", "/api/v1/sessions/{session_id}/rewind")
async def rewind(app: App, request: Request, session_id: str) -> Response:
    """200 and what is as it was then; 400 no such checkpoint; 409 while a run is at work."""
    asked = requests.rewind(request.body)
    found = await app.find(session_id, request.principal)
    try:
        told = await app.sessions.rewind(found.row.id, asked.checkpoint_id, dry_run=asked.dry_run)
    except (JobInProgress, Locked):
        raise SessionLocked(found.row.id) from None
    return json_answer(200, records.rewound(told, found.row.id, dry_run=asked.dry_run))


# --- Asks ---------------------------------------------------------------------------------------------------------


@route("GET", "/api/v1/asks")
async def list_asks(app: App, request: Request) -> Response:
    """What the key's runs wait for, the oldest first."""
    query = Query(face=records.FACE, owner=request.principal, states=["open"], limit=MOST_ITEMS)
    page = await app.sessions.listing.ask(lambda index: index.asks(query))
    return json_answer(200, {"asks": [records.ask(found) for found in reversed(page.items)]})


@route("POST", "/api/v1/asks/{ask_id}")
async def settle(app: App, request: Request, ask_id: str) -> Response:
    """200 once the decision is on disk; 404; 409 it was settled before, with the decision that stands."""
    asked = requests.settle(request.body)
    if asked.decision == "answer" and asked.answer is None:
        raise Unprocessable([{"type": "missing", "loc": ["body", "answer"], "msg": "Field required"}])
    found = await app.find_ask(ask_id, request.principal)
    said = Said(asked.decision, asked.reason, answer=asked.answer, updated_input=asked.updated_input)
    await app.asks.settle(found, said)
    return json_answer(200, {"id": ask_id, "decision": asked.decision})


# --- Inside -------------------------------------------------------------------------------------------------------


def _wants_stream(request: Request) -> bool:
    accepted = request.headers.get("accept").lower()
    if "text/event-stream" in accepted:
        return True
    return "after" not in request.query and "application/json" not in accepted


def _limit(request: Request) -> int:
    """Raises Unprocessable."""
    text = request.query.get("limit", str(PAGE_EVENTS))
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= MOST_ITEMS:
        raise _misfit("limit", f"Input should be a number from 1 to {MOST_ITEMS}")
    return int(text)


def _misfit(parameter: str, rule: str) -> Unprocessable:
    return Unprocessable([{"type": "value_error", "loc": ["query", parameter], "msg": rule, "ctx": {"error": rule}}])


def _checkpoints(session: SessionDir) -> list[CheckpointView]:
    """Blocks. Raises StoreFailed."""
    with LogReader(session.log_path) as reader:
        return checkpoints_of(record for piece in saved_records(reader) for record in piece)
