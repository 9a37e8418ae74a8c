"""Request heads and bodies out of bytes, by h11's readers. No sockets and no trio here. The rules: RFC 9112.

h11 reads a head in 13 µs, and its Connection then spends another 9 on the states of a conversation, which the task of a
connection knows anyway. So its readers are used without it: they are its parser, whole, but no public part of it. The
pinned version is what makes that safe, and a test that holds them against h11.Connection. A body with a Content-Length
needs no parser, only counting.

What h11 lets pass and we do not: Content-Length beside Transfer-Encoding, Transfer-Encoding from an HTTP/1.0 client,
and folded header lines, each of which another parser may read otherwise; that is how requests get smuggled.
"""

from __future__ import annotations

import re

import h11
from h11._readers import ChunkedReader, maybe_read_from_IDLE_client
from h11._receivebuffer import ReceiveBuffer

from agentd.wire.head import Form
from agentd.wire.limits import Limits
from agentd.wire.messages import BadMessage, Headers

_FOLD = re.compile(rb"\n[ \t]")


class Head(Form):
    """A request's head, and what its framing says of the body."""

    __slots__ = ("headers", "length", "target")

    def __init__(self, event: h11.Request) -> None:
        self.method = event.method.decode("ascii")
        self.target = event.target.decode("ascii")  # in origin form, or "*"
        self.request_id = ""
        self.headers = headers = Headers.from_wire(event.headers.raw_items())
        self.modern = self.keep_alive = event.http_version >= b"1.1"
        raw = headers.raw
        if b"connection" in raw and "close" in headers.tokens("connection"):
            self.keep_alive = False
        self.length: int | None = 0  # of the body; None: it comes in chunks
        if b"content-length" in raw:
            self.length = int(raw[b"content-length"])
        if b"transfer-encoding" in raw:
            if b"content-length" in raw or not self.modern:
                raise BadMessage(400, "Transfer-Encoding does not go with Content-Length or with HTTP/1.0")
            self.length = None
        if not self.target.startswith("/"):
            self._make_origin_form()

    def _make_origin_form(self) -> None:
        """RFC 9112, 3.2: an absolute URI goes before Host."""
        if self.method == "CONNECT":
            raise BadMessage(501, "this is no proxy")
        scheme, _, rest = self.target.partition("://")
        if scheme.lower() in ("http", "https"):
            authority, slash, path = rest.partition("/")
            self.target = slash + path or "/"
            self.headers = Headers({**dict(self.headers.items()), "host": authority})
        elif not (self.target == "*" and self.method == "OPTIONS"):
            raise BadMessage(400, "the request target is neither a path nor a URL")


class Parser:
    """Feed it what comes. Ask for next_head(), then next_chunk() until that says b"", then for the next head."""

    __slots__ = ("_buffer", "_chunked", "_held", "_left", "_limits", "_raw", "expects_continue")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = b""  # what came and was not looked at yet
        self._buffer: ReceiveBuffer | None = None  # while h11 reads a head, or a body in chunks
        self._raw = b""  # what h11 was given of a head
        self._chunked: ChunkedReader | None = None  # of a body in chunks that is not over
        self._left = 0  # bytes of a body with a length that were not taken yet
        self.expects_continue = False  # the client waits for a 100 before it sends the body

    @property
    def started(self) -> bool:
        """Something of a request has come, and not all of it was taken."""
        return bool(self._held or self._left) or self._buffer is not None

    @property
    def in_body(self) -> bool:
        """The end of the last request was not read yet."""
        return self._left > 0 or self._chunked is not None

    @property
    def held(self) -> int:
        """Bytes that came and were not looked at."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data

    def next_head(self) -> Head | None:
        """None when it needs more. Raises BadMessage."""
        buffer, limit = self._buffer, self._limits.head
        if buffer is None:
            # RFC 9112, 2.2: an empty line before a request is ignored; old clients end a body with one.
            self._held = self._held.lstrip(b"\r\n")
            if not self._held:
                return None
            buffer = self._buffer = ReceiveBuffer()
        # No more is read than one byte over the limit, which is enough to be refused: the answer must not depend on how
        # the network cut the stream into pieces.
        room = limit + 1 - len(self._raw)
        given, self._held = self._held[:room], self._held[room:]
        buffer += given
        self._raw = self._raw + given if self._raw else given
        try:
            event = maybe_read_from_IDLE_client(buffer)
        except h11.LocalProtocolError as exc:
            raise BadMessage(exc.error_status_hint, str(exc)) from exc
        if event is not None:
            return self._accept(event, buffer)
        if len(self._raw) > limit:
            raise _too_much() if b"\n" in self._raw else _target_too_long()
        return None

    def _accept(self, event: h11.Request, buffer: ReceiveBuffer) -> Head:
        if len(event.target) > self._limits.target:
            raise _target_too_long()
        if len(event.headers) > self._limits.fields:
            raise _too_much()
        raw, self._raw = self._raw, b""
        rest = bytes(buffer)
        if _FOLD.search(raw, 0, len(raw) - len(rest)):  # not into the body: that may begin with a space
            raise BadMessage(400, "folded header lines are not accepted")
        head = Head(event)
        if head.length is None:
            self._chunked = ChunkedReader()
        else:
            self._buffer, self._left = None, head.length
            self._held = rest + self._held if self._held else rest
        if b"expect" in head.headers.raw:
            waits = head.modern and self.in_body and not (rest or self._held)
            self.expects_continue = waits and "100-continue" in head.headers.tokens("expect")
        return head

    def release(self) -> bytes:
        """What came after the last request, which was read to its end: it is no HTTP any more."""
        held, self._held = self._held, b""
        return held

    def whole_body(self) -> bytes | None:
        """The body, if it has a length and all of it has come: as small ones have. Instead of next_chunk()."""
        if not 0 < self._left <= len(self._held):
            return None
        return self.next_chunk()

    def next_chunk(self) -> bytes | None:
        """A piece of the body, b"" when it is over, None when it needs more. Raises BadMessage."""
        if self._chunked is not None and self._buffer is not None:
            return self._read_chunk(self._chunked, self._buffer)
        if not self._left:
            return b""
        if not self._held:
            return None
        if len(self._held) <= self._left:
            piece, self._held = self._held, b""
        else:
            piece, self._held = self._held[: self._left], self._held[self._left :]
        self._left -= len(piece)
        return piece

    def _read_chunk(self, reader: ChunkedReader, buffer: ReceiveBuffer) -> bytes | None:
        if self._held:
            buffer += self._held
            self._held = b""
        try:
            event = reader(buffer)
        except h11.LocalProtocolError as exc:
            raise BadMessage(400, str(exc)) from exc
        if type(event) is h11.Data:
            return bytes(event.data)
        if event is not None:
            self._chunked, self._buffer, self._held = None, None, bytes(buffer)
            return b""
        if len(buffer) > self._limits.head:
            raise BadMessage(400, "a chunk's header, or the trailer, is too long")
        return None


def _target_too_long() -> BadMessage:
    return BadMessage(414, "the request target is too long")


def _too_much() -> BadMessage:
    return BadMessage(431, "too many header fields, or too long ones")
