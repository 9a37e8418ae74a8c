"""The endpoints of chats, below /v1/sessions. The contract: runs-and-chat.md, 6.1."""

from __future__ import annotations

import trio

from agentd.faces.chat import attachments, places
from agentd.faces.chat.app import Chats, open_chats
from agentd.faces.chat.dialect import ATTACHMENTS, Chat
from agentd.faces.chat.export import fill
from agentd.faces.chat.objects import session_of
from agentd.faces.chat.requests import read_decision, read_message, read_mode
from agentd.faces.runs.answers import NotFound, ok
from agentd.faces.runs.base import CHAT
from agentd.faces.runs.events import answer_events
from agentd.faces.runs.export import export
from agentd.faces.runs.requests import read_body, workspace_of
from agentd.wire.messages import JSON_TYPE, Answer, Request, Response, json_response
from agentd.wire.routing import Mount, Routes

PREFIX = "/v1/sessions"
routes = Routes()


def mount(chats: Chats) -> Mount:
    return chats.base.mount(PREFIX, routes, chats, name=CHAT)


@routes.post("/")
async def create_session(chats: Chats, request: Request) -> Response:
    """Make a chat. 400 for a path that is missing, no directory, or outside of the workspace."""
    body = read_body(request)
    workspace = await workspace_of(body)
    mode, given = read_mode(body.text("mode") or "chat"), body.text("spec_path")
    spec = await trio.to_thread.run_sync(places.spec_place, workspace, given) if given else ""
    asked = {"workspace": workspace, "system_prompt": body.text("system_prompt"), "mode": mode, "spec_path": spec}
    ident, path = await chats.create(request, {**asked, "auto_run": body.flag("auto_run", True)})
    return json_response(200, {"session_id": ident, "spec_path": path})


@routes.get("/")
async def list_sessions(chats: Chats, request: Request) -> Response:
    """All of them, the newest first."""
    return Response(200, await chats.list(request), JSON_TYPE)


@routes.get("/{session_id}")
async def get_session(chats: Chats, request: Request, session_id: str) -> Response:
    found = await chats.find(request, session_id)
    return json_response(200, session_of(session_id, await chats.state(found)))


@routes.post("/{session_id}/messages")
async def post_message(chats: Chats, request: Request, session_id: str) -> Response:
    """Say something, which makes a turn; it begins as soon as it can, unless it is not to begin by itself."""
    found = await chats.find(request, session_id)
    message, turn = await chats.say(found, read_message(read_body(request)))
    return json_response(200, {"message_id": message, "turn_id": turn})


@routes.get("/{session_id}/events")
async def events(chats: Chats, request: Request, session_id: str) -> Answer:
    """History, then what comes; or with `?follow=false` the history, with `?format=json` as an array."""
    found = await chats.find(request, session_id)
    tail = await chats.base.sessions.tail(found.row.id)
    return await answer_events(request, *chats.base.frames.of(tail, Chat, {"session_id": session_id}))


@routes.post("/{session_id}/mode")
async def set_mode(chats: Chats, request: Request, session_id: str) -> Response:
    """From the next turn on. A spec that is missing is drafted."""
    found = await chats.find(request, session_id)
    body = read_body(request)
    mode = read_mode(body.needed("mode", "mode is required"))
    path = await chats.set_mode(found, mode, body.text("spec_path"))
    return json_response(200, {"session_id": session_id, "mode": mode, "spec_path": path})


@routes.post("/{session_id}/approve")
async def approve(chats: Chats, request: Request, session_id: str) -> Response:
    """Decide about the call that waits. 400 where that call does not."""
    found = await chats.find(request, session_id)
    await chats.decide(request, found, read_decision(read_body(request)))
    return ok()


@routes.post("/{session_id}/cancel")
async def cancel(chats: Chats, request: Request, session_id: str) -> Response:
    """End the turn that is at work, and those that are queued."""
    await chats.cancel(await chats.find(request, session_id))
    return ok()


@routes.post("/{session_id}/turns/{turn_id}/retry")
async def retry(chats: Chats, request: Request, session_id: str, turn_id: str) -> Response:
    """Have a turn begin that has failed or was never begun. 409 for others."""
    await chats.retry(await chats.find(request, session_id), turn_id)
    return ok()


@routes.post("/{session_id}/attachments", streamed=True, limit=attachments.JSON_BYTES)
async def attach(chats: Chats, request: Request, session_id: str) -> Response:
    """Keep a file for later messages: a form with it, or JSON with its base64."""
    found = await chats.find(request, session_id)
    upload = await attachments.read_upload(request)
    return json_response(200, {"ref": await chats.attach(found, upload), "mime_type": upload.media_type})


@routes.get("/{session_id}/attachments/{name}")
async def get_attachment(chats: Chats, request: Request, session_id: str, name: str) -> Answer:
    found = await chats.find(request, session_id)
    known = (await chats.state(found)).attachments.get(f"{ATTACHMENTS}{name}")
    if known is None:
        raise NotFound("attachment", name)
    return attachments.answer(chats.base.sessions.directory(found.row.id).blobs, name, known)


@routes.get("/{session_id}/export")
async def export_session(chats: Chats, request: Request, session_id: str) -> Answer:
    """session.json, events.ndjson, attachments/ and artifacts/ in a zip."""
    found = await chats.find(request, session_id)
    return await export(chats.base.sessions.directory(found.row.id), session_id, fill)


__all__ = ["PREFIX", "Chats", "mount", "open_chats", "routes"]
