"""Conversations of several turns with a model service: real sockets, real tools, both formats."""

from __future__ import annotations

import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.domain import JobState, Record
from agentd.engine.engine import Engine
from agentd.sandbox.contain import probe
from agentd.store.fold import JobView
from agentd.tools.registry import built_in
from agentd.wire.http import HttpClient
from tests.modelserver import PROTOCOLS, ModelServer, ProtocolName, Turn, call, open_model_server, provider_of
from tests.workshop import Workshop, ended, spec

PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
CONVERSATION = (
    Turn(
        "I look at both.", "Two files. I read both.", (call("Read", file_path="a.py"), call("Read", file_path="b.py"))
    ),
    Turn("Now the change.", calls=(call("Edit", file_path="a.py", old_string="1", new_string="2"),)),
    Turn(thinking="Does it run?", calls=(call("Bash", command="cat a.py"), call("Glob", pattern="*.py"))),
    Turn("a is 2 now."),
    Turn("Yes, I am sure: á, 漢, 🙂."),
)

pytestmark = pytest.mark.parametrize("protocol", PROTOCOLS)


@attrs.define
class Scene:
    server: ModelServer
    engine: Engine
    workspace: Path

    async def do(self, prompt: str) -> tuple[JobView, list[Record]]:
        accepted = await self.engine.accept(spec(prompt))
        await ended(accepted.session, accepted.job)
        return accepted.job, [r for r in accepted.session.view.records() if r.job == accepted.job.id]


@asynccontextmanager
async def scene(workshop: Workshop, protocol: ProtocolName, *turns: Turn) -> AsyncIterator[Scene]:
    for name in "ab":
        (workshop.workspace / f"{name}.py").write_text(f"{name} = 1\n")
    (workshop.workspace / "pixel.png").write_bytes(PIXEL)
    workshop.tools, workshop.confine = built_in(), await probe()
    async with open_model_server(protocol, *turns) as server, HttpClient() as client:
        workshop.services = [provider_of(server, client)]
        async with workshop.open() as engine:
            yield Scene(server, engine, workshop.workspace)
    assert server.problems == []


def said(server: ModelServer) -> str:
    """The conversation, as it was sent last."""
    return str(server.bodies[-1]["messages"])


def usages(records: list[Record]) -> list[dict[str, Any]]:
    return [record.data for record in records if record.type == "usage"]


async def test_a_job_of_many_turns_does_its_work(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        job, _ = await at.do("Make a 2.")
        assert (job.state, job.turns, (job.finished or {})["result"]) == (JobState.COMPLETED, 4, "a is 2 now.")
    assert (at.workspace / "a.py").read_text() == "a = 2\n"


async def test_the_next_job_goes_on_with_all_that_was_said(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        await at.do("Make a 2.")
        job, _ = await at.do("Are you sure?")
        assert (job.finished or {})["result"] == "Yes, I am sure: á, 漢, 🙂."
    for text in ("Make a 2.", "I look at both.", "b = 1", "Now the change.", "a = 2", "a is 2 now.", "Are you sure?"):
        assert text in said(at.server)


async def test_what_a_call_took_is_what_the_service_says(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        _, records = await at.do("Make a 2.")
    told = [(data["input_tokens"], data["output_tokens"], data["cached_tokens"]) for data in usages(records)]
    assert told == at.server.usages
    assert [data["calls"] for data in usages(records)] == [1, 1, 1, 1]


async def test_each_request_begins_with_the_whole_of_the_one_before(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        _, records = await at.do("Make a 2.")
    for before, after in itertools.pairwise(usages(records)):
        assert after["prefix_bytes"] // 4 == after["cached_tokens"]
        assert before["input_tokens"] - 1 <= after["cached_tokens"]  # but for what closes the list of messages


async def test_thinking_goes_back_as_it_came_where_the_service_wants_it(
    workshop: Workshop, protocol: ProtocolName
) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        _, records = await at.do("Make a 2.")
    assert ("Two files. I read both." in said(at.server)) == (protocol == "anthropic")
    assert (
        "".join(r.data["text"] for r in records if r.type == "thinking.delta") == "Two files. I read both.Does it run?"
    )


async def test_an_image_that_a_tool_returns_reaches_the_model(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, Turn(calls=(call("Read", file_path="pixel.png"),))) as at:
        job, _ = await at.do("What is on it?")
        assert job.state is JobState.COMPLETED
    assert base64.b64encode(PIXEL).decode() in said(at.server)


async def test_one_connection_serves_a_whole_job(workshop: Workshop, protocol: ProtocolName) -> None:
    async with scene(workshop, protocol, *CONVERSATION) as at:
        await at.do("Make a 2.")
        assert at.server.connections == 1
