"""What git ignores, decided without touching a disk. The rules: gitignore(5), and git's dir.c where that is silent.

A verdict is about one path; that nothing below an ignored directory can be taken back in is up to the walk, which does
not enter one. Paths are bytes, as git's are: `?` is one byte.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from agentd.workspace.globs import translate

_WILD = re.compile(rb"[*?\[\\]")
_PLAIN = re.compile(rb"[^*?\[\\]*")
_BOM = b"\xef\xbb\xbf"


class IgnoreFile:
    """The patterns of one file. *base* is the directory it speaks for: b"" or b"src/lib/", relative to the root."""

    def __init__(self, content: bytes, base: bytes = b"") -> None:
        self._base = len(base)
        self._takes_out: list[bool] = []  # by pattern number: True ignores, False takes back in
        # The number of the last pattern that is exactly this name, this path, this suffix (".pyc"); for directories
        # only in the second of each pair. Nine in ten patterns are of these kinds; the rest are tried one by one.
        self._names: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        self._paths: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        self._suffixes: tuple[dict[bytes, int], dict[bytes, int]] = ({}, {})
        self._rest: list[tuple[int, re.Pattern[bytes], bool, bool]] = []  # last one first: regex, on name, dirs only
        for line in content.removeprefix(_BOM).split(b"\n"):
            self._add(line.removesuffix(b"\r"))
        self._rest.reverse()

    def __bool__(self) -> bool:
        return bool(self._takes_out)

    def _add(self, line: bytes) -> None:
        pattern = _without_trailing_spaces(line)
        if not pattern or pattern.startswith(b"#"):
            return
        number = len(self._takes_out)
        negated = pattern.startswith(b"!")
        pattern = pattern[negated:]
        only_directories = pattern.endswith(b"/")
        pattern = pattern[: len(pattern) - only_directories]
        on_name = b"/" not in pattern
        self._takes_out.append(not negated)
        self._file_under(number, pattern.removeprefix(b"/"), on_name, only_directories)

    def _file_under(self, number: int, pattern: bytes, on_name: bool, only_directories: bool) -> None:
        if not _WILD.search(pattern):
            (self._names if on_name else self._paths)[only_directories][pattern] = number
        elif on_name and pattern[:2] == b"*." and not _WILD.search(pattern, 1) and b"." not in pattern[2:]:
            self._suffixes[only_directories][pattern[1:]] = number
        else:
            self._rest.append((number, _compile(pattern), on_name, only_directories))

    def verdict(self, path: bytes, name: bytes, is_dir: bool) -> bool | None:
        """True: ignored; False: taken back in; None: nothing here is about it. *path* is relative to the root."""
        path = path[self._base :]
        dot = name.rfind(b".")
        suffix = name[dot:] if dot >= 0 else b""
        last = -1
        for kind in (0, 1) if is_dir else (0,):
            last = max(
                last,
                self._names[kind].get(name, -1),
                self._paths[kind].get(path, -1),
                self._suffixes[kind].get(suffix, -1),
            )
        for number, regex, on_name, only_directories in self._rest:
            if number < last:
                break
            if (is_dir or not only_directories) and regex.fullmatch(name if on_name else path):
                last = number
                break
        return None if last < 0 else self._takes_out[last]


def _compile(pattern: bytes) -> re.Pattern[bytes]:
    # Git compares what is before the first wildcard by itself, and only then looks at the rest as a pattern of its own:
    # so the stars of `a**/b` count as being at the beginning.
    plain = _PLAIN.match(pattern)[0]  # type: ignore[index]  # it may be empty, but matches
    # Latin-1 maps bytes to characters one to one, so the translation never sees half a character.
    rest = translate(pattern[len(plain) :].decode("latin-1")).encode("latin-1")
    return re.compile(re.escape(plain) + rest, re.DOTALL)


def _without_trailing_spaces(line: bytes) -> bytes:
    """Spaces at the end go, but not one that a backslash protects (git: trim_trailing_spaces)."""
    kept = line.rstrip(b" ")
    backslashes = len(kept) - len(kept.rstrip(b"\\"))
    return line[: len(kept) + 1] if backslashes % 2 and len(kept) < len(line) else kept


def is_ignored(files: Iterable[IgnoreFile], path: bytes, is_dir: bool) -> bool:
    """Whether git would ignore *path* (relative to the root). *files*: the most important first, which is the one
    nearest to the path; `.git/info/exclude` comes last."""
    name = path[path.rfind(b"/") + 1 :]
    for file in files:
        verdict = file.verdict(path, name, is_dir)
        if verdict is not None:
            return verdict
    return False
