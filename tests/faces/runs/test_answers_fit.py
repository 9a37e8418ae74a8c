"""What is answered about runs, models and specs is what their document says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.faces.runs import service
from agentd.faces.runs.models import Models
from agentd.faces.runs.openapi import document
from agentd.faces.runs.policy import Router, Settings
from agentd.providers.settings import Catalog
from agentd.wire.messages import Request
from agentd.wire.routing import respond
from tests.runserver import command, plan, serving
from tests.wire.openapi31 import misfits

DOCUMENT = document()
SPEC = "---\nname: new\n---\n\n# Goal\n\nDo it.\n"


def fits(method: str, path: str, answer: tuple[int, Any], status: int = 200) -> bool:
    assert answer[0] == status, answer
    assert misfits(DOCUMENT, method, path, *answer) == []
    return True


async def test_a_run_fits_in_every_state_of_it(tmp_path: Path) -> None:
    gated = plan(command("true"), command("false", needs_approval=True), {"type": "note", "title": "never"})
    async with serving(tmp_path) as server:
        body = {"workspace_path": str(server.workspace), "spec_path": "spec.md"}
        server.says(gated)
        made = await server.ask("POST", "/v1/runs", body)
        assert fits("POST", "/v1/runs", made)
        run = made[1]["run_id"]
        for state in ("waiting_approval", "failed"):
            await server.until(run, state)
            assert fits("GET", "/v1/runs/{run_id}", await server.ask("GET", f"/v1/runs/{run}"))
            assert fits("GET", "/v1/runs", await server.ask("GET", "/v1/runs"))
            events = await server.ask("GET", f"/v1/runs/{run}/events?format=json")
            assert fits("GET", "/v1/runs/{run_id}/events", events)
            again = await server.approve(run, "s2")
            assert fits("POST", "/v1/runs/{run_id}/approve", again, 200 if state == "waiting_approval" else 400)
        cancelled = await server.ask("POST", f"/v1/runs/{run}/cancel")
        assert fits("POST", "/v1/runs/{run_id}/cancel", cancelled)


async def test_what_is_refused_of_runs_fits(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert fits("POST", "/v1/runs", await server.ask("POST", "/v1/runs", {}), 400)
        assert fits("GET", "/v1/runs/{run_id}", await server.ask("GET", "/v1/runs/none"), 404)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/models", None, 200),
        ("GET", "/v1/model-policy", None, 200),
        ("POST", "/v1/model-policy", {"max_cost_usd": None, "preferred_models": ["x"]}, 200),
        ("POST", "/v1/model-policy", {"max_cost_usd": -1}, 400),
        ("POST", "/v1/specs/generate", {"workspace_path": "WORKSPACE", "spec_name": "new", "prompt": "Do it."}, 200),
        ("POST", "/v1/specs/generate", {}, 400),
        ("GET", "/v1/workspace/tree?workspace_path=WORKSPACE", None, 200),
        ("GET", "/v1/workspace/tree", None, 400),
        ("GET", "/healthz", None, 200),
        ("GET", "/hello", None, 200),
    ],
)
async def test_what_is_beside_runs_fits(tmp_path: Path, method: str, path: str, body: Any, status: int) -> None:
    async with serving(tmp_path, SPEC) as server:
        router = Router(Settings(tmp_path / "settings.json"), Models.of(Catalog(), (), {}).look)
        mounts = service.mounts(service.Service(server.base, router))
        place, raw = str(server.workspace), json.dumps(body)
        request = Request(method, path.replace("WORKSPACE", place), {}, raw.replace("WORKSPACE", place).encode())
        answer: Any = await respond(mounts, request)
        assert fits(method, path.partition("?")[0], (answer.status, json.loads(answer.body)), status)
