"""Glob: files by name, the one changed last first."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject
from agentd.workspace.files import missing
from agentd.workspace.globs import compile_glob
from agentd.workspace.paths import shown
from agentd.workspace.text import printable
from agentd.workspace.walk import Walk

MAX_FILES = 100  # of one answer
NOTHING = "No files found"

_WILD = re.compile(r"[*?\[{\\]")


@attrs.frozen
class GlobInput:
    pattern: str = arg("A glob, relative to path: src/**/*.py, *.{js,ts}. * stops at a slash, ** does not")
    path: str | None = arg("The directory to look in; the workspace if not given", default=None)


class Glob:
    name = "Glob"
    description = (
        "Find files by name. Paths come one a line, the file changed last first, at most "
        f"{MAX_FILES} of them. What git ignores is left out, unless an ignored directory is named in path or at the "
        "start of the pattern. **/*.py finds at any depth, *.py only in the directory itself."
    )
    input_schema: Mapping[str, Any] = input_schema(GlobInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return " in ".join(filter(None, (subject(call_input, "pattern"), subject(call_input, "path"))))

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(GlobInput, call_input)
        fixed, wild = split(asked.pattern)
        top = context.resolve(os.path.join(asked.path or ".", fixed))  # noqa: PTH118
        base = context.resolve(asked.path or ".")
        if not base.exists():
            raise missing(base, context.workspace)
        if not base.is_dir():
            raise ToolFailed(f"{asked.path} is not a directory; path has to be one, the rest goes into pattern")
        found, cut = await trio.to_thread.run_sync(_find, top, wild, context)
        paths = [shown(top / name, context.workspace) for name in found[:MAX_FILES]]
        return _outcome(paths, len(found), cut, asked.pattern)


def split(pattern: str) -> tuple[str, str]:
    """The directories at the start that are plain names, and the rest: where the walk begins, and what it looks for."""
    parts = pattern.split("/")
    plain = list(itertools.takewhile(lambda part: not _WILD.search(part), parts[:-1]))
    return "/".join(plain) + "/" * (plain == [""]), "/".join(parts[len(plain) :])


def _find(top: Path, pattern: str, context: ToolContext) -> tuple[list[str], bool]:
    """Names relative to *top*, newest first, and whether the walk was cut short."""
    regex = compile_glob(pattern)
    walk = Walk(top, off_limits=context.off_limits, check=trio.from_thread.check_cancelled)
    found: list[tuple[int, str]] = []
    for path in walk:
        name = os.fsdecode(path)
        if regex.fullmatch(name):
            found.append((_changed(top / name), name))
    found.sort(key=lambda one: (-one[0], one[1]))
    return [name for _, name in found], walk.cut


def _changed(path: Path) -> int:
    try:
        return path.lstat().st_mtime_ns
    except OSError:
        return 0  # it has just gone


def _outcome(paths: list[str], count: int, cut: bool, pattern: str) -> ToolOutcome:
    """*paths*: the first of *count*."""
    lines = [printable(path) for path in paths] or [NOTHING]
    if count > len(paths):
        lines.append(f"[{count - len(paths)} more files; a narrower pattern or path shows them]")
    if not paths and "/" not in pattern:
        lines.append(f"[{pattern} is looked for in the directory itself; **/{pattern} is at any depth]")
    if cut:
        lines.append("[the tree is too large to be searched whole; give a path]")
    return ToolOutcome((Text("\n".join(lines)),), f"{count} file{'s'[: count != 1]}")
