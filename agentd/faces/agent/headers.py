"""The fields that every answer of the agent API has. The contract: agent-api.md, 1.4."""

from __future__ import annotations

import re
import uuid
from collections.abc import Collection

from agentd.wire.messages import Fields, Request

PREFLIGHT = (
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, PATCH, OPTIONS"),
    ("Access-Control-Allow-Headers", "Content-Type, X-API-Key, X-Correlation-ID, Last-Event-ID"),
)
EXPOSED = (("Access-Control-Expose-Headers", "X-Correlation-ID, Retry-After"),)
CORRELATION = re.compile(r"[!-~]([ -~]{0,126}[!-~])?")


def correlation(request: Request) -> Fields:
    """The id that the client gave, if it is short and plain; else a new one."""
    given = request.headers.get("x-correlation-id")
    return (("X-Correlation-ID", given if CORRELATION.fullmatch(given) else str(uuid.uuid4())),)


def cors(request: Request, origins: Collection[str]) -> Fields:
    """For pages of *origins*, in lower case; "*": of any. No page may send what the browser has for us of its own."""
    origin = request.headers.get("origin").lower()
    if not origin or (origin not in origins and "*" not in origins):
        return ()
    shared = (("Access-Control-Allow-Origin", origin), ("Vary", "Origin"))
    return shared + (PREFLIGHT if request.method == "OPTIONS" else EXPOSED)
