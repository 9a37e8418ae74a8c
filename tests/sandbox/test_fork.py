"""Children that begin where their parent is."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from agentd.sandbox.fork import fork

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forking is only used on Linux")


def echo_and_tell() -> int:
    line = sys.stdin.readline()
    sys.stdout.write(f"{line.strip()} {sorted(os.environ)} {os.getsid(0) == os.getpid()}\n")
    sys.stderr.write("a word on stderr\n")
    return 7


def die_of_a_bug() -> int:
    raise LookupError("no such thing")


async def test_a_forked_child_has_streams_environment_and_session_of_its_own() -> None:
    child = fork(echo_and_tell, {"ONLY": "this"})
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stderr is not None
    await child.stdin.send_all(b"hello\n")
    assert await child.stdout.receive_some() == b"hello ['ONLY'] True\n"
    assert await child.stderr.receive_some() == b"a word on stderr\n"
    assert await child.wait() == 7
    child.close()


async def test_a_bug_in_a_forked_child_is_told_on_its_stderr() -> None:
    child = fork(die_of_a_bug, {})
    assert child.stderr is not None
    told = b""
    while piece := await child.stderr.receive_some():
        told += piece
    assert await child.wait() == 1
    assert b"no such thing" in told
    child.close()


def open_files() -> int:
    sys.stdout.write(str([path.readlink() for path in Path("/proc/self/fd").iterdir() if path.exists()]))
    return 0


async def test_a_forked_child_inherits_no_other_file(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("w"):
        child = fork(open_files, {})
        assert child.stdout is not None
        assert b"secret" not in await child.stdout.receive_some()
        await child.wait()
        child.close()


async def test_a_killed_forked_child_is_reaped() -> None:
    child = fork(lambda: len(sys.stdin.read()), {})
    await child.end()
    assert child.returncode == -9
    child.close()
