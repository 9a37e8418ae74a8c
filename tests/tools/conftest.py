"""What tests of the file tools share: a workspace, and a short way to call a tool in it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from agentd.errors import ToolFailed
from agentd.tools.base import Tool, ToolContext, ToolOutcome, ToolState

Call = Callable[[Tool, Mapping[str, Any]], Awaitable[ToolOutcome]]


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()


@pytest.fixture
def call(workspace: Path) -> Call:
    """Run a tool in the workspace; `.agentd` in it is off limits."""
    context = ToolContext(
        workspace=workspace,
        state=ToolState(workspace),
        env={},
        off_limits=(workspace / ".agentd",),
        on_output=lambda _: None,
        keep=lambda path: path.name,
    )

    async def run(tool: Tool, call_input: Mapping[str, Any]) -> ToolOutcome:
        return await tool.run(call_input, context)

    return run


@pytest.fixture
def told(call: Call) -> Callable[[Tool, Mapping[str, Any]], Awaitable[str]]:
    """As call, but only what the model is told, of a success or of a failure."""

    async def run(tool: Tool, call_input: Mapping[str, Any]) -> str:
        try:
            outcome = await call(tool, call_input)
        except ToolFailed as exc:
            return str(exc)
        return "".join(getattr(part, "text", "") for part in outcome.content)

    return run
