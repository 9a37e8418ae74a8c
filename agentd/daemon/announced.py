"""Where the daemon of a data directory can be reached: a small file there, for commands on this machine. No trio."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from agentd.store.files import disk, write_atomic
from agentd.store.generations import boot_id

NAME, LOCK = "serve.json", "lock"


@attrs.frozen
class Announced:
    """*tokens*: files, by the names of faces; those that were given to it are nowhere."""

    pid: int
    address: str  # http://host:port or unix:/path
    tokens: Mapping[str, str] = attrs.field(factory=dict)


@contextmanager
def announce(root: Path, address: str, tokens: Mapping[str, str]) -> Iterator[None]:
    """For the owner of the data directory *root*, within the block. Raises StoreFailed."""
    told = {**attrs.asdict(Announced(os.getpid(), address, tokens)), "process": _process(os.getpid())}
    with disk(f"write {root / NAME}"):
        write_atomic(root / NAME, json.dumps(told).encode() + b"\n", durable=False)
    try:
        yield
    finally:
        with suppress(OSError):
            (root / NAME).unlink()


def find_daemon(root: Path) -> Announced | None:
    """The one that has *root* now; what one that was killed has left says nothing."""
    told, lock = _read(root / NAME), _read(root / LOCK)
    try:
        found = Announced(int(told["pid"]), str(told["address"]), dict(told["tokens"]))
        lives = _lives(found.pid) and told["process"] == _process(found.pid)
        return found if lives and lock["pid"] == found.pid else None
    except (LookupError, ValueError, TypeError):
        return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _process(pid: int) -> str:
    """What no other process has that has its id later; "" where that cannot be known. A token is sent to who has it."""
    try:
        ticks = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    except (OSError, IndexError):  # not Linux; or it is gone
        return ""
    return f"{boot_id()} {ticks}"


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is somebody else's
        return True
    return True
