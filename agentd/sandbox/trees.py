"""A command and all that descends from it: how it is started so that all of it can be ended. One class a level.

Measured with hostile trees (own session, double fork, emptied environment, chains of forks): killing a process group
misses all of those, walking parents misses what was orphaned. Only a pid namespace or an adopting parent gets all.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import attrs
import trio

from agentd.sandbox import guard
from agentd.sandbox.child import DEVNULL, KILL_SECONDS, PIPE, STDOUT, Child, open_pidfd, spawn

SH = "/bin/sh"
MARKER = "AGENTD_COMMAND"  # in the environment of commands that nothing better keeps together
SETUP_SECONDS = 1.0  # for bwrap to make its namespace; it takes two milliseconds
GUARD_SECONDS = guard.SWEEP_SECONDS + 1.0


class Tree(Protocol):
    child: Child  # its exit is the program's; its streams are connected as the program says

    async def end(self) -> None:
        """Nothing of the program is left, once this has returned. Bounded, so it may be shielded."""


@attrs.frozen
class Program:
    """What is to run, and whom it talks to: a command says all in one stream, to nobody who could answer; a service is
    talked with, its three streams are pipes of ours."""

    argv: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]  # the whole of it
    command: str = ""  # what *argv* has a shell run, if that is all it does
    talks: bool = False  # it is a service
    fds: tuple[int, ...] = ()  # of ours, that it inherits under the same numbers
    first: str = ""  # what a shell is to do before it, in a namespace

    def after(self, check: str) -> list[str]:
        """An argv that has bash do *check*, then what is first, and then be the program. Other shells cannot check."""
        bash = find_bash(self.env)
        first = check + self.first if bash else self.first
        if not first:
            return [*self.argv]
        if self.command:
            return [self.argv[0], "-c", first + self.command, self.argv[-1]]
        return [bash or SH, "-c", f'{first}exec "$@"', "sh", *self.argv]

    def spawn(self, argv: list[str], env: Mapping[str, str] | None = None, fds: tuple[int, ...] = ()) -> Child:
        """Start it as *argv* has it. Raises OSError."""
        return spawn(
            argv,
            cwd=self.cwd,
            env=self.env if env is None else env,
            stdin=PIPE if self.talks else DEVNULL,
            stdout=PIPE,
            stderr=PIPE if self.talks else STDOUT,
            pass_fds=(*self.fds, *fds),
        )


def in_shell(command: str, cwd: Path, env: Mapping[str, str], fds: tuple[int, ...] = ()) -> Program:
    """A command, run by bash where its own PATH has one, else by sh."""
    bash = find_bash(env)
    argv = (bash, "-c", command, "bash") if bash else (SH, "-c", command, "sh")
    return Program(argv, cwd, env, command, fds=fds)


def find_bash(env: Mapping[str, str]) -> str | None:
    return shutil.which("bash", path=env.get("PATH", os.defpath))


class Group:
    """A process group, and a name in the environment to find those that left it. Misses who left and cleared both."""

    def __init__(self, program: Program) -> None:
        name = os.urandom(8).hex()
        self._marker = f"{MARKER}={name}".encode()
        self.child = program.spawn([*program.argv], {**program.env, MARKER: name})

    async def end(self) -> None:
        await self.child.end()
        await trio.to_thread.run_sync(_kill_marked, self._marker)


def _kill_marked(marker: bytes) -> None:
    """Reads the environment of every process, so not for the event loop. Without /proc it does nothing."""
    for _ in range(100):  # until nothing is found; bounded, since one that forks fast enough is always found
        found = False
        for process in Path("/proc").glob("[0-9]*"):  # and no further, or glob fails on what has just ended
            try:
                if marker in (process / "environ").read_bytes().split(b"\0"):
                    os.kill(int(process.name), signal.SIGKILL)
                    found = True
            except OSError:  # ended meanwhile, or another user's
                continue
        if not found:
            return


class Guarded:
    """Below a guard process that adopts orphans: see guard.py. It misses a tree that kills its guard."""

    def __init__(self, program: Program) -> None:
        assert guard.__spec__.loader is not None
        source = guard.__spec__.loader.get_source(guard.__name__)  # type: ignore[attr-defined]  # files and zips do
        wrapper = [sys.executable, "-I", "-S", "-c", source, str(os.getpid())]
        self.child = program.spawn([*wrapper, *program.argv])

    async def end(self) -> None:
        self.child.signal(signal.SIGCONT)  # in case the command stopped it
        await self.child.end(GUARD_SECONDS)


class Namespace:
    """In a pid namespace: when its first process dies, the kernel kills all the others, with no exception.

    bwrap is the parent of that first process, which dies with it; bwrap dies with the executor. Two windows are
    closed here. If the executor dies before bwrap has asked to die with it, the command finds its *leash*, a pipe
    that the executor holds open, at its end, and does not start. If bwrap is killed while it sets up, the first
    process waits for a word from it for ever, so it is killed by the number that bwrap tells in *info*.
    """

    def __init__(self, prefix: tuple[str, ...], program: Program) -> None:
        self._info = os.memfd_create("bwrap-info")  # no pipe: writing must not kill bwrap when the executor is gone
        leash, self._leash = os.pipe()
        # Only bash can look at a pipe without waiting, and name a descriptor above 9.
        check = f"read -t 0 -u {leash} && exit 137; exec {leash}<&-; "
        argv = [*prefix, "--info-fd", str(self._info), "--", *program.after(check)]
        try:
            self.child = program.spawn(argv, fds=(self._info, leash))
        except BaseException:
            self._close()
            raise
        finally:
            os.close(leash)

    async def end(self) -> None:
        first = await self._first_process()
        await self.child.end()
        self._close()
        if first is not None:
            try:
                with trio.move_on_after(KILL_SECONDS):
                    await trio.lowlevel.wait_readable(first)  # it ends after all others of the namespace have
            finally:
                os.close(first)

    async def _first_process(self) -> int | None:
        """A pidfd of the namespace's first process; None if it is gone already, or pidfds are not to be had."""
        running = self.child.returncode is None
        with trio.move_on_after(SETUP_SECONDS):
            while not (told := self._told()) and running:  # noqa: ASYNC110  # a file has no events
                await trio.sleep(0.001)
        pidfd = open_pidfd(int(told[1])) if told else None
        if pidfd is not None and running:  # else bwrap saw it end, and soon the number may be another's
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        return pidfd

    def _told(self) -> re.Match[bytes] | None:
        return re.search(rb'"child-pid": (\d+)', os.pread(self._info, 200, 0))

    def _close(self) -> None:
        os.close(self._info)
        os.close(self._leash)
