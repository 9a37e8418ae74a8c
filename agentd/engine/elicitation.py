"""What an MCP server wants to know of a person while it works for a call: a question, like those of the model.

The call is in flight, so the question belongs below it, and ends with it. MCP specification 2025-11-25, elicitation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

import attrs

from agentd.domain import ToolUse
from agentd.engine.asks import Asks, Settlement, Subject
from agentd.engine.branch import Branch

if TYPE_CHECKING:
    from agentd.tools.mcp.terms import Elicitation, Elicited

DECLINED = frozenset({"decline", "no", "cancel", "skip"})
OPENED = "done"
HEADER_CHARS = 12


@attrs.frozen
class Elicitor:
    """Those of one job. *seconds*: how long a person has; 0: nobody is there, None: no limit."""

    branch: Branch
    asks: Asks
    seconds: float | None
    _numbers: Any = attrs.field(factory=lambda: count(1))

    async def ask(self, wanted: Elicitation) -> Elicited:
        """What a person says to it."""
        from agentd.tools.mcp.terms import Elicited

        if self.seconds == 0:
            return Elicited("cancel")
        about = wanted.call or "mcp"
        call = ToolUse(f"{about}:{next(self._numbers)}", f"mcp__{wanted.server}", {"message": wanted.message})
        settled = await self.asks.ask(self.branch.below(about), call, _question(wanted), self.seconds)
        reply = _reply(wanted, settled)
        if settled.allowed and reply.action == "cancel":
            text = f"the answer is not what {wanted.server} asks for: it is told that there is none"
            self.branch.notice("warning", "ELICITATION", text)
        return reply


def _question(wanted: Elicitation) -> Subject:
    fields = _fields(wanted)
    text = wanted.message if wanted.url is None else f"{wanted.message}\nOpen {wanted.url} and say {OPENED!r} then."
    options = [OPENED] if wanted.url is not None else _choices(next(iter(fields.values()))) if len(fields) == 1 else []
    if len(fields) > 1:
        needed = wanted.schema.get("required", ())
        listed = "\n".join(
            f"- {name}{' (required)' * (name in needed)}: {_told(field)}" for name, field in fields.items()
        )
        text = f"{text}\nAnswer with a JSON object that has:\n{listed}"
    question = {
        "question": text,
        "header": wanted.server[:HEADER_CHARS],
        "options": [{"label": option, "description": ""} for option in (*options, "decline")],
        "multiSelect": False,
    }
    return Subject("question", f"{wanted.server} asks: {text}", (*options, "decline"), (question,))


def _reply(wanted: Elicitation, settled: Settlement) -> Elicited:
    from agentd.tools.mcp.terms import Elicited

    text = (settled.answer or "").strip()
    if not settled.allowed:
        return Elicited("cancel")
    if text.lower() in DECLINED:
        return Elicited("decline")
    if wanted.url is not None:
        return Elicited("accept")
    fields = _fields(wanted)
    content = _content(text, fields) if fields and text else {}
    return Elicited("accept", content) if content is not None and _fits(content, wanted.schema) else Elicited("cancel")


def _fits(content: Mapping[str, Any], schema: Mapping[str, Any]) -> bool:
    from agentd.wire.jsonschema import SchemaError, compile_schema

    try:
        return not compile_schema(schema).errors(content)
    except SchemaError:
        return True  # what the server cannot say, it has to look at itself


def _fields(wanted: Elicitation) -> dict[str, Mapping[str, Any]]:
    properties = wanted.schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {str(name): field for name, field in properties.items() if isinstance(field, Mapping)}


def _choices(field: Mapping[str, Any]) -> list[str]:
    if field.get("type") == "boolean":
        return ["true", "false"]
    titled = field.get("oneOf") or field.get("anyOf", ())
    listed = field.get("enum") or [each.get("const") for each in titled if isinstance(each, Mapping)]
    return [each for each in listed if isinstance(each, str)] if isinstance(listed, list) else []


def _told(field: Mapping[str, Any]) -> str:
    described = " ".join(str(field[key]) for key in ("title", "description") if field.get(key))
    items = field.get("items")
    found = _choices(items if isinstance(items, Mapping) else field)
    choices = f" {'of ' * (items is not None)}({', '.join(found)})" if found else ""
    return f"{field.get('type', 'string')}{choices} {described}".strip()


def _content(text: str, fields: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The answer as the server wants it; None where it cannot be read so."""
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if isinstance(said, dict) and set(said) <= set(fields):
        return said
    if len(fields) != 1:
        return None
    [(name, field)] = fields.items()
    if field.get("type", "string") == "string":
        return {name: text}
    return {name: _yes_or_no(text) if field.get("type") == "boolean" and said is None else said}


def _yes_or_no(text: str) -> bool:
    return text.lower() in ("true", "yes", "y", "on")
