"""A run as a zip: run.json, events.ndjson, artifacts/. The contract: runs-and-chat.md, 5.1."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from shutil import copyfileobj
from typing import IO, TYPE_CHECKING

import trio

from agentd.domain import Record
from agentd.errors import BlobNotFound
from agentd.faces.runs.dialect import RunEvents, artifact_path, run_of
from agentd.store.home import SessionDir
from agentd.store.view import LogReader
from agentd.wire.messages import ChunkedResponse, to_json

if TYPE_CHECKING:
    from zipfile import ZipFile, ZipInfo

PIECE_BYTES = 256 * 1024
Filler = Callable[["ZipFile", SessionDir, str, LogReader], None]  # the last: of the session's log, from its beginning


async def export(session: SessionDir, ident: str, fill: Filler | None = None) -> ChunkedResponse:
    """As it is now. *fill*: puts in what there is, if that is no run. Raises StoreFailed."""
    file = await trio.to_thread.run_sync(_pack, session, ident, fill or _fill)
    headers = [("Content-Disposition", f'attachment; filename="{ident}.zip"')]
    return ChunkedResponse(_Pieces(file), "application/zip", headers, length=file.seek(0, 2))


class _Pieces:
    """A file that has no name, from its beginning; closed in the end, also by whoever never began."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._at = file, 0

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await trio.to_thread.run_sync(self._read)
        if not piece:
            raise StopAsyncIteration
        return piece

    def _read(self) -> bytes:
        self._file.seek(self._at)
        piece = self._file.read(PIECE_BYTES)
        self._at += len(piece)
        return piece

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._file.close()


def _pack(session: SessionDir, ident: str, fill: Filler) -> IO[bytes]:
    """Blocks."""
    from zipfile import ZIP_DEFLATED, ZipFile

    file = tempfile.TemporaryFile(prefix="agentd-export-")  # noqa: SIM115  # its reader closes it
    try:
        with ZipFile(file, "w", ZIP_DEFLATED) as archive, LogReader(session.log_path) as reader:
            fill(archive, session, ident, reader)
    except BaseException:
        file.close()
        raise
    return file


def _fill(archive: ZipFile, session: SessionDir, ident: str, reader: LogReader) -> None:
    fold, kept = RunEvents(), dict[str, Record]()
    with archive.open(zip_entry("events.ndjson", reader.read(0, 1)[0].ts), "w", force_zip64=True) as events:
        for record in reader.records():
            for event in fold.apply(record):
                events.write(to_json(event.to_json({"run_id": ident})) + b"\n")
            if record.type == "artifact" and record.data.get("name"):
                kept[artifact_path(record.data["call"], record.data["name"])] = record
    told = json.dumps(run_of(ident, fold.state), ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
    archive.writestr(zip_entry("run.json", fold.state.updated), told)
    for path, record in kept.items():
        put_artifact(archive, session, path, record)


def put_artifact(archive: ZipFile, session: SessionDir, path: str, record: Record) -> None:
    """What an artifact record is about, unless it is gone."""
    try:
        blob = session.blobs.open(record.data["sha256"])
    except BlobNotFound:
        return
    with blob, archive.open(zip_entry(path, record.ts), "w") as entry:
        copyfileobj(blob, entry)


def zip_entry(name: str, ms: int) -> ZipInfo:
    from zipfile import ZIP_DEFLATED, ZipInfo

    entry = ZipInfo(name, datetime.fromtimestamp(max(ms, 315_532_800_000) / 1000, UTC).timetuple()[:6])
    entry.compress_type, entry.external_attr = ZIP_DEFLATED, 0o600 << 16
    return entry
