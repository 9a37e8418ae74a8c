"""A daemon that has executors launched, and says in one line of JSON how long that took and what they weigh.

`python -I -S seats.py PYZ` measures that file: one executor at a time, then fifty at once; forked, and fresh.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, sys.argv[1])

import trio

from agentd.daemon.executors import Plan, Seat, Seats, open_seats
from agentd.store.home import make_home

ONES, MANY = 15, 50


async def measure(forks: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        workspace, home = Path(scratch), make_home(Path(scratch, "home"))

        def new(seats: Seats) -> Seat:
            return seats.seat(home.create_session("manager", workspace, "bench", isolation="worktree"), workspace)

        async with open_seats(Plan(forks=forks)) as seats:
            await up(new(seats))  # the fork server has started by then
            ones = [await up(new(seats)) for _ in range(ONES)]
            for seat in seats:
                await seat.down()
                seats.forget(seat.session.id)
            chosen = [new(seats) for _ in range(MANY)]
            started = time.perf_counter()
            async with trio.open_nursery() as nursery:
                for seat in chosen:
                    nursery.start_soon(seat.up)
            many = time.perf_counter() - started
            private = [private_bytes(seat.launched.pid) for seat in chosen if seat.launched]
        return {"one": statistics.median(ones), "many": many, "private": statistics.median(private)}


async def up(seat: Seat) -> float:
    started = time.perf_counter()
    await seat.up()
    return time.perf_counter() - started


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


print(json.dumps({"forked": trio.run(measure, True), "fresh": trio.run(measure, False)}))
