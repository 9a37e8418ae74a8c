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

# In a git directory, or in what it keeps of a worktree or a submodule.
RUN_BY_GIT = ("hooks", "config", "config.worktree", "info/attributes", "commondir", "gitdir")
MADE = (
    "hooks",
    "info",
    ATTRIBUTES := "info/attributes",
)  # git makes the first two too: empty, they forbid to make them
HOLDERS = ("modules", "worktrees")
PLANTED = ("config.worktree", "commondir")
SHARED = ("objects", "refs", "logs", "reftable")  # what a commit in a worktree writes of the repository's
WRITTEN = (  # by each commit: looked at however many files there are
    *("", "index", "HEAD", "ORIG_HEAD", "FETCH_HEAD", "COMMIT_EDITMSG", "MERGE_MSG", "packed-refs"),
    *("refs", "refs/heads", "refs/stash", "logs", "logs/HEAD", "logs/refs", "logs/refs/heads", "logs/refs/stash"),
)
MAX_NESTED = 200
MAX_KEPT = 64  # of the worktrees and submodules of one repository; where there are more, none is to be changed
MAX_ENTRIES = 20_000
FILE_BYTES = 1 << 16

# What commands have made below a workspace since this process began, as it was when they ended: the next job's may
# change and remove it.
_theirs: dict[Path, Identity] = {}


@attrs.frozen
class GitFiles:
    writable: tuple[Path, ...] = ()
    protected: tuple[Path, ...] = ()
    planted: tuple[Path, ...] = ()  # not there; they cannot be kept from being made, so they are removed again
    links: tuple[Path, ...] = ()  # in what is writable, now: git writes through them
    places: tuple[Path, ...] = ()  # the workspace, and the others
    known: frozenset[Path] = frozenset()  # what there was


def git_files(workspace: Path, others: tuple[Path, ...]) -> GitFiles:
    """Of the checkout that the workspace is in, and of all that begin in it, in *others*, in what those have directly
    below them and in submodules; not of those that commands have made. Makes empty `hooks`, `info` and
    `info/attributes` where they are missing."""
    places = (workspace, *others)
    known = [unit for unit in _units(places) if not _is_theirs(unit)]
    found = [_rules_for(unit, places) for unit in known]
    writable = tuple(path for each in found for path in each.writable)
    return GitFiles(
        writable,
        tuple(path for each in found for path in each.protected),
        tuple(path for each in found for path in each.planted),
        tuple(links(writable)),
        places,
        frozenset(known),
    )


def clean(git: GitFiles) -> None:
    """To be done when a command has ended. Remove what it has made that git would run, or write through: an index that
    is a link is written where it leads."""
    for path in (*git.planted, *(path for path in links(git.writable) if path not in git.links)):
        _remove(path)
    new = (unit for unit in _units(git.places) if unit not in git.known and unit.parent not in git.places)
    _theirs.update((unit, _identity(unit)) for unit in new)


def links(directories: Iterable[Path]) -> Iterator[Path]:
    """In git directories, and in logs and refs at any depth; beyond what each commit writes only as far as there are
    not too many files."""
    for top in map(str, directories):
        found = {path for name in WRITTEN if os.path.islink(path := os.path.join(top, name))}  # noqa: PTH114, PTH118
        inner = top.endswith(("/logs", "/refs"))
        found.update(_links_below(top, deep=inner))
        for name in () if inner else ("logs", "refs"):
            found.update(_links_below(f"{top}/{name}", deep=True))
        yield from sorted(Path(path) for path in found)


def _links_below(top: str, *, deep: bool) -> Iterator[str]:
    left = MAX_ENTRIES
    for place, below, files in os.walk(top):
        paths = [f"{place}/{name}" for name in (*below, *files)]
        yield from (path for path in paths if os.path.islink(path))  # noqa: PTH114  # there may be many
        left -= len(paths)
        if left < 0 or not deep:
            break


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


# --- What there is ------------------------------------------------------------------------------------------------

Identity = tuple[tuple[int, ...], ...]


def _units(places: tuple[Path, ...]) -> list[Path]:
    """Each `.git`, and each directory that one of them keeps of a worktree or a submodule."""
    checkouts = (*_upwards(places[0]), *(nested for place in places for nested in _nested(place)))
    return [unit for place in dict.fromkeys(checkouts) for unit in (place / ".git", *(_kept(place / ".git") or ()))]


def _kept(git: Path) -> list[Path] | None:
    """None: too many."""
    found, left = _directories(git / "worktrees"), MAX_NESTED
    modules = git / "modules"
    for place, below, files in () if git.is_symlink() or modules.is_symlink() else os.walk(modules):
        if "HEAD" in files:  # else it is a part of a name, which is a path
            found.append(Path(place))
            below[:] = [name for name in below if name == "modules"]
        left -= 1
        if left < 0:
            return None
    return found if len(found) <= MAX_KEPT else None


def _directories(place: Path) -> list[Path]:
    try:
        with os.scandir(place) as entries:
            some = (entry for _, entry in zip(range(MAX_ENTRIES), entries, strict=False))
            return [place / entry.name for entry in some if entry.is_dir(follow_symlinks=False)]
    except OSError:  # a file, or not to be read
        return []


def _is_theirs(unit: Path) -> bool:
    """It is not if somebody else has changed since what git would run of it."""
    return unit in _theirs and _theirs[unit] == _identity(unit)


def _identity(unit: Path) -> Identity:
    """A git directory is the same when there is something new in it: git does that all the time."""
    return tuple(_stamp(unit / name, is_same=name == "" and unit.is_dir()) for name in ("", *RUN_BY_GIT))


def _stamp(path: Path, *, is_same: bool) -> tuple[int, ...]:
    try:
        found = path.lstat()
    except OSError:
        return ()
    return (found.st_dev, found.st_ino, 0 if is_same else found.st_mtime_ns)


def _upwards(workspace: Path) -> Iterator[Path]:
    """The directory whose `.git` governs the workspace. Not a home: that is where people keep their settings."""
    for place in (workspace, *workspace.parents):
        if os.path.lexists(place / ".git"):
            if place == workspace or place not in (Path.home(), Path("/")):
                yield place
            return


def _nested(place: Path) -> list[Path]:
    """Checkouts below *place*, itself included."""
    below = [place, *_submodules(place), *_directories(place)]
    return [each for each in dict.fromkeys(below) if os.path.lexists(each / ".git")][:MAX_NESTED]


def _submodules(place: Path) -> Iterator[Path]:
    for name in re.findall(r"(?m)^\s*path\s*=\s*(\S.*?)\s*$", _read(place / ".gitmodules")):
        path = place / name
        if Path(os.path.realpath(path)) == path:  # no link and no `..` on the way
            yield path


# --- What holds for it --------------------------------------------------------------------------------------------


def _rules_for(unit: Path, places: tuple[Path, ...]) -> GitFiles:
    if unit.is_symlink():
        return GitFiles()
    if unit.parent.name == "worktrees" and unit.name != ".git":
        return GitFiles((unit,), (*_protected(unit), *_existing(unit, "modules")), _planted(unit, PLANTED[:1]))
    return _repository(unit) if unit.is_dir() else _linked(unit.parent, places)


def _repository(git: Path) -> GitFiles:
    if (git / "objects").is_dir() and not (git / "info").is_symlink():
        for name in MADE:
            _make(git / name)
    whole = HOLDERS if _kept(git) is None else HOLDERS[1:] if git.name != ".git" else ()
    return GitFiles((git,), (*_protected(git), *_existing(git, *whole)), _planted(git, PLANTED))


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
    shared = () if within else _existing(common, *SHARED)
    return GitFiles((own, *shared), (git, *_protected(own), *_existing(own, "modules")), _planted(own, PLANTED[:1]))


def _protected(directory: Path) -> tuple[Path, ...]:
    return _existing(directory, *RUN_BY_GIT)


def _existing(directory: Path, *names: str) -> tuple[Path, ...]:
    return tuple(path for name in names if _is_plain(path := directory / name))


def _planted(directory: Path, names: tuple[str, ...]) -> tuple[Path, ...]:
    return tuple(path for name in names if not os.path.lexists(path := directory / name))


def _is_plain(path: Path) -> bool:
    return exists(path) and not path.is_symlink()


def _make(path: Path) -> None:
    try:
        if path.parts[-2:] == Path(ATTRIBUTES).parts:
            path.touch(exist_ok=False)
        else:
            path.mkdir(exist_ok=True)
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
