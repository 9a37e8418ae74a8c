"""Nothing outlives its command. Every case really spawns; what is left is read from /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

import agentd
from agentd.sandbox.contain import BWRAP, Containment, Finished, Level, probe, run_command

if TYPE_CHECKING:
    from tests.witness import Witness

ENV = {"PATH": os.environ.get("PATH", os.defpath)}
LEVELS = list(Level)

CHAIN = """
import os, time
end = time.monotonic() + 20
while time.monotonic() < end:
    if os.fork():
        os._exit(0)
"""
TREES = {
    "background": "{sleep} &",
    "session": "setsid {sleep} &",
    "double fork": "(setsid {sleep} &) &",
    "daemon without environment": "(env -i setsid $(command -v sleep) {number} &)",
    "daemon that ignores signals": "(trap '' TERM HUP INT; setsid {sleep} &)",
    "stopped": "{sleep} & kill -STOP $!",
    "chain of forks": f"({sys.executable} -I -S -c '{CHAIN}' {{number}} &)",
    "own group that waits": "set -m; {sleep} & set +m",
}
BEYOND_GROUP = {"daemon without environment"}
CASES = [
    pytest.param(level, TREES[name], id=f"{level}-{name}")
    for level in LEVELS
    for name in TREES
    if not (level is Level.GROUP and name in BEYOND_GROUP)
]
each_tree = pytest.mark.parametrize(("contained", "tree"), CASES, indirect=["contained"])
each_level = pytest.mark.parametrize("contained", LEVELS, indirect=True)


async def run(
    contained: Containment,
    command: str,
    *,
    seconds: float | None = 30,
    on_output: Callable[[bytes], object] = len,
    cwd: Path = Path("/"),
) -> Finished:
    with trio.fail_after(60):
        return await run_command(contained, command, cwd=cwd, env=ENV, timeout=seconds, on_output=on_output)


async def output_of(contained: Containment, command: str) -> bytes:
    pieces: list[bytes] = []
    await run(contained, command, on_output=pieces.append)
    return b"".join(pieces)


@each_tree
async def test_what_a_command_leaves_behind_ends_with_it(contained: Containment, tree: str, witness: Witness) -> None:
    done = await run(contained, tree.format(sleep=witness.sleep, number=witness.number) + "\nexit 3")
    assert witness.alive() == []
    assert done == Finished(3, timed_out=False)


@each_tree
async def test_a_timeout_ends_the_whole_tree(contained: Containment, tree: str, witness: Witness) -> None:
    tree = tree.format(sleep=witness.sleep, number=witness.number)
    done = await run(contained, f"{tree}\n{witness.sleep}", seconds=0.3)
    assert witness.alive() == []
    assert done.timed_out


@each_tree
async def test_a_cancellation_ends_the_whole_tree(contained: Containment, tree: str, witness: Witness) -> None:
    tree = tree.format(sleep=witness.sleep, number=witness.number)
    with trio.CancelScope() as scope:
        await run(contained, f"{tree}\necho it is there; {witness.sleep}", on_output=lambda _: scope.cancel())
    assert scope.cancelled_caught
    assert witness.alive() == []


@each_level
async def test_a_cancellation_before_the_command_has_started_leaves_nothing(
    contained: Containment, witness: Witness
) -> None:
    for moment in range(10):
        with trio.move_on_after(moment / 2000):
            await run(contained, witness.sleep)
    assert witness.alive() == []


EXECUTOR = """
import sys, trio
from pathlib import Path
from agentd.sandbox.contain import Containment, Level, run_command
level, prefix, command, path = sys.argv[1:]
contained = Containment(Level(level), tuple(prefix.split()))
async def main():
    await run_command(contained, command, cwd=Path("/"), env={"PATH": path}, timeout=None,
                      on_output=lambda text: print("there", flush=True))
trio.run(main)
"""


def start_executor(contained: Containment, command: str, program: str = EXECUTOR) -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-c", program, contained.level, " ".join(contained.prefix), command, ENV["PATH"]]
    env = {"PYTHONPATH": str(Path(agentd.__path__[0]).parent), **ENV}
    return subprocess.Popen(argv, stdout=subprocess.PIPE, env=env)


@pytest.mark.parametrize("contained", [Level.BWRAP, Level.SUBREAPER], indirect=True)
async def test_nothing_is_left_two_seconds_after_the_executor_is_killed(
    contained: Containment, witness: Witness
) -> None:
    trees = "\n".join(tree.format(sleep=witness.sleep, number=witness.number) for tree in TREES.values())
    with start_executor(contained, f"{trees}\necho it is there; {witness.sleep}") as executor:
        assert executor.stdout is not None
        assert executor.stdout.readline() == b"there\n"
        executor.kill()
    assert witness.gone_within(2)


def test_a_command_does_not_start_when_the_executor_died_before_bwrap_could_notice(
    tmp_path: Path, witness: Witness, require: Callable[[str], str]
) -> None:
    here, go, late = tmp_path / "here", tmp_path / "go", tmp_path / "late"
    os.mkfifo(here)
    os.mkfifo(go)
    late.write_text(f'#!/bin/sh\necho >{here}\nread go <{go}\nexec {require("bwrap")} "$@"\n')
    late.chmod(0o755)
    contained = Containment(Level.BWRAP, (str(late), *BWRAP))
    with start_executor(contained, f"touch {tmp_path}/started; {witness.sleep}") as executor:
        here.read_text()
        executor.kill()
    go.write_text("\n")
    assert witness.gone_within(5)
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize("contained", [Level.GROUP], indirect=True)
async def test_it_returns_when_the_command_exits_not_when_the_last_holder_of_its_output_does(
    contained: Containment, witness: Witness, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "escaped")
    daemon = f"echo > {tmp_path}/escaped; exec {witness.sleep}"
    escape = f"(env -i $(command -v setsid) $(command -v sh) -c '{daemon}' &)"
    assert await output_of(contained, f"{escape}\nread x <{tmp_path}/escaped\necho done") == b"done\n"
    assert witness.alive()  # it holds the pipe to this moment: this level cannot find it


@each_level
async def test_output_is_merged_in_the_order_it_was_written(contained: Containment) -> None:
    said = await output_of(contained, "echo one; echo two >&2; echo three; cat; echo four")
    assert said == b"one\ntwo\nthree\nfour\n"


@each_level
async def test_all_output_arrives_when_the_command_exits_at_once(contained: Containment) -> None:
    assert len(await output_of(contained, "head -c 60000 /dev/zero")) == 60000
    assert len(await output_of(contained, "head -c 3000000 /dev/zero")) == 3000000


@each_level
@pytest.mark.parametrize(
    ("command", "code"), [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("no-such-program", 127)]
)
async def test_the_exit_code_is_the_shells(contained: Containment, command: str, code: int) -> None:
    assert await run(contained, command) == Finished(code, timed_out=False)


@each_level
async def test_a_command_sees_the_environment_it_is_given_and_nothing_to_read(
    contained: Containment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert b"secret" not in await output_of(contained, "env; cat; ls -l /proc/self/fd")


@each_level
async def test_a_command_inherits_no_descriptor(contained: Containment) -> None:
    ours = os.open(os.devnull, os.O_RDONLY)
    os.set_inheritable(ours, True)
    listed = await output_of(contained, "for fd in /proc/self/fd/*; do echo ${fd##*/}; done")
    os.close(ours)
    assert set(listed.split()) <= {b"0", b"1", b"2", b"3", b"255"}  # 3 and 255 are bash's own


@each_level
async def test_kill_0_reaches_the_command_and_not_its_keeper(contained: Containment) -> None:
    done = await run(contained, "trap 'exit 5' TERM; kill 0; sleep 1000")
    assert done == Finished(5, timed_out=False)


@each_level
async def test_what_on_output_raises_comes_out_as_it_is(contained: Containment, witness: Witness) -> None:
    def refuse(_: bytes) -> None:
        raise BlockingIOError("the disk is full")

    with pytest.raises(BlockingIOError, match="the disk is full"):
        await run(contained, f"echo something; {witness.sleep}", on_output=refuse)
    assert witness.alive() == []


@each_level
async def test_a_directory_that_is_not_there_is_an_os_error(contained: Containment, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run(contained, "true", cwd=tmp_path / "gone")


def open_descriptors() -> list[str]:
    return sorted(path.name for path in Path("/proc/self/fd").iterdir())


@each_level
async def test_no_descriptor_is_left_open(contained: Containment) -> None:
    await run(contained, "true")
    before = open_descriptors()
    await run(contained, "echo a; sleep 1000", seconds=0.05)
    with pytest.raises(FileNotFoundError):
        await run(contained, "true", cwd=Path("/no/such/directory"))
    assert open_descriptors() == before


async def test_where_nothing_better_works_commands_are_kept_by_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bwrap: No permissions to create new namespace >&2; exit 1\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{ENV['PATH']}")
    assert await probe([Level.BWRAP]) == Containment(Level.GROUP)
    assert (await probe()).level is not Level.BWRAP


# --- Services -----------------------------------------------------------------------------------------------------


@each_level
async def test_a_service_is_talked_with_over_three_pipes(contained: Containment) -> None:
    tree = contained.service(["sh", "-c", "echo ready >&2; cat; echo done"], Path("/"), ENV)
    with trio.fail_after(30), closing(tree.child) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        assert await child.stderr.receive_some() == b"ready\n"
        await child.stdin.send_all(b"hello\n")
        assert await child.stdout.receive_some() == b"hello\n"
        await child.stdin.aclose()
        assert await child.stdout.receive_some() == b"done\n"
        assert await child.wait() == 0
        await tree.end()


@each_tree
async def test_what_a_service_leaves_behind_ends_with_it(contained: Containment, tree: str, witness: Witness) -> None:
    left = tree.format(sleep=witness.sleep, number=witness.number)
    service = contained.service(["bash", "-c", f"{left}\necho it is there; cat"], Path("/"), ENV)
    with trio.fail_after(30), closing(service.child) as child:
        assert child.stdout is not None
        assert await child.stdout.receive_some() == b"it is there\n"
        await service.end()
    assert witness.alive() == []


SERVING = """
import sys, trio
from pathlib import Path
from agentd.sandbox.contain import Containment, Level
level, prefix, command, path = sys.argv[1:]
contained = Containment(Level(level), tuple(prefix.split()))
async def main():
    tree = contained.service(["bash", "-c", command], Path("/"), {"PATH": path})
    await tree.child.stdout.receive_some()
    print("there", flush=True)
    await trio.sleep_forever()
trio.run(main)
"""


@pytest.mark.parametrize("contained", [Level.BWRAP, Level.SUBREAPER], indirect=True)
async def test_no_service_is_left_two_seconds_after_the_executor_is_killed(
    contained: Containment, witness: Witness
) -> None:
    trees = "\n".join(tree.format(sleep=witness.sleep, number=witness.number) for tree in TREES.values())
    with start_executor(contained, f"{trees}\necho it is there; {witness.sleep}", SERVING) as executor:
        assert executor.stdout is not None
        assert executor.stdout.readline() == b"there\n"
        executor.kill()
    assert witness.gone_within(2)


@each_level
async def test_a_service_that_is_no_program_says_so_or_ends_with_127(contained: Containment) -> None:
    try:
        tree = contained.service(["/no/such/program"], Path("/"), ENV)
    except FileNotFoundError:
        return
    with trio.fail_after(30), closing(tree.child) as child:
        assert await child.wait() == 127
        await tree.end()
