"""The tools of a chat's turn, sorted by name. What they do is what other tools do; names and inputs are this API's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agentd.tools.base import Tool
from agentd.tools.chat.commands import Diagram, Runner, Shell, Verify
from agentd.tools.chat.glance import RepoMap, RepoTree
from agentd.tools.chat.readfile import ReadFile
from agentd.tools.chat.repository import ApplyPatch, GitStatus
from agentd.tools.chat.search import SearchFiles
from agentd.tools.chat.spec import ReadSpec, ValidateSpec, WriteSpec


def chat_tools(run_command: Runner, verify: Sequence[str], spec: Path | None) -> tuple[Tool, ...]:
    """*verify*: commands that check the work; *spec*: the file that is written, in spec mode."""
    tools: list[Tool] = [RepoTree(), RepoMap(), ReadFile(), SearchFiles(), GitStatus(), ApplyPatch()]
    tools += [Shell(run_command), Diagram(run_command), Verify(run_command, verify)]
    if spec is not None:
        tools += [ReadSpec(spec), WriteSpec(spec), ValidateSpec(spec)]
    return tuple(sorted(tools, key=lambda tool: tool.name))
