"""kill -9 at every call of git that making or removing a worktree takes: of the daemon, of git, or of both; and of the
daemon between any two changes of its own to the file system.

AGENTD_FAULTS=N for another number of kills for each action than 20. After each the base is opened again, as the daemon
does at start: there is no directory, branch, record or lock left, the user's repository is as it was, no edit is lost.
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

from agentd.daemon.worktrees import Removed, open_worktrees
from tests.daemon.worktree_repos import commit, files_of, fingerprint, git, make_repository, refs, shown
from tests.faults.worktree_steps import ACTIONS, DIED, EDITS, ID, worktree

ROOT = Path(__file__).parents[2]
KILLS = int(os.environ.get("AGENTD_FAULTS", "20"))
REF = "refs/agentd/rescued/s"
GIT = """#!/bin/sh
PATH={path}
export PATH
[ -e {directory}/armed ] || exec git "$@"
call=1
until mkdir {directory}/call$call 2> /dev/null; do call=$((call + 1)); done
[ $call = {number} ] || exec git "$@"
touch {directory}/struck
daemon=$PPID
exec 3<&0
case {how} in
  before) kill -9 $daemon ;;
  after) git "$@"; kill -9 $daemon ;;
  orphan) kill -9 $daemon; exec git "$@" ;;
  both) git "$@" <&3 & sleep {seconds}; kill -9 $daemon; kill -9 -$$ ;;
  git) git "$@" <&3 & sleep {seconds}; kill -9 -$$ ;;
esac
"""
STRIDE = max(1, 200 // KILLS)  # changes from one kill to the next, of about a hundred for each action
HOWS = ("before", "after", "orphan", "both", "git")


@pytest.fixture(scope="module")
def steps() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.faults.worktree_steps"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def strikes(action: str, calls: int) -> list[tuple[int, str, float]]:
    """Which call of git, how, and for *both* and *git* after how many seconds of it: a sample, or all several times."""
    chance = random.Random(action)
    every = [(number, how) for number in range(1, calls + 1) for how in HOWS]
    chosen = [strike for _ in range(KILLS // len(every) + 1) for strike in chance.sample(every, len(every))][:KILLS]
    return [(number, how, round(chance.uniform(0.0, 0.012), 4)) for number, how in chosen]


def prepare(directory: Path, number: int, how: str, seconds: float) -> Path:
    repo = make_repository(directory / "repo")
    git(repo, "pack-refs", "--all")
    (directory / "bin").mkdir()
    words = {"path": os.environ["PATH"], "directory": directory, "number": number, "how": how, "seconds": seconds}
    (directory / "bin" / "git").write_text(GIT.format(**words))
    (directory / "bin" / "git").chmod(0o755)
    return repo


def calls_of_git(steps: subprocess.Popen[str], action: str, directory: Path) -> int:
    """As many as *action* makes where nothing disturbs it."""
    prepare(directory, 0, "never", 0.0)
    assert run(steps, action, directory) == 0
    calls = len(list(directory.glob("call*")))
    shutil.rmtree(directory)
    return calls


def run(steps: subprocess.Popen[str], action: str, directory: Path, dies_at: int = 0) -> int:
    assert steps.stdin is not None
    assert steps.stdout is not None
    steps.stdin.write(f"{action} {dies_at} {directory}\n")
    steps.stdin.flush()
    return int(steps.stdout.readline())


async def reopen(directory: Path, action: str) -> None:
    """What the daemon does at start: a removal is done again, what nobody owns is cleared."""
    async with open_worktrees(directory / "base", warm=0) as worktrees:
        if action != "create":
            await worktrees.remove(worktree(directory), "s")
        for left in await worktrees.leftovers([]):
            assert left.state == "clean"
            assert await worktrees.clear(left) == Removed(None, branch_kept=False)
        assert await worktrees.leftovers([]) == []


def check_nothing_left(directory: Path) -> None:
    repo = directory / "repo"
    assert shown(directory / "base") == []
    assert list((directory / "base" / ".pool").glob("records/*")) == []
    assert not list(repo.rglob("*.lock"))
    assert not list(repo.rglob("locked"))
    git(repo, "fsck", "--strict")
    commit(repo, {"later": "the user's own git still works\n"})
    git(repo, "pack-refs", "--all")


def check_rescued(directory: Path, action: str) -> None:
    repo = directory / "repo"
    kept = directory / "base" / ".pool" / "kept" / "s"
    if kept.is_dir():  # git was killed while it looked or stored: then nothing is removed
        check_kept(kept, action)
    elif action == "remove-dirty":
        rescued = files_of(repo, REF)
        assert {name: rescued[name] for name in EDITS} == EDITS
        assert "staged" not in rescued
        assert files_of(repo, f"{REF}^2")["staged"] == "staged\n"
    elif action == "remove-commits":
        assert files_of(repo, REF)["c"] == "on no branch\n"
        assert files_of(repo, f"agentd/session/{ID}")["c"] == "on the branch\n"
    else:
        assert refs(repo).keys() == {"refs/heads/main"}


def check_kept(kept: Path, action: str) -> None:
    """It is a worktree that git works in, and holds what it held."""
    if action == "remove-dirty":
        assert git(kept, "status", "--porcelain") == "M a.txt\nAD staged\n?? new/"
        assert (kept / "new" / "file").read_text() == EDITS["new/file"]
    elif action == "remove-commits":
        assert git(kept, "log", "--format=%s", "-2", "-p").count("on no branch") == 1
        assert files_of(kept, f"agentd/session/{ID}")["c"] == "on the branch\n"
    else:
        assert git(kept, "status", "--porcelain") == ""


def test_nothing_is_left_of_a_creation_that_was_killed(tmp_path: Path, steps: subprocess.Popen[str]) -> None:
    struck = 0
    for number, how, seconds in strikes("create", calls_of_git(steps, "create", tmp_path / "x")):
        repo = prepare(tmp_path / "x", number, how, seconds)
        before = fingerprint(repo)
        run(steps, "create", tmp_path / "x")
        struck += (tmp_path / "x" / "struck").exists()
        trio.run(reopen, tmp_path / "x", "create")
        assert fingerprint(repo) == before, (number, how, seconds)
        check_nothing_left(tmp_path / "x")
        shutil.rmtree(tmp_path / "x")
    assert struck >= KILLS // 2, struck


@pytest.mark.parametrize("action", [action for action in ACTIONS if action != "create"])
def test_nothing_is_left_and_nothing_lost_of_a_removal_that_was_killed(
    tmp_path: Path, steps: subprocess.Popen[str], action: str
) -> None:
    struck = 0
    for number, how, seconds in strikes(action, calls_of_git(steps, action, tmp_path / "x")):
        directory = tmp_path / "x"
        prepare(directory, number, how, seconds)
        run(steps, action, directory)
        struck += (directory / "struck").exists()
        trio.run(reopen, directory, action)
        check_rescued(directory, action)
        check_nothing_left(directory)
        shutil.rmtree(directory)
    assert struck >= KILLS // 2, struck


@pytest.mark.parametrize("action", ACTIONS)
def test_between_any_two_changes_of_the_file_system_nothing_is_left_or_lost(
    tmp_path: Path, steps: subprocess.Popen[str], action: str
) -> None:
    directory = tmp_path / "x"
    first = random.Random(action).randrange(STRIDE)
    for number in range(1 + first, 1000, STRIDE):
        repo = prepare(directory, 0, "never", 0.0)
        before = fingerprint(repo)
        code = run(steps, action, directory, number)
        trio.run(reopen, directory, action)
        if action == "create":
            assert fingerprint(repo) == before, number
        else:
            check_rescued(directory, action)
        check_nothing_left(directory)
        shutil.rmtree(directory)
        if code != DIED:
            break
    assert code == 0
    assert number > 1 + first
