"""An MCP server that is a process of ours: one message a line, in through its stdin and out through its stdout.

The rules: modelcontextprotocol.io, transports, stdio. What it writes to stderr is nobody's business, until it dies:
then its last lines say why. A server that reads nothing holds up who writes to it, and no longer than they care to
wait: what has begun to go out is finished by a task of its own, so that giving up never leaves half a message behind.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.lowlevel import FdStream

from agentd.domain import McpServer
from agentd.errors import ToolFailed, only_cause
from agentd.sandbox.child import CHUNK
from agentd.sandbox.trees import Tree
from agentd.tools.mcp.terms import Terms
from agentd.tools.mcp.transport import FRAME, Deliver, Outgoing, SendFailed, TransportClosed, TransportFailed

WAITING = 4  # messages that go out as soon as the server reads
GRACE_SECONDS = 0.5  # that a server has to end, once nothing more comes
EXIT_SECONDS = 0.5  # between the end of what a process says and its own
LAST_WORDS = 2048  # bytes of stderr
FLOOD_SECONDS = 0.01  # between two reads of stderr, while there is more than one read takes


class Lines:
    """Bytes as they come, cut into lines that are not empty. No sockets here."""

    def __init__(self, longest: int = FRAME) -> None:
        self._longest = longest
        self._held = bytearray()  # of a line whose end has not come

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that *data* ends, without their ends. Raises ValueError when one is too long."""
        first, *rest = data.split(b"\n")
        self._held += first
        lines = []
        if rest:
            lines = [bytes(self._held), *rest[:-1]]
            self._held[:] = rest[-1]
        if len(self._held) > self._longest or any(len(line) > self._longest for line in lines):
            raise ValueError("the line is too long")
        return [line for line in lines if line.strip()]


class Stdio:
    """A Transport. See open_stdio()."""

    answers_itself = False
    modern = True

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._send, self._outbox = trio.open_memory_channel[bytes](WAITING)
        self._last_words = b""

    def negotiated(self, version: str) -> None:
        pass

    def refuses(self, schema: Mapping[str, Any]) -> str | None:
        return None  # x-mcp-header is of HTTP

    async def send(self, outgoing: Outgoing, deliver: Deliver) -> None:
        if len(outgoing.message) > FRAME:
            raise SendFailed("the message is too long to be sent")
        try:
            await self._send.send(outgoing.message + b"\n")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as exc:
            raise TransportClosed("it takes no more messages") from exc

    async def listen(self, deliver: Deliver) -> None:
        lines = Lines()
        while chunk := await _received(self._tree.child.stdout):
            try:
                whole = lines.feed(chunk)
            except ValueError as exc:
                raise TransportClosed(f"it sent a message of more than {FRAME >> 20} MiB") from exc
            for line in whole:
                await deliver(line)
        raise TransportClosed(await self._epitaph())

    async def _epitaph(self) -> str:
        code = None
        with trio.move_on_after(EXIT_SECONDS):
            code = await self._tree.child.wait()
        words = " ".join(self._last_words.decode("utf-8", "replace").split())
        happened = "it closed its output" if code is None else "it exited" if not code else _death(code)
        return f"{happened}: {words}" if words else happened

    async def write(self) -> None:
        stdin = self._tree.child.stdin
        assert stdin is not None
        async with self._outbox:
            try:
                async for message in self._outbox:
                    await stdin.send_all(message)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass  # it closed its end: send() tells

    async def keep_last_words(self) -> None:
        while chunk := await _received(self._tree.child.stderr):
            self._last_words = (self._last_words + chunk)[-LAST_WORDS:]
            if len(chunk) == CHUNK:
                await trio.sleep(FLOOD_SECONDS)

    async def end(self) -> None:
        """Bounded, so it may be shielded."""
        child = self._tree.child
        if child.stdin is not None:
            child.stdin.close()  # by which a server is told that it may go
        with trio.move_on_after(GRACE_SECONDS):
            await child.wait()
        await self._tree.end()
        child.close()


async def _received(stream: FdStream | None) -> bytes:
    """b"" at the end."""
    assert stream is not None
    try:
        return bytes(await stream.receive_some(CHUNK))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def _death(code: int) -> str:
    return f"it exited with code {code}" if code > 0 else f"it was ended by signal {-code}"


def _start(command: str, server: McpServer, terms: Terms) -> Tree:
    try:
        return terms.confine.service([command, *server.args], terms.cwd, {**terms.env, **server.env})
    except ValueError as exc:
        raise TransportFailed(f"{command!r} could not be started: its command line holds a NUL") from exc
    except (OSError, ToolFailed) as exc:  # ToolFailed: there is no sandbox, and it has to be in one
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        raise TransportFailed(f"{command} could not be started: {why}") from exc


@asynccontextmanager
async def open_stdio(server: McpServer, terms: Terms) -> AsyncIterator[Stdio]:
    """The server as a process; nothing of it outlives the block. Raises TransportFailed if it cannot be started."""
    assert server.command is not None
    transport = Stdio(_start(server.command, server, terms))
    try:
        async with trio.open_nursery() as nursery:
            try:
                nursery.start_soon(transport.write)
                nursery.start_soon(transport.keep_last_words)
                yield transport
            finally:
                nursery.cancel_scope.cancel()
                with trio.CancelScope(shield=True):
                    await transport.end()
    except ExceptionGroup as group:
        raise only_cause(group) from None
