"""Who watches a server's exchanges, and the ids that tell them apart. No sockets and no trio here.

Every answer of a watched server carries X-Request-Id. The same id is `current` while the request is handled, in its
task, the tasks that this one starts and the threads it calls: whoever writes a log line finds it there.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from itertools import count
from typing import Protocol

import attrs

from agentd.wire.messages import Headers, Request
from agentd.wire.routing import Mount

current: ContextVar[str] = ContextVar("current", default="")  # "" where no request is handled

_SANE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}")  # nothing that could be more than a name, in a log or a head
_OURS = f"{secrets.token_hex(4)}-{{:x}}".format  # of this process: drawing each one would cost more than counting
_NUMBERS = count(1)


@attrs.frozen
class Load:
    """How much a server has to do at the moment."""

    connections: int
    streams: int  # readers of feeds
    behind: int  # those of them that do not have everything yet: they are slow, or were away


class Observer(Protocol):
    """Called on the way of every request: it must cost next to nothing, and never raise."""

    def serving(self, load: Callable[[], Load]) -> None:
        """A server begins, and says whenever it is asked how much it has to do."""

    def answered(self, request: Request, mount: Mount | None, status: int, seconds: float) -> None:
        """The answer is about to be sent, *seconds* after the request's head had come. *mount* None: no face has the
        path."""

    def refused(self, status: int) -> None:
        """What came was no request, or there was no room for its connection."""


def new_id() -> str:
    return _OURS(next(_NUMBERS))


def id_of(headers: Headers) -> str:
    """The one that the client gave, if it is a short plain word; else one of ours."""
    given = headers.raw.get(b"x-request-id")
    return given.decode() if given is not None and _SANE.fullmatch(given) else new_id()
