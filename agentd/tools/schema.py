"""The inputs of tools: one attrs class each, from which the JSON schema is derived and by which a call is read."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

import attrs

from agentd.errors import InvalidRequest, ToolFailed
from agentd.wire.typed import structure

T = TypeVar("T")

SUBJECT_CHARACTERS = 120
_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number"}


def arg(description: str, *, default: Any = attrs.NOTHING, key: str | None = None) -> Any:
    """A field of a tool's input. Without *default* the model has to give it; *key* is its name where Python has none
    such, like "-i"."""
    return attrs.field(default=default, metadata={"description": description, "key": key})


def _key(field: attrs.Attribute[Any]) -> str:
    return field.metadata["key"] or field.name


def input_schema(kind: type[attrs.AttrsInstance]) -> dict[str, Any]:
    """The JSON schema of an attrs class whose fields are arg()s. Raises TypeError for a type it has no word for."""
    hints = typing.get_type_hints(kind)
    fields = attrs.fields(kind)
    return {
        "type": "object",
        "properties": {
            _key(field): _type_schema(hints[field.name]) | {"description": field.metadata["description"]}
            for field in fields
        },
        "required": [_key(field) for field in fields if field.default is attrs.NOTHING],
    }


def _type_schema(hint: Any) -> dict[str, Any]:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if hint in _TYPES:
        return {"type": _TYPES[hint]}
    if origin in (types.UnionType, typing.Union) and len(parts) == 2 and type(None) in parts:
        return _type_schema(next(part for part in parts if part is not type(None)))
    if origin is Literal:
        return {"type": "string", "enum": list(parts)}
    if origin is Mapping:
        return {"type": "object"}
    if origin is tuple and parts[1:] == (...,):
        return {"type": "array", "items": _type_schema(parts[0])}
    if attrs.has(hint):
        return input_schema(hint)
    raise TypeError(f"no JSON schema for {hint!r}")


def parse(kind: type[T], call_input: Mapping[str, Any]) -> T:
    """A call's input, typed. Keys that are not ours are ignored, and null for a field that has a default means it was
    not given. Raises ToolFailed, which names each field that is missing or of another type."""
    keys = {field.name: _key(field) for field in attrs.fields(kind)}  # type: ignore[arg-type]
    try:
        return structure(_given(kind, call_input), kind)
    except InvalidRequest as exc:
        problems = (re.sub(r"\$\.(\w+)", lambda found: keys.get(found[1], found[1]), one) for one in exc.problems)
        raise ToolFailed("The input of this tool call does not fit: " + "; ".join(problems)) from exc


def _given(kind: Any, value: Any) -> Any:
    """*value* under the names of our fields, without those that are not given; what does not fit is left as it is."""
    if typing.get_origin(kind) is tuple and isinstance(value, list):
        return [_given(typing.get_args(kind)[0], item) for item in value]
    if not attrs.has(kind) or not isinstance(value, Mapping):
        return value
    hints = typing.get_type_hints(kind)
    return {
        field.name: _given(hints[field.name], value[_key(field)])
        for field in attrs.fields(kind)
        if _key(field) in value and (field.default is attrs.NOTHING or value[_key(field)] is not None)
    }


def subject(call_input: Mapping[str, Any], key: str) -> str:
    """What `call_input[key]` says, on one line that is not too long; "" if it says nothing. Never raises."""
    value = call_input.get(key)
    line = " ".join(value[: SUBJECT_CHARACTERS * 4].split()) if isinstance(value, str) else ""
    return line if len(line) <= SUBJECT_CHARACTERS else line[: SUBJECT_CHARACTERS - 1] + "…"


def as_bytes(text: str, key: str) -> bytes:
    """*text* in UTF-8. Raises ToolFailed if there is half a character in it, which JSON can hold and a file cannot."""
    try:
        return text.encode()
    except UnicodeEncodeError as exc:
        raise ToolFailed(
            f"{key} holds a lone surrogate (\\u{ord(text[exc.start]):04x}); write the character whole"
        ) from exc
