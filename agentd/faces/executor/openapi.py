"""What is said of each route of the executor API in its OpenAPI document. The contract: executor.md."""

from __future__ import annotations

from typing import Any

from agentd.faces.executor import requests
from agentd.faces.executor.routes import routes
from agentd.wire.openapi.document import JSON, SSE, TEXT, Description, Operation, Parameter, make_document

HEALTH, SESSIONS, CONTEXT, JOBS, TASKS = "Health", "Sessions", "Context", "Jobs", "Task list"
ZIP = "application/zip"
BUSY = "A job is running."
NO_SESSION = "No session is loaded, or there is no such fragment."
NO_JOB = "No such job."
NOT_GOOD = "The body or a parameter is not what it has to be."
TOO_LARGE = "The body is too large."
NUMBER = {"type": "integer"}

IDENTITY = {
    "type": "object",
    "required": ["execId", "version", "protocolVersion"],
    "properties": {"execId": {"type": "string"}, "version": {"type": "string"}, "protocolVersion": NUMBER},
}
PROBLEM = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
}
EVENTS_QUERY = {
    "after": Parameter("the number of the last event that is known; -1 for none", NUMBER),
    "limit": Parameter("events at most", {"type": "integer", "minimum": 1}),
    "wait": Parameter("seconds to wait for the first", {"type": "number", "minimum": 0, "maximum": 60}),
    "format": Parameter("envelope or sse; left out for an array", {"enum": ["envelope", "sse"]}),
}
SESSION_HEADER = {"X-Session-Id": Parameter("the session", {"type": "string", "format": "uuid"})}
KEY_HEADER = {"Idempotency-Key": Parameter("the same key never makes two jobs", {"type": "string"}, required=True)}


def _adds(summary: str, body: Any) -> Operation:
    answers = {200: "What was added.", 400: NOT_GOOD, 409: "No session is loaded, or a job is running.", 413: TOO_LARGE}
    return Operation(summary, answers | {503: "Nothing could be looked up."}, CONTEXT, body)


OPERATIONS: dict[str, Operation | None] = {
    "GET /health/live": Operation("Who this is", {200: "It lives."}, HEALTH, schema=IDENTITY, public=True),
    "GET /health/ready": Operation(
        "Whether requests are taken", {200: "They are.", 503: "It starts, recovers or stops."}, HEALTH, public=True
    ),
    "GET /v1/executor": Operation("Who this is", {200: "It lives."}, HEALTH, schema=IDENTITY, public=True),
    "POST /v1/sessions": Operation(
        "Create a session",
        {201: "The new session is active.", 400: NOT_GOOD, 409: BUSY, 413: TOO_LARGE},
        SESSIONS,
        requests.CreateSession,
    ),
    "GET /v1/sessions": Operation("List sessions", {200: "The one that changed last first."}, SESSIONS),
    "PUT /v1/sessions": Operation(
        "Import a session",
        {201: "The zip's session is active.", 400: NOT_GOOD, 409: BUSY, 413: TOO_LARGE},
        SESSIONS,
        {"type": "string", "format": "binary"},
        body_type=ZIP,
        headers=SESSION_HEADER,
    ),
    "GET /v1/sessions/{session_id}": Operation(
        "Download a session",
        {200: "Its zip.", 400: "The id is no UUID.", 404: "No such session."},
        SESSIONS,
        gives=(ZIP,),
    ),
    "POST /v1/sessions/switch": Operation(
        "Make another session the active one",
        {200: "It is.", 400: NOT_GOOD, 404: "No such session.", 409: BUSY, 413: TOO_LARGE},
        SESSIONS,
        requests.SwitchSession,
    ),
    "POST /v1/context/files": _adds("Add files", requests.AddFiles),
    "POST /v1/context/classes": _adds("Add classes", requests.AddClasses),
    "POST /v1/context/methods": _adds("Add methods", requests.AddMethods),
    "POST /v1/context/text": _adds("Add a text", requests.AddText),
    "GET /v1/context": Operation(
        "List what is in the context",
        {200: "In the order it was added."},
        CONTEXT,
        query={"tokens": Parameter("count what a model is shown of it", {"type": "boolean"})},
    ),
    "GET /v1/context/fragments/{fragment_id}": Operation(
        "Read a fragment", {200: "With what it says now.", 404: NO_SESSION}, CONTEXT
    ),
    "POST /v1/context/drop": Operation(
        "Drop fragments",
        {200: "Which were dropped.", 400: "There was none to drop.", 404: NO_SESSION, 409: BUSY, 413: TOO_LARGE},
        CONTEXT,
        requests.DropFragments,
    ),
    "POST /v1/context/drop-all": Operation(
        "Drop all that is not pinned", {200: "Which were dropped.", 404: NO_SESSION, 409: BUSY}, CONTEXT
    ),
    "POST /v1/context/pin": Operation(
        "Pin a fragment, or let it go",
        {200: "It is.", 400: NOT_GOOD, 404: NO_SESSION, 409: BUSY, 413: TOO_LARGE},
        CONTEXT,
        requests.PinFragment,
    ),
    "POST /v1/jobs": Operation(
        "Start a job",
        {
            201: "It runs.",
            200: "This key made it before.",
            400: NOT_GOOD,
            404: "No such session.",
            409: BUSY,
            413: TOO_LARGE,
            422: "This key came with another body before.",
            507: "It cannot be written down.",
        },
        JOBS,
        requests.CreateJob,
        headers={**KEY_HEADER, **SESSION_HEADER},
    ),
    "GET /v1/jobs": Operation("List jobs", {200: "The newest first."}, JOBS),
    "GET /v1/jobs/status": Operation("Whether a job would be taken now", {200: "It says."}, JOBS),
    "GET /v1/jobs/{job_id}": Operation("How a job stands", {200: "Its state.", 404: NO_JOB}, JOBS),
    "POST /v1/jobs/{job_id}/cancel": Operation(
        "Cancel a job", {202: "Whether there was anything to cancel.", 404: NO_JOB}, JOBS
    ),
    "GET /v1/jobs/{job_id}/diff": Operation(
        "What a job changed",
        {200: "A unified diff.", 404: NO_JOB, 409: "The workspace is no git repository."},
        JOBS,
        gives=(TEXT,),
    ),
    "GET /v1/jobs/{job_id}/events": Operation(
        "What a job said and did",
        {200: "Its events, at once or as they come.", 400: NOT_GOOD, 404: NO_JOB},
        JOBS,
        gives=(JSON, SSE),
        query=EVENTS_QUERY,
        headers={"Last-Event-ID": Parameter("of a live stream: where it goes on", {"type": "string"})},
    ),
    "GET /v1/tasklist": Operation("Read the task list", {200: "All tasks."}, TASKS),
    "POST /v1/tasklist": Operation(
        "Replace the task list",
        {200: "As it is now.", 400: NOT_GOOD, 404: "No session is loaded.", 409: BUSY, 413: TOO_LARGE},
        TASKS,
        requests.TaskList,
    ),
    # Paths without a job's id, which are answered with 400.
    **{f"{method} /v1/jobs/{rest}": None for method in ("GET", "POST") for rest in ("", "/events", "/diff", "/cancel")},
}

DESCRIPTION = Description(
    "agentd: executor API",
    "One worker in one workspace: sessions, context, and one coding job at a time.",
    OPERATIONS,
    {"bearer": {"type": "http", "scheme": "bearer"}},
    PROBLEM,
    {401: "The token is missing or wrong."},
)


def document(server: str = "/") -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
