"""The start of a pool: sessions come back as they were, what was half-made or half-removed is gone.

The registry decides: what it has open exists, with whatever there is of it. What it does not know of and no client can
have used is removed, its work rescued first. Nothing is removed on the word of a registry that is damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import attrs
import trio

from agentd.daemon.launchfile import Reaped
from agentd.daemon.leftovers import Leftover
from agentd.daemon.pool import FACE, Managed, Pool
from agentd.daemon.registry import Opened
from agentd.errors import AgentdError
from agentd.store.files import disk
from agentd.store.home import SessionDir
from agentd.store.lines import parse_line

AT_ONCE = 4  # sessions that are worked at: more would only make git and the disk wait
logger = logging.getLogger(__name__)


@attrs.define
class Report:
    """What was found at the start, and what was done about it: most are ids of sessions."""

    sessions: int = 0  # that are there again
    reaped: list[str] = attrs.field(factory=list)  # an executor of the daemon before was still there
    unfinished: list[str] = attrs.field(factory=list)  # have a job that did not end: their executors are launched
    finished: list[str] = attrs.field(factory=list)  # were being removed
    undone: list[str] = attrs.field(factory=list)  # were being made
    lost: list[str] = attrs.field(factory=list)  # their log is gone, so they are too
    leftovers: list[str] = attrs.field(factory=list)  # paths of worktrees of no session, removed
    rescued: list[str] = attrs.field(factory=list)  # refs that have what was uncommitted in those
    left: list[str] = attrs.field(factory=list)  # what was not touched, and why

    def line(self) -> str:
        """In words: "3 sessions are back; 1 half-made one was undone"."""
        counts = (
            (len(self.reaped), "executors were ended"),
            (len(self.unfinished), "with a job that did not end"),
            (len(self.finished), "removals finished"),
            (len(self.undone), "half-made sessions undone"),
            (len(self.lost), "sessions closed, for their log is gone"),
            (len(self.leftovers), "leftover worktrees removed"),
            (len(self.rescued), "times uncommitted work rescued"),
            (len(self.left), "things left alone"),
        )
        told = [f"{count} {what}" for count, what in counts if count]
        return "; ".join([f"{self.sessions} session{'' if self.sessions == 1 else 's'} back", *told])


async def recover(pool: Pool, reaped: Sequence[Reaped]) -> Report:
    """Raises StoreFailed: the data directory cannot be read."""
    report = Report(reaped=[each.session for each in reaped if each.ended])
    report.left += [f"{each.session}: process {pid} does not end" for each in reaped for pid in each.alive]
    registered = [each for each in pool.registry.open.values() if each.face == FACE and each.worktree]
    await _each(registered, partial(_bring_back, pool, report))
    closed = [each for each in pool.registry.leaving.values() if each.face == FACE]
    await _each(closed, partial(_finish, pool, report))
    if pool.registry.damaged:
        report.left.append(f"root.ndjson has {pool.registry.damaged} damaged lines: nothing is removed on its word")
    else:
        found = await trio.to_thread.run_sync(strays, pool)
        await _each(found, partial(_undo, pool, report))
        await _clear_leftovers(pool, report)
    report.sessions = len(list(pool))
    return report


async def _each(items: Iterable[Opened | SessionDir], work: Callable[..., Awaitable[None]]) -> None:
    limit = trio.CapacityLimiter(AT_ONCE)

    async def limited(item: Opened | SessionDir) -> None:
        async with limit:
            await work(item)

    async with trio.open_nursery() as nursery:
        for item in items:
            nursery.start_soon(limited, item)


# --- What the registry knows --------------------------------------------------------------------------------------


async def _bring_back(pool: Pool, report: Report, opened: Opened) -> None:
    session = SessionDir(pool.home.sessions_path / opened.id)
    if not await trio.to_thread.run_sync(session.log_path.is_file):
        await pool.registry.note_closed(opened.id, "lost")
        await pool.take_down(opened.id, opened.worktree)
        report.lost.append(opened.id)
        return
    pool.admit(opened)
    if await trio.to_thread.run_sync(has_unfinished_job, session):
        report.unfinished.append(opened.id)


async def _finish(pool: Pool, report: Report, opened: Opened) -> None:
    removed = await pool.take_down(opened.id, opened.worktree)
    report.finished.append(opened.id)
    report.rescued += [removed.rescued] if removed and removed.rescued else []


def has_unfinished_job(session: SessionDir) -> bool:
    """Whether its log has a job without an end. Blocks. Raises StoreFailed."""
    jobs: set[str | None] = set()
    with disk("read the session log"), session.log_path.open("rb") as file:
        for line in file:
            if b"job.created" in line or b"job.finished" in line:
                record = parse_line(line.rstrip(b"\n")) or {"type": ""}
                if record["type"] == "job.created":
                    jobs.add(record["job"])
                elif record["type"] == "job.finished":
                    jobs.discard(record["job"])
    return bool(jobs)


async def resume(pool: Pool, report: Report) -> None:
    """Launch the executors of sessions with a job that did not end: they write how the one at work ended, and go on
    with what was accepted. Then lists tell the truth, and nobody has to ask for it."""
    sessions = [managed for managed in pool if managed.id in set(report.unfinished)]
    limit = trio.CapacityLimiter(AT_ONCE)

    async def launch(managed: Managed) -> None:
        async with limit:
            try:
                await managed.seat.up()
            except AgentdError as exc:  # the next call tries again, and tells its client
                logger.warning("its executor cannot be launched again: %s", exc, extra={"session": managed.id})

    async with trio.open_nursery() as nursery:
        for managed in sessions:
            nursery.start_soon(launch, managed)


# --- What it does not know ----------------------------------------------------------------------------------------


def strays(pool: Pool) -> list[SessionDir]:
    """Sessions of this face that were being made. One that has a job was somebody's. Blocks. Raises StoreFailed."""
    known = pool.registry.open.keys() | pool.registry.leaving.keys()
    return [each for each in pool.home.sessions() if each.id not in known and _is_unused(each)]


def _is_unused(session: SessionDir) -> bool:
    with disk("read the session log"), session.log_path.open("rb") as file:
        first = parse_line(file.readline().rstrip(b"\n"))
        rest = file.read()
    return first is not None and first["data"].get("face") == FACE and b"job.created" not in rest


async def _undo(pool: Pool, report: Report, session: SessionDir) -> None:
    await pool.take_down(session.id, None)
    report.undone.append(session.id)


async def _clear_leftovers(pool: Pool, report: Report) -> None:
    for leftover in await pool.worktrees.leftovers(owned(pool)):
        removed = await pool.worktrees.clear(leftover)
        if removed.kept is None:
            report.leftovers.append(str(leftover.path))
        else:
            report.left.append(f"{leftover.path}: {_why(leftover, removed.kept)}")
        report.rescued += [removed.rescued] if removed.rescued else []


def _why(leftover: Leftover, kept: Path) -> str:
    if leftover.state == "alive":
        return "a process works in it"
    return "it is no worktree of ours" if kept == leftover.path else f"it could not be rescued, and is kept as {kept}"


def owned(pool: Pool) -> list[Path]:
    """Worktrees of sessions, also of those whose removal did not come to its end: they are not removed on our word."""
    known = (*pool.registry.open.values(), *pool.registry.leaving.values())
    return [each.worktree.path for each in known if each.worktree]
