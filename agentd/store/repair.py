"""What is done to a log before it is written again: a torn end is cut, damage in the middle is replaced and kept aside.

A line that was never finished is cut and no more. Everything else that is taken out goes to `log.quarantine.ndjson`
first. The repaired file takes the old one's place in one step, so a reader has one or the other.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import attrs

from agentd.store.files import PRIVATE_FILE, temp_file, write_whole
from agentd.store.generations import begin_generation
from agentd.store.lines import Damage, Index, parse_line, says_more
from agentd.store.view import LogView, scan


@attrs.frozen
class Repair:
    """*size* bytes were taken out in the place of positions *first* to *last*; none is named where *last* < *first*."""

    first: int
    last: int
    size: int
    quarantined: bool

    def __str__(self) -> str:
        kept = "kept in the quarantine file" if self.quarantined else "never finished, so never acknowledged"
        if self.last < self.first:
            return f"{self.size} bytes before position {self.first} were no record: {kept}"
        return f"the records from {self.first} to {self.last} were damaged: {self.size} bytes, {kept}"


def open_repaired(path: Path, *, rewrite: bool = False) -> tuple[int, Index, tuple[Repair, ...]]:
    """The log open for reading and appending, all of it whole lines; made if it is not there. Raises OSError.

    *rewrite* it, and durably, where a sync has failed: the system may take for written what is not on the disk.
    """
    fd, index = _open(path)
    try:
        repairs = _cut_end(path, fd, index)
        if not index.damages and not rewrite:
            return fd, index, repairs
        repairs = (*_write_anew(path, fd, index), *repairs)
    except BaseException:
        os.close(fd)
        raise
    os.close(fd)
    return *_open(path), repairs


def quarantine_path(log: Path) -> Path:
    return log.with_suffix(".quarantine.ndjson")


def _open(path: Path) -> tuple[int, Index]:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    index = Index()
    try:
        scan(fd, index, os.fstat(fd).st_size)
    except BaseException:
        os.close(fd)
        raise
    return fd, index


def _cut_end(path: Path, fd: int, index: Index) -> tuple[Repair, ...]:
    size = os.fstat(fd).st_size - index.size
    if not size:
        return ()
    damage = Damage(index.last_pos + 1, index.last_pos, index.size, size)
    finished = _is_finished(os.pread(fd, size, index.size))
    if finished:  # so readers may have seen it, and its positions will be others'
        _quarantine(path, fd, damage)
        begin_generation(path, index.last_pos, anew=True)
    os.ftruncate(fd, index.size)
    return (Repair(damage.first, damage.last, size, quarantined=finished),)


def _is_finished(tail: bytes) -> bool:
    """Not only the beginning of what was written in one piece. A newline may be what is damaged."""
    *lines, rest = tail.split(b"\n")
    return not all(map(says_more, lines)) or parse_line(rest[:-1]) is not None


def _write_anew(path: Path, fd: int, index: Index) -> list[Repair]:
    """The whole log as it reads, with notices in the place of damage, which is set aside."""
    for damage in index.damages:
        _quarantine(path, fd, damage)
    view = LogView(path, fd, index)
    with temp_file(path.parent) as repaired:
        pos = 0
        while lines := view.read_lines(pos):
            repaired.file.write(lines)
            pos += lines.count(b"\n")
        repaired.become(path)
    return [Repair(damage.first, damage.last, damage.size, quarantined=True) for damage in index.damages]


def _quarantine(path: Path, fd: int, damage: Damage) -> None:
    """Raw bytes come back by .encode("utf-8", "surrogateescape") from the text."""
    raw = os.pread(fd, damage.size, damage.offset)
    kept = {**attrs.asdict(damage), "raw": raw.decode("utf-8", "surrogateescape")}
    out = os.open(quarantine_path(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        write_whole(out, json.dumps(kept).encode() + b"\n")
        os.fsync(out)
    finally:
        os.close(out)
