"""An MCP server's address on the web, and what requests to it have in common, whichever of the two transports it is.

What a server's configuration has for headers goes along with every request, within its origin only: a redirect that
leads elsewhere, or would lose the message, is not followed. Texts of errors name the site, and no path, query or value
of a field: keys are in all of them.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import attrs
import trio

from agentd.domain import McpServer
from agentd.errors import AgentdError, InvalidRequest
from agentd.tools.mcp.transport import FRAME, Deliver, SendFailed, SessionLost, TransportFailed
from agentd.wire.http import Answer, Deadlines, HttpClient, HttpFailed
from agentd.wire.jsonrpc import METHOD_NOT_FOUND, Id, NotMessage, Response, RpcError, parse_message
from agentd.wire.messages import Fields
from agentd.wire.pool import PoolLimits
from agentd.wire.redirects import location
from agentd.wire.sse import Decoder, Event
from agentd.wire.typed import parse
from agentd.wire.urls import InvalidUrl, Url, parse_url

# Whoever sends a request waits for as long as it wants to, and a stream of events may be silent for hours.
LONG = Deadlines(first_byte=math.inf, between_bytes=math.inf)
SHORT = Deadlines(first_byte=30.0, between_bytes=30.0, total=30.0)  # for what is only taken
# Less than the 5 s after which servers begin to hang up: a POST that crosses with that is lost, and is not repeated.
POOL = PoolLimits(idle_seconds=4.0)
MOST_REDIRECTS = 3
LONGEST_REFUSAL = 64 * 1024  # bytes that are read of it
TAIL_SECONDS = 0.5  # that a stream has to end, behind the response that it is for
MOST_FAILURES = 5  # of a stream in a row, without an event between them
SHORTEST_PAUSE, LONGEST_PAUSE = 0.2, 30.0  # seconds, between two connections of a stream

JSON, EVENTS = "application/json", "text/event-stream"
_FRAMING = "accept-encoding connection content-length expect keep-alive te trailer transfer-encoding upgrade"
_OURS = frozenset(
    f"{_FRAMING} accept content-type last-event-id mcp-method mcp-name mcp-protocol-version mcp-session-id".split()
)

_WHY = {
    401: "it wants credentials, or others than it was given in its headers",
    403: "it does not let us in",
    404: "there is no MCP server at that path",
    405: "there is no MCP server of this transport at that path",
    429: "it has had too many requests",
}


@attrs.define
class Remote:
    """*url* moves with redirects within its origin. *own*: the fields of the configuration."""

    client: HttpClient = attrs.field(repr=False)
    url: Url = attrs.field(repr=False)
    own: Fields = attrs.field(repr=False)

    @classmethod
    def of(cls, server: McpServer, client: HttpClient) -> Remote:
        """Raises TransportFailed."""
        try:
            url = parse_url(server.url or "")
        except InvalidUrl as exc:
            raise TransportFailed(f"its URL is not valid: {exc}") from exc
        own = [(name, value) for name, value in server.headers.items() if not _is_ours(name)]
        if url.userinfo and "authorization" not in (name.lower() for name, _ in own):
            own.append(("Authorization", url.authorization))
        return cls(client, attrs.evolve(url, userinfo=""), own)

    @asynccontextmanager
    async def stream(
        self, method: str, fields: Fields, body: bytes = b"", deadlines: Deadlines = LONG
    ) -> AsyncIterator[Answer]:
        """An answer, whatever its status. Raises SendFailed for a redirect, and what HttpClient.stream() raises."""
        for _ in range(MOST_REDIRECTS + 1):
            async with self.client.stream(
                method, str(self.url), headers=[*self.own, *fields], body=body, deadlines=deadlines
            ) as answer:
                target = location(self.url, answer.status, answer.headers)
                if target is None:
                    yield answer
                    return
            self._follow(method, target, answer.status)
        raise SendFailed(f"{self.url.site} redirects more than {MOST_REDIRECTS} times")

    def _follow(self, method: str, target: Url, status: int) -> None:
        if target.origin != self.url.origin:
            raise SendFailed(f"{self.url.site} redirects to {target.site}, which is not followed", status)
        if method != "GET" and status not in (307, 308):
            raise SendFailed(f"{self.url.site} redirects with HTTP {status}, by which the message is lost", status)
        self.url = target


def _is_ours(name: str) -> bool:
    return name.lower() in _OURS or name.lower().startswith("mcp-param-")


@contextmanager
def told_as(kind: type[TransportFailed]) -> Iterator[None]:
    """What goes wrong with HTTP, as *kind*."""
    try:
        yield
    except TransportFailed:
        raise
    except AgentdError as exc:  # HttpFailed, InvalidUrl, UrlRefused
        raise kind(str(exc)) from exc


# --- Answers ------------------------------------------------------------------------------------------------------


def media_type(answer: Answer) -> str:
    return answer.headers.get("content-type").partition(";")[0].strip().lower()


async def beginning(answer: Answer) -> bytes:
    """Of an answer that is a refusal, all of it if it is short; else b"": its status says enough."""
    try:
        return await answer.read_all(LONGEST_REFUSAL)
    except HttpFailed:
        return b""


def refusal(site: str, status: int, body: bytes, *, in_session: bool = False) -> SendFailed:
    """What an answer is that is none of those that there should be."""
    said = error_in(body)
    why = "it fails" if status >= 500 else _WHY.get(status, "it is not what an MCP server answers")
    if said is not None and status not in (401, 403):  # those may repeat what they do not like
        why = " ".join("".join(char if char.isprintable() else " " for char in said.message[:200]).split()) or why
    lost = in_session and _is_of_session(status, said)
    if lost and said is None:
        why = "it does not know the session any more"
    return (SessionLost if lost else SendFailed)(f"{site} answered with HTTP {status}: {why}", status, said)


def _is_of_session(status: int, error: RpcError | None) -> bool:
    """Whether it says that there is no such session. The official example server, and what was made after it, has its
    own way to: 400, and this code."""
    if status == 404:
        return error is None or error.code != METHOD_NOT_FOUND
    return status == 400 and error is not None and error.code == -32000 and "session" in error.message.lower()


def error_in(body: bytes) -> RpcError | None:
    """What a body says of an error, be it whole JSON-RPC or not: many have no id, not even null."""
    try:
        value = parse(body)
    except InvalidRequest:
        return None
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict) or type(error.get("code")) is not int or not isinstance(error.get("message"), str):
        return None
    return RpcError(error["code"], error["message"], error.get("data"))


async def rest(answer: Answer) -> None:
    """Read the end that a stream should have now: without it, its connection cannot be used again."""
    with trio.move_on_after(TAIL_SECONDS), suppress(HttpFailed):
        await answer.read_all(LONGEST_REFUSAL)


def answers(message: bytes, request_id: Id) -> bool:
    """Whether it is the response to that request."""
    try:
        found = parse_message(message)
    except NotMessage:
        return False
    return isinstance(found, Response) and found.id == request_id and type(found.id) is type(request_id)


# --- Streams of events --------------------------------------------------------------------------------------------


@attrs.define
class Mark:
    """How far a stream was read, over all its connections."""

    opened: bool = False
    last_id: str = ""
    events: int = 0
    retry_seconds: float = 1.0

    def pause(self, failures: int) -> float:
        """Seconds until the next connection, after so many in vain."""
        return max(SHORTEST_PAUSE, min(self.retry_seconds * 2.0 ** max(failures - 1, 0), LONGEST_PAUSE))


async def read_events(
    answer: Answer,
    mark: Mark,
    deliver: Deliver,
    until: Id | None = None,
    others: Callable[[Event], None] = lambda event: None,
) -> bool:
    """Deliver the messages that come, and hand events of other names to *others*; whether the response to the request
    *until* was there. Raises HttpFailed."""
    mark.opened = True
    decoder = Decoder()
    try:
        async for event in answer.events(decoder):
            mark.events += 1
            mark.last_id = event.id or mark.last_id
            if event.name != "message":
                others(event)
                continue
            if not event.data:  # it only tells an id, from which the stream can be taken up again
                continue
            message = event.data.encode("utf-8", "replace")
            if len(message) > FRAME:
                raise HttpFailed("protocol", f"the stream has a message of more than {FRAME} bytes")
            await deliver(message)
            if until is not None and answers(message, until):
                return True
    finally:
        if decoder.retry_ms is not None:
            mark.retry_seconds = decoder.retry_ms / 1000
    return False
