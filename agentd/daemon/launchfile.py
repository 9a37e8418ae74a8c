"""`launch.json` in a session's directory: which processes a daemon has started for it, for the daemon that comes after.

It is there before the first of them is, and goes when they are dead. A process is named by pid, start time and boot:
no later one has all three. Blocking, but for reap_leftovers().
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Self

import attrs
import trio

from agentd.errors import StoreFailed
from agentd.sandbox.child import KILL_SECONDS, open_pidfd
from agentd.sandbox.leash import starttime
from agentd.store.files import disk
from agentd.store.generations import boot_id
from agentd.store.home import Home, SessionDir

NAME = "launch.json"
SOCKET_NAME, NONCE_NAME = "executor.sock", "nonce"
TERM_SECONDS = 5.0  # for a launcher to tell the other side


@attrs.frozen
class Identity:
    """One process, for ever."""

    pid: int
    starttime: int
    boot_id: str

    @classmethod
    def of(cls, pid: int) -> Self:
        return cls(pid, starttime(pid), boot_id())

    @classmethod
    def read(cls, value: Any) -> Self | None:
        try:
            return cls(int(value["pid"]), int(value["starttime"]), str(value["boot_id"]))
        except (KeyError, TypeError, ValueError):
            return None

    def is_alive(self) -> bool:
        """Whether it runs on this machine; a zombie does not."""
        if self.boot_id != boot_id() or self.starttime == 0 or self.starttime != starttime(self.pid):
            return False
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False


@attrs.frozen
class LaunchFile:
    session: SessionDir

    @property
    def path(self) -> Path:
        return self.session.path / NAME

    def write(self, epoch: int, *, is_local: bool, processes: Iterable[Identity] = ()) -> None:
        """Raises StoreFailed."""
        value = {"epoch": epoch, "local": is_local, "processes": [attrs.asdict(each) for each in processes]}
        # In place and not synced. A daemon that is killed in the middle of this has just started the process, which
        # finds its leash at its end; and no process outlives a power cut.
        with disk("note the executor's launch"):
            self.path.write_text(json.dumps(value))

    def read(self) -> tuple[bool, list[Identity]]:
        """Whether they are executors, or launchers and what they launched; and which."""
        try:
            value = json.loads(self.path.read_bytes())
            found = [Identity.read(each) for each in value["processes"]]
            return value["local"] is True, [each for each in found if each is not None]
        except (OSError, ValueError, LookupError, TypeError):
            return False, []

    def remove(self) -> None:
        """With what executors leave that are killed. Raises StoreFailed."""
        with disk("remove what an executor left"):
            for name in (SOCKET_NAME, NONCE_NAME, NAME):  # this file last: it says that the others may be there
                (self.session.path / name).unlink(missing_ok=True)


# --- At the start of a daemon -------------------------------------------------------------------------------------


@attrs.frozen
class Reaped:
    """What a dead daemon had left of one session's executor. *ended*: pids that were alive, and are not now."""

    session: str
    ended: tuple[int, ...]
    alive: tuple[int, ...]  # that nothing helped against


async def reap_leftovers(home: Home) -> list[Reaped]:
    """End every executor and launcher that an earlier daemon of this data directory has left on this machine, and
    remove what they left in it. Raises StoreFailed."""
    with disk(f"read {home.sessions_path}"):
        files = [LaunchFile(SessionDir(path.parent)) for path in sorted(home.sessions_path.glob(f"*/{NAME}"))]
    reaped: list[Reaped] = []
    async with trio.open_nursery() as nursery:
        for file in files:
            nursery.start_soon(_reap, file, reaped)
    return sorted(reaped, key=lambda each: each.session)


async def _reap(file: LaunchFile, reaped: list[Reaped]) -> None:
    is_local, processes = file.read()
    alive = [each for each in processes if each.is_alive()]
    # A launcher hears SIGTERM, and has time to tell the other side: after SIGKILL a job may be left in a site's queue.
    grace = 0.0 if is_local else TERM_SECONDS
    left = [each for each in alive if not await _end(each, grace)]
    if not left:
        file.remove()
    ended = tuple(each.pid for each in alive if each not in left)
    reaped.append(Reaped(file.session.id, ended, tuple(each.pid for each in left)))


async def _end(process: Identity, grace: float) -> bool:
    """Whether it is dead now. It leads a group of its own, which is ended with it."""
    pidfd = open_pidfd(process.pid)
    try:
        for number, seconds in ((signal.SIGTERM, grace), (signal.SIGKILL, KILL_SECONDS)):
            if seconds and process.is_alive():  # asked again: with the pidfd held, its number cannot become another's
                _signal_group(process.pid, number)
                with trio.move_on_after(seconds):
                    await _wait_dead(process, pidfd)
        return not process.is_alive()
    finally:
        if pidfd is not None:
            os.close(pidfd)


def _signal_group(pid: int, number: int) -> None:
    try:
        if os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)  # what a launcher started, in a group of the launcher's
    except ProcessLookupError:
        return
    except PermissionError as exc:
        raise StoreFailed(f"process {pid}, which an earlier agentd left, is another user's") from exc


async def _wait_dead(process: Identity, pidfd: int | None) -> None:
    if pidfd is not None:
        await trio.lowlevel.wait_readable(pidfd)
        return
    while process.is_alive():  # noqa: ASYNC110  # there is no event to wait for
        await trio.sleep(0.02)
