"""The executor API over HTTP: health and identity here, the rest by subject. The contract: executor.md."""

from __future__ import annotations

from typing import Any

from agentd import __version__
from agentd.domain import PROTOCOL
from agentd.faces.executor import context, jobs, sessions, tasks  # noqa: F401 - they put their handlers into routes
from agentd.faces.executor.answers import problem
from agentd.faces.executor.app import App, routes
from agentd.wire.messages import Request, Response, json_response

__all__ = ["App", "routes"]


def identity(app: App) -> dict[str, Any]:
    return {"execId": app.exec_id, "version": __version__, "protocolVersion": PROTOCOL}


@routes.get("/health/live")
async def live(app: App, request: Request) -> Response:
    return json_response(200, identity(app))


@routes.get("/v1/executor")
async def executor(app: App, request: Request) -> Response:
    return json_response(200, identity(app))


@routes.get("/health/ready")
async def ready(app: App, request: Request) -> Response:
    """200 while a request would be taken; 503 NOT_READY while it starts, recovers or stops."""
    if not app.ready:
        return problem(503, "NOT_READY", "the executor is starting or stopping")
    active = app.engine.sessions.active
    return json_response(200, {"status": "ready", "sessionId": active.id if active else None, **identity(app)})
