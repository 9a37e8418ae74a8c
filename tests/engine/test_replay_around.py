"""Jobs in a sandbox, with MCP servers and plugins, are played on a machine that has none of it."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.domain import Agent, JobSpec, McpServer, Mode, PermissionMode, Plugin, Rules, Sandbox, Site, ToolPolicy
from agentd.engine.replaydiff import Report
from agentd.providers.scripted import Reply, call, reply
from tests.recordings import ASKING, EDIT, TALK, at_work, played, recorded
from tests.tools.mcp import fake
from tests.workshop import Workshop, spec

BASH = reply(call("Bash", command="ls"))
LOOK = fake.tool("look", annotations={"readOnlyHint": True})
Elsewhere = Callable[..., Awaitable[Report]]


@pytest.fixture
def elsewhere(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """Records a job, and plays it where its workspace and the person's files are not."""
    bench = at_work(workshop)

    async def play(given: JobSpec, *replies: Reply | str, site: Site | None = None, **more: Any) -> Report:
        path = await recorded(attrs.evolve(bench, site=site or Site()), given, *replies, **more)
        bench.workspace.rename(tmp_path / "moved")
        monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
        return await played(path, tmp_path)

    return play


def query(**fields: Any) -> JobSpec:
    return spec(mode=Mode.QUERY, **fields)


# --- Sandboxes ----------------------------------------------------------------------------------------------------

SANDBOXES: dict[str, tuple[JobSpec, Site]] = {
    "no network": (query(sandbox=Sandbox()), Site()),
    "a network": (query(sandbox=Sandbox(network=True)), Site()),
    "some hosts": (query(sandbox=Sandbox(network=True, hosts=("pypi.org",))), Site()),
    "not enabled": (query(sandbox=Sandbox(enabled=False)), Site()),
    "not enabled, and required": (query(sandbox=Sandbox(enabled=False)), Site(sandbox="require")),
    "of the site": (spec(), Site(sandbox="best-effort")),
    "offline": (query(sandbox=Sandbox(network=True)), Site(offline=True)),
    "offline without one": (query(), Site(offline=True)),
}


@pytest.mark.parametrize("name", SANDBOXES)
async def test_a_job_in_a_sandbox_has_the_tools_that_it_had(name: str, elsewhere: Elsewhere) -> None:
    given, site = SANDBOXES[name]
    report = await elsewhere(given, *TALK, site=site)
    assert (report.differences, report.not_compared) == ([], [])


# --- MCP servers --------------------------------------------------------------------------------------------------


def server(**script: Any) -> McpServer:
    given = json.dumps({"tools": [LOOK, fake.tool("write")], **script})
    return McpServer(command=sys.executable, args=("-S", str(Path(fake.__file__)), given))


async def test_what_mcp_servers_say_of_their_tools_is_part_of_the_prompt_again(elsewhere: Elsewhere) -> None:
    servers = {name: server() for name in ("one", "two")} | {"gone": McpServer(command="/nowhere/at/all")}
    calls = (reply(call("mcp__one__look")), reply(call("mcp__two__write")))
    report = await elsewhere(query(servers=servers, tools=ASKING), *calls, "Done.", decisions=("allow", "deny"))
    assert report.differences == []
    assert report.not_compared == [
        f"tools of the MCP server {name}: what it says is not in the recording" for name in ("one", "two")
    ]


async def test_resources_of_mcp_servers_are_one_thing_that_is_not_compared(elsewhere: Elsewhere) -> None:
    resources = [{"uri": "x://a", "name": "a"}]
    read = reply(call("mcp__list_resources"))
    report = await elsewhere(query(servers={"one": server(resources=resources)}), read, "Done.")
    assert report.differences == []
    assert [why.split(":")[0] for why in report.not_compared] == [
        "tools of the MCP server one",
        "tools for resources of MCP servers",
    ]


async def test_what_a_server_asked_a_person_is_no_call(elsewhere: Elsewhere) -> None:
    params = {"message": "Go on?", "requestedSchema": {"type": "object", "properties": {"yes": {"type": "boolean"}}}}
    asked = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": params}}
    asking = server(on={"tools/call look": [{"await_reply": True}, asked]})
    calls, decisions = (reply(call("mcp__one__look")), "Done."), ("allow", "yes")
    report = await elsewhere(query(servers={"one": asking}, tools=ASKING), *calls, decisions=decisions)
    assert (report.differences, report.calls) == ([], 1)


async def test_a_tool_that_decided_about_calls_decides_as_it_did(elsewhere: Elsewhere) -> None:
    policy = attrs.evolve(ASKING, prompt_tool="mcp__one__look")
    report = await elsewhere(query(servers={"one": server()}, tools=policy), EDIT, "Done.")
    assert report.differences == []


async def test_subagents_with_tools_of_servers_are_the_same(elsewhere: Elsewhere) -> None:
    agents = {"scout": Agent("looks", "You look.")}
    task = reply(call("Task", description="x", prompt="Look!", subagent_type="scout"))
    replies = (task, reply(call("mcp__one__look"), call("Read", file_path="a.py")), "It is there.", "Done.")
    report = await elsewhere(query(servers={"one": server()}, agents=agents, sandbox=Sandbox()), *replies)
    assert report.differences == []
    assert report.requests == 4


FORM = {"message": "Which?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
ELICIT = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": FORM}}


async def test_what_a_server_asks_people_while_its_tool_runs_is_no_word_about_the_call(elsewhere: Elsewhere) -> None:
    asks = server(on={"tools/call look": [ELICIT, {"await_reply": True}]})
    policy = ToolPolicy(permission_mode=PermissionMode.PLAN)
    calls = reply(call("mcp__one__look"))
    report = await elsewhere(query(servers={"one": asks}, tools=policy), calls, "Done.", decisions=("deny",))
    assert report.differences == []


async def test_a_prompt_of_a_server_is_played(elsewhere: Elsewhere) -> None:
    said = {"messages": [{"role": "user", "content": {"type": "text", "text": "Greet Ada."}}]}
    given = server(prompts=[{"name": "greet"}], on={"prompts/get greet": [{"answer": said}]})
    report = await elsewhere(spec("/mcp__one__greet", mode=Mode.QUERY, servers={"one": given}), "Hello.")
    assert (report.differences, report.requests) == ([], 1)


# --- Plugins ------------------------------------------------------------------------------------------------------


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[Mapping[str, str]], dict[str, Any]]:
    """What a job is given that has a plugin with a program for each event; all of them are for Bash."""

    def make(programs: Mapping[str, str]) -> dict[str, Any]:
        hooks = {
            event: [{"matcher": "Bash", "hooks": [{"type": "command", "command": command}]}]
            for event, command in programs.items()
        }
        (tmp_path / "plugin/hooks").mkdir(parents=True)
        (tmp_path / "plugin/hooks/hooks.json").write_text(json.dumps({"hooks": hooks}))
        return {"plugins": (Plugin("guard", str(tmp_path / "plugin")),)}

    return make


CONTEXT = json.dumps({"hookSpecificOutput": {"additionalContext": "mind the gap"}})
CHANGED = json.dumps({"hookSpecificOutput": {"permissionDecision": "allow", "updatedInput": {"command": "true"}}})
PROGRAMS: dict[str, Mapping[str, str]] = {
    "denies": {"PreToolUse": "echo no >&2; exit 2"},
    "fails": {"PreToolUse": "exit 7"},
    "prints no answer": {"PreToolUse": "echo '{'"},
    "asks": {"PreToolUse": """echo '{"decision": "ask"}'"""},
    "changes the input": {"PreToolUse": f"echo '{CHANGED}'"},
    "says something of the result": {"PostToolUse": f"echo '{CONTEXT}'"},
    "denies the result": {"PostToolUse": "echo bad >&2; exit 2"},
    "adds to the prompt": {"UserPromptSubmit": "echo be brief"},
    "denies the prompt": {"UserPromptSubmit": "echo go away >&2; exit 2"},
    "is told of all": dict.fromkeys(("PreToolUse", "PostToolUse", "UserPromptSubmit", "Stop", "Notification"), "true"),
}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_programs_of_plugins_decide_as_they_did(name: str, elsewhere: Elsewhere, plugin: Any) -> None:
    decisions = {"asks": ("deny",)}.get(name, ())
    given = query(**plugin(PROGRAMS[name]), tools=attrs.evolve(ASKING, rules=Rules(allow=("Bash", "Write"))))
    report = await elsewhere(given, BASH, EDIT, "Done.", decisions=decisions, site=Site(plugin_hooks=True))
    assert report.differences == []
