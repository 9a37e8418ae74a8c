"""What is of the daemon itself over the admin API, and the stream of changes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd import errors
from agentd.daemon.events import KEPT, Events
from agentd.daemon.inventory import memory_of
from agentd.faces.admin.answers import STATUS, answer_error
from agentd.wire import sse
from tests.adminapi import append, asking, job_entries, over_a_socket, serving


async def test_executors_are_shown_while_they_live(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        assert (await api.get("/executors"))["items"] == []
        seat = api.seats.seat(session, api.workspace)
        await seat.up()
        [shown] = (await api.get("/executors"))["items"]
        assert (shown["session_id"], shown["state"], shown["launcher"]) == (session.id, "live", "local")
        assert (shown["containment"], shown["sandbox"], shown["output"]) == ("bwrap", "off", ["ready to work"])
        assert "token" not in json.dumps(shown)


def test_memory_is_that_of_a_whole_tree_of_processes() -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs /proc")
    pid = os.getpid()
    assert memory_of([pid])[pid] > 1 << 20
    assert memory_of([]) == {}


async def test_storage_is_told_by_kind(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries())
        session.blobs.put(b"x" * 50_000)
        told = await api.get("/storage")
        assert told["data"]["blobs"] >= 50_000
        assert told["data"]["logs"] > 0
        assert told["worktrees"] == {}


async def test_without_a_session_manager_nothing_is_left_over(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        assert await api.ask("POST", "/gc") == (200, {"dry_run": False, "items": []})
        assert (await api.ask("POST", "/gc", {"dry_run": "yes"}))[0] == 400


async def test_the_start_is_told(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        told = await api.get("/recovery")
        assert (told["manager"], told["executors"], told["damaged_root_records"]) == (None, [], 0)


# --- Changes ------------------------------------------------------------------------------------------------------


async def test_changes_are_streamed_to_who_may_see_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.daemon.listing.WATCH_SECONDS", 0.01)
    async with serving(tmp_path) as api, over_a_socket(api.app) as client:
        own, owner = await api.issue("runs")
        headers = [("Authorization", f"Bearer {own}")]
        await api.get("/sessions")
        async with client.open_stream("GET", "/agentd/v1/events", headers=headers) as stream:
            events = stream.events()
            with trio.fail_after(10):
                api.session("runs", *job_entries(job="job-2"), owner="somebody else")
                mine = api.session("runs", *job_entries(), owner=owner)
                seen: dict[str, Any] = {}
                while len(seen) < 2:
                    event = await anext(events)
                    seen[event.name] = json.loads(event.data)
                assert (seen["session"]["id"], seen["job"]["id"]) == (mine.id, "job-1")
                append(mine, *asking())
                while (event := await anext(events)).name != "ask":
                    continue
                assert json.loads(event.data)["state"] == "open"
                assert (await api.ask("DELETE", f"/sessions/{mine.id}"))[0] == 204
                while not json.loads((event := await anext(events)).data).get("gone"):
                    continue
                assert json.loads(event.data)["id"] == mine.id


async def test_executors_are_among_the_changes(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        events = api.app.events
        before = events.last
        await api.seats.seat(api.session(), api.workspace).up()
        frames, _ = events.read(before, None)
        states = [json.loads(each.data)["state"] for each in decoded(frames) if each.name == "executor"]
        assert states == ["starting", "live"]


def decoded(frames: bytes) -> list[sse.Event]:
    return sse.Decoder().feed(frames)


def quiet() -> Events:
    return Events(lambda: lambda: None, clock=lambda: 1000)


def test_a_cursor_of_an_earlier_daemon_gets_a_reset() -> None:
    events = quiet()
    events.publish("job", {"id": 1}, None)
    assert [each.name for each in decoded(events.read(5, None)[0])] == ["reset"]
    assert [each.name for each in decoded(events.read(events.last + 1, None)[0])] == ["reset"]
    assert [each.name for each in decoded(events.read(events.last - 1, None)[0])] == ["job"]
    assert events.read(events.last, None) == (b"", events.last)


def test_a_cursor_that_is_no_longer_kept_gets_a_reset() -> None:
    events = quiet()
    first = events.last
    for number in range(KEPT + 1):
        events.publish("job", {"id": number}, None)
    assert [each.name for each in decoded(events.read(first, None)[0])] == ["reset"]


def test_who_may_see_none_of_the_events_does_not_fall_behind() -> None:
    events = quiet()
    at = events.last
    for number in range(3 * KEPT):
        events.publish("job", {"id": number}, "somebody")
        frames, at = events.read(at, "somebody else")
        assert decoded(frames) == []
    assert at == events.last


# --- Errors -------------------------------------------------------------------------------------------------------


def test_a_bug_of_ours_says_no_more_than_that() -> None:
    answer = answer_error(RuntimeError("a secret"))
    told = json.loads(answer.body)
    assert (answer.status, set(told), set(told["error"])) == (500, {"error"}, {"code", "message", "details"})
    assert b"a secret" not in answer.body


def test_what_can_go_wrong_here_has_its_status() -> None:
    expected = {errors.SessionNotFound: 404, errors.Locked: 409, errors.ExecutorFailed: 503, errors.StoreFailed: 507}
    assert {kind: STATUS[kind] for kind in expected} == expected
