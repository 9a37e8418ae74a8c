"""A model's stream, put together: events in, the assistant message as it grows out. No clock, task or socket here.

Services misbehave, small models more so. Whatever comes, nothing that was said is lost, every tool_use of the message
has an id that is unique in the conversation, a name, and an object as its input, and `problems` says what was mended:

    arguments that are no JSON object    the call is kept, its input is {INVALID_INPUT: …}; see unreadable_input()
    no arguments at all                  {}: how many services call a tool without parameters
    a call id seen before, or none       a fresh id; deltas go to the latest call that was begun under their id
    a delta for a call never begun       begins a call without a name
    a call without a name                is named UNNAMED, which no tool is
    a call that was salvaged from text   is one like any other; `salvaged` counts them
    anything after Stopped               is left out
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, Literal, NoReturn

import attrs

from agentd.domain import Block, Message, Text, Thinking, ToolUse, Usage
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    RequestSent,
    Salvaged,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingSigned,
)

INVALID_INPUT = "__invalid_input__"  # marks the input of a call whose arguments were no JSON object
UNNAMED = "unnamed"

_JSON_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


@attrs.frozen
class Piece:
    """Where an event went: the index of its block in the message and, for a call, the id and the name it has there."""

    block: int
    call: str | None = None
    name: str | None = attrs.field(default=None, eq=False)


@attrs.define
class _Growing:
    kind: Literal["text", "thinking", "call"]
    parts: list[str]
    id: str = ""
    name: str = ""
    signature: str | None = None

    def close(self) -> Block:
        text = _well_formed("".join(self.parts))
        if self.kind == "text":
            return Text(text)
        if self.kind == "thinking":
            return Thinking(text, self.signature)
        return ToolUse(self.id, self.name, parse_input(text))


class Assembler:
    """Puts one reply together. *taken*: the call ids of the conversation so far, which this reply may not use again;
    *elsewhere*: those of others, which its service knows nothing of, so that one of them is no fault; those of this
    reply are added as they come, since another may come beside it."""

    def __init__(self, taken: Collection[str] = (), elsewhere: set[str] | None = None) -> None:
        self.problems: list[str] = []
        self.stopped: Stopped | None = None  # None as long as the reply is not complete
        self.salvaged = 0  # calls that were written as text
        self._taken = set(taken)
        self._elsewhere = set[str]() if elsewhere is None else elsewhere
        self._blocks: list[_Growing] = []
        self._calls: dict[str, int] = {}  # the service's id of a call -> the index of its block

    @property
    def stop_reason(self) -> str:
        """As in Stopped; empty as long as the reply is not complete."""
        return self.stopped.reason if self.stopped else ""

    @property
    def usage(self) -> Usage:
        return self.stopped.usage if self.stopped else Usage()

    def feed(self, event: StreamEvent) -> Piece | None:
        """Take the next event. None if it added nothing to the message."""
        if self.stopped is not None:
            self.problems.append(f"{type(event).__name__} came after the end of the reply and was left out")
            return None
        match event:
            case RequestSent():
                return None
            case Stopped():
                self.stopped = event
                return None
            case TextDelta(text):
                return self._grow("text", text)
            case ThinkingDelta(text):
                return self._grow("thinking", text)
            case ThinkingSigned(signature):
                return self._sign(signature)
            case CallStarted(call_id, name):
                return self._begin(call_id, name)
            case CallDelta(call_id, text):
                piece = self._call(call_id)
                self._blocks[piece.block].parts.append(text)
                return piece
            case Salvaged():
                return self._note_salvage(event)

    def message(self, message_id: str = "") -> Message:
        """The message so far. A call that is still growing is there too, its input parsed from what has come."""
        return Message("assistant", tuple(block.close() for block in self._blocks), message_id)

    def _grow(self, kind: Literal["text", "thinking"], text: str) -> Piece | None:
        if not text:
            return None
        if self._blocks and self._blocks[-1].kind == kind and self._blocks[-1].signature is None:
            self._blocks[-1].parts.append(text)
        else:
            self._blocks.append(_Growing(kind, [text]))
        return Piece(len(self._blocks) - 1)

    def _sign(self, signature: str) -> Piece:
        if not self._blocks or self._blocks[-1].kind != "thinking" or self._blocks[-1].signature is not None:
            self._blocks.append(_Growing("thinking", []))
        self._blocks[-1].signature = signature
        return Piece(len(self._blocks) - 1)

    def _note_salvage(self, event: Salvaged) -> Piece:
        piece = self._call(event.id)
        self.salvaged += 1
        repaired = f"; its arguments were repaired: {', '.join(event.repairs)}" if event.repairs else ""
        name = self._blocks[piece.block].name
        self.problems.append(f"the {name} call {piece.call!r} was written as text, as {event.form}{repaired}")
        return piece

    def _call(self, call_id: str) -> Piece:
        if call_id not in self._calls:
            return self._begin(call_id, "")
        index = self._calls[call_id]
        return Piece(index, self._blocks[index].id, self._blocks[index].name)

    def _begin(self, call_id: str, name: str) -> Piece:
        if not name:
            self.problems.append(f"a call without a name is called {UNNAMED!r}")
        fresh = self._fresh(call_id)
        self._calls[call_id] = len(self._blocks)
        self._blocks.append(_Growing("call", [], fresh, name or UNNAMED))
        return Piece(len(self._blocks) - 1, fresh)

    def _fresh(self, call_id: str) -> str:
        candidate, number = call_id or "call", 1
        repeated = candidate in self._taken
        while candidate in self._taken or candidate in self._elsewhere:
            number += 1
            candidate = f"{call_id or 'call'}_{number}"
        self._taken.add(candidate)
        self._elsewhere.add(candidate)
        if repeated or not call_id:
            self.problems.append(f"call id {call_id!r} cannot be used again: the call is {candidate!r}")
        return candidate


def parse_input(text: str) -> dict[str, Any]:
    """A call's arguments as an object; anything else comes back marked, for unreadable_input() to tell."""
    if not text.strip():
        return {}
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()  # an escaped half of a surrogate pair could not be stored
    except (ValueError, RecursionError) as exc:
        return {INVALID_INPUT: {"text": text, "problem": _reason(exc)}}
    if not isinstance(value, dict):
        return {INVALID_INPUT: {"text": text, "problem": f"it is {_JSON_NAMES[type(value)]}"}}
    return value


def unreadable_input(call: ToolUse) -> str | None:
    """Why a call cannot be run as it came, with its text, to tell the model; None for a call that can."""
    marked = call.input.get(INVALID_INPUT)
    if not isinstance(marked, dict):
        return None
    text = str(marked.get("text", ""))
    shown = text if len(text) <= 200 else f"{text[:100]} … {text[-100:]}"
    return f"{marked.get('problem')}; its {len(text)} characters are {shown}"


def _reason(exc: ValueError | RecursionError) -> str:
    if isinstance(exc, json.JSONDecodeError):
        return f"it is no JSON ({exc.msg} at character {exc.pos + 1})"
    if isinstance(exc, UnicodeEncodeError):
        return "it holds half of a surrogate pair"
    return "it is nested too deeply" if isinstance(exc, RecursionError) else f"it is no JSON ({exc})"


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _well_formed(text: str) -> str:
    """Two halves of a surrogate pair that came in two deltas become one character; a lone half becomes U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
