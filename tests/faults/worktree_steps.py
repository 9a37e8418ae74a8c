"""A program for test_kill_worktree_steps: for each line `ACTION NUMBER DIRECTORY` on stdin it does ACTION in DIRECTORY,
in a fork of itself that may be killed, and says how that ended.

In DIRECTORY there is `repo`; `base` is made. `bin/git` there stands before the real git, see the test. If NUMBER is not
0, the fork dies at the NUMBERth name that it makes, changes or removes in the file system.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from agentd.daemon.worktrees import Worktree, open_worktrees
from tests.daemon.worktree_repos import commit, git, write

DIED = 9
NAMES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.utime"}
ID = "5e55104e-0000-4000-8000-000000000001"
EDITS = {"a.txt": "edited\n", "new/file": "untracked\n"}


async def create(directory: Path) -> None:
    async with open_worktrees(directory / "base", warm=0) as worktrees:
        source = await worktrees.check(str(directory / "repo"), None)
        arm(directory)
        await worktrees.create(source, ID)


async def remove(directory: Path, edit: Callable[[Path], None]) -> None:
    async with open_worktrees(directory / "base", warm=0) as worktrees:
        worktree = await worktrees.create(await worktrees.check(str(directory / "repo"), None), ID)
        edit(worktree.path)
        arm(directory)
        await worktrees.remove(worktree, "s")


def arm(directory: Path) -> None:
    """From now on calls of git count, and names."""
    (directory / "armed").touch()


def die_at(number: int, directory: Path) -> None:
    calls = itertools.count(1)

    def hook(event: str, _: Any) -> None:
        if event in NAMES and (directory / "armed").exists() and next(calls) == number:
            os._exit(DIED)

    sys.addaudithook(hook)


def make_dirty(tree: Path) -> None:
    write(tree, {"staged": "staged\n"})
    git(tree, "add", "staged")
    (tree / "staged").unlink()
    write(tree, EDITS)


def make_commits(tree: Path) -> None:
    commit(tree, {"c": "on the branch\n"})
    git(tree, "checkout", "-q", "--detach")
    commit(tree, {"c": "on no branch\n"})


def leave_alone(tree: Path) -> None:
    """Nothing to rescue."""


ACTIONS: dict[str, Callable[[Path], Awaitable[None]]] = {
    "create": create,
    "remove-clean": lambda directory: remove(directory, leave_alone),
    "remove-dirty": lambda directory: remove(directory, make_dirty),
    "remove-commits": lambda directory: remove(directory, make_commits),
}


def worktree(directory: Path) -> Worktree:
    """As root.ndjson has it."""
    path = directory / "base" / ID
    repo = directory / "repo"
    return Worktree(ID, path, repo, f"agentd/session/{ID}", git(repo, "rev-parse", "main"))


def main() -> None:
    for line in sys.stdin:
        action, number, directory = line.rstrip("\n").split(" ", 2)
        child = os.fork()
        if not child:
            if number != "0":
                die_at(int(number), Path(directory))
            os.environ["PATH"] = f"{directory}/bin:{os.environ['PATH']}"
            trio.run(ACTIONS[action], Path(directory))
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(code, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
