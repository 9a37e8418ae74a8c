"""The bounds of a server: every size and every time a client can use up."""

from __future__ import annotations

import attrs


@attrs.frozen
class Limits:
    """Sizes in bytes, times in seconds."""

    target: int = 16 * 1024  # beyond: 414
    head: int = 64 * 1024  # request line and header fields together; beyond: 431
    fields: int = 128  # header fields; beyond: 431
    body: int = 64 * 1024 * 1024  # beyond: 413, unless the route says otherwise
    message: int = 16 * 1024 * 1024  # of a WebSocket, in bytes or characters; beyond: close code 1009
    connections: int = 1024  # beyond: 503
    head_seconds: float = 10.0  # from a connection, or the first byte of a later request, to the end of the head: 408
    body_seconds: float = 30.0  # without a byte of the body: 408
    idle_seconds: float = 75.0  # between two requests: the connection is closed
    stall_seconds: float = 60.0  # without the client taking a byte: the connection is cut
    keepalive_seconds: float = 15.0  # between two comments of a feed
    ping_seconds: float = 20.0  # between two pings of a WebSocket; one that says nothing from one to the next is cut
    linger_seconds: float = 2.0  # for a client that is still sending to read why it was refused
    drain_seconds: float = 5.0  # for exchanges to end when the server does
    tick_seconds: float = 1.0  # how exactly the times above are kept
