"""The requests that wait for a server, and their clocks. Nothing is sent or read here."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from agentd.tools.mcp import protocol
from agentd.tools.mcp.transport import TransportFailed
from agentd.wire.jsonrpc import Response
from agentd.wire.typed import MAX_INTEGER

PATIENCE = 10  # times the seconds of a request are what it may take at most, however it progresses
LONGEST_LINE = 500  # characters of progress and logging


class RequestTimedOut(TransportFailed):
    def __init__(self, seconds: float) -> None:
        super().__init__(f"there was no answer within {seconds:g} s")


@attrs.frozen
class Watch:
    """What happens beside a request. *tell* gets lines of progress and logging; *call*: the tool call it is for."""

    tell: Callable[[str], object]
    call: str = ""


@attrs.define(eq=False)
class Pending:
    """A request whose *scope* ends when its time does. *sent*: the server may have it."""

    id: int
    method: str
    seconds: float
    watch: Watch | None
    latest: float  # when it ends at last
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    answered: trio.Event = attrs.field(factory=trio.Event)
    sent: bool = False
    _response: Response | None = None
    _failure: TransportFailed | None = None
    _progress: float = -math.inf

    def settle(self, response: Response) -> None:
        if not self.answered.is_set():
            self._response = response
            self.answered.set()

    def fail(self, failure: TransportFailed) -> None:
        if not self.answered.is_set():
            self._failure = failure
            self.answered.set()

    def result(self) -> dict[str, Any]:
        """Raises RpcError, RequestTimedOut, TransportFailed."""
        if self._failure is not None:
            raise self._failure
        if self._response is None:
            raise RequestTimedOut(self.seconds)
        if self._response.error is not None:
            raise self._response.error
        if not isinstance(self._response.result, dict):
            raise TransportFailed("its answer is no object")
        return self._response.result

    def tell_progress(self, progress: float, params: Mapping[str, Any]) -> bool:
        """No: it has to grow; what does not is no progress."""
        if self.watch is None or progress <= self._progress:
            return False
        self._progress = progress
        total = _number(params.get("total"))
        of = "" if total is None else f"/{total:g}"
        said = protocol.one_line(params.get("message"), LONGEST_LINE)
        self.watch.tell(f"[{progress:g}{of}] {said}".rstrip() + "\n")
        return True


class InFlight:
    """All of one session."""

    def __init__(self) -> None:
        self._ids = itertools.count(1)
        self._pending: dict[int, Pending] = {}
        self._standing = 0

    def __iter__(self) -> Iterator[Pending]:
        return iter([*self._pending.values()])

    def get(self, request_id: Any) -> Pending | None:
        return self._pending.get(request_id) if type(request_id) is int else None

    @property
    def watches(self) -> list[Watch]:
        return [pending.watch for pending in self if pending.watch is not None]

    @contextmanager
    def one_more(self, method: str, seconds: float, watch: Watch | None) -> Iterator[Pending]:
        latest = trio.current_time() + seconds * PATIENCE
        pending = Pending(next(self._ids), method, seconds, watch, latest)
        self._pending[pending.id] = pending
        try:
            yield pending
        finally:
            del self._pending[pending.id]

    def start_clock(self, pending: Pending) -> None:
        end = min(trio.current_time() + pending.seconds, pending.latest)
        pending.scope.deadline = math.inf if self._standing else end

    @contextmanager
    def clocks_stand(self) -> Iterator[None]:
        """While a person thinks, no server is late: which request it is for is often not to be known."""
        started = trio.current_time()
        self._standing += 1
        for pending in self:
            self.start_clock(pending)
        try:
            yield
        finally:
            self._standing -= 1
            for pending in self:
                pending.latest += trio.current_time() - started
                self.start_clock(pending)

    def hear_progress(self, params: Mapping[str, Any]) -> None:
        """As a notification tells it."""
        pending, progress = self.get(params.get("progressToken")), _number(params.get("progress"))
        if pending is not None and progress is not None and pending.tell_progress(progress, params):
            self.start_clock(pending)

    def fail(self, failure: TransportFailed) -> None:
        for pending in self:
            pending.fail(failure)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and abs(value) < MAX_INTEGER else None
