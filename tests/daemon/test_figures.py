"""Figures of executors, sessions, jobs and the disk."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.daemon.collect import open_idle_pool
from agentd.daemon.executors import open_seats
from agentd.daemon.figures import MEASURE_SECONDS, children, watch_lists, watch_pool, watch_seats
from agentd.daemon.metrics import Metrics
from agentd.daemon.plan import Plan
from agentd.daemon.pool import Pool
from agentd.errors import StoreFailed
from agentd.store.home import Home, make_home
from agentd.store.index import SessionIndex


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "data")


@pytest.fixture
async def pool(home: Home) -> AsyncIterator[Pool]:
    async with open_idle_pool(home, home.root / "worktrees") as opened:
        yield opened


Counts = dict[str, dict[str, int]]


@attrs.frozen
class Lists:
    """As daemon.listing.Listing, which reads what is new before it answers."""

    index: SessionIndex

    async def ask(self, work: Callable[[SessionIndex], Counts]) -> Counts:
        await trio.lowlevel.checkpoint()
        self.index.catch_up()
        return work(self.index)


async def test_sessions_jobs_and_asks_are_counted_whether_there_are_any_or_not(home: Home) -> None:
    metrics = Metrics()
    home.create_session("run", home.root, "mine")
    with closing(SessionIndex(home)) as index:
        watch_lists(metrics, Lists(index))
        page = await metrics.page()
    assert '\nagentd_sessions{face="run"} 1\n' in page
    for state in ("queued", "running", "waiting", "completed", "failed", "cancelled", "interrupted"):
        assert f'\nagentd_jobs{{state="{state}"}} 0\n' in page
    assert '\nagentd_asks{state="open"} 0\n' in page


async def test_lists_that_cannot_be_read_do_not_keep_the_other_figures_back(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        async def ask(self, work: Callable[[SessionIndex], Counts]) -> Counts:
            raise StoreFailed("the disk is full")

    metrics = Metrics()
    watch_lists(metrics, Broken())
    assert "\nagentd_info{" in await metrics.page()
    assert "the disk is full" in caplog.text


async def test_every_state_of_executors_is_there() -> None:
    metrics = Metrics()
    async with open_seats(Plan(forks=False)) as seats:
        watch_seats(metrics, seats)
        page = await metrics.page()
    for state in ("absent", "starting", "live", "stopping"):
        assert f'\nagentd_executors{{state="{state}"}} 0\n' in page
    assert "\nagentd_executors_at_work 0\n" in page


async def test_what_executors_were_offline_for_is_counted_by_target() -> None:
    metrics = Metrics()
    async with open_seats(Plan(forks=False)) as seats:
        watch_seats(metrics, seats)
        seats.refused.update({"192.0.2.7:80": 2, "example.org": 1})
        page = await metrics.page()
    assert '\nagentd_egress_refused_total{target="192.0.2.7:80"} 2\n' in page
    assert '\nagentd_egress_refused_total{target="example.org"} 1\n' in page


async def test_processes_are_this_one_and_its_children() -> None:
    before = len(children())
    async with trio.open_nursery() as nursery:
        process = await nursery.start(trio.run_process, ["sleep", "60"])
        assert str(process.pid) in children()
        assert len(children()) == before + 1
        nursery.cancel_scope.cancel()


async def test_what_is_stored_is_measured_now_and_then(pool: Pool, autojump_clock: MockClock) -> None:
    metrics = Metrics()
    watch_pool(metrics, pool)
    first = await metrics.page()
    pool.home.create_session("run", pool.home.root, "mine")
    second = await metrics.page()
    await trio.sleep(MEASURE_SECONDS)
    third = await metrics.page()
    stored = [
        page.partition('agentd_stored_bytes{kind="sessions"} ')[2].split("\n")[0] for page in (first, second, third)
    ]
    assert stored[0] == stored[1] == "0"
    assert float(stored[2]) > 0
    assert 'agentd_disk_free_bytes{place="data"} ' in first


async def test_slots_are_those_of_the_pool(pool: Pool) -> None:
    metrics = Metrics()
    watch_pool(metrics, pool)
    page = await metrics.page()
    for name, value in (("slots", 1), ("slots_taken", 0), ("sessions", 0), ("calls", 0)):
        assert f"\nagentd_manager_{name} {value}\n" in page
    assert os.fspath(pool.home.root) not in page
