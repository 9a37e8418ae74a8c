"""A tool of an MCP server that decides about calls where a person would be asked. Agent API contract, 10.4."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import attrs

from agentd.domain import Text, ToolUse
from agentd.engine.asks import Settlement
from agentd.errors import ToolFailed
from agentd.tools.base import Tool, ToolContext

BY = "permission_prompt_tool"


@attrs.frozen
class ToolPrompter:
    """*find*: the tool, as long as its server has it."""

    find: Callable[[], Tool | None]

    async def decide(self, call: ToolUse, context: ToolContext) -> Settlement | None:
        """Where the tool is there and does not answer as it should, the call is refused: that closes, and says why."""
        tool = self.find()
        if tool is None:
            return None
        asked = {"tool_name": call.name, "input": dict(call.input), "tool_use_id": call.id}
        try:
            outcome = await tool.run(asked, attrs.evolve(context, on_output=_nothing))
        except ToolFailed as exc:
            return Settlement("deny", f"{tool.name} failed: {exc}", BY)
        text = "".join(part.text for part in outcome.content if isinstance(part, Text))
        if outcome.is_error:
            return Settlement("deny", f"{tool.name} failed: {text}", BY)
        return _settlement(tool.name, text)


def _nothing(text: str) -> None:
    """The call that is asked about has not begun, and has no output."""


def _settlement(name: str, text: str) -> Settlement:
    said = _object(text)
    updated = said.get("updatedInput")
    if said.get("behavior") == "allow" and (updated is None or isinstance(updated, dict)):
        return Settlement("allow", "", BY, updated_input=updated)
    if said.get("behavior") == "deny":
        return Settlement("deny", str(said.get("message") or "no reason given"), BY)
    return Settlement("deny", f'{name} answered neither {{"behavior": "allow"}} nor {{"behavior": "deny"}}', BY)


def _object(text: str) -> dict[str, Any]:
    try:
        said = json.loads(text)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
