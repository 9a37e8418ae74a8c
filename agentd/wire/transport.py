"""One connection's bytes, over a plain socket (the fast way) or over any trio stream (TLS, and tests).

A transport carries the one deadline of its connection. Whoever waits sets it, and one task of the server looks at all
of them once a second: a cancel scope and a timer per read would cost more than a small request.
"""

from __future__ import annotations

import fcntl
import math
import os
import socket
import sys
import termios
from typing import TYPE_CHECKING, BinaryIO, Protocol

import trio

if TYPE_CHECKING:
    import ssl

RECEIVE_BYTES = 64 * 1024
BULK_BYTES = 256 * 1024  # of an upload: fewer, bigger pieces
FILE_PIECE = 1024 * 1024

GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)  # what using a connection that broke raises

Bytes = bytes | bytearray | memoryview


class FileTooShort(Exception):
    """It was longer when its head was sent. The client must see that it did not get the whole."""


class Transport(Protocol):
    deadline: float  # trio time; math.inf: none

    def is_taken_from(self) -> bool:
        """The deadline is past, but the client has taken something meanwhile: the deadline was moved."""

    async def receive(self, max_bytes: int) -> bytes:
        """b"" when the client sends no more. Raises GONE."""

    def send_nowait(self, data: Bytes) -> int:
        """How many bytes were taken without waiting: 0 when the way is full. Raises GONE."""

    async def send_all(self, data: Bytes) -> None:
        """Raises GONE. While it waits, the deadline is *stall_seconds* from the last byte that the client took."""

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        """Its bytes from *start* to *end*. Raises GONE, and FileTooShort."""

    def end_sending(self) -> None:
        """Tell the client that nothing more comes, where that can be done without closing."""

    async def aclose(self) -> None:
        """What the system has taken is still delivered."""


class SocketTransport(trio.abc.Stream):
    """A non-blocking stdlib socket. It is a trio stream too, for TLS on top."""

    __slots__ = ("_queued", "_sock", "_stall_seconds", "deadline")

    def __init__(self, sock: socket.socket, stall_seconds: float) -> None:
        self.deadline = math.inf
        self._sock = sock
        self._stall_seconds = stall_seconds
        self._queued = -1  # bytes that waited in the system when we began to wait for room; -1: we do not

    def is_taken_from(self) -> bool:
        # The system tells of room when a good part of its buffer is free, which takes a slow reader minutes.
        before, self._queued = self._queued, _queued(self._sock)
        if self._queued >= before:
            return False
        self.deadline = trio.current_time() + self._stall_seconds
        return True

    async def receive(self, max_bytes: int) -> bytes:
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(max_bytes)
            except BlockingIOError:
                continue

    def send_nowait(self, data: Bytes) -> int:
        try:
            return self._sock.send(data)
        except BlockingIOError:
            return 0

    async def send_all(self, data: Bytes) -> None:
        view = memoryview(data)
        before = self.deadline
        while len(view):
            if sent := self.send_nowait(view):
                view = view[sent:]
            else:
                await self._wait_for_room(before)
        self.deadline = before

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        at, before = start, self.deadline
        while at < end:
            try:
                at += _sendfile(self._sock, file, at, min(FILE_PIECE, end - at))
                await trio.lowlevel.checkpoint()  # a fast client must not keep the others waiting
            except BlockingIOError:
                await self._wait_for_room(before)
        self.deadline = before

    async def _wait_for_room(self, latest: float) -> None:
        self.deadline = min(latest, trio.current_time() + self._stall_seconds)
        self._queued = _queued(self._sock)
        await trio.lowlevel.wait_writable(self._sock)
        self._queued = -1

    def end_sending(self) -> None:
        self._sock.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        if self._sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        return await self.receive(max_bytes or RECEIVE_BYTES)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.wait_writable(self._sock)


def _queued(sock: socket.socket) -> int:
    """Bytes that we have sent and the client's side has not taken; 0 where the system does not say."""
    try:
        return int.from_bytes(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _sendfile(sock: socket.socket, file: BinaryIO, at: int, size: int) -> int:
    if hasattr(os, "sendfile"):
        sent = os.sendfile(sock.fileno(), file.fileno(), at, size)
    else:
        file.seek(at)
        piece = file.read(min(size, BULK_BYTES))
        sent = sock.send(piece) if piece else 0
    if not sent:
        raise FileTooShort
    return sent


class StreamTransport:
    """Over any trio stream. Nothing is sent without waiting: a feed serves such a reader from its own task."""

    def __init__(self, stream: trio.abc.Stream, stall_seconds: float) -> None:
        self.deadline = math.inf
        self._stream = stream
        self._stall_seconds = stall_seconds

    def is_taken_from(self) -> bool:
        return False

    async def receive(self, max_bytes: int) -> bytes:
        return bytes(await self._stream.receive_some(max_bytes))

    def send_nowait(self, data: Bytes) -> int:
        return 0

    async def send_all(self, data: Bytes) -> None:
        before = self.deadline
        self.deadline = min(before, trio.current_time() + self._stall_seconds)
        await self._stream.send_all(data)
        self.deadline = before

    async def send_file(self, file: BinaryIO, start: int, end: int) -> None:
        file.seek(start)
        left = end - start
        while left:
            piece = file.read(min(BULK_BYTES, left))
            if not piece:
                raise FileTooShort
            await self.send_all(piece)
            left -= len(piece)

    def end_sending(self) -> None:
        """A stream has no half-close. The client reads what was sent all the same."""

    async def aclose(self) -> None:
        await self._stream.aclose()


class TlsTransport(StreamTransport):
    """TLS over a socket. The socket below keeps the deadline, for it sees every byte that the client takes."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, stall_seconds: float) -> None:
        self._below = SocketTransport(sock, stall_seconds)
        super().__init__(trio.SSLStream(self._below, context, server_side=True), stall_seconds)

    @property
    def deadline(self) -> float:
        return self._below.deadline

    @deadline.setter
    def deadline(self, at: float) -> None:
        self._below.deadline = at

    def is_taken_from(self) -> bool:
        return self._below.is_taken_from()

    async def send_all(self, data: Bytes) -> None:
        await self._stream.send_all(data)
