"""The executor API, request by request, without a socket: health and jobs. The contract: executor.md."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
import trio

from agentd.providers.scripted import Hang, call, reply
from tests.executorapi import JOB, Api, code, serving
from tests.workshop import Workshop

# --- Who may ask --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/sessions", "/v1/nowhere"])
@pytest.mark.parametrize("token", ["", "Bearer wrong", "bearer secret", "Bearer secret ", "Bearer schlüssel"])
async def test_without_the_token_a_path_is_not_even_said_to_exist(workshop: Workshop, path: str, token: str) -> None:
    async with serving(workshop) as api:
        assert code(await api.ask("POST", path, b"no json", authorization=token)) == (401, "UNAUTHORIZED")


async def test_health_needs_no_token(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        live = await api.get("/health/live", authorization="")
        assert live == {"execId": api.app.exec_id, "version": live["version"], "protocolVersion": 1}
        assert (await api.get("/health/ready", authorization=""))["sessionId"] is None
        api.app.ready = False
        assert code(await api.ask("GET", "/health/ready")) == (503, "NOT_READY")


async def test_a_wrong_method_is_told_which_are_right(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("DELETE", "/v1/jobs")
        assert code(answer) == (405, "METHOD_NOT_ALLOWED")
        assert ("Allow", "GET, HEAD, OPTIONS, POST") in answer.headers


# --- Jobs ---------------------------------------------------------------------------------------------------------


async def test_a_job_is_running_when_it_is_answered_and_has_a_session(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        answer = await api.start()
        made = json.loads(answer.body)
        assert (answer.status, made["state"]) == (201, "RUNNING")
        assert (await api.get(f"/v1/jobs/{made['jobId']}"))["state"] == "RUNNING"
        assert (await api.get("/health/ready"))["sessionId"] == made["sessionId"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"plannerModel": None}, "plannerModel is required"),
        ({"plannerModel": "  "}, "plannerModel is required"),
        ({"plannerModel": 5}, "expected a string"),
        ({"taskInput": ""}, "taskInput is required"),
        ({"autoCommit": "yes"}, "$.autoCommit"),
        ({"preScan": 1}, "$.preScan"),
        (
            {"tags": {"mode": "ARCHITEKT"}},
            "mode ARCHITEKT is not known; the modes are ASK, SEARCH, CODE, ARCHITECT, LUTZ",
        ),
    ],
)
async def test_a_job_that_is_not_well_described_is_refused(
    workshop: Workshop, fields: dict[str, Any], message: str
) -> None:
    async with serving(workshop) as api:
        answer = await api.start(**fields)
        assert code(answer) == (400, "VALIDATION_ERROR")
        assert message in json.loads(answer.body)["message"]
        assert (await api.get("/v1/jobs"))["jobs"] == []


async def test_a_job_needs_a_key(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("POST", "/v1/jobs", JOB)
        assert json.loads(answer.body)["message"] == "Idempotency-Key header is required"


async def test_a_key_with_the_same_json_is_answered_with_the_first_job(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        first = json.loads((await api.start("a")).body)["jobId"]
        await api.finish(first)
        again = await api.ask("POST", "/v1/jobs", json.dumps(JOB, indent=3).encode(), idempotency_key="a")
        assert (again.status, json.loads(again.body)["jobId"]) == (200, first)
        assert code(await api.start("a", taskInput="Else.")) == (422, "IDEMPOTENCY_KEY_REUSED")


async def test_a_second_job_is_told_to_come_back(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        await api.start("a")
        answer = await api.start("b")
        assert code(answer) == (409, "JOB_IN_PROGRESS")
        assert ("Retry-After", "1") in answer.headers
        assert json.loads(answer.body)["details"]["activeJobId"] is None
        assert code(await api.ask("POST", "/v1/sessions", {"name": "x"})) == (409, "JOB_IN_PROGRESS")


async def test_an_unknown_model_is_accepted_and_fails_the_job(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        job = json.loads((await api.start(plannerModel="gpt-9")).body)["jobId"]
        status = await api.finish(job)
        events = await api.get(f"/v1/jobs/{job}/events")
        assert status["state"] == "FAILED"
        assert "MODEL_UNAVAILABLE: gpt-9" in status["error"]
        assert (events[-1]["type"], events[-1]["data"]) == ("ERROR", status["error"])


async def test_the_planner_model_of_a_code_job_is_not_looked_at(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        job = json.loads((await api.start(plannerModel="gpt-9", tags={"mode": "code"})).body)["jobId"]
        assert (await api.finish(job))["state"] == "COMPLETED"


async def test_a_completed_job_says_what_came_of_it(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        job = json.loads((await api.start()).body)["jobId"]
        status = await api.finish(job)
        events = await api.get(f"/v1/jobs/{job}/events?after=0")
        assert (status["state"], status["result"], status["progressPercent"]) == ("COMPLETED", "Hello.", 100)
        assert status["metadata"]["lastSeq"] == str(events[-1]["seq"])


async def test_a_cancelled_job_ends_cancelled_and_cancelling_again_changes_nothing(workshop: Workshop) -> None:
    workshop.says(reply(call("LS")))
    async with serving(workshop) as api:
        job = json.loads((await api.start()).body)["jobId"]
        answer = await api.ask("POST", f"/v1/jobs/{job}/cancel")
        told = json.loads(answer.body)
        assert (answer.status, told["cancelRequested"], told["state"]) == (202, True, "CANCELLING")
        assert (await api.finish(job))["state"] == "CANCELLED"
        assert json.loads((await api.ask("POST", f"/v1/jobs/{job}/cancel")).body)["cancelRequested"] is False


@pytest.mark.parametrize("path", ["", "/events", "/diff", "/cancel"])
async def test_an_unknown_job_is_not_found(workshop: Workshop, path: str) -> None:
    async with serving(workshop) as api:
        method = "POST" if path == "/cancel" else "GET"
        assert code(await api.ask(method, f"/v1/jobs/{uuid.uuid4()}{path}")) == (404, "JOB_NOT_FOUND")


async def test_outside_of_a_repository_there_is_no_diff(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        job = json.loads((await api.start()).body)["jobId"]
        await api.finish(job)
        assert code(await api.ask("GET", f"/v1/jobs/{job}/diff")) == (409, "NO_GIT")


# --- Events -------------------------------------------------------------------------------------------------------


async def finished_job(api: Api) -> str:
    job: str = json.loads((await api.start()).body)["jobId"]
    await api.finish(job)
    return job


async def test_events_are_numbered_from_one_without_gaps(workshop: Workshop) -> None:
    workshop.says(reply("Let me look.", call("Read", about="a")), "Fine.")
    async with serving(workshop) as api:
        job = await finished_job(api)
        events = await api.get(f"/v1/jobs/{job}/events")
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[0]["data"] == f"Job started: {job}"
        assert {"TOOL_CALL", "TOOL_OUTPUT", "LLM_TOKEN"} <= {event["type"] for event in events}


async def test_pages_of_every_size_join_to_the_same_events(workshop: Workshop) -> None:
    workshop.says(reply("Let me look.", *(call("Read", about=name) for name in "abc")), "Fine.")
    async with serving(workshop) as api:
        job = await finished_job(api)
        whole = await api.get(f"/v1/jobs/{job}/events")
        for size in range(1, len(whole) + 2):
            joined: list[Any] = []
            while page := await api.get(f"/v1/jobs/{job}/events?after={len(joined)}&limit={size}"):
                joined += page
            assert joined == whole


async def test_the_envelope_carries_structures_and_a_cursor(workshop: Workshop) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        job = await finished_job(api)
        envelope = await api.get(f"/v1/jobs/{job}/events?format=envelope&limit=4")
        assert envelope["nextAfter"] == 4
        assert envelope["events"][3]["data"]["token"] == "Hello."
        past = await api.get(f"/v1/jobs/{job}/events?format=envelope&after=500")
        assert past == {"events": [], "nextAfter": 500}


@pytest.mark.parametrize(
    "query", ["after=x", "after=", "limit=0", "limit=-1", "limit=x", "wait=61", "wait=x", "format=xml"]
)
async def test_a_query_that_makes_no_sense_is_refused(workshop: Workshop, query: str) -> None:
    workshop.says("Hello.")
    async with serving(workshop) as api:
        job = await finished_job(api)
        assert code(await api.ask("GET", f"/v1/jobs/{job}/events?{query}")) == (400, "VALIDATION_ERROR")


async def test_a_long_poll_answers_when_there_is_an_event(workshop: Workshop) -> None:
    workshop.says(reply("Hello.", Hang()))
    async with serving(workshop) as api:
        job = json.loads((await api.start()).body)["jobId"]
        with trio.fail_after(10):
            events = await api.get(f"/v1/jobs/{job}/events?after=3&wait=30")
        assert events[0]["data"] == "Hello."


# --- Around jobs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("path", ["/v1/jobs/", "/v1/jobs//events", "/v1/jobs//diff", "/v1/jobs//cancel"])
async def test_a_path_without_the_id_of_a_job_is_told_so(workshop: Workshop, path: str, method: str) -> None:
    async with serving(workshop) as api:
        answer = await api.ask(method, path, JOB, idempotency_key="k")
        assert (code(answer), json.loads(answer.body)["message"]) == ((400, "BAD_REQUEST"), "Invalid job path")
        assert code(await api.ask("GET", f"/v1/jobs/{uuid.uuid4()}/nothing")) == (404, "NOT_FOUND")


async def test_each_job_of_the_list_tells_the_number_of_its_last_event(workshop: Workshop) -> None:
    workshop.says("One.", "Two.")
    async with serving(workshop) as api:
        for key in "ab":
            await api.finish(json.loads((await api.start(key)).body)["jobId"])
        jobs = (await api.get("/v1/jobs"))["jobs"]
        pages = [await api.get(f"/v1/jobs/{job['jobId']}/events") for job in jobs]
    assert [job["metadata"]["lastSeq"] for job in jobs] == [str(page[-1]["seq"]) for page in pages]


async def test_a_long_list_of_jobs_leaves_others_their_turn(workshop: Workshop) -> None:
    workshop.says(*["Done."] * 5)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await trio.lowlevel.checkpoint()
            turns += 1

    async with serving(workshop) as api, trio.open_nursery() as nursery:
        for key in "abcde":
            await api.finish(json.loads((await api.start(key)).body)["jobId"])
        nursery.start_soon(other)
        await api.get("/v1/jobs")
        nursery.cancel_scope.cancel()
    assert turns >= 3


async def test_a_client_can_ask_whether_a_job_would_be_taken(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        status = await api.get("/v1/jobs/status")
        free = {"readyForJobSubmission": True, "activeJobId": None, "activeJobState": None}
        assert status == free | {"retryAfterMs": 0, "terminal": True}
        job = json.loads((await api.start()).body)["jobId"]
        status = await api.get("/v1/jobs/status")
        taken = {"readyForJobSubmission": False, "activeJobId": None, "activeJobState": "RUNNING"}
        assert status == taken | {"retryAfterMs": 1000, "terminal": False}
        assert (await api.get(f"/v1/jobs/{job}"))["executorReady"] is False
        told = json.loads((await api.ask("POST", f"/v1/jobs/{job}/cancel")).body)
        assert (told["activeJobId"], told["executorReady"]) == (job, False)
        assert (await api.finish(job))["executorReady"] is True
        told = json.loads((await api.ask("POST", f"/v1/jobs/{job}/cancel")).body)
        assert (told["activeJobId"], told["executorReady"]) == (None, True)


async def test_what_is_wrong_with_a_job_is_told_in_the_order_of_the_contract(workshop: Workshop) -> None:
    async def message(body: Any, **headers: str) -> str:
        return str(json.loads((await api.ask("POST", "/v1/jobs", body, **headers)).body)["message"])

    workshop.says("Hello.")
    async with serving(workshop) as api:
        unknown = str(uuid.uuid4())
        assert "Idempotency-Key" in await message(b"{", x_session_id="x")
        assert "X-Session-Id must be" in await message(b"{", idempotency_key="k", x_session_id="x")
        assert "JSON" in await message(b"{", idempotency_key="k", x_session_id=unknown)
        assert "plannerModel" in await message({"contextText": [" "]}, idempotency_key="k", x_session_id=unknown)
        wrong = JOB | {"contextText": [" "]}
        assert "contextText[0]" in await message(wrong, idempotency_key="k", x_session_id=unknown)
        assert "Unknown Session-Id" in await message(JOB, idempotency_key="k", x_session_id=unknown)
        job = json.loads((await api.start("k")).body)["jobId"]
        replayed = await api.ask("POST", "/v1/jobs", JOB, idempotency_key="k", x_session_id=unknown)
        assert (replayed.status, json.loads(replayed.body)["jobId"]) == (200, job)
