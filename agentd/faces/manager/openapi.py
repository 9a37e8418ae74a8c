"""What is said of each route of the session manager in its OpenAPI document. The contract: manager.md, section 4."""

from __future__ import annotations

from typing import Any

from agentd.faces.manager import requests
from agentd.faces.manager.routes import routes
from agentd.wire.openapi.document import Description, Operation, make_document

HEALTH, SESSIONS, CALLS = "Health", "Sessions, with the master token", "Calls, with the token of a session"
NO_UUID, NO_SESSION = "The id is no UUID.", "No such session."
FORBIDDEN = "This token is not for that."
PROBLEM = {
    "type": "object",
    "required": ["code", "message", "details"],
    "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
}
TOKEN = {
    "type": "object",
    "required": ["sessionId", "state", "token", "expiresAt"],
    "properties": {
        **{name: {"type": "string"} for name in ("sessionId", "state", "token", "branch")},
        "expiresAt": {"type": "integer"},  # milliseconds since 1970
    },
}
CALL = Operation(
    "Goes on to the executor of the token's session, which answers it as the executor API says",
    {
        200: "What the executor answers.",
        201: "Something was made.",
        202: "It will be done.",
        400: "As the executor says.",
        404: "As the executor says, or the session is gone.",
        405: "As it says.",
        409: "As it says.",
        413: "The body is too large.",
        422: "As it says.",
        502: "The executor broke off.",
        503: "The executor does not start.",
        504: "The executor does not answer.",
        507: "As it says.",
    },
    CALLS,
)

OPERATIONS: dict[str, Operation | None] = {
    "GET /health/live": Operation("Who this is", {200: "It lives."}, HEALTH, public=True),
    "GET /health/ready": Operation(
        "Whether a session could be created",
        {200: "It could.", 503: "There is no slot, or no worktree can be made."},
        HEALTH,
        public=True,
    ),
    "POST /v1/sessions": Operation(
        "Create a session, with a worktree and an executor of its own",
        {
            201: "The session and its token.",
            400: "The body is not what it has to be.",
            413: "It is too large.",
            429: "There is no slot.",
            503: "Its worktree or its executor could not be made.",
        },
        SESSIONS,
        requests.CreateSession,
        schema=TOKEN,
    ),
    "GET /v1/sessions": Operation("List sessions", {200: "The first that was created first."}, SESSIONS),
    "GET /v1/sessions/{session_id}": Operation(
        "Describe a session; with its own token, download it",
        {200: "Its description, or its zip.", 400: NO_UUID, 404: NO_SESSION, 502: "It broke off.", 503: "No executor."},
        SESSIONS,
        gives=("application/json", "application/zip"),
    ),
    "POST /v1/sessions/{session_id}/token": Operation(
        "Issue a new token",
        {200: "Older ones are good until they expire.", 400: NO_UUID, 404: NO_SESSION},
        SESSIONS,
        schema=TOKEN,
    ),
    "DELETE /v1/sessions/{session_id}": Operation(
        "Delete a session", {204: "Executor and worktree are gone.", 400: NO_UUID, 404: NO_SESSION}, SESSIONS
    ),
    "* /v1/jobs": CALL,
    "* /v1/jobs/*": CALL,
    "* /v1/context": CALL,
    "* /v1/context/*": CALL,
}

DESCRIPTION = Description(
    "agentd: session manager",
    "Isolated sessions: each with a git worktree and an executor of its own.",
    OPERATIONS,
    {"bearer": {"type": "http", "scheme": "bearer"}},
    PROBLEM,
    {401: "The token is missing, wrong or expired.", 403: FORBIDDEN},
)


def document(server: str = "/") -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
