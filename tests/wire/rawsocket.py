"""A WebSocket client of bytes: it says what no library would, and shows frames as they came."""

from __future__ import annotations

import json
import struct
from itertools import cycle
from typing import Any, NamedTuple

import trio

TEXT, BINARY, CLOSE, PING, PONG, MORE = 1, 2, 8, 9, 10, 0
MASK = b"\x11\x22\x33\x44"
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # of RFC 6455, 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

HANDSHAKE = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": KEY,
}


def opening(target: str = "/ws", line: str = "GET {} HTTP/1.1", **changed: str | None) -> bytes:
    """A handshake; *changed* fields have _ for -, None is left out."""
    fields: dict[str, str | None] = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in changed.items()}}
    lines = [f"{name}: {value}" for name, value in fields.items() if value is not None]
    return "\r\n".join([line.format(target), *lines, "", ""]).encode()


def masked(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A client's frame."""
    size = len(payload)
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    else:
        head += struct.pack("!BH", 0x80 | 126, size) if size < 65536 else struct.pack("!BQ", 0x80 | 127, size)
    return head + MASK + bytes(byte ^ key for byte, key in zip(payload, cycle(MASK), strict=False))


class Frame(NamedTuple):
    opcode: int
    payload: bytes

    @property
    def code(self) -> int:
        return int.from_bytes(self.payload[:2])

    @property
    def reason(self) -> str:
        return self.payload[2:].decode()


class RawSocket:
    """After the handshake, whose head is in *head*."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.head = b""
        self._held = b""

    async def open(self, request: bytes | None = None) -> RawSocket:
        """*request*: another one than a good one; b"" when it was sent already."""
        await self.stream.send_all(opening() if request is None else request)
        self.head = await self._until(b"\r\n\r\n")
        return self

    async def send(self, *frames: bytes) -> None:
        await self.stream.send_all(b"".join(frames))

    async def say(self, value: Any) -> None:
        await self.send(masked(TEXT, json.dumps(value).encode()))

    async def frame(self) -> Frame:
        """The next; raises EOFError when the server has hung up, AssertionError for what no server may send."""
        first, size = await self._exactly(2)
        assert first & 0x70 == 0, "reserved bits"
        assert size < 0x80, "masked"
        if size > 125:
            size = int.from_bytes(await self._exactly(2 if size == 126 else 8))
        return Frame(first & 0x0F, await self._exactly(size))

    async def hear(self) -> Any:
        opcode, payload = await self.frame()
        assert opcode == TEXT
        return json.loads(payload)

    async def rest(self) -> list[Frame]:
        """Every frame until the server hangs up."""
        frames = []
        try:
            while True:
                frames.append(await self.frame())
        except EOFError:
            return frames

    async def _exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            await self._more()
        data, self._held = self._held[:size], self._held[size:]
        return data

    async def _until(self, end: bytes) -> bytes:
        while end not in self._held:
            await self._more()
        head, _, self._held = self._held.partition(end)
        return head

    async def _more(self) -> None:
        try:
            data = await self.stream.receive_some(65536)
        except trio.BrokenResourceError:
            data = b""
        if not data:
            raise EOFError(self._held)
        self._held += data
