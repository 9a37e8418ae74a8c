"""One file searched for one pattern. Standard library only, and no await: this runs in threads and in search workers.

A file is read in blocks that end at a line's end. Most are dismissed by looking for what every match has to hold
(needle.py); only what is left is decoded and given to `re`. Of a line longer than MAX_LINE_BYTES the parts are searched
one by one. A multiline search looks at the first MAX_WHOLE_BYTES of a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator

from agentd.workspace.paths import is_below
from agentd.workspace.pattern import Pattern
from agentd.workspace.text import printable, sniff

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import AnyStr

MAX_LINE_BYTES = 16 << 20
MAX_WHOLE_BYTES = 64 << 20
SHOWN_CHARACTERS = 500  # of a long line, around what matched

_FIRST_BYTES = 1 << 16  # below malloc's threshold for mapping memory: three times as fast as a larger read
_BLOCK_BYTES = 1 << 20
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC

Line = tuple[int, bool, str]  # number from 1, whether it matched (or is context), text
Found = tuple[int, list[Line]]  # how many lines match, and what is to be shown


class Scan:
    """What to look for, and what to tell of it. *mode*: "files_with_matches", "count" or "content"; *before* and
    *after*: lines of context."""

    def __init__(self, pattern: Pattern, mode: str, before: int = 0, after: int = 0) -> None:
        self.pattern = pattern
        self.mode = mode
        self.before = before
        self.after = after
        self._literals = tuple(sorted(pattern.literals))

    def file(self, top: bytes, path: bytes, keep: int, check: Callable[[], None]) -> Found | None:
        """What is in the file *path* below *top* (a real path that ends in a slash); at most *keep* lines of it are
        kept, all are counted. None: nothing, or it is binary, unreadable, or has come to be somewhere else. *check* is
        called now and then, and may raise to end it."""
        try:
            descriptor = os.open(top + path, _FLAGS)
        except OSError:
            return None
        try:
            found = self._blocks(_blocks(descriptor, whole=self.pattern.multiline), keep, check)
            return found if found and is_below(top, descriptor) else None
        except OSError:
            return None  # a directory, or the disk failed
        finally:
            os.close(descriptor)

    def _blocks(self, blocks: Iterator[bytes], keep: int, check: Callable[[], None]) -> Found | None:
        gathered = _Gathered(keep, self.before, self.after)
        passed = b""  # counting its lines waits for the next block, which most files do not have
        for block in blocks:
            check()
            if passed and self.mode == "content":
                gathered.pass_over(passed)
            passed = b""
            if not self._may_match(block):
                passed = block
                continue
            if self.mode == "files_with_matches" and self.pattern.is_literal:
                return 1, []
            text = block.decode("utf-8", "surrogateescape")
            if not self.pattern.keeps_cr and "\r" in text:
                text = text.replace("\r\n", "\n")
            hits = self._hits(text)
            if self.mode == "files_with_matches":
                if next(hits, None) is not None:
                    return 1, []
            elif self.mode == "count":
                gathered.count += sum(1 for _ in hits)
            else:
                gathered.add(text, hits)
        if passed and gathered.lines:
            gathered.pass_over(passed)
        return (gathered.count, gathered.lines) if gathered.count else None

    def _may_match(self, block: bytes) -> bool:
        run = self.pattern.run
        if run:
            return run.needle in block.translate(run.table)
        if not self._literals:
            return bool(block)
        folded = block.lower() if self.pattern.folded else block
        return any(literal in folded for literal in self._literals)

    def _hits(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Each line that matches, once and in order: where it starts and ends, and where in it the match starts."""
        pattern = self.pattern
        if pattern.multiline:
            return _lines_of_matches(text, pattern.regex)
        if pattern.run:
            # A character beyond ASCII becomes a question mark, so that places stay the same.
            classes = text.encode("ascii", "replace").translate(pattern.run.table)
            places = _places(classes, pattern.run.needle, text)
            return _lines_at(places, text, None if pattern.is_literal and text.isascii() else pattern)
        if len(self._literals) == 1 and not pattern.folded:
            places = _places(text, self._literals[0].decode(), text)
            return _lines_at(places, text, None if pattern.is_literal else pattern)
        if pattern.alone:
            return _lines_at(_line_starts(text), text, pattern)
        return _lines_matching(text, pattern.regex)


def _end(text: str) -> int:
    """Where the last line ends: the newline there does not begin another."""
    return len(text) - text.endswith("\n")


def _places(haystack: AnyStr, needle: AnyStr, text: str) -> Iterator[int]:
    """In each line of *text* that has it, where *needle* is first in *haystack*, which is as long as *text*."""
    at = haystack.find(needle)
    while at >= 0:
        yield at
        end = text.find("\n", at)
        at = haystack.find(needle, end + 1) if end >= 0 else -1


def _line_starts(text: str) -> Iterator[int]:
    at, last = 0, _end(text)
    while at <= last and text:
        yield at
        end = text.find("\n", at)
        at = end + 1 if end >= 0 else last + 1


def _lines_at(places: Iterator[int], text: str, pattern: Pattern | None) -> Iterator[tuple[int, int, int]]:
    """The lines in which *places* are, one in each, as far as they match *pattern*."""
    last = _end(text)
    matches = None if pattern is None else pattern.regex.match if pattern.anchored else pattern.regex.search
    alone = pattern is not None and pattern.alone
    for at in places:
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at)
        end = last if end < 0 else end
        if matches is None:
            yield start, end, at
        elif found := matches(text[start:end]) if alone else matches(text, start, end):
            yield start, end, found.start() + start * alone


def _lines_matching(text: str, regex: re.Pattern[str]) -> Iterator[tuple[int, int, int]]:
    """As one by one, but the text is searched as a whole. A line that matches on its own matches there, too; what is
    found there may lie across lines, though, and then the line it begins on is asked again."""
    last = _end(text)
    found = regex.search(text, 0, last) if text else None
    while found:
        at = found.start()
        start = text.rfind("\n", 0, at) + 1
        end = text.find("\n", at, last)
        end = last if end < 0 else end
        if found.end() > end:
            found = regex.search(text, start, end)
        if found:
            yield start, end, found.start()
        found = regex.search(text, end + 1, last) if end < last else None


def _lines_of_matches(text: str, regex: re.Pattern[str]) -> Iterator[tuple[int, int, int]]:
    """The lines that matches touch; a line end that a match ends with does not make it touch the next line."""
    last = _end(text)
    start = 0  # of the first line that was not told yet
    for found in regex.finditer(text) if text else ():
        first, final = found.start(), max(found.start(), found.end() - 1)
        if first > last or final < start:
            continue
        start = max(start, text.rfind("\n", 0, first) + 1)
        while start <= min(final, last):
            end = text.find("\n", start)
            end = last if end < 0 else end
            yield start, end, max(first, start)
            start = end + 1


class _Gathered:
    """Lines to be shown, as blocks go by."""

    def __init__(self, keep: int, before: int, after: int) -> None:
        self.count = 0
        self.lines: list[Line] = []
        self._keep = keep
        self._before = before
        self._after = after
        self._first = 1  # number of the first line of this block
        self._told = 0  # number of the last line that was kept
        self._wanted = 0  # number of the last line that is wanted as context after a match
        self._tail: list[str] = []  # the last lines of the blocks before

    def pass_over(self, block: bytes) -> None:
        """A block in which nothing matches."""
        if self._wanted >= self._first or self._before:
            self.add(block.decode("utf-8", "surrogateescape"), iter(()))
        else:
            self._first += block.count(b"\n")

    def add(self, text: str, hits: Iterator[tuple[int, int, int]]) -> None:
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        number, counted = self._first, 0
        for start, end, at in hits:
            self.count += 1
            if len(self.lines) >= self._keep:
                continue
            number += text.count("\n", counted, start)
            counted = start
            self._context(lines, min(number - 1, self._wanted))
            self._told = max(self._told, number - 1 - self._before)
            self._context(lines, number - 1)
            self._tell(number, True, _excerpt(text, start, end, at))
            self._wanted = number + self._after
        self._context(lines, min(self._first + len(lines) - 1, self._wanted))
        self._first += text.count("\n")
        if self._before:
            self._tail = (self._tail + lines)[-self._before :]

    def _context(self, lines: list[str], until: int) -> None:
        for number in range(self._told + 1, until + 1):
            index = number - self._first
            if index >= -len(self._tail):
                line = lines[index] if index >= 0 else self._tail[index]
                self._tell(number, False, _excerpt(line, 0, len(line), 0))

    def _tell(self, number: int, matched: bool, text: str) -> None:
        self._told = number
        if len(self.lines) < self._keep:
            self.lines.append((number, matched, text))


def _excerpt(text: str, start: int, end: int, at: int) -> str:
    """A line, or of a long one the part around *at*."""
    if end - start <= SHOWN_CHARACTERS:
        return printable(text[start:end].rstrip("\r"))
    first = max(start, min(at - SHOWN_CHARACTERS // 4, end - SHOWN_CHARACTERS))
    last = min(end, first + SHOWN_CHARACTERS)
    return "…" * (first > start) + printable(text[first:last]) + "…" * (last < end)


def _blocks(descriptor: int, whole: bool) -> Iterator[bytes]:
    """A text file as UTF-8 in blocks of whole lines, without a byte order mark; nothing if it is binary."""
    block = os.read(descriptor, _FIRST_BYTES)
    encoding = sniff(block)
    if encoding is None or not block:
        return
    if encoding.codec != "utf-8":
        yield _read_on(descriptor, block, MAX_WHOLE_BYTES).decode("utf-16", "replace").encode("utf-8", "replace")
        return
    block = block[len(encoding.bom) :]
    if whole:
        yield _read_on(descriptor, block, MAX_WHOLE_BYTES)
        return
    size = _BLOCK_BYTES if len(block) > _FIRST_BYTES // 2 else 1  # a short read was most likely the end
    while more := os.read(descriptor, size):
        size = _BLOCK_BYTES
        block += more
        cut = block.rfind(b"\n") + 1
        if cut or len(block) > MAX_LINE_BYTES:
            yield block[: cut or len(block)]
            block = block[cut or len(block) :]
    yield block


def _read_on(descriptor: int, block: bytes, most: int) -> bytes:
    parts = [block]
    size = len(block)
    while size < most and (more := os.read(descriptor, _BLOCK_BYTES)):
        parts.append(more)
        size += len(more)
    return b"".join(parts)
