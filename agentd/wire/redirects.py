"""What a redirect asks for, and what of it is done. Nothing is sent here. The rules: RFC 9110, 15.4."""

from __future__ import annotations

from collections.abc import AsyncIterable

import attrs

from agentd.wire.failure import HttpFailed
from agentd.wire.messages import Fields, Headers
from agentd.wire.urls import InvalidUrl, Url

STATUSES = frozenset({301, 302, 303, 307, 308})

# What goes along to another origin. A list of what must not would miss the next service's name for its key.
_HARMLESS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "user-agent"})
_OF_THE_BODY = frozenset({"content-type", "content-length", "content-encoding", "content-language", "expect"})


@attrs.frozen
class Hop:
    """One request on the way to an answer."""

    method: str
    url: Url
    fields: Fields
    body: bytes | AsyncIterable[bytes]


def location(url: Url, status: int, headers: Headers) -> Url | None:
    """Where an answer of *url* redirects to; None if it does not. Raises HttpFailed where no one should follow."""
    if status not in STATUSES or "location" not in headers:
        return None
    try:
        target = url.join(_utf8(headers["location"]))
    except InvalidUrl as exc:
        raise HttpFailed("protocol", f"{url.site} redirects to what is no URL of ours: {exc}") from exc
    if (url.scheme, target.scheme) == ("https", "http"):
        raise HttpFailed("protocol", f"{url.site} redirects from https to http, which is not followed")
    if target.scheme == "http+unix" and target.origin != url.origin:
        raise HttpFailed("protocol", f"{url.site} redirects to a socket file, which is not followed")
    return target


def next_hop(hop: Hop, target: Url, status: int) -> Hop:
    """The request to send to *target*. Raises HttpFailed if its body is gone."""
    method, body, fields = hop.method, hop.body, list(hop.fields)
    if (status == 303 and method != "HEAD") or (status in (301, 302) and method == "POST"):
        method, body = "GET", b""
        fields = [(name, value) for name, value in fields if name.lower() not in _OF_THE_BODY]
    if target.origin != hop.url.origin:
        fields = [(name, value) for name, value in fields if name.lower() in _HARMLESS]
    if not isinstance(body, bytes):
        raise HttpFailed("protocol", f"{hop.url.site} redirects a request whose body can be sent only once")
    return Hop(method, target, fields, body)


def _utf8(value: str) -> str:
    """A field's value is bytes, which Headers.get shows as Latin-1; most servers mean UTF-8."""
    data = value.encode("latin-1")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return value
