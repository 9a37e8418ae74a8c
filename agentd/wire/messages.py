"""Requests and responses as values. No sockets and no trio here. The rules: RFC 9110 (what they mean)."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from enum import Enum
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, unquote_plus
from uuid import UUID

import attrs

from agentd.errors import AgentdError, PayloadTooLarge

if TYPE_CHECKING:
    from agentd.wire.feed import Feed
    from agentd.wire.routing import Route
    from agentd.wire.websocket import WebSocket

JSON_TYPE = "application/json; charset=UTF-8"
TEXT_TYPE = "text/plain; charset=UTF-8"
SSE_TYPE = "text/event-stream; charset=utf-8"
NDJSON_TYPE = "application/x-ndjson; charset=UTF-8"

Fields = Sequence[tuple[str, str]]  # extra header fields of a response
ReadBody = Callable[[int | None], Awaitable[bytes]]  # limit in bytes -> the next piece of a body, b"" after the last


class BadMessage(AgentdError):
    """What came is no HTTP that can be answered properly; *status* says in which way. The connection ends with it."""

    code = "BAD_REQUEST"

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Hangup(Exception):
    """The connection ends here: the client left in the middle, or must see that an answer is not whole."""


class Headers:
    """Header fields by case-insensitive name; a field that came more than once is joined by commas (RFC 9110, 5.3)."""

    __slots__ = ("raw",)

    raw: dict[bytes, bytes]  # by name in lower case

    def __init__(self, fields: Mapping[str, str] | Iterable[tuple[str, str]] = ()) -> None:
        pairs = fields.items() if isinstance(fields, Mapping) else fields
        self.raw = _joined([(name.encode("ascii"), value.encode("latin-1")) for name, value in pairs])

    @classmethod
    def from_wire(cls, fields: Sequence[tuple[bytes, bytes]]) -> Headers:
        """As they came. Most are never looked at, so that nothing is decoded before it is asked for."""
        made = cls.__new__(cls)
        made.raw = {name.lower(): value for name, value in fields}
        if len(made.raw) < len(fields):
            made.raw = _joined(fields)
        return made

    def get(self, name: str, default: str = "") -> str:
        value = self.raw.get(name.lower().encode())
        return default if value is None else value.decode("latin-1")

    def __getitem__(self, name: str) -> str:
        return self.raw[name.lower().encode()].decode("latin-1")

    def __contains__(self, name: str) -> bool:
        return name.lower().encode() in self.raw

    def items(self) -> Iterable[tuple[str, str]]:
        """Names in lower case."""
        return [(name.decode("ascii"), value.decode("latin-1")) for name, value in self.raw.items()]

    def tokens(self, name: str) -> list[str]:
        """The members of a comma-separated field, in lower case."""
        return [token.strip() for token in self.get(name).lower().split(",")]

    def __repr__(self) -> str:  # values may be credentials
        return f"Headers({', '.join(name for name, _ in self.items())})"


def _joined(fields: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    values: dict[bytes, bytes] = {}
    for name, value in fields:
        key = name.lower()
        if key in values:
            value = values[key] + (b"; " if key == b"cookie" else b", ") + value
        values[key] = value
    return values


class Request:
    """One request. *body* is whole when a handler gets it; if its route is `streamed`, chunks() or save() read it."""

    __slots__ = (
        *("_query", "_read"),
        *("base", "body", "headers", "method", "params", "peer", "principal", "raw_path", "raw_query", "route"),
        *("target", "wait_gone"),
    )

    def __init__(
        self,
        method: str,
        target: str,
        headers: Headers | Mapping[str, str] | Iterable[tuple[str, str]] = (),
        body: bytes = b"",
        *,
        peer: str = "",
        read: ReadBody | None = None,
        wait_gone: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.method = method
        self.target = target  # as it was sent
        self.headers = headers if isinstance(headers, Headers) else Headers(headers)
        self.body = body
        self.peer = peer  # "127.0.0.1:51000", or "unix"
        self.params: dict[str, Any] = {}  # of the path; set when a route was found
        self.route: Route | None = None  # that was found
        self.base = ""  # the prefix of the mount that it came to
        self.principal: Any = None  # who asks, where a guard found out
        self.wait_gone = wait_gone  # until the client leaves, see presence.py; once the body was read
        self.raw_path, _, self.raw_query = target.partition("?")
        self._query: dict[str, str] | None = None
        self._read = read or self._read_body

    @property
    def path(self) -> str:
        """Percent-decoded. For people and guards: routes match the raw segments, so that %2F is part of one."""
        return unquote(self.raw_path)

    @property
    def inner_target(self) -> str:
        """The target as it was sent, without the mount's prefix."""
        return self.target[len(self.base) :] or "/"

    @property
    def query(self) -> dict[str, str]:
        """Percent and `+` decoded; a key without a value is "", and of duplicates the last one counts."""
        if self._query is None:
            pairs = (part.partition("=") for part in self.raw_query.split("&") if part)
            self._query = {unquote_plus(key): unquote_plus(value) for key, _, value in pairs}
        return self._query

    def chunks(self, *, limit: int | None = None) -> AsyncIterator[bytes]:
        """The body as it comes, once. Raises PayloadTooLarge beyond *limit* bytes, BadMessage, Hangup."""
        return _Chunks(self._read, limit)

    async def _read_body(self, limit: int | None) -> bytes:
        piece, self.body = self.body, b""
        if limit is not None and len(piece) > limit:
            raise PayloadTooLarge(limit)
        return piece

    async def save(self, path: Path, *, limit: int | None = None) -> int:
        """Write the body to a new file, 0600; its size. The file is gone again if the body does not come whole."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0) as file:
            try:
                async for chunk in self.chunks(limit=limit):
                    _write_all(file, chunk)
                return file.tell()
            except BaseException:
                _remove(path)
                raise


@attrs.define
class Response:
    """A whole answer. *content_type* None: no such field."""

    status: int
    body: bytes = b""
    content_type: str | None = TEXT_TYPE
    headers: Fields = ()


@attrs.define
class FileResponse:
    """A file as it is when the answer begins, sent in big pieces."""

    path: Path
    content_type: str = "application/octet-stream"
    headers: Fields = ()
    status: int = 200


@attrs.define
class ChunkedResponse:
    """A body as it is made. When *chunks* raises midway the connection is cut: the reader sees that it is not whole.

    The head leaves with the first piece; an empty one sends it alone. In the end *chunks* is closed, if it has aclose.
    """

    chunks: AsyncIterator[bytes]
    content_type: str | None = "application/octet-stream"
    headers: Fields = ()
    status: int = 200
    length: int | None = None  # of the body in bytes, if it is known


@attrs.define
class StreamResponse:
    """A feed from after ordinal *after*, unopened: the connection opens it and closes it."""

    feed: Feed
    after: int = 0
    content_type: str = SSE_TYPE
    headers: Fields = (("Cache-Control", "no-cache"), ("X-Accel-Buffering", "no"))
    status: int = 200


@attrs.define
class Upgrade:
    """The connection becomes a WebSocket, which *handler* has until it returns. frames.upgrade() makes it."""

    handler: Callable[[WebSocket], Awaitable[None]]
    key: str  # of the client's handshake
    headers: Fields = ()
    status: int = 101


Answer = Response | FileResponse | ChunkedResponse | StreamResponse | Upgrade


def json_response(status: int, value: Any, headers: Fields = ()) -> Response:
    """*value*: None, text, numbers, attrs instances, mappings, lists, and these nested, as compact JSON."""
    return Response(status, to_json(value), JSON_TYPE, headers)


def to_json(value: Any) -> bytes:
    """Compact UTF-8. Raises ValueError for NaN and infinities. A lone surrogate (file names have them) becomes "?"."""
    return _encoder.encode(value).encode("utf-8", "replace")


def _plain(value: Any) -> Any:
    if attrs.has(type(value)):
        return {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (UUID, Path)):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encoder = json.JSONEncoder(
    check_circular=False, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain
)


class _Chunks:  # no generator: a handler may stop in the middle and drop it
    def __init__(self, read: ReadBody, limit: int | None) -> None:
        self._read = read
        self._limit = limit

    def __aiter__(self) -> _Chunks:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._read(self._limit)
        if not piece:
            raise StopAsyncIteration
        return piece


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _write_all(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while len(view):  # a nearly full disk takes a part
        view = view[file.write(view) :]
