"""One call of a model: its reply, streamed into the log as it comes and kept whole at its end. No retries here."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

import attrs
import trio

from agentd.domain import Entry, Message, Text, Usage, block_to_json
from agentd.errors import ProviderFailed, only_cause
from agentd.providers.assemble import Assembler, Piece
from agentd.providers.protocol import (
    CallDelta,
    ModelRequest,
    Provider,
    RequestSent,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)

DELTA_CHARS = 1024  # a delta record is written when so much has come,
DELTA_SECONDS = 0.05  # or when its first character is so old
KEPT_CHARS = 100_000  # of a reply that broke off: one without end would fill the conversation for good


@attrs.frozen
class Turn:
    message: Message
    usage: Usage
    stop_reason: str
    salvaged: int  # calls that the model wrote as text
    first_ms: int  # from the call to the first event of the reply,
    duration_ms: int  # and to its last


@attrs.define
class Deltas:
    """Gathers what a model streams into few records: readers see it at most DELTA_SECONDS late."""

    write: Callable[[Entry], object]
    message: str
    _kind: str = ""
    _piece: Piece | None = None
    _texts: list[str] = attrs.field(factory=list)
    _chars: int = 0
    _waiting: trio.Event = attrs.field(factory=trio.Event)

    def add(self, kind: str, piece: Piece, text: str) -> None:
        if (kind, piece) != (self._kind, self._piece):
            self.flush()
            self._kind, self._piece = kind, piece
        self._texts.append(text)
        self._chars += len(text)
        if self._chars >= DELTA_CHARS:
            self.flush()
        else:
            self._waiting.set()

    def flush(self) -> None:
        if self._piece is not None and self._chars:
            piece = self._piece
            data = {"message": self.message, "block": piece.block, "text": "".join(self._texts)}
            self.write(Entry(self._kind, data | ({"call": piece.call, "name": piece.name} if piece.call else {})))
        self._texts.clear()
        self._chars = 0

    async def flush_late_ones(self) -> None:
        """Runs beside the stream, cancelled at its end: a model that pauses leaves nothing unseen."""
        while True:
            await self._waiting.wait()
            await trio.sleep(DELTA_SECONDS)
            self._waiting = trio.Event()
            self.flush()


@attrs.define
class Attempt:
    """One call of a model."""

    provider: Provider
    request: ModelRequest
    write: Callable[[Entry], object]
    taken: set[str]  # ids that calls of the reply may not have, beside those of the conversation; it adds its own
    sent: bytes | None = None  # the body of the request, where the provider tells it
    _first: float | None = None  # when the reply began
    _started: float = attrs.field(factory=trio.current_time)
    _deltas: Deltas = attrs.field(init=False)
    _assembler: Assembler = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._deltas = Deltas(self.write, str(uuid.uuid4()))
        own = {call.id for message in self.request.messages for call in message.calls}
        self._assembler = Assembler(own, self.taken)

    @property
    def begun(self) -> bool:
        """Whether anything of the reply has come: then it has been seen, and cannot be had again."""
        return self._first is not None

    async def run(self) -> Turn:
        """The whole reply. Raises ProviderFailed; of a reply that broke off, the log keeps the text."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._deltas.flush_late_ones)
                await self._stream()
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            exc = only_cause(group)
            if isinstance(exc, ProviderFailed):
                self._keep_text()
            raise exc from exc.__cause__
        return self._finish()

    async def _stream(self) -> None:
        try:
            async with self.provider.stream(self.request) as events:
                async for event in events:
                    self._take(event)
        finally:
            self._deltas.flush()

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, RequestSent):
            self.sent = event.body
            return
        if self._first is None:
            self._first = trio.current_time()
        piece = self._assembler.feed(event)
        if piece is not None and isinstance(event, TextDelta | ThinkingDelta | CallDelta):
            self._deltas.add(_DELTAS[type(event)], piece, event.text)

    def _finish(self) -> Turn:
        assembler, message = self._assembler, self._assembler.message(self._deltas.message)
        for problem in assembler.problems:
            self.write(Entry("notice", {"level": "warning", "code": "MODEL_OUTPUT", "text": problem}))
        self._keep(message, attrs.asdict(assembler.usage))
        first_ms = self._since(self._first)
        return Turn(message, assembler.usage, assembler.stop_reason, assembler.salvaged, first_ms, self._since(None))

    def _since(self, then: float | None) -> int:
        """Milliseconds from the call to *then*, or to now."""
        return round(1000 * ((trio.current_time() if then is None else then) - self._started))

    def _keep_text(self) -> None:
        """What was said of a reply that broke off stays in the conversation. Its calls and its thinking cannot: they
        are not whole, and services refuse such."""
        message = self._assembler.message(self._deltas.message)
        said = _beginning([block.text for block in message.content if isinstance(block, Text) and block.text.strip()])
        if said:
            self._keep(attrs.evolve(message, content=said), None)

    def _keep(self, message: Message, usage: dict[str, int] | None) -> None:
        content = [block_to_json(block) for block in message.content]
        data = {"id": message.id, "role": message.role, "content": content, "model": self.request.model}
        self.write(Entry("message", data | {"usage": usage}))


def _beginning(texts: Sequence[str]) -> tuple[Text, ...]:
    """KEPT_CHARS of them, and how much is missing."""
    kept: list[Text] = []
    left = KEPT_CHARS
    for text in texts:
        if left > 0:
            kept.append(Text(text[:left]))
        left -= len(text)
    if left < 0:
        kept[-1] = Text(f"{kept[-1].text}\n[{-left} more characters came, and are left out]")
    return tuple(kept)


_DELTAS = {TextDelta: "text.delta", ThinkingDelta: "thinking.delta", CallDelta: "input.delta"}
