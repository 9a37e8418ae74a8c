"""Servers that others wrote, over HTTP: server-everything for node, and the official SDK for Python in both eras.

They are where AGENTD_MCP_SERVERS says, or below .cache/mcp-servers, where `python3 build.py clients` installs them.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from agentd.domain import McpServer, ToolClass
from agentd.tools.mcp.http import open_http
from tests.conftest import ROOT
from tests.tools.mcp.conftest import Job
from tests.tools.mcp.web import LEGACY, asked, connected, told

INSTALLED = Path(os.environ.get("AGENTD_MCP_SERVERS") or ROOT / ".cache" / "mcp-servers")
EVERYTHING = INSTALLED / "node_modules/@modelcontextprotocol/server-everything/dist/index.js"
SDK = INSTALLED / "v" / "bin" / "python"
START_SECONDS = 30.0

OURS = """
import sys
from typing import Annotated
import anyio
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventMessage, EventStore
from pydantic import Field

app = MCPServer("stranger", version="7")

class Events(EventStore):
    def __init__(self):
        self.events = []
    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return str(len(self.events) - 1)
    async def replay_events_after(self, last_event_id, send_callback):
        stream = self.events[int(last_event_id)][0]
        for number, (of, message) in enumerate(self.events):
            if number > int(last_event_id) and of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream

@app.tool()
def route(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})], ctx: Context) -> str:
    fields = [ctx.headers.get(name) for name in ("mcp-method", "mcp-name", "mcp-param-region", "x-key")]
    return " ".join(map(str, [region, *fields, ctx.protocol_version]))

@app.tool()
async def steps(ctx: Context) -> str:
    for number in (1, 2, 3):
        await ctx.report_progress(number, 3, f"step {number}")
    return "done"

@app.tool()
async def breaks(ctx: Context) -> str:
    await ctx.report_progress(1, 2, "before")
    await ctx.close_sse_stream()
    return "resumed"  # before the client is back: what is said while it comes back, this server may lose

@app.tool()
async def grows(ctx: Context) -> str:
    app.add_tool(lambda: "new", name="added")
    await ctx.notify_tools_changed()
    return "grown"

@app.tool()
async def hangs() -> str:
    try:
        await anyio.sleep_forever()
    finally:
        print("cancelled", flush=True)

@app.tool()
def fails() -> str:
    raise ValueError("it is broken")

transport, port = sys.argv[1], int(sys.argv[2])
more = {
    "sse": {},
    "streamable-http": {"event_store": Events(), "retry_interval": 500},
    "json": {"json_response": True},
}[transport]
app.run("streamable-http" if transport == "json" else transport, port=port, **more)
"""


def missing(what: str) -> None:
    if os.environ.get("AGENTD_TEST_REQUIRE") == "all":
        pytest.fail(f"needs {what}, which is not installed", pytrace=False)
    pytest.skip(f"needs {what}")


@attrs.define
class Program:
    """A server as a process that can be started again at the same port."""

    argv: Callable[[int], list[str]]
    log: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if not self.port:
            with closing(socket.create_server(("127.0.0.1", 0))) as free:
                self.port = free.getsockname()[1]
        with self.log.open("ab") as log:
            env = {"PATH": os.environ["PATH"], "PORT": str(self.port)}
            self.process = subprocess.Popen(self.argv(self.port), env=env, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.05)
        pytest.fail(f"it does not listen: {self.log.read_text()}")

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Callable[[int], list[str]]], Program]]:
    programs: list[Program] = []

    def start(argv: Callable[[int], list[str]]) -> Program:
        programs.append(Program(argv, tmp_path / f"{len(programs)}.log"))
        programs[-1].start()
        return programs[-1]

    yield start
    for program in programs:
        program.stop()


Start = Callable[[Callable[[int], list[str]]], Program]


def everything(start: Start, kind: str) -> tuple[Program, McpServer]:
    node = shutil.which("node")
    if node is None or not EVERYTHING.exists():
        missing("node and server-everything")
    word, path = ("streamableHttp", "mcp") if kind == "http" else ("sse", "sse")
    program = start(lambda port: [str(node), str(EVERYTHING), word])
    transport = "http" if kind == "http" else "sse"
    return program, McpServer(transport, url=f"http://127.0.0.1:{program.port}/{path}")  # type: ignore[arg-type]


def in_python(start: Start, kind: str) -> tuple[Program, McpServer]:
    if not SDK.exists():
        missing("the mcp package")
    program = start(lambda port: [str(SDK), "-c", OURS, kind, str(port)])
    url = f"http://127.0.0.1:{program.port}/{'sse' if kind == 'sse' else 'mcp'}"
    return program, McpServer("sse" if kind == "sse" else "http", url=url, headers={"X-Key": "k"})


# --- server-everything --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_everything_that_server_everything_has_works(start: Start, job: Job, kind: str) -> None:
    _, config = everything(start, kind)
    async with job.open(e=config) as servers:
        [status] = servers.statuses
        assert (status.status, status.error, status.type) == ("connected", None, kind)
        assert status.tool_count >= 13
        assert servers.tools["mcp__e__echo"].tool_class is ToolClass.MCP_READ
        assert await job.said(servers, "mcp__e__echo", message="größe") == "Echo: größe"
        assert await job.said(servers, "mcp__e__get-sum", a=2, b=3) == "The sum of 2 and 3 is 5."
        assert "<image/png>" in await job.said(servers, "mcp__e__get-tiny-image")
        assert "temperature" in await job.said(servers, "mcp__e__get-structured-content", location="Chicago")
        assert "expected number" in await job.said(servers, "mcp__e__get-sum", a=2)
        assert "architecture.md" in await job.said(servers, "mcp__list_resources")
        assert len(servers.prompts) >= 3


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_calls_overlap_and_tell_how_far_they_are(start: Start, job: Job, kind: str) -> None:
    _, config = everything(start, kind)
    async with job.open(e=config) as servers, trio.open_nursery() as nursery:
        call = partial(job.call, servers, "mcp__e__trigger-long-running-operation", duration=1, steps=2)
        for _ in range(4):
            nursery.start_soon(call)
    assert len(job.live) == 8


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_was_started_again_is_found_again(start: Start, job: Job, kind: str) -> None:
    program, config = everything(start, kind)
    async with job.open(e=config) as servers:
        assert await job.said(servers, "mcp__e__echo", message="1") == "Echo: 1"
        program.stop()
        await trio.to_thread.run_sync(program.start)
        with trio.fail_after(30):
            while await job.said(servers, "mcp__e__echo", message="2") != "Echo: 2":  # noqa: ASYNC110  # a process starts
                await trio.sleep(0.1)


# --- The official SDK ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["streamable-http", "json"])
async def test_the_stateless_revision_is_spoken(start: Start, job: Job, kind: str) -> None:
    _, config = in_python(start, kind)
    async with job.open(s=config) as servers:
        [server] = servers.servers
        assert server.session is not None
        assert (server.session.version, server.session.info["name"]) == ("2026-07-28", "stranger")
        said = await job.said(servers, "mcp__s__route", region="größe")
        assert said == "größe tools/call route =?base64?Z3LDtsOfZQ==?= k 2026-07-28"
        assert await job.said(servers, "mcp__s__steps") == "done"
        assert "fails" in await job.said(servers, "mcp__s__fails")
    assert [line for line in job.live if "step" in line] == ([] if kind == "json" else job.live)


async def test_changes_are_told_on_a_long_post(start: Start, job: Job) -> None:
    _, config = in_python(start, "streamable-http")
    async with job.open(s=config) as servers:
        assert "mcp__s__added" not in servers.tools
        assert await job.said(servers, "mcp__s__grows") == "grown"
        with trio.fail_after(10):
            while "mcp__s__added" not in servers.tools:  # noqa: ASYNC110  # whoever asks sees it
                await trio.sleep(0.05)
        assert await job.said(servers, "mcp__s__added") == "new"


async def test_giving_up_a_call_ends_it_at_the_server(start: Start, job: Job) -> None:
    program, config = in_python(start, "streamable-http")
    async with job.open(s=config) as servers:
        with trio.move_on_after(1) as scope:
            await job.said(servers, "mcp__s__hangs")
        assert scope.cancelled_caught
        with trio.fail_after(10):
            while "cancelled" not in program.log.read_text():  # noqa: ASYNC110  # another process writes it
                await trio.sleep(0.05)


async def test_the_older_transport_of_the_sdk_is_spoken(start: Start, job: Job) -> None:
    _, config = in_python(start, "sse")
    async with job.open(s=config) as servers:
        assert (await job.said(servers, "mcp__s__route", region="eu")).startswith("eu None None None k 2025-11-25")
        assert await job.said(servers, "mcp__s__steps") == "done"
    assert len(job.live) == 3


async def test_a_reply_that_the_server_breaks_off_is_taken_up_again(start: Start) -> None:
    _, config = in_python(start, "streamable-http")
    began = {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "agentd", "version": "1"}}
    async with connected(open_http, config.url or "", listening=True) as peer:
        await peer.send(asked("initialize", 0, None, params=began))
        peer.transport.negotiated(LEGACY)
        await peer.send(told())
        call = {"name": "breaks", "arguments": {}, "_meta": {"progressToken": 1}}
        with trio.fail_after(30):
            await peer.send(asked("tools/call", 1, params=call))
    assert peer.got[-1]["result"]["content"][0]["text"] == "resumed"
    assert [each["method"] for each in peer.got if "method" in each] == ["notifications/progress"]
