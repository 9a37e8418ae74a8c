"""repo_tree and repo_map: the workspace at a glance. The contract: runs-and-chat.md, 7.1 and 14."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse
from agentd.workspace import overview

TREE_FILES, MAP_SYMBOLS = 500, 400
EMPTY = "The workspace has no files."
NO_SYMBOLS = "No definitions were found."


@attrs.frozen
class TreeInput:
    max_files: int = arg("At most so many files", default=TREE_FILES)


class RepoTree:
    name = "repo_tree"
    description = "List the files of the workspace, a path a line. What git ignores is left out."
    input_schema: Mapping[str, Any] = input_schema(TreeInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        most = _positive(parse(TreeInput, call_input).max_files, "max_files")
        found = (await _files(context))[:most]
        return ToolOutcome((Text("\n".join(found) or EMPTY),), f"{len(found)} files")


@attrs.frozen
class MapInput:
    max_symbols: int = arg("At most so many definitions", default=MAP_SYMBOLS)


class RepoMap:
    name = "repo_map"
    description = (
        "List what the files of the workspace define, by file, each with its line: functions, classes, methods, and "
        "what is bound at the top of JavaScript and TypeScript files. Only the beginning of each file is looked at."
    )
    input_schema: Mapping[str, Any] = input_schema(MapInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return ""

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        most = _positive(parse(MapInput, call_input).max_symbols, "max_symbols")
        files = await _files(context)
        lines = await trio.to_thread.run_sync(overview.symbol_map, context.workspace, files, most)
        return ToolOutcome((Text("\n".join(lines) or NO_SYMBOLS),), f"{len(lines)} lines")


async def _files(context: ToolContext) -> list[str]:
    return await trio.to_thread.run_sync(lambda: overview.files(context.workspace, off_limits=context.off_limits))


def _positive(number: int, name: str) -> int:
    if number < 1:
        raise ToolFailed(f"{name} has to be at least 1")
    return number
