"""Whole servers: programs that do what a script says, over pipes, as a job has them."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.domain import Image, McpServer, Text, ToolClass
from agentd.errors import ToolFailed
from agentd.sandbox.contain import Level, probe
from agentd.sandbox.enclosure import Refused
from agentd.tools.mcp.servers import Servers
from agentd.tools.mcp.transport import FRAME
from tests.tools.mcp.conftest import Job, program, running_in
from tests.tools.mcp.fake import text, tool

ECHO = {"tools": [tool("echo"), tool("look", annotations={"readOnlyHint": True})]}


def on(name: str, *steps: Any, **more: Any) -> dict[str, Any]:
    """A script with a tool that does this, and one that just answers."""
    return {"tools": [tool(name), tool("echo")], "on": {f"tools/call {name}": list(steps)}, **more}


async def until(holds: Callable[[], object]) -> None:
    with trio.fail_after(10):
        while not holds():  # noqa: ASYNC110  # another process makes it so
            await trio.sleep(0.01)


# --- What they offer ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_tools_are_offered_under_the_name_of_their_server(job: Job, era: str) -> None:
    async with job.open(fake=program({**ECHO, "era": era})) as servers:
        assert list(servers.tools) == ["mcp__fake__echo", "mcp__fake__look"]
        assert [each.tool_class for each in servers.tools.values()] == [ToolClass.MCP, ToolClass.MCP_READ]
        assert servers.tool_named("mcp__fake__echo") is servers.tools["mcp__fake__echo"]
        assert servers.tool_named("echo") is None
        assert await job.said(servers, "mcp__fake__echo", a="ü") == '{"a": "\\u00fc"}'
        (status,) = servers.statuses
        assert attrs.asdict(status) == {
            "name": "fake",
            "type": "stdio",
            "status": "connected",
            "error": None,
            "tool_count": 2,
        }


async def test_a_server_says_how_it_is_to_be_used(job: Job) -> None:
    async with job.open(fake=program(ECHO)) as servers:
        assert servers.instructions == {"fake": "Be careful."}


async def test_a_call_is_told_on_one_line(job: Job) -> None:
    async with job.open(fake=program(ECHO)) as servers:
        assert servers.tools["mcp__fake__echo"].subject({"path": "a\nb", "x": object()}).startswith('{"path": "a')
        assert (await job.call(servers, "mcp__fake__echo")).summary == "{}"


async def test_an_error_result_is_an_error(job: Job) -> None:
    async with job.open(fake=program(on("bad", {"answer": text("no", isError=True)}))) as servers:
        outcome = await job.call(servers, "mcp__fake__bad")
        assert outcome.is_error
        assert outcome.content == (Text("no"),)


async def test_structured_content_is_told_where_there_is_no_other(job: Job) -> None:
    both = {"answer": text("words", structuredContent={"a": 1})}
    alone = {"answer": {"content": [], "structuredContent": {"a": 1}}}
    script = {"tools": [tool("both"), tool("alone")], "on": {"tools/call both": [both], "tools/call alone": [alone]}}
    async with job.open(fake=program(script)) as servers:
        assert await job.said(servers, "mcp__fake__both") == "words"
        assert json.loads(await job.said(servers, "mcp__fake__alone")) == {"a": 1}


async def test_structured_content_is_held_to_what_the_server_says(job: Job) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}}
    script = on("lie", {"answer": text("x", structuredContent={"a": 1})})
    script["tools"] = [tool("lie", outputSchema=schema)]
    async with job.open(fake=program(script)) as servers:
        assert "is not what its outputSchema says: $.a: expected string" in await job.said(servers, "mcp__fake__lie")


async def test_a_result_without_anything_says_so(job: Job) -> None:
    async with job.open(fake=program(on("mute", {"answer": {}}))) as servers:
        assert await job.said(servers, "mcp__fake__mute") == "[no content]"


async def test_an_image_is_an_image(job: Job) -> None:
    content = [{"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}]
    async with job.open(fake=program(on("draw", {"answer": {"content": content}}))) as servers:
        outcome = await job.call(servers, "mcp__fake__draw")
        assert outcome.content == (Image("image/png", "iVBORw0KGgo="),)
        assert outcome.summary == "images: 1"


async def test_prompts_are_said_with_their_arguments(job: Job) -> None:
    said = [
        {"role": "user", "content": {"type": "text", "text": "Look at it."}},
        {"role": "assistant", "content": {"type": "text", "text": "Yes."}},
        {"role": "user", "content": {"type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png"}},
    ]
    prompt = {"name": "pr", "arguments": [{"name": "a", "required": True}, {"name": "b"}]}
    script = {"prompts": [prompt], "on": {"prompts/get pr": [{"answer": {"messages": said}}]}}
    async with job.open(fake=program(script)) as servers:
        assert servers.prompts["mcp__fake__pr"].name == "fake:pr"
        expected = "Look at it.\n\nAssistant: Yes.\n\n[an image: image/png]"
        assert await servers.get_prompt("mcp__fake__pr", "'one two' three four") == expected
        assert await servers.get_prompt("fake:pr", "x") == expected
        with pytest.raises(ToolFailed, match="missing: a"):
            await servers.get_prompt("fake:pr", "")
        with pytest.raises(ToolFailed, match="no MCP prompt"):
            await servers.get_prompt("fake:other", "")


async def test_resources_of_all_servers_are_listed_and_read(job: Job) -> None:
    contents = {"contents": [{"uri": "n:1", "text": "hello"}]}
    script = {"resources": [{"uri": "n:1", "name": "note"}], "on": {"resources/read": [{"answer": contents}]}}
    async with job.open(one=program(script), two=program({"resources": []}), three=program(ECHO)) as servers:
        assert {name for name in servers.tools if "resource" in name} == {"mcp__list_resources", "mcp__read_resource"}
        assert servers.tools["mcp__read_resource"].tool_class is ToolClass.READ
        assert await job.said(servers, "mcp__list_resources") == "one:\n- n:1: note"
        assert await job.said(servers, "mcp__read_resource", server="one", uri="n:1") == "[resource n:1]\nhello"
        assert "These have: one" in await job.said(servers, "mcp__read_resource", server="two", uri="n:1")


async def test_there_are_no_tools_for_resources_that_nobody_has(job: Job) -> None:
    async with job.open(fake=program({**ECHO, "resources": []})) as servers:
        assert "mcp__list_resources" not in servers.tools


@pytest.mark.parametrize("era", ["legacy", "modern"])
async def test_a_list_that_changes_is_read_again(job: Job, era: str) -> None:
    changed = {"say": {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}}
    steps = [{"set": {"tools": [tool("new")]}}, changed, changed, {"answer": text("done")}]
    async with job.open(fake=program({**on("change", *steps), "era": era})) as servers:
        before = servers.tools
        assert servers.tools is before
        await job.said(servers, "mcp__fake__change")
        await until(lambda: list(servers.tools) == ["mcp__fake__new"])


async def test_a_list_that_cannot_be_read_again_stays(job: Job) -> None:
    changed = {"say": {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}}
    broken = {"set": {"on": {"tools/list": [{"error": {"code": 1, "message": "not now"}}]}}}
    async with job.open(fake=program(on("change", broken, changed, {"answer": text("done")}))) as servers:
        await job.said(servers, "mcp__fake__change")
        await until(lambda: any("not now" in said for _, _, said in job.notices))
        assert list(servers.tools) == ["mcp__fake__change", "mcp__fake__echo"]


async def test_who_wants_to_know_something_asks_through_the_job(job: Job) -> None:
    params = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {"name": {"type": "string"}}}}
    asked = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": params}}
    async with job.open(fake=program(on("ask", {"await_reply": True}, asked))) as servers:
        reply = json.loads(await job.said(servers, "mcp__fake__ask"))
        assert reply["result"] == {"action": "accept", "content": {"name": "Ann"}}
        (elicitation,) = job.elicited
        assert (elicitation.server, elicitation.message, elicitation.call) == ("fake", "Who?", "call_1")
        assert elicitation.schema == params["requestedSchema"]


@pytest.mark.parametrize("url", ["javascript:alert(1)", "file:///etc/passwd", "https://a\n.test/", 5, None])
async def test_nobody_is_sent_to_what_is_no_web_page(job: Job, url: Any) -> None:
    params = {"mode": "url", "message": "Log in", "url": url}
    asked = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": params}}
    async with job.open(fake=program(on("ask", {"await_reply": True}, asked))) as servers:
        assert "error" in json.loads(await job.said(servers, "mcp__fake__ask"))
        assert job.elicited == []


@pytest.mark.parametrize(
    "schema", [None, 5, [], {"properties": 5}, {"properties": {"a": {"oneOf": 5}}}, {"properties": {"a": {"enum": 1}}}]
)
async def test_nobody_is_asked_for_what_has_no_form(job: Job, schema: Any) -> None:
    params = {"message": "?", "requestedSchema": schema}
    asked = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": params}}
    async with job.open(fake=program(on("ask", {"await_reply": True}, asked))) as servers:
        assert "error" in json.loads(await job.said(servers, "mcp__fake__ask"))
        assert job.elicited == []


async def test_where_nobody_is_there_to_be_asked_it_is_not_offered(job: Job) -> None:
    job.terms = attrs.evolve(job.terms, elicit=None)
    asked = {"say": {"jsonrpc": "2.0", "id": "s1", "method": "elicitation/create", "params": {}}}
    async with job.open(fake=program(on("ask", {"await_reply": True}, asked))) as servers:
        assert json.loads(await job.said(servers, "mcp__fake__ask"))["error"]["code"] == -32601


# --- How they are started and ended -------------------------------------------------------------------------------


async def test_a_server_gets_the_environment_of_the_job_and_its_own(job: Job, tmp_path: Path) -> None:
    script = "import os, json; open('env.json', 'w').write(json.dumps({**os.environ, 'cwd': os.getcwd()}))"
    server = McpServer(command=sys.executable, args=("-c", script), env={"OWN": "1", "PATH": "/other"})
    job.terms = attrs.evolve(job.terms, env={"PATH": os.environ["PATH"], "JOB": "2"})
    async with job.open(fake=server):
        env = json.loads((tmp_path / "env.json").read_text())
    assert (env["OWN"], env["JOB"], env["PATH"], env["cwd"]) == ("1", "2", "/other", str(tmp_path))
    assert "HOME" not in env


FAILING = {
    "no such program": (McpServer(command="/no/such/program"), "could not be started: No such file"),
    "a program that ends": (program({"on": {"server/discover": [{"exit": 0}], "initialize": [{"exit": 0}]}}), "exited"),
    "last words": (
        program({"on": {"server/discover": [{"exit": 3, "stderr": "no\nlicence"}], "initialize": [{"exit": 3}]}}),
        "exited with code 3",
    ),
    "a NUL": (McpServer(command="a\0b"), "NUL"),
    "no command": (McpServer(), "neither a command nor a url"),
    "a problem": (McpServer(problem="Missing required environment variable: X"), "Missing required environment"),
    "an error": (program({"on": {"initialize": [{"error": {"code": 1, "message": "go away"}}]}}), "go away"),
    "a list that fails": (
        program({"tools": [], "on": {"tools/list": [{"error": {"code": 1, "message": "oh"}}]}}),
        "oh",
    ),
}


@pytest.mark.parametrize("why", FAILING)
async def test_a_server_that_is_not_to_be_had_is_failed_and_says_why(job: Job, why: str) -> None:
    server, said = FAILING[why]
    async with job.open(fake=server, good=program(ECHO)) as servers:
        failed, good = servers.statuses
        assert (failed.status, good.status) == ("failed", "connected")
        assert failed.error is not None
        assert said in failed.error
        assert await job.said(servers, "mcp__good__echo") == "{}"


@pytest.mark.parametrize("steps", [[], [{"error": {"code": 1, "message": "oh"}}]])
async def test_a_server_whose_prompts_cannot_be_read_has_tools(job: Job, steps: list[Any]) -> None:
    script = {**ECHO, "prompts": [], "on": {"prompts/list": steps}}
    async with job.open(fake=program(script, connect_seconds=2.0)) as servers:
        assert servers.statuses[0].status == "connected"
        assert any("its prompts could not be read" in said for _, _, said in job.notices)
        assert await job.said(servers, "mcp__fake__echo") == "{}"


async def test_a_server_that_dies_of_a_question_it_does_not_know_is_taken_for_legacy(job: Job) -> None:
    async with job.open(fake=program({**ECHO, "on": {"server/discover": [{"exit": 1}]}})) as servers:
        assert servers.statuses[0].status == "connected"


async def test_a_server_that_says_nothing_is_not_waited_for(job: Job) -> None:
    mute = program({"on": {"server/discover": [], "initialize": []}}, connect_seconds=0.5)
    started = time.monotonic()
    async with job.open(fake=mute) as servers:
        assert time.monotonic() - started < 5
        assert servers.statuses[0].error == "it was not there within 0.5 s"
        assert servers.tools == {}
        await trio.sleep(0.2)
    assert job.notices == []


async def test_without_a_network_only_programs_are_servers(job: Job) -> None:
    job.terms = attrs.evolve(job.terms, network=False)
    remote = McpServer(transport="http", url="http://127.0.0.1:9/")
    async with job.open(remote=remote, local=program(ECHO)) as servers:
        assert [status.error for status in servers.statuses] == ["network disabled by sandbox", None]


async def test_where_there_has_to_be_a_sandbox_and_is_none_no_program_is_started(job: Job) -> None:
    job.terms = attrs.evolve(job.terms, confine=Refused(Level.GROUP, why="no sandbox works here"))
    async with job.open(fake=program(ECHO)) as servers:
        assert servers.statuses[0].error is not None
        assert servers.statuses[0].error.endswith("could not be started: no sandbox works here")


async def test_keys_are_in_no_error(job: Job) -> None:
    dies = {"server/discover": [{"exit": 1}], "initialize": [{"exit": 1, "stderr": "bad key hunter2hunter2"}]}
    async with job.open(fake=program({"on": dies}, env={"KEY": "hunter2hunter2"})) as servers:
        assert servers.statuses[0].error == "it exited with code 1: bad key …"


# --- What they do wrong -------------------------------------------------------------------------------------------


async def test_a_server_that_dies_fails_its_call_and_comes_back(job: Job) -> None:
    async with job.open(fake=program(on("die", {"exit": 9, "stderr": "ouch"}))) as servers:
        assert await job.said(servers, "mcp__fake__die") == "MCP server fake is gone: it exited with code 9: ouch"
        assert await job.said(servers, "mcp__fake__echo") == "{}"
        assert any("begun anew" in said for _, _, said in job.notices)


async def test_a_server_that_dies_again_and_again_is_left_alone(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.tools.mcp.server.BACKOFF_SECONDS", 0.01)
    async with job.open(fake=program(on("die", {"exit": 9}))) as servers:
        for _ in range(4):
            assert await job.said(servers, "mcp__fake__die") == "MCP server fake is gone: it exited with code 9"
        await until(lambda: servers.statuses[0].status == "failed")
        assert await job.said(servers, "mcp__fake__echo") == "MCP server fake is gone: it exited with code 9"
        assert list(servers.tools) == ["mcp__fake__die", "mcp__fake__echo"]


async def test_a_server_that_hangs_fails_its_call_in_time(job: Job) -> None:
    async with job.open(fake=program(on("hang", {"sleep": 3600}), call_seconds=0.3)) as servers:
        assert await job.said(servers, "mcp__fake__hang") == "MCP server fake: there was no answer within 0.3 s"


async def test_a_server_that_reads_nothing_fails_its_calls_in_time(job: Job) -> None:
    large = "x" * 300_000  # more than a pipe takes
    async with job.open(fake=program(on("hang", {"sleep": 3600}), call_seconds=0.3)) as servers:
        for _ in range(8):
            assert "no answer within" in await job.said(servers, "mcp__fake__hang", large=large)


async def test_a_message_that_is_too_long_ends_the_connection(job: Job) -> None:
    flood = {"raw": "x" * (1 << 14), "repeat": (FRAME >> 14) + 1}
    async with job.open(fake=program(on("flood", flood))) as servers:
        said = await job.said(servers, "mcp__fake__flood")
        assert said == "MCP server fake is gone: it sent a message of more than 16 MiB"
        assert await job.said(servers, "mcp__fake__echo") == "{}"


async def test_a_long_answer_is_cut_and_kept(job: Job) -> None:
    async with job.open(fake=program(on("long", {"answer": text("x" * 120_000)}))) as servers:
        said = await job.said(servers, "mcp__fake__long")
        assert len(said) < 100_200
        assert said.endswith("The whole is kept as artifact 1]")
        assert job.kept == [b"x" * 120_000]


@pytest.mark.parametrize(
    "garbage", ["Hello!\n", "{}\n", "[]\n", '{"jsonrpc":"2.0"}\n', "\n\n", "\0\n", '{"jsonrpc":"2.0","id":\n', "﻿\n"]
)
async def test_garbage_between_messages_is_passed_over(job: Job, garbage: str) -> None:
    async with job.open(fake=program(on("mess", {"raw": garbage}, {"answer": text("done")}))) as servers:
        assert await job.said(servers, "mcp__fake__mess") == "done"


async def test_half_a_message_and_then_death_fails_the_call(job: Job) -> None:
    half = {"raw": '{"jsonrpc":"2.0","id":3,"resu'}
    async with job.open(fake=program(on("half", half, {"exit": 0}))) as servers:
        assert await job.said(servers, "mcp__fake__half") == "MCP server fake is gone: it exited"


async def test_a_message_byte_by_byte_is_a_message(job: Job) -> None:
    pieces = ["{", *'"jsonrpc":"2.0","id":', "$id", *',"result":{"content":[]}}\n']
    drip = [step for piece in pieces for step in ({"raw": piece}, {"sleep": 0.001})]
    async with job.open(fake=program(on("drip", *drip))) as servers:
        assert await job.said(servers, "mcp__fake__drip") == "[no content]"


async def test_a_slow_drip_fails_the_call_in_time(job: Job) -> None:
    drip = [{"raw": "x"}, {"sleep": 0.05}] * 1000
    async with job.open(fake=program(on("drip", *drip), call_seconds=0.3)) as servers:
        assert "no answer within" in await job.said(servers, "mcp__fake__drip")


async def test_an_input_that_json_has_no_form_for_fails_the_call_alone(job: Job) -> None:
    async with job.open(fake=program(ECHO)) as servers:
        assert "has no form as JSON" in await job.said(servers, "mcp__fake__echo", a=float("nan"))
        assert "has no form as JSON" in await job.said(servers, "mcp__fake__echo", a="\ud800")
        assert await job.said(servers, "mcp__fake__echo", a=1) == '{"a": 1}'


async def test_live_output_has_an_end(job: Job) -> None:
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x"}}
    async with job.open(fake=program(on("chat", *[{"say": log}] * 400, {"answer": text("done")}))) as servers:
        assert await job.said(servers, "mcp__fake__chat") == "done"
        assert len(job.live) == 200


async def test_notices_have_an_end(job: Job) -> None:
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "error", "data": "x"}}
    async with job.open(
        fake=program({**ECHO, "on": {"logging/setLevel": [{"say": log}] * 50}, "capabilities": {"logging": {}}})
    ) as servers:
        await until(lambda: len(job.notices) >= 20)
        assert await job.said(servers, "mcp__fake__echo") == "{}"
        assert len(job.notices) == 20


# --- How it ends --------------------------------------------------------------------------------------------------


STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen(["sleep", "3600"], start_new_session=True)
open("pids", "w").write(f"{os.getpid()} {child.pid}")
while True: time.sleep(1)
"""


@pytest.mark.parametrize("cancelled", [False, True])
async def test_nothing_of_a_server_is_left(job: Job, tmp_path: Path, cancelled: bool) -> None:
    job.terms = attrs.evolve(job.terms, confine=await probe(), connect_seconds=1.0)
    server = McpServer(command=sys.executable, args=("-c", STUBBORN))
    started = time.monotonic()
    with trio.CancelScope() as scope:
        async with job.open(stubborn=server, sleepy=McpServer(command="sleep", args=("3600",))):
            assert (tmp_path / "pids").exists()
            if cancelled:
                scope.cancel()
            await trio.lowlevel.checkpoint()
    assert time.monotonic() - started < 15
    assert running_in(tmp_path) == []


async def test_a_server_is_told_to_go_before_it_is_made_to(job: Job, tmp_path: Path) -> None:
    script = "import sys; sys.stdin.read(); open('bye', 'w').write('bye')"
    async with job.open(fake=McpServer(command=sys.executable, args=("-S", "-c", script), connect_seconds=0.5)):
        pass
    assert (tmp_path / "bye").read_text() == "bye"


async def test_calls_in_flight_end_with_the_block(job: Job) -> None:
    said: list[str] = []

    async def call(servers: Servers) -> None:
        said.append(await job.said(servers, "mcp__fake__hang"))

    async with trio.open_nursery() as nursery, job.open(fake=program(on("hang", {"sleep": 3600}))) as servers:
        nursery.start_soon(call, servers)
        await wait_all_tasks_blocked(0.1)
    assert said == ["MCP server fake is gone: the job has ended"]
