"""The Messages API: what comes back, as events. No sockets and no trio here. anthropic.py says whose rules apply.

In order ("Streaming messages"): message_start; for every block content_block_start, deltas, content_block_stop;
message_delta with the reason and the usage, which is cumulative; message_stop. A ping may come anywhere, and so may
events that do not exist yet. What services that copy the API do beyond it, and what becomes of it:

    a document instead of a stream           its blocks are the reply
    a tool call whose input comes at once    its arguments
    an id that came before, or none          one of ours
    a delta for a block that never started   begins it
    a block that never stops                 stops when the message does
    input tokens told only at the end        counted: of every number the largest
    no message_stop                          complete if a stop_reason came
    the end before that                      NetworkFailed: the connection broke
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import attrs

from agentd.domain import Usage
from agentd.providers.failures import NetworkFailed, ProtocolBroken, Target, classify_error
from agentd.providers.jsonstream import JsonStream
from agentd.providers.loose import count, fields, objects, text
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
    ThinkingSigned,
)

REDACTED = "redacted_thinking:"  # begins the signature of thinking that came encrypted; the rest is the data

REASONS = {"stop_sequence": "end_turn", "model_context_window_exceeded": "max_tokens"}  # the others are ours too
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")


@attrs.define
class _Block:
    """One that has begun and not stopped."""

    may_call: bool = True  # false for one that began as something else: a call of the service's own tools, say
    call: str = ""  # its id, if it is a call
    input: dict[str, Any] = attrs.field(factory=dict)  # of a call: what came with its start, until a delta comes
    signature: list[str] = attrs.field(factory=list)


class Decoder:
    """Events out of an answer's bytes, fed in pieces of any size. feed() and close() raise a ServiceFailed after having
    given what came before; close() does when the reply is not complete."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._body = JsonStream(target)
        self._blocks: dict[int, _Block] = {}  # by index
        self._ids: set[str] = set()
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._reason = ""
        self._seen = False  # an event,
        self._understood = False  # that was of this format
        self._stopped = False

    @property
    def finished(self) -> bool:
        """All that matters has come: should the connection break now, the reply is complete."""
        return bool(self._reason) or self._stopped

    @property
    def ended(self) -> bool:
        """Nothing that matters follows."""
        return self._stopped

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        for event in self._body.feed(data):
            yield from self._event(event)

    def close(self) -> Iterator[StreamEvent]:
        for event in self._body.close():
            yield from self._event(event)
        if not self._understood and (self._body.whole or self._seen):
            raise ProtocolBroken("its JSON is no message", self._target)
        if not (self.finished or self._body.whole):
            raise NetworkFailed("the answer ended before the reply was complete", self._target)
        yield from self._stop()

    def _event(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        if event.get("type") == "error" or event.get("error"):
            raise classify_error(event, self._target)
        self._seen = True
        kind = text(event.get("type"))
        self._understood = self._understood or kind in _EVENTS or kind == "ping"
        if kind in _EVENTS and not self._stopped:
            yield from _EVENTS[kind](self, event)

    def _message_start(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        self._count(fields(event.get("message")).get("usage"))
        return iter(())

    def _block_start(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        yield from self._block_stop(event)  # of one that this replaces
        given = fields(event.get("content_block"))
        block = self._blocks[_index(event)] = _Block(given.get("type") == "tool_use")
        block.signature.append(text(given.get("signature")))
        if said := text(given.get("text")):
            yield TextDelta(said)
        if thought := text(given.get("thinking")):
            yield ThinkingDelta(thought)
        if given.get("type") == "redacted_thinking":
            block.signature = [REDACTED, text(given.get("data"))]
        if block.may_call:
            block.input = fields(given.get("input"))
            yield self._call(block, text(given.get("id")), text(given.get("name")))

    def _block_delta(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        delta = fields(event.get("delta"))
        block = self._blocks.setdefault(_index(event), _Block())
        if said := text(delta.get("text")):
            yield TextDelta(said)
        if thought := text(delta.get("thinking")):
            yield ThinkingDelta(thought)
        if signature := text(delta.get("signature")):
            block.signature.append(signature)
        if block.may_call and (piece := text(delta.get("partial_json"))):
            if not block.call:
                yield self._call(block, "", "")
            block.input = {}
            yield CallDelta(block.call, piece)

    def _block_stop(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        block = self._blocks.pop(_index(event), _Block())
        if block.input:
            yield CallDelta(block.call, json.dumps(block.input, ensure_ascii=False))
        if signature := "".join(block.signature):
            yield ThinkingSigned(signature)

    def _message_delta(self, event: dict[str, Any]) -> Iterator[StreamEvent]:
        self._reason = text(fields(event.get("delta")).get("stop_reason")) or self._reason
        self._count(event.get("usage"))
        return iter(())

    def _message_stop(self, _: dict[str, Any]) -> Iterator[StreamEvent]:
        yield from self._stop()

    def _message(self, message: dict[str, Any]) -> Iterator[StreamEvent]:
        """A whole message, told as a stream would."""
        for index, block in enumerate(objects(message.get("content"))):
            yield from self._block_start({"index": index, "content_block": block})
            yield from self._block_stop({"index": index})
        yield from self._message_delta({"delta": message, "usage": message.get("usage")})
        yield from self._stop()

    def _call(self, block: _Block, given: str, name: str) -> CallStarted:
        block.call, number = given, len(self._ids)
        while not block.call or block.call in self._ids:
            number += 1
            block.call = f"{given or 'call'}_{number}"
        self._ids.add(block.call)
        return CallStarted(block.call, name)

    def _count(self, usage: Any) -> None:
        for name in _COUNTS:
            self._counts[name] = max(self._counts[name], count(fields(usage).get(name)) or 0)

    def _stop(self) -> Iterator[StreamEvent]:
        if self._stopped:
            return
        for index in sorted(self._blocks):
            yield from self._block_stop({"index": index})
        self._stopped = True
        reason = REASONS.get(self._reason, self._reason)
        if reason in ("", "end_turn"):
            reason = "tool_use" if self._ids else "end_turn"
        fresh, read, written, made = (self._counts[name] for name in _COUNTS)
        yield Stopped(reason, Usage(fresh + read + written, made, read, written))


_EVENTS = {
    "message_start": Decoder._message_start,
    "content_block_start": Decoder._block_start,
    "content_block_delta": Decoder._block_delta,
    "content_block_stop": Decoder._block_stop,
    "message_delta": Decoder._message_delta,
    "message_stop": Decoder._message_stop,
    "message": Decoder._message,
}


def _index(event: dict[str, Any]) -> int:
    return count(event.get("index")) or 0
