"""The agent API over real executors, one process each, and the model that needs no network."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import trio

from tests.agentapi import Told
from tests.agentprocesses import serving
from tests.agentserver import first


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
