"""How often a key may ask: so many requests of a kind a minute. No tasks here. The contract: agent-api.md, 1.5."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import attrs
import trio

from agentd.faces.agent.answers import RateLimited

WINDOW_SECONDS = 60.0
QUERIES, SESSIONS, OTHERS = "queries", "sessions", "others"
KINDS = (QUERIES, SESSIONS, OTHERS)
_BEGINNINGS = ("/api/v1/query", "/v1/chat/completions")  # of runs, which are counted where they begin
_RUNS = ("/resume", "/fork")


def kind_of(pattern: str) -> str | None:
    """Of a route's requests; None: they begin a run."""
    if pattern.startswith(_BEGINNINGS) or pattern.endswith(_RUNS):
        return None
    return SESSIONS if pattern.startswith("/api/v1/sessions") else OTHERS


@attrs.define
class Rates:
    """*limits*: requests a minute, by kind; a kind that is not there has none. A minute begins with its first one."""

    limits: Mapping[str, int] = attrs.field(factory=dict)
    clock: Callable[[], float] = trio.current_time
    _counts: dict[tuple[str, str], tuple[float, int]] = attrs.field(factory=dict)  # since when, and how many

    def count(self, owner: str, kind: str) -> None:
        """One more request of *owner*'s. Raises RateLimited."""
        if (limit := self.limits.get(kind)) is None:
            return
        now = self.clock()
        since, count = self._counts.get((owner, kind), (now, 0))
        if now - since >= WINDOW_SECONDS:
            since, count = now, 0
        if count >= limit:
            raise RateLimited(limit, math.ceil(since + WINDOW_SECONDS - now))
        self._counts[owner, kind] = since, count + 1
