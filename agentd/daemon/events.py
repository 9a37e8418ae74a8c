"""What changed lately, as one stream of server-sent events: what a live list needs. The last few are kept.

Ordinals go on from the time of the start, so those of an earlier daemon are told apart from ours: a cursor that is not
within what is kept gets a reset event, and its reader asks for the lists again.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from agentd.store.create import Clock, epoch_ms
from agentd.wire import sse
from agentd.wire.feed import Feed

KEPT = 1024  # events
FRAME_EVENTS = 128


@attrs.frozen
class _Event:
    ordinal: int
    owner: str | None
    frame: bytes


class Events:
    """*watch* is called when the first reader comes, and what it returns when the last one has left."""

    def __init__(self, watch: Callable[[], Callable[[], None]], *, clock: Clock = epoch_ms) -> None:
        self.last = self._first = clock() * 1000  # below 2**53 for two centuries: JavaScript's numbers hold it
        self._kept: deque[_Event] = deque(maxlen=KEPT)
        self._watch = watch
        self._callbacks: dict[object, Callable[[], None]] = {}
        self._feeds: dict[str | None, Feed] = {}

    def publish(self, name: str, data: Mapping[str, Any], owner: str | None) -> None:
        """*owner*: whose session it is about."""
        self.last += 1
        text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), default=str)
        self._kept.append(_Event(self.last, owner, sse.encode(name, text, event_id=self.last)))
        for callback in tuple(self._callbacks.values()):
            callback()

    def feed(self, owner: str | None = None) -> Feed:
        """What *owner* may see; None: everything."""
        if owner not in self._feeds:
            self._feeds[owner] = Feed(_Frames(self, owner))
        return self._feeds[owner]

    def close(self) -> None:
        """End every stream: the server is stopping."""
        for feed in self._feeds.values():
            feed.close()

    def read(self, after: int, owner: str | None) -> tuple[bytes, int]:
        oldest = self._kept[0].ordinal - 1 if self._kept else self.last
        if not oldest <= after <= self.last:
            return sse.encode("reset", "{}", event_id=self.last), self.last
        frames, at = list[bytes](), after
        for event in self._behind(after):
            if len(frames) == FRAME_EVENTS:
                break
            at = event.ordinal
            if owner is None or event.owner == owner:
                frames.append(event.frame)
        # A comment takes a reader on who may see none of them, so that it does not fall out of what is kept.
        return (b"".join(frames) or sse.KEEPALIVE, at) if at > after else (b"", after)

    def _behind(self, after: int) -> list[_Event]:
        count = self.last - after
        return list(self._kept)[-count:] if count else []

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        key, leave = object(), self._watch()
        self._callbacks[key] = callback

        def unsubscribe() -> None:
            if self._callbacks.pop(key, None) is not None:
                leave()

        return unsubscribe


@attrs.frozen
class _Frames:
    """For a feed."""

    events: Events
    owner: str | None

    def read(self, after: int) -> tuple[bytes, int]:
        return self.events.read(after, self.owner)

    def ended(self, after: int) -> bool:
        return False

    def subscribe(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.events.subscribe(callback)
