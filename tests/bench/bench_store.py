"""The session log beside SQLite and the bare disk. The rows: PERFORMANCE.md, from "event append" on."""

from __future__ import annotations

import itertools
import json
import os
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import trio

from agentd.domain import Entry
from agentd.store.log import open_log
from tests.bench.table import Row, table

CACHE = Path(__file__).parents[2] / ".cache"  # a disk, where /tmp may be memory
DELTA = {"message": "msg_0123456789abcdef", "block": 0, "text": "about fifty characters of what a model has to say."}
EVENT = Entry("text.delta", DELTA, job="0c2f7a1e-8f4e-4f8e-9f38-7bb0f1f2a111")
ROUNDS = 5  # of which the median counts; ours and theirs take turns
APPENDS = 10_000
SYNCS = 1_000
APPENDERS = 32
STORED = 100_000
READS = 2_000
PAGE = 100

INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)"
SELECT = "SELECT * FROM events WHERE pos > ? ORDER BY pos LIMIT ?"


def rows(peers: str | None) -> Iterator[Row]:
    del peers  # SQLite comes with Python
    CACHE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE) as name:
        names = (Path(name, str(n)) for n in itertools.count())
        ours, theirs = take_turns(names, append, insert)
        yield Row("append that survives kill -9", ours, "/s", "≥ 1.4×", "SQLite, WAL, NORMAL", theirs)
        ours, theirs = take_turns(names, append_synced, write_synced)
        yield Row(f"{APPENDERS} appenders, surviving power loss", ours, "/s", "≥ 6×", "write + fdatasync", theirs)
        ours, theirs = take_turns(names, read_after, select_after)
        yield Row(f"{PAGE} events after N of {STORED:,}", ours, "µs", "≤ 15", "SQLite", theirs)
        yield Row(f"open a log of {STORED:,} events", reopen(next(names)), "ms")


Measure = Callable[[Path], float]


def take_turns(paths: Iterator[Path], ours: Measure, theirs: Measure) -> tuple[float, float]:
    """The median of each. A new file for every measurement."""
    results = [(ours(next(paths)), theirs(next(paths))) for _ in range(ROUNDS)]
    return statistics.median(mine for mine, _ in results), statistics.median(others for _, others in results)


def append(path: Path) -> float:
    with open_log(path) as log:
        start = time.perf_counter()
        for _ in range(APPENDS):
            log.append([EVENT])
        return APPENDS / (time.perf_counter() - start)


def insert(path: Path) -> float:
    with closing(open_table(path)) as database:
        start = time.perf_counter()
        for pos in range(1, APPENDS + 1):
            database.execute(INSERT, row(pos))
        return APPENDS / (time.perf_counter() - start)


def append_synced(path: Path) -> float:
    return trio.run(append_synced_by_many, path)


async def append_synced_by_many(path: Path) -> float:
    each = 10 * SYNCS // APPENDERS
    with open_log(path) as log:

        async def appender() -> None:
            for _ in range(each):
                await log.synced(log.append([EVENT])[-1].pos)

        start = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for _ in range(APPENDERS):
                nursery.start_soon(appender)
        return APPENDERS * each / (time.perf_counter() - start)


def write_synced(path: Path) -> float:
    """What one writer gets that syncs each of its records."""
    line = json.dumps(EVENT.data).encode().ljust(250) + b"\n"
    with path.open("ab", buffering=0) as file:
        start = time.perf_counter()
        for _ in range(SYNCS):
            file.write(line)
            os.fdatasync(file.fileno())
        return SYNCS / (time.perf_counter() - start)


def read_after(path: Path) -> float:
    with open_log(path) as log:
        log.append([EVENT] * STORED)
        return microseconds_each(lambda after: log.read_lines(after, PAGE))


def select_after(path: Path) -> float:
    with closing(open_table(path)) as database:
        database.execute("BEGIN")
        database.executemany(INSERT, (row(pos) for pos in range(1, STORED + 1)))
        database.execute("COMMIT")
        return microseconds_each(lambda after: database.execute(SELECT, (after, PAGE)).fetchall())


def microseconds_each(read: Callable[[int], object]) -> float:
    step = (STORED - PAGE) // READS
    start = time.perf_counter()
    for n in range(READS):
        read(n * step)
    return (time.perf_counter() - start) / READS * 1e6


def reopen(path: Path) -> float:
    with open_log(path) as log:
        log.append([EVENT] * STORED)
    start = time.perf_counter()
    open_log(path).close()
    return (time.perf_counter() - start) * 1e3


def open_table(path: Path) -> sqlite3.Connection:
    """Each statement is a transaction of its own, but for BEGIN: events are announced one by one."""
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("PRAGMA synchronous = NORMAL")
    database.execute(
        "CREATE TABLE events (pos INTEGER PRIMARY KEY, ts INTEGER, job TEXT, type TEXT, data TEXT, parent TEXT)"
    )
    return database


def row(pos: int) -> tuple[object, ...]:
    return pos, time.time_ns() // 1_000_000, EVENT.job, EVENT.type, json.dumps(EVENT.data), EVENT.parent


def main() -> None:
    print(table(rows(None)), end="")


if __name__ == "__main__":
    main()
