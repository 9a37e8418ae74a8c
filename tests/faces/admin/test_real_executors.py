"""The admin API over real executors, one process each, and the model that needs no network."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import trio

from agentd.daemon.access import Access
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_control, open_work
from agentd.daemon.plan import Plan
from agentd.faces.admin.routes import open_admin
from agentd.store.home import make_home
from agentd.wire.client import Client
from tests.adminapi import ADMIN, append, asking, job_entries, over_a_socket

ADMIN_HEADER = ("Authorization", f"Bearer {ADMIN}")


async def get(client: Client, path: str) -> Any:
    answer = await client.request("GET", f"/agentd/v1{path}", headers=[ADMIN_HEADER])
    assert answer.status == 200, answer.body
    return json.loads(answer.body)


async def post(client: Client, path: str, body: object) -> int:
    raw = json.dumps(body).encode()
    answer = await client.request("POST", f"/agentd/v1{path}", headers=[ADMIN_HEADER], body=raw)
    return answer.status


async def ended(client: Client, session: str, job: str) -> str:
    """How the job ended, told by the stream of the session's log."""
    headers = [ADMIN_HEADER, ("Accept", "text/event-stream")]
    path = f"/agentd/v1/sessions/{session}/log?types=job.finished"
    with trio.fail_after(30):
        async with client.open_stream("GET", path, headers=headers) as stream:
            async for event in stream.events():
                record = json.loads(event.data)
                if record["job"] == job:
                    return str(record["data"]["outcome"])
    raise AssertionError("the stream ended before the job")


async def test_sessions_in_place_are_worked_at_and_survive_their_executor(tmp_path: Path) -> None:
    home, workspace = make_home(tmp_path / "data"), tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "hello.py").write_text("print('hello')\n")
    waiting = home.create_session("run", workspace, "waiting")
    append(waiting, *job_entries(), *asking())
    fresh = home.create_session("run", workspace, "fresh")
    async with (
        open_control(home, Plan()) as control,
        open_listing(home) as listing,
        open_work(control, listing) as work,
        open_admin(control, listing, work, Access(home.root_log, ADMIN)) as app,
        over_a_socket(app) as client,
    ):
        with trio.fail_after(60):
            assert await post(client, f"/sessions/{fresh.id}/message", {"text": "What is here?", "mode": "ask"}) == 202
            [job] = (await get(client, f"/jobs?session={fresh.id}"))["items"]
            assert await ended(client, fresh.id, job["id"]) == "completed"
            [executor] = (await get(client, "/executors"))["items"]
            assert executor["memory_bytes"] > 1 << 20
            os.kill(executor["pid"], 9)
            assert await post(client, f"/sessions/{fresh.id}/cancel", {}) == 202
            assert await post(client, "/asks/ask-1", {"decision": "deny", "text": "no"}) == 200
            assert await ended(client, waiting.id, "job-1") in ("completed", "failed")
