"""The executors of a daemon. Each has a seat, which outlives it: a session's place for one executor at a time.

An executor has one task that owns it, from spawn to reap; who wants one waits for that task. It counts as dead when its
stdout ends, when it exits, and when it does not answer although somebody waits for it. DESIGN, Executors.
"""

from __future__ import annotations

import json
import logging
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import attrs
import trio

from agentd.daemon.forks import ForkFailed, Forks, is_supported, open_forks
from agentd.daemon.launch import Launched, executor_environment, launch, start_plainly
from agentd.daemon.launchers import LOCAL, Launcher
from agentd.daemon.launchfile import Identity, LaunchFile, Reaped, reap_leftovers
from agentd.daemon.lines import Output
from agentd.domain import Hello, JobState
from agentd.errors import ExecutorFailed, NotStarted, StoreFailed, only_cause
from agentd.providers.settings import Catalog
from agentd.sandbox.child import Child
from agentd.sandbox.reexec import own_argv
from agentd.store.home import SessionDir
from agentd.store.lines import parse_line
from agentd.wire.client import Address, Client
from agentd.wire.failure import HttpFailed

__all__ = ["Plan", "Reaped", "Seat", "Seats", "open_seats", "reap_leftovers"]

DEATHS = 3  # without a finished job in between, after which there is no further try
MISSED_BEATS = 3  # in a row, after which an executor is dead
State = Literal["absent", "starting", "live", "stopping"]
logger = logging.getLogger("agentd.executor")


@attrs.frozen
class Plan:
    """How executors are started. *words* follow `agentd executor --supervised --workspace-dir …`."""

    words: Sequence[str] = ()
    catalog: Catalog = attrs.field(factory=Catalog, repr=False)  # has keys
    launcher: Launcher = LOCAL
    ready_seconds: float = 30.0
    heartbeat_seconds: float = 5.0  # between two; an answer may take twice as long
    values: Mapping[str, str] = attrs.field(factory=dict)  # for the launcher's template: mgr, run_dir, callback

    def argv(self, workspace: Path) -> list[str]:
        return own_argv("executor", *self.executor_words(workspace))

    def executor_words(self, workspace: Path) -> list[str]:
        return ["--supervised", "--workspace-dir", str(workspace), *self.words]

    def hello(self, session: SessionDir, epoch: int) -> Hello:
        providers = attrs.asdict(self.catalog) if self.catalog != Catalog() else {}
        return Hello(session.id, str(session.path), epoch=epoch, providers=providers)


@asynccontextmanager
async def open_seats(plan: Plan) -> AsyncIterator[Seats]:
    """Seats without executors. Leaving the block ends the executors, all at once."""
    async with AsyncExitStack() as stack:
        forks = None
        if plan.launcher.is_local and is_supported():
            forks = await stack.enter_async_context(open_forks())
            forks.start()
        nursery = await stack.enter_async_context(trio.open_nursery())
        yield Seats(plan, nursery, forks)
        nursery.cancel_scope.cancel()


class Seats:
    """The seats of all sessions. It owns their executors."""

    def __init__(self, plan: Plan, nursery: trio.Nursery, forks: Forks | None) -> None:
        self.plan = plan
        self._nursery = nursery
        self._forks = forks
        self._seats: dict[str, Seat] = {}
        self._callbacks: list[Callable[[Seat], object]] = []

    def seat(self, session: SessionDir, workspace: Path) -> Seat:
        """The session's seat, made if there is none."""
        if session.id not in self._seats:
            self._seats[session.id] = Seat(self, session, workspace)
        return self._seats[session.id]

    def __iter__(self) -> Iterator[Seat]:
        return iter(tuple(self._seats.values()))

    def forget(self, session_id: str) -> None:
        """Of a session that is gone. Its executor has to be down."""
        self._seats.pop(session_id, None)

    def subscribe(self, callback: Callable[[Seat], object]) -> Callable[[], None]:
        """*callback* is called after each change of a seat's state. What this returns ends that."""
        self._callbacks.append(callback)
        return lambda: self._callbacks.remove(callback)

    def tell(self, seat: Seat) -> None:
        for callback in tuple(self._callbacks):
            callback(seat)

    def own(self, life: _Life) -> None:
        self._nursery.start_soon(life.run)

    async def start(self, workspace: Path, command: Sequence[str], env: Mapping[str, str]) -> Child:
        """An executor that waits for its hello, or the launcher's *command*. Raises NotStarted."""
        if self._forks is not None:
            try:
                return await self._forks.fork(self.plan.executor_words(workspace), env)
            except ForkFailed as exc:
                logger.info("started without the fork server: %s", exc)
        return await start_plainly(command, env)


class Seat:
    """One session's place for an executor."""

    def __init__(self, seats: Seats, session: SessionDir, workspace: Path) -> None:
        self.session = session
        self.workspace = workspace
        self.state: State = "absent"
        self.since = _now()  # of the state, epoch ms
        self.crashes = 0  # deaths that nobody had asked for, since a job was finished last
        self.obituary: str | None = None  # of the last executor that died so
        self._seats = seats
        self._life: _Life | None = None
        self._epoch = 0
        self._words: deque[str] = deque()

    @property
    def launched(self) -> Launched | None:
        """The executor while it lives."""
        return self._life.launched if self._life is not None and self.state == "live" else None

    @property
    def words(self) -> deque[str]:
        """The last lines of its standard error; while it starts, this is what a launcher says of the queue."""
        return self._words

    @property
    def job(self) -> str | None:
        """The id of the job that it was at work at when it was last asked: up to a heartbeat ago."""
        return self._life.job if self._life is not None else None

    async def up(self) -> Launched:
        """The executor, launched now if it does not live. Whoever asks meanwhile gets the same one; who is cancelled
        does not cancel it for the others.

        Raises ExecutorFailed, with how it ended and what it said last: it was not ready in time, or it died; or it
        died three times without finishing a job in between. Then nothing is tried before forgive(); NotStarted: there
        was no process.
        """
        while True:
            life = self._life
            if life is None:
                life = self._begin()
            if life.ending:
                await life.over.wait()
                continue
            await life.begun.wait()
            if life.error is not None:
                raise type(life.error)(str(life.error))
            if life.launched is not None and not life.launched.is_dead:
                return life.launched
            await life.over.wait()

    def client(self) -> Client:
        """For requests to the executor: they need its token, `seat.launched.token`. Raises ExecutorFailed."""
        if self.launched is None or self._life is None or self._life.client is None:
            raise ExecutorFailed("the executor does not run")
        return self._life.client

    async def down(self) -> None:
        """End the executor, which gets the time to write its job's end; return when it is dead and reaped."""
        if (life := self._life) is not None:
            life.end()
            await life.over.wait()

    async def kill(self) -> None:
        """The same at once."""
        if (life := self._life) is not None:
            life.end()
            if life.launched is not None:
                life.launched.kill()
            await life.over.wait()

    def forgive(self) -> None:
        """Let up() try again."""
        self.crashes = 0

    def _begin(self) -> _Life:
        if self.crashes >= DEATHS:
            raise ExecutorFailed(
                f"the executor died {self.crashes} times without finishing a job in between, "
                f"and is not started again; at last: {self.obituary}"
            )
        self._epoch += 1
        life = self._life = _Life(self, self._seats, self._epoch)
        self._words = life.output.words
        self.enter("starting")
        self._seats.own(life)
        return life

    # --- For the task that owns the executor ----------------------------------------------------------------------

    def enter(self, state: State) -> None:
        self.state, self.since = state, _now()
        self._seats.tell(self)

    def bury(self, death: str | None, *, finished_a_job: bool) -> None:
        """The executor is reaped. *death*: how it came to die, if nobody had asked for that."""
        self._life = None
        if finished_a_job:
            self.crashes = 0
        if death is not None:
            self.crashes += 1
            self.obituary = death
            logger.warning("the executor died: %s", death, extra={"session": self.session.id})
        self.enter("absent")


class _Life:
    """One executor, spawn to reap."""

    def __init__(self, seat: Seat, seats: Seats, epoch: int) -> None:
        self.output = Output(seat.session.id)
        self.launched: Launched | None = None
        self.client: Client | None = None
        self.job: str | None = None
        self.error: ExecutorFailed | None = None  # why it never lived
        self.ending = False
        self.begun = trio.Event()  # it lives, or there is an error
        self.over = trio.Event()
        self._seat, self._seats, self._plan, self._epoch = seat, seats, seats.plan, epoch
        self._file = LaunchFile(seat.session)
        self._scope = trio.CancelScope()
        self._processes: list[Identity] = []
        self._death: str | None = None

    def end(self) -> None:
        """Begin to end it; nothing happens the second time."""
        if not self.ending and not (self.launched is not None and self.launched.is_dead):
            self._leave()
            self._scope.cancel()

    async def run(self) -> None:
        """Whatever happens to an executor ends here: its neighbours live on."""
        size = _size(self._seat.session.log_path)
        finished = False
        try:
            with self._scope:
                await self._live()
        except Exception as exc:
            self._fail(only_cause(exc))
        finally:
            with trio.CancelScope(shield=True):
                finished = await trio.to_thread.run_sync(self._clear_up, size)
            self._close(finished)

    async def _live(self) -> None:
        seat, plan = self._seat, self._plan
        self._file.write(self._epoch, is_local=plan.launcher.is_local)
        async with launch(
            plan.argv(seat.workspace),
            plan.hello(seat.session, self._epoch),
            ready_seconds=plan.ready_seconds,
            launcher=plan.launcher,
            values={**plan.values, "session": seat.session.id, "epoch": str(self._epoch)},
            env=self._environment(),
            start=self._start,
            output=self.output,
        ) as launched:
            self.launched = launched
            self.client = Client(Address.parse(launched.address))
            self._note(Identity(launched.pid, launched.ready.starttime, launched.ready.boot_id))
            seat.enter("live")
            self.begun.set()
            death = await self._watch(launched)
            self._leave()
        self._death = death

    def _environment(self) -> dict[str, str]:
        """The data directory is named, so that an executor knows what is off limits for tools."""
        return {**executor_environment(), "AGENTD_DATA_DIR": str(self._seat.session.path.parent.parent)}

    async def _start(self, command: Sequence[str], env: Mapping[str, str]) -> Child:
        child = await self._seats.start(self._seat.workspace, command, env)
        self._note(Identity.of(child.pid))
        return child

    def _note(self, *processes: Identity) -> None:
        self._processes = [*self._processes, *(each for each in processes if each not in self._processes)]
        try:
            self._file.write(self._epoch, is_local=self._plan.launcher.is_local, processes=self._processes)
        except StoreFailed as exc:  # its leash still ends it when this daemon is killed
            logger.warning("%s", exc, extra={"session": self._seat.session.id})

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
            job = json.loads(answer.body)["job"]
        except HttpFailed:
            return False
        except (ValueError, LookupError, TypeError):  # it says nonsense, but it lives
            return True
        self.job = job if isinstance(job, str) else None
        return True

    def _leave(self) -> None:
        self.ending = True
        self._seat.enter("stopping")

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
                logger.error("supervising an executor failed", exc_info=exc, extra={"session": self._seat.session.id})
                self.error = ExecutorFailed("supervising the executor failed")
        self._death = str(self.error)

    def _clear_up(self, size: int) -> bool:
        """Remove what it left. Whether it had finished a job, by what was appended to a log of *size* bytes."""
        try:
            self._file.remove()
        except StoreFailed as exc:
            logger.warning("%s", exc, extra={"session": self._seat.session.id})
        return self._death is not None and _has_finished_job(self._seat.session.log_path, size)

    def _close(self, finished_a_job: bool) -> None:
        if self.client is not None:
            self.client.close()
        if not self.begun.is_set() and self.error is None:
            self.error = ExecutorFailed("the executor was stopped while it started")
        self.ending = True
        self._seat.bury(self._death, finished_a_job=finished_a_job)
        self.begun.set()
        self.over.set()


def _now() -> int:
    return int(time.time() * 1000)


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
