"""What sessions leave, as resources: the conversation as Markdown, and the changes as a diff."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import trio

from agentd.daemon.transcript import markdown_pieces
from agentd.errors import SessionNotFound
from agentd.faces.mcp import views
from agentd.faces.mcp.app import App, Call
from agentd.store.home import SessionDir
from agentd.store.tables import Query
from agentd.store.view import LogReader
from agentd.wire.jsonrpc import INVALID_PARAMS, RESOURCE_NOT_FOUND, RpcError

MOST_BYTES = 1 << 20  # of one resource
PAGE = 50  # sessions that are listed at a time
KINDS = {"transcript": "text/markdown", "diff": "text/x-diff"}
ABOUT = {
    "transcript": "What was said and done in a session, as Markdown",
    "diff": "What a session has changed in its directory since it began, as a unified diff",
}
_URI = re.compile(r"agentd://sessions/([0-9A-Fa-f-]{36})/(transcript|diff)")


def templates() -> dict[str, Any]:
    """The result of `resources/templates/list`."""
    made = [
        {
            "uriTemplate": f"agentd://sessions/{{session_id}}/{kind}",
            "name": kind,
            "title": f"Session {kind}",
            "description": ABOUT[kind],
            "mimeType": KINDS[kind],
        }
        for kind in KINDS
    ]
    return {"resourceTemplates": made}


async def listed(app: App, call: Call) -> dict[str, Any]:
    """The result of `resources/list`: transcripts, those of the latest sessions first. Raises InvalidRequest."""
    cursor = call.params.get("cursor")
    if cursor is not None and not isinstance(cursor, str):
        raise RpcError(INVALID_PARAMS, "cursor has to be what nextCursor said")
    query = Query(owner=call.principal.owner("see"), limit=PAGE, cursor=cursor)
    page = await app.listing.ask(lambda index: index.sessions(query))
    resources = [
        {
            "uri": f"agentd://sessions/{found.row.id}/transcript",
            "name": f"transcript {found.row.id}",
            "title": found.row.title or found.row.name or "A session",
            "description": f"Session in {found.row.workspace}, {found.row.status}",
            "mimeType": KINDS["transcript"],
        }
        for found in page.items
    ]
    return {"resources": resources} | ({"nextCursor": page.next} if page.next else {})


async def read(app: App, call: Call) -> dict[str, Any]:
    """The result of `resources/read`. Raises RpcError, AgentdError."""
    uri = call.params.get("uri")
    if not isinstance(uri, str):
        raise RpcError(INVALID_PARAMS, "uri has to be a string")
    named = _URI.fullmatch(uri)
    try:
        if named is None:
            raise SessionNotFound("")
        found = await app.session(call, named[1])
    except SessionNotFound:
        code = INVALID_PARAMS if call.client.is_stateless else RESOURCE_NOT_FOUND
        raise RpcError(code, "Resource not found", {"uri": uri[:500]}) from None
    stored = app.sessions.directory(found.row.id)
    if named[2] == "diff":
        data = await app.differences.of(found, stored)
    else:
        about = {"id": found.row.id, "title": views.session(found)["title"], "workspace": found.row.workspace}
        data = await trio.to_thread.run_sync(_transcript, stored, about)
    text = data[:MOST_BYTES].decode("utf-8", "ignore" if len(data) > MOST_BYTES else "replace")
    if len(data) > MOST_BYTES:
        text += "\n[cut here: the rest is not shown]\n"
    return {"contents": [{"uri": uri, "mimeType": KINDS[named[2]], "text": text}]}


def _transcript(stored: SessionDir, about: Mapping[str, Any]) -> bytes:
    """As much as is shown, and a little more where there is more."""
    made = bytearray()
    with LogReader(stored.log_path) as log:
        for piece in markdown_pieces(about, log.records()):
            made += piece
            if len(made) > MOST_BYTES:
                break
    return bytes(made)
