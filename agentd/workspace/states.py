"""What is at a path, and bringing something back to it: a regular file, a symbolic link, or nothing. Blocking.

Every directory on the way, from the root, is opened by name in the one before, and no link is followed: a path that has
come to lead somewhere else since it was resolved is refused. What is changed is changed in one step, and only if it is
still what the caller has seen.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Literal

import attrs

from agentd.workspace.files import parent_of

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NOBODY_THERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Unexpected(OSError):
    """A path is not what it was, or nothing that can be dealt with. Its text says what."""

    def __init__(self, text: str) -> None:
        super().__init__(errno.EBUSY, text)


@attrs.frozen
class State:
    """*kind* other: a device, a pipe, a socket. A directory counts as absent: there is neither file nor link."""

    kind: Literal["file", "link", "absent", "other"]
    size: int = 0  # bytes
    mode: int = 0  # permission bits
    owner: tuple[int, int] = (-1, -1)  # user and group; -1: nobody's
    version: tuple[int, ...] = ()  # two of the same are the same file, unchanged

    @property
    def is_executable(self) -> bool:
        return bool(self.mode & stat.S_IXUSR)


ABSENT = State("absent")


@attrs.frozen
class Content:
    """*mode*: permission bits; None: those that are there, or usual, with or without those to execute it."""

    kind: Literal["file", "link"]
    data: bytes
    mode: int | None = None
    executable: bool = False


def look(path: Path) -> State:
    """Raises OSError."""
    try:
        with parent_of(path) as directory:
            return _state(os.stat(path.name, dir_fd=directory, follow_symlinks=False))
    except OSError as exc:
        if exc.errno in _NOBODY_THERE:
            return ABSENT
        raise


def read(path: Path, largest: int) -> tuple[State, bytes | None]:
    """What is there, and what it holds: nothing, or where a link leads. None: it has more than *largest* bytes, or is
    something that holds nothing. Raises OSError."""
    state = look(path)
    if state.kind not in ("file", "link") or state.size > largest:
        return state, None
    with parent_of(path) as directory:
        if state.kind == "link":
            return state, os.fsencode(os.readlink(path.name, dir_fd=directory))
        descriptor = os.open(path.name, _READ, dir_fd=directory)
        with os.fdopen(descriptor, "rb") as file:
            state = _state(os.fstat(descriptor))
            data = file.read(largest + 1)
            if _state(os.fstat(descriptor)) != state:
                raise Unexpected("somebody is writing to it")
    return (state, data) if len(data) <= largest else (state, None)


def put(path: Path, content: Content, seen: State) -> None:
    """Make *path* hold *content*; directories on the way are made, and empty ones in its place removed. Raises OSError;
    then *path* is as it was."""
    with parent_of(path, create=True) as directory:
        _check(path.name, directory, seen)
        temporary = _temporary(path)
        with contextlib.suppress(FileNotFoundError):  # of a process that was killed here
            os.unlink(temporary, dir_fd=directory)
        try:
            _make(temporary, directory, content, seen)
            _check(path.name, directory, seen)
            if seen.kind == "absent":
                _clear(path.name, directory)
            os.replace(temporary, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=directory)
            raise


def remove(path: Path, seen: State) -> None:
    """Raises OSError."""
    with parent_of(path) as directory:
        _check(path.name, directory, seen)
        os.unlink(path.name, dir_fd=directory)


def tidy(path: Path) -> None:
    """Remove what a process that was killed in put() has left beside *path*. Raises OSError."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), parent_of(path) as directory:
        os.unlink(_temporary(path), dir_fd=directory)


def _state(found: os.stat_result) -> State:
    if stat.S_ISDIR(found.st_mode):
        return ABSENT
    kind: Literal["file", "link", "other"] = "other"
    if stat.S_ISREG(found.st_mode):
        kind = "file"
    elif stat.S_ISLNK(found.st_mode):
        kind = "link"
    version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return State(kind, found.st_size, stat.S_IMODE(found.st_mode), (found.st_uid, found.st_gid), version)


def _check(name: str, directory: int, seen: State) -> None:
    try:
        now = _state(os.stat(name, dir_fd=directory, follow_symlinks=False))
    except FileNotFoundError:
        now = ABSENT
    if now != seen:
        raise Unexpected("it was changed by somebody else meanwhile")


def _temporary(path: Path) -> str:
    """The same for the same path, so that what is left of it can be found again."""
    return f".agentd-{sha256(os.fsencode(path)).hexdigest()[:16]}.tmp"


def _make(name: str, directory: int, content: Content, seen: State) -> None:
    if content.kind == "link":
        os.symlink(os.fsdecode(content.data), name, dir_fd=directory)
        return
    descriptor = os.open(name, _CREATE, 0o666, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content.data)
        file.flush()
        _dress(descriptor, content, seen)
        os.fsync(descriptor)


def _dress(descriptor: int, content: Content, seen: State) -> None:
    with contextlib.suppress(PermissionError):  # only root may give files away; others keep what they write
        os.fchown(descriptor, *seen.owner)
    mode = content.mode
    if mode is None:
        usual = seen.mode if seen.kind == "file" else stat.S_IMODE(os.fstat(descriptor).st_mode)
        readers = (usual & 0o444) >> 2
        mode = usual | readers if content.executable else usual & ~0o111
    os.fchmod(descriptor, mode)  # last: a change of owner clears bits


def _clear(name: str, directory: int) -> None:
    """Remove a directory that is in the way, if there is no file in it."""
    try:
        if _has_files(name, directory):
            raise Unexpected("there is a directory in its place now, with files of which there is no record")
        _remove_empty(name, directory)
    except (FileNotFoundError, NotADirectoryError):
        return


def _has_files(name: str, directory: int) -> bool:
    with _listed(name, directory) as (descriptor, names):
        states = [os.stat(each, dir_fd=descriptor, follow_symlinks=False) for each in names]
        if not all(stat.S_ISDIR(state.st_mode) for state in states):
            return True
        return any(_has_files(each, descriptor) for each in names)


def _remove_empty(name: str, directory: int) -> None:
    with _listed(name, directory) as (descriptor, names):
        for each in names:
            _remove_empty(each, descriptor)
    os.rmdir(name, dir_fd=directory)


@contextlib.contextmanager
def _listed(name: str, directory: int) -> Iterator[tuple[int, list[str]]]:
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield descriptor, os.listdir(descriptor)  # noqa: PTH208  # of a descriptor
    finally:
        os.close(descriptor)
