"""Who asks, by API key: keys that the operator set, and those that were issued with the scope `agent`.

A session belongs to the key that made it. What is stored of a key is a part of its hash; a key that was issued is known
by its id. The rules: the agent API contract, 1.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from agentd.daemon.access import SCHEME, Access
from agentd.wire.messages import Request

SCOPE = "agent"
OWNER_CHARS = 12  # of a key's hash, which has 64
PARAMETER = "api_key"


class ApiKeys:
    """Keys are looked up by their SHA-256, so that the time which that takes tells nothing about them."""

    def __init__(self, keys: Iterable[str], access: Access) -> None:
        self._access = access
        self._set: Mapping[str, str] = {
            digest: f"key-{digest[:OWNER_CHARS]}" for digest in (_sha256(key.encode()) for key in keys)
        }

    def owner(self, key: bytes) -> str | None:
        """What sessions that *key* makes are noted as belonging to; None: it is no key, or no longer."""
        if (known := self._set.get(_sha256(key))) is not None:
            return known
        principal = self._access.issued_to(key)
        return principal.id if principal is not None and SCOPE in principal.scope else None

    def check_root(self, owner: str, workspace: Path) -> None:
        """Raises Forbidden for a directory outside of those that the key was issued for."""
        for issued in self._access.tokens():
            if issued.id == owner:
                issued.principal().check_root(str(workspace))


def key_of(request: Request, *, in_query: bool = False) -> bytes:
    """The key that comes with a request; b"" if there is none. *in_query*: it may be a parameter, since browsers cannot
    set header fields of a WebSocket."""
    if given := request.headers.raw.get(b"x-api-key", b"").strip():
        return given
    authorization = request.headers.get("authorization")
    if authorization.startswith(SCHEME):
        return authorization.removeprefix(SCHEME).strip().encode("latin-1")
    return dict(parse_qsl(request.raw_query)).get(PARAMETER, "").encode("utf-8", "replace") if in_query else b""


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
