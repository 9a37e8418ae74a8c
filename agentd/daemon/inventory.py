"""What the daemon has: executors and their memory, bytes on disk, and worktrees that nobody owns any more."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import trio

from agentd.daemon.executors import Seat
from agentd.daemon.launchers import Launcher
from agentd.daemon.leftovers import Leftover, disk_usage
from agentd.daemon.pool import Pool
from agentd.daemon.registry import Registry
from agentd.daemon.worktrees import Removed
from agentd.errors import AgentdError
from agentd.store.home import Home

LINES = 20  # of what an executor said last
KIB = 1024


class Trees(Protocol):
    """What is used of daemon.worktrees.Worktrees."""

    async def leftovers(self, owned: Collection[Path]) -> list[Leftover]: ...
    async def clear(self, leftover: Leftover) -> Removed: ...
    async def usage(self) -> dict[str, int]: ...


class SessionBeingMade(AgentdError):
    """What it has cannot be told from what is left over."""

    code = "BUSY"

    def __init__(self) -> None:
        super().__init__("a session is being created, so what is left over cannot be told; try again")


# --- Executors ----------------------------------------------------------------------------------------------------


async def executors(seats: Iterable[Seat], launcher: Launcher, now: int) -> list[dict[str, Any]]:
    """Those that live, start or stop, and those that died and were not launched again. *now*: epoch ms."""
    shown = [seat for seat in seats if seat.state != "absent" or seat.obituary is not None]
    local = [seat.launched.pid for seat in shown if launcher.is_local and seat.launched is not None]
    memory = await trio.to_thread.run_sync(memory_of, local)
    return [described(seat, launcher, memory, now) for seat in shown]


def described(seat: Seat, launcher: Launcher, memory: Mapping[int, int], now: int) -> dict[str, Any]:
    launched = seat.launched
    return {
        "session_id": seat.session.id,
        "workspace": str(seat.workspace),
        "pid": launched.pid if launched else None,
        "launcher": "local" if launcher.is_local else launcher.template,
        "state": seat.state,
        "since": seat.since,
        "uptime_seconds": round(max(0, now - seat.since) / 1000, 1) if launched else None,
        "memory_bytes": memory.get(launched.pid) if launched else None,
        "containment": launched.ready.sandbox if launched else None,
        "job_id": seat.job,
        "crashes": seat.crashes,
        "died": seat.obituary,
        "output": list(seat.words)[-LINES:],
    }


def memory_of(pids: Sequence[int]) -> dict[int, int]:
    """Bytes that each of them has with all that descends from it, shared pages divided among those who share them.
    Empty where the system does not tell. Blocks."""
    children = _children() if pids else {}
    return {pid: sum(map(_bytes, _tree(pid, children))) for pid in pids if Path(f"/proc/{pid}").exists()}


def _children() -> dict[int, list[int]]:
    found: defaultdict[int, list[int]] = defaultdict(list)
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(path.read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
        found[parent].append(int(path.parent.name))
    return found


def _tree(pid: int, children: Mapping[int, Sequence[int]]) -> list[int]:
    tree = [pid]
    for each in tree:
        tree += children.get(each, ())
    return tree


def _bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) * KIB for line in rollup.splitlines() if line.startswith("Pss:"))
    except (OSError, StopIteration, ValueError, IndexError):
        pass
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


# --- The disk -----------------------------------------------------------------------------------------------------


async def storage(home: Home, trees: Trees | None) -> dict[str, Any]:
    """Bytes on disk by kind."""
    data = await trio.to_thread.run_sync(_data_usage, home)
    return {"data_dir": str(home.root), "data": data, "worktrees": await trees.usage() if trees else {}}


def _data_usage(home: Home) -> dict[str, int]:
    kinds = {"logs": 0, "blobs": 0, "sessions_other": 0}
    for session in home.sessions():
        log, blobs = disk_usage(session.log_path) or _size(session.log_path), disk_usage(session.path / "blobs")
        kinds["logs"] += log
        kinds["blobs"] += blobs
        kinds["sessions_other"] += max(0, disk_usage(session.path) - log - blobs)
    index = sum(_size(path) for path in home.root.glob("index.db*"))
    known = {*home.root.glob("index.db*"), home.sessions_path, home.root / "worktrees", home.root_log.path}
    others = [path for path in home.root.iterdir() if path not in known] if home.root.is_dir() else []
    other = sum(disk_usage(path) if path.is_dir() else _size(path) for path in others)
    return {**kinds, "index": index, "root_log": _size(home.root_log.path), "other": other}


def _size(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except OSError:
        return 0


# --- Leftovers ----------------------------------------------------------------------------------------------------


@attrs.frozen
class Cleared:
    leftover: Leftover
    action: str  # removed, kept; would_remove, would_keep
    rescued: str | None = None


async def collect(trees: Trees, registry: Registry, pool: Pool, *, dry_run: bool) -> list[Cleared]:
    """Remove worktrees that no session owns, what only they have rescued first; those that are alive, or cannot be
    told to be ours, stay. Raises SessionBeingMade."""
    found = await trees.leftovers(owned(registry))
    if pool.taken > len(list(pool)):
        raise SessionBeingMade
    mine = set(owned(registry))  # again: a session may have been made while we looked
    cleared = []
    for leftover in found:
        if leftover.path in mine:
            continue
        keep = leftover.state in ("alive", "unknown")
        if dry_run:
            cleared.append(Cleared(leftover, "would_keep" if keep else "would_remove"))
            continue
        removed = await trees.clear(leftover)
        cleared.append(Cleared(leftover, "kept" if removed.kept else "removed", removed.rescued))
    return cleared


def owned(registry: Registry) -> list[Path]:
    """Worktrees of sessions, and of those whose removal has not come to its end."""
    known = (*registry.open.values(), *registry.leaving.values())
    return [each.worktree.path for each in known if each.worktree]
