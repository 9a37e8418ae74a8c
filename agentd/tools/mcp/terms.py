"""What a job and its MCP servers tell each other: values only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import attrs

from agentd.sandbox.contain import Containment
from agentd.wire.urlpolicy import UrlPolicy


@attrs.frozen
class Elicitation:
    """A server wants to know something of a person. Either *schema*, a flat JSON Schema of an object, says what, or the
    person shall go to *url*. *call*: the tool call that it is for, where that is known."""

    server: str
    message: str
    schema: Mapping[str, Any]
    url: str | None = None
    call: str | None = None


@attrs.frozen
class Elicited:
    """*content*: of accept, and not of a URL: what *schema* asked for."""

    action: Literal["accept", "decline", "cancel"]
    content: Mapping[str, Any] | None = None


@attrs.frozen
class Terms:
    """What the servers of one job work under."""

    cwd: Path
    env: Mapping[str, str] = attrs.field(repr=False)  # of stdio servers, whole; a server's own is laid over it
    roots: Sequence[Path]
    confine: Containment
    url_policy: UrlPolicy
    notice: Callable[[str, str, str], None]  # level (info, warning, error), code, text
    elicit: Callable[[Elicitation], Awaitable[Elicited]] | None = None  # None: nobody is there to be asked
    network: bool = True  # no: servers that are reached by a URL are not
    connect_seconds: float = 5.0
    call_seconds: float = 60.0


@attrs.frozen
class ServerStatus:
    name: str
    type: str  # stdio, http, sse
    status: Literal["connected", "failed"]
    error: str | None
    tool_count: int


@attrs.frozen
class PromptArgument:
    name: str
    description: str
    required: bool


@attrs.frozen
class Prompt:
    """*name*: "server:prompt", for people."""

    name: str
    description: str
    arguments: tuple[PromptArgument, ...]
