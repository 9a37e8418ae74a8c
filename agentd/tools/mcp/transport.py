"""What carries messages to an MCP server and back: what a session needs of one, whatever it goes through.

The three are opened as blocks, `async with open_stdio(…) as transport`, open_http(server, policy) and open_sse(server,
policy) alike. The block owns what there is of processes, connections and tasks; leaving it ends them within bounded
time, also when cancelled. Entering it contacts nobody yet, or raises TransportFailed.

Whatever a server says goes to *deliver*, one message a time, as it came: bytes that nobody has looked at yet, at most
FRAME of them. deliver() may take its time: then nothing more is read, and the server waits. It never raises.

    listen()   runs for as long as the connection does, beside everything else, from its beginning. It delivers what
               belongs to no send(): all that comes over stdio and SSE; over HTTP the legacy GET stream, once
               negotiated() was called. Where there is no such stream it just waits. It never returns: it raises
               TransportClosed when there will be nothing more from that server.
    send()     one message. Where *answers_itself*, it delivers what comes on the stream that this message has for
               itself, and returns at its end: of a request behind its response, which may be told apart by its id.
               Elsewhere it returns when the message is out, and the response comes through listen(). Several may run at
               once. Cancelled, it gives up the stream of its message: a modern HTTP server learns by it that nobody
               waits.

A session is begun anew by opening a transport anew. Nothing here is repeated by itself, but what is known never to have
reached the server; resuming a broken legacy stream by Last-Event-ID happens within send() and listen().
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import attrs

from agentd.errors import AgentdError
from agentd.wire.jsonrpc import Id, RpcError

FRAME = 16 << 20  # bytes: the longest message that is read

Deliver = Callable[[bytes], Awaitable[None]]


class TransportFailed(AgentdError):
    """The text says what happened, for people and models: no key, no header, no query of a URL."""

    code = "MCP_FAILED"


class TransportClosed(TransportFailed):
    """The connection is over: nothing more goes out or comes in."""


class SendFailed(TransportFailed):
    """A message was not taken. The connection may well go on. *status*: of HTTP; *error*: what the body of such an
    answer says, where it is a JSON-RPC error without the request's id (one with it is delivered, as any response)."""

    def __init__(self, text: str, status: int | None = None, error: RpcError | None = None) -> None:
        super().__init__(text)
        self.status, self.error = status, error


class SessionLost(SendFailed):
    """The server does not know the session any more (404 to a message that named it)."""


@attrs.frozen
class Outgoing:
    """A message, and what HTTP says of it in header fields."""

    message: bytes  # one line of JSON, without the line break
    method: str = ""  # empty: a response
    id: Id | None = None  # of a request; None: nothing answers it
    name: str | None = None  # params.name of tools/call and prompts/get, params.uri of resources/read: Mcp-Name
    version: str | None = None  # MCP-Protocol-Version; None: not known yet (initialize)
    # Of tools/call since 2026-07-28: the tool's input schema, which may name arguments that go into Mcp-Param-… too.
    schema: Mapping[str, Any] | None = None
    arguments: Mapping[str, Any] | None = None


class Transport(Protocol):
    @property
    def answers_itself(self) -> bool:
        """Whether the response to a request comes within its send()."""

    @property
    def modern(self) -> bool:
        """Whether 2026-07-28 can be spoken through it at all. Not through HTTP+SSE."""

    def negotiated(self, version: str) -> None:
        """The two sides have agreed. Called once, before anything but the handshake is sent."""

    def refuses(self, schema: Mapping[str, Any]) -> str | None:
        """Why a tool of this input schema cannot be called through it (its x-mcp-header are invalid); None: it can."""

    async def send(self, outgoing: Outgoing, deliver: Deliver) -> None:
        """Raises SendFailed, SessionLost and TransportClosed."""

    async def listen(self, deliver: Deliver) -> None:
        """Raises TransportClosed, sooner or later."""
