"""Which file a path names, and that it is one of the workspace's: links resolved, nothing above, nothing of agentd's.

A path is checked once, here; files.py opens what was checked one component at a time and follows no link, so that a
directory swapped for a link in between leads to an error, not outside.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from agentd.errors import ToolFailed

MAX_PATH = 4096


def resolve(raw: str, workspace: Path, off_limits: Iterable[Path] = (), *, beside: Sequence[Path] | None = ()) -> Path:
    """The real path of *raw*, absolute or relative to *workspace*, in which it lies or in one of the real paths
    *beside* it, None for everywhere; it need not exist. Raises ToolFailed, saying what to do instead, for one outside,
    below *off_limits*, or impossible."""
    if not raw.strip():
        raise ToolFailed('The path is empty; use "." for the workspace itself')
    if "\0" in raw or len(raw) > MAX_PATH:
        raise ToolFailed("The path holds a NUL character or is too long; use a plain path relative to the workspace")
    try:
        path = Path(os.path.realpath(workspace / raw))
    except (OSError, ValueError) as exc:  # a lone surrogate has no place in a file name
        raise ToolFailed(f"{raw!r} is no path that can be used here") from exc
    if beside is not None and not any(path.is_relative_to(place) for place in (workspace, *beside)):
        hint = "; `~` is not expanded" if raw.startswith("~") else ""
        raise ToolFailed(
            f"{raw} is outside the workspace {workspace}, and only files in {_these(beside)} can be reached{hint}. "
            "Use a path relative to the workspace"
        )
    for forbidden in off_limits:
        if path.is_relative_to(forbidden) or path.is_relative_to(os.path.realpath(forbidden)):
            raise ToolFailed(f"{raw} belongs to agentd itself and is off limits; work on the project's own files")
    return path


def resolve_for_writing(
    raw: str, workspace: Path, off_limits: Iterable[Path] = (), *, beside: Sequence[Path] | None = ()
) -> Path:
    """As resolve(); git's own files are refused too: a hook or a setting written there is a command run later, which
    permission to edit files does not cover."""
    path = resolve(raw, workspace, off_limits, beside=beside)
    below = path.relative_to(workspace) if path.is_relative_to(workspace) else path
    if any(part.casefold() == ".git" for part in below.parts):
        raise ToolFailed(f"{raw} is one of git's own files; change those with git commands")
    if path == workspace:
        raise ToolFailed(f"{raw} is the workspace itself, a directory; name a file in it")
    return path


def is_below(top: bytes, descriptor: int) -> bool:
    """Whether an open file or directory is where it was found, below *top*, which ends in a slash: a directory on the
    way may have been swapped for a link meanwhile."""
    try:
        return (os.readlink(b"/proc/self/fd/%d" % descriptor) + b"/").startswith(top)  # noqa: PTH115 - bytes
    except OSError:
        return True  # no /proc here


def _these(beside: Sequence[Path]) -> str:
    return " or ".join(["it", *map(str, beside)])


def shown(path: Path, workspace: Path) -> str:
    """*path* as tools print it: relative to the workspace, with slashes; "." for the workspace itself."""
    return path.relative_to(workspace).as_posix() if path.is_relative_to(workspace) else path.as_posix()
