"""Sessions over the admin API: lists, logs, changes, conversations, and what they are told to do."""

from __future__ import annotations

from agentd.daemon.tail import RESET, Cursor
from agentd.daemon.transcript import transcript
from agentd.faces.admin import requests, views
from agentd.faces.admin.app import App, route
from agentd.wire.messages import (
    JSON_TYPE,
    TEXT_TYPE,
    Answer,
    Request,
    Response,
    StreamResponse,
    json_response,
    to_json,
)


@route("GET", "/sessions", "see")
async def list_sessions(app: App, request: Request) -> Response:
    """Every session of every face, the latest first; ?face=, ?status=, ?q=."""
    query = requests.page(request, "status", requests.STATUSES, request.principal.owner("see"))
    page = await app.listing.ask(lambda index: index.sessions(query))
    items = [views.session(found, app.executor_state) for found in page.items]
    return json_response(200, {"items": items, "next": page.next})


@route("GET", "/sessions/{session_id}", "see")
async def read_session(app: App, request: Request, session_id: str) -> Response:
    found = await app.session(request, session_id)
    return json_response(200, views.session(found, app.executor_state))


@route("DELETE", "/sessions/{session_id}", "act")
async def delete_session(app: App, request: Request, session_id: str) -> Response:
    """204 once nothing is left of it but the user's own files; 409 while somebody is at work in it."""
    found = await app.session(request, session_id, "act")
    await app.sessions.delete(found)
    app.differences.forget(found.row.id)
    return Response(204, content_type=None)


@route("GET", "/sessions/{session_id}/log", "see")
async def read_log(app: App, request: Request, session_id: str) -> Answer:
    """Records behind ?after=, of ?types= alone; ?wait= for the first of them. Live, if events are accepted: then `id:`
    is the cursor, and a reset event says that one could not be served."""
    found = await app.session(request, session_id)
    cursor, types = requests.cursor(request), requests.words(request.query.get("types", ""))
    tail = await app.sessions.tail(found.row.id)
    if requests.wants_events(request):
        return StreamResponse(tail.feed(types), cursor.pos if tail.can_resume(cursor) else RESET)
    if seconds := requests.wait(request):
        await tail.wait(cursor, seconds, types)
    page = tail.page(cursor, requests.limit(request), types)
    rest = {"next": str(page.at), "last": str(Cursor(tail.reader.last_pos, tail.generation)), "reset": page.reset}
    return Response(200, b'{"items":[' + b",".join(page.lines) + b"]," + to_json(rest)[1:], JSON_TYPE)


@route("GET", "/sessions/{session_id}/diff", "see")
async def read_diff(app: App, request: Request, session_id: str) -> Response:
    """What its workspace has now that it had not when the session began, as a unified diff; 409 outside of a git
    repository."""
    found = await app.session(request, session_id)
    return Response(200, await app.differences.of(found, app.sessions.directory(found.row.id)), TEXT_TYPE)


@route("GET", "/sessions/{session_id}/transcript", "see")
async def read_transcript(app: App, request: Request, session_id: str) -> Answer:
    """The conversation; ?format=json or md."""
    found = await app.session(request, session_id)
    form, told = requests.transcript_format(request), views.session(found, app.executor_state)
    return await transcript(app.sessions.directory(found.row.id), form, told)


@route("POST", "/sessions/{session_id}/message", "act")
async def send_message(app: App, request: Request, session_id: str) -> Response:
    """202 and the job that it became; 409 while another is at work, or `agentd run` has the session."""
    found = await app.session(request, session_id, "act")
    request.principal.check_root(found.row.workspace)
    job = await app.sessions.follow_up(found, requests.follow_up(request.body))
    return json_response(202, {"session_id": found.row.id, "job_id": job})


@route("POST", "/sessions/{session_id}/cancel", "act")
async def cancel(app: App, request: Request, session_id: str) -> Response:
    """202 and the job that is told to stop; null if there was none."""
    found = await app.session(request, session_id, "act")
    return json_response(202, {"session_id": found.row.id, "job_id": await app.sessions.cancel(found)})


@route("POST", "/sessions/{session_id}/rewind", "act")
async def rewind(app: App, request: Request, session_id: str) -> Response:
    """200 and the files that were put back to what they were at a checkpoint, or with `dry_run` would be; 400 it has no
    such checkpoint; 409 while a job is at work."""
    found = await app.session(request, session_id, "act")
    asked = requests.rewind(request.body)
    request.principal.check_root(found.row.workspace)
    rewound = await app.sessions.rewind(found.row.id, asked.checkpoint, dry_run=asked.dry_run)
    return json_response(200, {"session_id": found.row.id, "dry_run": asked.dry_run, **rewound})
