"""What an executor offers its daemon alone."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest

from agentd.domain import Mode, ToolPolicy
from agentd.faces.executor.control import Control, RecordLines
from agentd.providers.scripted import Hang, call, reply
from agentd.wire.messages import Request, Response, StreamResponse, to_json
from agentd.wire.routing import respond
from tests.workshop import Workshop, ended, spec, until


@attrs.define
class Daemon:
    """Requests to one executor with its token."""

    control: Control

    async def ask(self, method: str, path: str, body: Any = None, token: str = "secret") -> tuple[int, Any]:
        raw = to_json(body) if body is not None else b""
        request = Request(method, path, {"authorization": f"Bearer {token}"}, raw)
        answer = await respond([self.control.mount()], request)
        assert isinstance(answer, Response)
        return answer.status, json.loads(answer.body)


@asynccontextmanager
async def supervising(workshop: Workshop) -> AsyncIterator[Daemon]:
    async with workshop.open() as engine:
        session = await engine.create_session("the one", "run")
        yield Daemon(Control(engine, session, "secret"))


@pytest.mark.parametrize("path", ["/_/health", "/_/jobs", "/_/log", "/_/shutdown", "/_/nowhere"])
async def test_without_the_token_of_the_hello_nothing_is_answered(workshop: Workshop, path: str) -> None:
    async with supervising(workshop) as daemon:
        assert (await daemon.ask("POST", path, token="wrong"))[0] == 401
        assert not daemon.control.stop.is_set()


async def test_a_whole_job_spec_becomes_a_job_of_the_session(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with supervising(workshop) as daemon:
        status, made = await daemon.ask("POST", "/_/jobs", spec("do it", Mode.ASK))
        job = daemon.control.session.state.jobs[made["job"]]
        await ended(daemon.control.session, job)
        assert (status, job.spec["prompt"], job.spec["mode"]) == (201, "do it", "ask")


async def test_a_spec_of_the_wrong_types_is_refused_field_by_field(workshop: Workshop) -> None:
    async with supervising(workshop) as daemon:
        status, told = await daemon.ask("POST", "/_/jobs", {"mode": "ask", "prompt": 5, "limits": {"turns": "2"}})
        assert status == 400
        assert "$.prompt" in told["message"]
        assert "$.limits.turns" in told["message"]


async def test_health_tells_the_job_and_where_the_log_is(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with supervising(workshop) as daemon:
        assert (await daemon.ask("GET", "/_/health"))[1]["job"] is None
        made = (await daemon.ask("POST", "/_/jobs", spec()))[1]
        health = (await daemon.ask("GET", "/_/health"))[1]
        assert (health["job"], health["position"]) == (made["job"], daemon.control.session.state.pos)


async def test_an_ask_is_settled_once(workshop: Workshop) -> None:
    workshop.says(reply(call("Write", about="a")), "Done.")
    async with supervising(workshop) as daemon:
        made = (await daemon.ask("POST", "/_/jobs", spec(tools=ToolPolicy())))[1]
        session = daemon.control.session
        await until(session, lambda: bool(session.state.open_asks()))
        path = f"/_/asks/{session.state.open_asks()[0].id}"
        assert (await daemon.ask("POST", path, {"decision": "perhaps"}))[0] == 400
        assert (await daemon.ask("POST", path, {"decision": "allow"}))[0] == 200
        assert (await daemon.ask("POST", path, {"decision": "deny"}))[0] == 409
        assert (await daemon.ask("POST", "/_/asks/none", {"decision": "deny"}))[0] == 404
        await ended(session, session.state.jobs[made["job"]])


async def test_the_log_is_read_line_by_line_from_any_position(workshop: Workshop) -> None:
    workshop.says("Done.")
    async with supervising(workshop) as daemon:
        made = (await daemon.ask("POST", "/_/jobs", spec()))[1]
        session = daemon.control.session
        await ended(session, session.state.jobs[made["job"]])
        source = RecordLines(session)
        lines, last = source.read(2)
        assert [json.loads(line)["pos"] for line in lines.splitlines()] == list(range(3, session.state.pos + 1))
        assert (last, source.read(last)) == (session.state.pos, (b"", session.state.pos))


async def test_shutdown_is_heard(workshop: Workshop) -> None:
    async with supervising(workshop) as daemon:
        assert (await daemon.ask("POST", "/_/shutdown"))[0] == 202
        assert daemon.control.stop.is_set()


async def test_the_log_is_a_stream_that_does_not_end(workshop: Workshop) -> None:
    async with supervising(workshop) as daemon:
        request = Request("GET", "/_/log?after=1", {"authorization": "Bearer secret"})
        answer = await respond([daemon.control.mount()], request)
        assert isinstance(answer, StreamResponse)
        assert (answer.after, answer.feed) == (1, daemon.control.feed)
        assert not RecordLines(daemon.control.session).ended(10)


async def test_records_of_no_job_are_written_while_one_is_at_work(workshop: Workshop) -> None:
    workshop.says(reply(Hang()))
    async with supervising(workshop) as daemon:
        await daemon.ask("POST", "/_/jobs", spec("do it", Mode.ASK))
        record = {"type": "chat.queued", "data": {"turn": "turn_1"}}
        status, told = await daemon.ask("POST", "/_/records", {"records": [record]})
        (written,) = daemon.control.session.view.read(told["position"] - 1, 1)
        assert (status, written.type, written.data, written.job) == (200, "chat.queued", {"turn": "turn_1"}, None)
        assert (await daemon.ask("POST", "/_/records", {"records": [{"type": 1}]}))[0] == 400
