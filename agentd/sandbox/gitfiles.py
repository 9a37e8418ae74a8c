"""Which of git's own files a sandboxed command writes, and which it must not, as git would later run what is in them.

A hook, `core.fsmonitor` in a configuration, a `.git` file or a `commondir` that leads to another configuration: each is
a command that git runs, outside of the sandbox. So these are read-only, and the files that lead there. What is in the
workspace was perhaps written by an earlier command: it is never believed where it names a place outside. A worktree's
directory has to name the workspace in turn.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

import attrs

from agentd.sandbox.policy import exists

# In a git directory. `worktrees` and `modules` are full of such directories.
RUN_BY_GIT = ("hooks", "config", "config.worktree", "info", "commondir", "gitdir", "worktrees", "modules")
MADE = ("hooks", "info")  # git makes them too, where its templates are in place: empty, they forbid to make them
PLANTED = ("config.worktree", "commondir")
SHARED = ("objects", "refs", "logs")  # what a commit in a worktree writes of the repository's
MAX_NESTED = 200
MAX_ENTRIES = 5000
FILE_BYTES = 1 << 16


@attrs.frozen
class GitFiles:
    writable: tuple[Path, ...] = ()
    protected: tuple[Path, ...] = ()
    planted: tuple[Path, ...] = ()  # not there; they cannot be kept from being made, so they are removed again
    links: tuple[Path, ...] = ()  # in what is writable, now: git writes through them


def git_files(workspace: Path, others: tuple[Path, ...]) -> GitFiles:
    """Of the checkout that the workspace is in, and of all that begin in it, in *others*, in what those have directly
    below them and in submodules. Makes empty `hooks` and `info` where they are missing."""
    places = [*_upwards(workspace), *(nested for place in (workspace, *others) for nested in _nested(place))]
    found = [_checkout(place, (workspace, *others)) for place in dict.fromkeys(places)]
    writable = tuple(path for each in found for path in each.writable)
    return GitFiles(
        writable,
        tuple(path for each in found for path in each.protected),
        tuple(path for each in found for path in each.planted),
        tuple(links(writable)),
    )


def clean(git: GitFiles) -> None:
    """Remove what commands have made that git would run, or write through: an index that is a link is written where it
    leads."""
    for path in (*git.planted, *(path for path in links(git.writable) if path not in git.links)):
        _remove(path)


def links(directories: Iterable[Path]) -> Iterator[Path]:
    """In git directories, and in logs and refs at any depth; as far as there are not too many files."""
    left = MAX_ENTRIES
    for top in map(str, directories):
        for place, below, files in os.walk(top):
            paths = [f"{place}/{name}" for name in (*below, *files)]
            yield from (Path(path) for path in paths if os.path.islink(path))  # noqa: PTH114  # there may be many
            left -= len(paths)
            if left < 0 or top.endswith("/objects"):
                break
            if place == top and not top.endswith(("/logs", "/refs")):
                below[:] = [name for name in below if name in ("logs", "refs")]


def _remove(path: Path) -> None:
    """No link is followed on the way: a command may have put one there."""
    directory = os.open("/", os.O_PATH | os.O_CLOEXEC)
    try:
        for name in path.parts[1:-1]:
            below = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = below
        try:
            os.unlink(path.name, dir_fd=directory)
        except (IsADirectoryError, PermissionError):
            shutil.rmtree(path.name, ignore_errors=True, dir_fd=directory)
    except OSError:  # it is not there
        pass
    finally:
        os.close(directory)


def _upwards(workspace: Path) -> Iterator[Path]:
    """The directory whose `.git` governs the workspace. Not a home: that is where people keep their settings."""
    for place in (workspace, *workspace.parents):
        if os.path.lexists(place / ".git"):
            if place == workspace or place not in (Path.home(), Path("/")):
                yield place
            return


def _nested(place: Path) -> list[Path]:
    """Checkouts below *place*, itself included."""
    below = [place, *_submodules(place)]
    try:
        with os.scandir(place) as entries:
            for _, entry in zip(range(MAX_ENTRIES), entries, strict=False):
                if entry.is_dir(follow_symlinks=False):
                    below.append(place / entry.name)
    except OSError:  # a file, or not to be read
        pass
    return [each for each in dict.fromkeys(below) if os.path.lexists(each / ".git")][:MAX_NESTED]


def _submodules(place: Path) -> Iterator[Path]:
    for name in re.findall(r"(?m)^\s*path\s*=\s*(\S.*?)\s*$", _read(place / ".gitmodules")):
        path = place / name
        if Path(os.path.realpath(path)) == path:  # no link and no `..` on the way
            yield path


def _checkout(place: Path, writable: tuple[Path, ...]) -> GitFiles:
    git = place / ".git"
    if git.is_symlink():
        return GitFiles()
    return _repository(git) if git.is_dir() else _linked(place, writable)


def _repository(git: Path) -> GitFiles:
    if (git / "objects").is_dir():
        for name in MADE:
            _make(git / name)
    return GitFiles((git,), _protected(git), _planted(git, PLANTED))


def _linked(place: Path, writable: tuple[Path, ...]) -> GitFiles:
    """Of a worktree, if it is one: git's directory for it has to lead back here."""
    git = place / ".git"
    told = re.fullmatch(r"gitdir: (.+)\n?", _read(git))
    own = Path(os.path.realpath(place / told[1])) if told else place
    back = Path(os.path.realpath(own / _read(own / "gitdir").strip()))
    if own.parent.name != "worktrees" or back != git:
        return GitFiles(protected=(git,))
    common = own.parent.parent
    within = any(common.is_relative_to(each) for each in writable)  # then it is one of the checkouts
    shared = [] if within else [path for name in SHARED if _is_plain(path := common / name)]
    return GitFiles((own, *shared), (git, *_protected(own)), _planted(own, PLANTED[:1]))


def _protected(directory: Path) -> tuple[Path, ...]:
    return tuple(path for name in RUN_BY_GIT if _is_plain(path := directory / name))


def _planted(directory: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for name in names if not os.path.lexists(path := directory / name))


def _is_plain(path: Path) -> bool:
    return exists(path) and not path.is_symlink()


def _make(directory: Path) -> None:
    try:
        directory.mkdir(exist_ok=True)
    except OSError:  # a file in its place, or a read-only disk: nobody will make it then
        pass


def _read(path: Path) -> str:
    """Empty if it cannot be read, or is no file: a command may have made a pipe of it, which would have us wait."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            return os.fsdecode(file.read(FILE_BYTES)) if stat.S_ISREG(os.fstat(descriptor).st_mode) else ""
    except OSError:
        return ""
