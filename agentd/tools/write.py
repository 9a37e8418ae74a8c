"""Write: a whole file of the workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject
from agentd.workspace import files
from agentd.workspace.paths import shown


@attrs.frozen
class WriteInput:
    file_path: str = arg("The file: absolute, or relative to the workspace")
    content: str = arg("All that the file is to hold")


class Write:
    name = "Write"
    description = (
        "Create a file, or replace all of one; directories on the way are made. "
        "To change a part of a file use Edit, which leaves the rest as it is."
    )
    input_schema: Mapping[str, Any] = input_schema(WriteInput)
    tool_class = ToolClass.EDIT

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "file_path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(WriteInput, call_input)
        data = as_bytes(asked.content, "content")
        path = context.resolve_for_writing(asked.file_path)
        existed = await trio.to_thread.run_sync(files.replace, path, context.workspace, data)
        lines = len(asked.content.splitlines())
        done = "Replaced all of" if existed else "Created"
        told = f"{done} {shown(path, context.workspace)}: {lines} line{'s'[: lines != 1]}"
        return ToolOutcome((Text(told),), told[:120])
