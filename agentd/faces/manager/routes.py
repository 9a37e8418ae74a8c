"""The session manager over HTTP: health, sessions, and calls that go on to a session's executor. The contract, §4."""

from __future__ import annotations

from typing import Any

import trio

from agentd import __version__
from agentd.daemon.pool import Managed
from agentd.domain import PROTOCOL
from agentd.errors import AgentdError, Forbidden, SessionNotFound
from agentd.faces.manager import requests
from agentd.faces.manager.answers import no_session, problem
from agentd.faces.manager.app import ManagerApp, open_manager, routes
from agentd.faces.manager.relay import relay
from agentd.wire.messages import Answer, Request, Response, json_response
from agentd.wire.presence import while_there
from agentd.wire.routing import ANY

__all__ = ["ManagerApp", "open_manager", "routes"]

MOST_BODY_BYTES = 1 << 20


@routes.get("/health/live")
async def live(app: ManagerApp, request: Request) -> Response:
    identity = {"managerId": app.manager_id, "version": __version__, "protocolVersion": PROTOCOL}
    return json_response(200, identity | {"poolSize": app.pool.size})


@routes.get("/health/ready")
async def ready(app: ManagerApp, request: Request) -> Response:
    """200 while a session could be created; 503 NO_CAPACITY, PROVISIONER_UNHEALTHY."""
    pool = app.pool
    if not pool.free:
        return problem(503, "NO_CAPACITY", f"all {pool.size} slots are taken")
    if (trouble := pool.problem()) is not None:
        return problem(503, "PROVISIONER_UNHEALTHY", "no worktree can be made", trouble)
    numbers = {"activeExecutors": pool.taken, "poolSize": pool.size, "availableCapacity": pool.free}
    return json_response(200, {"status": "ready"} | numbers)


# --- Sessions, for the master -------------------------------------------------------------------------------------


@routes.post("/v1/sessions", streamed=True)  # so that 403 and 429 do not wait for the body
async def create_session(app: ManagerApp, request: Request) -> Response:
    """201, the session and its token; 400; 429 there is no slot; 503 its worktree or executor could not be made."""
    app.require_master(request)
    app.pool.check_room()
    body = b"".join([piece async for piece in request.chunks(limit=MOST_BODY_BYTES)])
    asked = requests.new_session(body)
    made = await while_there(request.wait_gone, lambda: app.pool.create(asked.name, asked.repoPath, asked.ref))
    return json_response(201, _with_token(app, made) | {"branch": made.worktree.branch})


@routes.get("/v1/sessions")
async def list_sessions(app: ManagerApp, request: Request) -> Response:
    """Every session, the first that was created first, and what its executor is at work at."""
    app.require_master(request)
    sessions = list(app.pool)
    told: dict[str, dict[str, Any]] = {}

    async def tell(managed: Managed) -> None:
        told[managed.id] = await _described(managed)

    async with trio.open_nursery() as nursery:
        for managed in sessions:
            nursery.start_soon(tell, managed)
    return json_response(200, {"sessions": [told[managed.id] for managed in sessions]})


@routes.get("/v1/sessions/{session_id}")
async def read_session(app: ManagerApp, request: Request, session_id: str) -> Answer:
    """For the master its description; for the session's own token its zip, from its executor."""
    named = requests.session_id(session_id)
    if request.principal.session is not None:
        if request.principal.session != named:
            raise Forbidden("this token is for another session")
        return await relay(app.pool, request, app.own_session(request))
    try:
        return json_response(200, await _described(app.pool.get(named)))
    except SessionNotFound:
        return no_session(named)


@routes.post("/v1/sessions/{session_id}/token", streamed=True)
async def renew_token(app: ManagerApp, request: Request, session_id: str) -> Response:
    """200 and a new token. Older ones are good until they expire."""
    app.require_master(request)
    named = requests.session_id(session_id)
    try:
        return json_response(200, _with_token(app, app.pool.get(named)))
    except SessionNotFound:
        return no_session(named)


@routes.delete("/v1/sessions/{session_id}")
async def delete_session(app: ManagerApp, request: Request, session_id: str) -> Response:
    """204 once executor and worktree are gone; 404 for one that does not exist, or no more."""
    app.require_master(request)
    named = requests.session_id(session_id)
    try:
        await app.pool.delete(named)
    except SessionNotFound:
        return no_session(named)
    return Response(204, content_type=None)


def _with_token(app: ManagerApp, managed: Managed) -> dict[str, Any]:
    issued = app.tokens.issue(managed.id)
    return {"sessionId": managed.id, "state": "ready", "token": issued.text, "expiresAt": issued.expires_at}


async def _described(managed: Managed) -> dict[str, Any]:
    try:
        job, trouble = await managed.job(), None
    except AgentdError as exc:  # it does not say: the others do
        job, trouble = managed.seat.job, str(exc)
    return {
        "sessionId": managed.id,
        "name": managed.name,
        "repoPath": str(managed.worktree.repo),
        "branch": managed.worktree.branch,
        "commit": managed.worktree.commit,
        "worktree": str(managed.worktree.path),
        "created": managed.created,
        "lastActivity": managed.active,
        "executor": managed.seat.state,
        "crashes": managed.seat.crashes,
        "runningJob": job,
        "problem": trouble,
    }


# --- Calls, for a session's own token -----------------------------------------------------------------------------


@routes.add(ANY, "/v1/jobs", streamed=True)
@routes.add(ANY, "/v1/jobs/*", streamed=True)
@routes.add(ANY, "/v1/context", streamed=True)
@routes.add(ANY, "/v1/context/*", streamed=True)
async def call_executor(app: ManagerApp, request: Request) -> Answer:
    """What the session's executor answers; 404 the session does not exist any more; 503 its executor does not start."""
    return await relay(app.pool, request, app.own_session(request))
