"""One process, spawn to reap."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from agentd.sandbox import child as child_module
from agentd.sandbox.child import PIPE, STDOUT, open_child, spawn

if TYPE_CHECKING:
    from tests.witness import Witness

ENV = {"PATH": os.environ.get("PATH", os.defpath)}
STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('there', flush=True); sys.stdin.read()"
)


@pytest.fixture(params=["pidfd", "polling"])
def _each_way_to_wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "polling":
        monkeypatch.setattr(child_module, "open_pidfd", lambda _: None)


@pytest.mark.usefixtures("_each_way_to_wait")
@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", -15)])
async def test_wait_returns_how_it_ended(script: str, code: int) -> None:
    async with open_child(["sh", "-c", script], env=ENV) as child:
        assert await child.wait() == code


@pytest.mark.usefixtures("_each_way_to_wait")
async def test_several_tasks_may_wait_for_one_child() -> None:
    async with open_child(["sh", "-c", "exit 4"], env=ENV) as child, trio.open_nursery() as nursery:
        nursery.start_soon(child.wait)
        nursery.start_soon(child.wait)
    assert child.returncode == 4


async def test_a_child_leads_a_session_of_its_own() -> None:
    async with open_child(["sleep", "1000"], env=ENV) as child:
        assert os.getsid(child.pid) == os.getpgid(child.pid) == child.pid


async def test_leaving_the_block_ends_child_and_group(witness: Witness) -> None:
    async with open_child(["sh", "-c", f"{witness.sleep} & {witness.sleep}"], env=ENV) as child:
        pass
    assert child.returncode == -signal.SIGKILL
    assert witness.gone_within(2)


async def test_what_is_left_of_the_group_is_killed_when_the_leader_exits(witness: Witness) -> None:
    async with open_child(["sh", "-c", f"{witness.sleep} & exit 0"], env=ENV) as child:
        await child.wait()
        assert witness.gone_within(2)


async def test_end_asks_before_it_kills() -> None:
    child = spawn(["sh", "-c", "trap 'exit 9' TERM; echo there; while :; do sleep 0.01; done"], env=ENV, stdout=PIPE)
    assert child.stdout is not None
    assert await child.stdout.receive_some() == b"there\n"
    await child.end(grace=30)
    assert child.returncode == 9
    child.close()


async def test_end_kills_what_ignores_it() -> None:
    child = spawn([sys.executable, "-c", STUBBORN], env=ENV, stdin=PIPE, stdout=PIPE)
    assert child.stdout is not None
    assert await child.stdout.receive_some() == b"there\n"
    await child.end(grace=0.05)
    assert child.returncode == -signal.SIGKILL
    child.close()


async def test_ending_twice_is_harmless_and_a_reaped_child_is_not_signalled() -> None:
    child = spawn(["true"], env=ENV)
    await child.end()
    await child.end(grace=1)
    child.signal(signal.SIGKILL)
    child.close()


async def test_the_streams_are_ours_to_read_and_write() -> None:
    async with open_child(["sh", "-c", "cat; echo err >&2"], env=ENV, stdin=PIPE, stdout=PIPE, stderr=PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        await child.stdin.send_all(b"hello")
        child.stdin.close()
        assert await child.stdout.receive_some() == b"hello"
        assert await child.stderr.receive_some() == b"err\n"
        assert await child.stdout.receive_some() == b""


async def test_stderr_can_go_where_stdout_goes() -> None:
    async with open_child(["sh", "-c", "echo a; echo b >&2"], env=ENV, stdout=PIPE, stderr=STDOUT) as child:
        assert child.stdout is not None
        await child.wait()
        assert await child.stdout.receive_some() == b"a\nb\n"


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_program_or_directory_that_is_not_there_is_an_os_error_and_leaves_no_descriptor(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        spawn(["/no/such/program"], env=ENV, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    with pytest.raises(FileNotFoundError):
        spawn(["true"], cwd=tmp_path / "gone", env=ENV, stdout=PIPE)
    assert open_descriptors() == before
