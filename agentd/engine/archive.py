"""A session as a zip, and back: manifest.json, context.json, history.jsonl, tasklist.json, content/<id>.txt.

The zip is a function of the log and its texts: the same bytes for the same session. It holds what a session says to its
next job, not the records of its jobs. Blocking; no trio here. The contract: executor.md, 5.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

import attrs

from agentd.domain import Entry, Image, Record, Text, Thinking, ToolResult, ToolUse, block_to_json
from agentd.engine.context import MOST_FRAGMENTS, MOST_NAME_CHARS, MOST_TEXT_BYTES
from agentd.engine.foreign import FOREIGN_ENTRIES, foreign_parts
from agentd.engine.unpack import Unpacked, open_zip, refused, shown
from agentd.errors import InvalidRequest, StoreFailed
from agentd.store.blobs import Blobs
from agentd.store.fold import JobView, SessionState
from agentd.store.home import SessionDir
from agentd.store.lines import check_depth, encode_json
from agentd.store.view import LogReader
from agentd.wire.typed import parse, structure

if TYPE_CHECKING:
    from zipfile import ZipFile

FORMAT = "agentd/1"
MANIFEST, CONTEXT, HISTORY, TASKS = "manifest.json", "context.json", "history.jsonl", "tasklist.json"
OURS = frozenset({MANIFEST, CONTEXT, HISTORY, TASKS})
INLINE_BYTES = 4096  # a larger text has an entry of its own
MOST_JSON_BYTES = 128 << 20  # of one entry, or one line of the history
MOST_ID = 10**9
NAME_CHARS = 200
DEFAULT_NAME = "Imported session"
NESTED = 10  # levels that an entry of the history gets around it in the log


# --- Out ----------------------------------------------------------------------------------------------------------


def export_session(directory: SessionDir, file: IO[bytes]) -> None:
    """Write the session's zip to *file*. Raises StoreFailed; BlobNotFound if a text is dropped meanwhile."""
    from zipfile import ZipFile

    with LogReader(directory.log_path) as log:
        state, owners = replay(log.records())
    with ZipFile(file, "w") as archive:
        write_entry(archive, MANIFEST, [json_entry(_manifest(state))])
        write_entry(archive, HISTORY, (encode_json(entry) + b"\n" for entry in _history(state, owners)))
        write_entry(archive, TASKS, [json_entry({"tasks": [attrs.asdict(task) for task in state.tasks]})])
        write_entry(archive, CONTEXT, [json_entry(_context(state, directory.transient, archive))])
        if state.origin is not None:
            _copy_unknown(archive, directory.transient.path(state.origin))


def replay(records: Iterable[Record]) -> tuple[SessionState, list[str]]:
    """What the records say, and for each message of the history the id of the job that it belongs to."""
    state, owners = SessionState(), list[str]()
    for record in records:
        staged = state.staged
        state.apply(record)
        messages = state.history.messages
        if record.type == "session.imported":
            owners = _imported_owners(staged[max(len(staged) - record.data["records"], 0) :])
        elif record.type == "history.compacted" and record.parent is None:
            dropped = record.data["dropped"]
            owners += [record.job or ""] * (len(messages) - 1 + dropped - len(owners))
            owners[:dropped] = [owners[dropped - 1] if dropped else record.job or ""]
        owners += [record.job or ""] * (len(messages) - len(owners))
    return state, owners


def _imported_owners(staged: Sequence[tuple[str, dict[str, Any]]]) -> list[str]:
    state, owners = SessionState(), list[str]()
    for kind, data in staged:
        if kind == "history.imported":
            state.apply(Record(1, 0, None, kind, data))
            owners += [data["entry"]["id"]] * (len(state.history.messages) - len(owners))
    return owners


def _manifest(state: SessionState) -> dict[str, Any]:
    times = {"created": state.created, "modified": state.modified}
    return {"id": state.id, "name": state.name, **times, "format": FORMAT}


def _history(state: SessionState, owners: Sequence[str]) -> Iterator[dict[str, Any]]:
    said: dict[str, list[dict[str, Any]]] = {}
    for owner, message in zip(owners, state.history.messages, strict=True):
        content = [block_to_json(block) for block in message.content]
        said.setdefault(owner, []).append({"role": message.role, "model": message.model, "content": content})
    for entry in state.imported_jobs:
        plain = {key: value for key, value in entry.items() if key != "turns"}
        yield plain | {"messages": said.get(entry["id"], [])}
    for job in state.jobs.values():
        if job.finished is not None and job.first > state.imported_at:
            yield _entry(job) | {"messages": said.get(job.id, [])}


def _entry(job: JobView) -> dict[str, Any]:
    finished = job.finished or {}
    return {
        "id": job.id,
        "mode": job.spec["mode"],
        "prompt": job.spec["prompt"],
        "outcome": finished["outcome"],
        "result": finished["result"],
        "created": job.created,
        "ended": job.ended,
        "models": job.spec["models"],
    }


def _context(state: SessionState, texts: Blobs, archive: ZipFile) -> dict[str, Any]:
    """Those of jobs are not in it: they end with them."""
    described = []
    for fragment in state.fragments.values():
        if fragment.job is not None:
            continue
        told: dict[str, Any] = {"id": fragment.id, "kind": fragment.kind, "name": fragment.name}
        if fragment.sha256 is not None:
            data = texts.get(fragment.sha256)
            if len(data) > INLINE_BYTES or len(encode_json(data.decode())) > 2 * INLINE_BYTES:
                write_entry(archive, f"content/{fragment.id}.txt", [data])
            else:
                told["text"] = data.decode()
        described.append(told | {"pinned": fragment.pinned})
    return {"fragmentsMade": state.fragments_made, "fragments": described}


def _copy_unknown(archive: ZipFile, origin: Path) -> None:
    """What the imported zip held that nothing was read from."""
    with open_zip(origin) as source:
        native = _is_native(source)
        for name in source.names:
            known = name in OURS or (native and name.startswith("content/")) or name.startswith(FOREIGN_ENTRIES)
            if not known and name not in archive.NameToInfo:
                write_entry(archive, name, source.chunks(name))


def write_entry(archive: ZipFile, name: str, pieces: Iterable[bytes]) -> None:
    from zipfile import ZIP_DEFLATED, ZipInfo

    info = ZipInfo(name, (1980, 1, 1, 0, 0, 0))
    info.compress_type, info.create_system, info.external_attr = ZIP_DEFLATED, 3, 0o100600 << 16
    with archive.open(info, "w") as out:
        for piece in pieces:
            out.write(piece)


def json_entry(value: Any) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


# --- In -----------------------------------------------------------------------------------------------------------


@attrs.frozen
class Manifest:
    name: str = ""
    created: int = 0
    format: str = ""


@attrs.frozen
class FragmentPart:
    id: str
    kind: Literal["file", "class", "method", "text"]
    name: str
    text: str | None = attrs.field(default=None, repr=False)
    pinned: bool = False


@attrs.frozen
class ContextPart:
    fragments: list[FragmentPart]
    fragmentsMade: int = 0  # noqa: N815 - the archive's names


@attrs.frozen
class TaskPart:
    id: str
    title: str
    text: str
    done: bool = False


@attrs.frozen
class TasksPart:
    tasks: list[TaskPart]


@attrs.frozen
class SaidPart:
    role: Literal["user", "assistant"]
    content: list[dict[str, Any]]
    model: str = ""


@attrs.frozen
class HistoryPart:
    id: str
    mode: str
    prompt: str
    outcome: str
    result: str | None
    created: int
    ended: int
    models: dict[str, str | None]
    messages: list[SaidPart]


_BLOCKS = {"text": Text, "thinking": Thinking, "image": Image, "tool_use": ToolUse, "tool_result": ToolResult}


def import_session(path: Path, texts: Blobs, now: int) -> list[Entry]:
    """The records that make a session what the zip at *path* says, session.imported last: they take effect with it.

    Texts, and the zip itself, are put among the session's transient blobs, *texts*. *now*: epoch milliseconds, for a
    session that says not when it was made. Raises InvalidRequest, saying what is wrong with the zip; StoreFailed.
    """
    with open_zip(path) as archive:
        manifest = _manifest_of(archive)
        if manifest.format.startswith("agentd/") and manifest.format != FORMAT:
            raise refused(f"it has the form {shown(manifest.format)}, and {FORMAT} is what is read here")
        if manifest.format == FORMAT:
            made, staged = _native(archive, texts)
        else:
            made, staged = _foreign(archive, texts)
    data = {
        "sha256": texts.put_file(path),
        "name": manifest.name.strip()[:NAME_CHARS] or DEFAULT_NAME,
        "created": manifest.created if 0 < manifest.created < 1 << 53 else now,
        "fragments_made": made,
        "records": len(staged),
    }
    return [*staged, Entry("session.imported", data)]


def _is_native(archive: Unpacked) -> bool:
    return _manifest_of(archive).format == FORMAT


def _manifest_of(archive: Unpacked) -> Manifest:
    return _read(archive, MANIFEST, Manifest) if MANIFEST in archive else Manifest()


def _read(archive: Unpacked, name: str, kind: Any) -> Any:
    try:
        return structure(parse(archive.read(name, MOST_JSON_BYTES)), kind)
    except InvalidRequest as exc:
        raise refused(f"{name}: {_shortened(exc)}") from exc


def _shortened(exc: InvalidRequest) -> str:
    return "; ".join(exc.problems[:3]) + ("; …" if len(exc.problems) > 3 else "")


def _native(archive: Unpacked, texts: Blobs) -> tuple[int, list[Entry]]:
    context = _read(archive, CONTEXT, ContextPart) if CONTEXT in archive else ContextPart([])
    staged = [_staged("history.imported", {"entry": entry}) for entry in _read_history(archive)]
    staged += _tasks(archive)
    staged += _fragments(archive, context, texts)
    return max(context.fragmentsMade, *(int(each.id) for each in context.fragments), 0), staged


def _tasks(archive: Unpacked) -> list[Entry]:
    tasks: list[TaskPart] = _read(archive, TASKS, TasksPart).tasks if TASKS in archive else []
    if len({task.id for task in tasks}) < len(tasks) or not all(task.id and task.title for task in tasks):
        raise refused(f"{TASKS}: a task has an id of its own, and a title")
    return [_staged("tasks", {"tasks": [attrs.asdict(task) for task in tasks]})] if tasks else []


def _staged(kind: str, data: dict[str, Any]) -> Entry:
    return Entry("import.staged", {"type": kind, "data": data})


def _read_history(archive: Unpacked) -> Iterator[dict[str, Any]]:
    ids: set[str] = set()
    lines = archive.lines(HISTORY, MOST_JSON_BYTES) if HISTORY in archive else ()
    for number, line in enumerate(lines, 1):
        try:
            entry = _history_entry(line)
        except InvalidRequest as exc:
            raise refused(f"{HISTORY}, line {number}: {_shortened(exc)}") from exc
        if entry["id"] in ids:
            raise refused(f"{HISTORY}, line {number}: there was a job of this id before")
        ids.add(entry["id"])
        yield entry


def _history_entry(line: bytes) -> dict[str, Any]:
    value = parse(line)
    try:
        check_depth(_nested(value))
    except StoreFailed as exc:
        raise InvalidRequest(["it is nested too deep"]) from exc
    part: HistoryPart = structure(value, HistoryPart)
    messages = [
        {"role": said.role, "model": said.model, "content": [block_to_json(_block(block)) for block in said.content]}
        for said in part.messages
    ]
    return attrs.asdict(part, recurse=False) | {"messages": messages}


def _nested(value: Any) -> Any:
    for _ in range(NESTED):
        value = [value]
    return value


def _block(data: dict[str, Any]) -> Any:
    kind = data.get("type")
    if not isinstance(kind, str) or kind not in _BLOCKS:
        raise InvalidRequest([f"a message has a part of an unknown type; there are {', '.join(_BLOCKS)}"])
    return structure(data, _BLOCKS[kind])


def _fragments(archive: Unpacked, context: ContextPart, texts: Blobs) -> Iterator[Entry]:
    if len(context.fragments) > MOST_FRAGMENTS or not 0 <= context.fragmentsMade <= MOST_ID:
        raise refused(f"{CONTEXT}: a context has at most {MOST_FRAGMENTS} fragments, and ids up to {MOST_ID}")
    ids = [each.id for each in context.fragments]
    if len(set(ids)) < len(ids) or not all(_is_id(each) for each in ids):
        raise refused(f"{CONTEXT}: ids of fragments are numbers from 1 on, each once")
    for part in context.fragments:
        if not part.name or len(part.name) > MOST_NAME_CHARS:
            raise refused(f"{CONTEXT}: the name of fragment {part.id} is empty or too long")
        data = _text_of(archive, part) if part.kind == "text" else None
        yield from _fragment(part.id, part.kind, part.name, data, texts, pinned=part.pinned)


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10 and str(int(text)) == text and 0 < int(text) <= MOST_ID


def _text_of(archive: Unpacked, part: FragmentPart) -> bytes:
    name = f"content/{part.id}.txt"
    if part.text is None and name not in archive:
        raise refused(f"{CONTEXT}: there is no text of fragment {part.id}")
    data = archive.read(name, MOST_TEXT_BYTES) if part.text is None else part.text.encode()
    if len(data) > MOST_TEXT_BYTES:
        raise refused(f"{CONTEXT}: the text of fragment {part.id} is larger than {MOST_TEXT_BYTES} bytes")
    try:
        data.decode()
    except UnicodeDecodeError as exc:
        raise refused(f"{shown(name)} is not UTF-8") from exc
    return data


def _fragment(
    fragment_id: str, kind: str, name: str, text: bytes | None, texts: Blobs, *, pinned: bool = False
) -> Iterator[Entry]:
    sha256 = None if text is None else texts.put(text)
    size = 0 if text is None else len(text)
    data = {"id": fragment_id, "kind": kind, "name": name, "size": size, "sha256": sha256}
    yield _staged("context.added", data)
    if pinned:
        yield _staged("context.changed", {"id": fragment_id, "pinned": True})


def _foreign(archive: Unpacked, texts: Blobs) -> tuple[int, list[Entry]]:
    """What can be taken of another program's zip; nothing in it is wrong, at worst it is not understood."""
    staged: list[Entry] = []
    made = 0
    for made, part in enumerate(foreign_parts(archive), 1):
        staged += _fragment(str(made), part.kind, part.name or f"Text {made}", part.text, texts, pinned=part.pinned)
    with suppress(InvalidRequest):
        staged += _tasks(archive)
    return made, staged
