"""What a chat consists of, beside its messages. Values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs


@attrs.frozen
class Turn:
    """*status*: pending, running, waiting_approval, succeeded, failed. Times are epoch milliseconds."""

    id: str
    status: str = "pending"
    started: int | None = None
    completed: int | None = None
    error: str | None = None


@attrs.frozen
class Said:
    """A message that the model has not had yet."""

    id: str
    role: str
    parts: Sequence[Mapping[str, Any]]
    turn: str


@attrs.frozen
class Waiting:
    """What is asked about a call."""

    ask: str
    call: str
    tool: str


@attrs.frozen
class Attachment:
    sha256: str
    size: int
    media_type: str
