"""Sessions on a disk and as zips, for tests that take them in and out."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from agentd.domain import Entry
from agentd.engine.archive import export_session, import_session
from agentd.store.home import Home, SessionDir


def session_of(home: Home, entries: Callable[[SessionDir], list[Entry]]) -> SessionDir:
    return home.create_session("executor", Path("/work"), "a name", fill=entries)


def exported(session: SessionDir) -> bytes:
    file = io.BytesIO()
    export_session(session, file)
    return file.getvalue()


def imported(home: Home, zipped: bytes) -> SessionDir:
    path = home.root / "upload"
    path.write_bytes(zipped)
    return session_of(home, lambda made: import_session(path, made.transient, 1))


def contents(zipped: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def make_zip(entries: Iterable[tuple[str, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data)
    return file.getvalue()


def native(**entries: Any) -> bytes:
    """A zip of our own form; `context__json` is the entry context.json."""
    files = {"manifest.json": {"format": "agentd/1"}}
    named = {name.replace("__", "."): value for name, value in entries.items()}
    both: dict[str, Any] = {**files, **named}
    return make_zip((n, v if isinstance(v, bytes) else json.dumps(v).encode()) for n, v in both.items())


def fragment(**fields: Any) -> dict[str, Any]:
    """A context of one text."""
    return {"fragments": [{"id": "1", "kind": "text", "name": "n", "text": "t"} | fields]}


def job_line(**fields: Any) -> bytes:
    """A line of the history."""
    plain = {"id": "j", "mode": "ask", "prompt": "p", "outcome": "completed", "result": None, "created": 1, "ended": 2}
    return json.dumps(plain | {"models": {}, "messages": []} | fields).encode() + b"\n"
