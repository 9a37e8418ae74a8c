"""Commands that run on while the model does other things. They belong to one job, and none outlives it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager, closing
from pathlib import Path

import attrs
import trio

from agentd.errors import ToolFailed
from agentd.sandbox.contain import Containment, run_command
from agentd.sandbox.ring import Ring

MAX_RUNNING = 8
TITLE_CHARACTERS = 80
MAX_KEPT = 32  # whose output can be asked for, running or not


@attrs.define(eq=False)
class Shell:
    """One command in the background, and what it has said."""

    id: str
    command: str
    ring: Ring
    reading: trio.Lock = attrs.field(factory=trio.Lock)  # held from unread() to passed()
    exit_code: int | None = None  # of a command that ended by itself
    _began: float = attrs.field(factory=trio.current_time)
    _ended: trio.Event = attrs.field(factory=trio.Event)
    _stop: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _waiting: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)

    @property
    def running(self) -> bool:
        return not self._ended.is_set()

    @property
    def status(self) -> str:
        """In words that follow its id."""
        if self.running:
            return f"has been running for {trio.current_time() - self._began:.0f} s"
        return "was killed" if self.exit_code is None else f"has ended with exit code {self.exit_code}"

    @property
    def title(self) -> str:
        """The command on one line, cut."""
        line = " ".join(self.command[: 4 * TITLE_CHARACTERS].split())
        return line if len(line) <= TITLE_CHARACTERS else line[: TITLE_CHARACTERS - 1] + "…"

    async def run(
        self,
        containment: Containment,
        cwd: Path,
        env: Mapping[str, str],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """From start to end. Raises OSError if it cannot be started."""
        try:
            with self._stop:
                done = await run_command(
                    containment,
                    self.command,
                    cwd=cwd,
                    env=env,
                    timeout=None,
                    on_output=self._hear,
                    task_status=task_status,
                )
                self.exit_code = done.exit_code
        finally:
            self._ended.set()
            self._waiting.unpark_all()

    def _hear(self, data: bytes) -> None:
        self.ring.write(data)
        self._waiting.unpark_all()

    async def wait_for_news(self, seconds: float) -> None:
        """Return when there is something to read, when it has ended, or after *seconds*."""
        with trio.move_on_after(seconds):
            while self.running and not self.ring.has_news:
                await self._waiting.park()

    async def kill(self) -> None:
        """End it and all that it has started; what it said can still be read."""
        self._stop.cancel()
        await self.wait()

    async def wait(self) -> None:
        """Return when nothing of it is left."""
        await self._ended.wait()


@attrs.define(eq=False)
class Background:
    """The background commands of one job. Made by open_background()."""

    _nursery: trio.Nursery
    _rings: ExitStack  # which closes their files at the end
    _number: int  # of the last one
    _shells: dict[str, Shell] = attrs.field(factory=dict)

    @property
    def running(self) -> list[Shell]:
        return [shell for shell in self._shells.values() if shell.running]

    async def start(self, containment: Containment, command: str, cwd: Path, env: Mapping[str, str]) -> Shell:
        """Raises ToolFailed if too many run already, OSError if it cannot be started."""
        if len(self.running) >= MAX_RUNNING:
            ids = ", ".join(shell.id for shell in self.running)
            raise ToolFailed(
                f"{MAX_RUNNING} commands run in the background already, which is the most: {ids}. KillShell ends one"
            )
        self._number += 1
        shell = Shell(f"bash_{self._number}", command, self._rings.enter_context(closing(Ring())))
        await self._nursery.start(shell.run, containment, cwd, env)
        self._make_room()
        self._shells[shell.id] = shell
        return shell

    def find(self, shell_id: str) -> Shell:
        """Raises ToolFailed, saying which there are."""
        if shell_id not in self._shells:
            there_are = ", ".join(self._shells) or "none"
            raise ToolFailed(
                f"There is no background command {shell_id}; there are: {there_are}. "
                "One that was started in an earlier job, or before the executor was started anew, has ended"
            )
        return self._shells[shell_id]

    def _make_room(self) -> None:
        if len(self._shells) >= MAX_KEPT:
            oldest = next(shell for shell in self._shells.values() if not shell.running)
            self._shells.pop(oldest.id).ring.close()


@asynccontextmanager
async def open_background(number: int = 0) -> AsyncIterator[Background]:
    """Room for commands in the background, of which none is left when the block is. *number*: how many the session
    has had before, so that none gets the id of another."""
    with ExitStack() as rings:
        async with trio.open_nursery() as nursery:
            try:
                yield Background(nursery, rings, number)
            finally:
                nursery.cancel_scope.cancel()
