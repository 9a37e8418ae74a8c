"""A log that the disk has failed works again when the disk does, for everybody who has it open."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio

from agentd.domain import Entry
from agentd.errors import StoreFailed
from agentd.store.log import FileOps, LogReader, SessionLog, open_log


class FailingDisk:
    """*sync* and *truncate* fail while *error* is set; a write takes *room* bytes at most."""

    def __init__(self) -> None:
        self.error: int | None = None
        self.room = 1 << 20

    @property
    def ops(self) -> FileOps:
        return FileOps(self.write, self.truncate, self.sync)

    def write(self, fd: int, data: bytes) -> int:
        return os.write(fd, data[: self.room])

    def truncate(self, fd: int, size: int) -> None:
        self.sync(fd)
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        if self.error is not None:
            raise OSError(self.error, os.strerror(self.error))


@pytest.fixture
def disk() -> FailingDisk:
    return FailingDisk()


def note(n: int) -> Entry:
    return Entry("notice", {"n": n})


def inode_of(path: Path) -> int:
    return path.stat().st_ino


async def fail_to_sync(log: SessionLog, disk: FailingDisk, n: int) -> None:
    disk.error = errno.EIO
    with pytest.raises(StoreFailed, match="cannot sync the session log"):
        await log.synced(log.append([note(n)])[-1].pos)


async def test_after_a_failed_sync_all_that_was_written_is_written_anew(log_path: Path, disk: FailingDisk) -> None:
    told: list[int] = []
    with open_log(log_path, ops=disk.ops) as log:
        log.subscribe(told.append)
        before = inode_of(log_path)
        await fail_to_sync(log, disk, 1)
        assert log.failed
        disk.error = None
        await log.renew()
        assert (log.failed, log.synced_pos, inode_of(log_path) != before) == (False, 1, True)
        await log.synced(log.append([note(2)])[-1].pos)
        assert told == [1, 2]
        assert (log.generation, log.repairs) == (1, ())
        assert [record.data["n"] for record in log.read(0)] == [1, 2]
    with open_log(log_path) as log:
        assert (log.last_pos, log.repairs) == (2, ())


async def test_a_reader_follows_a_log_that_is_written_anew(log_path: Path, disk: FailingDisk) -> None:
    with open_log(log_path, ops=disk.ops) as log, LogReader(log_path) as reader:
        await fail_to_sync(log, disk, 1)
        assert reader.refresh() == 1
        disk.error = None
        await log.renew()
        log.append([note(2)])
        assert reader.refresh() == 2
        assert reader.can_resume(1, reader.generation)


async def test_a_log_that_ends_in_half_a_piece_is_cut_when_it_is_renewed(log_path: Path, disk: FailingDisk) -> None:
    with open_log(log_path, ops=disk.ops) as log:
        log.append([note(1)])
        disk.room, disk.error = len(log.line(1)) + 20, errno.EIO
        with pytest.raises(StoreFailed, match="cannot be cut"):
            log.append([note(2), note(3)])
        disk.room, disk.error = 1 << 20, None
        await log.renew()
        assert [repair.quarantined for repair in log.repairs] == [False]
        log.append([note(4)])
        assert [record.data["n"] for record in log.read(0)] == [1, 4]


async def test_whoever_waits_for_a_log_to_work_again_is_told(log_path: Path, disk: FailingDisk) -> None:
    with open_log(log_path, ops=disk.ops) as log:
        await fail_to_sync(log, disk, 1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(log.renewed)
            await trio.testing.wait_all_tasks_blocked()
            disk.error = None
            await log.renew()


async def test_while_it_cannot_be_written_anew_a_failed_log_stays_as_it_was(
    log_path: Path, disk: FailingDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with open_log(log_path, ops=disk.ops) as log:
        await fail_to_sync(log, disk, 1)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "rename", refuse)
            with pytest.raises(StoreFailed, match="free some space"):
                await log.renew()
        assert log.failed
        assert [record.data["n"] for record in log.read(0)] == [1]
        assert [path.name for path in log_path.parent.glob(".tmp-*")] == []


async def test_a_log_that_works_is_left_alone(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(1)])
        before = inode_of(log_path)
        await log.renew()
        assert inode_of(log_path) == before
