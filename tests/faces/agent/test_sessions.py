"""Sessions of the agent API: lists, records, titles, transcripts, checkpoints, asks; and a daemon that starts again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.domain import Entry, JobSpec, Mode
from agentd.faces.agent.keys import ApiKeys
from agentd.providers.scripted import Hang, call, reply
from agentd.store.home import make_home
from tests.adminapi import append, asking, job_entries
from tests.agentserver import KEY, first, serving

ASKING = reply("May I?", call("Write", about="a"))
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
RECORD = {
    *("id", "status", "model", "created_at", "updated_at", "total_turns", "total_cost_usd", "parent_session_id"),
    *("title", "cwd", "permission_mode", "user", "mode", "project_id", "tags", "last_message_at"),
}


async def test_a_record_says_what_the_session_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session(prompt="Look around.", permission_mode="acceptEdits", user="u-7", model="sonnet")
        record = await server.record(session)
        assert set(record) == RECORD
        assert INSTANT.fullmatch(record["created_at"])
        assert record["created_at"] <= record["updated_at"]
        known = (record["permission_mode"], record["user"], record["model"], record["parent_session_id"])
        assert known == ("acceptEdits", "u-7", "sonnet", None)


async def test_a_run_that_failed_leaves_its_session_in_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says()
        events = await server.run()
        assert first(events, "done") == {"reason": "error"}
        assert (await server.record(first(events, "init")["session_id"]))["status"] == "error"


@pytest.mark.parametrize("name", ["nonexistent-session-id", "00000000-0000-4000-8000-000000000000", "%20", "a%2Fb"])
async def test_a_session_that_is_not_there_is_not_found_whatever_its_name(tmp_path: Path, name: str) -> None:
    async with serving(tmp_path) as server:
        status, told = await server.ask("GET", f"/api/v1/sessions/{name}")
        assert (status, told["error"]["code"]) == (404, "SESSION_NOT_FOUND")


async def test_pages_have_the_newest_first_and_the_true_total(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        made = [await server.session(prompt=f"Task {number}") for number in range(5)]
        told = await server.get("/api/v1/sessions?page=2&page_size=2")
        assert [each["id"] for each in told["sessions"]] == [made[2], made[1]]
        assert (told["total"], told["page"], told["page_size"]) == (5, 2, 2)
        beyond = await server.get("/api/v1/sessions?page=9")
        assert (beyond["sessions"], beyond["total"], beyond["page_size"]) == ([], 5, 50)


async def test_lists_can_be_narrowed(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        done = await server.session(prompt="Fix the Parser")
        server.says()
        failed = first(await server.run(prompt="Fix 100% of it"), "init")["session_id"]
        server.says(ASKING)
        async with server.stream(prompt="Write") as stream:
            active = (await stream.until("question"))["session_id"]

            async def listed(query: str) -> list[str]:
                return [each["id"] for each in (await server.get(f"/api/v1/sessions?{query}"))["sessions"]]

            assert await listed("status=completed") == [done]
            assert await listed("status=error") == [failed]
            assert await listed("status=active") == [active]
            assert await listed("search=pars") == [done]
            assert await listed("search=100%25") == [failed]
            assert await listed("search=Fix&status=error&mode=code") == [failed]
            for query in ("tags=x", "project_id=p", "mode=brainstorm", "search=nothing"):
                assert await listed(query) == []


@pytest.mark.parametrize("query", ["page=0", "page_size=101", "page_size=many", "page=1.5", "status=gone"])
async def test_a_query_of_a_list_that_does_not_fit_is_told_where(tmp_path: Path, query: str) -> None:
    async with serving(tmp_path) as server:
        status, told = await server.ask("GET", f"/api/v1/sessions?{query}")
        assert (status, told["detail"][0]["loc"]) == (422, ["query", query.partition("=")[0]])


async def test_a_title_can_be_changed_and_is_what_is_searched(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session(prompt="hello")
        status, told = await server.ask("PATCH", f"/api/v1/sessions/{session}", {"title": "The parser"})
        assert (status, told["title"]) == (200, "The parser")
        for words, total in (("parser", 1), ("hello", 0)):
            assert (await server.get(f"/api/v1/sessions?search={words}"))["total"] == total
        server.says("Still here.")
        await server.run(f"/api/v1/sessions/{session}/resume")
        assert (await server.record(session))["title"] == "The parser"


async def test_a_deleted_session_is_gone_and_its_files_are_not(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "mine.txt").write_text("mine")
        session = await server.session()
        assert (await server.answer("DELETE", f"/api/v1/sessions/{session}")).status == 204
        for method in ("GET", "DELETE"):
            assert (await server.ask(method, f"/api/v1/sessions/{session}"))[0] == 404
        assert (await server.get("/api/v1/sessions"))["total"] == 0
        assert (server.workspace / "mine.txt").read_text() == "mine"


async def test_a_session_that_is_at_work_keeps_its_title_and_stays(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        async with server.stream() as stream:
            session = (await stream.until("init"))["session_id"]
            for method, body in (("PATCH", {"title": "x"}), ("DELETE", None)):
                status, told = await server.ask(method, f"/api/v1/sessions/{session}", body)
                assert (status, told["error"]["code"]) == (409, "SESSION_LOCKED")


@pytest.mark.parametrize(("query", "kind"), [("", "application/json"), ("?format=md", "text/markdown")])
async def test_a_conversation_can_be_taken_along(tmp_path: Path, query: str, kind: str) -> None:
    async with serving(tmp_path) as server:
        session = await server.session("Some words.", prompt="Say something.")
        answer = await server.answer("GET", f"/api/v1/sessions/{session}/transcript{query}")
        assert str(answer.content_type).startswith(kind)
        assert b"Say something." in answer.body
        assert b"Some words." in answer.body
        assert (await server.ask("GET", f"/api/v1/sessions/{session}/transcript?format=pdf"))[0] == 422


async def test_events_of_a_session_are_pages_for_who_asks_behind_an_event(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session()
        whole = await server.get(f"/api/v1/sessions/{session}/events?after=0")
        assert [each["event"] for each in whole["events"]] == ["init", "message", "result", "done"]
        page = await server.get(f"/api/v1/sessions/{session}/events?after=0&limit=1")
        rest = await server.get(f"/api/v1/sessions/{session}/events?after={page['after']}")
        assert page["events"] + rest["events"] == whole["events"]
        for query in ("after=x", "after=0&limit=0", "after=0&limit=x"):
            status, told = await server.ask("GET", f"/api/v1/sessions/{session}/events?{query}")
            assert (status, told["detail"][0]["loc"][0]) == (422, "query")


# --- Checkpoints --------------------------------------------------------------------------------------------------


async def test_a_session_without_checkpoints_has_an_empty_list_and_none_to_go_back_to(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        session = await server.session()
        assert await server.get(f"/api/v1/sessions/{session}/checkpoints") == {"checkpoints": []}
        body = {"checkpoint_id": "some-checkpoint"}
        status, told = await server.ask("POST", f"/api/v1/sessions/{session}/rewind", body)
        assert (status, told["detail"]) == (400, "Checkpoint 'some-checkpoint' is not valid for session")
        assert told["error"]["code"] == "INVALID_CHECKPOINT"


# --- Asks ---------------------------------------------------------------------------------------------------------


async def test_what_waits_is_listed_until_it_is_settled(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream() as stream:
            session = (await stream.until("question"))["session_id"]
            [ask] = (await server.get("/api/v1/asks"))["asks"]
            assert (ask["session_id"], ask["kind"], ask["tool_name"]) == (session, "permission", "Write")
            assert INSTANT.fullmatch(ask["deadline"])
            path = f"/api/v1/asks/{ask['id']}"
            assert await server.ask("POST", path, {"decision": "allow"}) == (
                200,
                {"id": ask["id"], "decision": "allow"},
            )
            await stream.until("done")
        assert (await server.get("/api/v1/asks"))["asks"] == []
        status, told = await server.ask("POST", path, {"decision": "deny"})
        assert (status, told["error"]["code"], told["error"]["details"]) == (409, "ASK_SETTLED", {"decision": "allow"})
        assert (await server.ask("POST", "/api/v1/asks/none", {"decision": "deny"}))[0] == 404


async def test_a_call_may_be_allowed_with_another_input(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING, "Done.")
        async with server.stream() as stream:
            await stream.until("question")
            [ask] = (await server.get("/api/v1/asks"))["asks"]
            body = {"decision": "allow", "updated_input": {"about": "another"}}
            assert (await server.ask("POST", f"/api/v1/asks/{ask['id']}", body))[0] == 200
            assert (await stream.until("message"))["content"][0]["content"] == "saw another"


@pytest.mark.parametrize("body", [{"decision": "answer"}, {"decision": "answer", "answer": "x"}, {"decision": "no"}])
async def test_a_decision_that_does_not_fit_settles_nothing(tmp_path: Path, body: Any) -> None:
    async with serving(tmp_path) as server:
        server.says(ASKING)
        async with server.stream() as stream:
            await stream.until("question")
            [ask] = (await server.get("/api/v1/asks"))["asks"]
            assert (await server.ask("POST", f"/api/v1/asks/{ask['id']}", body))[0] == 422
            assert len((await server.get("/api/v1/asks"))["asks"]) == 1


# --- A daemon that starts again -----------------------------------------------------------------------------------


def left_behind(root: Path, *entries: Entry) -> str:
    """A session of KEY whose daemon was killed."""
    home, workspace = make_home(root / "data"), root / "workspace"
    workspace.mkdir()
    session = home.create_session("agent", workspace, "")
    owner = ApiKeys([KEY], access=None).owner(KEY.encode())  # type: ignore[arg-type]
    opened = {"id": session.id, "face": "agent", "name": "", "workspace": str(workspace)}
    home.root_log.append([Entry("session.opened", opened | {"worktree": None, "owner": owner})])
    append(session, *entries)
    return session.id


def query_entries() -> list[Entry]:
    created, *rest = job_entries()
    spec = attrs.asdict(JobSpec(Mode.QUERY, "do it", face={"model": "sonnet", "cwd": "", "partials": False}))
    return [attrs.evolve(created, data={**created.data, "spec": spec}), *rest]


async def test_a_question_waits_for_its_answer_through_a_restart(tmp_path: Path) -> None:
    session = left_behind(tmp_path, *query_entries(), *asking())
    async with serving(tmp_path, "I wrote it.") as server:
        assert (await server.record(session))["status"] == "active"
        assert [ask["id"] for ask in (await server.get("/api/v1/asks"))["asks"]] == ["ask-1"]
        assert (await server.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "yes"}))[0] == 200
        async with server.stream(f"/api/v1/sessions/{session}/events", method="GET") as stream:
            assert (await stream.until("result"))["result"] == "I wrote it."
        assert (await server.until(session, lambda record: record["status"] != "active"))["status"] == "completed"


async def test_a_run_that_was_at_work_when_its_daemon_was_killed_is_an_error_and_can_be_resumed(tmp_path: Path) -> None:
    started, message, _ = asking()
    session = left_behind(tmp_path, *query_entries(), started, message)
    async with serving(tmp_path, "Where were we?") as server:
        assert (await server.record(session))["status"] == "error"
        events = await server.run(f"/api/v1/sessions/{session}/resume")
        assert first(events, "result")["result"] == "Where were we?"


async def test_an_accepted_query_is_run_by_the_next_daemon(tmp_path: Path) -> None:
    session = left_behind(tmp_path, *query_entries())
    async with serving(tmp_path, "Done at last.") as server:
        record = await server.until(session, lambda record: record["status"] != "active")
        assert (record["status"], record["total_turns"]) == ("completed", 1)


async def test_a_run_that_waits_can_be_interrupted_without_an_executor(tmp_path: Path) -> None:
    session = left_behind(tmp_path, *query_entries(), *asking())
    async with serving(tmp_path) as server:
        assert (await server.ask("POST", f"/api/v1/sessions/{session}/interrupt"))[0] == 200
        assert (await server.record(session))["status"] == "completed"
        assert all(seat.launches == 0 for seat in server.seats)


async def test_a_session_that_was_being_made_is_forgotten(tmp_path: Path) -> None:
    home = make_home(tmp_path / "data")
    opened = {"id": "00000000-0000-4000-8000-000000000000", "face": "agent", "name": "", "workspace": str(tmp_path)}
    home.root_log.append([Entry("session.opened", opened | {"worktree": None, "owner": "key-x"})])
    async with serving(tmp_path) as server:
        registry = server.app.sessions.registry
        assert (registry.open, registry.leaving) == ({}, {})


async def test_sessions_of_other_faces_are_not_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        other = await server.app.sessions.create(
            "runs", "", server.workspace, owner=server.app.keys.owner(KEY.encode())
        )
        assert (await server.ask("GET", f"/api/v1/sessions/{other.id}"))[0] == 404
        assert (await server.get("/api/v1/sessions"))["total"] == 0


async def test_the_service_says_what_it_is_and_how_it_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        root = await server.get("/", key=None)
        health = await server.get("/health", key=None)
        assert (root["service"], root["version"]) == ("claude-agent-api", health["version"])
        assert health["status"] == "ok"
        for name, backend in (("postgres", "sqlite"), ("redis", "in-process")):
            dependency = health["dependencies"][name]
            assert (dependency["status"], dependency["backend"]) == ("ok", backend)
            assert dependency["latency_ms"] >= 0
        assert await server.get("/api/v1/health", key=None) != {}


async def test_a_store_that_fails_degrades_the_service_and_the_answer_is_still_there(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.app.sessions.listing._index.close()
        (server.home.root / "index.db").unlink()
        (server.home.root / "index.db").mkdir()
        status, told = await server.ask("GET", "/health", key=None)
        assert (status, told["status"], told["dependencies"]["postgres"]["status"]) == (200, "degraded", "error")
        (server.home.root / "index.db").rmdir()


async def test_a_session_whose_directory_is_gone_says_so_and_goes_on_in_another(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        (server.workspace / "gone").mkdir()
        session = await server.session(cwd="gone")
        (server.workspace / "gone").rmdir()
        for verb in ("resume", "fork"):
            status, told = await server.ask("POST", f"/api/v1/sessions/{session}/{verb}", {"prompt": "x"})
            assert (status, told["detail"][0]["loc"]) == (422, ["body", "cwd"])
        server.says("Done.")
        await server.run(f"/api/v1/sessions/{session}/resume", cwd=str(server.workspace))
