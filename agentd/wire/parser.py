"""Request heads and bodies out of bytes, by h11. No sockets and no trio here. The rules: RFC 9112.

h11 gets a fresh Connection per request and is used for parsing only: it costs 1 µs to make one, and an idle connection
holds none. What h11 lets pass and we do not: Content-Length beside Transfer-Encoding, Transfer-Encoding from an
HTTP/1.0 client, and folded header lines, each of which another parser may read otherwise; that is how requests get
smuggled.
"""

from __future__ import annotations

import h11

from agentd.wire.limits import Limits
from agentd.wire.messages import BadMessage, Headers


class Head:
    """A request's head, and what its framing says of the body."""

    __slots__ = ("headers", "keep_alive", "length", "method", "modern", "target")

    def __init__(self, event: h11.Request) -> None:
        self.method = event.method.decode("ascii")
        self.target = event.target.decode("ascii")  # in origin form, or "*"
        fields = [(name.decode("ascii"), value.decode("latin-1")) for name, value in event.headers.raw_items()]
        self.headers = headers = Headers(fields)
        self.modern = event.http_version >= b"1.1"  # knows chunks; else it is HTTP/1.0, which gets no keep-alive either
        self.keep_alive = self.modern and not ("connection" in headers and "close" in headers.tokens("connection"))
        self.length: int | None = 0  # of the body; None: it comes in chunks
        if "transfer-encoding" in headers:
            self.length = None
        elif "content-length" in headers:
            self.length = int(headers["content-length"])
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

    __slots__ = ("_held", "_http", "_limits", "_raw")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._http: h11.Connection | None = None  # while a request is being parsed
        self._raw = b""  # what h11 was fed of a head
        self._held = b""  # what came and was not fed to h11 yet

    @property
    def started(self) -> bool:
        """Something of a request has come, and not all of it was taken."""
        return self._http is not None or bool(self._held)

    @property
    def in_request(self) -> bool:
        """A request has begun, and its end was not read yet."""
        return self._http is not None

    @property
    def held(self) -> int:
        """Bytes that came and were not looked at."""
        return len(self._held)

    @property
    def expects_continue(self) -> bool:
        """The client waits for a 100 before it sends the body."""
        return self._http is not None and self._http.they_are_waiting_for_100_continue

    def feed(self, data: bytes) -> None:
        self._held = self._held + data if self._held else data

    def next_head(self) -> Head | None:
        """None when it needs more. Raises BadMessage."""
        if self._http is None:
            # RFC 9112, 2.2: an empty line before a request is ignored; old clients end a body with one.
            self._held = self._held.lstrip(b"\r\n")
            if not self._held:
                return None
            self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.head)
        event = self._parse_head(self._http)
        return None if event is None else self._accept(event, self._http)

    def _parse_head(self, http: h11.Connection) -> h11.Request | None:
        # No more is fed than one byte over the limit, which is enough to be refused: the answer must not depend on how
        # the network cut the stream into pieces.
        room = self._limits.head + 1 - len(self._raw)
        fed, self._held = self._held[:room], self._held[room:]
        http.receive_data(fed)
        self._raw += fed
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as exc:
            if exc.error_status_hint == 431 and b"\n" not in self._raw:
                raise BadMessage(414, "the request target is too long") from exc
            raise BadMessage(exc.error_status_hint, str(exc)) from exc
        return event if isinstance(event, h11.Request) else None

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
        if head.length is None and ("content-length" in head.headers or not head.modern):
            raise BadMessage(400, "Transfer-Encoding does not go with Content-Length or with HTTP/1.0")
        if head.length == 0:
            self._end_message(rest)
        return head

    def next_chunk(self) -> bytes | None:
        """A piece of the body, b"" when it is over, None when it needs more. Raises BadMessage."""
        http = self._http
        if http is None:
            return b""
        if self._held:
            http.receive_data(self._held)
            self._held = b""
        try:
            event = http.next_event()
        except h11.RemoteProtocolError as exc:
            raise BadMessage(400, str(exc)) from exc
        if isinstance(event, h11.Data):
            return bytes(event.data)
        if isinstance(event, h11.EndOfMessage):
            self._end_message(http.trailing_data[0])
            return b""
        return None

    def _end_message(self, rest: bytes) -> None:
        self._http = None
        self._held = rest + self._held


def _is_folded(head: bytes) -> bool:
    return b"\n " in head or b"\n\t" in head
