"""Tool calls that small models write as text instead of making them, made after all. leakscan.py says what is one.

Wraps a provider: its replies come as they are, but for such calls, each of which is marked and so counted. A model that
has made one call as it should is taken to know how: what it writes as text from then on is text.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Container, Iterator
from contextlib import aclosing, asynccontextmanager

from agentd.errors import ProviderFailed
from agentd.providers.leakscan import Found, Scanner
from agentd.providers.protocol import (
    CallDelta,
    CallStarted,
    Describing,
    ModelInfo,
    ModelRequest,
    Provider,
    Salvaged,
    Stopped,
    StreamEvent,
    TextDelta,
)

_CUT = ("max_tokens", "refusal")  # reasons to stop that leave a reply incomplete, and that stay what they are


class Salvager:
    """The events of one reply to *request*, with calls instead of what is one in its text."""

    def __init__(self, request: ModelRequest, *, own_fence: str = "") -> None:
        tools = {tool.name: tool for tool in request.tools}
        self._scanner = Scanner(tools, own_fence=own_fence, unmarked=request.output_schema is None)
        self._own_fence = own_fence
        self._active = bool(tools)
        self._made = sum(len(message.calls) for message in request.messages)  # for ids that were not used before
        self._found = False

    def feed(self, event: StreamEvent) -> Iterator[StreamEvent]:
        match event:
            case TextDelta(text) if self._active:
                yield from self._tell(self._scanner.feed(text))
            case CallStarted() if self._active:
                yield from self.release()
                self._active = False
                yield event
            case Stopped(reason, usage) if self._active:
                yield from self._tell(self._scanner.close(whole=reason not in _CUT))
                yield Stopped("tool_use" if self._found and reason not in _CUT else reason, usage)
            case _:
                yield event

    def release(self) -> Iterator[StreamEvent]:
        """What is held back, as text: for a reply that breaks off."""
        if text := self._scanner.release():
            yield TextDelta(text)

    def _tell(self, items: Iterator[str | Found]) -> Iterator[StreamEvent]:
        for item in items:
            if isinstance(item, str):
                yield TextDelta(item)
            else:
                yield from self._calls(item)

    def _calls(self, found: Found) -> Iterator[StreamEvent]:
        self._found = True
        for call in found.calls:
            self._made += 1
            call_id = f"text_call_{self._made}"
            yield CallStarted(call_id, call.name)
            if found.form or call.repairs:
                yield Salvaged(call_id, found.form or f"a {self._own_fence} block", call.repairs)
            yield CallDelta(call_id, call.arguments)


async def salvaged(events: AsyncIterator[StreamEvent], salvager: Salvager) -> AsyncGenerator[StreamEvent, None]:
    """*events* through *salvager*. What it holds back is given when they fail."""
    try:
        async for event in events:
            for each in salvager.feed(event):
                yield each
    except ProviderFailed:
        for each in salvager.release():
            yield each
        raise


class SalvagingProvider:
    """*provider*, with the calls of its *models* salvaged (None: of all)."""

    def __init__(self, provider: Provider, models: Container[str] | None = None) -> None:
        self._provider = provider
        self._salvages = models

    @property
    def name(self) -> str:
        return self._provider.name

    def models(self) -> tuple[str, ...]:
        return self._provider.models()

    def describe(self, model: str) -> ModelInfo:
        return self._provider.describe(model) if isinstance(self._provider, Describing) else ModelInfo()

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        async with self._provider.stream(request) as events:
            if self._salvages is not None and request.model not in self._salvages:
                yield events
                return
            async with aclosing(salvaged(events, Salvager(request))) as mended:
                yield mended
