"""Subagents: conversations of their own, with no more than their parent may, and paid for by the job."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from agentd.domain import Agent, JobState, Limits, Mode, PermissionMode, Record, ToolClass, ToolPolicy, Usage
from agentd.engine.asks import Settlement
from agentd.providers.protocol import ModelRequest, Price, StreamEvent
from agentd.providers.scripted import Fail, Hang, Reply, ScriptedProvider, call, reply
from tests.workshop import TOOLS, FakeTool, Workshop, ended, only, spec, until

READER = Agent("Reads files.", "You are the reader.", ("Read", "Bash"))
WRITER = Agent("Writes files.", "You are the writer.")
AGENTS = {"reader": READER, "writer": WRITER}
BYPASS = ToolPolicy(permission_mode=PermissionMode.BYPASS)


class Cast(ScriptedProvider):
    """A script for each part: whoever's system prompt has the words of a part plays it; the main one has none."""

    def __init__(self, main: Sequence[Reply | str], price: Price | None = None, **parts: Sequence[Reply | str]) -> None:
        super().__init__((), price=price or Price(0, 0))
        self.parts = {part: ScriptedProvider(replies) for part, replies in parts.items()}
        self.main = ScriptedProvider(main)

    def part(self, request: ModelRequest) -> ScriptedProvider:
        return next((self.parts[p] for p in self.parts if f"You are the {p}." in request.system), self.main)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        async with self.part(request).stream(request) as events:
            yield events


def task(kind: str, prompt: str = "look") -> Any:
    return call("Task", description="a part of it", prompt=prompt, subagent_type=kind)


async def do(workshop: Workshop, model: Cast, **fields: Any) -> tuple[Any, list[Record]]:
    workshop.model = model
    return await workshop.do(**{"agents": AGENTS, "tools": BYPASS, **fields})


def results(records: Sequence[Record], name: str = "Task") -> list[str]:
    finished = (data for data in only(records, "tool.finished") if data["name"] == name)
    return [f"{data['ok']}: {data['content'][0]['text']}" for data in finished]


async def test_its_last_words_are_the_result_and_its_conversation_is_its_own(workshop: Workshop) -> None:
    model = Cast(
        [reply(task("reader", "what is in a?")), "Done."], reader=[reply(call("Read", about="a")), "A letter."]
    )
    job, records = await do(workshop, model)
    assert job.finished["result"] == "Done."
    assert results(records) == ["True: A letter."]
    first, second = model.parts["reader"].requests
    assert [message.text for message in first.messages] == ["what is in a?"]
    assert len(second.messages) == 3
    [started] = [r for r in records if r.type == "tool.started" and r.data["name"] == "Task"]
    theirs = [record.type for record in records if record.parent == started.data["call"]]
    assert [kind for kind in theirs if "delta" not in kind and kind != "usage"] == [
        *("message", "message", "tool.started", "tool.finished", "message"),
    ]


async def test_it_has_the_tools_that_are_its_own_and_its_parents(workshop: Workshop) -> None:
    model = Cast([reply(task("reader"), task("writer")), "Done."], reader=["r"], writer=["w"])
    await do(
        workshop, model, tools=ToolPolicy(allowed=("Task", "Read", "Write"), permission_mode=PermissionMode.BYPASS)
    )
    offered = {part: [tool.name for tool in model.parts[part].requests[0].tools] for part in model.parts}
    assert offered == {"reader": ["Read"], "writer": ["Read", "Write"]}  # no Bash, no Task


async def test_a_tool_that_it_was_not_given_is_refused(workshop: Workshop) -> None:
    model = Cast([reply(task("reader")), "Done."], reader=[reply(call("Write", about="x")), "Well."])
    _, records = await do(workshop, model)
    assert results(records, "Write") == ["False: There is no tool Write here. There are: Read, Bash."]


async def test_an_unknown_one_is_an_error_that_names_the_choice(workshop: Workshop) -> None:
    model = Cast([reply(task("painter")), "Done."])
    _, records = await do(workshop, model)
    [said] = results(records)
    assert said == ("False: There is no subagent 'painter'; subagent_type is one of: general-purpose, reader, writer")


async def test_those_of_one_message_run_side_by_side_and_their_calls_have_ids_of_their_own(workshop: Workshop) -> None:
    met = {"Read": trio.Event(), "Write": trio.Event()}

    async def meet(call_input: Mapping[str, Any], _: Any) -> str:
        met[call_input["mine"]].set()
        with trio.fail_after(5):
            await met[call_input["other"]].wait()
        return "met"

    workshop.tools = (FakeTool("Read", ToolClass.READ, meet), FakeTool("Write", ToolClass.EDIT, meet))
    model = Cast(
        [reply(task("reader"), task("writer")), "Done."],
        reader=[reply(call("Read", mine="Read", other="Write")), "r"],
        writer=[reply(call("Write", mine="Write", other="Read")), "w"],
    )
    _, records = await do(workshop, model)
    assert results(records) in (["True: r", "True: w"], ["True: w", "True: r"])
    calls = [data["call"] for data in only(records, "tool.started")]
    assert len(calls) == len(set(calls)) == 4
    told = [result.content[0].text for result in model.main.requests[1].messages[-1].content]  # type: ignore[union-attr]
    assert told == ["r", "w"]  # in the order of the calls


async def test_its_turns_are_not_the_jobs_and_its_money_is(workshop: Workshop) -> None:
    usage = Usage(1_000_000, 0)
    model = Cast(
        [reply(task("reader"), usage=usage), reply("Done.", usage=usage)],
        Price(1.0, 1.0),
        reader=[reply(call("Read"), usage=usage), reply("r", usage=usage)],
    )
    job, _ = await do(workshop, model, limits=Limits(turns=2))
    assert (job.finished["turns"], job.finished["cost"], job.finished["stop_reason"]) == (2, 4.0, "completed")


async def test_the_budget_of_the_job_ends_it_and_the_job(workshop: Workshop) -> None:
    usage = Usage(1_000_000, 0)
    model = Cast(
        [reply(task("reader"), usage=usage), reply("never", usage=usage)],
        Price(1.0, 1.0),
        reader=[reply("So far.", call("Read"), usage=usage), reply("never", usage=usage)],
    )
    job, records = await do(workshop, model, limits=Limits(usd=1.5))
    assert results(records) == ["True: So far.\n[it was stopped: max_budget_reached]"]
    assert (job.finished["stop_reason"], job.finished["cost"]) == ("max_budget_reached", 2.0)


async def test_one_that_never_ends_is_stopped_after_its_own_turns(workshop: Workshop) -> None:
    endless = [reply(f"step {number}", call("Read", about=number)) for number in range(60)]
    model = Cast([reply(task("reader")), "Done."], reader=endless)
    job, records = await do(workshop, model)
    assert results(records) == ["True: step 49\n[it was stopped: max_turns_reached]"]
    assert job.state is JobState.COMPLETED


async def test_one_whose_model_fails_is_an_error_result_and_the_job_goes_on(workshop: Workshop) -> None:
    model = Cast([reply(task("reader")), "I did it myself."], reader=[reply(Fail("it is down"))])
    job, records = await do(workshop, model)
    assert results(records) == ["False: it is down"]
    assert job.finished["result"] == "I did it myself."


async def test_one_of_a_model_that_is_not_there_has_its_parents_and_that_is_told(workshop: Workshop) -> None:
    model = Cast([reply(task("stranger")), "Done."], stranger=["s"])
    agents = {"stranger": Agent("Thinks.", "You are the stranger.", model="nowhere")}
    _, records = await do(workshop, model, agents=agents)
    assert results(records) == ["True: s"]
    [notice] = [data for data in only(records, "notice") if data["code"] == "SUBAGENT_MODEL"]
    assert notice["text"].startswith("the subagent stranger works with scripted: ")


async def test_a_cancelled_job_ends_them_too(workshop: Workshop) -> None:
    workshop.model = Cast(
        [reply(task("reader"), task("writer"))], reader=[reply(Hang())], writer=[reply(call("Sleep"))]
    )
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(agents=AGENTS, tools=BYPASS))
        job, session = accepted.job, accepted.session
        await until(session, lambda: any(r.data.get("name") == "Sleep" for r in session.view.records()))
        engine.cancel(job.id)
        await ended(session, job)
    assert job.state is JobState.CANCELLED


async def test_what_several_ask_at_once_is_settled_one_by_one(workshop: Workshop) -> None:
    workshop.model = Cast(
        [reply(task("writer", "1"), task("reader", "2")), "Done."],
        writer=[reply(call("Write", about="x")), "w"],
        reader=[reply(call("Bash", about="y")), "r"],
    )
    default = ToolPolicy(permission_mode=PermissionMode.DEFAULT)
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(agents=AGENTS, tools=default))
        job, session = accepted.job, accepted.session
        await until(session, lambda: len(session.state.open_asks()) == 2)
        assert not job.at_rest  # their calls are in flight: this executor has to stay
        first, second = session.state.open_asks()
        assert first.parent is not None
        await engine.settle(first.id, Settlement("allow", "", "client"))
        assert job.state is JobState.WAITING
        await engine.settle(second.id, Settlement("deny", "not now", "client"))
        await ended(session, job)
    assert job.finished is not None
    assert job.finished["result"] == "Done."


@pytest.mark.parametrize("mode", [Mode.ASK, Mode.SEARCH])
async def test_modes_that_only_read_have_none(workshop: Workshop, mode: Mode) -> None:
    model = Cast(["Nothing."])
    await do(workshop, model, mode=mode)
    assert "Task" not in [tool.name for tool in model.main.requests[0].tools]


async def test_where_commands_of_one_begin_is_its_own_business(workshop: Workshop) -> None:
    async def go(call_input: Mapping[str, Any], context: Any) -> str:
        was = context.state.cwd
        context.state.cwd = was / call_input["to"]
        return str(was.relative_to(workshop.workspace))

    workshop.tools = (*TOOLS, FakeTool("Go", ToolClass.READ, go))
    model = Cast([reply(task("writer")), reply(call("Go", to="b")), "Done."], writer=[reply(call("Go", to="a")), "w"])
    _, records = await do(workshop, model)
    assert results(records, "Go") == ["True: .", "True: ."]
