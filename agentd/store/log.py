"""The session log: one file of records, one writer, any number of readers. The rules: DESIGN.md, "Storage".

A record is *written* (survives the death of this process) before anybody is told of it, and *synced* (survives power
loss) when `synced` returns. One thread uses a SessionLog: trio's. Nothing here looks into a record's data.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Self

import attrs
import trio

from agentd.domain import Entry, Record
from agentd.errors import StoreFailed
from agentd.store.commit import GroupCommit
from agentd.store.create import LOG_NAME, Clock, create_log, epoch_ms, number
from agentd.store.files import FileLock, disk, refusal
from agentd.store.generations import begin_generation
from agentd.store.lines import Index, encode_line
from agentd.store.repair import Repair, open_repaired
from agentd.store.view import LogReader, LogView

__all__ = ["LOG_NAME", "FileOps", "LogReader", "LogView", "Repair", "SessionLog", "create_log", "open_log"]

_fdatasync: Callable[[int], None] = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


@attrs.frozen
class FileOps:
    """What appending asks of the disk. A test hands in one that is full, or broken."""

    write: Callable[[int, bytes], int] = os.write
    truncate: Callable[[int, int], None] = os.ftruncate
    sync: Callable[[int], None] = _fdatasync


class SessionLog(LogView):
    """A log open for appending, from `open_log` to `close`. Use as a context manager.

    Start `run_committer` in the nursery that uses it. *repairs* says what opening it had to put right.
    """

    def __init__(
        self, path: Path, fd: int, index: Index, lock: FileLock, repairs: tuple[Repair, ...], clock: Clock, ops: FileOps
    ) -> None:
        super().__init__(path, fd, index)
        self.repairs = repairs
        self._lock = lock
        self._clock = clock
        self._ops = ops
        self._commit = GroupCommit(lambda: ops.sync(self._fd), lambda: self.last_pos)
        self._broken: str | None = None
        self._renewing = trio.Lock()
        self._subscribers: dict[object, Callable[[int], None]] = {}
        self._announcing = False

    @property
    def synced_pos(self) -> int:
        """Positions up to here survive power loss. 0 at first: what the writer before us synced is not known."""
        return self._commit.synced_pos

    @trio.lowlevel.enable_ki_protection  # Ctrl-C between the write and the index would lose count of the bytes
    def append(self, entries: Sequence[Entry]) -> list[Record]:
        """Write them in one piece at the next positions and tell the subscribers; what was written, with the same data.

        Raises StoreFailed if the disk refuses: then nothing was announced, and the log can be used as before unless the
        error says otherwise.
        """
        self._check()
        ts = max(self._clock(), self._index.last_ts)
        records = number(entries, self._index.last_pos, ts)
        if records:
            lines = [encode_line(record, more=record.pos < records[-1].pos) for record in records]
            self._write(b"".join(lines))
            self._index.add([len(line) for line in lines], ts)
            self._commit.poke()
            self._announce()
        return records

    async def synced(self, pos: int) -> None:
        """Returns when the records up to *pos* survive power loss; all who wait share one fdatasync.

        Raises StoreFailed when that failed: the log takes nothing more, since what the disk has is not known.
        """
        if pos > self.last_pos:
            raise ValueError(f"position {pos} was not written yet: the last one is {self.last_pos}")
        await self._commit.covered(pos)

    async def run_committer(self) -> None:
        """Sync within 50 ms what nobody waits for; until cancelled. Raises StoreFailed when a sync fails."""
        await self._commit.run()

    @property
    def failed(self) -> bool:
        """Whether it takes nothing more until it is renewed: what the disk has of it is not known."""
        return self._broken is not None or self._commit.failure is not None

    async def renew(self) -> None:
        """Make a log that has failed work again, for those too who have subscribed to it: all of it is written anew.

        Raises StoreFailed: it is as before then.
        """
        async with self._renewing:
            if not self.failed:
                return
            with disk("write the session log anew"):
                fd, index, repairs = await trio.to_thread.run_sync(partial(open_repaired, self.path, rewrite=True))
            if index.last_pos != self.last_pos or self._fd < 0:
                os.close(fd)
                raise StoreFailed("the session log is not what was written; start agentd again to go on")
            self._commit.renew(partial(self._switch, fd, index))
            self.repairs += repairs

    async def renewed(self) -> None:
        """Returns when a log that has failed works again."""
        await self._commit.renewed()

    def subscribe(self, callback: Callable[[int], None]) -> Callable[[], None]:
        """*callback* is called with the new last position after each write. It must not raise, and not append. Returns
        what ends it, which may be called twice."""
        key = object()
        self._subscribers[key] = callback

        def unsubscribe() -> None:
            self._subscribers.pop(key, None)

        return unsubscribe

    def close(self) -> None:
        """Sync, which blocks, and unlock; whoever waits for a sync has it then. Raises StoreFailed if that fails. Safe
        to call twice."""
        if self._fd < 0:
            return
        try:
            self._commit.sync_last()
        finally:
            fd, self._fd = self._fd, -1
            os.close(fd)
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _switch(self, fd: int, index: Index) -> None:
        os.close(self._fd)
        self._fd, self._index, self._broken = fd, index, None

    def _check(self) -> None:
        if self._announcing:
            raise RuntimeError("a subscriber must not append: the others would hear of the later records first")
        self._commit.check()
        if self._fd < 0:
            raise StoreFailed("the session log is closed")
        if self._broken is not None:
            raise StoreFailed(self._broken)

    def _write(self, data: bytes) -> None:
        try:
            written = self._ops.write(self._fd, data)
            if written == len(data):
                return
            failure = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # the usual cause of a short write
        except OSError as exc:
            failure = exc
        self._take_back()
        raise StoreFailed(refusal("write to the session log", failure)) from failure

    def _take_back(self) -> None:
        try:
            self._ops.truncate(self._fd, self.size)
        except OSError as exc:
            self._broken = f"the session log ends in half a record that cannot be cut: {exc.strerror}"
            raise StoreFailed(self._broken) from exc

    def _announce(self) -> None:
        self._announcing = True
        try:
            for key in tuple(self._subscribers):
                if (callback := self._subscribers.get(key)) is not None:  # one before it may have ended it
                    callback(self.last_pos)
        finally:
            self._announcing = False


def open_log(path: Path, *, clock: Clock = epoch_ms, ops: FileOps = FileOps()) -> SessionLog:
    """Open for appending, alone; the file is made if it is not there. See *repairs* for what was damaged.

    Raises Locked, saying who has it; StoreFailed.
    """
    lock = FileLock.acquire(path.with_suffix(".lock"), "the session")
    try:
        with disk("open the session log"):
            fd, index, repairs = open_repaired(path)
            try:
                begin_generation(path, index.last_pos)
            except BaseException:
                os.close(fd)
                raise
    except BaseException:
        lock.release()
        raise
    return SessionLog(path, fd, index, lock, repairs, clock, ops)
