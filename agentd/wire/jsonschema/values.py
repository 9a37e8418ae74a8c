"""JSON values as JSON Schema sees them: 1.0 is an integer and equal to 1, true is neither, and order is for arrays."""

from __future__ import annotations

import json
from collections.abc import Hashable
from typing import Any

EXCERPT_CHARS = 60

Place = tuple["Place", str | int] | None  # where in a document: what it is in, and the name or index there
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_type(name: str, value: Any) -> bool:
    match name:
        case "integer":
            return is_number(value) and (isinstance(value, int) or value.is_integer())
        case "number":
            return is_number(value)
    kinds = {"array": list, "boolean": bool, "null": type(None), "object": dict, "string": str}
    return isinstance(value, kinds[name])


def key(value: Any) -> Hashable:
    """The same for equal values alone."""
    match value:
        case bool():
            return ("boolean", value)
        case list():
            return ("array", *map(key, value))
        case dict():
            return frozenset((name, key(member)) for name, member in value.items())
    # A number and its text are never equal, and neither is null: they need no mark.
    return value  # type: ignore[no-any-return]


def excerpt(value: Any) -> str:
    """A value on one line, for people; cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= EXCERPT_CHARS else f"{text[: EXCERPT_CHARS - 1]}…"


def show(place: Place) -> str:
    """$.items[0]["a name"]."""
    steps: list[str] = []
    while place is not None:
        place, step = place
        steps.append(_step(step))
    return "$" + "".join(reversed(steps))


def _step(step: str | int) -> str:
    if isinstance(step, str) and step.isidentifier():
        return f".{step}"
    return f"[{json.dumps(step, ensure_ascii=False)}]"
