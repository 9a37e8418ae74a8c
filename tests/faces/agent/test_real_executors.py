"""The agent API over real executors, one process each, and the model that needs no network."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon.access import Access
from agentd.daemon.executors import Seat, Seats
from agentd.daemon.listing import open_listing
from agentd.daemon.opening import open_control, open_work
from agentd.daemon.plan import Plan
from agentd.faces.agent.keys import ApiKeys
from agentd.faces.agent.routes import AgentSettings, open_agent
from agentd.faces.agent.terms import Terms
from agentd.store.home import make_home
from agentd.wire.client import Client
from tests.agentapi import Told, check_run, events_of
from tests.agentserver import KEY, first, over_a_socket


@attrs.frozen
class Api:
    client: Client
    workspace: Path
    seats: Seats

    async def busy(self) -> Seat:
        """The seat of an executor that is at work at a command."""
        with trio.fail_after(60):
            while True:
                for seat in self.seats:
                    if b'"tool.started"' in seat.session.log_path.read_bytes():
                        return seat
                await trio.sleep(0.05)

    async def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        raw = json.dumps(body).encode() if body is not None else b""
        with trio.fail_after(60):
            answer = await self.client.request(method, path, headers=[("X-API-Key", KEY)], body=raw, seconds=60)
        return answer.status, json.loads(answer.body) if answer.body.startswith(b"{") else answer.body

    async def run(self, path: str = "/api/v1/query", **body: Any) -> list[Told]:
        status, stream = await self.ask("POST", path, body)
        assert status == 200, stream
        events = events_of(stream)
        check_run(events)
        return events


@asynccontextmanager
async def serving(root: Path) -> AsyncIterator[Api]:
    home, workspace = make_home(root / "data"), root / "workspace"
    workspace.mkdir()
    access = Access(home.root_log, "")
    async with (
        open_control(home, Plan()) as control,
        open_listing(home) as listing,
        open_work(control, listing) as work,
        open_agent(work, ApiKeys([KEY], access), AgentSettings(Terms(workspace))) as app,
        over_a_socket(app) as client,
    ):
        yield Api(client, workspace, control.seats)


async def test_a_session_goes_back_to_a_checkpoint_and_forth_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        (api.workspace / "old.txt").write_text("as it was")
        notes = api.workspace / "notes.txt"
        events = await api.run(
            prompt="Create the file notes.txt with the content: hello",
            permission_mode="acceptEdits",
            enable_file_checkpointing=True,
        )
        session = f"/api/v1/sessions/{first(events, 'init')['session_id']}"
        assert notes.read_text().strip() == "hello"
        _, told = await api.ask("GET", f"{session}/checkpoints")
        [checkpoint] = told["checkpoints"]
        assert checkpoint["files_modified"] == ["notes.txt"]
        assert checkpoint["user_message_uuid"] in {data.get("uuid") for name, data in events if name == "message"}

        body = {"checkpoint_id": checkpoint["id"], "dry_run": True}
        status, preview = await api.ask("POST", f"{session}/rewind", body)
        assert (status, preview["files_deleted"], preview["undo_checkpoint_id"]) == (200, ["notes.txt"], None)
        assert preview["message"] == "Checkpoint validated. 0 files would be restored, 1 removed."
        assert notes.exists()

        status, rewound = await api.ask("POST", f"{session}/rewind", {"checkpoint_id": checkpoint["id"]})
        assert (status, rewound["status"], rewound["files_deleted"]) == (200, "validated", ["notes.txt"])
        assert not notes.exists()
        _, undone = await api.ask("POST", f"{session}/rewind", {"checkpoint_id": rewound["undo_checkpoint_id"]})
        assert undone["files_restored"] == ["notes.txt"]
        assert notes.read_text().strip() == "hello"
        assert (api.workspace / "old.txt").read_text() == "as it was"


async def test_a_checkpoint_of_another_session_is_none(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        sessions = []
        for _ in range(2):
            events = await api.run(prompt="What is here?", enable_file_checkpointing=True)
            sessions.append(f"/api/v1/sessions/{first(events, 'init')['session_id']}")
        _, told = await api.ask("GET", f"{sessions[0]}/checkpoints")
        [checkpoint] = told["checkpoints"]
        assert checkpoint["files_modified"] == []
        body = {"checkpoint_id": checkpoint["id"]}
        assert (await api.ask("POST", f"{sessions[1]}/rewind", body))[0] == 400
        assert (await api.ask("POST", f"{sessions[0]}/rewind", body))[0] == 200


async def test_executors_are_shared_by_nobody_and_work_where_their_query_says(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for name in ("one", "two"):
            (api.workspace / name).mkdir()
            (api.workspace / name / f"{name}.txt").write_text(f"this is {name}\n")
        found: dict[str, list[Told]] = {}

        async def look(name: str) -> None:
            found[name] = await api.run(prompt=f"Read the file {name}.txt.", cwd=name)

        async with trio.open_nursery() as nursery:
            for name in ("one", "two"):
                nursery.start_soon(look, name)
        for name, events in found.items():
            assert first(events, "init")["cwd"] == str(api.workspace / name)
            assert f"this is {name}" in json.dumps(events)


async def test_whoever_follows_a_run_hears_at_once_that_its_executor_died(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        events: list[Told] = []

        async def follow() -> None:
            events.extend(await api.run(prompt="Run the command `sleep 600`", permission_mode="bypassPermissions"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            seat = await api.busy()
            assert seat.launched is not None
            os.kill(seat.launched.ready.pid, signal.SIGKILL)
        assert [name for name, _ in events[-3:]] == ["error", "result", "done"]
        assert first(events, "error")["details"] == {"cause": "EXECUTOR_DIED"}
        session = f"/api/v1/sessions/{first(events, 'init')['session_id']}"
        assert (await api.ask("GET", session))[1]["status"] == "error"
        assert first(await api.run(f"{session}/resume", prompt="What is 1+1?"), "done") == {"reason": "completed"}
