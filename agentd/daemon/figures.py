"""What is measured of executors, sessions and the disk: see metrics.py. Read only when somebody asks."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import trio

from agentd.daemon.executors import Seats
from agentd.daemon.leftovers import measure
from agentd.daemon.metrics import Metrics, Sample
from agentd.daemon.pool import Pool
from agentd.daemon.sessions import Sessions
from agentd.daemon.worktrees import Worktrees
from agentd.domain import JobState
from agentd.errors import StoreFailed
from agentd.store.home import Home
from agentd.store.index import SessionIndex
from agentd.wire import egress

STATES = ("absent", "starting", "live", "stopping")
MEASURE_SECONDS = 60.0  # between two looks at how much is stored: each is a walk over all of it

logger = logging.getLogger(__name__)


def watch_seats(metrics: Metrics, seats: Seats) -> None:
    """Executors and what they do."""

    def states() -> Iterator[Sample]:
        counted: Counter[str] = Counter(seat.state for seat in seats)
        return (({"state": state}, counted[state]) for state in STATES)

    metrics.add("agentd_executors", "gauge", "sessions by the state of their executor", states)
    metrics.add("agentd_executors_at_work", "gauge", "those that have a job", lambda: sum(1 for s in seats if s.job))
    metrics.add(
        "agentd_executors_crashed",
        "gauge",
        "those that died and have finished no job since",
        lambda: sum(1 for s in seats if s.crashes),
    )

    def refused() -> Iterator[Sample]:
        counted = seats.refused + Counter(egress.refused())
        for seat in seats:
            counted.update(seat.refused)
        most = counted.most_common(egress.MOST_TARGETS)
        rest = counted.total() - sum(times for _, times in most)
        return (({"target": target}, times) for target, times in (*most, *([(egress.OTHERS, rest)] if rest else ())))

    metrics.add("agentd_egress_refused_total", "counter", "contacts that --offline refused, by target", refused)
    metrics.add("agentd_processes", "gauge", "this process and its children", lambda: 1 + len(children()))


def watch_in_place(metrics: Metrics, sessions: Sessions) -> None:
    """Executors of sessions in place, which have a number that they do not go beyond."""
    places = sessions.in_place
    metrics.add("agentd_places", "gauge", "executors of sessions in place there may be", lambda: places.most)
    metrics.add("agentd_places_taken", "gauge", "those there are, start or stop", lambda: places.taken)


def watch_pool(metrics: Metrics, pool: Pool) -> None:
    """The sessions of the manager."""
    metrics.add("agentd_manager_slots", "gauge", "as many sessions there may be", lambda: pool.size)
    metrics.add("agentd_manager_slots_taken", "gauge", "by sessions and creations", lambda: pool.taken)
    metrics.add("agentd_manager_sessions", "gauge", "sessions there are", lambda: sum(1 for _ in pool))
    metrics.add(
        "agentd_manager_calls", "gauge", "relayed, and not answered yet", lambda: sum(each.calls for each in pool)
    )
    if isinstance(pool.worktrees, Worktrees):
        watch_disk(metrics, pool.home, pool.worktrees)


class Lists(Protocol):
    """What is used of daemon.listing.Listing."""

    async def ask(self, work: Callable[[SessionIndex], dict[str, dict[str, int]]]) -> dict[str, dict[str, int]]: ...


def watch_lists(metrics: Metrics, lists: Lists) -> None:
    """Sessions, jobs and asks of every face, as the logs have them."""
    counts: dict[str, dict[str, int]] = {}

    async def count() -> None:
        nonlocal counts
        try:
            counts = await lists.ask(SessionIndex.counts)
        except StoreFailed as exc:  # the other figures are wanted all the more
            logger.warning("jobs and asks are not counted: %s", exc)

    def of(table: str, label: str, always: Iterable[str] = ()) -> Callable[[], Iterator[Sample]]:
        def read() -> Iterator[Sample]:
            found = {**dict.fromkeys(always, 0), **counts.get(table, {})}
            return (({label: name}, number) for name, number in found.items())

        return read

    metrics.before(count)
    metrics.add("agentd_sessions", "gauge", "sessions there are", of("sessions", "face"))
    metrics.add("agentd_jobs", "gauge", "jobs of those sessions", of("jobs", "state", JobState))
    metrics.add("agentd_asks", "gauge", "what people were asked", of("asks", "state", ("open", "settled")))


def watch_disk(metrics: Metrics, home: Home, worktrees: Worktrees) -> None:
    """What is stored, by what it is for, and how much room is left."""
    stored: dict[str, int] = {}
    due = -MEASURE_SECONDS

    async def look() -> None:
        nonlocal due, stored
        if trio.current_time() < due:
            return
        due = trio.current_time() + MEASURE_SECONDS
        kept = await trio.to_thread.run_sync(measure, {"sessions": home.sessions_path})
        trees = {f"worktrees_{kind}": size for kind, size in (await worktrees.usage()).items()}
        stored = kept | trees

    metrics.before(look)
    metrics.add(
        "agentd_stored_bytes",
        "gauge",
        "on disk, by what they are for",
        lambda: [({"kind": kind}, size) for kind, size in stored.items()],
    )
    metrics.add(
        "agentd_disk_free_bytes",
        "gauge",
        "room for more",
        lambda: list(free({"data": home.root, "worktrees": worktrees.base})),
    )


def free(places: dict[str, Path]) -> Iterator[Sample]:
    for name, path in places.items():
        try:
            found = os.statvfs(path)
        except OSError:  # it is gone: the health check says so
            continue
        yield {"place": name}, found.f_bavail * found.f_frsize


def children() -> list[str]:
    """Pids of this process's children. Empty where that cannot be told."""
    try:
        return [pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    except OSError:
        return []
