"""Sessions' worktrees of a repository of 10 000 files, beside `git worktree add` and `git worktree remove`."""

from __future__ import annotations

import random
import statistics
import subprocess
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import trio

from agentd.daemon.worktrees import Worktree, Worktrees, open_worktrees
from tests.bench.table import Row

T = TypeVar("T")
FILES, DIRECTORIES = 10_000, 100
COMMON_LINES = 60  # at most, of a file
CHANGED = 100  # files between the commit of a prepared tree and the one that is wanted
RUNS = 7
SETTLE_SECONDS = 1.2  # git reads files again that are as young as its index, which it knows to the second


def rows(peers: str | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        repo = repository(directory / "repo")
        found = trio.run(measure, directory, repo)
    add, remove = ("git worktree add", found["add"]), ("git worktree remove", found["remove"])
    yield Row("worktree of 10 000 files, cold", found["cold"], "ms", "≤ 1.05×", *add)
    yield Row("worktree, prepared", found["prepared"], "ms", "≤ 0.15×", *add)
    yield Row("worktree, prepared, 100 files to move", found["moved"], "ms", "≤ 0.15×", *add)
    yield Row("worktree, delete, looked at and answered", found["delete"], "ms", "≤ 30", *remove)


async def measure(directory: Path, repo: Path) -> dict[str, float]:
    """Medians, in ms."""
    taken: defaultdict[str, list[float]] = defaultdict(list)

    async def take(what: str, action: Callable[[], Awaitable[T]]) -> T:
        began = time.perf_counter()
        done = await action()
        taken[what].append((time.perf_counter() - began) * 1000)
        return done

    async with open_worktrees(directory / "cold", warm=0) as worktrees:
        for number in range(RUNS):
            path = str(directory / f"plain-{number}")
            await take("cold", partial(create, worktrees, repo))
            await take("add", partial(git, repo, "worktree", "add", "-q", "-b", f"p{number}", path))
            await take("remove", partial(git, repo, "worktree", "remove", "--force", path))
    async with open_worktrees(directory / "warm", warm=1) as worktrees:
        await create(worktrees, repo)
        for number in range(2 * RUNS):
            if number % 2:
                change(repo)
            await settled(worktrees)
            made = await take("moved" if number % 2 else "prepared", partial(create, worktrees, repo))
            await settled(worktrees)
            await take("delete", partial(worktrees.remove, made, str(uuid.uuid4())))
    return {what: statistics.median(times) for what, times in taken.items()}


async def create(worktrees: Worktrees, repo: Path) -> Worktree:
    """As the manager does it."""
    return await worktrees.create(await worktrees.check(str(repo), None), str(uuid.uuid4()))


async def settled(worktrees: Worktrees) -> None:
    while worktrees.prepared != 1 or (await worktrees.usage())["dying"]:  # noqa: ASYNC110  # nothing tells
        await trio.sleep(0.05)
    await trio.sleep(SETTLE_SECONDS)


async def git(repo: Path, *words: str) -> None:
    await trio.run_process(["git", *words], cwd=repo, capture_stdout=True, capture_stderr=True)


def repository(path: Path) -> Path:
    chance = random.Random(1)
    path.mkdir()
    for number in range(FILES):
        file = path / f"d{number % 10}" / f"e{number % DIRECTORIES}" / f"f{number}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = chance.randrange(COMMON_LINES)
        file.write_text("".join(f"x{chance.random()} = {line}\n" for line in range(lines)))
    run(path, "init", "-q")
    commit(path)
    return path


def change(repo: Path) -> None:
    for file in sorted(repo.glob("d0/e0/*.py"))[:CHANGED]:
        file.write_text(f"{random.random()}\n")
    commit(repo)


def commit(repo: Path) -> None:
    run(repo, "add", "--all")
    run(repo, "-c", "user.name=b", "-c", "user.email=b@example.invalid", "commit", "-q", "-m", "A commit")


def run(repo: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=repo, check=True)
