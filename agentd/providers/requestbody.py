"""Request bodies as bytes that stay the same from call to call: services cache what a prompt begins with.

The encoders of both formats put the messages last, encode each from nothing but itself and its neighbours of the same
role, and never reorder: the next call's body then begins as this one's, up to the last message.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import attrs

from agentd.domain import Image, Text, ToolResult

CACHE_MARK: Mapping[str, Any] = {"type": "ephemeral"}
NO_OUTPUT = "(no output)"  # for a result without content, which some services refuse
LONGEST_USER = 256


@attrs.frozen
class Encoded:
    """A request as a service wants it, but for the base URL it is sent to."""

    path: str  # to follow the base URL
    headers: Mapping[str, str] = attrs.field(repr=False)  # hold the key
    body: bytes = attrs.field(repr=False)


def dump(body: Mapping[str, Any]) -> bytes:
    """As compact UTF-8. Half of a surrogate pair, which would be no UTF-8, becomes a question mark."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


_STEP = 64 * 1024  # bytes compared at once
_MARK = b',"cache_control":' + dump(CACHE_MARK)  # in a string its quotes would be escaped: this is always a mark


def common_prefix(previous: bytes, body: bytes) -> int:
    """How many bytes *body* begins with that *previous* began with too. Marks for the prompt cache, which move on from
    call to call and are no part of the prompt, are not counted."""
    before, after = previous.replace(_MARK, b""), body.replace(_MARK, b"")
    shorter, start = min(len(before), len(after)), 0
    while start < shorter and before[start : start + _STEP] == after[start : start + _STEP]:
        start += _STEP
    rest = range(start, max(start, shorter))
    return min(shorter, start + bisect_left(rest, True, key=lambda at: before[start : at + 1] != after[start : at + 1]))


def safe_name(name: str, longest: int) -> str:
    """A name that services take: models invent tools, and a history that is refused would stay refused."""
    return _UNSAFE.sub("_", name)[:longest] or "_"


def safe_id(call_id: str) -> str:
    """An id that services take, which another service may have made. Different ids stay different."""
    if _UNSAFE.search(call_id) or not call_id:
        return f"{_UNSAFE.sub('_', call_id)[:40]}_{sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
    return call_id


def user_tag(user: str) -> str:
    """The end user as services take it: what is too long for that becomes a digest, so that users stay distinct."""
    return user if len(user) <= LONGEST_USER else sha256(user.encode("utf-8", "replace")).hexdigest()


def effort(thinking_tokens: int) -> str:
    """In the words of models that are told how hard to think, and not for how long. All of those know these three."""
    return next(word for least, word in _EFFORTS if thinking_tokens >= least)


def result_parts(result: ToolResult) -> tuple[Text | Image, ...]:
    """What a result holds; never nothing."""
    parts = tuple(part for part in result.content if isinstance(part, Image) or part.text.strip())
    return parts or (Text(NO_OUTPUT),)


_EFFORTS = ((16_384, "high"), (4096, "medium"), (0, "low"))
_UNSAFE = re.compile(r"[^a-zA-Z0-9_-]")
