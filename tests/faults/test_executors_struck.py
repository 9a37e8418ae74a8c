"""Executors that are killed, stopped, made to exit and made to babble, at random moments of their start and their job,
under one daemon. AGENTD_FAULTS is how often; 8 times where it is not set.

Whatever the moment: nothing that the job had started is alive two seconds later, the seat takes another executor, and
the daemon is left with no zombie, no descriptor and no file of it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import attrs
import pytest
import trio

from agentd.daemon import forks as forks_module
from agentd.daemon.executors import Plan, Seat, open_seats
from agentd.daemon.launchfile import NAME, NONCE_NAME, SOCKET_NAME, LaunchFile
from agentd.domain import JobSpec, Mode, Models
from agentd.errors import ExecutorFailed
from agentd.store.home import SessionDir, make_home
from agentd.wire.failure import HttpFailed
from tests.faults.executors import ROOT, make_repository
from tests.faults.test_kill_executor import write_script
from tests.witness import commands_with, until

TIMES = int(os.environ.get("AGENTD_FAULTS", "8"))
GONE_SECONDS, WAIT_SECONDS = 2.0, 60.0
START_SECONDS, JOB_SECONDS = 0.1, 0.6  # strikes fall into the first in a third of the cases, else into the second
MOST_DISK_CALLS, EXIT_SECONDS = 60, 5.0  # an executor asks so much of the disk in less than that
SPEC = JobSpec(Mode.CODE, "Be busy.", models=Models(planner="busy", code="busy"))
Strike = Callable[[int, random.Random], None]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")


def kill(pid: int, dice: random.Random) -> None:
    os.kill(pid, signal.SIGKILL)


def stop(pid: int, dice: random.Random) -> None:
    os.kill(pid, signal.SIGSTOP)


def babble(pid: int, dice: random.Random) -> None:
    """What a program that it had loaded might print on its standard output."""
    with Path(f"/proc/{pid}/fd/1").open("wb", buffering=0) as stdout:
        stdout.write(dice.randbytes(dice.choice([1, 100, 60_000])) + dice.choice([b"", b"\n", b'{"ready": {}}\n']))


@attrs.frozen
class Bench:
    """A seat, a job that keeps its executor busy for half a minute, and a look at what is left."""

    seat: Seat
    mark: str
    files: int

    async def work(self) -> None:
        """Have it do the job for as long as it can."""
        with suppress(ExecutorFailed, HttpFailed):
            launched = await self.seat.up()
            headers = [("Authorization", f"Bearer {launched.token}")]
            body = json.dumps(attrs.asdict(SPEC)).encode()
            await self.seat.client().request("POST", "/_/jobs", headers=headers, body=body)
            async with self.seat.client().open_stream("GET", "/_/log?after=0", headers=headers) as stream:
                async for _ in stream.lines():
                    pass

    def pid(self) -> int | None:
        _, processes = LaunchFile(self.seat.session).read()
        return processes[0].pid if processes else None

    async def is_well(self) -> None:
        """It takes another executor, which answers; after that nothing is left."""
        self.seat.forgive()
        launched = await self.seat.up()
        try:
            answer = await self.seat.client().request("GET", "/health/ready")
        except HttpFailed:  # of the one that was struck: nobody had noticed yet
            await launched.wait_dead()
            await self.seat.up()
            answer = await self.seat.client().request("GET", "/health/ready")
        assert answer.status == 200
        await self.seat.kill()
        assert await holds(lambda: not commands_with(self.mark)), commands_with(self.mark)
        left = [name for name in (NAME, SOCKET_NAME, NONCE_NAME) if (self.seat.session.path / name).exists()]
        assert left == []
        assert await holds(lambda: not zombies()), zombies()
        assert await holds(lambda: open_files() <= self.files), (open_files(), self.files)


async def holds(what: Callable[[], object]) -> bool:
    return await trio.to_thread.run_sync(until, what, GONE_SECONDS)


def zombies() -> list[int]:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return []
    return [found.si_pid] if found is not None else []


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def struck(bench: Bench, strike: Strike, dice: random.Random) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bench.work)
        await trio.sleep(dice.uniform(0, START_SECONDS if dice.random() < 1 / 3 else JOB_SECONDS))
        if (pid := bench.pid()) is not None:
            strike(pid, dice)
        if strike is babble:
            await trio.sleep(dice.uniform(0, 0.1))
            nursery.start_soon(bench.seat.kill)
        if pid is None:  # it was too early: there is no process yet
            nursery.cancel_scope.cancel()
            return
    assert await holds(lambda: not commands_with(bench.mark)), commands_with(bench.mark)


def alias(script: Path) -> tuple[str, ...]:
    return "--model-alias", f"busy=scripted:{script}"


def make_session(root: Path, mark: str) -> SessionDir:
    make_repository(root / "workspace")
    write_script(root / "script.json", mark)
    return make_home(root / "home").create_session("manager", root / "workspace", "struck", isolation="worktree")


@pytest.mark.parametrize("strike", [kill, stop, babble])
async def test_a_struck_executor_leaves_nothing_and_has_a_successor(
    tmp_path: Path, require: Callable[[str], str], strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("bwrap")
    monkeypatch.setattr(forks_module, "STRAY_SECONDS", 0.1)
    mark = f"agentd-test-{os.urandom(8).hex()}"
    session = make_session(tmp_path, mark)
    dice = random.Random(f"{strike.__name__} {TIMES}")
    plan = Plan(words=alias(tmp_path / "script.json"), heartbeat_seconds=0.1, ready_seconds=5.0)
    async with open_seats(plan) as seats:
        seat = seats.seat(session, tmp_path / "workspace")
        with trio.fail_after(WAIT_SECONDS):
            await Bench(seat, mark, 1 << 20).is_well()
        bench = Bench(seat, mark, open_files())
        for _ in range(max(TIMES // 4, 2)):
            with trio.fail_after(WAIT_SECONDS):
                await struck(bench, strike, dice)
                await bench.is_well()


EXITING = """
import sys
sys.path.insert(0, {root!r})
from tests.faults.harsh import Disk
Disk({home!r}, die_at={die_at}).install()
from agentd.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("time_no", range(max(TIMES // 4, 2)))
async def test_an_executor_that_exits_leaves_nothing_and_has_a_successor(
    tmp_path: Path, require: Callable[[str], str], time_no: int
) -> None:
    """At the nth thing that it asks of the disk, in the middle of it."""
    require("bwrap")
    mark = f"agentd-test-{os.urandom(8).hex()}"
    session = make_session(tmp_path, mark)
    die_at = random.Random(f"{time_no} of {TIMES}").randint(1, MOST_DISK_CALLS)
    source = EXITING.format(root=str(ROOT), home=str(session.path), die_at=die_at)
    lives = 0

    def program(*words: str) -> list[str]:
        nonlocal lives
        lives += 1
        return [sys.executable, "-c", source, *words] if lives == 1 else Plan().program(*words)

    async with open_seats(Plan(words=alias(tmp_path / "script.json"), forks=False, program=program)) as seats:
        bench = Bench(seats.seat(session, tmp_path / "workspace"), mark, open_files())
        with trio.fail_after(WAIT_SECONDS):
            with trio.move_on_after(EXIT_SECONDS):
                await bench.work()
            await bench.is_well()
