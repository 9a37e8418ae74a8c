"""Response heads as bytes, made by hand: h11 would spend more time on one than the rest of a small request takes."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus

from agentd.wire.messages import Fields

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def chunk(data: bytes) -> bytes:
    """*data*, which is not empty, as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def response_head(
    status: int, content_type: str | None, fields: Fields, *, length: int | None, chunked: bool, keep_alive: bool
) -> bytes:
    """*length* None: no Content-Length. Raises ValueError for a field that would break out of its line."""
    parts = [_opening(status, content_type), http_date(int(time.time()))]
    if length is not None:
        parts.append(f"\r\nContent-Length: {length}")
    if chunked:
        parts.append("\r\nTransfer-Encoding: chunked")
    if not keep_alive:
        parts.append("\r\nConnection: close")
    for name, value in fields:
        if not (value.isprintable() and name.isprintable()):
            raise ValueError(f"control characters in the response field {name!r}")
        parts.append(f"\r\n{name}: {value}")
    parts.append("\r\n\r\n")
    return "".join(parts).encode("latin-1")


def has_body(method: str, status: int) -> bool:
    """RFC 9112, 6.3: what never has one, whatever its head says."""
    return method != "HEAD" and status not in (204, 304) and status >= 200


@lru_cache(maxsize=256)
def _opening(status: int, content_type: str | None) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    kind = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"HTTP/1.1 {status} {phrase}\r\n{kind}Date: "


@lru_cache(maxsize=2)
def http_date(seconds: int) -> str:
    """RFC 9110, 5.6.7. By hand: strftime speaks the locale's language, and email.utils takes 15 ms to import."""
    t = time.gmtime(seconds)
    day = f"{_DAYS[t.tm_wday]}, {t.tm_mday:02} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
    return f"{day} {t.tm_hour:02}:{t.tm_min:02}:{t.tm_sec:02} GMT"
