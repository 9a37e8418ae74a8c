"""The active session's context over HTTP: add, list, read, drop, pin. The contract: executor.md, 6 and 15."""

from __future__ import annotations

from typing import Any

from agentd.engine import context
from agentd.engine.session import Session
from agentd.faces.executor import requests
from agentd.faces.executor.answers import problem
from agentd.faces.executor.app import App, routes
from agentd.store.fold import Fragment
from agentd.wire.messages import Request, Response, json_response


@routes.post("/v1/context/files")
async def add_files(app: App, request: Request) -> Response:
    """200 and what was added: files that are in the context already are left out."""
    paths = requests.relative_paths(request.body)
    return _added(await _add(app, "file", paths, "relative paths"), "relativePath")


@routes.post("/v1/context/classes")
async def add_classes(app: App, request: Request) -> Response:
    names = requests.class_names(request.body)
    return _added(await _add(app, "class", names, "class names"), "className")


@routes.post("/v1/context/methods")
async def add_methods(app: App, request: Request) -> Response:
    names = requests.method_names(request.body)
    return _added(await _add(app, "method", names, "method names"), "methodName")


@routes.post("/v1/context/text")
async def add_text(app: App, request: Request) -> Response:
    """200, the fragment's id and how many characters it has."""
    text = requests.context_text(request.body)
    async with app.engine.active_session() as session:
        fragment = await context.add_text(session, text)
    return json_response(200, {"id": fragment.id, "chars": len(text)})


@routes.get("/v1/context")
async def list_context(app: App, request: Request) -> Response:
    """What is in it, in the order it was added; ?tokens=true counts what a model is shown of it."""
    session = app.engine.sessions.active
    fragments = list(session.state.fragments.values()) if session else []
    described = [_described(each) for each in fragments]
    if session and requests.switch(request, "tokens"):
        described = [one | await _counts(app, session, each) for one, each in zip(described, fragments, strict=True)]
    return json_response(200, {"sessionId": session.id if session else None, "fragments": described})


@routes.get("/v1/context/fragments/{fragment_id}")
async def read_fragment(app: App, request: Request, fragment_id: str) -> Response:
    """One fragment with what it says now; `text` is null, and `missing` says why, where there is nothing any more."""
    if (session := app.engine.sessions.active) is None:
        return no_session()
    fragment = context.find(session, fragment_id)
    content = await context.read_fragment(app.engine.bench, session, fragment)
    text = {"text": None, "missing": content.gone} if content.gone else {"text": content.text, "cut": content.more}
    return json_response(200, _described(fragment) | text)


@routes.post("/v1/context/drop")
async def drop(app: App, request: Request) -> Response:
    """200 and which were dropped; 400 if there was none to drop."""
    ids = requests.fragment_ids(request.body)
    if app.engine.sessions.active is None:
        return no_session()
    async with app.engine.active_session() as session:
        return json_response(200, {"dropped": await context.drop(session, ids)})


@routes.post("/v1/context/drop-all")
async def drop_all(app: App, request: Request) -> Response:
    """200 and which were dropped: pinned ones and those of a running job stay."""
    if app.engine.sessions.active is None:
        return no_session()
    async with app.engine.active_session() as session:
        return json_response(200, {"dropped": await context.drop_all(session)})


@routes.post("/v1/context/pin")
async def pin(app: App, request: Request) -> Response:
    """200; 404 no such fragment."""
    asked = requests.pinning(request.body)
    if app.engine.sessions.active is None:
        return no_session()
    async with app.engine.active_session() as session:
        await context.pin(session, asked.id, asked.pinned)
    return json_response(200, {"id": asked.id, "pinned": asked.pinned})


def no_session() -> Response:
    return problem(404, "NOT_FOUND", "No session loaded")


async def _add(app: App, kind: context.Named, names: list[str], what: str) -> list[Fragment]:
    sound = await context.usable(app.engine.bench, kind, names, what)  # it may take a while: nobody else waits for it
    async with app.engine.active_session() as session:
        return await context.add_named(session, kind, sound)


def _added(fragments: list[Fragment], name: str) -> Response:
    return json_response(200, {"added": [{"id": each.id, name: each.name} for each in fragments]})


def _described(fragment: Fragment) -> dict[str, Any]:
    return {
        "id": fragment.id,
        "kind": fragment.kind,
        "name": fragment.name,
        "size": fragment.size,
        "pinned": fragment.pinned,
        "jobId": fragment.job,
    }


async def _counts(app: App, session: Session, fragment: Fragment) -> dict[str, int]:
    content = await context.read_fragment(app.engine.bench, session, fragment)
    return {"chars": len(content.text), "tokens": context.tokens(content)}
