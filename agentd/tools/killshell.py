"""KillShell: the end of a command that runs in the background."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import Text, ToolClass
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.bashoutput import find_shell
from agentd.tools.schema import arg, input_schema, parse, subject


@attrs.frozen
class KillShellInput:
    shell_id: str = arg("Which command: the id that Bash gave it")


class KillShell:
    name = "KillShell"
    description = "End a command that Bash has started in the background, and all that it has started."
    input_schema: Mapping[str, Any] = input_schema(KillShellInput)
    tool_class = ToolClass.EXEC

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "shell_id")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        shell = find_shell(parse(KillShellInput, call_input).shell_id, context)
        before = "" if shell.running else " already"
        await shell.kill()
        told = f"{shell.id} {shell.status}{before}: {shell.title}"
        return ToolOutcome((Text(told),), f"{shell.status}{before}")
