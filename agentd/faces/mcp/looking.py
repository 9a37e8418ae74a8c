"""The tools that look things up in a directory without a job: the agent's own, and they print what those print."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from agentd.domain import Text
from agentd.errors import ToolFailed
from agentd.faces.mcp import views
from agentd.faces.mcp.app import App, Call, Outcome
from agentd.tools.schema import arg

if TYPE_CHECKING:
    from agentd.tools.base import Tool
    from agentd.workspace.symbols.query import Symbols

KEEP_SECONDS = 5.0  # for an index to be written
FOUND = views.obj(directory=views.text(), text=views.text("what was found, a line each"), summary=views.text())
DIRECTORY = "Absolute path of the directory that is meant: a repository, or a part of one"


@attrs.frozen
class Search:
    pattern: str = arg("A regular expression as in Python's re, matched against each line")
    directory: str | None = arg(DIRECTORY, default=None)
    path: str | None = arg("Search only this file or directory, relative to directory", default=None)
    glob: str | None = arg("Only files that match, like *.py or src/**/*.{ts,tsx}", default=None)
    show: Literal["lines", "files", "counts"] = arg(
        "lines: path:line:text. files: paths alone. counts: matching lines by file", default="lines"
    )
    ignore_case: bool = arg("Ignore case", default=False)
    context: int = arg("Lines of context around each match", default=0)
    limit: int = arg("At most so many lines of output", default=200)
    offset: int = arg("Leave out so many lines of output first", default=0)


OUTPUT_MODES = {"lines": "content", "files": "files_with_matches", "counts": "count"}


async def search(app: App, call: Call, asked: Search) -> Outcome:
    from agentd.tools.grep import Grep

    workspace = await app.directory(call, asked.directory)
    given: dict[str, Any] = {"pattern": asked.pattern, "path": asked.path, "glob": asked.glob, "-i": asked.ignore_case}
    given |= {"output_mode": OUTPUT_MODES[asked.show], "-C": asked.context, "offset": asked.offset}
    # Only git is started by a daemon: what is slow is searched in processes of our own, by the same rules.
    tool = Grep(find_rg=lambda: None)
    return await _use(app, tool, {**given, "head_limit": views.limit(asked.limit, 1000)}, workspace)


@attrs.frozen
class LookUp:
    action: Literal["find", "outline", "source", "skeleton", "usages"] = arg(
        "find: definitions whose name has name in it. outline: what the file or directory path defines. source: of the "
        "function or method name. skeleton: of the class name, without the bodies of its methods. usages: lines that "
        "use name"
    )
    directory: str | None = arg(DIRECTORY, default=None)
    name: str | None = arg("A name, or the end of a qualified one: Users.add; for find a part of one", default=None)
    path: str | None = arg("Of outline: a file or directory, relative to directory; . is all of it", default=None)
    kind: Literal["class", "interface", "enum", "type", "function", "method", "field"] | None = arg(
        "Of find: only these", default=None
    )
    limit: int = arg("Of find and usages: at most so many", default=50)


async def look_up(app: App, call: Call, asked: LookUp) -> Outcome:
    from agentd.workspace.symbols.query import Symbols

    workspace = await app.directory(call, asked.directory)
    tool, given = _question(asked)
    # Sessions that work there keep their index in this place too.
    name = uuid.uuid5(uuid.NAMESPACE_URL, workspace.as_uri())
    cache = app.sessions.home.root / "workspaces" / str(name) / "symbols"
    symbols = Symbols(workspace, cache, off_limits=app.off_limits, find_rg=lambda: None)
    try:
        return await _use(app, tool, given, workspace, symbols)
    finally:
        with trio.move_on_after(KEEP_SECONDS, shield=True):
            await symbols.aclose()


def _question(asked: LookUp) -> tuple[Tool, dict[str, Any]]:
    """The tool that answers, and its input. Raises ToolFailed."""
    from agentd.tools.classskeleton import ClassSkeleton
    from agentd.tools.filesummary import FileSummary
    from agentd.tools.findusages import FindUsages
    from agentd.tools.methodsource import MethodSource
    from agentd.tools.searchsymbols import SearchSymbols

    if asked.action == "outline":
        return FileSummary(), {"path": asked.path or "."}
    if not (asked.name or "").strip():
        raise ToolFailed(f"{asked.action} needs name")
    named = {"name": asked.name}
    match asked.action:
        case "source":
            return MethodSource(), named
        case "skeleton":
            return ClassSkeleton(), named
        case "usages":
            return FindUsages(), named | {"limit": views.limit(asked.limit, 1000)}
    return SearchSymbols(), {"pattern": asked.name, "kind": asked.kind, "limit": views.limit(asked.limit, 1000)}


async def _use(app: App, tool: Tool, given: dict[str, Any], workspace: Path, symbols: Symbols | None = None) -> Outcome:
    from agentd.tools.base import ToolContext, ToolState

    context = ToolContext(
        workspace=workspace,
        state=ToolState(workspace),
        env={},
        off_limits=app.off_limits,
        on_output=lambda _: None,
        keep=_keep_nothing,
        symbols=symbols,
    )
    async with app.looks:
        told = await tool.run(given, context)
    text = "".join(part.text for part in told.content if isinstance(part, Text))
    return Outcome({"directory": str(workspace), "text": text, "summary": told.summary}, text)


def _keep_nothing(path: Path) -> str:
    raise ToolFailed("there is no job to keep it with")
