"""Keeps keys and credentials out of texts that services and networks give us, before anyone sees them."""

from __future__ import annotations

import re
from collections.abc import Collection

HIDDEN = "…"
MIN_SECRET_CHARS = 4  # a shorter one is a placeholder, and would blot out words

_PATTERNS = (
    (re.compile(r"(?<=//)[^/\s@\"']{1,500}@"), ""),  # user:password@ of a URL
    (re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=*-]{6,}"), rf"\1 {HIDDEN}"),
    (re.compile(r"(?i)(api key provided:\s*)\S+"), rf"\1{HIDDEN}"),  # OpenAI repeats a wrong key, in part
    (re.compile(r"\b(sk|pk|rk|gsk|xai|hf|ghp|AIza|AKIA)(?:[-_]|(?<=AIza)|(?<=AKIA))[\w*.-]{6,}"), rf"\1{HIDDEN}"),
    (
        re.compile(r"(?i)(key|token|signature)(['\"]?\s*[:=]\s*['\"]?)(?=[^\s'\"&,;]*\d)[^\s'\"&,;]{8,}"),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"(?i)(password|passwd|secret)(['\"]?\s*[:=]\s*['\"]?)[^\s'\"&,;]{3,}"), rf"\1\2{HIDDEN}"),
)


def without(text: str, secrets: Collection[str]) -> str:
    """*text* without these very strings."""
    for secret in sorted(secrets, key=len, reverse=True):  # one may be the start of another
        if len(secret) >= MIN_SECRET_CHARS:
            text = text.replace(secret, HIDDEN)
    return text


def redact(text: str) -> str:
    """*text* without what looks like a secret: keys, Authorization values, credentials of URLs. For short texts."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text
