"""Chat Completions: what comes back, as events. No sockets and no trio here. openai.py says whose rules apply.

What real services do beyond them, and what becomes of it:

    a document instead of a stream              its message is the reply
    no `choices`, an empty list, or null        nothing was said in that chunk; the last one has the usage so
    `reasoning`, `reasoning_content`            thinking (vLLM and OpenRouter; DeepSeek, llama.cpp, LiteLLM)
    content as a list of parts                  text, and thinking where a part is (Mistral)
    a tool call without `index`                 a new call if it has a name, else more of the last (Ollama before 0.4.7)
    one `index` for several calls               a new call where the one before is complete (Ollama, dynamo)
    another `id`, and the name, in each delta   the same call as long as that is not complete (vLLM before 0.9)
    no `id`, or one that came before            one of ours
    arguments as an object                      as JSON (LiteLLM before Ollama)
    `function_call`                             a tool call, as before 2023
    finish_reason "stop" after tool calls       tool_use
    an error in a chunk                         the failure it is
    no [DONE]                                   complete if a finish_reason came
    the end before that                         NetworkFailed: the connection broke
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
from agentd.providers.protocol import CallDelta, CallStarted, Stopped, StreamEvent, TextDelta, ThinkingDelta

REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


class Decoder:
    """Events out of an answer's bytes, fed in pieces of any size. feed() and close() raise a ServiceFailed after having
    given what came before; close() does when the reply is not complete."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._body = JsonStream(target)
        self._calls = _Calls()
        self._usage = Usage()
        self._reason = ""
        self._seen = False  # a chunk,
        self._understood = False  # that was of this format
        self._refused = False
        self._stopped = False

    @property
    def finished(self) -> bool:
        """All that matters has come: should the connection break now, the reply is complete."""
        return bool(self._reason) or self._body.done or self._stopped

    @property
    def ended(self) -> bool:
        """Nothing that matters follows."""
        return self._stopped

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        for chunk in self._body.feed(data):
            yield from self._chunk(chunk)
        if self._body.done:
            yield from self._stop()

    def close(self) -> Iterator[StreamEvent]:
        for chunk in self._body.close():
            yield from self._chunk(chunk)
        if not self._understood and (self._body.whole or self._seen) and not self.finished:
            raise ProtocolBroken("its JSON is no chat completion", self._target)
        if not (self.finished or self._body.whole):
            raise NetworkFailed("the answer ended before the reply was complete", self._target)
        yield from self._stop()

    def _chunk(self, chunk: dict[str, Any]) -> Iterator[StreamEvent]:
        if chunk.get("error") or chunk.get("object") == "error":
            raise classify_error(chunk, self._target)
        self._seen = True
        self._understood = self._understood or "choices" in chunk
        self._usage = _usage(fields(chunk.get("usage"))) or self._usage
        for choice in objects(chunk.get("choices")):
            if choice.get("index") in (0, None):
                yield from self._delta(fields(choice.get("message" if self._body.whole else "delta")))
                self._reason = text(choice.get("finish_reason")) or self._reason

    def _delta(self, delta: dict[str, Any]) -> Iterator[StreamEvent]:
        if thought := text(delta.get("reasoning_content")) or text(delta.get("reasoning")):
            yield ThinkingDelta(thought)
        yield from _content(delta.get("content"))
        if refusal := text(delta.get("refusal")):
            self._refused = True
            yield TextDelta(refusal)
        for piece in objects(delta.get("tool_calls")):
            yield from self._calls.add(piece)
        if legacy := fields(delta.get("function_call")):
            yield from self._calls.add({"index": 0, "function": legacy})

    def _stop(self) -> Iterator[StreamEvent]:
        if self._stopped:
            return
        self._stopped = True
        yield from self._calls.close()
        reason = "refusal" if self._refused else REASONS.get(self._reason, self._reason)
        if reason in ("", "end_turn"):
            reason = "tool_use" if self._calls.any else "end_turn"
        yield Stopped(reason, self._usage)


def _content(content: Any) -> Iterator[StreamEvent]:
    if isinstance(content, str):
        if content:
            yield TextDelta(content)
        return
    for part in objects(content):
        if part.get("type") == "thinking":
            thought = part.get("thinking")
            inner = (
                thought if isinstance(thought, str) else "".join(text(each.get("text")) for each in objects(thought))
            )
            yield ThinkingDelta(inner)
        elif said := text(part.get("text")):
            yield TextDelta(said)


def _usage(usage: dict[str, Any]) -> Usage | None:
    sent, made = count(usage.get("prompt_tokens")), count(usage.get("completion_tokens"))
    if sent is None and made is None:
        return None
    details = fields(usage.get("prompt_tokens_details"))
    cached = count(details.get("cached_tokens")) or count(usage.get("prompt_cache_hit_tokens")) or 0  # DeepSeek's
    return Usage(sent or 0, made or 0, min(cached, sent or 0))


@attrs.define
class _Call:
    id: str  # as we tell it
    given: str  # as the service does
    name: str = ""
    arguments: list[str] = attrs.field(factory=list)
    started: bool = False

    @property
    def complete(self) -> bool:
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


class _Calls:
    """Which call a delta belongs to. A call is told once its name is known, for that is what CallStarted says."""

    def __init__(self) -> None:
        self._by_index: dict[int, _Call] = {}
        self._latest: _Call | None = None
        self._all: dict[str, _Call] = {}  # by the id that we tell

    @property
    def any(self) -> bool:
        return bool(self._all)

    def add(self, piece: dict[str, Any]) -> Iterator[StreamEvent]:
        function = fields(piece.get("function"))
        name, given = text(function.get("name")), function.get("arguments")
        arguments = json.dumps(given, ensure_ascii=False) if isinstance(given, dict) else text(given)
        call = self._find(piece, name, arguments)
        call.name = call.name or name
        if arguments:
            call.arguments.append(arguments)
        if call.started and arguments:
            yield CallDelta(call.id, arguments)
        elif call.name and not call.started:
            yield from self._start(call)

    def close(self) -> Iterator[StreamEvent]:
        """Calls whose name never came."""
        for call in self._all.values():
            if not call.started:
                yield from self._start(call)

    def _find(self, piece: dict[str, Any], name: str, arguments: str) -> _Call:
        index, given = count(piece.get("index")), text(piece.get("id"))
        call = self._all.get(given) if index is None else self._by_index.get(index)
        if call is None and index is None and not name:
            call = self._latest
        if call is None or (name and (given != call.given or (not given and arguments)) and call.complete):
            call = self._begin(given)
        if index is not None:
            self._by_index[index] = call
        self._latest = call
        return call

    def _begin(self, given: str) -> _Call:
        call_id, number = given, len(self._all)
        while not call_id or call_id in self._all:
            number += 1
            call_id = f"{given or 'call'}_{number}"
        self._all[call_id] = call = _Call(call_id, given)
        return call

    def _start(self, call: _Call) -> Iterator[StreamEvent]:
        call.started = True
        yield CallStarted(call.id, call.name)
        if call.arguments:
            yield CallDelta(call.id, "".join(call.arguments))
