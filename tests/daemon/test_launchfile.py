"""What a daemon finds of the executors of one that was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.daemon import launchfile
from agentd.daemon.launchfile import Identity, LaunchFile, Reaped, reap_leftovers
from agentd.store.home import Home, SessionDir, make_home
from tests.daemon.fakeexecutor import SOURCE, is_alive
from tests.witness import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process is named by what Linux tells of it")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


@contextmanager
def process(script: str = "read line") -> Iterator[subprocess.Popen[bytes]]:
    """One that leads a group of its own, and said that it is there."""
    argv = ["sh", "-c", f"{script.replace('read line', 'echo; read line')}"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as one:
        assert one.stdout is not None
        one.stdout.readline()
        yield one
        one.kill()


def leave(home: Home, *processes: Identity, is_local: bool = True) -> SessionDir:
    session = home.create_session("manager", Path("/"), "left")
    LaunchFile(session).write(1, is_local=is_local, processes=processes)
    for name in (launchfile.SOCKET_NAME, launchfile.NONCE_NAME):
        (session.path / name).touch()
    return session


def left_in(session: SessionDir) -> list[str]:
    return sorted(path.name for path in session.path.iterdir() if not path.name.startswith("log."))


async def test_an_executor_that_was_left_is_ended_and_so_is_what_it_left(home: Home) -> None:
    with process("trap '' TERM; read line") as one:
        session = leave(home, Identity.of(one.pid))
        assert await reap_leftovers(home) == [Reaped(session.id, (one.pid,), ())]
        assert one.wait() == -signal.SIGKILL
    assert left_in(session) == []
    assert await reap_leftovers(home) == []


async def test_a_launcher_may_first_tell_the_other_side(home: Home) -> None:
    with process("trap 'exit 7' TERM; read line") as one:
        leave(home, Identity.of(one.pid), is_local=False)
        await reap_leftovers(home)
        assert one.wait() == 7


async def test_a_launcher_that_does_not_listen_is_killed(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchfile, "TERM_SECONDS", 0.05)
    with process("trap '' TERM; read line") as one:
        leave(home, Identity.of(one.pid), is_local=False)
        await reap_leftovers(home)
        assert one.wait() == -signal.SIGKILL


@pytest.mark.parametrize("other", [{"starttime": 1}, {"starttime": 0}, {"boot_id": "another"}], ids=str)
async def test_a_process_that_has_only_the_number_is_left_alone(home: Home, other: dict[str, Any]) -> None:
    with process() as one:
        session = leave(home, attrs.evolve(Identity.of(one.pid), **other))
        assert await reap_leftovers(home) == [Reaped(session.id, (), ())]
        assert one.poll() is None
    assert left_in(session) == []


def test_a_zombie_is_dead() -> None:
    with process() as one:
        identity = Identity.of(one.pid)
        assert identity.is_alive()
        one.kill()
        assert until(lambda: not is_alive(one.pid), 5.0)
        assert not identity.is_alive()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"processes": 5}', '{"local": true, "processes": [{"pid": "x"}, null]}']
)
async def test_a_damaged_note_is_removed(home: Home, text: str) -> None:
    session = leave(home)
    (session.path / launchfile.NAME).write_text(text)
    assert await reap_leftovers(home) == [Reaped(session.id, (), ())]
    assert left_in(session) == []


DAEMON = f"""
import sys
sys.path.insert(0, {SOURCE!r})
import trio
from pathlib import Path
from agentd.daemon.executors import open_seats
from agentd.store.home import Home
from tests.daemon.fakeexecutor import fake_plan
# An executor that clings to life: it holds its leash itself, and does not want to die with its parent.
CLINGING = "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\nready()\\nsignal.pause()"
async def main(home, session):
    async with open_seats(fake_plan(CLINGING)) as seats:
        executor = await seats.seat(home.session(session), home.root).up()
        print(executor.pid, flush=True)
        await trio.sleep_forever()
trio.run(main, Home(Path(sys.argv[1])), sys.argv[2])
"""


def test_what_clings_to_life_when_its_daemon_is_killed_is_ended_by_the_next(home: Home) -> None:
    session = home.create_session("manager", home.root, "left")
    argv = [sys.executable, "-c", DAEMON, str(home.root), session.id]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, cwd=SOURCE) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())
        daemon.kill()
    assert json.loads((session.path / launchfile.NAME).read_text())["processes"][0]["pid"] == pid
    assert is_alive(pid)
    assert trio.run(reap_leftovers, home) == [Reaped(session.id, (pid,), ())]
    assert not is_alive(pid)
    assert not (session.path / launchfile.NAME).exists()
