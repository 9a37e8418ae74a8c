"""One executor, from spawn to reap, and whether it is well meanwhile.

It counts as dead when its stdout ends, when it exits, and when it does not answer although somebody waits for it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from agentd.daemon.launch import Launched, Start, launch
from agentd.daemon.launchfile import Identity, LaunchFile
from agentd.daemon.lines import Output
from agentd.daemon.plan import Plan
from agentd.domain import JobState
from agentd.errors import ExecutorFailed, NotStarted, StoreFailed, only_cause
from agentd.sandbox.child import Child
from agentd.store.home import SessionDir
from agentd.store.lines import parse_line
from agentd.wire.client import Address, Client
from agentd.wire.failure import HttpFailed
from agentd.wire.pool import PoolLimits

MOST_CALLS = 900  # to one executor at a time; its server takes some more connections than that
MISSED_BEATS = 3  # in a row, after which an executor is dead
Stage = Literal["starting", "live", "stopping"]
logger = logging.getLogger("agentd.executor")


class Life:
    """Its owner calls run() once, and sets *over* when it has drawn its conclusions."""

    def __init__(
        self,
        plan: Plan,
        session: SessionDir,
        workspace: Path,
        epoch: int,
        start: Start,
        on_stage: Callable[[Stage], object],
    ) -> None:
        self.output = Output(session.id)
        self.launched: Launched | None = None
        self.client: Client | None = None
        self.job: str | None = None  # that it was at work at when it was last asked
        self.refused: dict[str, int] = {}  # what it was offline for by then, and how often
        self.error: ExecutorFailed | None = None  # why it never lived
        self.death: str | None = None  # how it came to die, if nobody had asked for that
        self.finished_a_job = False  # known when it has died
        self.ending = False
        self.begun = trio.Event()  # it lives, or there is an error
        self.over = trio.Event()
        self._plan, self._session, self._workspace, self._epoch = plan, session, workspace, epoch
        self._start, self._on_stage = start, on_stage
        self._file = LaunchFile(session)
        self._processes: list[Identity] = []
        self._scope = trio.CancelScope()

    def end(self) -> None:
        """Begin to end it; nothing happens if that has begun, or if it is dead."""
        if not self.ending and not (self.launched is not None and self.launched.is_dead):
            self._leave()
            self._scope.cancel()

    async def run(self) -> None:
        """Whatever happens to an executor ends here: its neighbours live on."""
        size = _size(self._session.log_path)
        try:
            with self._scope:
                await self._live()
        except Exception as exc:
            self._fail(only_cause(exc))
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._clear_up, size)
            if self.client is not None:
                self.client.close()
            if not self.begun.is_set() and self.error is None:
                self.error = ExecutorFailed("the executor was stopped while it started")
            self.ending = True

    async def _live(self) -> None:
        plan, session = self._plan, self._session
        self._file.write(self._epoch, is_local=plan.launcher.is_local)
        async with launch(
            plan.argv(self._workspace),
            plan.hello(session, self._epoch),
            ready_seconds=plan.ready_seconds,
            launcher=plan.launcher,
            values=plan.launcher_values(session, self._epoch),
            env=plan.environment(session),
            start=self._start_and_note,
            output=self.output,
        ) as launched:
            self.launched = launched
            self.client = Client(Address.parse(launched.address), limits=PoolLimits(in_use=MOST_CALLS))
            self._note(Identity(launched.pid, launched.ready.starttime, launched.ready.boot_id))
            self._on_stage("live")
            self.begun.set()
            death = await self._watch(launched)
            self._leave()
        self.death = death

    async def _start_and_note(self, command: Sequence[str], env: Mapping[str, str]) -> Child:
        child = await self._start(command, env)
        self._note(Identity.of(child.pid))
        return child

    def _note(self, process: Identity) -> None:
        if process in self._processes:  # an executor without a launcher
            return
        self._processes.append(process)
        try:
            self._file.write(self._epoch, is_local=self._plan.launcher.is_local, processes=self._processes)
        except StoreFailed as exc:  # its leash still ends it when this daemon is killed
            self._warn(exc)

    def _leave(self) -> None:
        self.ending = True
        self._on_stage("stopping")

    # --- Whether it is well ---------------------------------------------------------------------------------------

    async def _watch(self, launched: Launched) -> str:
        """How it came to die, once it is dead, or has to be taken for dead."""
        deaths: list[str] = []

        async def wait_for(death: Callable[[], Awaitable[str]]) -> None:
            deaths.append(await death())
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, launched.wait_dead)
            nursery.start_soon(wait_for, partial(self._listen, launched))
        return deaths[0]

    async def _listen(self, launched: Launched) -> str:
        """Ask how it is while somebody waits for it or it has a job; return if it does not answer any more."""
        assert self.client is not None
        seen, missed, seconds = -1, 0, self._plan.heartbeat_seconds
        async with Client(Address.parse(launched.address), connect_seconds=2 * seconds) as client:
            while missed < MISSED_BEATS:
                await trio.sleep(seconds)
                if self.client.begun == seen and not self.client.under_way and self.job is None:
                    continue
                seen = self.client.begun
                missed = 0 if await self._is_well(client, launched.token, 2 * seconds) else missed + 1
        launched.kill()
        return f"it did not answer {MISSED_BEATS} times in a row{self.output.last_words()}"

    async def _is_well(self, client: Client, token: str, seconds: float) -> bool:
        headers = [("Authorization", f"Bearer {token}")]
        try:
            answer = await client.request("GET", "/_/health", headers=headers, seconds=seconds)
            told = json.loads(answer.body)
            job = told["job"]
            self.refused = {str(target): int(times) for target, times in told.get("refused", {}).items()}
        except HttpFailed:
            return False
        except (ValueError, LookupError, TypeError, AttributeError):  # it says nonsense, but it lives
            return True
        self.job = job if isinstance(job, str) else None
        return True

    # --- What is left of it ---------------------------------------------------------------------------------------

    def _fail(self, exc: Exception) -> None:
        match exc:
            case NotStarted():
                self.error = exc
                return
            case StoreFailed():
                self.error = NotStarted(str(exc))
                return
            case ExecutorFailed():
                self.error = exc
            case _:
                logger.error("supervising an executor failed", exc_info=exc, extra={"session": self._session.id})
                self.error = ExecutorFailed("supervising the executor failed")
        self.death = str(self.error)

    def _clear_up(self, size: int) -> None:
        """Remove what it left, and look whether it had finished a job: what was appended to a log of *size* bytes."""
        try:
            self._file.remove()
        except StoreFailed as exc:
            self._warn(exc)
        if self.death is not None:
            self.finished_a_job = _has_finished_job(self._session.log_path, size)

    def _warn(self, exc: StoreFailed) -> None:
        logger.warning("%s", exc, extra={"session": self._session.id})


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _has_finished_job(log: Path, size: int) -> bool:
    """Whether a job has come to an end, other than by a crash, in what was appended to a log of *size* bytes."""
    try:
        with log.open("rb") as file:
            file.seek(size)
            ends = [parse_line(line.rstrip(b"\n")) for line in file if b"job.finished" in line]
    except OSError:
        return False
    return any(
        end is not None and end["type"] == "job.finished" and end["data"].get("outcome") != JobState.INTERRUPTED
        for end in ends
    )
