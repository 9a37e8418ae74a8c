"""A look at processes, ours and others'."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path


def processes(beginning: str) -> list[int]:
    """Those whose command line begins so."""
    return [pid for pid in all_processes() if command_line(pid).startswith(beginning.encode())]


def all_processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").glob("[0-9]*")]


def command_line(pid: int) -> bytes:
    """Words that end with NUL; nothing of one that is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def parent_of(pid: int) -> int:
    """0: it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """All below *pid*, wherever their namespaces are."""
    parents = {each: parent_of(each) for each in all_processes()}
    found = [pid]
    for one in found:
        found += [each for each, parent in parents.items() if parent == one]
    return found[1:]


def is_alive(pid: int) -> bool:
    """A zombie is not."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def argv_and_environment(pid: int) -> bytes:
    return command_line(pid) + Path(f"/proc/{pid}/environ").read_bytes()
