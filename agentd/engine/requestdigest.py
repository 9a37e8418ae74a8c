"""What a model was sent, as digests: enough to tell, when a job is replayed, which request was another one and where.

Nothing can be read from them that the log does not hold anyway: what clients put into the context is left out, and the
environment of commands and the headers of hooks are in no request. Pure.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from agentd.domain import Message, Text, block_to_json
from agentd.providers.protocol import ToolSchema

if TYPE_CHECKING:
    from hashlib import _Hash

PART_CHARS, WHOLE_CHARS = 8, 16  # hexadecimal digits of a digest: of a tool, and of what all is told from

_encode = json.JSONEncoder(ensure_ascii=True, separators=(",", ":"), check_circular=False, default=dict).encode


@attrs.define
class RequestDigest:
    """Of the requests of one conversation, which only grows as a rule: what was digested is not digested again."""

    _seen: tuple[Message, ...] = ()
    _running: _Hash = attrs.field(factory=hashlib.sha256)
    _told: dict[str, Any] = attrs.field(factory=dict)

    def describe(
        self,
        system: str,
        messages: Sequence[Message],
        tools: Sequence[ToolSchema],
        *,
        context: int | None = None,
        material: int = 0,
    ) -> dict[str, Any]:
        """What `sent` of a usage record says. *messages* are without what clients put before them, which is *material*
        characters long; *context*: tokens that the model takes."""
        head = {
            "system": hashlib.sha256(system.encode("utf-8", "replace")).hexdigest()[:WHOLE_CHARS],
            "tools": {tool.name: _digest_of(tool) for tool in tools},
            "context": context,
            "material": material,
        }
        new = {name: value for name, value in head.items() if name not in self._told or self._told[name] != value}
        self._told = head
        return {"messages": self._digest(tuple(messages)), **new}

    def _digest(self, messages: tuple[Message, ...]) -> str:
        known = len(self._seen)
        if len(messages) < known or any(a is not b for a, b in zip(self._seen, messages, strict=False)):
            known, self._running = 0, hashlib.sha256()
        for message in messages[known:]:
            self._running.update(_encode([message.role, [block_to_json(block) for block in message.content]]).encode())
        self._seen = messages
        return self._running.hexdigest()[:WHOLE_CHARS]


def _digest_of(tool: ToolSchema) -> str:
    told = _encode([tool.description, tool.input_schema]).encode()
    return hashlib.sha256(told).hexdigest()[:PART_CHARS]


def material_chars(messages: Sequence[Message], said: Sequence[Message]) -> int:
    """Characters that *messages* have in front of what was *said*."""
    return sum(_chars(shown) - _chars(plain) for shown, plain in zip(messages, said, strict=True) if shown is not plain)


def _chars(message: Message) -> int:
    return sum(len(block.text) for block in message.content if isinstance(block, Text))
