"""Files of the workspace opened and replaced without leaving it: every directory on the way is opened by name in the
one before, and no link is followed. Paths come from paths.resolve(), which has resolved the links there were."""

from __future__ import annotations

import contextlib
import difflib
import errno
import itertools
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from agentd.errors import ToolFailed
from agentd.workspace.paths import shown

MAX_READ_BYTES = 64 << 20

_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A FIFO in the place of a file must not hold us up, nor a terminal become ours.
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

_REASONS = {
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.ENOTDIR: "a part of the path is a file, not a directory",
    errno.ELOOP: "the path leads through a symbolic link that goes round in circles or has just been changed",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENOSPC: "no space is left on the disk",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EISDIR: "it is a directory",
    errno.EIO: "the disk reports an error",
}


def missing(path: Path, workspace: Path) -> ToolFailed:
    """The error that there is no such file, and which there are that may have been meant."""
    return ToolFailed(f"{shown(path, workspace)} does not exist.{_similar(path, workspace)}")


@contextlib.contextmanager
def open_for_reading(path: Path, workspace: Path) -> Iterator[BinaryIO]:
    """The regular file at *path*, unbuffered. Raises ToolFailed, saying what is there instead, if anything."""
    with _told(path, workspace), parent_of(path, workspace) as directory:
        descriptor = os.open("." if path == workspace else path.name, _READ, dir_fd=directory)
        try:
            mode = os.fstat(descriptor).st_mode
            if stat.S_ISDIR(mode):
                raise ToolFailed(f"{shown(path, workspace)} is a directory; LS lists it, Glob and Grep search in it")
            if not stat.S_ISREG(mode):
                raise ToolFailed(f"{shown(path, workspace)} is no regular file, but a device, a pipe or a socket")
            with os.fdopen(descriptor, "rb", buffering=0, closefd=False) as file:
                yield file
        finally:
            os.close(descriptor)


def read(path: Path, workspace: Path) -> tuple[bytes, os.stat_result]:
    """All of a file, and which version of it that is. Raises ToolFailed if it is larger than MAX_READ_BYTES."""
    with open_for_reading(path, workspace) as file:
        version = os.fstat(file.fileno())
        if version.st_size > MAX_READ_BYTES:
            raise ToolFailed(f"{shown(path, workspace)} is larger than {MAX_READ_BYTES} bytes; use a command for it")
        return file.read(), version


def replace(path: Path, workspace: Path, data: bytes, version: os.stat_result | None = None) -> bool:
    """Write *data* to *path* in one step: a reader sees the old file or the new one. Mode and owner stay as they were;
    missing directories are made. Whether there was a file. Raises ToolFailed, also if the file is no longer the
    *version* that was read; then nothing has changed."""
    with _told(path, workspace), parent_of(path, workspace, create=True) as directory:
        old = _stat(path, workspace, directory)
        if version is not None and (old is None or _identity(old) != _identity(version)):
            raise ToolFailed(f"{shown(path, workspace)} was changed by somebody else meanwhile; read it again")
        temporary = f".{os.urandom(8).hex()}.tmp"
        descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=directory)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                _write_all(file, data)
                if old is not None:
                    _dress_like(descriptor, old)
            os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise
        return old is not None


def _identity(version: os.stat_result) -> tuple[int, int, int]:
    return version.st_ino, version.st_size, version.st_mtime_ns


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[file.write(left) :]


def _stat(path: Path, workspace: Path, directory: int) -> os.stat_result | None:
    try:
        found = os.stat(path.name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        kind = "a directory" if stat.S_ISDIR(found.st_mode) else "no regular file"
        raise ToolFailed(f"{shown(path, workspace)} is {kind}; choose another name")
    if not found.st_mode & 0o222:
        raise ToolFailed(
            f"{shown(path, workspace)} is read-only (mode {stat.S_IMODE(found.st_mode):04o}). "
            "If it is meant to be changed, make it writable first"
        )
    return found


def _dress_like(descriptor: int, old: os.stat_result) -> None:
    new = os.fstat(descriptor)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        with contextlib.suppress(PermissionError):  # only root may give files away; others keep what they write
            os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))  # last: a change of owner clears bits


@contextlib.contextmanager
def parent_of(path: Path, workspace: Path | None = None, *, create: bool = False) -> Iterator[int]:
    """A descriptor of the directory that *path*, absolute, is in; of the workspace for the workspace itself. No link on
    the way is followed, from the workspace on if *path* is in it."""
    top = workspace if workspace is not None and path.is_relative_to(workspace) else Path(path.anchor)
    parts = path.relative_to(top).parts
    directory = os.open(top, _DIRECTORY)
    try:
        for part in parts[:-1]:
            if create:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=directory)
            inner = os.open(part, _DIRECTORY, dir_fd=directory)
            os.close(directory)
            directory = inner
        yield directory
    finally:
        os.close(directory)


@contextlib.contextmanager
def _told(path: Path, workspace: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise missing(path, workspace) from exc
    except OSError as exc:
        reason = _REASONS.get(exc.errno or 0, os.strerror(exc.errno or 0))
        raise ToolFailed(f"{shown(path, workspace)}: {reason}") from exc


def _similar(path: Path, workspace: Path) -> str:
    """Names next to a missing file that its author may have meant."""
    parent = path.parent
    while not parent.is_dir() and parent != workspace:
        path, parent = parent, parent.parent
    try:
        names = [entry.name for entry in itertools.islice(parent.iterdir(), 10_000)]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.6)
    near += [name for name in names if name not in near and name.startswith(path.stem + ".")][:3]
    if not near:
        return " Glob finds files by name"
    return " Similar names: " + ", ".join(shown(parent / name, workspace) for name in near)
