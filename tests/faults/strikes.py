"""Ways in which a model service, and the way to it, can be spoilt: strikes are of answers, doors of connections."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Sequence

import trio
import trustme

from tests.modelserver import CHUNKED, STREAM_HEAD, Door, Strike, chunk, chunks
from tests.wire.stranger import Link

HOST = "model.test"

LookUp = Callable[[], Awaitable[Sequence[str]]]


def sends(data: bytes) -> Strike:
    """A whole answer, after which the connection can be used again."""

    async def strike(link: Link, events: list[bytes]) -> None:
        await link.send(data)

    return strike


def streams(edit: Callable[[list[bytes]], list[bytes]], head: bytes = STREAM_HEAD) -> Strike:
    """An answer whose events are not quite what they should be."""

    async def strike(link: Link, events: list[bytes]) -> None:
        await link.send(head + CHUNKED, *chunks(edit(events)))

    return strike


def breaks(after: int | None, then: Door, rest: bytes = b"") -> Strike:
    """So many events (None: not even a head), *rest*, and then something else than more of it."""

    async def strike(link: Link, events: list[bytes]) -> None:
        if after is not None:
            await link.send(STREAM_HEAD + CHUNKED, *map(chunk, events[:after]))
        await link.send(*filter(None, [rest]))
        await then(link)

    return strike


def repeats(piece: bytes, times: int, pause: float = 0.0, begin: int = 0) -> Strike:
    async def strike(link: Link, events: list[bytes]) -> None:
        await link.send(STREAM_HEAD + CHUNKED, *map(chunk, events[:begin]))
        for _ in range(times):
            await link.send(chunk(piece))
            await trio.sleep(pause)
        await hang_up(link)

    return strike


def unframed(head: bytes, edit: Callable[[bytes], bytes] = bytes) -> Strike:
    """An answer that ends where the connection does."""

    async def strike(link: Link, events: list[bytes]) -> None:
        body = b"".join(events)
        await link.send(head.replace(b"LENGTH", b"%d" % len(body)) + b"\r\n" + edit(body))
        await hang_up(link)

    return strike


async def dripped(link: Link, events: list[bytes]) -> None:
    for byte in STREAM_HEAD + CHUNKED + b"".join(chunks(events)):
        await link.send(bytes([byte]))


async def dripped_slowly(link: Link, events: list[bytes]) -> None:
    await link.send(STREAM_HEAD + b"\r\n")
    await link.drip(b"".join(events), 9)


async def hang(link: Link) -> None:
    await link.is_hung_up_on()
    raise EOFError


async def hang_up(link: Link) -> None:
    await trio.lowlevel.checkpoint()
    raise EOFError


async def reset(link: Link) -> None:
    await trio.lowlevel.checkpoint()
    link.reset()
    raise EOFError


# --- Doors --------------------------------------------------------------------------------------------------------

AUTHORITY = trustme.CA()
STRANGER = trustme.CA()


def certified(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


GOOD = certified(AUTHORITY, HOST)


def tls(context: ssl.SSLContext = GOOD) -> Door:
    async def door(link: Link) -> None:
        link.stream = trio.SSLStream(link.stream, context, server_side=True)
        await link.stream.do_handshake()

    return door


def greets(data: bytes) -> Door:
    """Waits for whatever comes, answers this, and hangs up."""

    async def door(link: Link) -> None:
        await link.stream.receive_some(65536)
        await link.send(data)
        raise EOFError

    return door


async def tunnel(link: Link) -> None:
    """A proxy, and the service behind it."""
    await link.request()
    await link.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await tls()(link)


DOORS = {"http": None, "https": tls(), "proxy": tunnel}


async def nobody() -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    raise OSError("Name or service not known")


async def no_answer() -> Sequence[str]:
    await trio.sleep_forever()


async def where_nobody_listens() -> Sequence[str]:
    await trio.lowlevel.checkpoint()
    return ["127.0.0.2"]
