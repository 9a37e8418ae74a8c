"""A job as a zip, for replay: manifest.json, records.ndjson, blobs/<SHA-256>. Blocking; no trio here.

What is in it: what the session's log says of the conversation before the job, all that it says of the job but for what
was streamed and kept beside it, and the images that models were shown. What is not: what the log conceals, what clients
put into the context, the environment of commands, where hooks and MCP servers are, ids that faces gave.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import attrs

from agentd import __version__
from agentd.domain import Record
from agentd.engine.archive import json_entry, write_entry
from agentd.engine.hooks import site_of
from agentd.engine.unpack import CHUNK_BYTES, Unpacked, open_zip, refused, shown
from agentd.errors import BlobNotFound, InvalidRequest, JobNotFound
from agentd.store.blobs import Blobs
from agentd.store.fold import SessionState
from agentd.store.home import Home, SessionDir
from agentd.store.lines import encode_json, parse_line
from agentd.store.naming import uuid_start
from agentd.store.view import LogReader
from agentd.wire.typed import parse, structure

FORMAT = "agentd-run/1"
MANIFEST, RECORDS, BLOBS = "manifest.json", "records.ndjson", "blobs/"
MOST_MANIFEST_BYTES, MOST_LINE_BYTES, MOST_BLOB_BYTES = 1 << 16, 64 << 20, 64 << 20
MOST_RECORDS = 1_000_000
_BEFORE = (  # types of records that make a conversation what it is
    "session.created session.changed job.created message message.changed tool.finished tasks history.compacted "
    "history.cleared history.imported import.staged session.imported job.finished"
)
_NOT_OF_JOB = (
    "text.delta thinking.delta input.delta tool.output artifact checkpoint files.saved files.rewound commit "
    "context.added context.dropped context.changed"
)
_SHOWN = "job.created message message.changed tool.finished history.imported import.staged"  # what images are in
BEFORE, NOT_OF_JOB, SHOWN = (frozenset(types.split()) for types in (_BEFORE, _NOT_OF_JOB, _SHOWN))
MALFORMED = (LookupError, TypeError, ValueError, AttributeError, AssertionError, RecursionError)  # raised over records
_SHA256 = re.compile(r"[0-9a-f]{64}")


@attrs.frozen
class Recording:
    """*before*: records of the session until the job, *own*: the job's; both in order, their positions with gaps."""

    job: str
    before: Sequence[Record]
    own: Sequence[Record]

    @property
    def created(self) -> Record:
        return self.own[0]

    @property
    def workspace(self) -> Path:
        started = next((record.data.get("cwd") for record in self.own if record.type == "job.started"), None)
        return Path(started or self.before[0].data["workspace"])


# --- Out ----------------------------------------------------------------------------------------------------------


def find_job(home: Home, name: str) -> tuple[SessionDir, str]:
    """The session and the id of a job, by the job's id or the session's, whose last job is meant then. Raises
    JobNotFound, StoreFailed."""
    begins = uuid_start(f"{name.split('_', 1)[0]}_", name) or name.lower()
    sessions = home.sessions()
    named = [session for session in sessions if len(begins) >= len("12345678") and session.id.startswith(begins)]
    if len(named) == 1:
        with LogReader(named[0].log_path) as log:
            jobs = [record.job for record in log.records() if record.type == "job.created" and record.job]
        if jobs:
            return named[0], jobs[-1]
    for session in sessions:
        if _mentions(session.log_path, begins.encode()):
            with LogReader(session.log_path) as log:
                jobs = [record.job for record in log.records() if record.type == "job.created" and record.job]
            if begins in jobs:
                return session, begins
    raise JobNotFound(name)


def _mentions(path: Path, word: bytes) -> bool:
    tail = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            if word in tail + chunk:
                return True
            tail = chunk[-len(word) :]
    return False


def write_recording(directory: SessionDir, job: str, file: IO[bytes]) -> None:
    """Write the zip of a job to *file*: what its log says by now. Raises StoreFailed."""
    from zipfile import ZipFile

    with LogReader(directory.log_path) as log, ZipFile(file, "w") as archive:
        kept = list(_kept(log.records(), job))
        about = {"format": FORMAT, "job": job, "session": directory.id, "agentd": __version__}
        write_entry(archive, MANIFEST, [json_entry(about)])
        write_entry(archive, RECORDS, (encode_json(attrs.asdict(record)) + b"\n" for record in kept))
        for sha256 in sorted({name for record in kept if record.type in SHOWN for name in _images(record.data)}):
            try:
                write_entry(archive, f"{BLOBS}{sha256}", [directory.blobs.get(sha256)])
            except BlobNotFound:
                continue  # it is gone, and the model is told so in a replay as well


def _kept(records: Iterator[Record], job: str) -> Iterator[Record]:
    begun = False
    for record in records:
        begun = begun or (record.type, record.job) == ("job.created", job)
        if record.job == job:
            if record.type not in NOT_OF_JOB:
                yield _shown(record) if record.type == "job.created" else record
        elif not begun and record.type in BEFORE and record.parent is None:
            yield attrs.evolve(record, data={**record.data, "spec": {}}) if record.type == "job.created" else record


def _shown(record: Record) -> Record:
    """Without what only the face needs, and what could tell of a place or a key."""
    spec = record.data["spec"]
    hooks = {event: {**hook, "url": site_of(hook["url"]), "headers": {}} for event, hook in spec["hooks"].items()}
    images = [{**part, "url": None} for part in spec.get("images", ())]
    bare = {**spec, "hooks": hooks, "images": images, "env": {}, "face": {}, "servers": {}, "user": None}
    return attrs.evolve(record, data={"spec": bare, "key": None, "payload": None, "dialect": record.data["dialect"]})


def _images(value: Any) -> Iterator[str]:
    """SHA-256s of what models may be shown."""
    if isinstance(value, Mapping):
        if isinstance(name := value.get("sha256"), str) and _SHA256.fullmatch(name):
            yield name
        value = value.values()
    elif not isinstance(value, list):
        return
    for inner in value:
        yield from _images(inner)


# --- In -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class About:
    format: str
    job: str


def read_recording(path: Path, blobs: Blobs) -> Recording:
    """What a zip holds; its images are put into *blobs*. Raises InvalidRequest, saying what is wrong; StoreFailed."""
    with open_zip(path) as archive:
        if MANIFEST not in archive or RECORDS not in archive:
            raise refused(f"it is no recording: it has no {MANIFEST}, or no {RECORDS}")
        about: About = structure(parse(archive.read(MANIFEST, MOST_MANIFEST_BYTES)), About)
        if about.format != FORMAT:
            raise refused(f"it has the form {shown(about.format)}, and {FORMAT} is what is read here")
        recording = _read(archive, about.job)
        for name in archive.names:
            if name.startswith(BLOBS) and blobs.put(archive.read(name, MOST_BLOB_BYTES)) != name.removeprefix(BLOBS):
                raise refused(f"{shown(name)} is not what its name says")
    return recording


def _read(archive: Unpacked, job: str) -> Recording:
    before: list[Record] = []
    own: list[Record] = []
    last = 0
    for number, line in enumerate(archive.lines(RECORDS, MOST_LINE_BYTES), 1):
        value = parse_line(line)
        if value is None or value["pos"] <= last or number > MOST_RECORDS:
            raise refused(f"{RECORDS}, line {number}: this is no record, or not in its place")
        last = value["pos"]
        record = Record(**{name: value[name] for name in ("pos", "ts", "job", "type", "data", "parent")})
        (own if record.job == job else before).append(record)
    if not own or own[0].type != "job.created" or not before or before[0].type != "session.created":
        raise refused("it does not say how the session and the job began")
    if any(record.type not in BEFORE for record in before) or before[-1].pos > own[0].pos:
        raise refused("there are records in it that are none of the job's")
    _check(before, own)
    return Recording(job, before, own)


def _check(before: Sequence[Record], own: Sequence[Record]) -> None:
    """That all of it can be folded: what cannot has not been written by an agentd. Raises InvalidRequest."""
    state = SessionState()
    for record in (*before, *own):
        try:
            state.apply(record)
        except MALFORMED as exc:
            raise InvalidRequest([f"{RECORDS}: the {record.type} at {record.pos} is not well-formed"]) from exc
