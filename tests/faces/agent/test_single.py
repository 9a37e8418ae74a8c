"""A run as one answer."""

from __future__ import annotations

import pytest
import trio

from agentd.domain import Entry
from agentd.errors import StoreFailed
from agentd.faces.agent.dialect import refused
from agentd.faces.agent.single import answer_of, single
from agentd.faces.agent.streams import Run
from agentd.store.log import open_log
from tests.agentlogs import jobs_of, made, tailing
from tests.workshop import Workshop

KEYS = {
    *("session_id", "model", "content", "is_error", "is_complete", "stop_reason", "duration_ms", "num_turns"),
    *("total_cost_usd", "usage", "model_usage", "result", "structured_output"),
}


async def answered(workshop: Workshop, name: str) -> dict[str, object]:
    session, records = await made(workshop, name)
    async with tailing(session) as tail:
        return await single(tail, Run(session.id, jobs_of(records)[0]))


async def test_an_answer_holds_what_the_assistant_said_and_called(workshop: Workshop) -> None:
    answer = await answered(workshop, "subagents")
    assert set(answer) == KEYS
    content = answer["content"]
    assert isinstance(content, list)
    assert [(block["type"], block["name"] or block["text"]) for block in content] == [
        *(("tool_use", "Code"), ("tool_use", "Code"), ("text", "All is done.")),
    ]
    assert (answer["result"], answer["is_error"], answer["num_turns"]) == ("All is done.", False, 2)


async def test_a_failure_is_an_answer_that_says_so(workshop: Workshop) -> None:
    answer = await answered(workshop, "breaks_off")
    assert set(answer) == {*KEYS, "error"}
    content = answer["content"]
    assert isinstance(content, list)
    assert [block["text"] for block in content] == ["Error: the line went dead"]
    assert answer["error"] == {"code": "PROVIDER_ERROR", "message": "the line went dead"}
    assert (answer["is_error"], answer["stop_reason"]) == (True, "error")


def test_a_session_that_is_not_there_is_an_answer_too() -> None:
    answer = answer_of(refused("gone", "SESSION_NOT_FOUND", "Session gone not found", {}))
    assert (answer["session_id"], answer["is_error"], answer["model"]) == ("gone", True, "sonnet")


async def test_there_is_no_answer_when_the_server_stops_first(workshop: Workshop) -> None:
    session = workshop.home.create_session("agent", workshop.workspace, "a session")
    with open_log(session.log_path) as log:
        log.append([Entry("job.created", {"spec": {}}, "j")])
    async with tailing(session) as tail, trio.open_nursery() as nursery:

        async def close() -> None:
            await trio.testing.wait_all_tasks_blocked()
            tail.close()

        nursery.start_soon(close)
        with pytest.raises(StoreFailed):
            await single(tail, Run(session.id, "j"))
