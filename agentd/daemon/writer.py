"""The daemon as the writer of a session's log, while no executor lives: lock, fold, append, sync, unlock."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from agentd.domain import Entry, Record
from agentd.store.files import FileLock
from agentd.store.fold import SessionState
from agentd.store.home import SessionDir
from agentd.store.log import open_log

Decide = Callable[[SessionState], Sequence[Entry]]


def append_alone(session: SessionDir, decide: Decide) -> list[Record]:
    """Write what *decide* makes of the session's state; when this returns it survives power loss. Blocks.

    Raises Locked, saying who has the session; StoreFailed; what *decide* raises: then nothing is written."""
    with open_log(session.log_path) as log:
        state = SessionState()
        state.apply_all(log.records())
        return log.append(decide(state))


def hold(session: SessionDir) -> FileLock:
    """What keeps others from writing to it until it is released. Blocks. Raises Locked, saying who has the session;
    StoreFailed."""
    return FileLock.acquire(session.log_path.with_suffix(".lock"), f"session {session.id}")
