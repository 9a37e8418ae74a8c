"""Request heads and bodies out of bytes, by h11. No sockets and no trio here. The rules: RFC 9112.

h11 parses heads and chunked bodies, with a fresh Connection per request: it costs 1 µs to make one, and an idle
connection holds none. A body with a Content-Length needs no parser, only counting. What h11 lets pass and we do not:
Content-Length beside Transfer-Encoding, Transfer-Encoding from an HTTP/1.0 client, and folded header lines, each of
which another parser may read otherwise; that is how requests get smuggled.
"""

from __future__ import annotations

import h11

from agentd.wire.head import Form
from agentd.wire.limits import Limits
from agentd.wire.messages import BadMessage, Headers


class Head(Form):
    """A request's head, and what its framing says of the body."""

    __slots__ = ("headers", "length", "target")

    def __init__(self, event: h11.Request) -> None:
        self.method = event.method.decode("ascii")
        self.target = event.target.decode("ascii")  # in origin form, or "*"
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

    __slots__ = ("_held", "_http", "_left", "_limits", "_raw", "expects_continue")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._http: h11.Connection | None = None  # while it parses a head or a chunked body
        self._left = 0  # bytes of a body with a length that were not taken yet
        self._raw = b""  # what h11 was fed of a head
        self._held = b""  # what came and was not looked at yet
        self.expects_continue = False  # the client waits for a 100 before it sends the body

    @property
    def started(self) -> bool:
        """Something of a request has come, and not all of it was taken."""
        return bool(self._held or self._left) or self._http is not None

    @property
    def in_body(self) -> bool:
        """The end of the last request was not read yet."""
        return self._left > 0 or self._http is not None

    @property
    def held(self) -> int:
        """Bytes that came and were not looked at."""
        return len(self._held)

    def feed(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data

    def next_head(self) -> Head | None:
        """None when it needs more. Raises BadMessage."""
        http = self._http
        if http is None:
            # RFC 9112, 2.2: an empty line before a request is ignored; old clients end a body with one.
            self._held = self._held.lstrip(b"\r\n")
            if not self._held:
                return None
            http = self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head)
        # No more is fed than one byte over the limit, which is enough to be refused: the answer must not depend on how
        # the network cut the stream into pieces.
        room = self._limits.head + 1 - len(self._raw)
        fed, self._held = self._held[:room], self._held[room:]
        http.receive_data(fed)
        self._raw = self._raw + fed if self._raw else fed
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as exc:
            if exc.error_status_hint == 431 and b"\n" not in self._raw:
                raise BadMessage(414, "the request target is too long") from exc
            raise BadMessage(exc.error_status_hint, str(exc)) from exc
        return self._accept(event, http) if type(event) is h11.Request else None

    def _accept(self, event: h11.Request, http: h11.Connection) -> Head:
        if len(event.target) > self._limits.target:
            raise BadMessage(414, "the request target is too long")
        if len(event.headers) > self._limits.fields:
            raise BadMessage(431, "too many header fields")
        rest = http.trailing_data[0]
        raw, self._raw = self._raw, b""
        if (b"\n " in raw or b"\n\t" in raw) and _is_folded(raw[: len(raw) - len(rest)]):
            raise BadMessage(400, "folded header lines are not accepted")
        head = Head(event)
        if head.length is not None:
            self._http, self._left = None, head.length
            self._held = rest + self._held if self._held else rest
        self.expects_continue = http.they_are_waiting_for_100_continue and not rest
        return head

    def next_chunk(self) -> bytes | None:
        """A piece of the body, b"" when it is over, None when it needs more. Raises BadMessage."""
        if self._http is not None:
            return self._next_chunk_of(self._http)
        if not self._left:
            return b""
        if not self._held:
            return None
        self.expects_continue = False
        if len(self._held) <= self._left:
            piece, self._held = self._held, b""
        else:
            piece, self._held = self._held[: self._left], self._held[self._left :]
        self._left -= len(piece)
        return piece

    def _next_chunk_of(self, http: h11.Connection) -> bytes | None:
        if self._held:
            http.receive_data(self._held)
            self._held, self.expects_continue = b"", False
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as exc:
            raise BadMessage(400, str(exc)) from exc
        if type(event) is h11.Data:
            return bytes(event.data)
        if type(event) is h11.EndOfMessage:
            self._http, self._held = None, http.trailing_data[0]
            return b""
        return None


def _is_folded(head: bytes) -> bool:
    return b"\n " in head or b"\n\t" in head
