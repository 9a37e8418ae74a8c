"""Seats: who launches, who waits, what counts as dead, and what is left afterwards."""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.daemon import launch as launch_module
from agentd.daemon.executors import Plan, Seat, Seats, open_seats
from agentd.daemon.launchfile import LaunchFile
from agentd.domain import Entry, JobSpec, Mode
from agentd.errors import ExecutorFailed, NotStarted
from agentd.sandbox.leash import starttime
from agentd.store.home import SessionDir, make_home
from agentd.store.log import open_log
from tests.daemon.fakeexecutor import BEGIN, Bench, fake_plan, is_alive, starts

SECONDS = 30.0  # a test that waits longer has failed
HIDDEN = {"log.lock", "log.ndjson", "log.generations.json", "starts", "left", "objects", "symbols"}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "workspace").mkdir()
    return Bench(make_home(tmp_path / "home"), tmp_path / "workspace")


async def up(seat: Seat) -> int:
    with trio.fail_after(SECONDS):
        return (await seat.up()).pid


async def fail(seat: Seat, kind: type[ExecutorFailed] = ExecutorFailed) -> str:
    with pytest.raises(ExecutorFailed) as caught:
        await up(seat)
    assert type(caught.value) is kind
    return str(caught.value)


async def absence(seats: Seats, seat: Seat) -> None:
    """Return when the seat is empty."""
    empty = trio.Event()
    end = seats.subscribe(lambda changed: empty.set() if changed.state == "absent" else None)
    with trio.fail_after(SECONDS):
        if seat.state != "absent":
            await empty.wait()
    end()


async def crash(seats: Seats, seat: Seat) -> None:
    os.kill(await up(seat), signal.SIGKILL)
    await absence(seats, seat)


def left_in(session: SessionDir) -> set[str]:
    return {path.name for path in session.path.iterdir()} - HIDDEN


# --- Up and down --------------------------------------------------------------------------------------------------


async def test_who_asks_at_the_same_time_gets_the_same_executor(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pids: set[int] = set()

        async def ask() -> None:
            pids.add(await up(seat))

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(ask)
        assert [await up(seat)] == starts(seat.session) == list(pids)
        assert seats.seat(seat.session, bench.workspace) is seat


async def test_who_gives_up_waiting_does_not_end_it_for_the_others(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        async with trio.open_nursery() as first:
            first.start_soon(up, seat)
            await wait_all_tasks_blocked()
            first.cancel_scope.cancel()
        assert seat.state == "starting"
        assert [await up(seat)] == starts(seat.session)


async def test_down_is_gentle_and_returns_when_it_is_dead_and_nothing_is_left(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        assert left_in(seat.session) == {"launch.json", "nonce"}
        await seat.down()
        assert seat.state == "absent"
        assert not is_alive(pid)
        assert (seat.session.path / "left").exists()
        assert left_in(seat.session) == set()
        assert seat.crashes == 0
        await seat.down()


async def test_kill_does_not_wait_for_it(bench: Bench) -> None:
    async with open_seats(fake_plan("signal.signal(15, signal.SIG_IGN)\nready()\nsignal.pause()")) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        with trio.fail_after(launch_module.LEASH_SECONDS / 2):
            await seat.kill()
        assert not is_alive(pid)
        assert seat.crashes == 0


async def test_it_can_be_launched_again_also_while_it_is_ended(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        first = await up(seat)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seat.down)
            await wait_all_tasks_blocked()
            assert seat.state == "stopping"
            second = await up(seat)
        assert first != second
        assert is_alive(second)


async def test_a_seat_that_is_retired_gets_no_further_executor_not_even_for_who_waits_already(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(seat.down)
            await wait_all_tasks_blocked()
            nursery.start_soon(fail, seat)
            await wait_all_tasks_blocked()
            seat.retire()
        assert seat.state == "absent"


async def test_who_waits_for_one_that_is_ended_before_it_is_ready_is_told(bench: Bench) -> None:
    async with open_seats(fake_plan("wait()")) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail, seat)
            await wait_all_tasks_blocked()
            await seat.down()
        assert left_in(seat.session) == set()
        assert seat.crashes == 0


async def test_leaving_ends_all_at_once(bench: Bench) -> None:
    together = """
ready()
wait()
note("../../ending")
while len(open(os.path.join(here, "../../ending")).readlines()) < 3:
    time.sleep(0.01)
"""
    with trio.fail_after(launch_module.LEASH_SECONDS):
        async with open_seats(fake_plan(together)) as seats:
            pids = [await up(seats.seat(bench.session(), bench.workspace)) for _ in range(3)]
    assert not any(map(is_alive, pids))


async def test_its_state_is_told(bench: Bench) -> None:
    told: list[tuple[str, bool]] = []
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        end = seats.subscribe(lambda changed: told.append((changed.state, changed.launched is not None)))
        await up(seat)
        await seat.down()
        end()
        await up(seat)
    assert told == [("starting", False), ("live", True), ("stopping", False), ("absent", False)]


async def test_a_client_goes_to_the_executor_and_only_while_there_is_one(bench: Bench) -> None:
    async with open_seats(Plan(forks=False)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        with pytest.raises(ExecutorFailed):
            seat.client()
        with trio.fail_after(SECONDS):
            token = (await seat.up()).token
        for path in ("/_/health", "/v1/executor", "/v1/jobs", f"/v1/sessions/{seat.session.id}"):
            answer = await seat.client().request("GET", path, headers=[("Authorization", f"Bearer {token}")])
            assert answer.status == 200, path
        for path in ("/_/health", "/v1/jobs"):
            assert (await seat.client().request("GET", path)).status == 401
        live = await seat.client().request("GET", "/health/ready")
        assert json.loads(live.body)["sessionId"] == seat.session.id


# --- Deaths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "how"),
    [
        ("sys.exit('out of paper')", "exit code 1\n  warming up\n  out of paper"),
        ("os.kill(os.getpid(), 9)", "killed by SIGKILL\n  warming up"),
        ("os.close(1)\nsignal.pause()", "its standard output ended\n  warming up"),
    ],
    ids=["exit", "signal", "end of stdout"],
)
async def test_a_death_is_noticed_and_kept_with_its_last_words(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, end: str, how: str
) -> None:
    monkeypatch.setattr(launch_module, "LAST_WORDS_SECONDS", 0.2)
    async with open_seats(fake_plan(f"print('warming up', file=sys.stderr, flush=True)\nready()\n{end}")) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        await absence(seats, seat)
        assert seat.obituary == how
        assert seat.words[0] == "warming up"
        assert seat.crashes == 1
        assert left_in(seat.session) == set()


async def test_a_dead_one_is_launched_again_when_it_is_wanted(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        first = await up(seat)
        os.kill(first, signal.SIGKILL)
        assert seat.launched is not None
        await seat.launched.wait_dead()
        assert await up(seat) != first  # though its owner may not have got to it yet
        assert seat.crashes == 1


async def test_after_three_deaths_it_is_not_tried_again_until_it_is_forgiven(bench: Bench) -> None:
    async with open_seats(fake_plan("print('no luck', file=sys.stderr, flush=True)\n" + "ready()\nwait()")) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        for _ in range(3):
            await crash(seats, seat)
        assert await fail(seat) == (
            "the executor died 3 times without finishing a job in between, and is not started again; "
            "at last: killed by SIGKILL\n  no luck"
        )
        assert len(starts(seat.session)) == 3
        seat.forgive()
        assert await up(seat) == starts(seat.session)[-1]


async def test_one_that_is_never_ready_dies_too(bench: Bench) -> None:
    async with open_seats(fake_plan("sys.exit('no model')")) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        for _ in range(3):
            assert await fail(seat) == "the executor did not start: exit code 1\n  no model"
        assert "3 times" in await fail(seat)
        assert left_in(seat.session) == set()


async def test_one_that_is_not_ready_in_time_is_ended(bench: Bench) -> None:
    script = "print('queued', file=sys.stderr, flush=True)\nwait()"
    async with open_seats(fake_plan(script, ready_seconds=1.0)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        assert (await fail(seat)).startswith("the executor was not ready within 1 s")
        assert not any(map(is_alive, starts(seat.session)))


def ended(session: SessionDir, outcome: str) -> None:
    """Write into its log that a job came to an end."""
    with open_log(session.log_path) as log:
        log.append([Entry("job.finished", {"outcome": outcome}, "a-job")])


@pytest.mark.parametrize(("outcome", "crashes"), [("completed", 1), ("failed", 1), ("interrupted", 3)])
async def test_a_finished_job_makes_good_for_deaths_and_an_interrupted_one_does_not(
    bench: Bench, outcome: str, crashes: int
) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        ended(seat.session, "completed")  # before all of them
        await crash(seats, seat)
        await crash(seats, seat)
        await up(seat)
        ended(seat.session, outcome)
        await crash(seats, seat)
        assert seat.crashes == crashes


async def test_without_a_process_there_is_no_death(bench: Bench) -> None:
    plan = Plan(program=lambda *words: ["/no/such/program", *words], forks=False)
    async with open_seats(plan) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        for _ in range(4):
            assert await fail(seat, NotStarted) == "/no/such/program could not be started: No such file or directory"
        assert left_in(seat.session) == set()


@contextmanager
def no_more_files() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open(os.devnull, os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + 2, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("forks", [False, True])
async def test_too_many_open_files_are_told_and_leave_none_open(bench: Bench, forks: bool) -> None:
    async with open_seats(attrs.evolve(Plan(), forks=forks)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        await seat.down()
        before = open_files()
        with no_more_files():
            assert "Too many open files" in await fail(seat, NotStarted)
        assert open_files() == before
        await up(seat)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- Heartbeats ---------------------------------------------------------------------------------------------------


async def ask(seat: Seat, path: str, body: bytes = b"") -> Any:
    """What it says, or None if the connection broke."""
    assert seat.launched is not None
    headers = [("Authorization", f"Bearer {seat.launched.token}")]
    answer = await seat.client().request("POST" if body else "GET", path, headers=headers, body=body, seconds=SECONDS)
    return json.loads(answer.body)


async def test_a_stopped_one_that_somebody_waits_for_is_dead(bench: Bench) -> None:
    async with open_seats(Plan(heartbeat_seconds=0.1)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(forget_failure, partial_ask(seat, "/_/health"))
            await absence(seats, seat)
        assert seat.obituary is not None
        assert seat.obituary.startswith("it did not answer 3 times in a row")
        assert not is_alive(pid)
        assert await up(seat) != pid


async def test_a_stopped_one_with_a_job_is_dead(bench: Bench) -> None:
    script = bench.workspace / "script.json"
    script.write_text(json.dumps({"replies": [{"parts": [{"delay_seconds": 600}]}]}))
    plan = Plan(words=("--model-alias", f"slow=scripted:{script}"), heartbeat_seconds=0.1)
    async with open_seats(plan) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        spec = attrs.evolve(
            JobSpec(Mode.ASK, "wait"), models=attrs.evolve(JobSpec(Mode.ASK, "").models, planner="slow")
        )
        made = await ask(seat, "/_/jobs", json.dumps(attrs.asdict(spec)).encode())
        with trio.fail_after(SECONDS):
            while seat.job != made["job"]:  # noqa: ASYNC110  # it is asked by the clock
                await trio.sleep(0.02)
        os.kill(pid, signal.SIGSTOP)
        await absence(seats, seat)
        assert not is_alive(pid)
        assert seat.crashes == 1


async def test_one_that_is_only_slow_lives(bench: Bench) -> None:
    async with open_seats(Plan(heartbeat_seconds=1.0)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        os.kill(pid, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, seat, "/_/health")
            await trio.sleep(3.2)  # one heartbeat is missed by then, and three are not
            os.kill(pid, signal.SIGCONT)
        assert await up(seat) == pid


def partial_ask(seat: Seat, path: str) -> Callable[[], Any]:
    return lambda: ask(seat, path)


async def forget_failure(call: Callable[[], Any]) -> None:
    from agentd.wire.failure import HttpFailed

    with pytest.raises(HttpFailed):
        await call()


# --- Output -------------------------------------------------------------------------------------------------------


async def test_what_it_prints_is_logged_with_its_session(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentd.executor")
    script = (
        "print('a banner')\nprint('a warning', file=sys.stderr, flush=True)\nready()\nprint('late', flush=True)\nwait()"
    )
    async with open_seats(fake_plan(script)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        await seat.down()
    said = {record.getMessage() for record in caplog.records if vars(record).get("session") == seat.session.id}
    assert said == {"a banner", "a warning", "late"}


FLOODS = {
    "lines on stderr": "os.write(2, b'all is lost\\n' * 5000)",
    "a line without end on stderr": "os.write(2, b'x' * 60000)",
    "lines on stdout": "os.write(1, b'{}\\n' * 20000)",
    "garbage on stdout": "os.write(1, bytes(range(128, 256)) * 400)",
}


@pytest.mark.parametrize("flood", FLOODS.values(), ids=FLOODS)
async def test_a_flood_is_drained_and_neither_kept_nor_logged(
    bench: Bench, flood: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "agentd.executor")
    script = f"ready()\nfor _ in range(200):\n    {flood}\nos.write(2, b'\\nenough\\n')\nwait()"
    async with open_seats(fake_plan(script)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        with trio.fail_after(SECONDS):
            while "enough" not in seat.words:  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.01)
        assert seat.state == "live"
        assert all(len(line) <= 500 for line in seat.words)
        assert len(seat.words) <= 20
        assert len(caplog.records) < 5000  # of a million


# --- launch.json --------------------------------------------------------------------------------------------------


async def test_the_launch_is_noted_for_the_next_daemon(bench: Bench) -> None:
    async with open_seats(fake_plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid = await up(seat)
        is_local, [process] = LaunchFile(seat.session).read()
        assert is_local
        assert (process.pid, process.starttime) == (pid, starttime(pid))
        assert process.is_alive()
    assert not process.is_alive()


async def test_the_note_is_there_before_the_process_is(bench: Bench) -> None:
    script = BEGIN.replace('note("starts")', "")  # the hello comes later than the note: look before it
    early = f"import os, sys\nopen('/proc/self/fd/2', 'w').write(str(os.listdir(sys.argv[1])) + '\\n')\n{script}"
    session = bench.session()
    plan = Plan(program=lambda *words: [os.sys.executable, "-c", early, str(session.path)], forks=False)  # type: ignore[attr-defined]
    async with open_seats(plan) as seats:
        seat = seats.seat(session, bench.workspace)
        assert "launch.json" in await fail(seat)
