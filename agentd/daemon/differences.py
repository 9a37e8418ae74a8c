"""What a session has changed in its workspace since it began, until now. The workspace is only read.

The executor keeps the trees that it took in a git directory of its own; this one is beside it, so that both may work at
once, and sees the objects of the other.
"""

from __future__ import annotations

from pathlib import Path

import trio

from agentd.errors import NotARepository
from agentd.store.home import SessionDir
from agentd.store.summary import SessionRow
from agentd.store.tables import Found
from agentd.store.view import LogReader
from agentd.workspace.snapshot import Snapshots

OURS, EXECUTORS = "differences", "objects"  # directories in a session's
AT_ONCE = 2  # more would only make git and the disk wait


class Differences:
    def __init__(self) -> None:
        self._limit = trio.CapacityLimiter(AT_ONCE)
        self._opened: dict[str, tuple[Snapshots, trio.Lock]] = {}

    async def of(self, found: Found[SessionRow], session: SessionDir) -> bytes:
        """A unified git diff; empty where nothing was changed, or no job has begun. Raises NotARepository, GitFailed,
        StoreFailed."""
        workspace = Path(found.row.workspace)
        if not await trio.to_thread.run_sync(workspace.is_dir):
            raise NotARepository(found.row.workspace)
        snapshots, lock = self._opened.setdefault(session.id, (Snapshots(workspace, session.path / OURS), trio.Lock()))
        async with lock, self._limit:
            now = await snapshots.take()
            base = found.opened.base if found.opened and found.opened.base else None
            before = base or await trio.to_thread.run_sync(_first_tree, session)
            if before is None:
                return b""
            await trio.to_thread.run_sync(_share_objects, session)
            return await snapshots.diff(before, now)

    def forget(self, session_id: str) -> None:
        self._opened.pop(session_id, None)


def _first_tree(session: SessionDir) -> str | None:
    with LogReader(session.log_path) as log:
        trees = (str(record.data["tree"]) for record in log.records() if record.type == "checkpoint")
        return next(trees, None)


def _share_objects(session: SessionDir) -> None:
    """Opening the git directory has written a file that names the user's objects alone."""
    alternates = session.path / OURS / "objects" / "info" / "alternates"
    line = f"{session.path / EXECUTORS / 'objects'}\n"
    if (text := alternates.read_text()) and line not in text:
        alternates.write_text(text + line)
