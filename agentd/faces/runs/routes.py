"""The endpoints of runs, below /v1/runs. The contract: runs-and-chat.md, 5.1."""

from __future__ import annotations

from agentd.faces.runs.answers import Refused, ok
from agentd.faces.runs.app import Runs, open_runs
from agentd.faces.runs.base import id_of
from agentd.faces.runs.dialect import RunEvents
from agentd.faces.runs.events import answer_events
from agentd.faces.runs.export import export
from agentd.faces.runs.requests import check_directory, read_body
from agentd.wire.messages import JSON_TYPE, Answer, Request, Response, json_response
from agentd.wire.routing import Mount, Routes

PREFIX = "/v1/runs"
routes = Routes()


def mount(runs: Runs) -> Mount:
    return runs.base.mount(PREFIX, routes, runs)


@routes.post("/")
async def create_run(runs: Runs, request: Request) -> Response:
    """Make a run and have it begin. 400 for a path that is missing or no directory."""
    body = read_body(request)
    workspace = body.needed("workspace_path", "workspace_path is empty")
    spec = body.needed("spec_path", "spec_path is empty")
    await check_directory(workspace)
    return json_response(200, {"run_id": await runs.create(request, workspace, spec)})


@routes.get("/")
async def list_runs(runs: Runs, request: Request) -> Response:
    """All of them, the newest first."""
    return Response(200, await runs.list(request), JSON_TYPE)


@routes.get("/{run_id}")
async def get_run(runs: Runs, request: Request, run_id: str) -> Response:
    found = await runs.find(request, run_id)
    return Response(200, await runs.shown(found), JSON_TYPE)


@routes.get("/{run_id}/events")
async def events(runs: Runs, request: Request, run_id: str) -> Answer:
    """History, then what comes; or with `?follow=false` the history, with `?format=json` as an array."""
    found = await runs.find(request, run_id)
    tail = await runs.base.sessions.tail(found.row.id)
    return await answer_events(request, *runs.base.frames.of(tail, RunEvents, {"run_id": run_id}))


@routes.post("/{run_id}/approve")
async def approve(runs: Runs, request: Request, run_id: str) -> Response:
    """Let the step that waits go on. 400 where it does not wait."""
    found = await runs.find(request, run_id)
    step = read_body(request).text("step_id")
    if not step:
        raise Refused("step_id required")
    await runs.approve(request, id_of(found.row), step.strip())
    return ok()


@routes.post("/{run_id}/cancel")
async def cancel(runs: Runs, request: Request, run_id: str) -> Response:
    """End it; nothing happens to one that has ended."""
    await runs.cancel(request, run_id)
    return ok()


@routes.get("/{run_id}/export")
async def export_run(runs: Runs, request: Request, run_id: str) -> Answer:
    """run.json, events.ndjson and artifacts/ in a zip."""
    found = await runs.find(request, run_id)
    return await export(runs.base.sessions.directory(found.row.id), run_id)


__all__ = ["PREFIX", "Runs", "mount", "open_runs", "routes"]
