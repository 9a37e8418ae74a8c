"""How each kind of answer goes out. The head and the first piece of the body leave in one write."""

from __future__ import annotations

import logging
from os import fstat
from typing import Protocol

from agentd.wire.feed import FeedFailed, Hub, Reader
from agentd.wire.head import LAST_CHUNK, Form, chunk
from agentd.wire.messages import Answer, ChunkedResponse, FileResponse, Hangup, Response, StreamResponse
from agentd.wire.presence import while_there
from agentd.wire.routing import default_answer_error
from agentd.wire.transport import GONE, RECEIVE_BYTES, Transport

logger = logging.getLogger(__name__)


class Client(Protocol):
    """What an answer needs of a connection."""

    @property
    def transport(self) -> Transport: ...
    @property
    def hub(self) -> Hub: ...
    def failed(self, exc: Exception) -> Answer: ...
    async def wait_gone(self) -> None: ...


async def send_answer(client: Client, answer: Answer, form: Form) -> None:
    """Raises Hangup, transport.GONE. What goes wrong before the first byte is out still becomes an answer."""
    match answer:
        case Response():
            await send_whole(client.transport, answer, form)
        case FileResponse():
            await _open_and_send(client, answer, form)
        case ChunkedResponse():
            await _send_pieces(client, answer, form)
        case StreamResponse():
            await _send_stream(client, answer, form)


async def send_whole(transport: Transport, answer: Response, form: Form) -> None:
    try:
        data = _whole(answer, form)
    except ValueError as exc:
        data = _whole(default_answer_error(exc), form)
    sent = transport.send_nowait(data)
    if sent < len(data):
        await transport.send_all(memoryview(data)[sent:])


def _whole(answer: Response, form: Form) -> bytes:
    head = form.head(answer.status, answer.content_type, answer.headers, len(answer.body))
    return head + answer.body if form.has_body(answer.status) else head


async def _send_error(client: Client, exc: Exception, form: Form) -> None:
    answer = client.failed(exc)
    await send_whole(client.transport, answer if isinstance(answer, Response) else default_answer_error(exc), form)


async def _open_and_send(client: Client, answer: FileResponse, form: Form) -> None:
    try:
        file = answer.path.open("rb")
    except OSError as exc:
        await _send_error(client, exc, form)
        return
    with file:
        size = fstat(file.fileno()).st_size
        head = form.head(answer.status, answer.content_type, answer.headers, size)
        first = file.read(min(size, RECEIVE_BYTES)) if form.has_body(answer.status) else b""
        await client.transport.send_all(head + first)
        if first:
            await client.transport.send_file(file, len(first), size)


async def _send_pieces(client: Client, answer: ChunkedResponse, form: Form) -> None:
    pieces, transport = answer.chunks, client.transport
    unsent = form.head(answer.status, answer.content_type, answer.headers, answer.length)
    chunked = form.modern and answer.length is None

    async def copy() -> None:
        nonlocal unsent
        async for piece in pieces:
            data, unsent = unsent + (chunk(piece) if chunked and piece else piece), b""
            await _send_or_hang_up(transport, data)
        await _send_or_hang_up(transport, unsent + LAST_CHUNK if chunked else unsent)

    try:
        if not form.has_body(answer.status):
            await transport.send_all(unsent)
            return
        await while_there(client.wait_gone, copy)
    except Hangup:
        raise
    except Exception as exc:
        if not unsent:
            logger.exception("an answer broke off")
            raise Hangup from exc
        await _send_error(client, exc, form)
    finally:
        if (aclose := getattr(pieces, "aclose", None)) is not None:
            await aclose()


async def _send_or_hang_up(transport: Transport, data: bytes) -> None:
    try:
        await transport.send_all(data)
    except GONE as exc:  # told apart from what the source of the pieces may raise
        raise Hangup from exc


async def _send_stream(client: Client, answer: StreamResponse, form: Form) -> None:
    head = form.head(answer.status, answer.content_type, answer.headers, None)
    if not form.has_body(answer.status):
        await client.transport.send_all(head)
        return
    reader = Reader(client.transport, answer.after, chunked=form.modern, head=head)
    try:
        if not await answer.feed.serve(reader, client.hub, client.wait_gone):
            raise Hangup
    except FeedFailed as exc:
        if reader.rest is not head:
            raise Hangup from exc
        await _send_error(client, exc, form)
