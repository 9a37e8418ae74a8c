"""Sessions over the admin API: lists, logs, conversations, and what they are told to do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.daemon.writer import hold
from agentd.domain import Entry
from agentd.providers.scripted import Hang, call, reply
from tests.adminapi import Api, append, asking, job_entries, over_a_socket, serving


async def test_a_session_says_what_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries("Fix it.\nNow."), *asking())
        shown = await api.get(f"/sessions/{session.id}")
        assert (shown["title"], shown["status"], shown["executor"], shown["face"]) == (
            *("Fix it.", "waiting"),
            *("absent", "run"),
        )
        assert shown["last_job"] == {"id": "job-1", "state": "waiting"}
        assert shown["totals"]["jobs"] == 1
        assert (await api.get("/sessions"))["items"] == [shown]


async def test_lists_are_filtered_and_paged(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        one, two = api.session("run", *job_entries("crimson")), api.session("agent", *job_entries("blue", "job-2"))
        assert [each["id"] for each in (await api.get("/sessions?face=agent"))["items"]] == [two.id]
        assert [each["id"] for each in (await api.get("/sessions?q=crimson"))["items"]] == [one.id]
        assert len((await api.get("/sessions?status=queued,running"))["items"]) == 2
        first = await api.get("/sessions?limit=1")
        api.session("run")
        second = await api.get(f"/sessions?limit=1&cursor={first['next']}")
        assert {first["items"][0]["id"], second["items"][0]["id"]} == {one.id, two.id}
        assert second["next"] is None


@pytest.mark.parametrize("query", ["status=odd", "limit=0", "limit=x", "limit=9999", "cursor=x"])
async def test_what_a_list_cannot_be_asked_is_refused(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as api:
        status, told = await api.ask("GET", f"/sessions?{query}")
        assert (status, told["error"]["code"]) == (400, "VALIDATION_ERROR")


@pytest.mark.parametrize("name", ["nothing", "00000000-0000-0000-0000-000000000000", "..%2F..", "%00"])
async def test_a_session_that_is_not_there_is_404_everywhere(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path) as api:
        for method, rest in (("GET", ""), ("GET", "/log"), ("GET", "/diff"), ("DELETE", ""), ("POST", "/cancel")):
            status, told = await api.ask(method, f"/sessions/{name}{rest}")
            assert (status, told["error"]["code"]) == (404, "SESSION_NOT_FOUND")


# --- Logs ---------------------------------------------------------------------------------------------------------


async def test_the_log_is_read_page_by_page(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries())
        page = await api.get(f"/sessions/{session.id}/log?limit=2")
        assert [record["pos"] for record in page["items"]] == [1, 2]
        rest = await api.get(f"/sessions/{session.id}/log?after={page['next']}")
        assert ([record["pos"] for record in rest["items"]], rest["last"], rest["reset"]) == ([3], "3", False)
        picked = await api.get(f"/sessions/{session.id}/log?types=message,notice")
        assert [record["type"] for record in picked["items"]] == ["message"]
        beyond = await api.get(f"/sessions/{session.id}/log?after=99")
        assert (beyond["reset"], len(beyond["items"])) == (True, 3)


async def test_the_log_is_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        told: list[Any] = []

        async def wait() -> None:
            told.append(await api.get(f"/sessions/{session.id}/log?after=1&wait=30"))

        async with trio.open_nursery() as nursery:
            with trio.fail_after(10):
                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                append(session, *job_entries())
        assert [record["type"] for record in told[0]["items"]] == ["job.created", "message"]


async def test_the_log_is_streamed_and_taken_up_again(tmp_path: Path) -> None:
    async with serving(tmp_path) as api, over_a_socket(api.app) as client:
        session = api.session("run", *job_entries())
        path = f"/agentd/v1/sessions/{session.id}/log"
        headers = [("Authorization", "Bearer the-admin-token"), ("Accept", "text/event-stream")]
        async with client.open_stream("GET", f"{path}?after=1", headers=headers) as stream:
            events = stream.events()
            with trio.fail_after(10):
                first = await anext(events)
                assert (first.name, first.id, json.loads(first.data)["type"]) == ("record", "2", "job.created")
                await anext(events)
                append(session, *asking())
                assert json.loads((await anext(events)).data)["type"] == "job.started"
        resumed = [*headers, ("Last-Event-ID", "99")]
        async with client.open_stream("GET", path, headers=resumed) as stream:
            events = stream.events()
            with trio.fail_after(10):
                assert (await anext(events)).name == "reset"
                assert (await anext(events)).id == "1"


# --- Conversations and changes ------------------------------------------------------------------------------------


async def test_a_conversation_is_told_as_json_and_as_markdown(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        result = {"call": "call-1", "name": "Write", "subject": "a", "ok": True, "summary": "", "duration_ms": 1}
        wrote = result | {"content": [{"type": "text", "text": "wrote ``` it"}], "artifact": None}
        session = api.session("run", *job_entries("Hello?"), *asking(), Entry("tool.finished", wrote, "job-1"))
        told = await api.get(f"/sessions/{session.id}/transcript")
        assert [item["role"] for item in told["items"]] == ["user", "assistant", "tool"]
        assert told["session"]["id"] == session.id
        status, raw = await api.request("GET", f"/sessions/{session.id}/transcript?format=md")
        assert status == 200
        assert "## You\n\nHello?\n" in raw.decode()
        assert "````\nwrote ``` it\n````" in raw.decode()
        assert (await api.ask("GET", f"/sessions/{session.id}/transcript?format=pdf"))[0] == 400


def git(repo: Path, *words: str) -> str:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org")
    return subprocess.run(["git", *identity, *words], cwd=repo, check=True, capture_output=True, text=True).stdout


async def test_changes_since_the_session_began_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        repo = api.workspace
        git(repo, "init", "-q")
        (repo / "a.txt").write_text("one\n")
        git(repo, "add", ".")
        git(repo, "commit", "-qm", "first")
        tree = git(repo, "rev-parse", "HEAD^{tree}").strip()
        session = api.session("run", *job_entries())
        (repo / "a.txt").write_text("two\n")
        assert (await api.request("GET", f"/sessions/{session.id}/diff")) == (200, b"")  # no job has begun
        append(session, Entry("checkpoint", {"id": "job-1", "tree": tree}, "job-1"))
        status, raw = await api.request("GET", f"/sessions/{session.id}/diff")
        assert status == 200
        assert b"-one\n+two\n" in raw
        assert git(repo, "status", "--porcelain") == " M a.txt\n"


async def test_there_is_no_diff_outside_of_a_repository(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        status, told = await api.ask("GET", f"/sessions/{session.id}/diff")
        assert (status, told["error"]["code"]) == (409, "NO_GIT")


# --- Doing --------------------------------------------------------------------------------------------------------


async def test_a_message_is_another_job_in_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries("first"))
        api.says("The first is done.", "So is the second.")
        status, made = await api.ask("POST", f"/sessions/{session.id}/message", {"text": "and then?", "mode": "ask"})
        while status == 409:  # the executor has found the first one, which was accepted
            await api.job_in(session, "completed")
            status, made = await api.ask("POST", f"/sessions/{session.id}/message", {"text": "and?", "mode": "ask"})
        assert (status, made["session_id"]) == (202, session.id)
        job = await api.job_in(session, "completed")
        assert (job["id"], job["mode"]) == (made["job_id"], "ask")
        assert (await api.get(f"/sessions/{session.id}"))["executor"] == "live"


async def test_one_job_at_a_time(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        api.says(reply(Hang()))
        assert (await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"}))[0] == 202
        status, told = await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"})
        assert (status, told["error"]["code"]) == (409, "JOB_IN_PROGRESS")
        status, stopped = await api.ask("POST", f"/sessions/{session.id}/cancel")
        assert (status, stopped["job_id"]) == (202, (await api.job_in(session, "cancelled"))["id"])
        assert (await api.ask("POST", f"/sessions/{session.id}/cancel"))[1]["job_id"] is None


@pytest.mark.parametrize("body", [{}, {"text": " "}, {"text": "x", "mode": "odd"}, b"{"])
async def test_a_message_that_says_nothing_is_refused(tmp_path: Path, body: Any) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        assert (await api.ask("POST", f"/sessions/{session.id}/message", body))[0] == 400


async def test_what_another_process_has_is_left_to_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        with hold(session):
            for method, path, body in (
                ("POST", f"/sessions/{session.id}/message", {"text": "go"}),
                ("POST", f"/sessions/{session.id}/cancel", None),
                ("DELETE", f"/sessions/{session.id}", None),
                ("POST", "/asks/ask-1", {"decision": "allow"}),
            ):
                status, told = await api.ask(method, path, body)
                assert (status, told["error"]["code"]) == (409, "LOCKED"), path
        assert session.log_path.exists()


async def test_a_job_that_waits_without_an_executor_is_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        assert (await api.ask("POST", f"/sessions/{session.id}/cancel"))[0] == 202
        assert (await api.get("/jobs/job-1"))["state"] == "cancelled"
        assert (await api.get("/asks/ask-1"))["state"] == "settled"
        assert api.app.executor_state(session.id) == "absent"


async def test_deleting_removes_the_session_and_not_its_workspace(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("runs", *job_entries(), owner="somebody")
        (api.workspace / "mine").write_text("precious")
        assert (await api.ask("DELETE", f"/sessions/{session.id}"))[0] == 204
        assert (await api.ask("DELETE", f"/sessions/{session.id}"))[0] == 404
        assert not session.path.exists()
        assert (api.workspace / "mine").read_text() == "precious"
        assert (await api.get("/sessions"))["items"] == []


async def test_a_session_that_is_at_work_is_not_deleted(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        api.says(reply(call("LS", about="a")))  # which hangs
        await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"})
        status, told = await api.ask("DELETE", f"/sessions/{session.id}")
        assert (status, told["error"]["code"]) == (409, "LOCKED")
        await api.ask("POST", f"/sessions/{session.id}/cancel")
        await api.job_in(session, "cancelled")
        assert (await api.ask("DELETE", f"/sessions/{session.id}"))[0] == 204


async def test_a_session_has_no_checkpoint_that_it_was_not_asked_to_keep(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        status, told = await api.ask("POST", f"/sessions/{session.id}/rewind", {"checkpoint": "c", "dry_run": True})
        assert (status, told["error"]["code"]) == (400, "INVALID_CHECKPOINT")
        assert (await api.ask("POST", f"/sessions/{session.id}/rewind", {}))[0] == 400


async def test_an_executor_without_a_job_is_ended_after_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.daemon.inplace.IDLE_SECONDS", 0.05)
    monkeypatch.setattr("agentd.daemon.inplace.IDLE_LOOK_SECONDS", 0.01)
    async with serving(tmp_path) as api:
        session = api.session()
        api.says(reply(call("Sleep")), "Done.")
        await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go", "permission_mode": "bypassPermissions"})
        seat = api.seats.seat(session, api.workspace)
        await api.job_in(session, "running")
        await trio.sleep(0.2)  # busy for longer than an idle one would live
        assert seat.state == "live"
        await api.ask("POST", f"/sessions/{session.id}/cancel")
        with trio.fail_after(10):
            while seat.state != "absent":
                await wait_for_change(api)


async def test_of_a_session_that_is_not_used_any_more_nothing_stays_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.daemon.inplace.IDLE_SECONDS", 0.02)
    monkeypatch.setattr("agentd.daemon.inplace.IDLE_LOOK_SECONDS", 0.01)
    async with serving(tmp_path) as api:
        session = api.session()
        for _ in range(2):
            api.says("Done.")
            await api.ask("POST", f"/sessions/{session.id}/message", {"text": "go"})
            with trio.fail_after(10):
                while list(api.seats):  # noqa: ASYNC110  # nobody tells when a seat is forgotten
                    await trio.sleep(0.01)


async def wait_for_change(api: Api) -> None:
    changed = trio.Event()
    unsubscribe = api.seats.subscribe(lambda seat: changed.set())
    await changed.wait()
    unsubscribe()
