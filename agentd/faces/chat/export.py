"""A chat as a zip: session.json, events.ndjson, attachments/, artifacts/. The contract: runs-and-chat.md, 6.1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from agentd.domain import Record
from agentd.faces.chat.dialect import ATTACHMENTS, Chat
from agentd.faces.chat.objects import session_of
from agentd.faces.runs.export import put_artifact, zip_entry
from agentd.store.home import SessionDir
from agentd.store.view import LogReader
from agentd.wire.messages import to_json

if TYPE_CHECKING:
    from zipfile import ZipFile

ARTIFACTS = "artifacts/"


def fill(archive: ZipFile, session: SessionDir, ident: str, reader: LogReader) -> None:
    """Put in what there is. Blocks. Raises StoreFailed."""
    chat, kept = Chat([]), dict[str, Record]()
    with archive.open(zip_entry("events.ndjson", reader.read(0, 1)[0].ts), "w", force_zip64=True) as events:
        for record in reader.records():
            for event in chat.apply(record):
                events.write(to_json(event.to_json({"session_id": ident})) + b"\n")
            name = record.data.get("name") or "" if record.type == "artifact" else ""
            if name.startswith((ATTACHMENTS, ARTIFACTS)):
                kept[name] = record
    told = json.dumps(session_of(ident, chat), ensure_ascii=False, indent=2).encode("utf-8", "replace") + b"\n"
    archive.writestr(zip_entry("session.json", chat.updated), told)
    for path, record in kept.items():
        put_artifact(archive, session, path, record)
