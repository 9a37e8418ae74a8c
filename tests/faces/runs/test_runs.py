"""Runs over HTTP: their states, their events, and what is refused."""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.errors import ProviderFailed
from agentd.faces.runs.base import Choice, FaceSettings
from tests.runserver import Server, command, plan, serving

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
GATED = plan(command("echo one > log"), command("echo two >> log", needs_approval=True))


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


async def test_a_run_goes_from_its_spec_to_its_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "spec.md").write_text("# Goal\n\nGreet.\n")
        run = await server.create(plan(command("echo hello > greeting"), {"type": "note", "title": "told"}))
        told = await server.until(run)
        events = await server.events(run)
    assert (told["id"], told["status"], told["error"]) == (run, "succeeded", None)
    assert (told["workspace_path"], told["spec_path"]) == (str(server.workspace), "spec.md")
    assert told["model_canonical"] == "scripted:scripted"
    step = told["steps"][0]
    assert (step["id"], step["type"], step["command"]) == ("s1", "command", "echo hello > greeting")
    assert (step["status"], step["needs_approval"]) == ("succeeded", False)
    assert all(INSTANT.fullmatch(told[name]) for name in ("created_at", "updated_at"))
    assert all(INSTANT.fullmatch(step[name]) for name in ("started_at", "completed_at"))
    assert types(events) == [
        "run_created",
        "run_started",
        "spec_loaded",
        "context_gathered",
        "model_resolved",
        "plan_generated",
        "step_started",
        "command_executed",
        "step_completed",
        "step_started",
        "step_completed",
        "run_succeeded",
    ]
    assert {event["run_id"] for event in events} == {run}
    assert all(INSTANT.fullmatch(event["ts"]) for event in events)


async def test_a_gated_step_waits_and_is_approved_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(GATED)
        waiting = await server.until(run, "waiting_approval")
        assert [step["status"] for step in waiting["steps"]] == ["succeeded", "waiting_approval"]
        assert await server.approve(run, "s1") == (400, {"error": "no approval pending for step s1"})
        assert await server.approve(run, "s2") == (200, {"ok": True})
        assert await server.approve(run, "s2") == (400, {"error": "no approval pending for step s2"})
        assert (await server.until(run))["status"] == "succeeded"
        events = await server.events(run)
    told = types(events)
    first = told.index("approval_requested")
    assert told[first - 1 : first + 3] == ["step_started", "approval_requested", "approval_granted", "command_executed"]
    assert events[first]["data"] == {"step_id": "s2", "title": "echo two >> log", "command": "echo two >> log"}


async def test_a_patch_can_be_read_before_it_is_approved(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        patch = "--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n"
        run = await server.create(plan({"type": "patch", "title": "add x", "patch": patch, "needs_approval": True}))
        await server.until(run, "waiting_approval")
        asked = (await server.events(run))[-1]
        archive = zipfile.ZipFile(io.BytesIO((await server.answer("GET", f"/v1/runs/{run}/export")).body))
    assert asked["type"] == "approval_requested"
    assert archive.read(asked["data"]["patch_rel"]).decode() == patch


async def test_a_run_that_no_model_fits_fails(tmp_path: Path) -> None:
    async def refuse(spent: float = 0.0) -> Choice:
        raise ProviderFailed("router: no models match constraints")

    async with serving(tmp_path) as server:
        server.base.choose = refuse
        told = await server.until(run := await server.create())
        events = await server.events(run)
    assert (told["status"], told["error"], told["steps"]) == ("failed", "router: no models match constraints", [])
    assert types(events) == ["run_created", "run_started", "run_failed"]


async def test_a_run_that_waits_can_be_cancelled_and_stays_so(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(GATED)
        await server.until(run, "waiting_approval")
        assert await server.ask("POST", f"/v1/runs/{run}/cancel", b"not json") == (200, {"ok": True})
        ended = await server.until(run)
        assert await server.ask("POST", f"/v1/runs/{run}/cancel") == (200, {"ok": True})
        assert await server.get(f"/v1/runs/{run}") == ended
        assert await server.approve(run, "s2") == (400, {"error": "no approval pending for step s2"})
        events = await server.events(run)
    assert (ended["status"], ended["error"]) == ("canceled", None)
    assert [step["status"] for step in ended["steps"]] == ["succeeded", "skipped"]
    assert types(events)[-2:] == ["run_cancel_requested", "run_canceled"]


async def test_a_step_that_fails_fails_the_run_and_skips_the_rest(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(plan(command("exit 7"), command("true")))
        told, events = await server.until(run), await server.events(run)
    assert [step["status"] for step in told["steps"]] == ["failed", "skipped"]
    assert told["error"] == "step s1 (exit 7) failed: exit code 7"
    assert types(events)[-3:] == ["command_executed", "step_failed", "run_failed"]
    assert events[-2]["data"] == {"step_id": "s1", "ok": False}
    assert events[-2]["message"] == "exit code 7"


async def test_what_cannot_be_planned_is_told_in_the_log(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create("no")
        await server.until(run)
        assert "default plan" in next(event for event in await server.events(run) if event["type"] == "log")["message"]


async def test_runs_are_listed_the_newest_first(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.get("/v1/runs") == []
        runs = [await server.create(plan({"type": "note"})) for _ in range(3)]
        for run in runs:
            await server.until(run)
        listed = await server.get("/v1/runs")
        assert await server.get("/v1/runs/") == listed
    assert sorted(told["id"] for told in listed) == sorted(runs)
    assert listed == sorted(listed, key=lambda told: (told["created_at"], told["id"]), reverse=True)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"nonsense", "invalid json"),
        (b"[]", "invalid json"),
        (b"", "invalid json"),
        ({}, "workspace_path is empty"),
        ({"workspace_path": "  ", "spec_path": "s"}, "workspace_path is empty"),
        ({"workspace_path": None, "spec_path": "s"}, "workspace_path is empty"),
        ({"workspace_path": 1, "spec_path": "s"}, "workspace_path must be a string"),
        ({"workspace_path": "/tmp"}, "spec_path is empty"),
        ({"workspace_path": "/tmp", "spec_path": []}, "spec_path must be a string"),
        ({"workspace_path": "/no/such/place", "spec_path": "s"}, "workspace_path must be a directory"),
        ({"workspace_path": "a\0b", "spec_path": "s"}, "workspace_path must be a directory"),
        ({"workspace_path": "~nobody-of-that-name", "spec_path": "s"}, "workspace_path must be a directory"),
    ],
)
async def test_a_request_that_does_not_say_what_it_has_to_is_refused(tmp_path: Path, body: Any, error: str) -> None:
    async with serving(tmp_path) as server:
        assert await server.ask("POST", "/v1/runs", body) == (400, {"error": error})
        assert await server.get("/v1/runs") == []


@pytest.mark.parametrize("ident", ["run_x", "run_20260102t081717z_aaaaaaaaaaaaaaaa", "..%2f..", "sess_x"])
async def test_no_route_knows_a_run_that_is_not_there(tmp_path: Path, ident: str) -> None:
    async with serving(tmp_path) as server:
        for method, path in [
            ("GET", ""),
            ("GET", "/events"),
            ("POST", "/approve"),
            ("POST", "/cancel"),
            ("GET", "/export"),
        ]:
            status, told = await server.ask(method, f"/v1/runs/{ident}{path}", {"step_id": "s1"})
            assert (status, told) == (404, {"error": f"run not found: {ident.replace('%2f', '/')}"})


async def test_unknown_paths_and_methods_are_told_as_errors(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        assert await server.ask("GET", "/v1/runs/a/b") == (404, {"error": "unknown endpoint"})
        answer = await server.answer("DELETE", "/v1/runs")
        assert (answer.status, json.loads(answer.body)) == (405, {"error": "method not allowed"})
        assert ("Allow", "GET, HEAD, OPTIONS, POST") in answer.headers


async def test_an_approval_names_its_step(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(GATED)
        await server.until(run, "waiting_approval")
        assert await server.ask("POST", f"/v1/runs/{run}/approve", {}) == (400, {"error": "step_id required"})
        assert await server.approve(run, "s3") == (400, {"error": "no approval pending for step s3"})


# --- Export -------------------------------------------------------------------------------------------------------


async def test_an_export_has_the_run_its_events_and_its_artifacts(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        patch = {"type": "patch", "title": "p", "patch": "--- a/x\n+++ b/x\n"}
        run = await server.create(plan(command("echo hello"), patch))
        told, events = await server.until(run), await server.events(run)
        answer = await server.answer("GET", f"/v1/runs/{run}/export")
    assert answer.content_type == "application/zip"
    assert ("Content-Disposition", f'attachment; filename="{run}.zip"') in answer.headers
    archive = zipfile.ZipFile(io.BytesIO(answer.body))
    assert set(archive.namelist()) == {
        "run.json",
        "events.ndjson",
        "artifacts/s1/command.json",
        "artifacts/s2/patch.diff",
        "artifacts/s2/patch_apply.json",
    }
    assert json.loads(archive.read("run.json")) == told
    assert [json.loads(line) for line in archive.read("events.ndjson").splitlines()] == events
    assert json.loads(archive.read("artifacts/s1/command.json"))["stdout"] == "hello\n"
    assert json.loads(archive.read("artifacts/s2/patch_apply.json"))["applied"] is False
    assert archive.read("artifacts/s2/patch.diff").decode() == patch["patch"]
    assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_DEFLATED}


@pytest.mark.parametrize("ident", ["../../etc", "a/b", "", "x" * 65, "s\n", "ü", 7, None])
async def test_ids_of_steps_never_lead_anywhere(tmp_path: Path, ident: Any) -> None:
    steps = [{"id": ident, "type": "command", "command": "true"}, {"id": ident, "type": "command", "command": "true"}]
    async with serving(tmp_path) as server:
        run = await server.create(json.dumps({"steps": steps}))
        told = await server.until(run)
        answer = await server.answer("GET", f"/v1/runs/{run}/export")
    ids = [step["id"] for step in told["steps"]]
    assert len(set(ids)) == 2
    assert all(re.fullmatch(r"step_[0-9]{8}t[0-9]{6}z_[a-z2-7]{16}", step) for step in ids)
    names = zipfile.ZipFile(io.BytesIO(answer.body)).namelist()
    assert {f"artifacts/{step}/command.json" for step in ids} < set(names)


# --- The line -----------------------------------------------------------------------------------------------------


async def test_runs_beyond_the_limit_are_queued_and_have_their_turn(tmp_path: Path) -> None:
    async with serving(tmp_path, most=1) as server:
        wait = command("while [ ! -e go ]; do sleep 0.02; done")
        runs = [await server.create(*[plan(wait)] * 3)]
        await server.until(runs[0], "running")
        runs += [await server.create() for _ in range(2)]
        await server.when(runs[0], lambda told: bool(told["steps"]))
        assert [(await server.get(f"/v1/runs/{run}"))["status"] for run in runs] == ["running", "queued", "queued"]
        assert await server.ask("POST", f"/v1/runs/{runs[1]}/cancel") == (200, {"ok": True})
        assert (await server.get(f"/v1/runs/{runs[1]}"))["status"] == "canceled"
        assert types(await server.events(runs[1])) == ["run_created", "run_cancel_requested", "run_canceled"]
        (server.workspace / "go").touch()
        for run in (runs[0], runs[2]):
            assert (await server.until(run))["status"] == "succeeded"


async def test_a_run_that_waits_for_approval_holds_up_no_other(tmp_path: Path) -> None:
    async with serving(tmp_path, most=1) as server:
        waiting = await server.create(GATED, plan({"type": "note"}))
        await server.until(waiting, "waiting_approval")
        assert (await server.until(await server.create()))["status"] == "succeeded"


async def test_two_runs_in_one_workspace_go_on_beside_each_other(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        meet = command("touch $$.here; while [ $(ls *.here | wc -l) -lt 2 ]; do sleep 0.02; done")
        runs = [await server.create(plan(meet), plan(meet)), await server.create()]
        for run in runs:
            assert (await server.until(run))["status"] == "succeeded"


# --- Restarts -----------------------------------------------------------------------------------------------------


async def as_killed(server: Server, run: str) -> Callable[[], None]:
    """What makes the log of a run what it is now, whatever an orderly end adds to it."""
    log, index = (await server.tail(run)).session.log_path, server.home.root / "index.db"
    content = log.read_bytes()

    def restore() -> None:
        log.write_bytes(content)
        index.unlink()

    return restore


async def test_a_run_waits_across_restarts(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(GATED)
        before = await server.until(run, "waiting_approval")
        restore = await as_killed(server, run)
    restore()
    async with serving(tmp_path) as server:
        assert await server.get(f"/v1/runs/{run}") == before
        restore = await as_killed(server, run)
    restore()
    async with serving(tmp_path) as server:
        assert await server.approve(run, "s2") == (200, {"ok": True})
        assert (await server.until(run))["status"] == "succeeded"
        events = await server.events(run)
    assert types(events).count("approval_requested") == types(events).count("approval_granted") == 1
    assert (server.workspace / "log").read_text() == "one\ntwo\n"


async def test_what_was_queued_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, most=0) as server:
        runs = [await server.create() for _ in range(2)]
        assert [(await server.get(f"/v1/runs/{run}"))["status"] for run in runs] == ["queued", "queued"]
    async with serving(tmp_path, plan({"type": "note"}), plan({"type": "note"}), most=1) as server:
        for run in runs:
            assert (await server.until(run))["status"] == "succeeded"


async def test_a_run_that_was_at_work_has_failed_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        run = await server.create(plan(command("touch begun; sleep 100"), command("true")))
        with trio.fail_after(10):
            while not (server.workspace / "begun").exists():  # noqa: ASYNC110  # another process makes it
                await trio.sleep(0.01)
        restore = await as_killed(server, run)
    restore()
    async with serving(tmp_path) as server:
        told, events = await server.until(run), await server.events(run)
    assert (told["status"], told["error"]) == ("failed", "interrupted by daemon restart")
    assert [step["status"] for step in told["steps"]] == ["failed", "skipped"]
    assert types(events)[-2:] == ["step_failed", "run_failed"]


# --- Who may ------------------------------------------------------------------------------------------------------


async def test_a_token_that_is_set_is_needed_for_everything(tmp_path: Path) -> None:
    async with serving(tmp_path, settings=FaceSettings(token="secret"), admin="the-admin") as server:
        for path in ("/v1/runs", "/v1/runs/x", "/v1/nothing"):
            answer = await server.answer("GET", path) if path != "/v1/nothing" else None
            if answer is not None:
                assert (answer.status, json.loads(answer.body)) == (401, {"error": "unauthorized"})
                assert ("WWW-Authenticate", "Bearer") in answer.headers
        assert await server.get("/v1/runs", authorization="bearer  secret ") == []
        assert await server.get("/v1/runs", authorization="Bearer the-admin") == []
        assert (await server.ask("GET", "/v1/runs", authorization="Bearer wrong"))[0] == 401
        assert (await server.ask("GET", "/v1/runs", authorization="Basic secret"))[0] == 401


async def test_pages_of_other_origins_are_let_in_where_they_are_named(tmp_path: Path) -> None:
    async with serving(tmp_path, settings=FaceSettings(token="secret", origins=("https://ui.test",))) as server:
        asked = {"origin": "https://ui.test", "access_control_request_method": "POST"}
        preflight = await server.answer("OPTIONS", "/v1/runs", **asked)
        assert preflight.status == 204
        assert ("Access-Control-Allow-Origin", "https://ui.test") in preflight.headers
        other = await server.answer("OPTIONS", "/v1/runs", **(asked | {"origin": "https://other.test"}))
        assert not [name for name, _ in other.headers if name.startswith("Access-Control")]
