"""Executors that are forked: whose children they are, what they inherit, and what happens when their server ends."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from agentd.daemon import forks as forks_module
from agentd.daemon.executors import Plan, Seat, Seats, open_seats
from agentd.daemon.forks import reap_strays
from agentd.sandbox.forkserver import decode_answer, encode_order
from agentd.store.home import make_home
from tests.daemon.fakeexecutor import SOURCE, Bench, is_alive
from tests.faults.executors import UnixConnection, make_repository
from tests.witness import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking is only used on Linux")
SECONDS = 30.0


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "workspace").mkdir()
    return Bench(make_home(tmp_path / "home"), tmp_path / "workspace")


async def up(seat: Seat) -> int:
    with trio.fail_after(SECONDS):
        return (await seat.up()).pid


def server(seats: Seats) -> int:
    assert seats.forks is not None
    assert seats.forks.pid is not None
    return seats.forks.pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def is_forked(pid: int) -> bool:
    """By its command line, which is still the server's."""
    return b"--fork-server" in Path(f"/proc/{pid}/cmdline").read_bytes()


async def test_an_executor_is_the_daemons_own_child_in_a_session_of_its_own(bench: Bench) -> None:
    async with open_seats(Plan()) as seats:
        pid = await up(seats.seat(bench.session(), bench.workspace))
        assert is_forked(pid)
        assert (parent(pid), os.getpgid(pid), os.getsid(pid)) == (os.getpid(), pid, pid)


async def test_it_contains_commands_as_one_that_is_started_afresh_does(bench: Bench) -> None:
    told = []
    for forks in (True, False):
        async with open_seats(Plan(forks=forks)) as seats:
            with trio.fail_after(SECONDS):
                told.append((await seats.seat(bench.session(), bench.workspace).up()).ready.sandbox)
    assert told[0] == told[1]


async def test_it_outlives_its_server_and_the_next_server_forks_the_next_one(bench: Bench) -> None:
    async with open_seats(Plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        pid, first = await up(seat), server(seats)
        os.kill(first, signal.SIGKILL)
        other = await up(seats.seat(bench.session(), bench.workspace))
        assert is_alive(pid)
        third = await up(seats.seat(bench.session(), bench.workspace))
        assert is_forked(third)
        second = server(seats)
        assert second != first
        assert len({pid, other, third}) == 3
        await seat.down()
        assert not is_alive(pid)
        assert seat.crashes == 0
    assert not is_alive(second)


async def test_without_an_answer_it_is_started_plainly(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_seats(Plan()) as seats:
        await up(seats.seat(bench.session(), bench.workspace))
        first = server(seats)
        monkeypatch.setattr(forks_module, "ANSWER_SECONDS", 0.2)
        os.kill(first, signal.SIGSTOP)
        assert not is_forked(await up(seats.seat(bench.session(), bench.workspace)))
        monkeypatch.undo()
        assert is_forked(await up(seats.seat(bench.session(), bench.workspace)))
        assert await trio.to_thread.run_sync(until, lambda: not is_alive(first), 2.0)


async def test_a_server_that_never_works_is_given_up(bench: Bench) -> None:
    tries = bench.workspace / "tries"

    def program(*words: str) -> list[str]:
        if "--fork-server" in words:
            return ["sh", "-c", f"echo >> {tries}"]
        return Plan().program(*words)

    async with open_seats(Plan(program=program)) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        for _ in range(5):
            await up(seat)
            await seat.down()
    assert len(tries.read_text()) == forks_module.TRIES


async def test_an_environment_that_fits_into_no_packet_is_no_failure_of_the_server(bench: Bench) -> None:
    plan = Plan(inherited={**Plan().inherited, "TMPDIR_OF_SOMEBODY": "x" * (1 << 16), "MORE": "x" * (1 << 16)})
    async with open_seats(plan) as seats:
        assert not is_forked(await up(seats.seat(bench.session(), bench.workspace)))


async def test_no_descriptor_is_left_on_either_side(bench: Bench) -> None:
    def count() -> tuple[int, int]:
        return open_files(os.getpid()), open_files(server(seats))

    async with open_seats(Plan()) as seats:
        seat = seats.seat(bench.session(), bench.workspace)
        await up(seat)
        await seat.down()
        before = count()
        for _ in range(3):
            await up(seat)
            await seat.down()
        assert count() == before


ORPHAN = """
import os
if os.fork() == 0:
    print(os.getpid(), flush=True)
    os.close(1)  # which is waited for
    os.read(0, 1)
"""


def test_what_loses_its_parent_below_is_reaped(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    monkeypatch.setattr(forks_module, "STRAY_SECONDS", 0.02)
    reader, writer = os.pipe()

    def make_orphan() -> int:
        argv = [sys.executable, "-c", ORPHAN]
        return int(subprocess.run(argv, stdin=reader, stdout=subprocess.PIPE, check=True).stdout)

    async def main() -> None:
        async with open_seats(Plan()):
            orphan = make_orphan()
            assert parent(orphan) == os.getpid()
            os.close(writer)  # which ends it
            assert await trio.to_thread.run_sync(until, lambda: not Path(f"/proc/{orphan}").exists(), SECONDS)

    trio.run(main)
    os.close(reader)


def test_all_that_have_lost_their_parent_are_reaped_together(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def look(seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks > 2:  # then there have been two
            raise EOFError

    monkeypatch.setattr(trio, "sleep", look)
    dead = [subprocess.Popen(["true"]) for _ in range(5)]
    for each in dead:
        os.waitid(os.P_PID, each.pid, os.WEXITED | os.WNOWAIT)
    with pytest.raises(EOFError):
        trio.run(reap_strays)
    assert not any(Path(f"/proc/{each.pid}").exists() for each in dead)
    assert [each.wait() for each in dead] == [0] * 5  # nothing is known of them any more


async def test_what_somebody_waits_for_is_left_to_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forks_module, "STRAY_SECONDS", 0.01)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reap_strays)
        for code in range(5):
            done = await trio.run_process(["sh", "-c", f"exit {code}"], check=False)
            assert done.returncode == code
        nursery.cancel_scope.cancel()


# --- The death of the daemon --------------------------------------------------------------------------------------

DAEMON = f"""
import json, sys
sys.path.insert(0, {SOURCE!r})
import trio
from pathlib import Path
from agentd.daemon.executors import Plan, open_seats
from agentd.store.home import make_home
async def main(root):
    home = make_home(root / "home")
    session = home.create_session("manager", root, "bench", isolation="worktree")
    async with open_seats(Plan(forks=sys.argv[2] == "forked")) as seats:
        executor = await seats.seat(session, root).up()
        print(json.dumps([executor.pid, seats.forks.pid if seats.forks else executor.pid]), flush=True)
        await trio.sleep_forever()
trio.run(main, Path(sys.argv[1]))
"""


@pytest.mark.parametrize("stopped", [False, True], ids=["running", "stopped"])
@pytest.mark.parametrize("how", ["forked", "fresh"])
def test_executors_and_their_server_die_with_the_daemon(tmp_path: Path, how: str, stopped: bool) -> None:
    argv = [sys.executable, "-c", DAEMON, str(tmp_path), how]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pids = json.loads(daemon.stdout.readline())
        assert all(map(is_alive, pids))
        for pid in set(pids) if stopped else ():
            os.kill(pid, signal.SIGSTOP)
        daemon.kill()
    assert until(lambda: not any(map(is_alive, pids)), 2.0)


# --- The server on its own ----------------------------------------------------------------------------------------

SERVER = f"""
import os, random, sys
sys.path.insert(0, {SOURCE!r})
from agentd.sandbox.forkserver import serve
random.seed(1)
def main(words):
    print(words, sorted(os.environ.items()), sorted(os.listdir("/proc/self/fd")), random.random())
    return 7
sys.exit(serve(main, int(sys.argv[1])))
"""


def order(channel: socket.socket, env: dict[str, str]) -> str:
    """What a child prints."""
    with Path(os.devnull).open() as null:
        reader, writer = os.pipe()
        socket.send_fds(channel, [encode_order(["one", "two"], env)], [null.fileno(), writer, null.fileno()])
        os.close(writer)
    decode_answer(channel.recv(4096))
    with os.fdopen(reader) as said:
        return said.read()


def test_a_child_has_its_words_its_environment_its_streams_and_chances_of_its_own() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    argv = [sys.executable, "-c", SERVER, str(os.getpid())]
    env = {"ONLY": "this", "PATH": secrets.token_hex(4)}
    with subprocess.Popen(argv, stdin=theirs.fileno()) as process:
        theirs.close()
        first, second = (order(ours, env).rsplit(" ", 1) for _ in range(2))
        ours.close()
    assert process.returncode == 0  # whoever asks has let go
    assert first[0] == second[0] == f"['one', 'two'] {sorted(env.items())} ['0', '1', '2', '3']"  # 3: the listing's own
    assert first[1] != second[1]


def test_a_server_whose_parent_is_another_does_not_serve() -> None:
    assert subprocess.run([sys.executable, "-c", SERVER, "1"], stdin=subprocess.DEVNULL).returncode == 1


REHEARSAL = f"""
import sys
sys.path.insert(0, {SOURCE!r})
from agentd.cli import executor
from agentd.cli.warm import warm_up
warm_up()
before = set(sys.modules)
executor.main(sys.argv[1:])
print(sorted(name for name in set(sys.modules) - before if "agentd" in name or "attr" in name))
"""


def test_a_job_imports_nothing_of_ours_that_the_server_has_not(tmp_path: Path) -> None:
    make_repository(tmp_path / "repo")
    address = tmp_path / "s"
    words = ["--listen-addr", f"unix:{address}", "--workspace-dir", str(tmp_path / "repo"), "--exit-on-stdin-eof"]
    argv = [sys.executable, "-c", REHEARSAL, *words, "--auth-token", "t"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert b"listening" in process.stdout.readline()

        def ask(method: str, path: str, body: bytes | None = None) -> dict[str, object]:
            connection = UnixConnection(address)
            connection.request(method, path, body, {"Authorization": "Bearer t", "Idempotency-Key": "k"})
            answer: dict[str, object] = json.loads(connection.getresponse().read())
            connection.close()
            return answer

        made = ask("POST", "/v1/jobs", b'{"taskInput": "Where is greet defined?", "plannerModel": "builtin"}')
        assert until(lambda: ask("GET", f"/v1/jobs/{made['jobId']}").get("terminal"), SECONDS), made
        assert process.stdin is not None
        process.stdin.close()
        assert process.stdout.read() == b"[]\n"
