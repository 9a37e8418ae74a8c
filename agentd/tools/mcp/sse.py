"""HTTP+SSE, the transport of MCP 2024-11-05: one GET whose stream of events brings all that the server says, the first
of them the address that messages are POSTed to. Deprecated since 2025-03-26; servers that have nothing else are still
about. The rules: modelcontextprotocol.io/specification/2024-11-05/basic/transports.
"""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.domain import McpServer
from agentd.tools.mcp.remote import (
    EVENTS,
    JSON,
    POOL,
    SHORT,
    Mark,
    Remote,
    beginning,
    media_type,
    read_events,
    refusal,
    told_as,
)
from agentd.tools.mcp.transport import Deliver, Outgoing, SendFailed, TransportClosed, TransportFailed
from agentd.wire.http import Deadlines, HttpClient, HttpSettings
from agentd.wire.sse import Event
from agentd.wire.urlpolicy import UrlPolicy

ENDPOINT_SECONDS = 30.0  # until it is named
LONGEST_ENDPOINT = 8192  # characters
STREAM = Deadlines(first_byte=ENDPOINT_SECONDS, between_bytes=math.inf)


@asynccontextmanager
async def open_sse(
    server: McpServer, policy: UrlPolicy, settings: HttpSettings | None = None
) -> AsyncIterator[SseTransport]:
    """As open_http()."""
    settings = attrs.evolve((settings or HttpSettings.from_env(os.environ)).under(policy), pool=POOL)
    async with HttpClient(settings) as client:
        yield SseTransport(Remote.of(server, client))


class SseTransport:
    """See Transport."""

    answers_itself = False
    modern = False

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._endpoint: Remote | None = None
        self._known = trio.Event()  # the endpoint is, or why there is none
        self._closed = ""  # why, once it is

    def negotiated(self, version: str) -> None:
        """Each message says its version itself."""

    def refuses(self, schema: Mapping[str, Any]) -> str | None:
        return None

    async def send(self, outgoing: Outgoing, deliver: Deliver) -> None:
        with trio.move_on_after(ENDPOINT_SECONDS):
            await self._known.wait()
        if self._closed or self._endpoint is None:
            raise TransportClosed(
                self._closed or f"{self._remote.url.site} named no endpoint in {ENDPOINT_SECONDS:g} s"
            )
        fields = [("Content-Type", JSON), ("Accept", f"{JSON}, {EVENTS}")]
        if outgoing.version is not None:
            fields.append(("MCP-Protocol-Version", outgoing.version))
        with told_as(SendFailed):
            async with self._endpoint.stream("POST", fields, outgoing.message, SHORT) as answer:
                if answer.status >= 300:
                    raise refusal(self._endpoint.url.site, answer.status, await beginning(answer), in_session=True)

    async def listen(self, deliver: Deliver) -> None:
        try:
            with told_as(TransportClosed):
                await self._listen(deliver)
            raise TransportClosed(f"{self._remote.url.site} ended the stream of events")
        except TransportFailed as exc:
            self._closed = str(exc)
            raise TransportClosed(str(exc)) from exc
        finally:
            self._closed = self._closed or "the connection was given up"
            self._known.set()

    async def _listen(self, deliver: Deliver) -> None:
        async with self._remote.stream("GET", [("Accept", EVENTS)], deadlines=STREAM) as answer:
            if answer.status >= 300 or media_type(answer) != EVENTS:
                raise refusal(self._remote.url.site, answer.status, await beginning(answer))
            await read_events(answer, Mark(), deliver, others=self._see)

    def _see(self, event: Event) -> None:
        """The first event says where messages go: at the same site, or whoever runs that one would get our keys."""
        if event.name != "endpoint" or self._endpoint is not None:
            return
        if len(event.data) > LONGEST_ENDPOINT:
            raise TransportClosed(f"{self._remote.url.site} has an endpoint of more than {LONGEST_ENDPOINT} characters")
        url = self._remote.url.join(event.data)
        if url.origin != self._remote.url.origin:
            raise TransportClosed(f"{self._remote.url.site} has its endpoint elsewhere, at {url.site}")
        self._endpoint = attrs.evolve(self._remote, url=url)
        self._known.set()
