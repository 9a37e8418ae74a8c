"""The daemon's side of its fork server: see sandbox/forkserver.py. Linux only.

It is started ahead of need, and anew when it has died. The daemon is the child subreaper of what is forked, and so of
whatever else loses its parent below: what nobody waits for is reaped here.
"""

from __future__ import annotations

import array
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from pathlib import Path

import trio
from trio.lowlevel import FdStream

from agentd.daemon.plan import Plan
from agentd.sandbox import guard
from agentd.sandbox.child import DEVNULL, Child, spawn
from agentd.sandbox.fork import Forked
from agentd.sandbox.forkserver import decode_answer, encode_order

ANSWER_SECONDS = 10.0  # it has to import everything before the first one
ANSWER_BYTES = 4096
TRIES = 3  # that failed one after another, after which there is no further one
STRAY_SECONDS = 5.0
STDERR = 2
logger = logging.getLogger(__name__)


class ForkFailed(Exception):
    """There is no fork server, or it could not fork. Start a process in the plain way."""


@asynccontextmanager
async def open_forks(plan: Plan) -> AsyncIterator[Forks]:
    """A fork server for the length of the block, on the main thread. What it forked does not end with it."""
    guard.prctl(guard.PR_SET_CHILD_SUBREAPER, 1)
    try:
        async with trio.open_nursery() as nursery:
            forks = Forks(plan, nursery)
            forks.start_ahead()
            nursery.start_soon(reap_strays)
            try:
                yield forks
            finally:
                forks.close()
                nursery.cancel_scope.cancel()
    finally:
        guard.prctl(guard.PR_SET_CHILD_SUBREAPER, 0)


class Forks:
    """One fork server after another."""

    def __init__(self, plan: Plan, nursery: trio.Nursery) -> None:
        self._plan = plan
        self._nursery = nursery
        self._asking = trio.Lock()
        self._channel: trio.socket.SocketType | None = None
        self._failures = 0
        self._server: Child | None = None

    @property
    def pid(self) -> int | None:
        """The server's, if there is one."""
        return self._server.pid if self._server is not None else None

    def start_ahead(self) -> None:
        """Start the server, if there is none, so that the first who needs it does not wait."""
        try:
            self._start()
        except OSError as exc:
            logger.warning("the fork server could not be started: %s", exc)

    def _start(self) -> None:
        """Raises OSError."""
        if self._channel is not None:
            return
        if self._failures >= TRIES:
            raise OSError(f"the fork server failed {TRIES} times in a row")
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as undo, closing(theirs):
            undo.callback(ours.close)
            argv = self._plan.program("executor", "--fork-server", str(os.getpid()))
            child = spawn(argv, env=self._plan.inherited, stdin=theirs.fileno(), stdout=DEVNULL, stderr=STDERR)
            undo.pop_all()
        self._channel, self._server = trio.socket.from_stdlib_socket(ours), child
        self._nursery.start_soon(self._own, child)

    async def fork(self, words: Sequence[str], env: Mapping[str, str]) -> Child:
        """A process that runs `agentd executor WORDS…`. Not to be cancelled, but bounded. Raises ForkFailed."""
        with trio.CancelScope(shield=True):  # or its answer would be taken for the next one's
            async with self._asking:
                child = await self._fork(words, env)
        return child

    def close(self) -> None:
        """End the server."""
        if self._channel is not None and self._server is not None:
            self._channel.close()
            self._server.signal(signal.SIGKILL)  # it has nothing to lose, and may be stopped
        self._channel = self._server = None

    async def _fork(self, words: Sequence[str], env: Mapping[str, str]) -> Child:
        try:
            self._start()
            with ExitStack() as ours:
                child_ends, streams = _pipes(ours)
                try:
                    answer = await self._ask(encode_order(words, env), child_ends)
                finally:
                    for fd in child_ends:
                        os.close(fd)
                child = Child(_own_child(decode_answer(answer)), *streams)
                ours.pop_all()
        except (OSError, trio.TooSlowError, trio.ClosedResourceError, ValueError) as exc:
            raise ForkFailed(str(exc) or "the fork server does not answer") from exc
        self._failures = 0
        return child

    async def _ask(self, order: bytes, fds: Sequence[int]) -> bytes:
        """Raises OSError, TooSlowError, ClosedResourceError: then there is no server any more."""
        channel = self._channel
        assert channel is not None
        try:
            with trio.fail_after(ANSWER_SECONDS):
                await channel.sendmsg([order], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))])
                answer = await channel.recv(ANSWER_BYTES)
            if not answer:
                raise ConnectionResetError("the fork server died")
        except BaseException:
            self._failures += 1
            self.close()
            raise
        return answer

    async def _own(self, server: Child) -> None:
        try:
            code = await server.wait()
            if self._server is server:
                logger.warning("the fork server ended with exit code %d", code)
                self.close()
        finally:
            with trio.CancelScope(shield=True):
                await server.end()


def _pipes(ours: ExitStack) -> tuple[list[int], list[FdStream]]:
    """The child's ends of its three standard streams, and our ends. Raises OSError."""
    theirs: list[int] = []
    with ExitStack() as undo:
        streams = []
        for number in range(3):
            reader, writer = os.pipe()
            child_end, our_end = (reader, writer) if number == 0 else (writer, reader)
            undo.callback(os.close, child_end)
            theirs.append(child_end)
            streams.append(FdStream(our_end))
            ours.callback(streams[-1].close)
        undo.pop_all()
    return theirs, streams


def _own_child(pid: int) -> Forked:
    """Raises ChildProcessError if it is not ours, so that we could not wait for it."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return Forked(pid)


async def reap_strays() -> None:
    """Reap what has become our child by losing its parent. Somebody waits for each of our own children, so those that
    are dead at two looks are nobody's."""
    seen: set[int] = set()
    while True:
        await trio.sleep(STRAY_SECONDS)
        dead = _dead()
        await trio.lowlevel.checkpoint()  # whoever waits for one may have been woken together with us
        for pid in dead & seen:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)  # noqa: ASYNC222  # it is dead: this does not wait
        seen = dead - seen


def _dead() -> set[int]:
    """Children that are dead and were not reaped; one of them where the kernel was built without lists of children."""
    first = _is_dead(os.P_ALL, 0)
    return {first, *(pid for pid in _children() if _is_dead(os.P_PID, pid))} if first else set()


def _is_dead(kind: int, pid: int) -> int:
    """The pid of a child that is dead and was not reaped; 0 if there is none."""
    try:
        result = os.waitid(kind, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return 0
    return result.si_pid if result is not None else 0


def _children() -> list[int]:
    """Of each of our threads: proc_pid_task(5)."""
    found: list[int] = []
    for listed in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # that thread has ended
            found += map(int, listed.read_bytes().split())
    return found


def is_supported() -> bool:
    """Whether forking is safe here."""
    return sys.platform == "linux"
