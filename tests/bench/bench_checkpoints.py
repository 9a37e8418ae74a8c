"""What checkpoints add to a job in a repository of 10 000 files, beside the snapshot that a job takes for its diff."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import trio

from agentd.domain import Entry
from agentd.store.home import make_home
from tests.bench.table import Row
from tests.rewinding import Desk, Job, make_repository, open_desk

FILES, DIRECTORIES = 10_000, 100
TIMES = 7


async def milliseconds(what: Callable[[], Awaitable[object]]) -> float:
    started = time.perf_counter()
    await what()
    return (time.perf_counter() - started) * 1000


async def begin(desk: Desk) -> tuple[Job, str]:
    """As an engine does, which takes a snapshot for the diff; and that."""
    assert desk.snapshots is not None
    tree = await desk.snapshots.take()
    job = await desk.begin()
    desk.session.append(Entry("checkpoint", {"id": job.id, "tree": tree}, job.id))
    return job, tree


async def take(desk: Desk) -> float:
    assert desk.snapshots is not None
    return await milliseconds(desk.snapshots.take)


async def without_commands(desk: Desk) -> float:
    assert desk.snapshots is not None
    tree = await desk.snapshots.take()

    async def begin_and_finish() -> None:
        job = await desk.begin()
        await job.checkpoints.finish(tree)

    return await milliseconds(begin_and_finish)


async def with_a_command(desk: Desk) -> float:
    job, tree = await begin(desk)
    first = await milliseconds(lambda: job.checkpoints.before("Bash", {}))
    return first + await milliseconds(lambda: job.checkpoints.finish(tree))


async def large_file(desk: Desk) -> float:
    job, _ = await begin(desk)
    path = desk.workspace / f"large-{job.id}"
    path.write_bytes(os.urandom(1 << 20))
    taken = await milliseconds(lambda: job.checkpoints.before("Write", {"file_path": path.name}))
    path.unlink()
    return taken


async def measured() -> dict[str, float]:
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory, "top")
        for number in range(DIRECTORIES):
            (top / f"d{number}").mkdir(parents=True)
        names = (f"d{number % DIRECTORIES}/f{number}" for number in range(FILES))
        make_repository(top, **{name: f"{name}\n" * 20 for name in names})
        async with open_desk(make_home(Path(directory, "home")), top) as desk:
            await take(desk)  # the first makes a git directory
            acts = (take, without_commands, with_a_command, large_file)
            return {act.__name__: statistics.median([await act(desk) for _ in range(TIMES)]) for act in acts}


def rows(_: str | None) -> Iterator[Row]:
    took = trio.run(measured)
    beside = "the job's own snapshot"
    yield Row("checkpoint of a job without commands", took["without_commands"], "ms", "≤ 0.1×", beside, took["take"])
    yield Row("checkpoint of a job with commands", took["with_a_command"], "ms", "≤ 1×", beside, took["take"])
    yield Row("saving a file of 1 MiB before an edit", took["large_file"], "ms")
