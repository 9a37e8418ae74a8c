"""Directories that are gone by a rename at once, and removed behind. What a crash leaves of them is removed at open."""

from __future__ import annotations

import logging
import os
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path

import trio

POOL = ".pool"  # hidden, and beside the trees: a rename never leaves the file system
DYING = "dying"
DEPTH = 100  # what lies deeper is brought up first: Python's stack and open descriptors are bounded

logger = logging.getLogger(__name__)


class Trash:
    """serve() is its task; without it bury() still makes directories go away, and the next sweep() removes them."""

    def __init__(self) -> None:
        self._dying: list[Path] = []
        self._more = trio.Event()

    def bury(self, path: Path, pool: Path) -> None:
        """*path*, a directory in the file system of *pool*, is not there any more. Nothing happens if it was not.

        Raises OSError."""
        dying = pool / DYING
        dying.mkdir(parents=True, exist_ok=True)
        grave = dying / str(uuid.uuid4())
        try:
            path.rename(grave)
        except FileNotFoundError:
            return
        self._dying.append(grave)
        self._more.set()

    def drop(self, path: Path, pool: Path) -> None:
        """bury() for what nobody counts on being gone: what stays is swept at the next open."""
        try:
            self.bury(path, pool)
        except OSError as exc:
            logger.warning("%s stays until the next start: %s", path, exc)

    def sweep(self, pool: Path) -> None:
        """Have serve() remove what died in *pool* before a crash. Raises OSError."""
        if (pool / DYING).is_dir():
            self._dying += (pool / DYING).iterdir()
            self._more.set()

    @property
    def is_empty(self) -> bool:
        return not self._dying

    async def serve(self) -> None:
        """Remove, one at a time: this is not to slow down what somebody waits for."""
        while True:
            while self._dying:
                await self._remove(self._dying[0])
                del self._dying[0]
            self._more = trio.Event()
            await self._more.wait()

    async def _remove(self, path: Path) -> None:
        try:
            await trio.to_thread.run_sync(partial(remove_tree, path, check=trio.from_thread.check_cancelled))
        except OSError as exc:
            logger.warning("cannot remove %s, which holds nothing that is needed: %s", path, exc)


def _never() -> None:
    """No reason to stop."""


def remove_tree(path: Path, *, check: Callable[[], None] = _never) -> None:
    """Remove a file or directory, and nothing that a link in it leads to, also while somebody is changing it. Nothing
    happens if it is not there. *check* is called before each removal and may raise. Raises OSError."""
    try:
        if not path.is_symlink() and path.is_dir():
            fd = _open(path.name, os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), close=True)
            try:
                while not _empty(fd, fd, DEPTH, check):
                    pass
            finally:
                os.close(fd)
            path.rmdir()
        else:
            path.unlink()
    except FileNotFoundError:
        return


def _open(name: str, parent: int, *, close: bool = False) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(name, flags, dir_fd=parent)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent)
        return os.open(name, flags, dir_fd=parent)
    finally:
        if close:
            os.close(parent)


def _empty(fd: int, top: int, depth: int, check: Callable[[], None]) -> bool:
    """False: something lay too deep, and is now further up."""
    os.fchmod(fd, 0o700)  # module caches make their directories read-only
    done = True
    with os.scandir(fd) as found:
        entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
    for name, is_directory in entries:
        check()
        if not is_directory:
            os.unlink(name, dir_fd=fd)
        elif depth == 0:
            os.rename(name, f"deep-{uuid.uuid4()}", src_dir_fd=fd, dst_dir_fd=top)
            done = False
        else:
            done &= _remove_below(name, fd, top, depth, check)
    return done


def _remove_below(name: str, fd: int, top: int, depth: int, check: Callable[[], None]) -> bool:
    below = _open(name, fd)
    try:
        done = _empty(below, top, depth - 1, check)
    finally:
        os.close(below)
    os.rmdir(name, dir_fd=fd)
    return done
