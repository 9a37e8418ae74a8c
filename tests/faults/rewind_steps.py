"""A program for test_rewind_killed: for each line `ACTION NUMBER DIRECTORY` on stdin it does ACTION in DIRECTORY, in a
fork of itself that may be killed, and says how that ended.

In DIRECTORY there are `home`, with one session, and its workspace `top`. If NUMBER is not 0, the fork dies just before
the NUMBERth time that it makes, opens for writing, changes or removes something in the file system.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from agentd.store.home import Home, make_home
from tests.rewinding import Desk, open_desk

DIED = 9
CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.chmod", "os.chown", "os.link"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


async def go_back(desk: Desk) -> None:
    await desk.rewind((await desk.all())[0].id)


async def finish(desk: Desk) -> None:
    """The end of the job that is still at work."""
    job = (await desk.all())[-1].job
    assert job is not None
    await desk.checkpoints_of(job).finish()


ACTIONS: dict[str, Callable[[Desk], Awaitable[None]]] = {"rewind": go_back, "finish": finish}


async def act(action: str, number: int, directory: Path) -> None:
    async with open_desk(home_in(directory), directory / "top") as desk:
        if number:
            die_at(number)
        await ACTIONS[action](desk)


def home_in(directory: Path) -> Home:
    return make_home(directory / "home")


def die_at(number: int) -> None:
    calls = itertools.count(1)

    def hook(event: str, args: tuple[Any, ...]) -> None:
        changes = event in CHANGES or (event == "open" and args[2] & WRITING)
        if changes and next(calls) == number:
            os._exit(DIED)

    sys.addaudithook(hook)


def main() -> None:
    for line in sys.stdin:
        action, number, directory = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if not child:
            trio.run(act, action, int(number), Path(directory))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
