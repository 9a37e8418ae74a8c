"""The executors of a daemon. Each has a seat, which outlives it: a session's place for one executor at a time.

An executor has one task that owns it; who wants one waits for that task. DESIGN, Executors.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from agentd.daemon.forks import ForkFailed, Forks, is_supported, open_forks
from agentd.daemon.launch import Launched, start_plainly
from agentd.daemon.launchfile import Reaped, reap_leftovers
from agentd.daemon.life import Life, Stage
from agentd.daemon.plan import Plan
from agentd.errors import ExecutorFailed, only_cause
from agentd.sandbox.child import Child
from agentd.store.home import SessionDir
from agentd.wire.client import Client

__all__ = ["Plan", "Reaped", "Seat", "Seats", "open_seats", "reap_leftovers"]

DEATHS = 3  # without a finished job in between, after which there is no further try
State = Literal["absent"] | Stage
logger = logging.getLogger("agentd.executor")


@asynccontextmanager
async def open_seats(plan: Plan) -> AsyncIterator[Seats]:
    """Seats without executors, on the main thread. Leaving the block ends the executors, all at once."""
    try:
        async with AsyncExitStack() as stack:
            forks = None
            if plan.forks and plan.launcher.is_local and is_supported():
                forks = await stack.enter_async_context(open_forks(plan))
            nursery = await stack.enter_async_context(trio.open_nursery())
            yield Seats(plan, nursery, forks)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None


class Seats:
    """The seats of all sessions. It owns their executors."""

    def __init__(self, plan: Plan, nursery: trio.Nursery, forks: Forks | None) -> None:
        self.plan = plan
        self.forks = forks
        self._nursery = nursery
        self._seats: dict[str, Seat] = {}
        self.refused: Counter[str] = Counter()  # by executors that have ended: what they were offline for
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

    # --- For seats ------------------------------------------------------------------------------------------------

    def tell(self, seat: Seat) -> None:
        for callback in tuple(self._callbacks):
            callback(seat)

    def own(self, seat: Seat, life: Life) -> None:
        self._nursery.start_soon(seat.host, life)

    async def start(self, workspace: Path, command: Sequence[str], env: Mapping[str, str]) -> Child:
        """An executor that waits for its hello, or the launcher's *command*. Raises NotStarted."""
        if self.forks is not None:
            try:
                return await self.forks.fork(self.plan.executor_words(workspace), env)
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
        self._life: Life | None = None
        self._is_retired = False
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
    def refused(self) -> Mapping[str, int]:
        """What the executor was offline for, by target and how often, when it was last asked."""
        return self._life.refused if self._life is not None else {}

    @property
    def job(self) -> str | None:
        """The id of the job that it was at work at when it was last asked: up to a heartbeat ago."""
        return self._life.job if self._life is not None else None

    async def up(self) -> Launched:
        """The executor, launched now if it does not live. Whoever asks meanwhile gets the same one; who is cancelled
        does not cancel it for the others.

        Raises ExecutorFailed, with how it ended and what it said last: it was not ready in time, or it died; or it
        died three times without finishing a job in between, and then nothing is tried before forgive(). NotStarted:
        there was no process, which does not count as a death.
        """
        while True:
            life = self._life or self._begin()
            if not life.ending:
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

    def retire(self) -> None:
        """There will be no further executor here: the session goes. up() raises ExecutorFailed from now on."""
        self._is_retired = True

    def forgive(self) -> None:
        """Let up() try again."""
        self.crashes = 0

    async def host(self, life: Life) -> None:
        """The task that owns an executor."""
        try:
            await life.run()
        finally:
            self._life = None
            self._seats.refused.update(life.refused)
            if life.finished_a_job:
                self.crashes = 0
            if life.death is not None:
                self.crashes += 1
                self.obituary = life.death
                logger.warning("the executor died: %s", life.death, extra={"session": self.session.id})
            self._enter("absent")
            life.begun.set()
            life.over.set()

    def _begin(self) -> Life:
        if self._is_retired:
            raise ExecutorFailed("the session is being removed")
        if self.crashes >= DEATHS:
            raise ExecutorFailed(
                f"the executor died {self.crashes} times without finishing a job in between, "
                f"and is not started again; at last: {self.obituary}"
            )
        self._epoch += 1
        start = partial(self._seats.start, self.workspace)
        life = Life(self._seats.plan, self.session, self.workspace, self._epoch, start, self._enter)
        self._life, self._words = life, life.output.words
        self._enter("starting")
        self._seats.own(self, life)
        return life

    def _enter(self, state: State) -> None:
        self.state, self.since = state, _now()
        self._seats.tell(self)


def _now() -> int:
    return int(time.time() * 1000)
