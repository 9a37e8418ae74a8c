"""Sessions into and out of an engine, as zips that are files: neither way is one ever whole in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import trio

from agentd.domain import Entry
from agentd.engine import context
from agentd.engine.archive import DEFAULT_NAME, export_session, import_session
from agentd.engine.session import Session, Sessions
from agentd.errors import BlobNotFound, StoreFailed
from agentd.store.files import disk, temp_file
from agentd.store.home import SessionDir

CHUNK_BYTES = 1 << 18
BATCH_RECORDS = 64  # of an import, written before others get their turn
TRIES = 3  # to export a session whose texts are dropped meanwhile


@asynccontextmanager
async def spooled(directory: Path, chunks: AsyncIterator[bytes]) -> AsyncIterator[Path]:
    """A file in *directory* with all that *chunks* give; gone when the block ends, or at the next start. Raises
    StoreFailed, and what *chunks* raise."""
    with disk("keep the upload"), temp_file(directory) as temp:
        async for chunk in chunks:
            temp.file.write(chunk)
        temp.file.flush()
        yield temp.path


async def import_new(sessions: Sessions, workspace: Path, path: Path, session_id: str | None) -> Session:
    """A session as the zip at *path* says it is; all of it or nothing. Raises InvalidRequest, StoreFailed."""

    def fill(made: SessionDir) -> list[Entry]:
        return import_session(path, made.transient, _now())

    return await sessions.make("executor", workspace, DEFAULT_NAME, session_id=session_id, fill=fill)


async def import_over(sessions: Sessions, path: Path, session: Session) -> None:
    """Make *session* what the zip at *path* says. Its jobs stay, since their keys do; all else is as in a new one, or,
    where this fails, as it was. Raises InvalidRequest, StoreFailed."""
    await sessions.open(session)
    try:
        *staged, imported = await trio.to_thread.run_sync(import_session, path, session.dir.transient, _now())
        for start in range(0, len(staged), BATCH_RECORDS):
            session.append(*staged[start : start + BATCH_RECORDS])
            await trio.lowlevel.checkpoint()
        await session.commit(imported)
    finally:
        context.sweep(session)


async def exported(directory: Path, session: Session) -> AsyncIterator[bytes]:
    """The session's zip, in pieces; *directory* is for what is made meanwhile. Raises StoreFailed."""
    with disk("export the session"), temp_file(directory) as temp:
        await trio.to_thread.run_sync(_export, session.dir, temp.file)
        with temp.path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                yield chunk


def _export(session: SessionDir, file: IO[bytes]) -> None:
    for _ in range(TRIES):
        file.seek(0)
        file.truncate()
        try:
            export_session(session, file)
        except BlobNotFound as exc:
            missing = exc
        else:
            return file.flush()
    raise StoreFailed("a text of the session's context is missing; drop it") from missing


def _now() -> int:
    return time.time_ns() // 1_000_000
