"""`root.ndjson`: what is durable and belongs to no session. Processes append to it one at a time, each briefly.

A line is `{"ts": epoch milliseconds, "type": …, "data": {…}, "crc": …}`, sealed as those of session logs are; the first
versions wrote no seals. There are few lines: no index, no group commit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Entry
from agentd.store.create import Clock, epoch_ms
from agentd.store.files import PRIVATE_DIR, PRIVATE_FILE, FileLock, disk, fsync_dir, write_whole
from agentd.store.lines import encode_json, is_intact, is_sealed, seal

LOCK_SECONDS = 5.0  # others hold the lock for the time of one sync


@attrs.frozen
class RootRecord:
    ts: int
    type: str
    data: dict[str, Any]


@attrs.frozen
class RootPage:
    records: list[RootRecord]
    end: int  # where to read on
    damaged: int  # lines that are left out


class RootLog:
    def __init__(self, path: Path, *, clock: Clock = epoch_ms) -> None:
        self.path = path
        self._clock = clock

    def append(self, entries: Sequence[Entry]) -> None:
        """When this returns they survive power loss. Of an entry only type and data are kept.

        Blocks, for LOCK_SECONDS at most. Raises Locked, saying who did not let go; StoreFailed, and nothing was kept.
        """
        ts = self._clock()
        data = b"".join(seal(encode_json({"ts": ts, "type": entry.type, "data": entry.data})) for entry in entries)
        with disk(f"make {self.path.parent}"):
            self.path.parent.mkdir(PRIVATE_DIR, parents=True, exist_ok=True)
        lock = FileLock.acquire(self.path.with_suffix(".lock"), self.path.name, wait_seconds=LOCK_SECONDS)
        with lock, disk(f"write {self.path.name}"):
            self._append(data)

    def read(self, after: int = 0) -> RootPage:
        """What was appended behind the byte offset *after*, 0 or the end of an earlier page. Raises StoreFailed."""
        with disk(f"read {self.path.name}"):
            try:
                with self.path.open("rb") as file:
                    file.seek(after)
                    raw = file.read()
            except FileNotFoundError:
                return RootPage([], after, 0)
        lines = raw[: raw.rfind(b"\n") + 1].split(b"\n")[:-1]
        records = [_parse(line) for line in lines]
        whole = [record for record in records if record is not None]
        return RootPage(whole, after + raw.rfind(b"\n") + 1, len(records) - len(whole))

    def _append(self, data: bytes) -> None:
        is_new = not self.path.exists()
        fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
        try:
            end = _cut_torn_end(fd)
            try:
                write_whole(fd, data)
                os.fsync(fd)
            except OSError:
                os.ftruncate(fd, end)
                raise
        finally:
            os.close(fd)
        if is_new:
            fsync_dir(self.path.parent)


def _cut_torn_end(fd: int) -> int:
    """Where the last whole line ends. What is behind it was never acknowledged: nothing may be joined to it."""
    end = size = os.fstat(fd).st_size
    while end and os.pread(fd, 1, end - 1) != b"\n":
        end -= 1
    if end < size:
        os.ftruncate(fd, end)
    return end


def _parse(line: bytes) -> RootRecord | None:
    try:
        fields = json.loads(line.decode())
        record = RootRecord(fields["ts"], fields["type"], fields["data"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    sound = is_intact(line) or (len(fields) == 3 and not is_sealed(line))
    typed = type(record.ts) is int and type(record.type) is str and type(record.data) is dict
    return record if sound and typed else None
