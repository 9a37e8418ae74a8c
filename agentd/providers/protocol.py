"""What every language model service is to the engine: a request in, a stream of small events out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, runtime_checkable

import attrs

from agentd.domain import Message, Usage


@attrs.frozen
class ToolSchema:
    name: str
    description: str
    input_schema: Mapping[str, Any]


@attrs.frozen
class ModelRequest:
    """Between two calls of one job this only grows at the end, so that a service's prompt cache keeps working."""

    model: str  # the provider's own name for it
    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSchema, ...]
    max_tokens: int | None = None  # of the reply; None: as the service is configured
    output_schema: Mapping[str, Any] | None = None  # JSON Schema of the reply's text, for services that hold to one
    stop: tuple[str, ...] = ()  # texts before which the reply ends; services take four
    thinking_tokens: int | None = None  # a hint: 0 for not at all; None: as the service is configured
    user: str | None = None  # the end user, for services that want to tell them apart


@attrs.frozen
class RequestSent:
    """The first event of a service that is called over the network: what it was sent, for the record of the call."""

    body: bytes = attrs.field(repr=False)


@attrs.frozen
class TextDelta:
    text: str


@attrs.frozen
class ThinkingDelta:
    text: str


@attrs.frozen
class ThinkingSigned:
    """Ends a block of thinking, which may have no text: the service wants it back with this signature, unchanged."""

    signature: str


@attrs.frozen
class CallStarted:
    """The model begins a tool call. Calls may overlap: deltas name the call they belong to."""

    id: str
    name: str


@attrs.frozen
class CallDelta:
    id: str
    text: str  # a piece of the call's input as JSON


@attrs.frozen
class Salvaged:
    """Comes after CallStarted of a call that the model wrote as text, and that was read from it."""

    id: str
    form: str  # how it was written, for people: "<tool_call>", "a fenced block" …
    repairs: tuple[str, ...] = ()  # what was mended in its arguments, for people


@attrs.frozen
class Stopped:
    """The last event. *reason*: end_turn, tool_use, max_tokens, refusal, failed, or the service's own word.

    failed: the model says that it could not do what was spelled out; the job (or task) fails.
    """

    reason: str
    usage: Usage


StreamEvent = RequestSent | TextDelta | ThinkingDelta | ThinkingSigned | CallStarted | CallDelta | Salvaged | Stopped


class Provider(Protocol):
    @property
    def name(self) -> str: ...

    def models(self) -> tuple[str, ...]:
        """Names it answers to; the first is its default."""

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        """The model's reply as it comes. Leaving the block ends the call. Raises ProviderFailed, before or midway."""


@attrs.frozen
class Price:
    """USD per million tokens."""

    input: float
    output: float
    cached: float | None = None  # of input tokens that the service had in its cache; None: as *input*
    written: float | None = None  # of those that it put there; None: as *input*

    def cost(self, usage: Usage) -> float:
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.written is None else self.written
        fresh = usage.input_tokens - usage.cached_tokens - usage.written_tokens
        sent = fresh * self.input + usage.cached_tokens * cached + usage.written_tokens * written
        return (sent + usage.output_tokens * self.output) / 1e6


FREE = Price(0.0, 0.0)
OFFLINE = frozenset({"builtin", "scripted"})  # providers that are no services: by name only, and never a fallback


@attrs.frozen
class ModelInfo:
    """What is known of a model without asking it."""

    context_tokens: int | None = None
    price: Price | None = None  # None: not known, which is not the same as free
    note: str = ""
    vision: bool | None = None  # whether it takes images; None: not known


@runtime_checkable
class Describing(Protocol):
    """A provider that knows more of its models than their names."""

    def describe(self, model: str) -> ModelInfo: ...
