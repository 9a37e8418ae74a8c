"""Child processes of agentd, spawn to reap. What a child may not do is decided elsewhere (contain.py).

Everything happens on the calling thread, which must be the main one. trio.open_process spawns from a short-lived
worker thread, and a parent-death signal (bwrap --die-with-parent, our executors) fires when the spawning *thread*
ends: about ten seconds later. There is no preexec_fn: it would run Python in a fork of a process with threads.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Protocol

import trio
from trio.lowlevel import FdStream

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Child", "open_child", "spawn"]

POLL_SECONDS = 0.02  # between two looks at a child, on systems without pidfd
KILL_SECONDS = 5.0  # for the kernel to end what was sent SIGKILL; only a process stuck in a device takes that long
CHUNK = 65536  # what a pipe holds on Linux


class Process(Protocol):
    """What of subprocess.Popen is used here."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None: ...
    def wait(self) -> int: ...


class Child:
    """One process, the leader of a session and group of its own. Made by spawn()."""

    def __init__(
        self,
        process: Process,
        stdin: FdStream | None,
        stdout: FdStream | None,
        stderr: FdStream | None,
    ) -> None:
        self.pid = process.pid
        self.stdin, self.stdout, self.stderr = stdin, stdout, stderr
        self.linger_seconds = 0.0  # that others of its group have when it has ended
        self._process = process
        self._pidfd = open_pidfd(process.pid)
        self._waiting = trio.Lock()  # trio lets only one task wait for a descriptor

    @property
    def returncode(self) -> int | None:
        """The exit code, -n for signal n, None until wait() or end() has seen it."""
        return self._process.returncode

    async def wait(self) -> int:
        """The returncode, once the process has ended. What is left of its group after *linger_seconds* is killed before
        it is reaped."""
        async with self._waiting:
            if self._process.returncode is None:
                await self._exited()
                with trio.move_on_after(self.linger_seconds):
                    await self._alone()
                self.signal(signal.SIGKILL)  # now, while its zombie keeps the group's number from becoming another's
                self._process.wait()
                self._forget_pidfd()
        return self._process.wait()  # at once: it was reaped

    async def _exited(self) -> None:
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
            return
        while self._process.poll() is None:  # noqa: ASYNC110  # there is no event to wait for
            await trio.sleep(POLL_SECONDS)

    async def _alone(self) -> None:
        while any(members(self.pid)):  # noqa: ASYNC110  # there is no event to wait for
            await trio.sleep(POLL_SECONDS)

    def signal(self, number: int) -> None:
        """Send a signal to the whole group. Nothing happens when its leader was reaped."""
        if self._process.returncode is not None:
            return
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):  # gone; macOS answers EPERM for a group of zombies
            pass

    async def end(self, grace: float = 0.0) -> None:
        """End the group and reap its leader: SIGTERM, *grace* seconds, SIGKILL. Bounded, so it may be shielded."""
        if grace:
            self.signal(signal.SIGTERM)
            with trio.move_on_after(grace):
                await self.wait()
        self.signal(signal.SIGKILL)
        with trio.move_on_after(KILL_SECONDS):
            await self.wait()

    def close(self) -> None:
        """Close our ends of its pipes."""
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()

    def _forget_pidfd(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None


def members(group: int) -> Iterator[int]:
    """The processes of a group that have not ended; none where the system does not say."""
    proc = Path("/proc")
    for name in filter(str.isdigit, os.listdir(proc) if proc.is_dir() else ()):  # noqa: PTH208 - names are all we need
        with suppress(OSError):  # it is gone meanwhile
            # Asked first, as it is one system call: every command waits for this, and there may be many processes.
            if os.getpgid(int(name)) != group:
                continue
            if (proc / name / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX":
                yield int(name)


def open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):  # not Linux, or older than 5.3, or a seccomp policy that does not know it
        return None


def spawn(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str],
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    stderr: int = DEVNULL,
    pass_fds: Iterable[int] = (),
) -> Child:
    """Start a process in a session of its own. Raises OSError when there is no such program or directory.

    *env* is its whole environment. The streams are a descriptor, or DEVNULL, PIPE, STDOUT as in subprocess; a PIPE
    is ours to read or write as `child.stdout` and so on. No other descriptor is inherited except *pass_fds*.
    """
    with ExitStack() as theirs, ExitStack() as undo:
        child_in, stdin_stream = _pipe(stdin, theirs, undo, ours_is_the_reader=False)
        child_out, stdout_stream = _pipe(stdout, theirs, undo, ours_is_the_reader=True)
        child_err, stderr_stream = _pipe(stderr, theirs, undo, ours_is_the_reader=True)
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env=env,
            stdin=child_in,
            stdout=child_out,
            stderr=child_err,
            pass_fds=tuple(pass_fds),
            start_new_session=True,
        )
        undo.pop_all()
        return Child(process, stdin_stream, stdout_stream, stderr_stream)


def _pipe(wanted: int, theirs: ExitStack, undo: ExitStack, *, ours_is_the_reader: bool) -> tuple[int, FdStream | None]:
    """What the child gets for one stream, and our end of it. *theirs* closes the child's end when it has it."""
    if wanted != PIPE:
        return wanted, None
    reader, writer = os.pipe()
    ours, child_end = (reader, writer) if ours_is_the_reader else (writer, reader)
    theirs.callback(os.close, child_end)
    stream = FdStream(ours)
    undo.callback(stream.close)
    return child_end, stream


@asynccontextmanager
async def open_child(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str],
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    stderr: int = DEVNULL,
    pass_fds: Iterable[int] = (),
    grace: float = 0.0,
) -> AsyncIterator[Child]:
    """A child that does not outlive the block: see spawn() and Child.end()."""
    child = spawn(argv, cwd=cwd, env=env, stdin=stdin, stdout=stdout, stderr=stderr, pass_fds=pass_fds)
    try:
        yield child
    finally:
        with trio.CancelScope(shield=True):
            await child.end(grace)
        child.close()
