"""Jobs and asks over the admin API, with and without an executor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.daemon import asks as asks_module
from agentd.domain import Entry, Mode
from agentd.providers.scripted import call, reply
from agentd.store.home import SessionDir
from tests.adminapi import Api, append, asking, job_entries, serving


async def test_asks_of_every_face_are_listed(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        one = api.session("run", *job_entries(), *asking())
        two = api.session("agent", *job_entries(job="job-2"), *asking("job-2", "ask-2"))
        listed = (await api.get("/asks?state=open"))["items"]
        assert {(ask["id"], ask["session_id"], ask["face"]) for ask in listed} == {
            ("ask-1", one.id, "run"),
            ("ask-2", two.id, "agent"),
        }
        assert (await api.get("/asks/ask-1"))["input"] == {"about": "a"}
        assert (await api.get("/asks?state=settled"))["items"] == []


async def test_an_ask_whose_executor_is_gone_is_settled_and_the_job_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        api.says("It is written.")
        status, told = await api.ask("POST", "/asks/ask-1", {"decision": "allow", "text": "go ahead"})
        assert (status, told) == (200, {"id": "ask-1", "decision": "allow"})
        settled = await api.get("/asks/ask-1")
        assert (settled["state"], settled["decision"], settled["reason"]) == ("settled", "allow", "go ahead")
        assert (await api.job_in(session, "completed"))["id"] == "job-1"
        [finished] = [record for record in await records(api, session) if record["type"] == "tool.finished"]
        assert finished["data"]["ok"]


async def records(api: Api, session: SessionDir) -> list[dict[str, Any]]:
    page = await api.get(f"/sessions/{session.id}/log?limit=500")
    return list(page["items"])


async def test_an_ask_whose_executor_lives_is_settled_by_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session()
        api.says(reply(call("Write", about="a")), "Done.")
        await api.ask("POST", f"/sessions/{session.id}/message", {"text": "write it"})
        await api.job_in(session, "waiting")
        [ask] = (await api.get("/asks?state=open"))["items"]
        assert (await api.ask("POST", f"/asks/{ask['id']}", {"decision": "always"}))[0] == 200
        await api.job_in(session, "completed")
        assert api.seats.seat(session, api.workspace).launches == 1


@pytest.mark.parametrize("alive", [False, True])
async def test_of_two_answers_at_once_one_wins_and_the_other_is_told_which(tmp_path: Path, alive: bool) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        api.says("Done.", "Done.")
        if alive:
            await api.seats.seat(session, api.workspace).up()
        told: list[tuple[int, Any]] = []

        async def settle(decision: str) -> None:
            told.append(await api.ask("POST", "/asks/ask-1", {"decision": decision}))

        async with trio.open_nursery() as nursery:
            for decision in ("allow", "deny", "always", "deny"):
                nursery.start_soon(settle, decision)
        [winner] = [answer for status, answer in told if status == 200]
        losers = [answer["error"] for status, answer in told if status == 409]
        assert len(losers) == 3
        assert {(each["code"], each["details"]["decision"]) for each in losers} == {
            ("ASK_SETTLED", winner["decision"]),
        }
        assert (await api.get("/asks/ask-1"))["decision"] == winner["decision"]


async def test_what_is_always_allowed_is_remembered_by_the_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        api.says(reply(call("Write", about="b")), "Done.")
        await api.ask("POST", "/asks/ask-1", {"decision": "always"})
        await api.job_in(session, "completed")
        assert len((await api.get("/asks"))["items"]) == 1


@pytest.mark.parametrize(
    "body", [{}, {"decision": "perhaps"}, {"decision": "answer"}, {"decision": "deny", "updated_input": {}}, b"["]
)
async def test_an_answer_that_an_ask_does_not_take_is_refused(tmp_path: Path, body: Any) -> None:
    async with serving(tmp_path) as api:
        api.session("run", *job_entries(), *asking())
        assert (await api.ask("POST", "/asks/ask-1", body))[0] == 400
        assert (await api.get("/asks/ask-1"))["state"] == "open"


def questioning() -> list[Entry]:
    """It has begun, and asks a person something."""
    started, message, opened = asking()
    given = {"question": "Which?", "options": ["A", "B"]}
    message.data["content"][0] |= {"name": "AskUserQuestion", "input": given}
    opened.data.update(kind="question", tool="AskUserQuestion", input=given, question="Which?", options=["A", "B"])
    return [started, message, opened]


@pytest.mark.parametrize("alive", [False, True])
async def test_a_question_takes_an_answer_in_words(tmp_path: Path, alive: bool) -> None:
    async with serving(tmp_path) as api:
        session = api.session("agent", *job_entries(mode=Mode.QUERY), *questioning())
        api.says("Then C.")
        if alive:
            await api.seats.seat(session, api.workspace).up()
        for body in ({"decision": "allow"}, {"decision": "answer", "text": " "}):
            assert (await api.ask("POST", "/asks/ask-1", body))[0] == 400
        assert await api.ask("POST", "/asks/ask-1", {"decision": "answer", "text": "C, of course"}) == (
            200,
            {"id": "ask-1", "decision": "answer"},
        )
        await api.job_in(session, "completed")
        transcript = await api.get(f"/sessions/{session.id}/transcript")
        [result] = [item for item in transcript["items"] if item["role"] == "tool"]
        assert result["content"][0]["text"] == "C, of course"


@pytest.mark.parametrize("alive", [False, True])
async def test_a_call_may_be_allowed_with_another_input(tmp_path: Path, alive: bool) -> None:
    async with serving(tmp_path) as api:
        session = api.session("agent", *job_entries(), *asking())
        api.says("Done.")
        if alive:
            await api.seats.seat(session, api.workspace).up()
        body = {"decision": "allow", "updated_input": {"about": "another"}}
        assert (await api.ask("POST", "/asks/ask-1", body))[0] == 200
        await api.job_in(session, "completed")
        transcript = await api.get(f"/sessions/{session.id}/transcript")
        [result] = [item for item in transcript["items"] if item["role"] == "tool"]
        assert result["content"][0]["text"] == "saw another"


async def test_there_is_no_such_ask_or_job(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for path, code in (("/asks/none", "ASK_NOT_FOUND"), ("/jobs/none", "JOB_NOT_FOUND")):
            status, told = await api.ask("GET", path)
            assert (status, told["error"]["code"]) == (404, code)
        assert (await api.ask("POST", "/asks/none", {"decision": "allow"}))[0] == 404


async def test_an_ask_that_nobody_answers_in_time_is_refused_without_an_executor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asks_module, "EXPIRY_SECONDS", 0.01)
    async with serving(tmp_path) as api:
        *others, opened = asking()
        opened.data["deadline"] = 1
        session = api.session("run", *job_entries(), *others, opened)
        api.says("I was not allowed to.")
        await api.job_in(session, "completed")
        settled = await api.get("/asks/ask-1")
        assert (settled["decision"], settled["by"]) == ("deny", "timeout")


async def test_jobs_of_every_face_are_listed(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries("Fix it."), *asking())
        [job] = (await api.get("/jobs?state=waiting,running&face=run"))["items"]
        assert (job["session_id"], job["title"], job["mode"], job["state"]) == (
            *(session.id, "Fix it."),
            *("code", "waiting"),
        )
        assert job == await api.get("/jobs/job-1")
        assert (await api.get("/jobs?state=completed"))["items"] == []


# --- The start of a daemon ----------------------------------------------------------------------------------------


async def test_what_was_at_work_in_place_is_interrupted_at_the_start_and_what_waits_waits(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        *begun, _ = asking("job-2", "ask-2")
        waiting = api.session("run", *job_entries(), *asking())
        working = api.session("run", *job_entries(job="job-2"), *begun)
    async with serving(tmp_path) as api:
        job = await api.job_in(working, "interrupted")
        assert job["error"]["code"] == "INTERRUPTED"
        assert (await api.job_in(waiting, "waiting"))["id"] == "job-1"
        assert (await api.get("/recovery"))["interrupted"] == [working.id]


async def test_what_was_settled_before_the_daemon_died_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        session = api.session("run", *job_entries(), *asking())
        settled = {"id": "ask-1", "decision": "allow", "reason": "", "by": "client"}
        append(session, Entry("ask.settled", settled, "job-1"))
    async with serving(tmp_path, "Done.") as api:
        await api.job_in(session, "completed")
