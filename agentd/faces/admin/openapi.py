"""What is said of each route of the admin API in its OpenAPI document. The contract: admin.md."""

from __future__ import annotations

from typing import Any

from agentd.faces.admin import requests
from agentd.faces.admin.app import PREFIX
from agentd.faces.admin.routes import routes
from agentd.wire.openapi.document import JSON, SSE, TEXT, Description, Operation, Parameter, make_document

SESSIONS, JOBS, ASKS, MACHINE, TOKENS = "Sessions", "Jobs", "Asks", "The machine", "Tokens"
NOT_GOOD, NO_SESSION = "The body or a parameter is not what it has to be.", "No such session."
TOO_LARGE, BUSY, STORE = "The body is too large.", "Somebody is at work in it.", "It cannot be written down."
UNAVAILABLE = "No executor, or none that answers."

PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "details"],
            "properties": {"code": {"type": "string"}, "message": {"type": "string"}, "details": {}},
        }
    },
}
ITEMS = {
    "type": "object",
    "required": ["items", "next"],
    "properties": {"items": {"type": "array", "items": {"type": "object"}}, "next": {"type": ["string", "null"]}},
}
LIMIT = {"limit": Parameter("items at most", {"type": "integer", "minimum": 1})}
PAGE = {
    "face": Parameter("of this face alone"),
    "q": Parameter("words that are looked for"),
    "session": Parameter("of this session alone"),
    "cursor": Parameter("where the last page ended: its `next`"),
    **LIMIT,
}
LOG = {
    "after": Parameter("the cursor of the last record that is known"),
    "generation": Parameter("of that cursor", {"type": "integer", "minimum": 0}),
    "types": Parameter("of these types alone, with commas between them"),
    "wait": Parameter("seconds to wait for the first", {"type": "number", "minimum": 0}),
    **LIMIT,
}
RESUMED = {"Last-Event-ID": Parameter("where a live stream goes on")}


def _list(summary: str, tag: str, states: str) -> Operation:
    return Operation(
        summary,
        {200: "The latest first.", 400: NOT_GOOD},
        tag,
        schema=ITEMS,
        query={states: Parameter("one or more"), **PAGE},
    )


OPERATIONS: dict[str, Operation | None] = {
    "GET /sessions": _list("List the sessions of every face", SESSIONS, "status"),
    "GET /sessions/{session_id}": Operation("Read a session", {200: "As it is now.", 404: NO_SESSION}, SESSIONS),
    "DELETE /sessions/{session_id}": Operation(
        "Delete a session",
        {204: "Only the user's own files are left.", 404: NO_SESSION, 409: BUSY, 507: STORE},
        SESSIONS,
    ),
    "GET /sessions/{session_id}/log": Operation(
        "Read a session's log",
        {200: "Its records, at once or as they come.", 400: NOT_GOOD, 404: NO_SESSION},
        SESSIONS,
        gives=(JSON, SSE),
        query=LOG,
        headers=RESUMED,
    ),
    "GET /sessions/{session_id}/diff": Operation(
        "What changed in a session's workspace",
        {200: "A unified diff.", 404: NO_SESSION, 409: "No git repository."},
        SESSIONS,
        gives=(TEXT,),
    ),
    "GET /sessions/{session_id}/transcript": Operation(
        "Read the conversation",
        {200: "As JSON or Markdown.", 400: NOT_GOOD, 404: NO_SESSION},
        SESSIONS,
        gives=(JSON, "text/markdown"),
        query={"format": Parameter("json or md", {"enum": ["json", "md"]})},
    ),
    "POST /sessions/{session_id}/message": Operation(
        "Say the next thing",
        {
            202: "The job that it became.",
            400: NOT_GOOD,
            404: NO_SESSION,
            409: BUSY,
            413: TOO_LARGE,
            429: "There is no room for another.",
            503: UNAVAILABLE,
            507: STORE,
        },
        SESSIONS,
        requests.Message,
    ),
    "POST /sessions/{session_id}/cancel": Operation(
        "Cancel what a session is at work at",
        {202: "The job that is told to stop, or null.", 404: NO_SESSION},
        SESSIONS,
    ),
    "POST /sessions/{session_id}/rewind": Operation(
        "Put files back to what they were at a checkpoint",
        {200: "What was put back.", 400: NOT_GOOD, 404: NO_SESSION, 409: BUSY, 413: TOO_LARGE, 503: UNAVAILABLE},
        SESSIONS,
        requests.Rewind,
    ),
    "GET /jobs": _list("List the jobs of every face", JOBS, "state"),
    "GET /jobs/{job_id}": Operation("Read a job", {200: "As it is now.", 404: "No such job."}, JOBS),
    "GET /asks": _list("List what waits for a person", ASKS, "state"),
    "GET /asks/{ask_id}": Operation("Read an ask", {200: "With the whole input.", 404: "No such ask."}, ASKS),
    "POST /asks/{ask_id}": Operation(
        "Settle an ask",
        {
            200: "The decision is on disk.",
            400: NOT_GOOD,
            404: "No such ask.",
            409: "It was settled before.",
            413: TOO_LARGE,
            503: UNAVAILABLE,
            507: STORE,
        },
        ASKS,
        requests.Settle,
    ),
    "GET /executors": Operation("List the executors", {200: "And those that died."}, MACHINE, schema=ITEMS),
    "GET /storage": Operation("How much is on disk", {200: "Bytes by kind."}, MACHINE),
    "POST /gc": Operation(
        "Clear worktrees away that no session owns",
        {200: "What was done with each.", 400: NOT_GOOD, 413: TOO_LARGE},
        MACHINE,
        requests.Collect,
        body_required=False,
    ),
    "GET /recovery": Operation("What the last start found and did", {200: "All of it."}, MACHINE),
    "GET /events": Operation(
        "Every change of a session, job, ask or executor",
        {200: "As they come."},
        MACHINE,
        gives=(SSE,),
        headers=RESUMED,
    ),
    "GET /tokens": Operation("List the tokens that were issued", {200: "Never a token itself."}, TOKENS, schema=ITEMS),
    "POST /tokens": Operation(
        "Issue a token",
        {201: "The token, this once.", 400: NOT_GOOD, 413: TOO_LARGE, 507: STORE},
        TOKENS,
        requests.NewToken,
    ),
    "DELETE /tokens/{token_id}": Operation(
        "Revoke a token", {204: "It opens nothing any more.", 404: "No such token.", 507: STORE}, TOKENS
    ),
}

DESCRIPTION = Description(
    "agentd: admin API",
    "What crosses faces: sessions, jobs, asks, executors, storage and tokens of one daemon.",
    OPERATIONS,
    {"bearer": {"type": "http", "scheme": "bearer"}},
    PROBLEM,
    {401: "The token is missing or wrong.", 403: "This token is not for that."},
)


def document(server: str = PREFIX) -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
