"""read_spec, write_spec and validate_spec: the spec that a chat is about. The contract: runs-and-chat.md, 7.1 and 8."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.chat.repository import NoInput
from agentd.tools.schema import arg, as_bytes, input_schema, parse
from agentd.workspace import files
from agentd.workspace.paths import shown
from agentd.workspace.speccheck import problems

VALID = "The spec is valid."


@attrs.frozen
class ReadSpec:
    path: Path
    name: str = attrs.field(default="read_spec", init=False)
    description: str = attrs.field(default="Read the spec that this session is about.", init=False)
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(NoInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.READ, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return self.path.name

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        text = await read_spec(self.path, context)
        return ToolOutcome((Text(text or "[the spec is empty]"),), f"{len(text.splitlines())} lines")


@attrs.frozen
class WriteInput:
    content: str = arg("All that the spec is to say, in Markdown")


@attrs.frozen
class WriteSpec:
    path: Path
    name: str = attrs.field(default="write_spec", init=False)
    description: str = attrs.field(
        default="Replace the spec that this session is about. It is validated at once.", init=False
    )
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(WriteInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.EDIT, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return self.path.name

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        content = parse(WriteInput, call_input).content
        if not content.strip():
            raise ToolFailed("The content is blank; write the whole spec.")
        data = as_bytes(content if content.endswith("\n") else f"{content}\n", "content")
        path = context.resolve_for_writing(str(self.path))
        await trio.to_thread.run_sync(files.replace, path, context.workspace, data)
        told = f"Wrote {shown(path, context.workspace)}: {len(content.splitlines())} lines"
        return ToolOutcome((Text(told),), told[:120])


@attrs.frozen
class ValidateInput:
    content: str | None = arg("What to validate; the spec as it is if not given", default=None)


@attrs.frozen
class ValidateSpec:
    """Its result is two texts: one for people, and {"ok", "problems"} as JSON."""

    path: Path
    name: str = attrs.field(default="validate_spec", init=False)
    description: str = attrs.field(
        default="Check that a spec has its headings: Goal, Constraints / nuances, Acceptance tests.", init=False
    )
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(ValidateInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.READ, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return self.path.name

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        content = parse(ValidateInput, call_input).content
        found = problems(content if content and content.strip() else await read_spec(self.path, context))
        readable = f"The spec is not valid: {'; '.join(found)}" if found else VALID
        told = json.dumps({"ok": not found, "problems": found})
        return ToolOutcome((Text(readable), Text(told)), readable[:120])


async def read_spec(path: Path, context: ToolContext) -> str:
    """Raises ToolFailed."""
    there = context.resolve(str(path))
    data, _ = await trio.to_thread.run_sync(files.read, there, context.workspace)
    return data.decode("utf-8", "replace")
