"""A service's answer as JSON objects, whatever it chose to send: Server-Sent Events, one whole document, or a page.

Services answer a stream request with a document, label events text/plain, and documents text/event-stream; so what a
body is shows in its first bytes, not in its content type. No sockets and no trio here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from agentd.providers.errorbody import read_body
from agentd.providers.failures import ProtocolBroken, Target
from agentd.wire.sse import Decoder, Event, EventTooLarge

MAX_DOCUMENT = 16 * 1024 * 1024  # bytes; of an event the decoder of events bounds as much
MAX_ANSWER = 64 * 1024 * 1024  # bytes of one answer, whose longest is a few hundred thousand tokens
PAGE_BYTES = 2048  # what is read of a body that is no JSON, to say what it is
SLICE = 64 * 1024

_EVENTS = re.compile(rb"(data|event|id|retry)?:")
_BOM = b"\xef\xbb\xbf"


class JsonStream:
    """The objects in a body that is fed in pieces of any size. feed() and close() raise ProtocolBroken after having
    given what came before the fault. `whole`: the body was one document. `done`: [DONE] came; what follows it is left
    out."""

    def __init__(self, target: Target) -> None:
        self.whole = False
        self.done = False
        self._target = target
        self._head = b""  # as long as it is not known what the body is; of a page, what is shown of it
        self._parts: list[bytes] = []  # of a document
        self._size = 0
        self._events: Decoder | None = None

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        self._size += len(data)
        if self._size > MAX_ANSWER:
            raise self._broken(f"its answer is larger than {MAX_ANSWER} bytes")
        if not self.whole and self._events is None:
            data = self._recognise(self._head + data)
        if self.whole:
            self._collect(data)
        elif self._events is not None:
            for start in range(0, len(data), SLICE):
                yield from self._feed_events(data[start : start + SLICE])

    def close(self) -> Iterator[dict[str, Any]]:
        """What the end of the body completes. An event that was cut off is left out: the stream broke there."""
        if self.whole:
            yield from self._document(b"".join(self._parts))
        elif self._events is not None:
            try:
                yield from self._feed_events(b"\n\n")  # some end without the empty line
            except ProtocolBroken:
                return
        elif self._head:
            raise self._page()

    def _recognise(self, head: bytes) -> bytes:
        """What to go on with, once it is known what the body is."""
        if not _BOM.startswith(head):
            head = head.removeprefix(_BOM).lstrip()
        self._head = head
        if head[:1] in (b"{", b"["):
            self.whole = True
        elif _EVENTS.match(head):
            self._events = Decoder()
        elif len(head) >= PAGE_BYTES:
            raise self._page()
        else:
            return b""
        self._head = b""
        return head

    def _collect(self, data: bytes) -> None:
        self._parts.append(data)
        if self._size > MAX_DOCUMENT:
            self._parts.clear()
            raise self._broken(f"it sent a JSON document of more than {MAX_DOCUMENT} bytes")

    def _document(self, body: bytes) -> Iterator[dict[str, Any]]:
        value = self._parse(body.decode("utf-8", "replace"))
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, dict):
            yield value

    def _feed_events(self, data: bytes) -> Iterator[dict[str, Any]]:
        assert self._events is not None
        try:
            events = self._events.feed(data)
        except EventTooLarge as exc:
            raise self._broken(str(exc)) from exc
        for event in events:
            yield from self._event(event)

    def _event(self, event: Event) -> Iterator[dict[str, Any]]:
        self.done = self.done or event.data.strip() == "[DONE]"
        if not self.done and event.data.strip():
            value = self._parse(event.data)
            if isinstance(value, dict):
                yield value

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as exc:
            raise self._broken(f"this is no JSON: {text[:PAGE_BYTES]}") from exc

    def _page(self) -> ProtocolBroken:
        shown = read_body(self._head[:PAGE_BYTES], "").message
        return self._broken(f"its answer is no JSON: {shown}")

    def _broken(self, what: str) -> ProtocolBroken:
        return ProtocolBroken(what, self._target)
