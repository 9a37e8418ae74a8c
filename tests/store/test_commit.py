"""Group commit: one sync for all who wait, at most one at a time, and a failed one is final."""

from __future__ import annotations

import errno
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.domain import Entry
from agentd.errors import StoreFailed
from agentd.store.log import FileOps, SessionLog, open_log

DEADLINE_SECONDS = 20.0


class SlowDisk:
    """A sync ends when it is let go, and finds out whether another one is under way."""

    def __init__(self) -> None:
        self.syncs = 0
        self.error: OSError | None = None
        self._gate = threading.Semaphore(0)
        self._ended = threading.Condition()
        self._busy = threading.Lock()

    def sync(self, fd: int) -> None:
        assert self._busy.acquire(blocking=False), "two syncs at a time"
        with self._gate_open():
            with self._ended:
                self.syncs += 1
                self._ended.notify_all()
            if self.error:
                raise self.error

    def let_go(self, times: int = 1) -> None:
        self._gate.release(times)

    async def has_synced(self, times: int) -> None:
        def wait() -> None:
            with self._ended:
                assert self._ended.wait_for(lambda: self.syncs >= times, DEADLINE_SECONDS)

        await trio.to_thread.run_sync(wait)

    @contextmanager
    def _gate_open(self) -> Iterator[None]:
        try:
            assert self._gate.acquire(timeout=DEADLINE_SECONDS)
            yield
        finally:
            self._busy.release()


@pytest.fixture
def disk() -> SlowDisk:
    return SlowDisk()


@pytest.fixture
def log(log_path: Path, disk: SlowDisk) -> Iterator[SessionLog]:
    log = open_log(log_path, ops=FileOps(sync=disk.sync))
    yield log
    disk.let_go(1000)
    log.close()


def write(log: SessionLog) -> int:
    return log.append([Entry("notice", {})])[-1].pos


async def append_and_wait(log: SessionLog, done: list[int] | None = None) -> None:
    pos = write(log)
    await log.synced(pos)
    if done is not None:
        done.append(pos)


async def append_in_scope(log: SessionLog, *, task_status: trio.TaskStatus[trio.CancelScope]) -> None:
    with trio.CancelScope() as scope:
        task_status.started(scope)
        await append_and_wait(log)


async def test_thirty_two_who_wait_share_one_sync(log: SessionLog, disk: SlowDisk) -> None:
    disk.let_go()
    async with trio.open_nursery() as nursery:
        for _ in range(32):
            nursery.start_soon(append_and_wait, log)
    assert (disk.syncs, log.synced_pos) == (1, 32)


async def test_round_after_round_they_share_one_sync(log: SessionLog, disk: SlowDisk) -> None:
    disk.let_go(10)

    async def ten_times() -> None:
        for _ in range(10):
            await append_and_wait(log)

    async with trio.open_nursery() as nursery:
        for _ in range(32):
            nursery.start_soon(ten_times)
    assert (disk.syncs, log.synced_pos) == (10, 320)


async def test_what_comes_during_a_sync_waits_for_the_next(log: SessionLog, disk: SlowDisk) -> None:
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append_and_wait, log, done)
        await wait_all_tasks_blocked()
        nursery.start_soon(append_and_wait, log, done)
        nursery.start_soon(append_and_wait, log, done)
        await wait_all_tasks_blocked()
        assert done == []
        disk.let_go()
        await log.synced(1)
        await wait_all_tasks_blocked()
        assert done == [1]
        disk.let_go()
    assert sorted(done) == [1, 2, 3]
    assert disk.syncs == 2


async def test_what_is_synced_already_is_not_synced_again(log: SessionLog, disk: SlowDisk) -> None:
    disk.let_go()
    await append_and_wait(log)
    await log.synced(1)
    assert disk.syncs == 1


async def test_a_record_that_was_not_written_cannot_be_waited_for(log: SessionLog) -> None:
    with pytest.raises(ValueError, match="was not written yet"):
        await log.synced(1)


async def test_records_of_the_writer_before_are_synced_before_they_are_acknowledged(log_path: Path) -> None:
    disk = SlowDisk()
    disk.let_go(2)
    with open_log(log_path, ops=FileOps(sync=lambda _: None)) as log:
        write(log)
    with open_log(log_path, ops=FileOps(sync=disk.sync)) as log:
        await log.synced(1)
        assert disk.syncs == 1


async def test_a_follower_may_stop_waiting(log: SessionLog, disk: SlowDisk) -> None:
    done: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(append_and_wait, log, done)
        await wait_all_tasks_blocked()
        with trio.move_on_after(0) as follower:
            await append_and_wait(log, done)
        disk.let_go()
    assert follower.cancelled_caught
    assert done == [1]


async def test_a_leader_that_is_cancelled_finishes_its_sync(log: SessionLog, disk: SlowDisk) -> None:
    async with trio.open_nursery() as nursery:
        leaders = await nursery.start(append_in_scope, log)
        await wait_all_tasks_blocked()
        leaders.cancel()
        nursery.start_soon(append_and_wait, log)
        await wait_all_tasks_blocked()
        assert (disk.syncs, log.synced_pos) == (0, 0)
        disk.let_go(2)
    assert (disk.syncs, log.synced_pos) == (2, 2)


async def test_a_leader_that_is_cancelled_before_its_sync_leaves_it_to_a_follower(
    log: SessionLog, disk: SlowDisk
) -> None:
    disk.let_go()
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            leaders = await nursery.start(append_in_scope, log)
            leaders.cancel()
        nursery.start_soon(append_and_wait, log)
    assert (disk.syncs, log.synced_pos) == (1, 6)


async def test_a_failed_sync_is_told_to_all_who_wait_and_ends_the_log(log: SessionLog, disk: SlowDisk) -> None:
    disk.error = OSError(errno.EIO, "Input/output error")
    failures: list[str] = []

    async def wait_and_fail() -> None:
        with pytest.raises(StoreFailed) as caught:
            await append_and_wait(log)
        failures.append(str(caught.value))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(wait_and_fail)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait_and_fail)  # it came too late for this sync, and there is no other
        await wait_all_tasks_blocked()
        disk.let_go(3)
    assert failures == [failures[0]] * 6
    assert failures[0].startswith("cannot sync the session log: Input/output error; the disk")
    with pytest.raises(StoreFailed, match="cannot sync the session log"):
        write(log)
    assert len(log.read(0)) == 6
    assert (disk.syncs, log.synced_pos) == (1, 0)


async def test_what_nobody_waits_for_is_synced_soon(log: SessionLog, disk: SlowDisk) -> None:
    disk.let_go(100)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run_committer)
        await wait_all_tasks_blocked()
        for times in (1, 2):
            write(log)
            await disk.has_synced(times)
        nursery.cancel_scope.cancel()


async def test_many_records_that_nobody_waits_for_share_a_sync(
    log: SessionLog, disk: SlowDisk, mock_clock: trio.testing.MockClock
) -> None:
    disk.let_go()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run_committer)
        await wait_all_tasks_blocked()
        for _ in range(100):
            write(log)
            await wait_all_tasks_blocked()
            assert 0 < seconds_to_next_deadline() <= 0.05
        mock_clock.jump(0.05)
        await log.synced(100)
        assert disk.syncs == 1
        nursery.cancel_scope.cancel()


async def test_an_idle_log_has_no_timer(log: SessionLog, disk: SlowDisk, mock_clock: trio.testing.MockClock) -> None:
    disk.let_go(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(log.run_committer)
        await wait_all_tasks_blocked()
        assert seconds_to_next_deadline() == math.inf
        await append_and_wait(log)
        mock_clock.jump(0.05)
        await wait_all_tasks_blocked()
        assert seconds_to_next_deadline() == math.inf
        assert disk.syncs == 1
        nursery.cancel_scope.cancel()


async def test_the_committer_tells_of_a_failed_sync(log: SessionLog, disk: SlowDisk) -> None:
    disk.error = OSError(errno.ENOSPC, "No space left on device")
    disk.let_go()
    write(log)
    with pytest.raises(StoreFailed, match="No space left"):
        await log.run_committer()


@pytest.mark.parametrize("ticks", range(6))
async def test_whoever_waits_when_the_log_is_closed_waits_for_its_last_sync(
    log: SessionLog, disk: SlowDisk, ticks: int
) -> None:
    disk.let_go(2)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(log.synced, write(log))
        for _ in range(ticks):
            await trio.lowlevel.checkpoint()
        log.close()
    assert log.synced_pos == 5
    assert disk.syncs <= 2


def seconds_to_next_deadline() -> float:
    return trio.lowlevel.current_statistics().seconds_to_next_deadline
