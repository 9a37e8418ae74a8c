"""Server-Sent Events as bytes. No sockets and no trio here. The rules: WHATWG HTML, section 9.2."""

from __future__ import annotations

import re
from codecs import getincrementaldecoder

import attrs

from agentd.errors import AgentdError

KEEPALIVE = b": keep-alive\n\n"  # a comment: clients skip it, proxies see a connection that is alive
MAX_EVENT_CHARACTERS = 16 * 1024 * 1024  # what a decoder holds of one event before it gives up

_LINE_END = re.compile(r"\r\n|\r|\n")
_DIGITS = re.compile(r"[0-9]{1,9}")


class EventTooLarge(AgentdError):
    code = "EVENT_TOO_LARGE"

    def __init__(self) -> None:
        super().__init__(f"the stream sent an event of more than {MAX_EVENT_CHARACTERS} characters")


def encode(event: str, data: str, *, event_id: int | None = None) -> bytes:
    """One event as wire bytes. A client that reconnects sends *event_id* as Last-Event-ID."""
    # CR and LF both end a field: split on either, or data could smuggle in fields of its own.
    lines = "".join(f"data: {line}\n" for line in _LINE_END.split(data))
    name = _LINE_END.sub(" ", event)
    head = f"event: {name}\n" if event_id is None else f"id: {event_id}\nevent: {name}\n"
    return f"{head}{lines}\n".encode("utf-8", "replace")


@attrs.frozen
class Event:
    name: str
    data: str
    id: str  # of the last event that had one: what to send as Last-Event-ID


class Decoder:
    """Events out of the bytes of a stream, fed in pieces of any size. What the stream ends within is no event."""

    def __init__(self) -> None:
        self.retry_ms: int | None = None
        self._text = getincrementaldecoder("utf-8")("replace")
        self._line: list[str] = []  # the pieces of a line whose end has not come yet
        self._held = 0  # characters in those pieces
        self._started = False
        self._after_cr = False  # a line feed that comes next belongs to the line end before
        self._data: list[str] = []
        self._size = 0  # characters in that data, with line ends
        self._name = ""
        self._id = ""

    def feed(self, data: bytes) -> list[Event]:
        """The events that end within *data*. Raises EventTooLarge."""
        events = []
        for line in self._lines(self._text.decode(data)):
            if line:
                self._field(line)
            elif (event := self._dispatch()) is not None:
                events.append(event)
        if self._held + self._size > MAX_EVENT_CHARACTERS:
            raise EventTooLarge
        return events

    def _lines(self, text: str) -> list[str]:
        if text and not self._started:
            self._started = True
            text = text.removeprefix("\ufeff")
        if text and self._after_cr:
            self._after_cr = False
            text = text.removeprefix("\n")
        self._after_cr = self._after_cr or text.endswith("\r")
        first, *rest = _LINE_END.split(text)
        self._line.append(first)
        self._held += len(first)
        if not rest:
            return []
        lines = ["".join(self._line), *rest]
        self._line = [lines.pop()]
        self._held = len(self._line[0])
        return lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
            self._size += len(value) + 1  # and its line end: lines that are empty are held too
        elif name == "event":
            self._name = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and _DIGITS.fullmatch(value):
            self.retry_ms = int(value)

    def _dispatch(self) -> Event | None:
        name, lines = self._name or "message", self._data
        self._name, self._data, self._size = "", [], 0
        return Event(name, "\n".join(lines), self._id) if lines else None
