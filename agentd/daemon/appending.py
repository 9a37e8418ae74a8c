"""Records of no job for a session's log, while its job is at work and while there is none: by whoever is its writer."""

from __future__ import annotations

import attrs
import trio

from agentd.daemon.calls import call
from agentd.daemon.sessions import Sessions
from agentd.daemon.writer import append_alone
from agentd.domain import Entry


async def append(sessions: Sessions, session_id: str, *entries: Entry) -> None:
    """They are on the disk when it returns. Raises SessionNotFound; Locked: `agentd run` is at work in it;
    ExecutorFailed, HttpFailed, StoreFailed."""
    directory = sessions.directory(session_id)
    async with sessions.lock(session_id):
        seat = sessions.seat(session_id)
        if seat is None or seat.state == "absent":
            await trio.to_thread.run_sync(append_alone, directory, lambda _: entries)
        else:
            records = [attrs.asdict(entry, filter=attrs.filters.include("type", "data")) for entry in entries]
            await call(seat, "POST", "/_/records", {"records": records})
    sessions.tails.look(session_id)
