"""Types as wire.typed reads them, said in JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import attrs

_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    NoneType: {"type": "null"},
    UUID: {"type": "string", "format": "uuid"},
    Any: {},
    object: {},
}


class Schemas:
    """Makes schemas. Those of attrs classes are in *named*, once each, and are referred to."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = {}

    def of(self, kind: Any) -> dict[str, Any]:
        """Of a type; a mapping is a schema already. Raises TypeError for a type that no JSON is read as."""
        if isinstance(kind, Mapping):
            return dict(kind)
        if kind in _PLAIN:
            return dict(_PLAIN[kind])
        base, inner = get_origin(kind) or kind, get_args(kind)
        if base is Literal:
            return {"enum": [*inner]}
        if base in (Union, UnionType):
            return self._union(inner)
        if base in (list, tuple, Sequence):
            return {"type": "array", "items": self.of(inner[0]) if inner else {}}
        if base in (dict, Mapping):
            return {"type": "object", "additionalProperties": self.of(inner[1]) if inner else {}}
        if isinstance(kind, type) and issubclass(kind, Enum):
            return {"enum": [member.value for member in kind]}
        if attrs.has(kind):
            return self._named(kind)
        raise TypeError(f"no JSON is read as {kind}")

    def _union(self, members: Sequence[Any]) -> dict[str, Any]:
        made = [self.of(member) for member in members]
        types = [each["type"] for each in made if [*each] == ["type"]]
        return {"type": types} if len(types) == len(made) else {"anyOf": made}

    def _named(self, kind: type[Any]) -> dict[str, Any]:
        name = kind.__name__
        if name not in self.named:
            self.named[name] = {}  # a class may hold others of its kind
            hints = get_type_hints(kind)
            fields = [each for each in attrs.fields(kind) if each.init]
            properties = {each.name: self._field(hints[each.name], each.default) for each in fields}
            required = [each.name for each in fields if each.default is attrs.NOTHING]
            self.named[name] |= {"type": "object", "properties": properties}
            self.named[name] |= {"required": required} if required else {}
        return {"$ref": f"#/components/schemas/{name}"}

    def _field(self, kind: Any, default: Any) -> dict[str, Any]:
        if default is attrs.NOTHING:  # an Enum itself
            return self.of(kind)
        told = default.value if isinstance(default, Enum) else default
        return self.of(kind) | ({"default": told} if isinstance(told, str | int | float) else {})
