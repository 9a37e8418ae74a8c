"""Who works in a directory, by what Linux tells in /proc. Elsewhere the answer is: nobody that we know of."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")


def users_of(directory: Path, *, files: bool = True) -> list[int]:
    """Processes whose working directory is in *directory*, or, with *files*, that have a file open there.

    Those of other users cannot be seen, unless we are root."""
    return [pid for pid in _pids() if any(_is_in(path, directory) for path in _places(pid, files))]


def holders_of(file: Path) -> list[int]:
    """Processes that have *file* open."""
    return [pid for pid in _pids() if str(file) in _places(pid, files=True)]


def name_of(pid: int) -> str:
    try:
        return (PROC / str(pid) / "comm").read_text().strip()
    except OSError:
        return ""


def end_process(pid: int) -> None:
    """Ask it to: git then removes its lock files."""
    try:
        os.kill(pid, signal.SIGTERM)
    except OSError:  # it has ended, or is another user's
        pass


def _pids() -> Iterator[int]:
    if PROC.is_dir():
        yield from (int(name) for name in os.listdir(PROC) if name.isdigit())  # noqa: PTH208  # names are all that is needed


def _places(pid: int, files: bool) -> Iterator[str]:
    links = [f"{PROC}/{pid}/cwd"]
    if files:
        try:
            links += [f"{PROC}/{pid}/fd/{name}" for name in os.listdir(f"{PROC}/{pid}/fd")]  # noqa: PTH208
        except OSError:  # it has ended, or is not ours to see
            pass
    for link in links:
        try:
            yield os.readlink(link)  # noqa: PTH115  # hundreds of thousands, on a busy machine
        except OSError:
            continue


def _is_in(path: str, directory: Path) -> bool:
    return path == str(directory) or path.startswith(f"{directory}/")
