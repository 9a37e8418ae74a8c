"""What a model and a person call what a server offers: mcp__<server>__<tool>. The rule: agent API contract, 17.4."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

LONGEST = 64  # characters: what model services take
HASH = 8  # of them


def full_names(offered: Iterable[tuple[str, str]]) -> dict[str, tuple[str, str]]:
    """Each (server, its own name of it) under a name of letters, digits, "_" and "-", in order. Where two come out
    alike, those behind the first are told apart by a hash of what they are really called."""
    named: dict[str, tuple[str, str]] = {}
    for server, own in offered:
        if (server, own) in named.values():
            continue
        name = full_name(server, own)
        named[_hashed(name, server, own) if name in named else name] = (server, own)
    return named


def full_name(server: str, own: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]", "_", f"mcp__{server}__{own}")
    return name if len(name) <= LONGEST else _hashed(name, server, own)


def _hashed(name: str, server: str, own: str) -> str:
    digest = hashlib.sha256(f"{server}\0{own}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{name[: LONGEST - HASH - 1]}_{digest[:HASH]}"
