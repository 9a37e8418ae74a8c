"""Jobs with MCP servers: whose tools are there, which of them run, and what becomes of a job whose server is not."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import (
    Agent,
    ChatMessage,
    ChatPart,
    ChatSpec,
    JobState,
    McpServer,
    Mode,
    PermissionMode,
    Record,
    Sandbox,
    Site,
    ToolClass,
    ToolPolicy,
)
from agentd.engine.asks import Settlement
from agentd.providers.scripted import call, reply
from agentd.store import secrets
from agentd.tools.base import Tool, ToolContext
from tests.tools.mcp import fake
from tests.workshop import FakeTool, Workshop, ended, notices, only, spec, until

READ_ONLY = {"annotations": {"readOnlyHint": True}}
TOOLS = [fake.tool("write"), fake.tool("look", **READ_ONLY)]
DEFAULT, BYPASS, PLAN = (
    ToolPolicy(permission_mode=PermissionMode(mode)) for mode in ("default", "bypassPermissions", "plan")
)


def program(**script: Any) -> McpServer:
    arguments = ("-S", str(Path(fake.__file__)), json.dumps({"tools": TOOLS, **script}))
    return McpServer(command=sys.executable, args=arguments)


def servers(**script: Any) -> Mapping[str, McpServer]:
    return {"demo": program(**script)}


async def query(workshop: Workshop, *replies: Any, **fields: Any) -> tuple[Any, list[Record]]:
    workshop.says(*replies, "Done.")
    return await workshop.do(mode=Mode.QUERY, **fields)


def told(records: list[Record]) -> list[str]:
    return [data["content"][0]["text"] for data in only(records, "tool.finished")]


def offered(workshop: Workshop, request: int = 0) -> list[str]:
    return [tool.name for tool in workshop.model.requests[request].tools if tool.name.startswith("mcp__")]


async def test_tools_of_a_server_are_called_like_others(workshop: Workshop) -> None:
    _, records = await query(workshop, reply(call("mcp__demo__write", a=1)), servers=servers(), tools=BYPASS)
    [started] = only(records, "job.started")
    assert started["mcp_servers"] == [
        {"name": "demo", "type": "stdio", "status": "connected", "error": None, "tool_count": 2}
    ]
    assert started["tools"][-2:] == ["mcp__demo__write", "mcp__demo__look"]
    assert told(records) == ['{"a": 1}']
    assert "The MCP server demo says of its tools:\nBe careful." in workshop.model.requests[0].system


async def test_how_servers_are_reached_is_in_no_log(workshop: Workshop) -> None:
    server = McpServer(command="no-such-program", args=("key-1",), env={"K": "key-2"})
    job, _ = await query(workshop, servers={"demo": server})
    assert job.spec["servers"] == {"demo": {"transport": "stdio"}}
    log = next(workshop.home.root.glob("sessions/*/log.ndjson")).read_text()
    assert "key-" not in log
    kept = json.loads(next(workshop.home.root.glob("sessions/*/secrets.json")).read_text())
    assert secrets.reveal(job.spec, kept[job.id])["servers"]["demo"]["args"] == ["key-1"]


async def test_a_server_that_is_not_there_costs_its_own_tools_alone(workshop: Workshop) -> None:
    broken = {"gone": McpServer(command="no-such-program"), "odd": McpServer(problem="Missing X"), "demo": program()}
    job, records = await query(workshop, servers=broken)
    states = {each["name"]: (each["status"], each["error"]) for each in only(records, "job.started")[0]["mcp_servers"]}
    assert states["demo"] == ("connected", None)
    assert states["odd"] == ("failed", "Missing X")
    assert states["gone"][0] == "failed"
    assert job.state is JobState.COMPLETED


async def test_those_of_the_request_are_laid_over_those_of_the_site(workshop: Workshop) -> None:
    workshop.site = Site({"demo": program(tools=[fake.tool("site")]), "base": program(tools=[fake.tool("base")])})
    for given, there in [
        (None, ["mcp__demo__site", "mcp__base__base"]),
        ({"demo": program(tools=[fake.tool("mine")])}, ["mcp__demo__mine", "mcp__base__base"]),
        ({}, []),
    ]:
        await query(workshop, servers=given)
        assert offered(workshop) == there


@pytest.mark.parametrize("mode", [Mode.CODE, Mode.ASK])
async def test_modes_that_only_read_have_none(workshop: Workshop, mode: Mode) -> None:
    workshop.says("Done.")
    await workshop.do(mode=mode, servers=servers())
    assert bool(offered(workshop)) is (mode is Mode.CODE)


@pytest.mark.parametrize(
    ("allowed", "there"),
    [
        (("Read",), ["Read", "mcp__demo__write", "mcp__demo__look"]),
        (("Read", "mcp__demo__look"), ["Read", "mcp__demo__write", "mcp__demo__look"]),
    ],
)
async def test_tools_of_servers_are_there_beside_those_that_are_allowed(
    workshop: Workshop, allowed: tuple[str, ...], there: list[str]
) -> None:
    await query(workshop, servers=servers(), tools=ToolPolicy(allowed=allowed))
    assert [tool.name for tool in workshop.model.requests[0].tools] == there


@pytest.mark.parametrize("refused", ["mcp__demo__write", "mcp__demo", "mcp__demo__*"])
async def test_what_is_disallowed_is_not_there(workshop: Workshop, refused: str) -> None:
    await query(workshop, servers=servers(), tools=ToolPolicy(disallowed=(refused,)))
    assert offered(workshop) == (["mcp__demo__look"] if refused.endswith("write") else [])


@pytest.mark.parametrize("allowed", ["mcp__demo__write", "mcp__demo", "mcp__demo__*"])
async def test_what_is_allowed_runs_unasked(workshop: Workshop, allowed: str) -> None:
    policy = ToolPolicy(allowed=(allowed,), permission_mode=PermissionMode.DEFAULT, ask_seconds=0)
    _, records = await query(workshop, reply(call("mcp__demo__write")), servers=servers(), tools=policy)
    assert told(records) == ["{}"]


async def test_a_tool_whose_name_begins_with_an_allowed_ones_is_another(workshop: Workshop) -> None:
    both = servers(tools=[fake.tool("write"), fake.tool("write__all")])
    policy = ToolPolicy(allowed=("mcp__demo__write",), permission_mode=PermissionMode.DEFAULT, ask_seconds=0)
    _, records = await query(workshop, reply(call("mcp__demo__write__all")), servers=both, tools=policy)
    assert "permission was refused" in told(records)[0]


async def test_others_are_asked_for_and_always_is_for_that_tool(workshop: Workshop) -> None:
    workshop.says(reply(call("mcp__demo__write")), reply(call("mcp__demo__write")), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.QUERY, servers=servers(), tools=DEFAULT))
        job, session = accepted.job, accepted.session
        await until(session, lambda: bool(session.state.open_asks()))
        [ask] = session.state.open_asks()
        assert (ask.data["kind"], ask.data["tool"]) == ("permission", "mcp__demo__write")
        await engine.settle(ask.id, Settlement("always", "", "client"))
        await ended(session, job)
        assert told(list(session.view.records())) == ["{}", "{}"]


async def test_plan_mode_runs_what_only_reads(workshop: Workshop) -> None:
    calls = reply(call("mcp__demo__look"), call("mcp__demo__write"))
    _, records = await query(workshop, calls, servers=servers(), tools=PLAN)
    assert told(records)[0] == "{}"
    assert "plan mode" in told(records)[1]


async def test_tools_that_come_later_are_on_offer_from_the_next_turn(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: dict[str, Tool] = {}

    async def bring(_: Mapping[str, Any], __: ToolContext) -> str:
        there["mcp__demo__late"] = FakeTool("mcp__demo__late", ToolClass.MCP_READ, bring)
        return "there"

    monkeypatch.setattr("agentd.tools.mcp.servers.Servers.tools", property(lambda _: there))
    workshop.tools = (FakeTool("Bring", ToolClass.READ, bring),)
    await query(workshop, reply(call("Bring")), servers=servers(), tools=BYPASS)
    assert [offered(workshop, turn) for turn in (0, 1)] == [[], ["mcp__demo__late"]]


async def test_a_server_that_dies_leaves_errors_and_the_job_goes_on(workshop: Workshop) -> None:
    dying = servers(on={"tools/call write": [{"exit": 3}]})
    job, records = await query(workshop, reply(call("mcp__demo__write")), servers=dying, tools=BYPASS)
    assert job.state is JobState.COMPLETED
    [finished] = only(records, "tool.finished")
    assert not finished["ok"]


async def test_a_sandbox_without_network_has_no_remote_servers(workshop: Workshop) -> None:
    remote = {"far": McpServer("http", url="http://127.0.0.1:9/mcp")}
    _, records = await query(workshop, servers=remote, sandbox=Sandbox())
    [status] = only(records, "job.started")[0]["mcp_servers"]
    assert (status["status"], status["error"]) == ("failed", "network disabled by sandbox")


# --- A tool that decides about calls ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "result"),
    [
        ('{"behavior": "allow"}', "saw x"),
        ('{"behavior": "allow", "updatedInput": {"about": "y"}}', "saw y"),
        ('{"behavior": "deny", "message": "not on Sundays"}', "permission was refused (not on Sundays)"),
        ("perhaps", 'answered neither {"behavior": "allow"}'),
    ],
)
async def test_a_tool_decides_where_a_person_would_be_asked(workshop: Workshop, answer: str, result: str) -> None:
    judge = servers(tools=[fake.tool("judge")], on={"tools/call judge": [{"answer": fake.text(answer)}]})
    policy = ToolPolicy(permission_mode=PermissionMode.DEFAULT, prompt_tool="mcp__demo__judge")
    _, records = await query(workshop, reply(call("Bash", about="x")), servers=judge, tools=policy)
    assert result in told(records)[0]
    assert not only(records, "ask.opened")


async def test_where_that_tool_is_not_there_a_person_is_asked(workshop: Workshop) -> None:
    policy = ToolPolicy(permission_mode=PermissionMode.DEFAULT, prompt_tool="mcp__demo__nobody", ask_seconds=0)
    _, records = await query(workshop, reply(call("Bash", about="x")), servers=servers(), tools=policy)
    assert "nobody is there to ask" in told(records)[0]
    assert "PROMPT_TOOL" in notices(records)


# --- Prompts and subagents ----------------------------------------------------------------------------------------


async def test_a_prompt_of_a_server_is_a_command(workshop: Workshop) -> None:
    prompts = [{"name": "greet", "description": "Greets", "arguments": [{"name": "who", "required": True}]}]
    said = {"messages": [{"role": "user", "content": {"type": "text", "text": "Greet Ada."}}]}
    script = servers(prompts=prompts, on={"prompts/get greet": [{"answer": said}]})
    _, records = await query(workshop, servers=script, prompt="/mcp__demo__greet Ada")
    assert workshop.model.requests[0].messages[0].text == "Greet Ada."
    assert only(records, "job.started")[0]["commands"] == [
        {"name": "mcp__demo__greet", "path": "mcp:demo:greet", "source": "mcp", "description": "Greets"}
    ]


async def test_a_subagent_has_the_servers_that_its_definition_names(workshop: Workshop) -> None:
    agents = {
        "all": Agent("a", "a"),
        "one": Agent("b", "b", ("mcp__demo__look",)),
        "server": Agent("c", "c", ("mcp__demo",)),
    }
    tasks = [reply(call("Task", description="d", prompt="p", subagent_type=name)) for name in agents]
    replies = [each for task in tasks for each in (task, "ok")]
    await query(workshop, *replies, servers=servers(), agents=agents, tools=BYPASS)
    assert [offered(workshop, request) for request in (1, 3, 5)] == [
        ["mcp__demo__write", "mcp__demo__look"],
        ["mcp__demo__look"],
        ["mcp__demo__write", "mcp__demo__look"],
    ]


async def test_a_chat_has_them_too_and_asks(workshop: Workshop) -> None:
    chat = ChatSpec("turn_1", (ChatMessage("m", "user", (ChatPart("text", "write"),)),))
    workshop.says(reply(call("mcp__demo__write", a=1)), "Done.")
    async with workshop.open() as engine:
        accepted = await engine.accept(spec(mode=Mode.CHAT, chat=chat, servers=servers(), tools=DEFAULT))
        job, session = accepted.job, accepted.session
        await until(session, lambda: bool(session.state.open_asks()))
        await engine.settle(session.state.open_asks()[0].id, Settlement("allow", "", "client"))
        await ended(session, job)
        assert told(list(session.view.records())) == ['{"a": 1}']
