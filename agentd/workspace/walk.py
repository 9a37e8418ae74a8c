"""The files of a tree that are worth looking at, in an order that does not change: each directory's entries by name.

Left out: what git ignores, `.git` and its like, symbolic links (what they point to is met itself, or is not ours), and
anything that is no regular file. What cannot be read, or vanishes meanwhile, is left out as well. A walk is bounded;
its `cut` says whether a bound was reached. Rules of a global core.excludesFile are not applied: answers would depend on
whose machine this is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from agentd.workspace.ignore import IgnoreFile, is_ignored
from agentd.workspace.paths import is_below

MAX_FILES = 500_000
MAX_ENTRIES = 100_000  # of one directory
MAX_IGNORE_BYTES = 1 << 20
VERSION_CONTROL = frozenset({b".git", b".hg", b".svn", b".jj", b".bzr"})


class Entry(NamedTuple):
    path: bytes  # relative to the top of the walk
    is_dir: bool


class Walk:
    """Iterate over it for the regular files below *top*, as paths relative to it. *top* itself may be ignored: who
    names it wants it. *off_limits*: files that are left out, and directories that are not entered. *check* is called in
    each directory, and may raise to end the walk."""

    def __init__(
        self,
        top: Path,
        *,
        off_limits: Iterable[Path] = (),
        max_files: int = MAX_FILES,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self.cut = False
        self._check = check
        self._top = os.path.join(os.fsencode(top), b"")  # noqa: PTH118 - bytes, ending in a slash
        self._off_limits: dict[bytes, frozenset[bytes]] = {}  # names by their directory, which ends in a slash
        for path in off_limits:
            directory = os.fsencode(path.parent).rstrip(b"/") + b"/"
            self._off_limits[directory] = self._off_limits.get(directory, VERSION_CONTROL) | {os.fsencode(path.name)}
        self._max_files = max_files
        # Ignore rules are about paths relative to the repository's root; the walk's are relative to its top.
        self._prefix, self._above = _rules_above(top)
        self._rules: dict[bytes, tuple[IgnoreFile, ...]] = {}

    def __iter__(self) -> Iterator[bytes]:
        left = self._max_files
        stack = [iter(self.entries(b""))]
        while stack:
            for path, is_dir in stack[-1]:
                if is_dir:
                    stack.append(iter(self.entries(path)))
                    break
                if left == 0:
                    self.cut = True
                    return
                left -= 1
                yield path
            else:
                stack.pop()

    def entries(self, directory: bytes) -> list[Entry]:
        """The files and directories in *directory* (b"" for the top), by name. Directories are asked for after the one
        they are in. Empty if it cannot be read."""
        self._check()
        listed = self._scan(directory)
        rules = self._rules_in(directory, any(name == b".gitignore" for name, _ in listed))
        inside = directory + b"/" if directory else b""
        prefix = self._prefix + inside
        barred = self._off_limits.get(self._top + inside, VERSION_CONTROL)
        found = []
        for name, is_dir in listed:
            if name in barred or (rules and is_ignored(rules, prefix + name, is_dir)):
                continue
            if is_dir:
                self._rules[inside + name] = rules
            found.append(Entry(inside + name, is_dir))
        return found

    def _scan(self, directory: bytes) -> list[tuple[bytes, bool]]:
        listed: list[tuple[bytes, bool]] = []
        try:
            with _opened(self._top + directory, self._top) as descriptor, os.scandir(descriptor) as entries:
                for entry in entries:
                    if len(listed) == MAX_ENTRIES:
                        self.cut = True
                        break
                    is_dir = entry.is_dir(follow_symlinks=False)
                    if is_dir or entry.is_file(follow_symlinks=False):
                        listed.append((os.fsencode(entry.name), is_dir))
        except OSError:
            pass  # unreadable, vanished, or a name too long: what was read so far is what there is
        listed.sort()
        return listed

    def _rules_in(self, directory: bytes, has_ignore_file: bool) -> tuple[IgnoreFile, ...]:
        rules = self._rules.pop(directory, self._above)
        if not has_ignore_file:
            return rules
        inside = directory + b"/" if directory else b""
        file = _load(self._top + inside + b".gitignore", self._prefix + inside)
        return (file, *rules) if file else rules


@contextmanager
def _opened(path: bytes, top: bytes) -> Iterator[int]:
    """A directory of the walk, to be read. Raises OSError, also if it is elsewhere now."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not is_below(top, descriptor):
            raise NotADirectoryError
        yield descriptor
    finally:
        os.close(descriptor)


def _load(path: bytes | Path, base: bytes) -> IgnoreFile:
    try:
        # Git does not follow a .gitignore that is a symbolic link either.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return IgnoreFile(file.read(MAX_IGNORE_BYTES), base)
    except OSError:
        return IgnoreFile(b"")


def _rules_above(top: Path) -> tuple[bytes, tuple[IgnoreFile, ...]]:
    """Where *top* is in its repository (b"src/lib/"), and the rules from the root to above *top*, nearest first."""
    root = next((path for path in (top, *top.parents) if os.path.lexists(path / ".git")), None)
    if root is None:
        return b"", ()
    steps = top.relative_to(root).parts
    above = [steps[:depth] for depth in range(len(steps))]
    files = [_load(root.joinpath(*parts, ".gitignore"), _slashed(parts)) for parts in reversed(above)]
    files.append(_load(_common_git_dir(root) / "info" / "exclude", b""))
    return _slashed(steps), tuple(file for file in files if file)


def _slashed(parts: Iterable[str]) -> bytes:
    return b"".join(os.fsencode(part) + b"/" for part in parts)


def _common_git_dir(root: Path) -> Path:
    """Where `info/exclude` is. In a linked worktree `.git` is a file, and names a directory that names this one."""
    git = root / ".git"
    try:
        if not git.is_dir():
            git = root / _first_line(git).removeprefix("gitdir:").strip()
        return git / _first_line(git / "commondir")
    except OSError:
        return git


def _first_line(path: Path) -> str:
    # A command may have put a pipe in its place, which would have us wait.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        return os.fsdecode(file.readline(4096).rstrip(b"\n"))
