"""Servers that answer with anything: whatever they say, a job gets results and failures, and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agentd.domain import McpServer
from agentd.errors import ToolFailed, only_cause
from agentd.sandbox.contain import GROUP
from agentd.tools.base import ToolContext, ToolState
from agentd.tools.mcp import servers as room
from agentd.tools.mcp.server import Server
from agentd.tools.mcp.transport import Transport
from agentd.wire.urlpolicy import UrlPolicy
from tests.tools.mcp.conftest import FakeTransport
from tests.tools.mcp.fake import tool

WORDS = [
    *("tools", "prompts", "resources", "name", "description", "inputSchema", "outputSchema", "annotations", "type"),
    *("readOnlyHint", "object", "string", "text", "image", "audio", "resource", "resource_link", "data", "mimeType"),
    *("uri", "blob", "content", "contents", "messages", "role", "isError", "structuredContent", "nextCursor", "a"),
    *("resultType", "complete", "input_required", "inputRequests", "requestState", "method", "params", "message"),
    *("elicitation/create", "roots/list", "sampling/createMessage", "mode", "url", "form", "requestedSchema", "level"),
    *("properties", "supportedVersions", "2026-07-28", "protocolVersion", "2025-11-25", "capabilities", "required"),
    *("instructions", "elicitations", "arguments", "progressToken", "progress", "total", "requestId"),
]
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(WORDS)
    | st.text(max_size=5)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=6)
CONTENT = st.lists(
    st.fixed_dictionaries(
        {"type": st.sampled_from(WORDS)},
        optional={"text": VALUES, "data": VALUES, "resource": VALUES, "uri": VALUES, "mimeType": VALUES},
    ),
    max_size=4,
)
RESULTS = OBJECTS | st.fixed_dictionaries(
    {},
    optional={
        "content": CONTENT | VALUES,
        "contents": st.lists(OBJECTS) | VALUES,
        "tools": st.lists(
            st.fixed_dictionaries({"name": VALUES}, optional={"inputSchema": OBJECTS, "annotations": VALUES})
        ),
        "prompts": st.lists(st.fixed_dictionaries({"name": VALUES}, optional={"arguments": st.lists(OBJECTS)})),
        "messages": st.lists(st.fixed_dictionaries({"role": VALUES, "content": CONTENT | VALUES})) | VALUES,
        "structuredContent": VALUES,
        "isError": VALUES,
        "nextCursor": VALUES,
        "resultType": VALUES,
        "inputRequests": st.dictionaries(st.text(max_size=2), OBJECTS, max_size=3) | VALUES,
        "requestState": VALUES,
    },
)
ERRORS = st.fixed_dictionaries(
    {"code": st.sampled_from([-32601, -32022, -32042, -32020, 5, 10**30]), "message": st.text(max_size=9)},
    optional={"data": OBJECTS | VALUES},
)
NOISE = st.fixed_dictionaries(
    {
        "jsonrpc": st.just("2.0"),
        "method": st.sampled_from(
            [
                "ping",
                "roots/list",
                "elicitation/create",
                "notifications/progress",
                "notifications/message",
                "notifications/cancelled",
                "notifications/tools/list_changed",
                "sampling/createMessage",
            ]
        ),
    },
    optional={"id": VALUES, "params": OBJECTS | VALUES},
)
STEPS = st.lists(
    st.builds(lambda value: {"answer": value}, RESULTS | VALUES)
    | st.builds(lambda value: {"error": value}, ERRORS | VALUES)
    | st.builds(lambda value: {"say": value}, NOISE | VALUES),
    max_size=4,
)
METHODS = [
    "server/discover",
    "initialize",
    "tools/list",
    "prompts/list",
    "resources/list",
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/templates/list",
]
SCRIPTS = st.fixed_dictionaries(
    {"era": st.sampled_from(["legacy", "modern"]), "on": st.dictionaries(st.sampled_from(METHODS), STEPS, max_size=4)}
)


async def use(script: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
    @asynccontextmanager
    async def open_fake(_: Server) -> AsyncIterator[Transport]:
        transport = FakeTransport({"tools": [tool("echo")], "prompts": [{"name": "p"}], "resources": [{}], **script})
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(transport.run)
                yield transport
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise only_cause(group) from None

    async def elicit(_: room.Elicitation) -> room.Elicited:
        return room.Elicited("accept", {"a": 1})

    monkeypatch.setattr(Server, "_open_transport", open_fake)
    terms = room.Terms(directory, {}, [directory], GROUP, UrlPolicy.LOCAL, lambda *_: None, elicit)
    context = ToolContext(directory, ToolState(directory), {}, (), lambda _: None, lambda path: path.name)
    async with room.open_servers({"fake": McpServer(command="x")}, terms) as servers:
        for status in servers.statuses:
            json.dumps(attrs.asdict(status))
        for name, each in [*servers.tools.items()]:
            json.dumps([each.description, each.input_schema, each.subject({"a": 1})])
            asked = {"server": "fake", "uri": "a:b"} if name.startswith("mcp__r") else {}
            with suppress(ToolFailed):
                outcome = await each.run(asked, context)
                assert outcome.content
                assert len(outcome.summary) <= 120
        for name in servers.prompts:
            with suppress(ToolFailed):
                assert isinstance(await servers.get_prompt(name, "x y"), str)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(script=SCRIPTS)
def test_whatever_a_server_says_only_its_own_calls_fail(script: dict[str, Any], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        trio.run(use, script, patch, tmp_path, clock=MockClock(autojump_threshold=0))
