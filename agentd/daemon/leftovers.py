"""Worktrees that nobody owns: what an interrupted creation or removal left behind, and what would be lost with it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import attrs
import trio

from agentd.daemon.inspection import Inspection, inspect
from agentd.daemon.processes import users_of
from agentd.daemon.trash import POOL
from agentd.daemon.worktree_records import BRANCH, UUID, Worktree
from agentd.daemon.worktree_source import common_directory, home_of
from agentd.errors import GitFailed

BLOCK = 512  # bytes, in which st_blocks counts

State = Literal["clean", "dirty", "unpushed", "alive", "unknown"]


@attrs.frozen
class Leftover:
    path: Path  # where the worktree is, or was to be
    repo: Path | None
    branch: str | None
    state: State  # unpushed: all is committed, and only the branch has it; unknown: it cannot be told, or is not ours
    bytes: int  # on disk


def children(base: Path) -> list[Path]:
    """The directories that can be worktrees. Raises OSError."""
    return [path for path in base.iterdir() if UUID.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def recognize(path: Path) -> Worktree | None:
    """From what a worktree says about itself, where its record is lost. None: it is none of ours, or says nothing."""
    if not UUID.fullmatch(path.name) or not (path / ".git").is_file():
        return None
    common = common_directory(path)
    return Worktree(path.name, path, home_of(common), BRANCH + path.name, "") if common else None


async def classify(path: Path, worktree: Worktree | None, work: Path) -> Leftover:
    """*work*: a directory to make things in."""
    size = await trio.to_thread.run_sync(disk_usage, path)
    if worktree is None:
        return Leftover(path, None, None, "unknown", size)
    if await trio.to_thread.run_sync(users_of, path):
        return Leftover(path, worktree.repo, worktree.branch, "alive", size)
    try:
        found = await inspect(worktree, worktree.id, work)
    except (GitFailed, OSError):
        found = None
    return Leftover(path, worktree.repo, worktree.branch, _state(found), size)


def _state(found: Inspection | None) -> State:
    if found is None or found.elsewhere:
        return "unknown"
    if found.content.dirty or found.content.nested or found.commits.lost:
        return "dirty"
    return "unpushed" if found.commits.branch_needed else "clean"


def measure(places: Mapping[str, Path]) -> dict[str, int]:
    """By name; what is below a hidden directory of a place is not counted for that place."""
    return {name: sum(map(disk_usage, _shown(place))) for name, place in places.items()}


def _shown(place: Path) -> list[Path]:
    try:
        return [path for path in place.iterdir() if path.name != POOL]
    except (FileNotFoundError, NotADirectoryError):
        return []


def disk_usage(path: Path) -> int:
    """Bytes on disk; what vanishes meanwhile does not count."""
    total = 0
    for directory, _, files in os.walk(path):
        for name in (".", *files):
            try:
                total += os.lstat(f"{directory}/{name}").st_blocks * BLOCK
            except OSError:
                continue
    return total
