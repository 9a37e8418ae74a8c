"""Running one shell command so that nothing of it outlives it: containment level 1, always in force for tools.

It limits neither files nor network. What it keeps: when run_command() has returned or raised, every process that the
command started has ended, whatever sessions and double forks it made, as far as the level can (see trees.py). A
command that leaves something in the background loses it with its own exit.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from trio.lowlevel import FdStream

from agentd.errors import only_cause
from agentd.sandbox.child import CHUNK
from agentd.sandbox.policy import Policy, SandboxLevel
from agentd.sandbox.trees import Group, Guarded, Namespace, Program, Tree, in_shell

if TYPE_CHECKING:
    from agentd.sandbox.enclosure import Means

BWRAP = ("--dev-bind", "/", "/", "--unshare-pid", "--die-with-parent", "--new-session")  # the last one: own `kill 0`
PROBE_SECONDS = 5.0
COALESCE_SECONDS, SMALL = 0.02, 4096  # after a read this small, let the pipe fill for as long
DRAIN_LIMIT = 1 << 20  # the largest pipe that an ordinary user can have: what a command wrote before it ended


class Level(StrEnum):
    BWRAP = "bwrap"  # a pid namespace: nothing escapes, not even when the executor is killed with SIGKILL
    SUBREAPER = "subreaper"  # a parent that adopts orphans: escapes only who kills it
    GROUP = "group"  # process group and environment marker: escapes who leaves the one and clears the other


@attrs.frozen
class Containment:
    """How commands are kept together on this machine. From probe()."""

    level: Level
    prefix: tuple[str, ...] = ()  # what goes before a command's argv

    def start(self, command: str, cwd: Path, env: Mapping[str, str], fds: tuple[int, ...] = ()) -> Tree:
        """A shell command with *env* as its whole environment, nothing to read, and stdout and stderr merged in
        `child.stdout`. It inherits *fds* under the same numbers. Raises OSError."""
        return self._start(in_shell(command, cwd, env, fds))

    def service(self, argv: Sequence[str], cwd: Path, env: Mapping[str, str]) -> Tree:
        """A program that is talked with for as long as it is wanted: `child.stdin`, `.stdout` and `.stderr` are pipes
        of ours. Its end() ends all that it has started, as for commands. Raises OSError."""
        return self._start(Program(tuple(argv), cwd, env, talks=True))

    @property
    def sandbox(self) -> SandboxLevel:
        """What keeps its commands from files and network."""
        return SandboxLevel.NONE

    def explain(self, exit_code: int, said: str) -> list[str]:
        """Lines for a model whose command has failed, where what it may not do can be why."""
        return []

    def confined(self, policy: Policy, means: Means) -> Containment:
        """One whose commands and services are all in a sandbox, by *means*, from levels.find_means(). To be made
        before the first command of a job: what exists now is what is protected, and hidden."""
        from agentd.sandbox.enclosure import confined

        return confined(self, policy, means)

    def _start(self, program: Program) -> Tree:
        match self.level:
            case Level.BWRAP:
                return Namespace(self.prefix, program)
            case Level.SUBREAPER:
                return Guarded(program)
            case Level.GROUP:
                return Group(program)


GROUP = Containment(Level.GROUP)  # what works everywhere


@attrs.frozen
class Finished:
    exit_code: int  # as shells count: 128 + n for signal n
    timed_out: bool


async def probe(levels: Sequence[Level] = tuple(Level)) -> Containment:
    """The first of *levels* that works here, found by running a command in it; GROUP when none does."""
    for level in levels:
        for containment in _candidates(level):
            if await _works(containment):
                return containment
    return GROUP


def _candidates(level: Level) -> list[Containment]:
    if level is Level.BWRAP:
        bwrap = shutil.which("bwrap")
        # In a container a new /proc may be refused; with the old one, `ps` shows numbers of the outer namespace.
        procs: list[tuple[str, ...]] = [("--proc", "/proc"), ()]
        return [Containment(level, (bwrap, *BWRAP, *proc)) for proc in procs] if bwrap else []
    if level is Level.SUBREAPER and sys.platform != "linux":
        return []
    return [Containment(level)]


async def _works(containment: Containment) -> bool:
    env = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        done = await run_command(containment, ":", cwd=Path("/"), env=env, timeout=PROBE_SECONDS, on_output=len)
    except OSError:
        return False
    return done.exit_code == 0


async def run_command(
    containment: Containment,
    command: str,
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float | None,  # noqa: ASYNC109  # at the end of it the tree is killed and what it said is kept
    on_output: Callable[[bytes], object],
    fds: tuple[int, ...] = (),
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> Finished:
    """Run *command* in a shell, with *env* as its whole environment and nothing to read. It inherits *fds*.

    *on_output* gets stdout and stderr, merged, in the order written, at most a pipe full at a time; small pieces are
    collected for 20 ms. Returns when the shell exits, whoever else may hold its output open; *timeout* is in seconds.
    Raises OSError if it cannot be started: no such directory, or a command that is longer than the system takes;
    otherwise *task_status* is told that it runs.
    """
    tree = containment.start(command, cwd, env, fds)
    with closing(tree.child):
        try:
            task_status.started()
            with trio.move_on_after(math.inf if timeout is None else timeout) as limit:
                await _follow(tree, on_output)
        finally:
            with trio.CancelScope(shield=True):
                await tree.end()
        _drain(_output(tree), on_output)
    return Finished(_as_shells_count(tree.child.returncode), limit.cancelled_caught)


def _as_shells_count(returncode: int | None) -> int:
    if returncode is None:  # not even SIGKILL has ended it yet: it hangs in a device
        return 128 + signal.SIGKILL
    return returncode if returncode >= 0 else 128 - returncode


def _output(tree: Tree) -> FdStream:
    assert tree.child.stdout is not None
    return tree.child.stdout


async def _follow(tree: Tree, on_output: Callable[[bytes], object]) -> None:
    """Hand on output until the command exits."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_pump, _output(tree), on_output)
            await tree.child.wait()
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None  # what on_output raised, as it raised it


async def _pump(stdout: FdStream, on_output: Callable[[bytes], object]) -> None:
    while chunk := await stdout.receive_some(CHUNK):
        on_output(chunk)
        if len(chunk) < SMALL:
            await trio.sleep(COALESCE_SECONDS)


def _drain(stdout: FdStream, on_output: Callable[[bytes], object]) -> None:
    """Hand on what is in the pipe. All that the command wrote is there; a writer that escaped does not hold us up."""
    left = DRAIN_LIMIT
    try:
        while left > 0 and (chunk := os.read(stdout.fileno(), CHUNK)):
            on_output(chunk)
            left -= len(chunk)
    except BlockingIOError:
        pass
