"""Ids as clients of runs and chats see them: `run_20260102t081717z_ab…`. The rule: runs-and-chat.md, 4.

Such an id is a prefix, a time and 80 bits. That of a session is made of its UUID's first 80 bits and of the time of its
first record, so that it need not be stored: the index finds the session by what its UUID begins with.
"""

from __future__ import annotations

import re
import secrets
import time
from base64 import b32decode, b32encode
from datetime import UTC, datetime

BYTES = 10  # 80 bits: 16 letters
UUID_START = 23  # characters of a UUID that say them: 12345678-1234-1234-1234
_TAIL = re.compile(r"[0-9]{8}t[0-9]{6}z_([a-z2-7]{16})")


def stamped(prefix: str, ms: int, bits: bytes) -> str:
    """The id with *prefix* ("run_"), of epoch milliseconds and BYTES bytes."""
    at = datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y%m%dt%H%M%Sz")
    return f"{prefix}{at}_{b32encode(bits).decode().lower()}"


def fresh(prefix: str) -> str:
    """One that there has never been."""
    return stamped(prefix, time.time_ns() // 1_000_000, secrets.token_bytes(BYTES))


def of_uuid(prefix: str, ms: int, uuid: str) -> str:
    """That of a session or a job made at *ms*. Raises ValueError for what is no UUID."""
    return stamped(prefix, ms, bytes.fromhex(uuid[:UUID_START].replace("-", "")))


def uuid_start(prefix: str, ident: str) -> str | None:
    """What the UUID of that id begins with; None: it is no such id."""
    found = _TAIL.fullmatch(ident.removeprefix(prefix)) if ident.startswith(prefix) else None
    if found is None:
        return None
    digits = b32decode(found[1].upper()).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:]}"


def instant(ms: int) -> str:
    """RFC 3339 in UTC with microseconds, of epoch milliseconds."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
