"""Which sessions there are: the fold of what root.ndjson says of them. DESIGN, Storage.

A session exists from its `session.opened` to its `session.closed`. What was closed and has no `session.removed` is to
be taken down still: its executor, its worktree, its directory.
"""

from __future__ import annotations

from typing import Any

import attrs
import trio

from agentd.daemon.worktree_records import Worktree
from agentd.domain import Entry
from agentd.store.rootlog import RootLog, RootPage, RootRecord

OPENED, CLOSED, REMOVED = "session.opened", "session.closed", "session.removed"


@attrs.frozen
class Opened:
    """A session as it was opened."""

    id: str
    face: str
    name: str
    workspace: str
    worktree: Worktree | None = None  # None: it works in place
    owner: str | None = None  # who made it
    ts: int = 0  # epoch ms

    def to_json(self) -> dict[str, Any]:
        worktree = self.worktree.to_json() if self.worktree else None
        fields = {"id": self.id, "face": self.face, "name": self.name, "workspace": self.workspace}
        return fields | {"worktree": worktree, "owner": self.owner}

    @classmethod
    def from_record(cls, record: RootRecord) -> Opened:
        """Raises ValueError."""
        data = record.data
        try:
            worktree = Worktree.from_json(data["worktree"]) if data.get("worktree") else None
            session_id, face, name, workspace = (str(data[key]) for key in ("id", "face", "name", "workspace"))
            return cls(session_id, face, name, workspace, worktree, data.get("owner"), record.ts)
        except LookupError as exc:
            raise ValueError(f"not a session: {data!r}") from exc


class Registry:
    """What load() found, and what was appended through it since then."""

    def __init__(self, log: RootLog) -> None:
        self.open: dict[str, Opened] = {}  # by id
        self.leaving: dict[str, Opened] = {}  # closed, and not wholly removed
        self.damaged = 0  # lines that tell nothing: a session may be in one of them
        self._log = log
        self._end = 0
        self._lock = trio.Lock()

    def load(self) -> None:
        """What was appended since the last time. Blocks. Raises StoreFailed."""
        self._fold(self._log.read(self._end))

    def _fold(self, page: RootPage) -> None:
        self._end = page.end
        self.damaged += page.damaged
        for record in page.records:
            if record.type == OPENED:
                self._opened(record)
            elif record.type == CLOSED:
                self._closed(str(record.data.get("id")))
            elif record.type == REMOVED:
                self.leaving.pop(str(record.data.get("id")), None)

    def _opened(self, record: RootRecord) -> None:
        try:
            opened = Opened.from_record(record)
        except ValueError:
            self.damaged += 1
            return
        self.open[opened.id] = opened

    def _closed(self, session_id: str) -> None:
        if (opened := self.open.pop(session_id, None)) is not None:
            self.leaving[session_id] = opened

    # --- Appending: durable when it returns ---------------------------------------------------------------------

    async def note_opened(self, session: Opened) -> Opened:
        """The session exists from now on, as what this returns. Raises Locked, StoreFailed: it does not."""
        await self._append(Entry(OPENED, session.to_json()))
        return self.open[session.id]

    async def note_closed(self, session_id: str, reason: str) -> None:
        """It exists no more, whatever there still is of it. Raises Locked, StoreFailed."""
        await self._append(Entry(CLOSED, {"id": session_id, "reason": reason}))

    async def note_removed(self, session_id: str) -> None:
        """Nothing is left of it. Raises Locked, StoreFailed."""
        await self._append(Entry(REMOVED, {"id": session_id}))

    async def _append(self, entry: Entry) -> None:
        async with self._lock:  # the file has a lock too, but those who wait for that would wait in threads
            self._fold(await trio.to_thread.run_sync(self._write, entry))

    def _write(self, entry: Entry) -> RootPage:
        self._log.append([entry])
        return self._log.read(self._end)
