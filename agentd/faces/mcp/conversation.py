"""What goes on between a client and this server on one connection, or in one session of HTTP: requests that are being
answered, and those that the client is to answer. No sockets here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from agentd.faces.mcp.protocol import CANCELLED
from agentd.wire.jsonrpc import INVALID_REQUEST, Id, Notification, Request, Response, RpcError

MOST_AT_ONCE = 64  # requests that are being answered


@attrs.define(eq=False)
class _Asked:
    over: trio.Event = attrs.field(factory=trio.Event)
    response: Response | None = None


@attrs.define(eq=False)
class Conversation:
    """The requests of one client by their ids, and ours to it."""

    _running: dict[Id, trio.CancelScope] = attrs.field(factory=dict)
    _asked: dict[Id, _Asked] = attrs.field(factory=dict)
    _last: int = 0

    @property
    def is_busy(self) -> bool:
        return bool(self._running)

    @contextmanager
    def answering(self, request_id: Id, scope: trio.CancelScope) -> Iterator[None]:
        """While a request is answered, the client may take it back: then *scope* is cancelled. Raises RpcError."""
        if request_id in self._running:
            raise RpcError(INVALID_REQUEST, "a request with this id is being answered")
        if len(self._running) >= MOST_AT_ONCE:
            raise RpcError(INVALID_REQUEST, f"{MOST_AT_ONCE} requests are being answered already; wait for one")
        self._running[request_id] = scope
        try:
            yield
        finally:
            del self._running[request_id]

    def take(self, message: Notification | Response) -> None:
        """What the client says unasked, or answers. What means nothing here is passed over."""
        if isinstance(message, Response):
            if message.id is not None and (asked := self._asked.get(message.id)) is not None:
                asked.response = message
                asked.over.set()
        elif message.method == CANCELLED:
            request_id = (message.params or {}).get("requestId")
            if isinstance(request_id, (str, int)) and (scope := self._running.get(request_id)) is not None:
                scope.cancel()

    async def ask(self, send: Callable[[Request | Notification], None], method: str, params: Mapping[str, Any]) -> Any:
        """What the client answers to a request. *send* says it without waiting. Raises RpcError."""
        self._last += 1
        request_id = f"agentd-{self._last}"
        self._asked[request_id] = asked = _Asked()
        try:
            send(Request(request_id, method, params))
            await asked.over.wait()
        except trio.Cancelled:
            send(Notification(CANCELLED, {"requestId": request_id, "reason": "nobody needs the answer any more"}))
            raise
        finally:
            del self._asked[request_id]
        assert asked.response is not None, "it was set before the event"
        if asked.response.error is not None:
            raise asked.response.error
        return asked.response.result

    def end(self) -> None:
        """Whoever waits here waits no longer."""
        for scope in tuple(self._running.values()):
            scope.cancel()
