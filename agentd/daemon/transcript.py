"""A session's conversation, piece by piece, as JSON or as Markdown. Folds of its log; subagents' talks are left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import trio

from agentd.domain import Record
from agentd.store.home import SessionDir
from agentd.store.view import LogReader
from agentd.wire.messages import JSON_TYPE, ChunkedResponse

FORMATS = ("json", "md")
MARKDOWN_TYPE = "text/markdown; charset=UTF-8"
FENCE_CHARS = 20_000  # of a result, in Markdown
PIECES = 64  # that are made at a time


async def transcript(directory: SessionDir, form: str, session: Mapping[str, Any]) -> ChunkedResponse:
    """In one of FORMATS. *session*: what is said of it, with `id`, `title` and `workspace`. Raises StoreFailed."""
    reader = await trio.to_thread.run_sync(LogReader, directory.log_path)
    pieces = json_pieces if form == "json" else markdown_pieces
    return ChunkedResponse(
        _InThread(pieces(session, reader.records()), reader), JSON_TYPE if form == "json" else MARKDOWN_TYPE
    )


class _InThread:
    """An iterator of pieces that reads files, a few of them at a time in a thread. It may be dropped in the middle."""

    def __init__(self, pieces: Iterator[bytes], reader: LogReader) -> None:
        self._pieces = pieces
        self._reader = reader

    def __aiter__(self) -> _InThread:
        return self

    async def __anext__(self) -> bytes:
        if not (joined := await trio.to_thread.run_sync(partial(_some, self._pieces))):
            raise StopAsyncIteration
        return joined

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._reader.close()


def _some(pieces: Iterator[bytes]) -> bytes:
    return b"".join(piece for _, piece in zip(range(PIECES), pieces, strict=False))


# --- What was said ------------------------------------------------------------------------------------------------


def items(records: Iterable[Record]) -> Iterator[dict[str, Any]]:
    """{"role": "user" | "assistant" | "tool" | "system", "job_id", "ts", …} in the order they were said."""
    staged: list[Mapping[str, Any]] = []
    for record in records:
        if record.parent is not None:
            continue
        common = {"job_id": record.job, "ts": record.ts}
        match record.type:
            case "message":
                yield {"role": record.data["role"], **common, "content": _shown(record.data["content"])}
            case "tool.finished":
                yield {"role": "tool", **common, **_result(record.data)}
            case "history.compacted":
                yield {"role": "system", **common, "event": "compacted", "text": record.data["text"]}
            case "job.finished":
                yield {"role": "system", **common, "event": "finished", "outcome": record.data["outcome"]}
            case "import.staged":
                staged.append(record.data)
            case "session.imported":
                yield {"role": "system", **common, "event": "imported", "text": record.data["name"]}
                yield from _imported(staged[max(len(staged) - record.data["records"], 0) :], record.ts)
                staged.clear()


def _imported(staged: Iterable[Mapping[str, Any]], ts: int) -> Iterator[dict[str, Any]]:
    for each in staged:
        if each["type"] == "history.imported":
            entry = each["data"]["entry"]
            for said in entry["messages"]:
                yield {"role": said["role"], "job_id": entry["id"], "ts": ts, "content": _shown(said["content"])}


def _shown(content: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Without signatures, which mean something only to the service that made them, and without pictures' bytes."""
    shown = []
    for block in content:
        fields = {name: value for name, value in block.items() if name not in ("signature", "data")}
        if block["type"] == "image":
            fields["bytes"] = len(block["data"]) * 3 // 4
        if block["type"] == "tool_result":
            fields["content"] = _shown(block["content"])
        shown.append(fields)
    return shown


def _result(data: Mapping[str, Any]) -> dict[str, Any]:
    names = ("call", "name", "subject", "ok", "summary", "duration_ms")
    return {**{name: data[name] for name in names}, "content": _shown(data["content"])}


# --- JSON ---------------------------------------------------------------------------------------------------------


def json_pieces(session: Mapping[str, Any], records: Iterable[Record]) -> Iterator[bytes]:
    yield b'{"session":' + _json(session) + b',"items":['
    for number, item in enumerate(items(records)):
        yield (b"," if number else b"") + _json(item)
    yield b"]}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


# --- Markdown -----------------------------------------------------------------------------------------------------


def markdown_pieces(session: Mapping[str, Any], records: Iterable[Record]) -> Iterator[bytes]:
    head = f"# {session['title']}\n\nSession {session['id']} in `{session['workspace']}`.\n"
    yield head.encode("utf-8", "replace")
    for item in items(records):
        yield "".join(_markdown(item)).encode("utf-8", "replace")


def _markdown(item: Mapping[str, Any]) -> Iterator[str]:
    match item["role"]:
        case "tool":
            mark = "" if item["ok"] else " failed"
            yield f"\n**{item['name']}**{mark}: {item['subject']}\n\n{fenced(_text(item['content'])[:FENCE_CHARS])}"
        case "system":
            yield f"\n*{item['event']}: {item.get('text') or item.get('outcome')}*\n"
        case role:
            yield f"\n## {'You' if role == 'user' else 'Assistant'}\n"
            for block in item["content"]:
                yield from _block(block)


def _block(block: Mapping[str, Any]) -> Iterator[str]:
    match block["type"]:
        case "text":
            yield f"\n{block['text'].strip()}\n"
        case "image":
            yield f"\n[{block['media_type']}, {block['bytes']} bytes]\n"
        case "tool_result":
            yield f"\n{fenced(_text(block['content'])[:FENCE_CHARS])}"


def _text(content: Iterable[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in content if block["type"] == "text")


def fenced(text: str) -> str:
    """As a block of code; its fence is longer than any in it."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}\n" if text.strip() else ""
