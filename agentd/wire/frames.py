"""WebSocket handshakes and frames as bytes. No sockets and no trio here. The rules: RFC 6455.

A handshake is checked here and then replayed to the library that speaks the rest, without what it has no business with:
no target (there may be a key in it), no extension, no subprotocol.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agentd.errors import AgentdError
from agentd.wire.messages import Fields, Request, Upgrade

if TYPE_CHECKING:
    from agentd.wire.websocket import WebSocket

VERSION = "13"
PING = b"\x89\x00"
MAX_REASON_BYTES = 123  # a control frame holds 125, and two are the code

_TEXT, _BINARY, _CLOSE = 0x81, 0x82, 0x88  # each the last frame of its message: we never send one in pieces
_KEY = re.compile(r"[A-Za-z0-9+/]{22}==")  # 16 bytes

WANTED: Fields = (("Upgrade", "websocket"), ("Connection", "Upgrade"))


class BadHandshake(AgentdError):
    """What came to the address of a WebSocket does not open one. *headers* belong into the answer."""

    code = "BAD_HANDSHAKE"

    def __init__(self, status: int, text: str, headers: Fields = ()) -> None:
        super().__init__(text)
        self.status = status
        self.headers = headers


def is_handshake(request: Request) -> bool:
    """The client wants a WebSocket, be its handshake good or not: it reads no body of an answer."""
    return "websocket" in request.headers.tokens("upgrade")


def upgrade(request: Request, handler: Callable[[WebSocket], Awaitable[None]]) -> Upgrade:
    """The answer that makes the connection a WebSocket. *handler* has it then: when it returns the socket is closed,
    when it raises that is logged and closed with 1011. Raises BadHandshake: 400, 426."""
    if not is_handshake(request):
        raise BadHandshake(426, "here is a WebSocket; open it with one", WANTED)
    if request.method != "GET" or "upgrade" not in request.headers.tokens("connection"):
        raise BadHandshake(400, "a WebSocket is opened by a GET with `Connection: Upgrade`")
    version = request.headers.get("sec-websocket-version")
    if version != VERSION:
        text = f"this is version {VERSION} of the WebSocket protocol"
        raise BadHandshake(426 if version else 400, text, [("Sec-WebSocket-Version", VERSION)])
    key = request.headers.get("sec-websocket-key")
    if not _KEY.fullmatch(key):
        raise BadHandshake(400, "Sec-WebSocket-Key has to be 16 bytes in base64")
    return Upgrade(handler, key)


def handshake(key: str) -> bytes:
    """The head of a request that opens a WebSocket, and nothing else."""
    return (
        "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: {VERSION}\r\nSec-WebSocket-Key: {key}\r\n\r\n"
    ).encode()


def text_frame(data: bytes) -> bytes:
    """One message from a server; *data* is UTF-8. Made once, it is sent to any number of clients."""
    return _frame(_TEXT, data)


def binary_frame(data: bytes) -> bytes:
    return _frame(_BINARY, data)


def close_frame(code: int, reason: str = "") -> bytes:
    """A reason that is too long is cut at the end of a character."""
    return _frame(_CLOSE, struct.pack("!H", code) + short_reason(reason).encode())


def short_reason(reason: str) -> str:
    return reason.encode("utf-8", "replace")[:MAX_REASON_BYTES].decode("utf-8", "ignore")


def is_close(frame: bytes | bytearray | memoryview) -> bool:
    return frame[0] == _CLOSE


def _frame(first: int, data: bytes) -> bytes:
    size = len(data)
    if size < 126:
        return bytes((first, size)) + data
    if size < 65536:
        return struct.pack("!BBH", first, 126, size) + data
    return struct.pack("!BBQ", first, 127, size) + data
