"""One request over HTTP while it is answered: as a JSON object if that is soon there, else as a stream of events."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from agentd.faces.mcp import protocol
from agentd.faces.mcp.conversation import Conversation
from agentd.faces.mcp.protocol import JSON
from agentd.wire import sse
from agentd.wire.feed import WatchedFeed
from agentd.wire.jsonrpc import Message, Notification, Response, encode
from agentd.wire.messages import Answer, StreamResponse, to_json
from agentd.wire.messages import Request as HttpRequest
from agentd.wire.messages import Response as HttpResponse
from agentd.wire.presence import while_there

STREAM_SECONDS = 10.0  # after which an answer that is not there becomes a stream: proxies cut what is silent
MOST_NOTIFIED = 2000  # messages of one exchange; progress beyond that is not told


@attrs.define(eq=False)
class Exchange:
    """What the client is told, in order: a source for a feed. The last is the *response*, unless it is taken back.
    *may_stream*: the client takes a stream. *scope*: of the work for it."""

    conversation: Conversation
    is_stateless: bool
    may_stream: bool
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    response: Response | None = None
    over: bool = False
    _frames: list[bytes] = attrs.field(factory=list)
    _news: trio.Event = attrs.field(factory=trio.Event)
    _callbacks: dict[object, Callable[[], None]] = attrs.field(factory=dict)

    # --- From the work --------------------------------------------------------------------------------------------

    @property
    def takes_messages(self) -> bool:
        return self.may_stream and len(self._frames) < MOST_NOTIFIED

    @property
    def takes_requests(self) -> bool:
        return self.takes_messages and not self.is_stateless

    def notify(self, method: str, params: Mapping[str, Any]) -> None:
        self._say(Notification(method, params))

    async def ask(self, method: str, params: Mapping[str, Any]) -> Any:
        return await self.conversation.ask(self._say, method, params)

    def end(self, response: Response | None) -> None:
        """*response* None: it was taken back."""
        if response is not None:
            self.response = response
            self._frames.append(_frame(response))
        self.over = True
        self._tell()

    def _say(self, message: Message) -> None:
        if self.takes_messages and not self.over:
            self._frames.append(_frame(message))
            self._tell()

    def _tell(self) -> None:
        self._news.set()
        for callback in tuple(self._callbacks.values()):
            callback()

    # --- For the connection ---------------------------------------------------------------------------------------

    async def answer(self, request: HttpRequest) -> Answer:
        """As JSON if that is soon there. Raises Hangup."""
        await self._wait(request)
        if self.response is not None and len(self._frames) == 1:
            error = self.response.error
            status = protocol.STATUS.get(error.code, 200) if error is not None and self.is_stateless else 200
            return HttpResponse(status, written(self.response), JSON)
        if not self.may_stream:
            return HttpResponse(202, content_type=None)
        return StreamResponse(WatchedFeed(self, self.scope.cancel))

    async def whole(self, request: HttpRequest) -> bytes | None:
        """The response, of who takes no stream; None: it was taken back. Raises Hangup."""
        await self._wait(request)
        return written(self.response) if self.response is not None else None

    async def _wait(self, request: HttpRequest) -> None:
        """The client that leaves takes its request back: nobody else could get the answer. Raises Hangup."""
        try:
            await while_there(request.wait_gone, self._begun)
        except BaseException:
            self.scope.cancel()
            raise

    async def _begun(self) -> None:
        """Until it is over, or has to be a stream."""
        with trio.move_on_after(STREAM_SECONDS if self.may_stream else math.inf):
            while not self.over and not self._frames:
                self._news = trio.Event()
                await self._news.wait()

    def read(self, after: int) -> tuple[bytes, int]:
        return b"".join(self._frames[after:]), len(self._frames)

    def ended(self, after: int) -> bool:
        return self.over and after >= len(self._frames)

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        key = object()
        self._callbacks[key] = callback
        return lambda: self._unsubscribe(key)

    def _unsubscribe(self, key: object) -> None:
        self._callbacks.pop(key, None)


def _frame(message: Message) -> bytes:
    return sse.encode("message", written(message).decode())


def written(message: Message) -> bytes:
    """As JSON. What UTF-8 has not, as names of files may have it, becomes "?"."""
    try:
        return encode(message)
    except UnicodeEncodeError:
        field = "result" if isinstance(message, Response) else "params"
        return encode(attrs.evolve(message, **{field: json.loads(to_json(getattr(message, field)))}))
