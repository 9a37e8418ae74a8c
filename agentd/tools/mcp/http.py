"""Streamable HTTP: each message is a POST to one address, which is answered with JSON or a stream of events.

Up to 2025-11-25 a server may name a session, which then goes along with everything, and what it says unasked comes over
a GET, where it has one. A stream that breaks is taken up where it did, by Last-Event-ID. Since 2026-07-28 there are
neither sessions nor that GET: a request is a POST and its stream, and a request that is given up is a stream that is.
The rules: modelcontextprotocol.io/specification/2025-11-25/basic/transports, and /2026-07-28/…/streamable-http.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import attrs
import trio

from agentd.domain import McpServer
from agentd.errors import AgentdError
from agentd.tools.mcp.fields import BadMarks, fields_of, is_modern, marked
from agentd.tools.mcp.remote import (
    EVENTS,
    JSON,
    LONG,
    MOST_FAILURES,
    POOL,
    SHORT,
    Mark,
    Remote,
    answers,
    beginning,
    error_in,
    media_type,
    read_events,
    refusal,
    rest,
    told_as,
)
from agentd.tools.mcp.transport import (
    FRAME,
    Deliver,
    Outgoing,
    SendFailed,
    SessionLost,
    TransportClosed,
)
from agentd.wire.http import Answer, Deadlines, HttpClient, HttpFailed, HttpSettings
from agentd.wire.jsonrpc import Id
from agentd.wire.urlpolicy import UrlPolicy

GOODBYE_SECONDS = 2.0

BROKEN = ("network", "timeout")  # kinds of failure after which a stream may be taken up again
_SESSION_ID = re.compile(r"[!-~]{1,1024}")


@asynccontextmanager
async def open_http(
    server: McpServer, policy: UrlPolicy, settings: HttpSettings | None = None
) -> AsyncIterator[HttpTransport]:
    """Raises TransportFailed. *settings*: how servers are reached; those of the environment if there are none."""
    settings = attrs.evolve((settings or HttpSettings.from_env(os.environ)).under(policy), pool=POOL)
    async with HttpClient(settings) as client:
        transport = HttpTransport(Remote.of(server, client))
        try:
            yield transport
        finally:
            await transport.end()


class HttpTransport:
    """See Transport."""

    answers_itself = True
    modern = True

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._session: str | None = None
        self._version: str | None = None
        self._agreed = trio.Event()

    def negotiated(self, version: str) -> None:
        self._version = version
        self._agreed.set()

    def refuses(self, schema: Mapping[str, Any]) -> str | None:
        try:
            marked(schema if is_modern(self._version) else {})
        except BadMarks as exc:
            return str(exc)
        return None

    async def end(self) -> None:
        """Tell the server that the session is over. Raises nothing, and takes a moment at most."""
        if self._session is None:
            return
        fields = self._fields(JSON) + [("MCP-Protocol-Version", version) for version in [self._version] if version]
        with trio.move_on_after(GOODBYE_SECONDS, shield=True), suppress(AgentdError):
            async with self._remote.stream("DELETE", fields, deadlines=SHORT):
                pass

    # --- Messages -------------------------------------------------------------------------------------------------

    async def send(self, outgoing: Outgoing, deliver: Deliver) -> None:
        try:
            with told_as(SendFailed):
                if outgoing.id is None:
                    await self._tell(outgoing)
                else:
                    await self._ask(outgoing, outgoing.id, deliver)
        except SessionLost:
            self._session = None  # there is nothing to say goodbye to
            raise

    async def _tell(self, outgoing: Outgoing) -> None:
        async with self._post(outgoing, SHORT) as answer:
            if answer.status >= 300:
                raise self._refusal(answer.status, await beginning(answer))

    async def _ask(self, outgoing: Outgoing, request_id: Id, deliver: Deliver) -> None:
        mark = Mark()
        try:
            async with self._post(outgoing, LONG) as answer:
                if outgoing.method == "initialize" and answer.status < 300:
                    self._begin_session(answer)
                if media_type(answer) != EVENTS or answer.status >= 300:
                    await deliver(await self._response(answer, request_id))
                    return
                if await read_events(answer, mark, deliver, request_id):
                    await rest(answer)
                    return
        except HttpFailed as failed:
            if failed.kind not in BROKEN or not mark.last_id or is_modern(outgoing.version):
                raise
        await self._resume(outgoing, request_id, deliver, mark)

    async def _response(self, answer: Answer, request_id: Id) -> bytes:
        """The body, if it is the response. A request that failed may have one too, whatever the status says."""
        if answer.status >= 300:
            body = await beginning(answer)
            refused = self._refusal(answer.status, body)
            if isinstance(refused, SessionLost) or not answers(body, request_id):
                raise refused
            return body
        if media_type(answer) != JSON:
            said = "no" if answer.status in (202, 204) else "neither JSON nor an event stream for an"
            raise SendFailed(f"{self._site} had {said} answer to the request (HTTP {answer.status})", answer.status)
        body = await answer.read_all(FRAME)
        if not answers(body, request_id):
            said = f"{self._site} answered with what is no response to the request"
            raise SendFailed(said, answer.status, error_in(body))
        return body

    def _begin_session(self, answer: Answer) -> None:
        if "mcp-session-id" not in answer.headers:
            return
        named = answer.headers["mcp-session-id"]
        if not _SESSION_ID.fullmatch(named):
            raise SendFailed(f"{self._site} names a session by what is no name for one")
        self._session = named

    @asynccontextmanager
    async def _post(self, outgoing: Outgoing, deadlines: Deadlines) -> AsyncIterator[Answer]:
        try:
            fields = [("Content-Type", JSON), *self._fields(f"{JSON}, {EVENTS}"), *fields_of(outgoing)]
        except BadMarks as exc:
            raise SendFailed(f"the tool cannot be called over HTTP: {exc}") from exc
        async with self._remote.stream("POST", fields, outgoing.message, deadlines) as answer:
            yield answer

    # --- Streams --------------------------------------------------------------------------------------------------

    async def listen(self, deliver: Deliver) -> None:
        await self._agreed.wait()
        mark = Mark()
        try:
            if not is_modern(self._version):
                await self._follow(deliver, mark)
        except (HttpFailed, SessionLost) as exc:
            if mark.opened:  # else a server may have said by it that there is no such stream
                raise TransportClosed(str(exc)) from exc
        except AgentdError:
            pass  # there is no such stream, or none that is worth it
        await trio.sleep_forever()  # what is sent may well be answered

    async def _resume(self, outgoing: Outgoing, request_id: Id, deliver: Deliver, mark: Mark) -> None:
        """Get the rest of the stream of a request, which ended before the response."""
        if not mark.last_id or is_modern(outgoing.version):
            raise SendFailed(f"{self._site} ended the stream before the response")
        await trio.sleep(mark.pause(0))
        try:
            await self._follow(deliver, mark, request_id)
        except SessionLost as lost:  # which would mean that nothing was done yet: but this request had begun
            raise SendFailed(str(lost), lost.status, lost.error) from lost

    async def _follow(self, deliver: Deliver, mark: Mark, until: Id | None = None) -> None:
        """Deliver what comes over a GET, connection after connection, until the response to that request was there.
        Raises SendFailed where the server has no such stream or ends it in vain, and HttpFailed."""
        failures, failed = 0, AgentdError()
        while failures < MOST_FAILURES:
            await trio.sleep(mark.pause(failures) if failures else 0)
            events = mark.events
            try:
                if await self._read(deliver, mark, until):
                    return
                failed = SendFailed(f"{self._site} ends its stream over and over")
            except HttpFailed as exc:
                failed = exc
            except SendFailed as exc:
                if (exc.status or 0) < 500:
                    raise
                failed = exc
            failures = 1 if mark.events > events else failures + 1
        raise failed

    async def _read(self, deliver: Deliver, mark: Mark, until: Id | None) -> bool:
        fields = [*self._fields(EVENTS), *([("Last-Event-ID", mark.last_id)] if mark.last_id else [])]
        if self._version is not None:
            fields.append(("MCP-Protocol-Version", self._version))
        async with self._remote.stream("GET", fields) as answer:
            if answer.status >= 300 or media_type(answer) != EVENTS:
                raise self._refusal(answer.status, await beginning(answer))
            return await read_events(answer, mark, deliver, until)

    # --- Words ----------------------------------------------------------------------------------------------------

    def _fields(self, accept: str) -> list[tuple[str, str]]:
        return [("Accept", accept), *([("Mcp-Session-Id", self._session)] if self._session else [])]

    @property
    def _site(self) -> str:
        return self._remote.url.site

    def _refusal(self, status: int, body: bytes) -> SendFailed:
        return refusal(self._site, status, body, in_session=self._session is not None)
