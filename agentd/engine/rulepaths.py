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

from agentd.engine.shellwords import DYNAMIC
from agentd.workspace.globs import translate

_WILD = re.compile(r"[*?\[\\]")
_ANYTHING = "\x01"  # the name of a file that no rule names


@attrs.frozen
class Place:
    """Where a call acts. Absolute paths."""

    workspace: str
    directories: tuple[str, ...] = ()  # others that it may use
    bases: tuple[str, ...] = ()  # where relative paths of it may start
    home: str = ""

    def paths(self, raw: str) -> set[str]:
        """What a path in a call may name: as it is written, and with links resolved."""
        raw = self.home + raw[1:] if raw == "~" or raw.startswith("~/") else raw
        found = {os.path.normpath(os.path.join(base, raw)) for base in self.bases}  # noqa: PTH118  # texts, for speed
        return found | {real for base in self.bases if (real := resolved(base, raw))}


def resolved(base: str, raw: str) -> str:
    """ "": no such path can be."""
    try:
        return os.path.realpath(os.path.join(base, raw))  # noqa: PTH118
    except (OSError, ValueError):
        return ""


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
        raw = place.home + raw[1:] if raw.startswith("~/") else raw
        start = resolved({"/": "/", "~": place.home}.get(self._start, place.workspace), "")
        meant = _compiled(start, self._pattern, self._anywhere)
        return all(meant.fullmatch(resolved(base, raw)) for base in place.bases)

    def denies(self, paths: Iterable[str], place: Place) -> bool:
        """Whether one of *paths* is meant, or is a directory all of which is."""
        expressions = [_compiled(base, self._pattern, self._anywhere) for base in self._starts(place)]
        expressions += [_compiled(base, rest, False) for base, rest in self._real(place)]
        return any(
            expression.fullmatch(path) or expression.fullmatch(f"{path}/{_ANYTHING}")
            for path in paths
            for expression in expressions
        )

    def may_be(self, raw: str, place: Place) -> bool:
        """Whether a path that is not wholly known can be one that is meant."""
        before, after = raw.partition(DYNAMIC)[0], raw.rpartition(DYNAMIC)[2]
        if "/" not in after and not self._may_end_in(after, place):
            return False
        known = [os.path.join(base, before) for base in place.bases]  # noqa: PTH118
        return any(one.startswith(start) or start.startswith(one) for one in known for start in self._literals(place))

    def _may_end_in(self, after: str, place: Place) -> bool:
        """Whether a name with this ending can be meant. What is in a directory that is meant may end in anything."""
        name = self._pattern.rsplit("/", 1)[-1]
        if "." not in name or any(map(os.path.isdir, self._literals(place))):
            return True
        ending = "" if name.endswith("]") else _WILD.split(name)[-1]
        return after.endswith(ending) or ending.endswith(after)

    def is_below(self, paths: Iterable[str], place: Place) -> bool:
        """Whether something that is meant may be in one of the directories *paths*."""
        return any(
            _inside(literal, path) and os.path.lexists(literal) for path in paths for literal in self._literals(place)
        )

    def _starts(self, place: Place) -> set[str]:
        if self._start == "/":
            return {"/"}
        chosen = {place.home} if self._start == "~" else {place.workspace, *place.directories}
        return {*chosen, *(resolved(base, "") for base in chosen), *(["/"] if self._absolute else [])}

    def _literals(self, place: Place) -> set[str]:
        """The directories or files that all that is meant is, or is in."""
        literal = "" if self._anywhere else _literal(self._pattern)
        return {os.path.join(base, literal) for base in self._starts(place)}  # noqa: PTH118

    def _real(self, place: Place) -> list[tuple[str, str]]:
        """The same rule for where links lead to: base and pattern."""
        literal = "" if self._anywhere else _literal(self._pattern)
        if not literal:
            return []
        rest = self._pattern[len(literal) :].strip("/")
        return [(resolved(base, literal), rest) for base in self._starts(place)]


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
