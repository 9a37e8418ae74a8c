"""What clients say: messages, decisions, modes. The contract: runs-and-chat.md, 6.1 and 6.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from agentd.faces.runs.answers import Refused
from agentd.faces.runs.requests import Body

ROLES = ("user", "system", "assistant", "tool")
MODES = ("chat", "spec")
ACTIONS = ("approve", "deny")
MOST_PARTS = 1000


@attrs.frozen
class Message:
    """*run* None: as the session has it."""

    role: str
    parts: tuple[dict[str, Any], ...]
    run: bool | None


def read_message(body: Body) -> Message:
    """Raises Refused."""
    role = body.needed("role", "role required").strip()
    if role not in ROLES:
        raise Refused(f"role must be one of {', '.join(ROLES)}")
    given = body.array("parts")
    if not given:
        raise Refused("parts must not be empty")
    if len(given) > MOST_PARTS:
        raise Refused(f"a message has at most {MOST_PARTS} parts")
    parts = tuple(_part(part, index) for index, part in enumerate(given))
    run = body.flag("auto_run", True) if body.fields.get("auto_run") is not None else None
    return Message(role, parts, run)


def _part(given: Any, index: int) -> dict[str, Any]:
    where = f"parts[{index}]"
    if type(given) is not dict:
        raise Refused(f"{where} must be an object")
    kind = _text(given, "type", where).strip()
    if not kind:
        raise Refused(f"{where}.type required")
    if kind == "text":
        if type(given.get("text")) is not str:
            raise Refused(f"{where}.text must be a string")
        return {"type": "text", "text": given["text"]}
    ref, mime = _text(given, "ref", where).strip(), _text(given, "mime_type", where).strip()
    if not ref:
        raise Refused(f"{where}.ref required")
    return {"type": kind, "ref": ref} | ({"mime_type": mime} if mime else {})


def _text(given: Mapping[str, Any], name: str, where: str) -> str:
    value = given.get(name)
    if value is not None and type(value) is not str:
        raise Refused(f"{where}.{name} must be a string")
    return value or ""


@attrs.frozen
class Decision:
    """*turn* "": whichever waits."""

    call: str
    turn: str
    allow: bool
    reason: str
    updated_input: Mapping[str, Any] | None


def read_decision(body: Body) -> Decision:
    """Raises Refused."""
    call = body.needed("tool_call_id", "tool_call_id required").strip()
    action = body.text("action").strip() or "approve"
    if action not in ACTIONS:
        raise Refused("action must be approve or deny")
    updated = body.object("updated_input")
    if updated is not None and action == "deny":
        raise Refused("updated_input goes with approve")
    return Decision(call, body.text("turn_id").strip(), action == "approve", body.text("reason"), updated)


def read_mode(given: str) -> str:
    """Raises Refused."""
    if given.strip() not in MODES:
        raise Refused("mode must be chat or spec")
    return given.strip()
