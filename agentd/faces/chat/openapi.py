"""What is said of each route of chats in their OpenAPI document. The contract: runs-and-chat.md, 6 and 9."""

from __future__ import annotations

from typing import Any

from agentd.faces.chat import requests
from agentd.faces.chat.routes import PREFIX
from agentd.faces.chat.routes import routes as chat_routes
from agentd.faces.runs.openapi import (
    FLAG,
    LOCKED,
    MAYBE,
    NOT_GOOD,
    OBJECT,
    OK,
    STATES,
    TEXT,
    TOO_LARGE,
    Schema,
    asked,
    description,
    follow,
    many,
    one_of,
    packed,
    ref,
    shown,
)
from agentd.wire.openapi.document import Operation, below, make_document

CHAT, NO_SESSION = "Chat", "No such session."
ROLE, MODE = {"enum": [*requests.ROLES]}, {"enum": [*requests.MODES]}
COST: Schema = {"type": "number", "minimum": 0}
SCHEMAS = {
    "Session": shown(
        "id created_at updated_at workspace_path system_prompt spec_path",
        status=one_of("active waiting_approval failed canceled"),
        mode=MODE,
        auto_run=FLAG,
        last_turn_id=MAYBE,
        messages=many(ref("Message")),
        turns=many(ref("Turn")),
        cost=shown(**dict.fromkeys(("input_cost_usd", "output_cost_usd", "total_cost_usd"), COST)),
        error=MAYBE,
    ),
    "Turn": shown("id", status=one_of(f"pending running {STATES}"), started_at=MAYBE, completed_at=MAYBE, error=MAYBE),
    "Message": shown("id created_at", role=ROLE, parts=many(ref("Part")), tool_call_id=MAYBE),
    "Part": asked(
        "type", **dict.fromkeys(("text", "ref", "mime_type", "tool_call_id", "tool_name"), TEXT), tool_input={}
    ),
}


def _change(summary: str, answers: dict[int, str], body: Schema | None, schema: Schema = OK) -> Operation:
    every = {404: NO_SESSION, 409: LOCKED, 413: TOO_LARGE, **({400: NOT_GOOD} if body else {}), **answers}
    return Operation(summary, every, CHAT, body, schema=schema)


OPERATIONS: dict[str, Operation | None] = {
    "POST /v1/sessions": Operation(
        "Begin a chat",
        {200: "Nothing is said in it yet.", 400: NOT_GOOD, 409: LOCKED, 413: TOO_LARGE},
        CHAT,
        asked("workspace_path", system_prompt=TEXT, spec_path=TEXT, auto_run=FLAG, mode=MODE),
        schema=shown("session_id spec_path"),
    ),
    "GET /v1/sessions": Operation("List chats", {200: "The newest first."}, CHAT, schema=many(ref("Session"))),
    "GET /v1/sessions/{session_id}": Operation(
        "Read a chat", {200: "As it is now.", 404: NO_SESSION}, CHAT, schema=ref("Session")
    ),
    "POST /v1/sessions/{session_id}/messages": _change(
        "Say something",
        {200: "The turn that it makes."},
        asked("role parts", role=ROLE, parts={**many(ref("Part")), "minItems": 1}, auto_run=FLAG),
        shown("message_id turn_id"),
    ),
    "GET /v1/sessions/{session_id}/events": follow(CHAT, NO_SESSION),
    "POST /v1/sessions/{session_id}/mode": _change(
        "Change the mode, from the next turn on",
        {200: "Where its spec is."},
        asked("mode", mode=MODE, spec_path=TEXT),
        shown("session_id spec_path", mode=MODE),
    ),
    "POST /v1/sessions/{session_id}/approve": _change(
        "Decide about the call that waits",
        {200: "It goes on.", 400: "No such call waits."},
        asked(
            "tool_call_id",
            turn_id=TEXT,
            action={"enum": [*requests.ACTIONS]},
            reason=TEXT,
            updated_input=OBJECT,
        ),
    ),
    "POST /v1/sessions/{session_id}/cancel": _change(
        "End the turn that is at work, and those that wait for it", {200: "They have ended."}, None
    ),
    "POST /v1/sessions/{session_id}/turns/{turn_id}/retry": _change(
        "Have a turn begin that has failed or was never begun",
        {200: "It does, as soon as it can.", 409: "It is neither, or something else is at work in the session."},
        None,
    ),
    "POST /v1/sessions/{session_id}/attachments": Operation(
        "Keep a file for messages to come",
        {200: "What messages call it.", 400: NOT_GOOD, 404: NO_SESSION, 409: LOCKED, 413: TOO_LARGE},
        CHAT,
        asked("content_base64", name=TEXT, mime_type=TEXT),
        form=asked("file", file={"contentMediaType": "application/octet-stream"}),
        schema=shown("ref mime_type"),
    ),
    "GET /v1/sessions/{session_id}/attachments/{name}": Operation(
        "Download an attachment", {200: "As it came.", 404: "No such session or file."}, CHAT, gives=("*/*",)
    ),
    "GET /v1/sessions/{session_id}/export": packed(CHAT, NO_SESSION),
}

DESCRIPTION = description(
    "agentd: chat", "Chats with a coding agent whose tools wait for approval.", OPERATIONS, SCHEMAS
)
routes = below(PREFIX, chat_routes)


def document(server: str = "/") -> dict[str, Any]:
    return make_document(DESCRIPTION, routes, server)
