"""Reading JSON that services made: what is not of the type it should be counts as missing. Raises nothing."""

from __future__ import annotations

from typing import Any


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def count(value: Any) -> int | None:
    """A number of tokens; None if it is none."""
    return value if type(value) is int and value >= 0 else None


def fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[dict[str, Any]]:
    """Those members of an array that are objects."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
