"""Servers that others wrote, as programs: four that are published, and one made with the official SDK for Python.

They are where AGENTD_MCP_SERVERS says, or below .cache/mcp-servers, where `python3 build.py clients` installs them.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import Image, McpServer, ToolClass
from agentd.sandbox.contain import probe
from agentd.tools.mcp.servers import Elicited, Servers
from tests.conftest import ROOT
from tests.tools.mcp.conftest import Job

INSTALLED = Path(os.environ.get("AGENTD_MCP_SERVERS") or ROOT / ".cache" / "mcp-servers")
PUBLISHED = INSTALLED / "node_modules" / "@modelcontextprotocol"

SDK = """
import base64
from typing import Annotated
import anyio
from pydantic import BaseModel
from mcp.server.mcpserver import Context, Image, MCPServer
from mcp.server.mcpserver.resolve import Elicit, ListRoots, Resolve
from mcp.types import ListRootsResult, ToolAnnotations

app = MCPServer("stranger", instructions="Add with add.")

class Person(BaseModel):
    name: str

class Weather(BaseModel):
    city: str
    degrees: float

async def who() -> Elicit[Person]:
    return Elicit("Who are you?", Person)

async def where() -> ListRoots:
    return ListRoots()

@app.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int) -> int:
    "Adds two numbers."
    return a + b

@app.tool()
async def steps(ctx: Context) -> str:
    for number in (1, 2):
        await ctx.report_progress(number, 2, f"step {number}")
        await ctx.info(f"done {number}")
    return "done"

@app.tool()
async def greet(person: Annotated[Person, Resolve(who)]) -> str:
    return f"Hello {person.name}"

@app.tool()
async def roots(found: Annotated[ListRootsResult, Resolve(where)]) -> str:
    return " ".join(str(root.uri) for root in found.roots)

@app.tool()
def picture() -> Image:
    return Image(data=base64.b64decode("iVBORw0KGgo="), format="png")

@app.tool()
def weather(city: str) -> Weather:
    return Weather(city=city, degrees=21.5)

@app.tool()
def fails() -> str:
    raise ValueError("it is broken")

@app.tool()
async def hangs() -> str:
    try:
        await anyio.sleep_forever()
    finally:
        open("cancelled", "w").close()

@app.tool()
async def grows(ctx: Context) -> str:
    app.add_tool(lambda: "new", name="added")
    await ctx.notify_tools_changed()
    return "grown"

@app.resource("note://one")
def note() -> str:
    return "a note"

@app.prompt()
def review(language: str) -> str:
    return f"Review this {language}."

app.run("stdio")
"""


@pytest.fixture
def installed(require: Callable[[str], str]) -> Callable[[str, str], McpServer]:
    """A published server, by its name, with one argument."""

    def find(name: str, argument: str) -> McpServer:
        script, program = PUBLISHED / name / "dist" / "index.js", INSTALLED / "v" / "bin" / name
        if script.exists():
            return McpServer(command=require("node"), args=(str(script), argument))
        return McpServer(command=require(str(program)), args=tuple(argument.split()))

    return find


@pytest.fixture
async def real(job: Job) -> Job:
    """A job whose servers are contained as those of real jobs are."""
    job.terms = attrs.evolve(job.terms, confine=await probe())
    return job


def spoken(servers: Servers) -> list[str]:
    sessions = [server._session for server in servers._servers]
    return [session.version if session is not None else "" for session in sessions]


async def test_server_everything(real: Job, installed: Callable[[str, str], McpServer], tmp_path: Path) -> None:
    async with real.open(all=installed("server-everything", "stdio")) as servers:
        assert spoken(servers) == ["2025-11-25"]
        assert servers.tools["mcp__all__echo"].tool_class is ToolClass.MCP_READ
        assert servers.tools["mcp__all__gzip-file-as-resource"].tool_class is ToolClass.MCP
        assert await real.said(servers, "mcp__all__echo", message="hé") == "Echo: hé"
        assert (await real.call(servers, "mcp__all__echo")).is_error
        picture = await real.call(servers, "mcp__all__get-tiny-image")
        assert [part.media_type for part in picture.content if isinstance(part, Image)] == ["image/png"]
        assert '"humidity"' in await real.said(servers, "mcp__all__get-structured-content", location="Chicago")
        annotated = {"messageType": "error", "includeImage": True}
        assert await real.said(servers, "mcp__all__get-annotated-message", **annotated) == (
            "Error: Operation failed<image/png>"
        )
        assert "demo://resource/dynamic/" in await real.said(servers, "mcp__all__get-resource-links", count=2)
        await real.said(servers, "mcp__all__trigger-long-running-operation", duration=0.2, steps=2)
        assert "[2/2]\n" in real.live


async def test_what_server_everything_asks_of_its_client(
    real: Job, installed: Callable[[str, str], McpServer], tmp_path: Path
) -> None:
    async with real.open(all=installed("server-everything", "stdio")) as servers:
        with trio.fail_after(10):  # it offers these once it knows what the client can do
            while "mcp__all__trigger-url-elicitation" not in servers.tools:  # noqa: ASYNC110
                await trio.sleep(0.01)
        assert tmp_path.as_uri() in await real.said(servers, "mcp__all__get-roots-list")
        assert "Name: Ann" in await real.said(servers, "mcp__all__trigger-elicitation-request")
        visit = {"url": "https://agentd.test/login", "message": "Log in", "elicitationId": "e1"}
        await real.said(servers, "mcp__all__trigger-url-elicitation", **visit)
        assert [(each.url, each.call) for each in real.elicited] == [(None, "call_1"), (visit["url"], "call_1")]


async def test_the_resources_and_prompts_of_server_everything(
    real: Job, installed: Callable[[str, str], McpServer]
) -> None:
    async with real.open(all=installed("server-everything", "stdio")) as servers:
        listed = await real.said(servers, "mcp__list_resources", server="all")
        assert "- demo://resource/static/document/architecture.md (text/markdown)" in listed
        assert "- template demo://resource/dynamic/text/{resourceId}" in listed
        uri = "demo://resource/dynamic/text/1"
        assert "This is a plaintext resource" in await real.said(servers, "mcp__read_resource", server="all", uri=uri)
        assert "not found" in await real.said(servers, "mcp__read_resource", server="all", uri="demo://nothing")
        said = await servers.get_prompt("mcp__all__args-prompt", "Berlin 'the east'")
        assert said == "What's weather in Berlin, the east?"


async def test_server_filesystem(real: Job, installed: Callable[[str, str], McpServer], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    async with real.open(files=installed("server-filesystem", str(tmp_path))) as servers:
        assert await real.said(servers, "mcp__files__read_text_file", path=str(tmp_path / "a.txt")) == "hello"
        assert (await real.call(servers, "mcp__files__read_text_file", path="/etc/hostname")).is_error
        await real.said(servers, "mcp__files__write_file", path=str(tmp_path / "b.txt"), content="bye")
        assert await trio.Path(tmp_path / "b.txt").read_text() == "bye"


async def test_mcp_server_git(real: Job, installed: Callable[[str, str], McpServer], tmp_path: Path) -> None:
    await trio.run_process(["git", "init", "-q", str(tmp_path)])
    (tmp_path / "new.txt").write_text("x")
    async with real.open(git=installed("mcp-server-git", f"--repository {tmp_path}")) as servers:
        assert "new.txt" in await real.said(servers, "mcp__git__git_status", repo_path=str(tmp_path))


async def test_mcp_server_time(real: Job, installed: Callable[[str, str], McpServer]) -> None:
    async with real.open(time=installed("mcp-server-time", "")) as servers:
        told = await real.said(servers, "mcp__time__get_current_time", timezone="Europe/Berlin")
        assert '"timezone": "Europe/Berlin"' in told
        assert (await real.call(servers, "mcp__time__get_current_time", timezone="Nowhere")).is_error


@pytest.fixture
def stranger(require: Callable[[str], str], tmp_path: Path) -> McpServer:
    (tmp_path / "stranger.py").write_text(SDK)
    return McpServer(command=require(str(INSTALLED / "v" / "bin" / "python")), args=("stranger.py",))


async def test_a_modern_server_of_the_official_sdk(real: Job, stranger: McpServer, tmp_path: Path) -> None:
    async with real.open(sdk=stranger) as servers:
        assert spoken(servers) == ["2026-07-28"]
        assert servers.instructions == {"sdk": "Add with add."}
        assert servers.tools["mcp__sdk__add"].tool_class is ToolClass.MCP_READ
        assert await real.said(servers, "mcp__sdk__add", a=1, b=2) == "3"
        assert await real.said(servers, "mcp__sdk__steps") == "done"
        assert real.live == ["[1/2] step 1\n", "[info] done 1\n", "[2/2] step 2\n", "[info] done 2\n"]
        assert await real.said(servers, "mcp__sdk__picture") == "<image/png>"
        assert '"degrees": 21.5' in await real.said(servers, "mcp__sdk__weather", city="Rome")
        assert (await real.call(servers, "mcp__sdk__fails")).is_error
        assert await real.said(servers, "mcp__read_resource", server="sdk", uri="note://one") == (
            "[resource note://one]\na note"
        )
        assert await servers.get_prompt("sdk:review", "Python") == "Review this Python."


async def test_what_a_modern_server_asks_of_its_client(real: Job, stranger: McpServer, tmp_path: Path) -> None:
    async with real.open(sdk=stranger) as servers:
        assert await real.said(servers, "mcp__sdk__greet") == "Hello Ann"
        assert [each.message for each in real.elicited] == ["Who are you?"]
        assert await real.said(servers, "mcp__sdk__roots") == tmp_path.as_uri()


async def test_a_modern_server_hears_no(real: Job, stranger: McpServer) -> None:
    async def decline(_: Any) -> Elicited:
        return Elicited("decline")

    real.terms = attrs.evolve(real.terms, elicit=decline)
    async with real.open(sdk=stranger) as servers:
        assert (await real.call(servers, "mcp__sdk__greet")).is_error


async def test_a_modern_server_tells_of_new_tools(real: Job, stranger: McpServer) -> None:
    async with real.open(sdk=stranger) as servers:
        await real.said(servers, "mcp__sdk__grows")
        with trio.fail_after(10):
            while "mcp__sdk__added" not in servers.tools:  # noqa: ASYNC110  # another process makes it so
                await trio.sleep(0.01)
        assert await real.said(servers, "mcp__sdk__added") == "new"


async def test_a_modern_server_hears_that_nobody_waits(real: Job, stranger: McpServer, tmp_path: Path) -> None:
    async with real.open(sdk=stranger) as servers:
        with trio.move_on_after(0.5):
            await real.said(servers, "mcp__sdk__hangs")
        with trio.fail_after(10):
            while not await trio.Path(tmp_path / "cancelled").exists():  # noqa: ASYNC110  # another process makes it so
                await trio.sleep(0.01)
        assert await real.said(servers, "mcp__sdk__add", a=1, b=2) == "3"
