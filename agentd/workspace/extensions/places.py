"""Directories that extensions are read from, and how far one looks: no link leads out of a place whose content is
somebody else's, nothing but regular files is read, and there is an end to how large and how many they may be."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

import attrs

from agentd.errors import ToolFailed
from agentd.workspace.files import parent_of
from agentd.workspace.text import printable, sniff

Location = Literal["user", "project", "plugin"]

LARGEST_FILE = 1 << 20  # bytes
MOST_FILES = 1000  # of a kind, in one place
MOST_ENTRIES = 20_000  # of one directory that are looked at
MOST_PROBLEMS = 50
DEEPEST = 4  # directories of commands in one another

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Problems:
    """What people are told that was left out or misread. Repositories that are full of it do not fill our memory."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._of_servers: list[str] = []
        self._more = 0

    def add(self, where: Path, what: str, *, of_servers: bool = False) -> None:
        text = f"{where}: {what}".encode("utf-8", "replace").decode()
        if of_servers and len(self._of_servers) < MOST_PROBLEMS:
            self._of_servers.append(text)
        if len(self._texts) < MOST_PROBLEMS:
            self._texts.append(text)
        else:
            self._more += 1

    @property
    def of_servers(self) -> tuple[str, ...]:
        """Those of MCP servers, which may be all that somebody wants to know of."""
        return tuple(self._of_servers)

    def texts(self) -> tuple[str, ...]:
        more = (f"and {self._more} more problems like these",) if self._more else ()
        return (*self._texts, *more)


@attrs.frozen
class Place:
    """The directory *top*, absolute. *confined*: links in it that lead out of it are not followed, since others may
    have made them; then *top* has to be a real path. The user's own directory may link wherever it likes."""

    top: Path
    location: Location
    confined: bool

    def head(self, relative: str, limit: int) -> tuple[str, int] | None:
        """The first *limit* bytes of a file as text, and its size in bytes; None: there is none. Raises ToolFailed."""
        if (found := self.read(relative, limit)) is None:
            return None
        encoding = sniff(found[0])
        try:
            if encoding is not None:
                return printable(encoding.decode(found[0])), found[1]
        except UnicodeDecodeError:
            pass
        raise ToolFailed("it is no text")

    def read(self, relative: str, limit: int) -> tuple[bytes, int] | None:
        """The same, as bytes."""
        with self._opened(relative, 0) as descriptor:
            if descriptor is None:
                return None
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise ToolFailed("it is no regular file")
            try:
                with os.fdopen(descriptor, "rb", closefd=False) as file:
                    return file.read(limit), found.st_size
            except OSError as exc:  # a disk that fails, a file of /proc that has conditions
                raise ToolFailed(exc.strerror or "it cannot be read") from exc

    def listing(self, relative: str, problems: Problems) -> tuple[list[tuple[str, bool]], tuple[int, int]]:
        """The entries of a directory by name, each with whether it is a directory, and which directory it was. Empty
        for none. Hidden ones are left out, and names that nobody could type."""
        try:
            with self._opened(relative, os.O_DIRECTORY) as descriptor:
                if descriptor is None:
                    return [], (0, 0)
                found = os.fstat(descriptor)
                with os.scandir(descriptor) as entries:
                    listed = [(entry.name, _is_directory(entry)) for entry in islice(entries, MOST_ENTRIES)]
        except (ToolFailed, OSError) as exc:
            problems.add(self.top / relative, f"left out: {exc if isinstance(exc, ToolFailed) else exc.strerror}")
            return [], (0, 0)
        if len(listed) == MOST_ENTRIES:
            problems.add(self.top / relative, f"it has {MOST_ENTRIES} entries or more; the others are left out")
        odd = [name for name, _ in listed if not name.isprintable()]
        for name in odd[:3]:
            problems.add(self.top / relative, f"{name!a} is left out: there are unprintable characters in its name")
        shown = sorted(entry for entry in listed if entry[0].isprintable() and not entry[0].startswith("."))
        return shown, (found.st_dev, found.st_ino)

    @contextlib.contextmanager
    def _opened(self, relative: str, flags: int) -> Iterator[int | None]:
        """A descriptor; None for what does not exist. Raises ToolFailed."""
        descriptor = None
        try:
            descriptor = self._open(relative, flags)
        except (FileNotFoundError, NotADirectoryError):
            pass
        except (OSError, ValueError) as exc:
            raise ToolFailed(getattr(exc, "strerror", None) or "its path is none") from exc
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def _open(self, relative: str, flags: int) -> int:
        path = self.top / relative
        if not self.confined:
            return os.open(path, (_READ & ~os.O_NOFOLLOW) | flags)
        try:
            return self._open_unlinked(path, flags)
        except OSError as exc:
            if exc.errno not in (errno.ELOOP, errno.ENOTDIR):  # else there is a link on the way
                raise
        real = Path(os.path.realpath(path))
        if not real.is_relative_to(self.top):
            raise ToolFailed(f"a link leads out of {self.top}")
        return self._open_unlinked(real, flags)

    def _open_unlinked(self, path: Path, flags: int) -> int:
        with parent_of(path, self.top) as directory:
            return os.open(path.name, _READ | flags, dir_fd=directory)


def _is_directory(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that goes round in circles
        return False


@attrs.frozen
class File:
    """A Markdown file in a place, as it will be when it is needed: between now and then, an agent may change it."""

    place: Place
    relative: str

    @property
    def path(self) -> Path:
        return self.place.top / self.relative

    def text(self) -> str:
        """All of it. Raises ToolFailed."""
        try:
            found = self.place.head(self.relative, LARGEST_FILE)
        except ToolFailed as exc:
            raise ToolFailed(f"{self.path} cannot be read: {exc}") from exc
        if found is None:
            raise ToolFailed(f"{self.path} is no longer there")
        return found[0]
