"""Queries, what continues and steers them, and clients that leave: the agent API over engines in this process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agentd.providers.scripted import Hang, call, reply
from tests.agentserver import KEY, OTHER, first, serving

UNKNOWN = "00000000-0000-4000-8000-000000000000"
ASKING = reply("May I?", call("Write", about="a"))
RUN = "/api/v1/query"


def is_over(record: Any) -> bool:
    return bool(record["status"] != "active")


async def test_a_query_is_a_stream_of_events_in_a_session_of_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Let me look.", call("Read", about="x")), "It is empty.")
        events = await server.run(prompt="What is in x?")
        init, result = first(events, "init"), first(events, "result")
        assert init["cwd"] == str(server.workspace)
        assert result["result"] == "It is empty."
        record = await server.record(init["session_id"])
        assert (record["status"], record["title"], record["model"]) == ("completed", "What is in x?", "sonnet")
        assert record["total_turns"] == result["num_turns"] == 2


async def test_a_session_is_there_and_active_right_after_init(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            session = (await stream.until("init"))["session_id"]
            assert (await server.record(session))["status"] == "active"


async def test_events_have_ids_at_which_a_client_that_was_cut_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream(detach=True) as stream:
            session = (await stream.until("init"))["session_id"]
        async with server.stream(f"/api/v1/sessions/{session}/events", method="GET", last=stream.ids[-1]) as rest:
            await rest.until("question")
            await server.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "yes"})
            await rest.until("done")
        page = await server.get(f"/api/v1/sessions/{session}/events?after={stream.ids[-1]}")
        assert [(each["event"], each["data"]) for each in page["events"]] == rest.events
        assert [name for name, _ in rest.events].count("init") == 0


async def test_a_single_query_is_one_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says("Paris")
        status, told = await server.ask("POST", "/api/v1/query/single", {"prompt": "Capital?"})
        assert (status, told["result"], told["is_error"]) == (200, "Paris", False)
        assert (await server.record(told["session_id"]))["status"] == "completed"


async def test_nobody_can_be_asked_in_a_single_query(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "I was not allowed to.")
        _, told = await server.ask("POST", "/api/v1/query/single", {"prompt": "Write it."})
        assert told["result"] == "I was not allowed to."
        assert (await server.get("/api/v1/asks"))["asks"] == []


async def test_a_single_query_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    async with serving(tmp_path, request_seconds=0.2) as server:
        server.says(reply("Hm.", Hang()))
        status, told = await server.ask("POST", "/api/v1/query/single", {"prompt": "Think."})
        assert (status, told["error"]["code"]) == (504, "REQUEST_TIMEOUT")
        [record] = (await server.get("/api/v1/sessions"))["sessions"]
        assert (await server.until(record["id"], is_over))["status"] == "completed"


async def test_a_resumed_session_knows_what_was_said_and_keeps_its_settings(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session("Noted.", prompt="Remember 42.", permission_mode="plan", env={"A": "secret"})
        server.says("It was 42.")
        events = await server.run(f"/api/v1/sessions/{session}/resume", prompt="Which number?")
        init = first(events, "init")
        assert (init["session_id"], init["permission_mode"]) == (session, "plan")
        assert [message.text for message in server.model.requests[-1].messages] == [
            "Remember 42.",
            "Noted.",
            "Which number?",
        ]
        found = await server.app.sessions.find(session)
        spec = await server.app.sessions.last_spec(found)
        assert spec is not None
        assert spec.env == {"A": "secret"}
        assert b"secret" not in server.app.sessions.directory(session).log_path.read_bytes()


async def test_a_query_may_name_the_session_that_it_continues(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session()
        server.says("Again.")
        assert first(await server.run(session_id=session), "init")["session_id"] == session


async def test_a_query_in_a_session_that_is_not_there_fails_in_its_events(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        events = await server.run(session_id=UNKNOWN)
        assert [name for name, _ in events] == ["init", "error", "result", "done"]
        assert first(events, "error")["code"] == "SESSION_NOT_FOUND"
        status, told = await server.ask("POST", "/api/v1/query/single", {"prompt": "x", "session_id": UNKNOWN})
        assert (status, told["is_error"], told["error"]["code"]) == (200, True, "SESSION_NOT_FOUND")
        assert (await server.get("/api/v1/sessions"))["total"] == 0


async def test_the_latest_session_of_the_same_directory_and_key_is_continued(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "sub").mkdir()
        await server.session()
        latest = await server.session()
        await server.session(cwd="sub")
        await server.session(key=OTHER)
        server.says("Go on.")
        events = await server.run(continue_conversation=True)
        assert first(events, "init")["session_id"] == latest
        server.says("Something new.")
        events = await server.run(continue_conversation=True, key=OTHER, cwd="sub")
        assert first(events, "init")["session_id"] != latest


async def test_a_session_follows_its_query_to_another_directory(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "sub").mkdir()
        session = await server.session()
        server.says("Here.")
        events = await server.run(f"/api/v1/sessions/{session}/resume", cwd="sub")
        assert first(events, "init")["cwd"] == str(server.workspace / "sub")
        [seat] = server.seats
        assert (seat.workspace, seat.launches) == (server.workspace / "sub", 2)
        assert (await server.record(session))["cwd"] == str(server.workspace / "sub")


async def test_a_session_that_is_at_work_is_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.faces.agent.app.PATIENCE_SECONDS", 0.2)
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            session = (await stream.until("init"))["session_id"]
            answer = await server.answer("POST", f"/api/v1/sessions/{session}/resume", {"prompt": "and?"})
            assert answer.status == 409
            assert json.loads(answer.body)["detail"] == f"Session '{session}' is currently in use"
            assert dict(answer.headers)["Retry-After"]


async def test_a_session_that_ends_in_time_is_waited_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()), "Second.")
        async with server.stream() as stream, trio.open_nursery() as nursery:
            session = (await stream.until("init"))["session_id"]
            nursery.start_soon(server.interrupt_soon, session)
            events = await server.run(f"/api/v1/sessions/{session}/resume", prompt="and?")
        assert first(events, "result")["result"] == "Second."


# --- Forks --------------------------------------------------------------------------------------------------------


async def test_a_fork_knows_what_was_said_and_leaves_its_parent_alone(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        parent = await server.session("Noted.", prompt="Remember 42.")
        before = await server.record(parent)
        server.says("84.")
        events = await server.run(f"/api/v1/sessions/{parent}/fork", prompt="Twice that?", model="sonnet")
        child = first(events, "init")["session_id"]
        assert [message.text for message in server.model.requests[-1].messages] == [
            "Remember 42.",
            "Noted.",
            "Twice that?",
        ]
        record = await server.record(child)
        assert (record["parent_session_id"], record["total_turns"], record["title"]) == (parent, 1, "Twice that?")
        assert child != parent
        assert await server.record(parent) == before


async def test_a_session_that_is_at_work_can_be_forked(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        parent = await server.session("Noted.", prompt="Remember 42.")
        server.says(ASKING)
        async with server.stream(f"/api/v1/sessions/{parent}/resume", prompt="Write it down.") as stream:
            await stream.until("question")
            server.says("84.")
            events = await server.run("/api/v1/query", session_id=parent, fork_session=True, prompt="Twice that?")
            assert [message.text for message in server.model.requests[-1].messages] == [
                "Remember 42.",
                "Noted.",
                "Twice that?",
            ]
            assert first(events, "done") == {"reason": "completed"}
            assert (await server.record(parent))["status"] == "active"


# --- Steering -----------------------------------------------------------------------------------------------------


async def test_an_interrupted_run_says_so_and_can_be_resumed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()), "Second.")
        async with server.stream() as stream:
            session = (await stream.until("init"))["session_id"]
            path = f"/api/v1/sessions/{session}/interrupt"
            assert await server.ask("POST", path) == (200, {"status": "interrupted", "session_id": session})
            result = await stream.until("result")
            assert (result["stop_reason"], result["is_complete"], result["is_error"]) == ("interrupted", False, False)
            assert await stream.until("done") == {"reason": "interrupted"}
        assert (await server.ask("POST", path))[0] == 404
        assert (await server.record(session))["status"] == "completed"
        await server.run(f"/api/v1/sessions/{session}/resume")


@pytest.mark.parametrize(
    ("answer", "tool"),
    [
        ("Yes, proceed with the operation", "saw a"),
        ("OK", "saw a"),
        ("always", "saw a"),
        ("No, not that file", "not that file"),
        ("yesterday", "yesterday"),
    ],
)
async def test_words_settle_a_permission(tmp_path: Path, answer: str, tool: str) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream() as stream:
            question = await stream.until("question")
            assert (question["kind"], question["tool_name"]) == ("permission", "Write")
            path = f"/api/v1/sessions/{question['session_id']}/answer"
            told = await server.ask("POST", path, {"answer": answer})
            assert told == (200, {"status": "accepted", "session_id": question["session_id"]})
            results = await stream.until("message")
            assert tool in results["content"][0]["content"]
            await stream.until("done")


async def test_a_question_is_answered_in_the_words_of_the_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", call("AskUserQuestion", question="Which?", options=["A", "B"])), "Then B.")
        async with server.stream() as stream:
            question = await stream.until("question")
            assert (question["question"], question["options"]) == ("Which?", ["A", "B"])
            body = {"answer": "B, please", "question_id": question["question_id"]}
            assert (await server.ask("POST", f"/api/v1/sessions/{question['session_id']}/answer", body))[0] == 200
            assert (await stream.until("message"))["content"][0]["content"] == "B, please"
            await stream.until("done")


async def test_an_answer_may_come_before_its_question(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, reply("Hm.", call("AskUserQuestion", question="Which?")), "Then B.")
        async with server.stream() as stream:
            question = await stream.until("question")
            session = question["session_id"]
            ask = (await server.get("/api/v1/asks"))["asks"][0]["id"]
            await server.app.sessions.control(session, answer="B")  # as if nothing was open
            await server.ask("POST", f"/api/v1/asks/{ask}", {"decision": "deny", "reason": "not now"})
            assert "not now" in (await stream.until("message"))["content"][0]["content"]
            await stream.until("done")
        results = [data for name, data in stream.events if name == "message" and data["role"] == "user"]
        assert results[-1]["content"][0]["content"] == "B"


async def test_another_permission_mode_settles_what_waits_and_is_kept(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.", "Later.")
        async with server.stream() as stream:
            session = (await stream.until("question"))["session_id"]
            body = {"type": "permission_mode_change", "permission_mode": "bypassPermissions"}
            status, told = await server.ask("POST", f"/api/v1/sessions/{session}/control", body)
            assert (status, told["permission_mode"]) == (200, "bypassPermissions")
            await stream.until("done")
        events = await server.run(f"/api/v1/sessions/{session}/resume")
        assert first(events, "init")["permission_mode"] == "bypassPermissions"


@pytest.mark.parametrize(
    ("action", "body"),
    [
        ("interrupt", None),
        ("answer", {"answer": "yes"}),
        ("control", {"type": "permission_mode_change", "permission_mode": "plan"}),
    ],
)
async def test_what_does_not_run_cannot_be_steered(tmp_path: Path, action: str, body: Any) -> None:
    async with serving(tmp_path) as server:
        session = await server.session()
        for name in (session, UNKNOWN, "no-uuid"):
            status, told = await server.ask("POST", f"/api/v1/sessions/{name}/{action}", body)
            assert (status, told["detail"]) == (404, f"Session {name} not found")


# --- Clients that leave -------------------------------------------------------------------------------------------


async def test_a_run_is_stopped_when_its_client_leaves(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            session = (await stream.until("init"))["session_id"]
        record = await server.until(session, is_over)
        assert record["status"] == "completed"


async def test_a_detached_run_goes_on_without_its_client(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream(detach=True) as stream:
            session = (await stream.until("question"))["session_id"]
        assert (await server.record(session))["status"] == "active"
        await server.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "yes"})
        await server.until(session, is_over)
        page = await server.get(f"/api/v1/sessions/{session}/events?after=0")
        assert page["events"][-1]["data"] == {"reason": "completed"}


async def test_who_looks_on_and_leaves_stops_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream() as stream:
            session = (await stream.until("question"))["session_id"]
            async with server.stream(f"/api/v1/sessions/{session}/events", method="GET") as other:
                await other.until("question")
            await server.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "yes"})
            assert await stream.until("done") == {"reason": "completed"}


async def test_a_single_query_is_stopped_when_its_client_leaves(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        with trio.move_on_after(0.5):
            headers = [("X-API-Key", KEY)]
            await server.client.request("POST", "/api/v1/query/single", headers=headers, body=b'{"prompt": "Think."}')
        [record] = (await server.get("/api/v1/sessions"))["sessions"]
        assert (await server.until(record["id"], is_over))["status"] == "completed"


# --- Room and stopping --------------------------------------------------------------------------------------------


async def test_an_idle_executor_makes_room_and_one_at_work_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.daemon.inplace.ROOM_SECONDS", 0.5)
    async with serving(tmp_path, most=1) as server:
        idle = await server.session()
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            await stream.until("init")
            assert [seat.state for seat in server.seats if seat.session.id == idle] == ["absent"]
            answer = await server.answer("POST", RUN, {"prompt": "more"})
            assert (answer.status, dict(answer.headers)["Retry-After"]) == (503, "5")
            assert json.loads(answer.body)["error"]["code"] == "SERVICE_UNAVAILABLE"
            assert (await server.get("/api/v1/sessions"))["total"] == 2  # of the refused query nothing is left
        assert server.app.sessions.in_place.taken == 1


async def test_who_waits_for_room_gets_it_when_a_run_ends(tmp_path: Path) -> None:
    async with serving(tmp_path, most=1) as server:
        server.says(reply("Hm.", Hang()), "Mine.")
        async with server.stream() as stream, trio.open_nursery() as nursery:
            session = (await stream.until("init"))["session_id"]
            nursery.start_soon(server.interrupt_soon, session)
            server.says("Mine.")
            assert first(await server.run(), "result")["result"] == "Mine."


async def test_a_server_that_stops_begins_nothing_and_lets_runs_end(tmp_path: Path) -> None:
    async with serving(tmp_path, grace_seconds=5.0) as server:
        server.says(
            reply("Hm.", call("AskUserQuestion", question="Which?")), reply("So.", call("Read", about="x")), "B."
        )
        async with server.stream() as stream:
            session = (await stream.until("question"))["session_id"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.app.stop)
                await trio.testing.wait_all_tasks_blocked(0.01)
                for path in (RUN, "/api/v1/query/single", f"/api/v1/sessions/{session}/fork"):
                    status, told = await server.ask("POST", path, b"not even JSON")
                    assert (status, told["error"]["details"]) == (503, {"retry_after": 30})
                await server.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "B"})
                assert await stream.until("done") == {"reason": "completed"}


async def test_what_does_not_end_in_time_is_interrupted_when_the_server_stops(tmp_path: Path) -> None:
    async with serving(tmp_path, grace_seconds=0.1) as server:
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            await stream.until("init")
            await server.app.stop()
            assert await stream.until("done") == {"reason": "interrupted"}


async def test_a_run_that_waits_for_a_person_waits_through_a_stop(tmp_path: Path) -> None:
    async with serving(tmp_path, grace_seconds=0.1) as server:
        server.says(ASKING)
        async with server.stream() as stream:
            session = (await stream.until("question"))["session_id"]
            await server.app.stop()
        assert (await server.record(session))["status"] == "active"
