"""Sessions as the real engine leaves them, one for each way a run can go. For tests of folds."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio

from agentd.daemon.tail import Tail, Tails
from agentd.domain import Limits, Mode, Models, OutputFormat, PermissionMode, Record, ToolPolicy, Usage
from agentd.engine.asks import Settlement
from agentd.engine.engine import Accepted, Engine
from agentd.providers.builtin.provider import BuiltinProvider
from agentd.providers.scripted import Fail, Hang, Think, call, raw_call, reply
from agentd.store.home import SessionDir
from agentd.tools.registry import FILE_TOOLS
from tests.workshop import Workshop, ended, spec, until

ASKING = ToolPolicy(permission_mode=PermissionMode.DEFAULT)
USED = Usage(1200, 40, 1000, 100)
PARTIALS: Mapping[str, Any] = {"model": "sonnet", "partials": True}


async def _do(workshop: Workshop, **fields: Any) -> None:
    async with workshop.open() as engine:
        await _done(engine, **fields)


async def _done(engine: Engine, **fields: Any) -> Accepted:
    accepted = await _begun(engine, **fields)
    await ended(accepted.session, accepted.job)
    return accepted


async def _begun(engine: Engine, **fields: Any) -> Accepted:
    fields = {"mode": Mode.QUERY, "face": PARTIALS, **fields}
    return await engine.accept(spec(**fields))


async def _until(accepted: Accepted, kind: str, count: int = 1) -> None:
    def seen() -> int:
        return sum(record.type == kind for record in accepted.session.view.records())

    await until(accepted.session, lambda: seen() >= count)


# --- Ways a run can go --------------------------------------------------------------------------------------------


async def _answer(workshop: Workshop) -> None:
    workshop.says(reply("Hello, ", "world.", usage=USED))
    await _do(workshop)


async def _without_partials(workshop: Workshop) -> None:
    workshop.says(reply("Let me look.", call("Read", about="a")), "Done.")
    await _do(workshop, face={"model": "sonnet"}, checkpoints=True)


async def _tools(workshop: Workshop) -> None:
    workshop.says(
        reply(Think("What is there?"), "I look.", call("Read", about="a"), call("Glob"), call("Grep", about="b" * 999)),
        reply(raw_call("Read", '{"about": "a'), raw_call("Teleport", ""), call("Write", about="ü\u2028")),
        reply("It is " + "fine. " * 400, usage=USED),
    )
    await _do(workshop, checkpoints=True)


async def _asks(workshop: Workshop) -> None:
    workshop.says(
        reply("I write.", call("Write", about="a"), call("Read", about="b"), call("Bash", about="c")), "Done."
    )
    async with workshop.open() as engine:
        accepted = await _begun(engine, tools=ASKING)
        for number, decision in enumerate(("allow", "deny"), 1):
            await _until(accepted, "ask.opened", number)
            [ask] = accepted.session.state.open_asks()
            await engine.settle(ask.id, Settlement(decision, "", "client"))  # type: ignore[arg-type]
        await ended(accepted.session, accepted.job)


async def _asked_across_a_restart(workshop: Workshop) -> None:
    workshop.says(reply("I write.", call("Read", about="b"), call("Write", about="a")), "Done.")
    async with workshop.open() as engine:
        await _until(await _begun(engine, tools=ASKING), "ask.opened")
        await engine.close(interrupt=True)
    async with workshop.open() as engine:
        [session] = engine.sessions
        [ask] = session.state.open_asks()
        await engine.settle(ask.id, Settlement("allow", "", "client"))
        [job] = session.state.jobs.values()
        await ended(session, job)


async def _no_such_model(workshop: Workshop) -> None:
    await _do(workshop, models=Models(planner="nobody"), checkpoints=True)


async def _breaks_off(workshop: Workshop) -> None:
    workshop.says(reply(Think("Hm."), "Half of the ans", call("Read", about="a"), Fail("the line went dead")))
    await _do(workshop)


async def _breaks_off_before_any_text(workshop: Workshop) -> None:
    workshop.says(reply(Think("Hm."), Fail("the line went dead")))
    await _do(workshop)


async def _cancelled_in_a_tool(workshop: Workshop) -> None:
    workshop.says(reply("I wait.", call("Read", about="a"), call("Sleep")))
    async with workshop.open() as engine:
        accepted = await _begun(engine)
        await _until(accepted, "tool.output")
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)


async def _cancelled_while_the_model_speaks(workshop: Workshop) -> None:
    workshop.says(reply("Let me thi", Hang()))
    async with workshop.open() as engine:
        accepted = await _begun(engine)
        await _until(accepted, "text.delta")
        engine.cancel(accepted.job.id)
        await ended(accepted.session, accepted.job)


async def _interrupted(workshop: Workshop) -> None:
    workshop.says(reply(call("Sleep")))
    async with workshop.open() as engine:
        await _until(await _begun(engine), "tool.output")
        await engine.close(interrupt=True)


async def _out_of_turns(workshop: Workshop) -> None:
    workshop.says(reply("Again.", call("Read", about="a")))
    await _do(workshop, limits=Limits(turns=1))


async def _two_runs(workshop: Workshop) -> None:
    workshop.says(reply("One.", call("Read", about="a")), "Still one.", "Two.")
    async with workshop.open() as engine:
        await _done(engine)
        await _done(engine, face={"model": "opus"})


async def _summed_up(workshop: Workshop) -> None:
    workshop.says("A long answer. " * 100, "A summary.")
    await _do(workshop, auto_compress=True)


async def _subagents(workshop: Workshop) -> None:
    workshop.says(
        reply(call("Code", instructions="do this"), call("Code", instructions="do that")),
        reply("I do this.", call("Write", about="a")),
        "This is done.",
        "That is done.",
        "All is done.",
    )
    await _do(workshop, mode=Mode.ARCHITECT)


async def _planned(workshop: Workshop) -> None:
    workshop.says(
        reply(call("TaskList", tasks=[{"title": "One", "text": "do one"}, {"title": "Two", "text": "do two"}])),
        *("Two tasks.", "One is done.", "Two is done."),
    )
    await _do(workshop, mode=Mode.LUTZ)


async def _asks_questions(workshop: Workshop) -> None:
    options = [{"label": "SQLite", "description": "a file"}, {"label": "Postgres", "description": "a server"}]
    question = {"question": "Which?", "header": "Database", "options": options, "multiSelect": False}
    workshop.says(
        reply(call("AskUserQuestion", questions=[question]), call("Read", about="a")),
        reply("The plan:", call("ExitPlanMode", plan="1. Write")),
        "Done.",
    )
    async with workshop.open() as engine:
        accepted = await _begun(engine, tools=ToolPolicy(permission_mode=PermissionMode.PLAN))
        for number, answer in enumerate(("SQLite", "yes"), 1):
            await _until(accepted, "ask.opened", number)
            [ask] = accepted.session.state.open_asks()
            decision: Any = "answer" if ask.data["kind"] == "question" else "allow"
            await engine.settle(ask.id, Settlement(decision, "", "client", answer))
        await ended(accepted.session, accepted.job)


async def _answers_in_json(workshop: Workshop) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    workshop.says('{"b": 1}', '{"a": 1}')
    await _do(workshop, output=OutputFormat("json_schema", schema))


async def _answers_in_no_json(workshop: Workshop) -> None:
    workshop.says(*["No JSON."] * 4)
    await _do(workshop, output=OutputFormat("json"))


async def _builtin(workshop: Workshop) -> None:
    (workshop.workspace / "greeting.py").write_text("def greet():\n    return 'hello'\n")
    workshop.tools, workshop.services = FILE_TOOLS, (BuiltinProvider(),)
    await _do(workshop, prompt="In greeting.py replace `'hello'` with `'hi'`.", models=Models(planner="builtin"))


LOGS: dict[str, Callable[[Workshop], Awaitable[None]]] = {
    each.__name__[1:]: each
    for each in (
        *(_answer, _without_partials, _tools, _asks, _asked_across_a_restart, _no_such_model, _breaks_off),
        *(_breaks_off_before_any_text, _cancelled_in_a_tool, _cancelled_while_the_model_speaks, _interrupted),
        *(_out_of_turns, _two_runs, _summed_up, _subagents, _planned, _asks_questions, _answers_in_json),
        *(_answers_in_no_json, _builtin),
    )
}


async def made(workshop: Workshop, name: str) -> tuple[SessionDir, list[Record]]:
    """The session of that name in LOGS, and all its records."""
    await LOGS[name](workshop)
    [session] = workshop.home.sessions()
    async with tailing(session) as tail:
        return session, list(tail.reader.records())


def jobs_of(records: list[Record]) -> list[str]:
    return [record.job or "" for record in records if record.type == "job.created"]


@asynccontextmanager
async def tailing(session: SessionDir) -> AsyncIterator[Tail]:
    """Its log as the daemon sees it, without an executor."""
    async with trio.open_nursery() as nursery:
        tails = Tails(nursery, lambda session_id: None)
        yield await tails.open(session)
        tails.close()
        nursery.cancel_scope.cancel()
