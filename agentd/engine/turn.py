"""One turn: a model's reply, streamed into the log as it comes and kept whole at its end."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import attrs
import trio

from agentd.domain import Entry, Message, Usage, block_to_json
from agentd.providers.assemble import Assembler, Piece
from agentd.providers.protocol import CallDelta, ModelRequest, Provider, TextDelta, ThinkingDelta

DELTA_CHARS = 1024  # a delta record is written when so much has come,
DELTA_SECONDS = 0.05  # or when its first character is so old


@attrs.frozen
class Turn:
    message: Message
    usage: Usage
    stop_reason: str


@attrs.define
class Deltas:
    """Gathers what a model streams into few records: readers see it at most DELTA_SECONDS late."""

    append: Callable[[Entry], object]
    job: str
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
            data = {"message": self.message, "block": self._piece.block, "text": "".join(self._texts)}
            self.append(Entry(self._kind, data | ({"call": self._piece.call} if self._piece.call else {}), self.job))
        self._texts.clear()
        self._chars = 0

    async def flush_late_ones(self) -> None:
        """Runs beside the stream, cancelled at its end: a model that pauses leaves nothing unseen."""
        while True:
            await self._waiting.wait()
            await trio.sleep(DELTA_SECONDS)
            self._waiting = trio.Event()
            self.flush()


async def take_turn(provider: Provider, request: ModelRequest, append: Callable[[Entry], object], job: str) -> Turn:
    """Stream one reply and write it. Raises ProviderFailed; what was streamed until then is in the log as deltas."""
    deltas = Deltas(append, job, str(uuid.uuid4()))
    assembler = Assembler({call.id for message in request.messages for call in message.calls})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deltas.flush_late_ones)
        try:
            async with provider.stream(request) as events:
                async for event in events:
                    piece = assembler.feed(event)
                    if piece is not None and isinstance(event, TextDelta | ThinkingDelta | CallDelta):
                        deltas.add(_DELTAS[type(event)], piece, event.text)
        finally:
            deltas.flush()
        nursery.cancel_scope.cancel()
    for problem in assembler.problems:
        append(Entry("notice", {"level": "warning", "code": "MODEL_OUTPUT", "text": problem}, job))
    message = assembler.message(deltas.message)
    content = [block_to_json(block) for block in message.content]
    data = {"id": message.id, "role": message.role, "content": content, "model": request.model}
    append(Entry("message", data | {"usage": attrs.asdict(assembler.usage)}, job))
    return Turn(message, assembler.usage, assembler.stop_reason)


_DELTAS = {TextDelta: "text.delta", ThinkingDelta: "thinking.delta", CallDelta: "input.delta"}
