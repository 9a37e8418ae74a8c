"""What events of the agent API look like: every key is always there. Values only. The contract: agent-api.md, 6."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentd.domain import Usage

NAMES = uuid.UUID("6a0f3d52-9c1e-4c39-8f0b-0b6d7a3f5c11")  # below which ids of messages without one in the log are made
KNOWN_CODES = frozenset({
    *("AGENT_ERROR", "MODEL_UNAVAILABLE", "PROVIDER_AUTH_FAILED", "PROVIDER_ERROR", "CONTEXT_OVERFLOW"),
    *("SESSION_NOT_FOUND", "HOOK_DENIED", "IMAGE_FETCH_FAILED", "STRUCTURED_OUTPUT_VALIDATION_ERROR"),
    "REQUEST_TIMEOUT",
})  # fmt: skip


def name_of(text: str) -> str:
    """The id of a message that has none in the log: the same whenever it is asked for."""
    return str(uuid.uuid5(NAMES, text))


# --- Blocks -------------------------------------------------------------------------------------------------------


def block(kind: str, **fields: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "text": None,
        "thinking": None,
        "id": None,
        "name": None,
        "input": None,
        "tool_use_id": None,
        "content": None,
        "is_error": None,
        **fields,
    }


def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A block of a message as a log has it. Signatures stay there: they mean something only to who made them."""
    match stored["type"]:
        case "text":
            return block("text", text=stored["text"])
        case "thinking":
            return block("thinking", thinking=stored["thinking"])
        case "tool_use":
            return block("tool_use", id=stored["id"], name=stored["name"], input=stored["input"])
        case "image":
            return block("image", source=image_source(stored))
    return tool_result(stored["tool_use_id"], stored["content"], is_error=stored["is_error"])


def tool_result(call: str, content: Sequence[Mapping[str, Any]], *, is_error: bool) -> dict[str, Any]:
    return block("tool_result", tool_use_id=call, content=result_content(content), is_error=is_error)


def result_content(content: Sequence[Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    """A string, or a list where there are images in it."""
    if all(part["type"] == "text" for part in content):
        return "".join(part["text"] for part in content)
    return [
        {"type": "text", "text": part["text"]}
        if part["type"] == "text"
        else {"type": "image", "source": image_source(part)}
        for part in content
    ]


def image_source(stored: Mapping[str, Any]) -> dict[str, Any]:
    """An image that the log has as a blob is named, not repeated."""
    if stored["data"]:
        return {"type": "base64", "media_type": stored["media_type"], "data": stored["data"]}
    return {"type": "blob", "media_type": stored["media_type"], "sha256": stored["sha256"]}


# --- Events -------------------------------------------------------------------------------------------------------


def message(
    role: str,
    content: Sequence[Mapping[str, Any]],
    message_id: str,
    *,
    model: str | None = None,
    usage: Mapping[str, int] | None = None,
    parent: str | None = None,
) -> dict[str, Any]:
    return {
        "type": role,
        "role": role,
        "content": content,
        "model": model,
        "uuid": message_id,
        "usage": usage,
        "parent_tool_use_id": parent,
    }


def usage(counted: Usage) -> dict[str, int]:
    """Input tokens are those that came from no cache and went into none, as services count that have these names."""
    cached, written = counted.cached_tokens, counted.written_tokens
    return {
        "input_tokens": max(counted.input_tokens - cached - written, 0),
        "output_tokens": counted.output_tokens,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": written,
    }


def counted(stored: Mapping[str, Any]) -> Usage:
    """What a record says of tokens."""
    return Usage(
        stored["input_tokens"], stored["output_tokens"], stored["cached_tokens"], stored.get("written_tokens", 0)
    )


def block_start(index: int, started: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": started, "delta": None}


def block_delta(index: int, kind: str, text: str) -> dict[str, Any]:
    """*kind*: text, thinking or tool_use."""
    return {
        "type": "content_block_delta",
        "index": index,
        "content_block": None,
        "delta": {
            "type": _DELTA_OF[kind],
            "text": text if kind == "text" else None,
            "thinking": text if kind == "thinking" else None,
            "partial_json": text if kind == "tool_use" else None,
        },
    }


def block_stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index, "content_block": None, "delta": None}


_DELTA_OF = {"text": "text_delta", "thinking": "thinking_delta", "tool_use": "input_json_delta"}


def empty_block(kind: str, call: str | None = None, name: str | None = None) -> dict[str, Any]:
    """What a block is before its first delta."""
    if kind == "tool_use":
        return block(kind, id=call, name=name, input={})
    return block(kind, **{kind: ""})


def error(finished: Mapping[str, Any]) -> dict[str, Any]:
    """Of job.finished. A code that the contract does not name is the cause of one that it does."""
    told = finished["error"] or {"code": "AGENT_ERROR", "message": "the job failed"}
    code, details = told["code"], told.get("details")
    known = _known_code(code)
    if known != code:
        details = {"cause": code, **(details or {})}
    return {"code": known, "message": told["message"], "details": details}


def _known_code(code: str) -> str:
    if code in KNOWN_CODES:
        return code
    if code == "TIME_LIMIT":
        return "REQUEST_TIMEOUT"
    return "PROVIDER_ERROR" if code.startswith("PROVIDER_") else "AGENT_ERROR"


def asked_by_model(kind: str, tool: str) -> bool:
    """Whether an ask is a question of the model's; others are about a call, or an MCP server asks."""
    return kind == "question" and not tool.startswith("mcp__")


# --- What a run has -----------------------------------------------------------------------------------------------


def servers(connected: Iterable[Mapping[str, Any]], wanted: Mapping[str, str]) -> list[dict[str, Any]]:
    """`init.mcp_servers`: those that the job tells of; of a job that never began those that it was to have. *wanted*:
    their transports, by name."""
    known = [{"error": None, **server} for server in connected]
    names = {server["name"] for server in known}
    missing = {"status": "failed", "error": "the run did not begin", "tool_count": 0}
    return known + [{"name": name, "type": kind, **missing} for name, kind in wanted.items() if name not in names]


def sandbox(level: str, *, wanted: bool) -> dict[str, Any]:
    """`init.sandbox`, where there is one or there was to be one. *level*: that is in force for commands, or off."""
    if level == "off" and not wanted:
        return {}
    active = level != "off"
    return {"sandbox": {"active": active, "bash": level if active and level != "none" else "unavailable"}}
