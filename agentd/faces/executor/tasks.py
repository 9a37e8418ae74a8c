"""The active session's task list over HTTP. The contract: executor.md, 15."""

from __future__ import annotations

from agentd.faces.executor import requests
from agentd.faces.executor.app import App, routes
from agentd.wire.messages import Request, Response, json_response


@routes.get("/v1/tasklist")
async def read_tasks(app: App, request: Request) -> Response:
    active = app.engine.sessions.active
    return json_response(200, {"tasks": active.state.tasks if active else []})


@routes.post("/v1/tasklist", limit=requests.MOST_TASK_LIST_BYTES)
async def replace_tasks(app: App, request: Request) -> Response:
    """200 and the list as it is now; 409 while a job runs."""
    tasks = requests.task_list(request.body)
    await app.engine.set_tasks(tasks)
    return json_response(200, {"tasks": tasks})
