"""read_file: lines of a file, as Read shows them. The contract: runs-and-chat.md, 7.1 and 7.2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.chat.secretfiles import looks_secret
from agentd.tools.read import Read
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.paths import shown

MAX_LINES = 400


@attrs.frozen
class ReadFileInput:
    path: str = arg("The file, relative to the workspace")
    start_line: int | None = arg("The first line, from 1", default=None)
    end_line: int | None = arg("The last line, which is shown too", default=None)


class ReadFile:
    name = "read_file"
    description = (
        f"Read a file of the workspace: at most {MAX_LINES} lines, each with its number. start_line and end_line read "
        "other parts. Files that look as if they held secrets are refused."
    )
    input_schema: Mapping[str, Any] = input_schema(ReadFileInput)
    tool_class = ToolClass.READ

    def __init__(self) -> None:
        self._read = Read()

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "path")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(ReadFileInput, call_input)
        path = context.resolve(asked.path)
        if looks_secret(shown(path, context.workspace)):
            raise ToolFailed(f"{asked.path} looks as if it held secrets, so it is not read")
        first = max(asked.start_line or 1, 1)
        last = max(asked.end_line, first) if asked.end_line is not None else first + MAX_LINES - 1
        wanted = {"file_path": asked.path, "offset": first, "limit": min(last - first + 1, MAX_LINES)}
        return await self._read.run(wanted, context)
