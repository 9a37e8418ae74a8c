"""Records of real runs as events."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.domain import Record
from agentd.faces.agent.dialect import Dialect, Event
from tests.agentapi import check_run
from tests.agentlogs import LOGS, jobs_of, made
from tests.workshop import Workshop


def fold(records: list[Record], job: str | None = None, *, partials: bool | None = None) -> list[Event]:
    dialect = Dialect("s", job or jobs_of(records)[0], partials)
    return [event for record in records for event in dialect.apply(record)]


def told(events: list[Event]) -> list[tuple[str, dict[str, Any]]]:
    return [(event.name, event.data) for event in events]


def names(events: list[Event]) -> list[str]:
    return [event.name if event.name != "message" else event.data["role"] for event in events]


def messages(events: list[Event], role: str) -> list[dict[str, Any]]:
    return [event.data for event in events if event.name == "message" and event.data["role"] == role]


def result(events: list[Event]) -> dict[str, Any]:
    [data] = [event.data for event in events if event.name == "result"]
    return data


@pytest.mark.parametrize("partials", [True, False])
@pytest.mark.parametrize("name", LOGS)
async def test_every_run_follows_the_grammar(workshop: Workshop, name: str, partials: bool) -> None:
    _, records = await made(workshop, name)
    for job in jobs_of(records):
        check_run(told(fold(records, job, partials=partials)), partials=partials)


@pytest.mark.parametrize("name", LOGS)
async def test_without_partials_everything_else_is_the_same(workshop: Workshop, name: str) -> None:
    _, records = await made(workshop, name)
    everything = told(fold(records, partials=True))
    assert told(fold(records, partials=False)) == [each for each in everything if each[0] != "partial"]


async def test_an_answer(workshop: Workshop) -> None:
    _, records = await made(workshop, "answer")
    events = fold(records)
    assert names(events) == ["init", "partial", "partial", "partial", "assistant", "result", "done"]
    assert events[0].data["model"] == "sonnet"
    [message] = messages(events, "assistant")
    assert [block["text"] for block in message["content"]] == ["Hello, world."]
    assert (message["model"], message["parent_tool_use_id"]) == ("sonnet", None)
    counted = {"input_tokens": 100, "output_tokens": 40}
    counted |= {"cache_read_input_tokens": 1000, "cache_creation_input_tokens": 100}
    assert message["usage"] == result(events)["usage"] == counted
    assert result(events)["model_usage"] == {"sonnet": counted}
    assert (result(events)["result"], result(events)["total_cost_usd"]) == ("Hello, world.", 0.0)
    assert events[-1].data == {"reason": "completed"}
