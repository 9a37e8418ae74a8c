"""Starting one executor and keeping it: hello, ready, leash, and a death that is noticed. DESIGN, Executors.

Launchers are foreign programs: what they print before the ready line is noise, what they say on stderr is the only word
on why nothing happens, and their exit codes are hints. So an executor counts as dead when its stdout ends.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.config import PASS_ENV, tool_environment
from agentd.daemon.launchers import LOCAL, Launcher, launcher_command, launcher_environment
from agentd.daemon.leases import LEASE_SECONDS, HeldLease
from agentd.daemon.lines import Lines, Output
from agentd.domain import PROTOCOL, Hello, Ready
from agentd.errors import ExecutorFailed, InvalidRequest, NotStarted, only_cause
from agentd.sandbox.child import PIPE, Child, spawn
from agentd.sandbox.leash import STARTED, STOPPED
from agentd.wire import egress
from agentd.wire.typed import structure

LEASH_SECONDS = 25.0  # for an executor to end its job when its stdin ends: it may have a diff and a commit to write
TERM_SECONDS = 5.0
LINGER_SECONDS = 2.0  # for a launcher's helpers after it was killed: srun has one that cancels the job then
QUEUE_SECONDS = 3600.0  # for a launcher to start the executor
LAST_WORDS_SECONDS = 1.0  # between the end of stdout and the exit code, or the other way round
NO_VALUES: Mapping[str, str] = {}
Start = Callable[[Sequence[str], Mapping[str, str]], Awaitable[Child]]  # (command line, environment)
EXECUTOR_ENV = (*PASS_ENV, "AGENTD_DATA_DIR", "HARNESS_DATA_DIR", "XDG_*_HOME", "SSL_CERT_FILE", "SSL_CERT_DIR")


@attrs.frozen(eq=False)
class Launched:
    """An executor that takes requests at its address, until wait_dead() returns."""

    ready: Ready
    token: str = attrs.field(repr=False)
    _process: _Process

    @property
    def address(self) -> str:
        return self.ready.address

    @property
    def pid(self) -> int:
        return self.ready.pid

    @property
    def is_dead(self) -> bool:
        """Known earlier than why: wait_dead() gives its last words a moment to come."""
        return self._process.is_dying or self._process.ended.is_set()

    async def wait_dead(self) -> str:
        """Why it is dead, in words, once it is."""
        await self._process.ended.wait()
        return self._process.obituary()

    def kill(self) -> None:
        """Have it end at once: a local one by SIGKILL, a launcher by SIGTERM, which it has to pass on."""
        self._process.kill()


@asynccontextmanager
async def launch(
    argv: Sequence[str],
    hello: Hello,
    *,
    ready_seconds: float,
    launcher: Launcher = LOCAL,
    values: Mapping[str, str] = NO_VALUES,
    env: Mapping[str, str] | None = None,
    forked: Child | None = None,
    start: Start | None = None,
    output: Output | None = None,
) -> AsyncIterator[Launched]:
    """Start *argv* by *launcher*; leaving the block ends it: stdin is closed, then SIGTERM, then SIGKILL. One that was
    launched by a program in between and did not say that it stopped is waited for, as long as its lease lasts.

    What *hello* leaves empty (token, nonce file, parent, lease) is filled in. *values* are for the launcher's template,
    which has those of the hello. *env* is the whole environment; if it is None, that of executor_environment(); for a
    launcher a few names are added. *forked* is a local executor that waits for its hello already: nothing is started
    then. *start* starts it in another way than start_plainly(). *output* hears what it prints.
    Raises NotStarted; ExecutorFailed, with what stderr said: it was not ready within *ready_seconds*, or not what we
    expect. Behind a launcher these are counted from when it has started: before, it may have to queue.
    """
    hello = _fill_in(hello, launcher)
    environment = executor_environment() if env is None else env
    command: Sequence[str] = argv
    if not launcher.is_local:
        environment = launcher_environment(environment)
        command = launcher_command(launcher, argv, {**_told(hello), **values}, environment)
    with _nonce(Path(hello.nonce_file)) as nonce:
        child = forked or await (start or start_plainly)(command, environment)
        lease = None if launcher.is_local else HeldLease(hello.token, hello.lease or LEASE_SECONDS)
        process = _Process(child, output or Output(hello.session), lease)
        async with _own(process) as nursery:
            try:
                ready = await _shake_hands(process, hello, nonce, ready_seconds)
            finally:
                nursery.start_soon(process.watch_stdout)
            nursery.start_soon(process.watch_exit)
            if lease is not None:
                if not ready.address.startswith("unix:"):
                    egress.permit(ready.address)
                await lease.meet(ready)
                nursery.start_soon(process.keep_lease, lease)
            yield Launched(ready, hello.token, process)


def _fill_in(hello: Hello, launcher: Launcher) -> Hello:
    return attrs.evolve(
        hello,
        token=hello.token or secrets.token_urlsafe(32),
        nonce_file=hello.nonce_file or str(Path(hello.session_dir, "nonce")),
        parent=os.getpid() if launcher.is_local else None,
        lease=hello.lease if launcher.is_local else hello.lease or LEASE_SECONDS,
    )


def _told(hello: Hello) -> dict[str, str]:
    """For a launcher's template."""
    return {"session": hello.session, "session_dir": hello.session_dir, "epoch": str(hello.epoch)}


@contextmanager
def _nonce(path: Path) -> Iterator[str]:
    """A file of the session whose content only someone with the same file system can tell."""
    nonce = secrets.token_hex(16)
    try:
        path.unlink(missing_ok=True)
        path.touch(0o600)
        path.write_text(nonce)
    except OSError as exc:
        raise NotStarted(f"{path} could not be written: {exc.strerror}") from exc
    try:
        yield nonce
    finally:
        path.unlink(missing_ok=True)


# --- The handshake ------------------------------------------------------------------------------------------------


async def _shake_hands(process: _Process, hello: Hello, nonce: str, seconds: float) -> Ready:
    """Say hello, and wait for the ready line. Raises ExecutorFailed."""
    try:
        with trio.fail_after(seconds if process.lease is None else QUEUE_SECONDS) as scope:
            await process.tell(json.dumps(attrs.asdict(hello)).encode() + b"\n")
            while (line := await process.stdout.next()) is not None:
                if (told := _ready_in(line)) is not None:
                    process.was_ready = True
                    return _check(told, hello, nonce)
                process.hear(line)
                if process.lease is not None and process.lease.started is not None:
                    scope.deadline = process.lease.started + seconds
    except trio.TooSlowError:
        raise ExecutorFailed(f"the executor {_late(process, seconds)}{process.output.last_words()}") from None
    await process.finish()
    raise ExecutorFailed(f"the executor did not start: {process.obituary()}")


def _late(process: _Process, seconds: float) -> str:
    if process.lease is not None and process.lease.started is None:
        return f"was not started within {QUEUE_SECONDS:g} s"
    return f"was not ready within {seconds:g} s"


def _ready_in(line: str) -> Mapping[str, Any] | None:
    """What a ready line tells; None for a launcher's noise."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    told = value.get("ready") if isinstance(value, dict) else None
    return told if isinstance(told, dict) else None


def _check(told: Mapping[str, Any], hello: Hello, nonce: str) -> Ready:
    if told.get("protocol") != PROTOCOL:
        raise ExecutorFailed(
            f"the executor speaks protocol {told.get('protocol')}, and this daemon {PROTOCOL}: "
            "both sides have to run the same agentd.pyz"
        )
    try:
        ready = structure(told, Ready)
    except InvalidRequest as exc:
        raise ExecutorFailed(f"the executor's ready line does not say what it has to: {exc}") from exc
    if ready.nonce != nonce:
        raise ExecutorFailed(
            f"the executor does not see the same {hello.session_dir}: the session's directory and the workspace "
            "have to be the same paths where it runs"
        )
    return ready


# --- The process --------------------------------------------------------------------------------------------------


class _Process:
    """The executor; or the launcher in front of it, then there is a *lease*."""

    def __init__(self, child: Child, output: Output, lease: HeldLease | None) -> None:
        assert child.stdout is not None
        assert child.stderr is not None
        self.child = child
        if lease is not None:
            child.linger_seconds = LINGER_SECONDS
        self.output = output
        self.stdout = Lines(child.stdout)
        self.ended = trio.Event()
        self.is_dying = False
        self.was_ready = False
        self.lease = lease
        self._killed = False
        self._silent: str | None = None  # why it has to be taken for dead, if that is so
        self._stdout_ended = trio.Event()
        self._stderr = Lines(child.stderr)
        self._stderr_ended = trio.Event()

    async def tell(self, line: bytes) -> None:
        assert self.child.stdin is not None
        try:
            await self.child.stdin.send_all(line)
        except trio.BrokenResourceError:  # it is dead, and will say why elsewhere
            return

    def kill(self) -> None:
        self._killed = True
        self.child.signal(signal.SIGKILL if self.lease is None else signal.SIGTERM)

    async def finish(self) -> None:
        """Give it a moment to exit and to say its last words, now that its end is certain."""
        with trio.move_on_after(LAST_WORDS_SECONDS):
            await self.child.wait()
            await self._stderr_ended.wait()

    def obituary(self) -> str:
        code = self.child.returncode
        if self._silent is not None:
            how = self._silent
        elif code is None:
            how = "its standard output ended"
        else:
            how = f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
        return how + self.output.last_words()

    def hear(self, line: str) -> None:
        """A line of its standard output, other than that it is ready."""
        if self.lease is not None and line == STARTED:
            self.lease.begin()
        elif self.lease is not None and line == STOPPED:
            self.lease.end()
        else:
            self.output.hear_noise(line)

    async def say_goodbye(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        in_order = self.was_ready and not self._killed and not self.ended.is_set()
        with trio.move_on_after(LEASH_SECONDS if in_order else LAST_WORDS_SECONDS):
            await self._wait_ended()
        await self.child.end(TERM_SECONDS)
        await self.finish()
        if self.lease is not None:
            await self.lease.wait_over()
        self.ended.set()

    async def _wait_ended(self) -> None:
        """Until it exits; a launcher may linger when what it launched has ended, as ssh does over an open tunnel."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._wait_lingering, nursery.cancel_scope)
            await self.child.wait()
            nursery.cancel_scope.cancel()

    async def _wait_lingering(self, scope: trio.CancelScope) -> None:
        await self._stdout_ended.wait()
        await trio.sleep(LAST_WORDS_SECONDS)
        scope.cancel()

    async def keep_status(self) -> None:
        with trio.CancelScope(shield=True):  # also while it is being ended: a full pipe would stop it
            await self._stderr.drain(self.output, self.output.hear_status)
        self._stderr_ended.set()

    async def watch_stdout(self) -> None:
        """Set *ended* at the end of its stdout."""
        with trio.CancelScope(shield=True):  # as above
            await self.stdout.drain(self.output, self.hear)
        self._stdout_ended.set()
        self.is_dying = True
        await self.finish()
        self.ended.set()

    async def watch_exit(self) -> None:
        """Set *ended* at its exit."""
        await self.child.wait()
        self.is_dying = True
        await self.finish()
        self.ended.set()

    async def keep_lease(self, lease: HeldLease) -> None:
        """Set *ended* at the end of its lease."""
        silence = await lease.keep()
        self._silent = None if lease.has_ended else silence
        self.ended.set()


def executor_environment() -> dict[str, str]:
    """What commands may see of our environment, and where data and certificates are."""
    return tool_environment(EXECUTOR_ENV, {})


async def start_plainly(command: Sequence[str], env: Mapping[str, str]) -> Child:
    """A child with three pipes. Raises NotStarted."""
    try:
        return spawn(command, env=env, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    except OSError as exc:
        raise NotStarted(f"{command[0]} could not be started: {exc.strerror}") from exc


@asynccontextmanager
async def _own(process: _Process) -> AsyncIterator[trio.Nursery]:
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(process.keep_status)
            try:
                yield nursery
            finally:
                with trio.CancelScope(shield=True):  # bounded inside
                    await process.say_goodbye()
                process.child.close()  # which ends the tasks that read from it
                nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None
