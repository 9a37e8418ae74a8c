"""Uses agentd through the official MCP client, and prints what it saw as JSON. It runs where that is installed.

Arguments: `http URL TOKEN` or `stdio`, the client's mode, a repository, and for stdio the command of the server.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx2  # type: ignore[import-not-found, unused-ignore]
from mcp.client.client import Client  # type: ignore[import-not-found, unused-ignore]
from mcp.client.stdio import StdioServerParameters, stdio_client  # type: ignore[import-not-found, unused-ignore]
from mcp.client.streamable_http import streamable_http_client  # type: ignore[import-not-found, unused-ignore]
from mcp.shared.exceptions import MCPError  # type: ignore[import-not-found, unused-ignore]
from mcp_types import ElicitResult  # type: ignore[import-not-found, unused-ignore]

PATIENCE = 120  # seconds, on a machine that has much else to do
seen: dict[str, Any] = {"progress": [], "elicited": []}


def transport(how: str, rest: list[str]) -> Any:
    if how == "http":
        url, token = rest
        client = httpx2.AsyncClient(headers={"Authorization": f"Bearer {token}"}, timeout=2 * PATIENCE)
        return streamable_http_client(url, http_client=client)
    return stdio_client(StdioServerParameters(command=rest[0], args=rest[1:]))


async def elicit(context: Any, params: Any) -> ElicitResult:
    seen["elicited"].append(params.message)
    return ElicitResult(action="accept", content={"decision": "allow"})


async def progress(done: float, total: float | None, message: str | None) -> None:
    seen["progress"].append(message)


async def use(client: Client, repository: str) -> None:
    async def tool(name: str, /, **arguments: Any) -> Any:
        told = await client.call_tool(name, arguments, progress_callback=progress)
        return told.structured_content if not told.is_error else told.content[0].text

    seen["version"] = client.protocol_version
    seen["tools"] = [each.name for each in (await client.list_tools()).tools]
    began = await tool("start_job", prompt="Where is `add` defined?", directory=repository)
    seen["began"] = began
    job = began["job"]["job_id"]
    seen["followed"] = await tool("follow_job", job_id=job, position=began["position"], wait_seconds=PATIENCE)
    seen["search"] = await tool("search", pattern="def add", directory=repository)
    seen["symbols"] = await tool("symbols", action="find", name="add", directory=repository)
    seen["wrong"] = await tool("follow_job", job_id="nobody")
    try:
        await client.call_tool("nothing", {})
    except MCPError as exc:
        seen["unknown"] = exc.error.code
    resource = (await client.list_resources()).resources[0]
    seen["transcript"] = (await client.read_resource(resource.uri)).contents[0].text
    await decide(tool, repository)
    endless = await tool("start_job", prompt="Run `sleep 1000`", directory=repository, mode="code", **BYPASS)
    job = endless["job"]["job_id"]
    await tool("cancel_job", job_id=job)  # it may come to its end later than the answer
    seen["cancelled"] = await tool("follow_job", job_id=job, position=endless["position"], wait_seconds=PATIENCE)


BYPASS = {"permission_mode": "bypassPermissions", "wait_seconds": 1}


async def decide(tool: Any, repository: str) -> None:
    """One ask that a tool settles, and one that a form does."""
    asks = {"prompt": "Run the command `echo told > told.txt`", "directory": repository, "mode": "code"}
    waiting = await tool("start_job", **asks, wait_seconds=PATIENCE)
    seen["waiting"] = waiting
    ask = waiting["asks"][0]["ask_id"]
    seen["listed"] = await tool("list_asks", job_id=waiting["job"]["job_id"])
    seen["answered"] = await tool("answer_ask", ask_id=ask, decision="allow")
    job = waiting["job"]["job_id"]
    seen["allowed"] = await tool("follow_job", job_id=job, position=waiting["position"], wait_seconds=PATIENCE)
    seen["diff"] = await tool("job_diff", job_id=job)
    again = await tool("start_job", **asks)
    seen["by form"] = await tool("follow_job", job_id=again["job"]["job_id"], wait_seconds=PATIENCE)


async def main(mode: str, repository: str, how: str, *rest: str) -> None:
    async with Client(transport(how, list(rest)), mode=mode, elicitation_callback=elicit) as client:
        await use(client, repository)
    sys.stdout.write(json.dumps(seen))


asyncio.run(main(*sys.argv[1:]))
