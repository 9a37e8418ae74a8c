"""The words of the Model Context Protocol that both eras of it are made of. No tasks here.

Modern is 2026-07-28: every request says in its `_meta` who speaks which version and can do what. Legacy are the
revisions before it, which begin with a handshake, `initialize`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import agentd

MODERN = "2026-07-28"
LEGACY = ("2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05")  # the first is what we ask for
BATCHES = "2025-03-26"  # the one revision in which several messages may come as an array

CLIENT = {"name": "agentd", "version": agentd.__version__}
LOG_LEVEL = "info"
LEVELS = {"debug": "info", "info": "info", "notice": "info", "warning": "warning"}  # ours; all others are errors

_PREFIX = "io.modelcontextprotocol/"


def capabilities(*, elicits: bool) -> dict[str, Any]:
    """What a server may ask of us. No sampling: a server's words would go to the model as if they were a person's."""
    return {"roots": {}, **({"elicitation": {"form": {}, "url": {}}} if elicits else {})}


def modern_meta(offered: Mapping[str, Any]) -> dict[str, Any]:
    """What is in the `_meta` of every request since 2026-07-28."""
    return {
        f"{_PREFIX}protocolVersion": MODERN,
        f"{_PREFIX}clientInfo": CLIENT,
        f"{_PREFIX}clientCapabilities": offered,
        f"{_PREFIX}logLevel": LOG_LEVEL,
    }


def server_info(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a server says in its handshake that it is: name, version, title; each era has a place for it."""
    return object_of(result.get("serverInfo")) or object_of(object_of(result.get("_meta")).get(f"{_PREFIX}serverInfo"))


def text_of(value: Any, longest: int) -> str:
    """*value* if it is a text, cut; else ""."""
    if not isinstance(value, str):
        return ""
    return value if len(value) <= longest else value[: longest - 1] + "…"


def one_line(value: Any, longest: int) -> str:
    """The same on one line, without what moves a cursor."""
    if not isinstance(value, str):
        return ""
    shown = "".join(letter if letter.isprintable() else " " for letter in value[: longest * 2])
    return text_of(" ".join(shown.split()), longest)


def object_of(value: Any) -> dict[str, Any]:
    """*value* if it is an object, else an empty one."""
    return value if isinstance(value, dict) else {}


def objects_of(value: Any) -> list[dict[str, Any]]:
    """The objects in *value*, if it is an array."""
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []
