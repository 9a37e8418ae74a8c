"""Sessions over the executor API. The contract: executor.md, 4 and 5."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from agentd.providers.scripted import Hang, reply
from tests.executorapi import code, serving
from tests.workshop import Workshop


async def test_a_new_session_is_the_active_one(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        answer = await api.ask("POST", "/v1/sessions", {"name": "  My session "})
        made = json.loads(answer.body)
        assert (answer.status, made["name"]) == (201, "My session")
        assert (await api.get("/health/ready"))["sessionId"] == made["sessionId"]


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", {}, {"name": None}, {"name": 5}, {"name": " "}, {"name": "x" * 201}]
)
async def test_a_session_without_a_proper_name_is_refused(workshop: Workshop, body: Any) -> None:
    async with serving(workshop) as api:
        assert code(await api.ask("POST", "/v1/sessions", body)) == (400, "VALIDATION_ERROR")


async def test_sessions_are_listed_and_switched_between(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        first, second = [
            json.loads((await api.ask("POST", "/v1/sessions/", {"name": name})).body)["sessionId"] for name in "ab"
        ]
        assert (await api.get("/v1/sessions"))["currentSessionId"] == second
        answer = await api.ask("POST", "/v1/sessions/switch", {"sessionId": first})
        assert (answer.status, json.loads(answer.body)) == (200, {"sessionId": first, "name": "a"})
        listed = await api.get("/v1/sessions")
        assert listed["currentSessionId"] == first
        assert {each["name"] for each in listed["sessions"]} == {"a", "b"}
        assert {key for each in listed["sessions"] for key in each} == {
            *("id", "name", "created", "modified", "aiResponses", "totalTasks", "incompleteTasks")
        }
    async with serving(workshop) as api:
        assert (await api.get("/v1/sessions"))["currentSessionId"] == first


@pytest.mark.parametrize(
    ("named", "expected"),
    [("nonsense", (400, "VALIDATION_ERROR")), ("00000000-0000-4000-8000-000000000000", (404, "NOT_FOUND"))],
)
async def test_a_session_that_there_is_not_cannot_be_switched_to(
    workshop: Workshop, named: str, expected: tuple[int, str]
) -> None:
    async with serving(workshop) as api:
        assert code(await api.ask("POST", "/v1/sessions/switch", {"sessionId": named})) == expected


async def test_while_a_job_runs_the_active_session_and_its_tasks_stay(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with serving(workshop) as api:
        session = json.loads((await api.start()).body)["sessionId"]
        for path, body in [
            ("/v1/sessions", {"name": "x"}),
            ("/v1/sessions/switch", {"sessionId": session}),
            ("/v1/tasklist", {"tasks": []}),
        ]:
            assert code(await api.ask("POST", path, body)) == (409, "JOB_IN_PROGRESS")


async def test_the_session_that_a_body_names_is_used_however_its_id_is_written(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with serving(workshop) as api:
        named, _ = [
            json.loads((await api.ask("POST", "/v1/sessions", {"name": name})).body)["sessionId"] for name in "ab"
        ]
        assert json.loads((await api.start(sessionId=named.upper())).body)["sessionId"] == named


async def test_a_session_that_is_left_and_taken_up_again_at_once_can_be_written(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        two = [json.loads((await api.ask("POST", "/v1/sessions", {"name": name})).body)["sessionId"] for name in "ab"]
        for session in two * 3:
            assert (await api.ask("POST", "/v1/sessions/switch", {"sessionId": session})).status == 200
            assert (await api.ask("POST", "/v1/context/text", {"text": "note"})).status == 200


async def test_a_session_made_while_a_job_is_accepted_does_not_take_its_log_away(workshop: Workshop) -> None:
    workshop.says("Hello.", "Hello.")
    async with serving(workshop) as api:
        await api.ask("POST", "/v1/sessions", {"name": "first"})
        started: list[str] = []

        async def start() -> None:
            started.append(json.loads((await api.start()).body)["jobId"])

        async def create() -> None:
            await api.ask("POST", "/v1/sessions", {"name": "second"})

        async with trio.open_nursery() as nursery:
            nursery.start_soon(create)
            nursery.start_soon(start)
        assert (await api.finish(started[0]))["state"] == "COMPLETED"


# --- Task lists ---------------------------------------------------------------------------------------------------


async def test_a_task_list_replaces_the_one_before_and_survives_a_restart(workshop: Workshop) -> None:
    async with serving(workshop) as api:
        assert await api.get("/v1/tasklist") == {"tasks": []}
        await api.ask("POST", "/v1/tasklist", {"tasks": [{"title": "old"}]})
        given = [{"id": "x", "title": " One ", "done": True}, {"text": "Two\nin detail"}]
        answer = await api.ask("POST", "/v1/tasklist", {"tasks": given})
        tasks = json.loads(answer.body)["tasks"]
        assert tasks[0] == {"id": "x", "title": "One", "text": "One", "done": True}
        assert (tasks[1]["title"], tasks[1]["text"], tasks[1]["done"]) == ("Two", "Two\nin detail", False)
    async with serving(workshop) as api:
        assert (await api.get("/v1/tasklist"))["tasks"] == tasks
        counts = (await api.get("/v1/sessions"))["sessions"][0]
        assert (counts["totalTasks"], counts["incompleteTasks"]) == (2, 1)


@pytest.mark.parametrize(
    "tasks",
    [
        None,
        {},
        [{}],
        [{"title": " "}],
        [{"title": "x" * 201}],
        [{"id": "a", "title": "1"}, {"id": "a", "title": "2"}],
        [{"title": "x"}] * 1001,
        [{"title": "x", "done": "yes"}],
    ],
)
async def test_a_task_list_that_makes_no_sense_is_refused(workshop: Workshop, tasks: Any) -> None:
    async with serving(workshop) as api:
        assert code(await api.ask("POST", "/v1/tasklist", {"tasks": tasks})) == (400, "VALIDATION_ERROR")
