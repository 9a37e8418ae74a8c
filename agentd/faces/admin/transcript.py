"""A session's conversation, piece by piece, as JSON or as Markdown. Folds of its log; subagents' talks are left out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from agentd.domain import Record

FENCE_CHARS = 20_000  # of a result, in Markdown


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
