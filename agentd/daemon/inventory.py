"""What the daemon has: executors and their memory, bytes on disk, and worktrees that nobody owns any more."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.daemon.executors import Seat
from agentd.daemon.launchers import Launcher
from agentd.daemon.leftovers import Leftover, disk_usage
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import owned
from agentd.daemon.worktrees import Worktrees
from agentd.errors import AgentdError
from agentd.store.home import Home

LINES = 20  # of what an executor said last
KIB = 1024


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
    for process in Path("/proc").glob("[0-9]*"):  # and no further, or glob fails on what has just ended
        try:
            parent = int((process / "stat").read_bytes().rpartition(b")")[2].split()[1])
        except (OSError, IndexError, ValueError):  # it has just ended
            continue
        found[parent].append(int(process.name))
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


async def storage(home: Home, pool: Pool | None) -> dict[str, Any]:
    """Bytes on disk by kind."""
    data = await trio.to_thread.run_sync(_data_usage, home)
    trees = pool.worktrees if pool else None
    worktrees = await trees.usage() if isinstance(trees, Worktrees) else {}
    return {"data_dir": str(home.root), "data": data, "worktrees": worktrees}


def _data_usage(home: Home) -> dict[str, int]:
    kinds = {"logs": 0, "blobs": 0, "sessions_other": 0}
    for session in home.sessions():
        log, blobs = _size(session.log_path), disk_usage(session.path / "blobs")
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


async def collect(pool: Pool, *, dry_run: bool) -> list[Cleared]:
    """Remove worktrees that no session owns, what only they have rescued first. Those stay that are alive, or cannot be
    told to be ours; and all of them where the registry is damaged. Raises SessionBeingMade."""
    found = await pool.worktrees.leftovers(owned(pool))
    if pool.taken > len(list(pool)):
        raise SessionBeingMade
    mine = set(owned(pool))  # again: a session may have been made while we looked
    return [await _clear(pool, leftover, dry_run=dry_run) for leftover in found if leftover.path not in mine]


async def _clear(pool: Pool, leftover: Leftover, *, dry_run: bool) -> Cleared:
    stays = leftover.state in ("alive", "unknown") or pool.registry.damaged > 0
    if dry_run:
        return Cleared(leftover, "would_keep" if stays else "would_remove")
    if stays:
        return Cleared(leftover, "kept")
    removed = await pool.worktrees.clear(leftover)
    return Cleared(leftover, "kept" if removed.kept else "removed", removed.rescued)
