"""What can go wrong with a server that is a program, at every message that it gets: the job goes on, the model is told,
and nothing is left running."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.tools.mcp.transport import FRAME
from tests.tools.mcp.conftest import Job, program, running_in
from tests.tools.mcp.fake import text, tool

MESSAGES = [
    "server/discover",
    "initialize",
    "notifications/initialized",
    "logging/setLevel",
    "tools/list",
    "prompts/list",
    "resources/list",
    "tools/call",
]
FAULTS: dict[str, list[Any]] = {
    "it dies": [{"exit": 1, "stderr": "ouch"}],
    "it ends in order": [{"exit": 0}],
    "it says nothing": [],
    "it hangs up and stays": [{"close": True}, {"sleep": 60}],
    "it hangs": [{"sleep": 60}],
    "it dies with half a message": [{"raw": '{"jsonrpc":"2.0","id":$id,"re'}, {"exit": 1}],
    "it stops with half a message": [{"raw": '{"jsonrpc":"2.0","id":$id,"re'}, {"sleep": 60}],
    "it drips": [{"raw": "x"}, {"sleep": 0.02}] * 500,
    "it says garbage": [{"raw": "no JSON\n\0\n{}\n[1]\n"}],
    "it says too much": [{"raw": "x" * 16384, "repeat": (FRAME >> 14) + 1}],
    "it answers with nothing": [{"answer": None}],
    "it answers with a list": [{"answer": []}],
    "it answers with lies": [{"answer": {"tools": 5, "content": 5, "capabilities": 5, "protocolVersion": 5}}],
    "it answers somebody else": [{"say": {"jsonrpc": "2.0", "id": 1000, "result": text("x")}}],
    "it refuses": [{"error": {"code": -32603, "message": "internal"}}],
    "it refuses without a word": [{"error": {}}],
}


@pytest.mark.parametrize("message", MESSAGES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_harms_the_calls_of_its_server_alone(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, message: str
) -> None:
    monkeypatch.setattr("agentd.tools.mcp.server.BACKOFF_SECONDS", 0.01)
    lists = {"tools": [tool("use")], "prompts": [], "resources": []}
    faulty = program({**lists, "capabilities": {"logging": {}}, "on": {message: FAULTS[fault]}})
    faulty = attrs.evolve(faulty, connect_seconds=0.8, call_seconds=0.3)
    started = time.monotonic()
    async with job.open(bad=faulty, good=program({"tools": [tool("use")]})) as servers:
        assert [status.status for status in servers.statuses][1] == "connected"
        if "mcp__bad__use" in servers.tools:
            assert await job.said(servers, "mcp__bad__use")
        else:
            assert servers.statuses[0].tool_count == 0
        assert await job.said(servers, "mcp__good__use", a=1) == '{"a": 1}'
    assert time.monotonic() - started < 30
    assert running_in(tmp_path) == []
