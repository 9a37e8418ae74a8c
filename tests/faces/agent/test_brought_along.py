"""What a query brings along, and what is set for all of them, in real executors: the contract, 16 to 19."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.domain import McpServer, Plugin, Site
from agentd.providers.scripted import call, reply
from tests.agentapi import Told, check_run
from tests.agentprocesses import serving
from tests.agentserver import first
from tests.agentserver import serving as in_process

# An MCP server with one tool, which says what it was given, and the variable WORD; or what a person says to a question.
SERVER = """
import json, os, sys
TOOL = {"name": "echo", "description": "Says it again.", "inputSchema": {"type": "object", "properties": {}}}
for line in sys.stdin:
    asked = json.loads(line)
    told = {"resultType": "complete"}
    match asked["method"]:
        case "initialize":
            told = {"protocolVersion": asked["params"]["protocolVersion"], "capabilities": {"tools": {}}}
            told["serverInfo"] = {"name": "echo", "version": "1"}
        case "tools/list":
            told["tools"] = [TOOL]
        case "tools/call":
            said = json.dumps(asked["params"]["arguments"]) + os.environ.get("WORD", "")
            if "ask" in asked["params"]["arguments"]:
                schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
                params = {"message": asked["params"]["arguments"]["ask"], "requestedSchema": schema}
                asks = {"jsonrpc": "2.0", "id": 1, "method": "elicitation/create", "params": params}
                print(json.dumps(asks), flush=True)
                said = json.dumps(json.loads(sys.stdin.readline())["result"])
            told["content"] = [{"type": "text", "text": said}]
        case _:
            told = None
    if "id" in asked:
        error = {"error": {"code": -32601, "message": "no such method"}}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"]} | ({"result": told} if told else error)), flush=True)
"""
BYPASS = "bypassPermissions"
AGENTS = {"looker": {"description": "Looks at files.", "prompt": "Look.", "tools": ["Read"]}}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs this may have commands of their own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    (tmp_path / "echo.py").write_text(SERVER)
    return ["-S", "-E", str(tmp_path / "echo.py")]


def calls(events: Iterable[Told], parent: str | None) -> list[Any]:
    """What a conversation called."""
    return [block for block in blocks(events, parent) if block["type"] == "tool_use"]


def results(events: Iterable[Told], parent: str | None = None) -> list[Any]:
    """What it got."""
    return [block["content"] for block in blocks(events, parent) if block["type"] == "tool_result"]


def blocks(events: Iterable[Told], parent: str | None) -> list[Any]:
    of_parent = [data for name, data in events if name == "message" and data["parent_tool_use_id"] == parent]
    return [block for data in of_parent for block in data["content"]]


async def test_a_server_of_the_query_does_what_it_is_asked_to(tmp_path: Path, program: list[str]) -> None:
    server = {"command": sys.executable, "args": program, "env": {"WORD": "s3cret-${HOME}"}}
    async with serving(tmp_path, Site(servers={"gone": McpServer(command="/nowhere/at-all")})) as api:
        events = await api.run(
            prompt='Call mcp__echo__echo with {"a": 1}',
            mcp_servers={"echo": server},
            allowed_tools=["mcp__echo"],
        )
        init = first(events, "init")
        told = {each["name"]: (each["status"], each["type"], each["tool_count"]) for each in init["mcp_servers"]}
        assert told == {"echo": ("connected", "stdio", 1), "gone": ("failed", "stdio", 0)}
        assert "mcp__echo__echo" in init["tools"]
        assert results(events) == ['{"a": 1}s3cret-${HOME}']
        log = next((tmp_path / "data/sessions").glob("*/log.ndjson")).read_text()
        spec = next(json.loads(line)["data"]["spec"] for line in log.splitlines() if '"job.created"' in line)
        assert spec["servers"] == {"echo": {"transport": "stdio"}}

        session = f"/api/v1/sessions/{init['session_id']}"
        again = await api.run(f"{session}/resume", prompt='Call mcp__echo__echo with {"a": 2}')
        assert results(again) == ['{"a": 2}s3cret-${HOME}']
        none = await api.run(f"{session}/fork", prompt="What is here?", mcp_servers={})
        assert first(none, "init")["mcp_servers"] == []
        assert "mcp__echo__echo" not in first(none, "init")["tools"]


async def test_what_a_server_asks_is_a_question_and_gets_the_answer(tmp_path: Path, program: list[str]) -> None:
    async with serving(tmp_path, Site(servers={"echo": McpServer(command=sys.executable, args=tuple(program))})) as api:
        events: list[Told] = []

        async def run() -> None:
            events.extend(await api.run(prompt='Call mcp__echo__echo with {"ask": "Which?"}', permission_mode=BYPASS))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            ask = await api.asked()
            assert (ask["kind"], ask["tool_name"]) == ("question", "mcp__echo")
            session = f"/api/v1/sessions/{ask['session_id']}"
            assert (await api.ask("POST", f"{session}/answer", {"answer": "the first"}))[0] == 200
        [call] = calls(events, None)
        question = first(events, "question")
        assert (question["kind"], question["tool_use_id"], question["tool_name"]) == (
            "question",
            call["id"],
            "mcp__echo",
        )
        assert [json.loads(each) for each in results(events)] == [
            {"action": "accept", "content": {"name": "the first"}}
        ]


async def test_in_a_sandbox_files_elsewhere_and_the_network_are_out_of_reach(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("s3cret\n")
    remote = {"type": "http", "url": "http://127.0.0.1:9/mcp"}
    async with serving(tmp_path) as api:
        prompt = "Call Read with " + json.dumps({"file_path": str(secret)})
        confined: dict[str, Any] = {"permission_mode": BYPASS, "mcp_servers": {"wiki": remote}, "sandbox": {}}
        events = await api.run(prompt=prompt, **confined)
        init = first(events, "init")
        assert init["sandbox"]["active"] is True
        assert init["sandbox"]["bash"] in ("bwrap", "unshare+landlock", "landlock", "unavailable")
        assert not {"WebFetch", "WebSearch"} & {*init["tools"]}
        assert [each["error"] for each in init["mcp_servers"]] == ["network disabled by sandbox"]
        assert "s3cret" not in json.dumps(events)

        session = f"/api/v1/sessions/{init['session_id']}"
        again = await api.run(f"{session}/resume", prompt=prompt)
        assert "s3cret" not in json.dumps(again)
        freed = await api.run(f"{session}/resume", prompt=prompt, sandbox={"enabled": False})
        assert "sandbox" not in first(freed, "init")
        assert "s3cret" in json.dumps(freed)


async def test_a_sandbox_of_the_site_holds_where_a_query_does_not_say(tmp_path: Path) -> None:
    async with serving(tmp_path, Site(sandbox="best-effort")) as api:
        init = first(await api.run(prompt="What is here?"), "init")
        assert init["sandbox"]["active"] is True


async def test_servers_and_plugins_of_the_site_are_there_in_every_query(tmp_path: Path, program: list[str]) -> None:
    plugin = tmp_path / "review"
    (plugin / "commands").mkdir(parents=True)
    (plugin / "commands/check.md").write_text("---\ndescription: Checks\n---\nCheck $1.\n")
    site = Site(
        servers={"echo": McpServer(command=sys.executable, args=tuple(program))},
        plugins=(Plugin("review", str(plugin)), Plugin("lost", str(tmp_path / "lost"))),
    )
    async with serving(tmp_path, site) as api:
        init = first(await api.run(prompt="What is here?", plugins=[{"name": "mine", "path": "nowhere"}]), "init")
        assert [(each["name"], each["status"]) for each in init["mcp_servers"]] == [("echo", "connected")]
        assert [each["name"] for each in init["commands"]] == ["review:check"]
        assert set(init["plugins"]) >= {"review", "mine"}
        assert {each["name"] for each in init["plugin_errors"]} == {"lost", "mine"}


async def test_a_subagent_is_told_with_the_call_that_it_works_for(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        (api.workspace / "a.txt").write_text("this is a\n")
        events = await api.run(prompt="Have the looker agent to read the file a.txt", agents=AGENTS)
        init = first(events, "init")
        assert "Task" in init["tools"]
        assert "looker" in init["agents"]
        [task] = calls(events, None)
        assert "this is a" in json.dumps(results(events, task["id"]))
        turns = [data for name, data in events if name == "message" and data["role"] == "assistant"]
        main = [data for data in turns if data["parent_tool_use_id"] is None]
        assert 0 < len(main) == first(events, "result")["num_turns"] < len(turns)


async def test_what_a_subagent_asks_is_a_question_that_names_its_call(tmp_path: Path) -> None:
    async with in_process(tmp_path) as server:
        task = call("Task", description="d", prompt="Write it.", subagent_type="general-purpose")
        server.says(reply(task), reply(call("Write", about="a")), "It is written.", "All is done.")
        async with server.stream() as stream:
            question = await stream.until("question")
            [outer] = [each for each in calls(stream.events, None) if each["name"] == "Task"]
            [inner] = calls(stream.events, outer["id"])
            assert (question["kind"], question["tool_name"], question["tool_use_id"]) == (
                "permission",
                "Write",
                inner["id"],
            )
            assert question["parent_tool_use_id"] == outer["id"]
            answered = await server.ask("POST", f"/api/v1/sessions/{question['session_id']}/answer", {"answer": "yes"})
            assert answered[0] == 200
            result = await stream.until("result")
            await stream.until("done")
        check_run(stream.events)
        assert (result["result"], result["num_turns"]) == ("All is done.", 2)


async def test_skills_and_commands_of_the_project_are_told_in_init(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        skill, command = api.workspace / ".claude/skills/deploy", api.workspace / ".claude/commands"
        skill.mkdir(parents=True)
        command.mkdir()
        (skill / "SKILL.md").write_text("---\nname: deploy\ndescription: Deploys.\n---\nDo it.\n")
        (command / "review.md").write_text("Review $ARGUMENTS.\n")
        plain = first(await api.run(prompt="What is here?"), "init")
        assert plain["skills"] == []
        named = [(each["name"], each["path"]) for each in plain["commands"] if each["source"] == "project"]
        assert named == [("review", ".claude/commands/review.md")]
        asked = first(await api.run(prompt="What is here?", setting_sources=["project"]), "init")
        assert asked["skills"] == ["deploy"]
        assert "Skill" in asked["tools"]
