"""One connection's HTTP/1.1 from the client's side: a request goes out, the head of its answer and its body come in.

Every wait in here has a deadline, and what goes wrong comes out as HttpFailed. A connection is used for one request at
a time; make_ready() says whether it can take another. Opening and keeping connections is done elsewhere.
"""

from __future__ import annotations

import math
import re
import select
from collections.abc import AsyncIterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import h11
import trio

from agentd.wire.failure import HttpFailed, Kind
from agentd.wire.messages import Fields

RECEIVE_BYTES = 64 * 1024
SEND_BYTES = 256 * 1024  # of a body: each of them is given its own time
MAX_HEAD = 64 * 1024
QUOTE_CHARACTERS = 200  # of what h11 says: it repeats whole lines that it does not understand

_SAFE_TO_REPEAT = frozenset({"GET", "HEAD", "PUT", "DELETE", "OPTIONS"})  # RFC 9110, 9.2.2
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Deadlines(NamedTuple):  # not attrs, in what `agentd run` loads: each class would cost its start 0.4 ms
    """Seconds; math.inf for no limit. What is late raises HttpFailed of kind "timeout"."""

    connect: float = 10.0  # for a connection, with look-up, proxy and TLS; before that, for a place in the pool
    first_byte: float = 60.0  # from the end of the request to the answer's head; and at least that to its first byte
    between_bytes: float = 60.0  # without a byte of the body, in either direction
    total: float = math.inf  # from the beginning to the answer's last byte


class Watch:
    """One request's clock, and what it is called in texts."""

    def __init__(self, what: str, deadlines: Deadlines) -> None:
        self.what = what
        self.deadlines = deadlines
        self._end = trio.current_time() + deadlines.total

    @contextmanager
    def wait(self, seconds: float, late: str, *, broken: Kind = "network") -> Iterator[None]:
        """Do something within *seconds*, and within the whole time. *late* is what is said if it takes longer, *broken*
        the kind of failure that a broken connection is."""
        end = trio.current_time() + seconds
        try:
            with trio.fail_at(min(end, self._end)):
                yield
        except trio.TooSlowError as exc:
            whole = f"not finished within {self.deadlines.total:g} s"
            raise self.failed("timeout", whole if self._end < end else late) from exc
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise self.failed(_kind(exc, broken), reason(exc)) from exc

    def failed(self, kind: Kind, text: str) -> HttpFailed:
        return HttpFailed(kind, f"{self.what}: {text}")


class Outgoing(NamedTuple):
    """A request as it goes onto a connection. *fields* has Host in it; framing is added."""

    method: str
    target: str
    fields: Fields
    body: bytes | AsyncIterable[bytes] = b""

    def __repr__(self) -> str:  # fields and body may hold keys
        return f"Outgoing({self.method})"

    @property
    def is_repeatable(self) -> bool:
        """Whether it may be sent again although the server may have done it already."""
        if not isinstance(self.body, bytes):
            return False
        return self.method in _SAFE_TO_REPEAT or any(name.lower() == "idempotency-key" for name, _ in self.fields)


class Wire:
    """One connection, and the exchange that is on it. *sock* is at the bottom of *stream*: closing it closes all."""

    def __init__(self, stream: trio.abc.Stream, sock: trio.socket.SocketType) -> None:
        self.stream = stream
        self.sock = sock
        self.heard = False  # a byte of the answer has come
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._watch: Watch
        self._first_byte_by = -math.inf
        self._ended = False  # the server sends no more

    def close(self) -> None:
        self.sock.close()

    def is_stale(self) -> bool:
        """The server has hung up meanwhile, or talks out of turn."""
        poll = select.poll()
        poll.register(self.sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def make_ready(self) -> bool:
        """For another request, if the exchange is over on both sides. What has come already is read for it."""
        while self._http.their_state is h11.SEND_BODY:
            try:
                if self._http.next_event() is h11.NEED_DATA:
                    return False
            except h11.RemoteProtocolError:
                return False
        if self._http.states == {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE} and not self._http.trailing_data[0]:
            self._http.start_next_cycle()
        return self._http.our_state is h11.IDLE

    async def begin(self, request: Outgoing, watch: Watch) -> h11.Response:
        """Send the request, and wait for the head of its answer. When that fails, the connection is closed."""
        self._watch = watch
        self.heard = False
        try:
            try:
                await self._send(request)
            except HttpFailed as failed:
                return await self._last_word(failed)
            return await self._head()
        except BaseException:
            self.close()
            raise

    async def next_piece(self) -> bytes:
        """Of the body; b"" when it is over."""
        if self._http.their_state is not h11.SEND_BODY:
            return b""
        deadlines = self._watch.deadlines
        left = self._first_byte_by - trio.current_time()
        if left > deadlines.between_bytes:
            event = await self._next_event(left, "nothing but a head came within", deadlines.first_byte)
        else:
            event = await self._next_event(deadlines.between_bytes, "nothing came for", deadlines.between_bytes)
        self._first_byte_by = -math.inf
        return bytes(event.data) if isinstance(event, h11.Data) else b""

    def piece_nowait(self) -> bytes:
        """What has come of the body already; b"" if that is nothing. Raises HttpFailed."""
        if self._http.their_state is not h11.SEND_BODY or not isinstance(event := self._parse(), h11.Data):
            return b""
        self._first_byte_by = -math.inf
        return bytes(event.data)

    async def _send(self, request: Outgoing) -> None:
        body = request.body
        fields = [*request.fields, *_framing(request)]
        head = self._encode(h11.Request, method=request.method, target=request.target, headers=fields)
        if isinstance(body, bytes):
            await self._put(head + (self._encode(h11.Data, data=body) if body else b""))
        else:
            await self._put(head)
            async for piece in body:
                await self._put(self._encode(h11.Data, data=piece))
        await self._put(self._encode(h11.EndOfMessage))

    def _encode(self, event: type[h11.Request | h11.Data | h11.EndOfMessage], **parts: object) -> bytes:
        try:
            return self._http.send(event(**parts)) or b""  # type: ignore[arg-type]
        except (h11.LocalProtocolError, UnicodeEncodeError):  # what they say may repeat a field's value: a key
            name = _unsendable(parts.get("headers"))  # type: ignore[arg-type]
            trouble = f"the field {name} has characters or outer spaces that HTTP has not" if name else "it is no HTTP"
            raise self._watch.failed("protocol", f"the request cannot be sent: {trouble}") from None

    async def _put(self, data: bytes) -> None:
        view, seconds = memoryview(data), self._watch.deadlines.between_bytes
        for start in range(0, len(view), SEND_BYTES):
            with self._watch.wait(seconds, f"the server took nothing for {seconds:g} s"):
                await self.stream.send_all(view[start : start + SEND_BYTES])

    async def _last_word(self, failed: HttpFailed) -> h11.Response:
        """A server that hangs up on a body may have said why before that. Raises *failed* if it has not."""
        if failed.kind != "network":
            raise failed
        try:
            return await self._head()
        except HttpFailed:
            raise failed from None

    async def _head(self) -> h11.Response:
        seconds = self._watch.deadlines.first_byte
        self._first_byte_by = trio.current_time() + seconds
        while True:
            event = await self._next_event(self._first_byte_by - trio.current_time(), "no answer within", seconds)
            if isinstance(event, h11.Response):
                return event
            if not isinstance(event, h11.InformationalResponse):
                raise self._watch.failed("network", "the server hung up before it answered")

    async def _next_event(self, seconds: float, late: str, told: float) -> object:
        with self._watch.wait(seconds, f"{late} {told:g} s"):
            while (event := self._parse()) is h11.NEED_DATA:
                data = bytes(await self.stream.receive_some(RECEIVE_BYTES))
                self.heard = self.heard or bool(data)
                self._ended = not data
                self._http.receive_data(data)
        return event

    def _parse(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as exc:
            if self._ended:
                raise self._watch.failed("network", "the connection ended before the answer did") from exc
            said = "".join(char if char.isprintable() else " " for char in str(exc)[:QUOTE_CHARACTERS])
            raise self._watch.failed("protocol", f"the answer is no HTTP: {said}") from exc


def reason(exc: BaseException) -> str:
    """What an error of a socket says, without numbers and wrappings."""
    while not isinstance(exc, OSError) and exc.__cause__ is not None:
        exc = exc.__cause__
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return re.sub(r"^\[\w+: \w+\] | \(_ssl\.c:[0-9]+\)$", "", text)  # what the ssl module puts around it


def _kind(exc: BaseException, broken: Kind) -> Kind:
    """A server can refuse our certificate long after the handshake (TLS 1.3): that is no broken connection."""
    import ssl  # trio has it loaded

    alert = exc.__cause__
    ended = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
    return "tls" if isinstance(alert, ssl.SSLError) and not isinstance(alert, ended) else broken


def _framing(request: Outgoing) -> Fields:
    if isinstance(request.body, bytes):
        if request.body or request.method in _WITH_BODY:
            return [("Content-Length", str(len(request.body)))]
        return ()
    if any(name.lower() == "content-length" for name, _ in request.fields):
        return ()
    return [("Transfer-Encoding", "chunked")]


def _unsendable(fields: Fields | None) -> str:
    """The name of the first field whose value is what a field cannot hold; "" if that is not the trouble."""
    good = re.compile(r"([!-~]([\t -~]*[!-~])?)?")
    return next((repr(name[:40]) for name, value in fields or () if not good.fullmatch(value)), "")
