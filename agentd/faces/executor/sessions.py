"""Sessions over HTTP: create, list, switch, import, download. The contract: executor.md, 4 and 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from agentd.engine.session import Session
from agentd.faces.executor import requests
from agentd.faces.executor.app import App, routes
from agentd.wire.messages import Answer, ChunkedResponse, FileResponse, Request, Response, json_response

MOST_UPLOAD_BYTES = 272 << 20  # of a zip: what it may hold, stored, and room for its own
ZIP_TYPE = "application/zip"


@routes.post("/v1/sessions")
async def create_session(app: App, request: Request) -> Response:
    """201 and the new session, which becomes the active one; 409 while a job runs."""
    name = requests.session_name(request.body)
    session = await app.engine.create_session(name, "executor")
    return json_response(201, {"sessionId": session.id, "name": name})


@routes.get("/v1/sessions")
async def list_sessions(app: App, request: Request) -> Response:
    """Every session, the one that changed last first."""
    sessions = sorted(app.engine.sessions, key=lambda session: -session.state.modified)
    active = app.engine.sessions.active
    body = {"sessions": [_described(each) for each in sessions], "currentSessionId": active.id if active else None}
    return json_response(200, body)


@routes.put("/v1/sessions", streamed=True)
async def import_session(app: App, request: Request) -> Response:
    """201: the zip's session, under the id of X-Session-Id or a new one, is the active one; 409 while a job runs."""
    named = requests.session_header(request)
    session = await app.engine.import_session(request.chunks(limit=MOST_UPLOAD_BYTES), named)
    return json_response(201, {"sessionId": session.id})


@routes.get("/v1/sessions/{session_id}")
async def download_session(app: App, request: Request, session_id: str) -> Answer:
    """Its zip; as it was uploaded, while nothing has changed."""
    named = requests.session_id(session_id)
    fields = (("Content-Disposition", f'attachment; filename="{named}.zip"'),)
    zipped = app.engine.export_session(named)
    if isinstance(zipped, Path):
        return FileResponse(zipped, ZIP_TYPE, fields)
    return ChunkedResponse(zipped, ZIP_TYPE, fields)


@routes.post("/v1/sessions/switch")
async def switch_session(app: App, request: Request) -> Response:
    """200: it is the active one from now on; 404 no such session; 409 while a job runs."""
    session = await app.engine.switch_session(requests.session_choice(request.body))
    return json_response(200, {"sessionId": session.id, "name": session.state.name})


def _described(session: Session) -> dict[str, Any]:
    state = session.state
    turns = [job.turns for job in state.jobs.values() if job.first > state.imported_at]
    return {
        "id": session.id,
        "name": state.name,
        "created": state.created,
        "modified": state.modified,
        "aiResponses": sum(turns) + sum(job["turns"] for job in state.imported_jobs),
        "totalTasks": len(state.tasks),
        "incompleteTasks": sum(not task.done for task in state.tasks),
    }
