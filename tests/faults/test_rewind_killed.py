"""kill -9 at every change that a rewind makes in the file system, and at those that the end of a job makes before it.

AGENTD_FAULTS=N for another number of kills for each action than 20. After each the session is opened again: every file
is what it was or what it was to be, and going back once more, or to what was there before, works.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from agentd.store.home import make_home
from tests.faults.rewind_steps import DIED, finish, go_back
from tests.rewinding import make_repository, open_desk, shown

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("AGENTD_FAULTS", "20"))
# Changes from one kill to the next: of about 110, and of about 50, where each kill costs more.
STRIDE = {"rewind": max(1, 110 // KILLS), "finish": max(1, 100 // KILLS)}
Files = dict[str, tuple[str, bytes]]


@pytest.fixture(scope="module")
def steps() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.rewind_steps"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(steps: subprocess.Popen[str], action: str, number: int, directory: Path) -> int:
    assert steps.stdin is not None
    assert steps.stdout is not None
    steps.stdin.write(f"{action} {number} {directory}\n")
    steps.stdin.flush()
    return int(steps.stdout.readline())


def change(top: Path) -> None:
    """What the second job's command does."""
    (top / "changed").write_bytes(b"\0new")
    (top / "program").chmod(0o755)
    (top / "removed").unlink()
    (top / "link").unlink()
    (top / "link").symlink_to("nowhere")
    (top / "was a file").unlink()
    (top / "was a file").mkdir()
    (top / "was a file/inner").write_text("1")
    shutil.rmtree(top / "was a directory")
    (top / "was a directory").write_text("1")
    (top / "made/deep").mkdir(parents=True)
    (top / "made/deep/file").write_text("1")


async def prepare(directory: Path, end: bool) -> Files:  # trio.run takes no names
    """Two jobs, the second still at work, or ended; what there was before them."""
    top = directory / "top"
    (top / "was a directory/deep").mkdir(parents=True)
    (top / "was a directory/deep/file").write_text("0")
    (top / "link").symlink_to("changed")
    names = ("changed", "program", "removed", "was a file", "by a tool")
    make_repository(top, **dict.fromkeys(names, "0"))
    before = shown(top)
    async with open_desk(make_home(directory / "home"), top) as desk:
        first = await desk.begin()
        await first.write("by a tool", "1")
        await first.end()
        second = await desk.begin()
        await second.write("by a tool", "2")
        await second.write("new", "2")
        await second.command(lambda: change(top))
        if end:
            await second.end()
    return before


async def check_again(directory: Path, old: Files, new: Files) -> None:
    """After a rewind that was killed."""
    top = directory / "top"
    now = {name: what for name, what in shown(top).items() if not Path(name).name.startswith(".agentd-")}
    assert all(now.get(name) in (old.get(name), new.get(name)) for name in {*now, *old, *new})
    async with open_desk(make_home(directory / "home"), top) as desk:
        undo = [checkpoint.id for checkpoint in await desk.all() if checkpoint.job is None]
        await go_back(desk)
        assert shown(top) == new
        if undo:
            assert not (await desk.rewind(undo[0])).failed
            assert shown(top) == old
        else:
            assert now == old  # nothing changes before what was there is saved


async def check_found(directory: Path, new: Files) -> None:
    """After the end of a job that was killed."""
    async with open_desk(make_home(directory / "home"), directory / "top") as desk:
        await finish(desk)
        await go_back(desk)
        assert shown(directory / "top") == new


@pytest.mark.parametrize("action", STRIDE)
def test_a_kill_leaves_every_file_old_or_new_and_going_back_works(
    tmp_path: Path, steps: subprocess.Popen[str], action: str
) -> None:
    directory, template = tmp_path / "x", tmp_path / "template"
    new = trio.run(prepare, directory, action == "rewind")
    old = shown(directory / "top")
    directory.rename(template)
    first = 1 + random.Random(action).randrange(STRIDE[action])
    for number in range(first, 1000, STRIDE[action]):
        shutil.copytree(template, directory, symlinks=True)
        code = run(steps, action, number, directory)
        if action == "rewind":
            trio.run(check_again, directory, old, new)
        else:
            trio.run(check_found, directory, new)
        shutil.rmtree(directory)
        if code != DIED:
            break
    assert code == 0
    assert number > first
