"""Sessions of the session manager: made whole or not at all, and gone when that is said. The contract: manager.md."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.daemon.eviction import Idleness, evict, evict_forever
from agentd.daemon.pool import Managed, Pool
from agentd.errors import (
    CapacityExceeded,
    ExecutorFailed,
    InvalidRequest,
    SessionNotFound,
    StoreFailed,
    WorktreeFailed,
)
from tests.managerpool import Bench, FakeSeat, Gate, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


async def create(pool: Pool, name: str = "a session") -> Managed:
    return await pool.create(name, "/repo", "main")


def is_empty(bench: Bench, pool: Pool) -> bool:
    """Nothing at all is left of any session."""
    return not (pool.taken or bench.trees.standing or bench.directories or bench.seats.seats or list(pool))


# --- Creating -----------------------------------------------------------------------------------------------------


async def test_a_session_has_a_worktree_a_directory_and_an_executor_that_lives(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        assert bench.trees.standing == {managed.worktree.id}
        assert bench.directories == {managed.id}
        assert (managed.seat.state, managed.name, pool.taken) == ("live", "a session", 1)
        assert pool.get(managed.id) is managed
        assert managed.id != managed.worktree.id


async def test_a_session_is_on_record_before_anybody_is_told_of_it(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        assert bench.records() == [("session.opened", managed.id)]


async def test_no_more_sessions_are_made_than_there_are_slots_however_many_ask_at_once(bench: Bench) -> None:
    refused: list[int] = []

    async def ask() -> None:
        try:
            await create(pool)
        except CapacityExceeded:
            refused.append(1)

    async with bench.open(size=3) as (pool, _):
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        assert (len(list(pool)), len(refused), len(bench.trees.made)) == (3, 7, 3)


async def test_a_creation_in_progress_has_its_slot(bench: Bench) -> None:
    bench.trees.before_create = trio.sleep_forever
    async with bench.open(size=1) as (pool, _), trio.open_nursery() as nursery:
        nursery.start_soon(create, pool)
        await wait_all_tasks_blocked()
        assert (pool.taken, pool.free) == (1, 0)
        with pytest.raises(CapacityExceeded):
            pool.check_room()
        nursery.cancel_scope.cancel()


async def test_what_the_caller_got_wrong_gives_the_slot_back(bench: Bench) -> None:
    async with bench.open(size=1) as (pool, _):
        with pytest.raises(InvalidRequest):
            await pool.create("x", "relative", None)
        assert is_empty(bench, pool)


async def test_a_worktree_that_cannot_be_made_leaves_nothing(bench: Bench) -> None:
    async def fail() -> None:
        raise WorktreeFailed("git says no")

    bench.trees.before_create = fail
    async with bench.open() as (pool, _):
        with pytest.raises(WorktreeFailed):
            await create(pool)
        assert is_empty(bench, pool)
        assert not bench.records()


async def test_an_executor_that_does_not_start_leaves_nothing(bench: Bench) -> None:
    def refuse(seat: FakeSeat) -> None:
        seat.refusal = ExecutorFailed("exit code 3")

    bench.seats.prepare = refuse
    async with bench.open() as (pool, _):
        with pytest.raises(ExecutorFailed):
            await create(pool)
        assert is_empty(bench, pool)
        assert not bench.records()


async def test_a_disk_that_refuses_the_record_leaves_nothing(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        bench.home.root_log.path.mkdir(parents=True)
        with pytest.raises(StoreFailed):
            await create(pool)
        assert is_empty(bench, pool)


@pytest.mark.parametrize("where", ["worktree", "executor"])
async def test_whoever_leaves_in_the_middle_leaves_nothing(bench: Bench, where: str) -> None:
    gate = Gate()

    def hold_up(seat: FakeSeat) -> None:
        seat.before_up = gate

    if where == "worktree":
        bench.trees.before_create = gate
    else:
        bench.seats.prepare = hold_up
    async with bench.open() as (pool, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(create, pool)
            await gate.reached.wait()
            nursery.cancel_scope.cancel()
        assert is_empty(bench, pool)
        assert not bench.records()


async def test_whoever_leaves_while_it_is_put_on_record_leaves_nothing(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        note = pool.registry.note_opened

        async def note_and_leave(*args: object) -> object:
            opened = await note(*args)  # type: ignore[arg-type]
            scope.cancel()
            return opened

        pool.registry.note_opened = note_and_leave  # type: ignore[method-assign,assignment]
        with trio.CancelScope() as scope:
            await create(pool)
        assert scope.cancelled_caught
        assert is_empty(bench, pool)
        assert [kind for kind, _ in bench.records()] == ["session.opened", "session.closed", "session.removed"]


# --- Deleting -----------------------------------------------------------------------------------------------------


async def test_when_a_delete_returns_nothing_is_left(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        await pool.delete(managed.id)
        assert is_empty(bench, pool)
        assert [kind for kind, _ in bench.records()] == ["session.opened", "session.closed", "session.removed"]


async def test_a_session_that_is_being_deleted_is_gone_and_its_slot_is_free(bench: Bench) -> None:
    async with bench.open(size=1) as (pool, _):
        managed = await create(pool)
        gate = bench.trees.before_remove = Gate()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.delete, managed.id)
            await gate.reached.wait()
            with pytest.raises(SessionNotFound):
                pool.get(managed.id)
            assert pool.free == 1
            gate.opened.set()


async def test_two_deletes_at_once_both_wait_until_it_is_gone(bench: Bench) -> None:
    done: list[bool] = []
    gate = bench.trees.before_remove = Gate()

    async def delete() -> None:
        await pool.delete(managed.id)
        done.append(is_empty(bench, pool))

    async with bench.open() as (pool, _):
        managed = await create(pool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            nursery.start_soon(delete)
            await wait_all_tasks_blocked()
            assert not done
            gate.opened.set()
        assert done == [True, True]
        assert len(bench.trees.removed) == 1


async def test_a_delete_goes_on_when_who_asked_for_it_has_left(bench: Bench) -> None:
    gate = bench.trees.before_remove = Gate()
    async with bench.open() as (pool, _):
        managed = await create(pool)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.delete, managed.id)
            await gate.reached.wait()
            nursery.cancel_scope.cancel()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.delete, managed.id)
            await wait_all_tasks_blocked()
            gate.opened.set()
        assert is_empty(bench, pool)


async def test_what_was_deleted_is_not_found(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        await pool.delete(managed.id)
        with pytest.raises(SessionNotFound):
            await pool.delete(managed.id)


async def test_a_session_whose_end_cannot_be_put_on_record_is_still_there(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        log = bench.home.root_log.path
        log.rename(log.with_name("away"))
        log.mkdir()
        with pytest.raises(StoreFailed):
            await pool.delete(managed.id)
        assert (pool.get(managed.id), managed.seat.state) == (managed, "live")
        log.rmdir()
        log.with_name("away").rename(log)
        await pool.delete(managed.id)
        assert is_empty(bench, pool)


async def test_an_executor_that_does_not_end_is_killed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.daemon.pool.TERM_SECONDS", 0.05)
    async with bench.open() as (pool, _):
        managed = await create(pool)
        seat = managed.seat
        assert isinstance(seat, FakeSeat)
        seat.before_down = trio.sleep_forever
        await pool.delete(managed.id)
        assert (seat.kills, seat.state) == (1, "absent")


async def test_a_bug_in_one_removal_does_not_end_the_others(bench: Bench) -> None:
    async def fail() -> None:
        raise RuntimeError("a bug")

    async with bench.open() as (pool, _):
        first, second = await create(pool), await create(pool)
        bench.trees.before_remove = fail
        await pool.delete(first.id)
        bench.trees.before_remove = trio.lowlevel.checkpoint
        await pool.delete(second.id)
        assert not list(pool)
        assert first.id in pool.registry.leaving


# --- Idleness -----------------------------------------------------------------------------------------------------

IDLE = Idleness(seconds=10, interval_seconds=60)


async def evicted(bench: Bench, pool: Pool, managed: Managed) -> bool:
    """Whether it is closed after eleven seconds without a call."""
    bench.now += 11_000
    await evict(pool, IDLE)
    return managed not in pool


async def test_a_session_that_nobody_uses_is_closed(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        managed.seat.die()  # type: ignore[attr-defined]
        assert await evicted(bench, pool, managed)
        assert is_empty(bench, pool)


async def test_a_session_that_was_called_lately_stays(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        managed.seat.die()  # type: ignore[attr-defined]
        bench.now += 5_000
        pool.touch(managed)
        bench.now -= 5_000
        assert not await evicted(bench, pool, managed)


async def test_a_session_with_a_call_that_is_not_answered_stays(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)
        managed.seat.die()  # type: ignore[attr-defined]
        with pool.calling(managed):
            assert not await evicted(bench, pool, managed)


async def test_a_session_whose_executor_runs_a_job_stays(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs: list[str | None] = ["a job"]
    monkeypatch.setattr(Managed, "job", answering(lambda: jobs[0]))
    async with bench.open() as (pool, _):
        managed = await create(pool)
        assert not await evicted(bench, pool, managed)
        jobs[0] = None
        assert await evicted(bench, pool, managed)


async def test_a_session_that_is_called_while_it_is_looked_at_stays(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def call() -> None:
        pool.touch(managed)

    monkeypatch.setattr(Managed, "job", answering(call))
    async with bench.open() as (pool, _):
        managed = await create(pool)
        assert not await evicted(bench, pool, managed)


async def test_a_session_whose_executor_does_not_say_what_it_does_stays(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await create(pool)  # nobody listens at its address
        assert not await evicted(bench, pool, managed)


async def test_it_is_looked_for_idle_sessions_again_and_again(
    bench: Bench, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = []

    async def look(pool: Pool, idleness: Idleness) -> None:
        looks.append(trio.current_time())

    monkeypatch.setattr("agentd.daemon.eviction.evict", look)
    with trio.move_on_after(150):
        await evict_forever(cast("Pool", None), IDLE)
    assert looks == [60, 120]


def answering(value: Callable[[], str | None]) -> Callable[[Managed], Awaitable[str | None]]:
    async def job(managed: Managed) -> str | None:
        await trio.lowlevel.checkpoint()
        return value()

    return job
