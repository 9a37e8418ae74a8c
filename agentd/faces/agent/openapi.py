"""What is said of each route of the agent API in its OpenAPI document. The contract: agent-api.md."""

from __future__ import annotations

from typing import Any

from agentd.faces.agent import requests
from agentd.faces.agent.routes import routes
from agentd.wire.openapi.document import JSON, SSE, Description, Operation, Parameter, make_document

QUERIES, SESSIONS, ASKS, SERVICE = "Queries", "Sessions", "Asks", "Service"
NO_SESSION, NOT_RUNNING = "No such session.", "No such session, or nothing runs in it."
LOCKED, TOO_LARGE, MISFIT = "A run is at work in it.", "The body is too large.", "All that is wrong with the request."
EVENTS_OF_A_RUN = "The events of the run, as they come."

PROBLEM = {
    "anyOf": [
        {
            "type": "object",
            "required": ["detail", "error"],
            "properties": {
                "detail": {"type": "string"},
                "error": {
                    "type": "object",
                    "required": ["code", "message", "details"],
                    "properties": {
                        "code": {"type": "string"},
                        "message": {"type": "string"},
                        "details": {"type": "object"},
                    },
                },
            },
        },
        {
            "type": "object",
            "required": ["detail"],
            "properties": {
                "detail": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["type", "loc", "msg"],
                        "properties": {"type": {"type": "string"}, "loc": {"type": "array"}, "msg": {"type": "string"}},
                    },
                }
            },
        },
    ]
}

OPENAI_PROBLEM = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}


COMPLETION = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array", "minItems": 1, "items": {"type": "object", "required": ["role"]}},
        "stream": {"type": "boolean", "default": False},
        "stream_options": {"type": "object", "properties": {"include_usage": {"type": "boolean"}}},
        "response_format": {"type": "object"},
    },
}


def _body(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _run(summary: str, body: str, answers: dict[int, str]) -> Operation:
    every = {200: EVENTS_OF_A_RUN, 409: LOCKED, 413: TOO_LARGE, 422: MISFIT, **answers}
    return Operation(summary, every, QUERIES, _body(body), gives=(SSE,))


def _change(summary: str, body: str, answers: dict[int, str], tag: str = SESSIONS) -> Operation:
    return Operation(summary, {413: TOO_LARGE, 422: MISFIT, **answers}, tag, _body(body))


OPERATIONS: dict[str, Operation | None] = {
    "POST /api/v1/query": _run("Ask, and follow the run", "QueryRequest", {}),
    "POST /api/v1/query/single": Operation(
        "Ask, and wait for the result",
        {
            200: "What the run came to, also where it failed.",
            409: LOCKED,
            413: TOO_LARGE,
            422: MISFIT,
            504: "It took longer than it may.",
        },
        QUERIES,
        _body("QueryRequest"),
    ),
    "GET /api/v1/query/ws": Operation(
        "Ask and be told over a WebSocket",
        {
            101: "It is one now; without a good key it is closed with 4001.",
            400: "No good handshake.",
            426: "No handshake.",
        },
        QUERIES,
        query={"api_key": Parameter("the key, where X-API-Key cannot be sent")},
        public=True,
    ),
    "POST /api/v1/sessions/{session_id}/resume": _run("Go on in a session", "ResumeRequest", {404: NO_SESSION}),
    "POST /api/v1/sessions/{session_id}/fork": _run(
        "Go on from a session in a new one", "ForkRequest", {404: NO_SESSION}
    ),
    "POST /api/v1/sessions/{session_id}/interrupt": Operation(
        "Stop a run", {200: "It is told to stop.", 404: NOT_RUNNING}, SESSIONS
    ),
    "POST /api/v1/sessions/{session_id}/answer": _change(
        "Answer what a run asks", "AnswerRequest", {200: "It is answered.", 404: NOT_RUNNING, 409: "It was before."}
    ),
    "POST /api/v1/sessions/{session_id}/control": _change(
        "Change the permission mode of a run", "ControlRequest", {200: "From the next call on.", 404: NOT_RUNNING}
    ),
    "GET /api/v1/sessions": Operation(
        "List sessions",
        {200: "A page of them, the newest first.", 422: MISFIT},
        SESSIONS,
        query={each["name"]: Parameter("", each["schema"]) for each in requests.page_parameters()},
    ),
    "GET /api/v1/sessions/{session_id}": Operation("Read a session", {200: "As it is now.", 404: NO_SESSION}, SESSIONS),
    "PATCH /api/v1/sessions/{session_id}": _change(
        "Rename a session", "RenameRequest", {200: "As it is now.", 404: NO_SESSION, 409: LOCKED}
    ),
    "DELETE /api/v1/sessions/{session_id}": Operation(
        "Delete a session",
        {204: "Only the files that it worked on are left.", 404: NO_SESSION, 409: LOCKED},
        SESSIONS,
    ),
    "GET /api/v1/sessions/{session_id}/events": Operation(
        "Follow a session",
        {200: "The events of all its runs, at once or as they come.", 404: NO_SESSION, 422: MISFIT},
        SESSIONS,
        gives=(JSON, SSE),
        query={
            "after": Parameter("the id of the last event that is known"),
            "limit": Parameter("events at most", {"type": "integer", "minimum": 1}),
        },
        headers={"Last-Event-ID": Parameter("where a live stream goes on")},
    ),
    "GET /api/v1/sessions/{session_id}/transcript": Operation(
        "Read the conversation",
        {200: "As JSON or Markdown.", 404: NO_SESSION, 422: MISFIT},
        SESSIONS,
        gives=(JSON, "text/markdown"),
        query={"format": Parameter("json or md", {"enum": ["json", "md"]})},
    ),
    "GET /api/v1/sessions/{session_id}/checkpoints": Operation(
        "List checkpoints", {200: "The oldest first.", 404: NO_SESSION}, SESSIONS
    ),
    "POST /api/v1/sessions/{session_id}/rewind": _change(
        "Put files back to what they were at a checkpoint",
        "RewindRequest",
        {200: "What is as it was then.", 400: "No such checkpoint.", 404: NO_SESSION, 409: LOCKED},
    ),
    "GET /api/v1/asks": Operation("List what runs wait for", {200: "The oldest first."}, ASKS),
    "POST /api/v1/asks/{ask_id}": _change(
        "Settle an ask",
        "SettleRequest",
        {200: "The decision is on disk.", 404: "No such ask.", 409: "It was settled before."},
        ASKS,
    ),
    "POST /v1/chat/completions": Operation(
        "Complete a chat, as OpenAI's API does",
        {
            200: "The completion, or its chunks.",
            400: "All that is wrong with the request.",
            403: "A hook denied it.",
            404: "No such model.",
            413: TOO_LARGE,
            502: "The model's service did not do its part.",
            504: "It took longer than it may.",
        },
        QUERIES,
        COMPLETION,
        gives=(JSON, SSE),
        problem=OPENAI_PROBLEM,
    ),
    "GET /v1/models": Operation(
        "List models, as OpenAI's API does", {200: "Names that a query may use."}, SERVICE, problem=OPENAI_PROBLEM
    ),
    "GET /v1/models/{name}": Operation(
        "Read a model", {200: "There is one.", 404: "No such model."}, SERVICE, problem=OPENAI_PROBLEM
    ),
    "GET /api/v1/skills": Operation(
        "List skills",
        {
            200: "The user's, the project's and those of plugins.",
            403: "The key is not for that directory.",
            422: MISFIT,
        },
        SERVICE,
        query={each["name"]: Parameter("", each["schema"]) for each in requests.look_parameters()},
    ),
    "GET /api/v1/mcp-servers": Operation(
        "List MCP servers",
        {200: "Those that are configured, without their keys.", 422: MISFIT},
        SERVICE,
        query={each["name"]: Parameter("", each["schema"]) for each in requests.look_parameters()},
    ),
    "GET /": Operation("What this is", {200: "Its name and version."}, SERVICE, public=True),
    "GET /health": Operation("How it is", {200: "And what it depends on."}, SERVICE, public=True),
    "GET /api/v1/health": Operation("How it is", {200: "And what it depends on."}, SERVICE, public=True),
}

DESCRIPTION = Description(
    "agentd: agent API",
    "Queries to a coding agent with tools: streamed or awaited, resumed, forked, steered and taken back.",
    OPERATIONS,
    {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}, "bearer": {"type": "http", "scheme": "bearer"}},
    PROBLEM,
    {401: "The key is missing or wrong.", 429: "It asks more often than it may; Retry-After says when to come back."},
    {500: "A bug of ours.", 503: "It is stopping, or has no room; Retry-After says when to come back."},
    requests.schemas(),
)


def document(server: str = "/") -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
