"""Response heads as bytes, made by hand: h11 would spend more time on one than the rest of a small request takes."""

from __future__ import annotations

import time
from functools import lru_cache
from http import HTTPStatus

from agentd.wire.messages import Fields

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_BODILESS = frozenset({204, 304})

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def chunk(data: bytes) -> bytes:
    """*data*, which is not empty, as one chunk (RFC 9112, 7.1)."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Form:
    """What a request says of how it is answered."""

    __slots__ = ("keep_alive", "method", "modern", "request_id")

    def __init__(self, method: str, modern: bool, keep_alive: bool, request_id: str = "") -> None:
        self.method = method
        self.modern = modern  # knows chunks; else HTTP/1.0, whose bodies of unknown length end when we hang up
        self.keep_alive = keep_alive
        self.request_id = request_id  # goes back in every answer; "": nobody watches

    def has_body(self, status: int) -> bool:
        """RFC 9112, 6.3: what has none, whatever its head says."""
        return self.method != "HEAD" and status not in _BODILESS

    def head(self, status: int, content_type: str | None, fields: Fields, length: int | None) -> bytes:
        """*length* None: nobody knows it. Raises ValueError for a field that would break out of its line."""
        if status in _BODILESS:
            content_type = length = None
        parts = [_opening(status, content_type), http_date(int(time.time()))]
        if length is not None:
            parts.append(f"\r\nContent-Length: {length}")
        elif self.modern and status not in _BODILESS:
            parts.append("\r\nTransfer-Encoding: chunked")
        if not self.keep_alive:
            parts.append("\r\nConnection: close")
        if self.request_id:
            parts.append(f"\r\nX-Request-Id: {self.request_id}")
        for name, value in fields:
            if not (value.isprintable() and name.isprintable()):
                raise ValueError(f"control characters in the response field {name!r}")
            parts.append(f"\r\n{name}: {value}")
        parts.append("\r\n\r\n")
        return "".join(parts).encode("latin-1")


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
