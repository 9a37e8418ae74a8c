"""What comes back of a request: its head, and its body in the form that it is wanted in."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import h11

from agentd.wire.exchange import Watch, Wire
from agentd.wire.messages import Headers
from agentd.wire.sse import Decoder as EventDecoder
from agentd.wire.sse import Event, EventTooLarge

if TYPE_CHECKING:
    from agentd.wire.decoding import Decoder

T = TypeVar("T")

MAX_BODY = 64 * 1024 * 1024
MAX_LINE = 16 * 1024 * 1024


class WholeAnswer(NamedTuple):
    """*url*: where it came from in the end, without credentials; "" where there is only one server to ask."""

    status: int
    headers: Headers
    body: bytes
    url: str = ""

    def __repr__(self) -> str:
        return f"WholeAnswer({self.status}, {len(self.body)} bytes)"


class Answer:
    """An answer whose body is still to come: take it once, by one of chunks(), lines(), events() and read_all(). They
    raise HttpFailed when it breaks off, stalls, or is larger than it may be. *url* is as in WholeAnswer."""

    def __init__(self, head: h11.Response, wire: Wire, watch: Watch, url: str = "") -> None:
        self.status = head.status_code
        self.headers = Headers.from_wire(list(head.headers))
        self.url = url
        self._wire = wire
        self._watch = watch
        self._decoder: Decoder | None = None

    def decode(self) -> None:
        """Take the Content-Encoding off what is read. Raises HttpFailed for one that we know nothing of."""
        from agentd.wire.decoding import BadCoding, decoder_for

        try:
            self._decoder = decoder_for(self.headers.get("content-encoding"))
        except BadCoding as exc:
            raise self._watch.failed("protocol", str(exc)) from exc

    def chunks(self) -> AsyncIterator[bytes]:
        """In pieces as they come; none is empty."""

        async def step() -> list[bytes] | None:
            piece = await self._next_piece()
            return [piece] if piece else None

        return _Items(step)

    def chunk_nowait(self) -> bytes:
        """What has come already, as one piece; b"" if that is nothing. Not for a body that is decoded."""
        return self._wire.piece_nowait()

    def lines(self, max_line: int = MAX_LINE) -> AsyncIterator[bytes]:
        """Without their ends; empty ones, which keep a stream of NDJSON alive, are left out."""
        held: list[bytes] = []  # the pieces of a line whose end has not come yet
        size = 0

        async def step() -> list[bytes] | None:
            nonlocal size
            piece = await self._next_piece()
            first, *rest = piece.split(b"\n")
            held.append(first)
            size += len(first)
            if size > max_line:
                raise self._watch.failed("protocol", f"the answer has a line of more than {max_line} bytes")
            if piece and not rest:
                return []
            lines = [b"".join(held), *rest]
            held[:] = [lines.pop()] if rest else []
            size = sum(map(len, held))
            found = [line for line in lines if line]
            return found if piece or found else None

        return _Items(step)

    def events(self, decoder: EventDecoder | None = None) -> AsyncIterator[Event]:
        """Server-Sent Events. *decoder*: for who wants to know what else it has seen."""
        decoder = decoder or EventDecoder()

        async def step() -> list[Event] | None:
            piece = await self._next_piece()
            try:
                return decoder.feed(piece) if piece else None
            except EventTooLarge as exc:
                raise self._watch.failed("protocol", str(exc)) from exc

        return _Items(step)

    async def read_all(self, limit: int = MAX_BODY) -> bytes:
        """What is left, of at most *limit* bytes."""
        pieces, size = [], 0
        while piece := await self._next_piece():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise self._watch.failed("protocol", f"the answer is larger than {limit} bytes")
        return b"".join(pieces)

    async def whole(self, limit: int = MAX_BODY) -> WholeAnswer:
        return WholeAnswer(self.status, self.headers, await self.read_all(limit), self.url)

    async def _next_piece(self) -> bytes:
        return await self._wire.next_piece() if self._decoder is None else await self._decoded_piece(self._decoder)

    async def _decoded_piece(self, decoder: Decoder) -> bytes:
        from agentd.wire.decoding import BadCoding

        try:
            while not (piece := decoder.piece()):
                if not (data := await self._wire.next_piece()):
                    decoder.finish()
                    break
                decoder.feed(data)
            return piece
        except BadCoding as exc:
            raise self._watch.failed("protocol", str(exc)) from exc


class _Items(Generic[T]):
    """An iterator that may be dropped in the middle, which an async generator may not."""

    def __init__(self, step: Callable[[], Awaitable[list[T] | None]]) -> None:
        self._step = step
        self._ready: deque[T] = deque()

    def __aiter__(self) -> _Items[T]:
        return self

    async def __anext__(self) -> T:
        while not self._ready:
            if (items := await self._step()) is None:
                raise StopAsyncIteration
            self._ready.extend(items)
        return self._ready.popleft()
