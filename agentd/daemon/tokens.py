"""Tokens of the session manager: each opens one session until it expires. Nothing is stored. No trio here.

A token is `base64url(payload).base64url(HMAC-SHA256(master token, payload))`, the payload a JSON object of sessionId,
issuedAt and expiresAt in epoch milliseconds. The rules: contract manager.md, §3.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from uuid import UUID

import attrs

from agentd.errors import InvalidSetting
from agentd.store.create import Clock, epoch_ms

TTL_SECONDS = 3600.0
LONGEST = 4096  # characters of one that is looked at


@attrs.frozen
class Issued:
    text: str = attrs.field(repr=False)
    expires_at: int  # epoch ms


class SessionTokens:
    def __init__(self, key: str, *, ttl_seconds: float = TTL_SECONDS, clock: Clock = epoch_ms) -> None:
        """Raises InvalidSetting for a blank *key*: everybody could sign with that."""
        if not key.strip():
            raise InvalidSetting("the master token is blank")
        self._key = key.encode()
        self._ttl_ms = int(ttl_seconds * 1000)
        self._clock = clock

    def issue(self, session_id: str) -> Issued:
        now = self._clock()
        payload = {"sessionId": session_id, "issuedAt": now, "expiresAt": now + self._ttl_ms}
        raw = json.dumps(payload, separators=(",", ":")).encode()
        return Issued(f"{_encode(raw)}.{_encode(self._sign(raw))}", now + self._ttl_ms)

    def session_of(self, token: str) -> str | None:
        """The id of the session that it opens, if that is still there. None: we did not issue it, or it expired."""
        first, _, second = token.partition(".")
        raw, signature = _decode(first), _decode(second)
        if not raw or not hmac.compare_digest(signature, self._sign(raw)):
            return None
        try:
            payload = json.loads(raw)
            session_id, expires_at = str(UUID(payload["sessionId"])), payload["expiresAt"]
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return None
        return session_id if type(expires_at) is int and self._clock() <= expires_at else None

    def _sign(self, raw: bytes) -> bytes:
        return hmac.digest(self._key, raw, hashlib.sha256)


def _encode(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    """b"" for what _encode() never makes: the library leaves out what it does not know."""
    try:
        raw = urlsafe_b64decode(text[:LONGEST] + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return b""
    return raw if _encode(raw) == text else b""
