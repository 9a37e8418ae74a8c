"""Rules about files: gitignore's patterns, with a beginning that says where they start.

`//etc/**` is from the root, `~/.ssh/**` from the home directory, `/src/**`, `./src/**` and `src/**` from the workspace;
a name without a slash is one at any depth, and a directory stands for all in it. A rule that denies `/etc/**` is taken
for both of what people mean by it. Links are resolved on the disk: that is all that is looked up there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import attrs

from agentd.engine.shellwords import DYNAMIC, GLOB
from agentd.workspace.globs import translate

MAX_NAMES = 2000  # in a directory that a pattern in a command is about

_WILD = re.compile(r"[*?\[\\]")
_ANYTHING = "\x01"  # the name of a file that no rule names


@attrs.frozen
class Located:
    """A pattern, where it applies."""

    expressions: tuple[re.Pattern[str], ...]  # for whole paths
    literals: tuple[str, ...]  # files or directories that all that is meant is, or is in


@attrs.frozen
class PathPattern:
    _start: str  # "/", "~", "." for the workspace
    _pattern: str
    _anywhere: bool = False  # at any depth
    _absolute: bool = False  # may be meant from the root as well

    @property
    def literal(self) -> str | None:
        """Of a rule for one file or directory in the workspace: its path."""
        return None if self._anywhere or self._start != "." or _WILD.search(self._pattern) else self._pattern

    def allows(self, raw: str, place: Place) -> bool:
        """By what the path really is, links resolved."""
        start = resolved({"/": "/", "~": place.home}.get(self._start, place.workspace), "")
        meant = _compiled(start, self._pattern, self._anywhere)
        return all(meant.fullmatch(resolved(base, place.from_home(raw))) for base in place.bases)

    def denies(self, paths: Iterable[str], place: Place) -> bool:
        """Whether one of *paths* is meant, or is a directory all of which is."""
        return any(
            expression.fullmatch(path) or expression.fullmatch(f"{path}/{_ANYTHING}")
            for expression in place.located(self).expressions
            for path in paths
        )

    def may_be(self, raw: str, place: Place) -> bool:
        """Whether a path that is not wholly known can be one that is meant."""
        entries = place.entries(raw)
        return entries is None or self.denies(entries, place)

    def is_below(self, paths: Iterable[str], place: Place) -> bool:
        """Whether something that is meant may be in one of the directories *paths*."""
        literals = place.located(self).literals
        return any(_inside(literal, path) and os.path.lexists(literal) for path in paths for literal in literals)

    def locate(self, place: Place) -> Located:
        starts = self._starts(place)
        literal = "" if self._anywhere else _literal(self._pattern)
        expressions = {_compiled(base, self._pattern, self._anywhere) for base in starts}
        if literal:  # the same rule for where links lead to
            rest = self._pattern[len(literal) :].strip("/")
            expressions |= {_compiled(resolved(base, literal), rest, False) for base in starts}
        return Located(tuple(expressions), tuple(os.path.join(base, literal) for base in starts))  # noqa: PTH118

    def _starts(self, place: Place) -> set[str]:
        if self._start == "/":
            return {"/"}
        chosen = {place.home} if self._start == "~" else {place.workspace, *place.directories}
        return {*chosen, *(resolved(base, "") for base in chosen), *(["/"] if self._absolute else [])}


@attrs.frozen
class Place:
    """Where a call acts, for as long as one decision takes: what was looked up is remembered. Absolute paths."""

    workspace: str
    directories: tuple[str, ...] = ()  # others that it may use
    bases: tuple[str, ...] = ()  # where relative paths of it may start
    home: str = ""
    _paths: dict[str, set[str]] = attrs.field(factory=dict, init=False, eq=False)
    _located: dict[PathPattern, Located] = attrs.field(factory=dict, init=False, eq=False)

    def from_home(self, raw: str) -> str:
        return self.home + raw[1:] if raw == "~" or raw.startswith("~/") else raw

    def paths(self, raw: str) -> set[str]:
        """What a path in a call may name: as it is written, and with links resolved."""
        if raw not in self._paths:
            path = self.from_home(raw)
            written = {os.path.normpath(os.path.join(base, path)) for base in self.bases}  # noqa: PTH118  # texts
            self._paths[raw] = written | {real for base in self.bases if (real := resolved(base, path))}
        return self._paths[raw]

    def located(self, pattern: PathPattern) -> Located:
        if pattern not in self._located:
            self._located[pattern] = pattern.locate(self)
        return self._located[pattern]

    def entries(self, raw: str) -> set[str] | None:
        """What a pattern for the names in a directory finds, and could find. None: it may be any path."""
        directory, slash, name = raw.rpartition("/")
        if DYNAMIC in directory or name.count(DYNAMIC) != name.count(GLOB) or raw.startswith("~"):
            return None
        before, after = name.partition(GLOB)[0], name.rpartition(GLOB)[2]
        found = set(self.paths(f"{directory}{slash}{before}{_ANYTHING}{after}"))
        for parent in self.paths(f"{directory}{slash}" or "."):
            names = _names_in(parent)
            if names is None:
                return None
            for one in names:
                if one.startswith(before) and one.endswith(after) and (before or one[0] != "."):
                    found |= self.paths(os.path.join(parent, one))  # noqa: PTH118
        return found


def _names_in(directory: str) -> list[str] | None:
    """None: too many. What cannot be listed is empty."""
    try:
        names = os.listdir(directory)  # noqa: PTH208
    except (OSError, ValueError):
        return []
    return names if len(names) <= MAX_NAMES else None


def resolved(base: str, raw: str) -> str:
    """Empty: no such path can be."""
    try:
        return os.path.realpath(os.path.join(base, raw))  # noqa: PTH118
    except (OSError, ValueError):
        return ""


def path_pattern(text: str) -> PathPattern:
    """Raises ValueError, whose text says what is wrong."""
    if not text.strip("/ "):
        raise ValueError("names no file")
    if text.startswith("!"):
        raise ValueError("takes files out, which a rule cannot; write one for what is meant")
    if ".." in text.split("/"):
        raise ValueError("goes up; write it from the root (//) or the home directory (~/)")
    if text.startswith("//"):
        return PathPattern("/", text.lstrip("/"))
    if text.startswith("~/"):
        return PathPattern("~", text[2:].strip("/"))
    anchored = "/" in text.rstrip("/")
    pattern = text.removeprefix("./").strip("/")
    return PathPattern(".", pattern, not anchored, absolute=text.startswith("/"))


@lru_cache(maxsize=4096)
def _compiled(base: str, pattern: str, anywhere: bool) -> re.Pattern[str]:
    start = re.escape(base.rstrip("/")) + ("/" if pattern else "")
    return re.compile(f"{start}{'(?:.*/)?' if anywhere else ''}{translate(pattern)}(?:/.*)?", re.DOTALL)


def _literal(pattern: str) -> str:
    """The components before the first one with a wildcard in it."""
    found = _WILD.search(pattern)
    return pattern if not found else pattern[: found.start()].rpartition("/")[0]


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def place_of(workspace: Path, directories: Sequence[Path], cwd: Path) -> Place:
    return Place(str(workspace), tuple(map(str, directories)), (str(cwd),), str(Path.home()))
