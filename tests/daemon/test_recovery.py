"""The start after an end of any kind: what is there again, finished, undone, or not touched."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from agentd.daemon.leftovers import Leftover
from agentd.daemon.pool import Pool
from agentd.daemon.recovery import Report, has_unfinished_job, resume
from agentd.domain import Entry
from agentd.store.home import SessionDir
from agentd.store.log import open_log
from tests.managerpool import Bench, make_bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return make_bench(tmp_path)


async def test_sessions_come_back_as_they_were(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        before = [await pool.create(name, "/repo", None) for name in ("first", "second")]
    bench.restart()
    async with bench.open() as (pool, report):
        assert [(each.id, each.name, each.worktree, each.created) for each in pool] == [
            (each.id, each.name, each.worktree, each.created)
            for each in sorted(before, key=lambda each: (each.created, each.id))
        ]
        assert {each.seat.state for each in pool} == {"absent"}
        assert (report.sessions, pool.free) == (2, 0)
        assert bench.trees.standing == {each.worktree.id for each in before}


async def test_more_sessions_than_slots_come_back_when_there_are_fewer_slots_now(bench: Bench) -> None:
    async with bench.open(size=2) as (pool, _):
        for name in ("first", "second"):
            await pool.create(name, "/repo", None)
    async with bench.open(size=1) as (pool, _):
        assert (len(list(pool)), pool.free) == (2, 0)


async def test_a_session_that_was_closed_and_is_there_still_is_removed(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await pool.create("x", "/repo", None)
        await pool.registry.note_closed(managed.id, "deleted")  # and then the daemon was killed
    async with bench.open() as (pool, report):
        assert report.finished == [managed.id]
        assert not list(pool)
        assert not bench.trees.standing
        assert not bench.directories
        assert not pool.registry.leaving
    async with bench.open() as (_, report):
        assert not report.finished


async def test_a_session_that_was_being_made_is_undone(bench: Bench) -> None:
    made = bench.home.create_session("manager", bench.trees.base / "w", "x", isolation="worktree")
    async with bench.open() as (pool, report):
        assert report.undone == [made.id]
        assert not bench.directories
        assert not list(pool)


async def test_sessions_of_other_faces_are_nobodys_business_here(bench: Bench) -> None:
    other = bench.home.create_session("run", bench.home.root, "x")
    async with bench.open() as (_, report):
        assert not report.undone
        assert bench.directories == {other.id}


async def test_a_session_that_has_a_job_is_not_removed_because_nobody_knows_it(bench: Bench) -> None:
    made = bench.home.create_session("manager", bench.trees.base / "w", "x", isolation="worktree")
    add_jobs(made, {"j": None})
    async with bench.open() as (_, report):
        assert not report.undone
        assert bench.directories == {made.id}


async def test_nothing_is_removed_on_the_word_of_a_damaged_record(bench: Bench) -> None:
    made = bench.home.create_session("manager", bench.trees.base / "w", "x", isolation="worktree")
    bench.home.root_log.append([Entry("other", {})])
    damage(bench.home.root_log.path)
    bench.trees.left = [Leftover(bench.trees.base / "w", Path("/repo"), "b", "clean", 0)]
    async with bench.open() as (_, report):
        assert "damaged" in report.left[0]
        assert bench.directories == {made.id}
        assert not bench.trees.cleared


async def test_a_session_without_its_log_is_closed(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await pool.create("x", "/repo", None)
    bench.home.remove_session(managed.id)
    async with bench.open() as (pool, report):
        assert report.lost == [managed.id]
        assert not list(pool)
        assert bench.trees.removed == [managed.worktree.id]


async def test_worktrees_of_no_session_are_removed_but_not_where_somebody_works(bench: Bench) -> None:
    async with bench.open() as (pool, _):
        managed = await pool.create("x", "/repo", None)
    dead, alive = (bench.trees.base / str(uuid.uuid4()) for _ in range(2))
    bench.trees.left = [
        Leftover(dead, Path("/repo"), "b", "dirty", 0),
        Leftover(alive, Path("/repo"), "b", "alive", 0),
        Leftover(managed.worktree.path, Path("/repo"), "b", "clean", 0),
    ]
    async with bench.open() as (_, report):
        assert bench.trees.cleared == [dead]
        assert report.leftovers == [str(dead)]
        assert report.rescued == [f"refs/agentd/rescued/{dead.name}"]
        assert report.left == [f"{alive}: a process works in it"]


async def test_executors_of_sessions_with_a_job_that_did_not_end_are_launched(bench: Bench) -> None:
    async with bench.open(size=3) as (pool, _):
        at_work, done, fresh = [await pool.create("x", "/repo", None) for _ in range(3)]
    add_jobs(session(bench, at_work.id), {"a": "completed", "b": None})
    add_jobs(session(bench, done.id), {"a": "completed"})
    bench.restart()
    async with bench.open(size=3) as (pool, report):
        assert report.unfinished == [at_work.id]
        await resume(pool, report)
        assert states(pool) == {at_work.id: "live", done.id: "absent", fresh.id: "absent"}


def test_a_log_is_looked_at_by_what_its_records_are_and_not_by_what_they_say(bench: Bench) -> None:
    made = bench.home.create_session("manager", bench.trees.base / "w", "x")
    add_jobs(made, {"job.finished": "completed"})
    assert not has_unfinished_job(made)
    add_jobs(made, {"other": None}, text='"type":"job.finished"')
    assert has_unfinished_job(made)


def test_a_report_says_what_was_found_and_done() -> None:
    report = Report(sessions=1, undone=["a"], leftovers=["b", "c"])
    assert report.line() == "1 session back; 1 half-made sessions undone; 2 leftover worktrees removed"
    assert Report().line() == "0 sessions back"


# --- Help ---------------------------------------------------------------------------------------------------------


def session(bench: Bench, session_id: str) -> SessionDir:
    return bench.home.session(session_id)


def states(pool: Pool) -> dict[str, str]:
    return {managed.id: managed.seat.state for managed in pool}


def add_jobs(made: SessionDir, outcomes: dict[str, str | None], text: str = "") -> None:
    """Jobs as an executor would write them down; an outcome of None: it did not end."""
    log = open_log(made.log_path)
    for job, outcome in outcomes.items():
        log.append([Entry("job.created", {"spec": {"prompt": text}}, job)])
        if outcome is not None:
            log.append([Entry("job.finished", {"outcome": outcome}, job)])
    log.close()


def damage(path: Path) -> None:
    raw = json.dumps({"ts": 1, "type": "session.opened", "data": {}, "crc": "00000000"})
    path.write_bytes(path.read_bytes() + raw.encode() + b"\n")
