"""Files that are there whole or not at all, and locks that end with their owner. Nothing here knows what a session is.

A temporary file or directory is flocked while it is being made. That tells `sweep` which ones a crash left behind, even
while other processes are making theirs: a lock ends with the process, however it ends.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import attrs

from agentd.errors import Locked, StoreFailed

PRIVATE_FILE = 0o600
PRIVATE_DIR = 0o700
TEMP_PREFIX = ".tmp-"
LOCK_POLL_SECONDS = 0.005


REMEDIES = {
    errno.ENOSPC: "free some space on the disk of the data directory",
    errno.EDQUOT: "free some of your quota on the disk of the data directory",
    errno.EACCES: "the user that agentd runs as must be able to read and write the data directory",
    errno.EPERM: "the user that agentd runs as must be able to read and write the data directory",
    errno.EROFS: "the data directory must be on a disk that can be written; --data-dir names another",
    errno.EIO: "the disk of the data directory may be failing; the system's log says more",
    errno.EMFILE: "close some connections, or let agentd have more open files: ulimit -n",
    errno.ENFILE: "the machine has too many open files",
}


@contextmanager
def disk(doing: str) -> Iterator[None]:
    """Turns what the operating system refuses into StoreFailed, which says what would help: see `refusal`."""
    try:
        yield
    except OSError as exc:
        raise StoreFailed(refusal(doing, exc)) from exc


def refusal(doing: str, exc: OSError) -> str:
    """ "cannot *doing*: No space left on device; free some space on …"."""
    text = f"cannot {doing}: {exc.strerror or exc}"
    return f"{text}; {REMEDIES[exc.errno]}" if exc.errno in REMEDIES else text


def fsync_dir(directory: Path) -> None:
    """Names made, renamed or removed in *directory* so far survive power loss."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(fd: int, data: bytes | memoryview) -> None:
    """All of *data*, where os.write may stop short."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


@attrs.frozen
class TempFile:
    """A file without a name of its own yet; gone when its block ends, unless it became something."""

    path: Path
    file: IO[bytes]

    def become(self, path: Path, *, durable: bool = True) -> None:
        """Take *path*'s place: a crash leaves the old file or the new one, whole. The last thing done to it.

        Not *durable*: after power loss *path* may hold nothing or garbage, which is right for caches that are checked.
        """
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        self.path.rename(path)
        if durable:
            fsync_dir(path.parent)


@contextmanager
def temp_file(directory: Path) -> Iterator[TempFile]:
    """A file to write in *directory* or below a name in the same file system. Raises OSError."""
    path, fd = _make_temp_file(directory)
    try:
        with os.fdopen(fd, "wb") as file:
            yield TempFile(path, file)
    finally:
        path.unlink(missing_ok=True)


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """*path* holds *data*, for its owner only, or what it held before: see `TempFile.become`. Raises OSError."""
    with temp_file(path.parent) as temp:
        temp.file.write(data)
        temp.become(path, durable=durable)


@contextmanager
def making_directory(path: Path) -> Iterator[Path]:
    """A directory to fill that becomes *path* when the block ends, durably, and is gone if it fails. Raises OSError.

    The block syncs what it writes: `write_atomic` does. *path* may be there already only as an empty directory.
    """
    temp, fd = _make_temp_directory(path.parent)
    try:
        yield temp
        os.fsync(fd)
        temp.rename(path)
    except BaseException:
        remove_tree(temp)
        raise
    finally:
        os.close(fd)
    fsync_dir(path.parent)


@contextmanager
def temp_directory(directory: Path) -> Iterator[Path]:
    """A directory below *directory* that is gone with its block. Raises OSError."""
    path, fd = _make_temp_directory(directory)
    try:
        yield path
    finally:
        remove_tree(path)
        os.close(fd)


def sweep(directory: Path) -> list[Path]:
    """Remove what processes left in *directory* that were killed: a `temp_file`, what `temp_directory` and
    `making_directory` made."""
    left = [path for path in directory.glob(f"{TEMP_PREFIX}*") if _is_abandoned(path)]
    for path in left:
        if path.is_dir():
            remove_tree(path)
        else:
            path.unlink(missing_ok=True)
    return left


def remove_tree(path: Path) -> None:
    """What can be removed of it."""
    import shutil  # here, since it loads three compressors and is hardly ever needed

    shutil.rmtree(path, ignore_errors=True)


def _make_temp_file(directory: Path) -> tuple[Path, int]:
    while True:
        path = directory / f"{TEMP_PREFIX}{os.urandom(8).hex()}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE)
        if _claim(fd):
            return path, fd


def _make_temp_directory(parent: Path) -> tuple[Path, int]:
    while True:
        path = parent / f"{TEMP_PREFIX}{os.urandom(8).hex()}"
        path.mkdir(PRIVATE_DIR)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        if _claim(fd):
            return path, fd


def _claim(fd: int) -> bool:
    """Lock what was just made. False (and closed) where a sweep came in between and took it for abandoned."""
    fcntl.flock(fd, fcntl.LOCK_EX)
    if os.fstat(fd).st_nlink:
        return True
    os.close(fd)
    return False


def _is_abandoned(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:  # finished by now, or a link, which is none of ours
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


class FileLock:
    """An exclusive lock on a file that says who holds it. It ends when it is released or its process does."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def acquire(cls, path: Path, what: str, *, wait_seconds: float = 0.0) -> FileLock:
        """Raises Locked, saying that *what* is in use, by which pid and since when; StoreFailed if the disk refuses."""
        with disk(f"lock {what}"):
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
            try:
                _wait_for_lock(fd, what, wait_seconds)
                _sign(fd)
            except BaseException:
                os.close(fd)
                raise
        return cls(fd)

    def fileno(self) -> int:
        """For a child to hold: the lock lasts until that has ended too."""
        return self._fd

    def release(self) -> None:
        """Safe to call twice. The file stays: removing it would let two owners lock two files of one name."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _wait_for_lock(fd: int, what: str, seconds: float) -> None:
    give_up = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= give_up:
                raise Locked(f"{what} is in use{_holder(fd)}") from exc
        time.sleep(LOCK_POLL_SECONDS)


def _sign(fd: int) -> None:
    owner = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    os.ftruncate(fd, 0)
    os.pwrite(fd, json.dumps(owner).encode(), 0)


def _holder(fd: int) -> str:
    try:
        owner = json.loads(os.pread(fd, 200, 0))
        return f" by process {owner['pid']} since {owner['since']}"
    except (ValueError, LookupError, TypeError):  # its owner is just signing
        return ""
