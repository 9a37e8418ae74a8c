"""A JSON Schema filled with what a text says, and where it says nothing with what stands for nothing. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from agentd.providers.builtin.fields import json_values, kinds_of, values_of
from agentd.providers.builtin.form import PROSE
from agentd.wire.jsonschema import SchemaError, Validator, compile_schema
from agentd.wire.jsonschema.resources import Located, Resources

MAX_DEPTH = 12
MAX_SCHEMAS = 2_000  # that are looked at: those that refer to one another have no end
MAX_CHARS = 1_000  # of a text that says nothing


def filled(schema: Any, text: str, prose: str) -> Any:
    """A value that fits *schema*, as far as that can be had."""
    try:
        validator, resources = compile_schema(schema), Resources(schema)
    except SchemaError:
        return {}
    for value in json_values(text):
        if isinstance(schema, Mapping) and not validator.errors(value):
            return value
    return _Filler(resources, text, prose).value(resources.root, "", 0)


@attrs.define
class _Filler:
    resources: Resources
    text: str
    prose: str
    left: int = MAX_SCHEMAS

    def value(self, located: Located, name: str, depth: int) -> Any:
        """What *name* is by the text, else what stands for nothing known. *name* "": the whole answer."""
        schema = self._plain(located, depth)
        if "const" in schema:
            return schema["const"]
        said = self._said(schema, name)
        if said is not None:
            return said
        kinds = kinds_of(schema)
        if (
            depth < MAX_DEPTH
            and self.left > 0
            and "object" in kinds
            and ("null" not in kinds or self._knows_some(schema))
        ):
            return self._object(located, schema, depth)
        return self._nothing(located, schema, kinds, depth)

    def _plain(self, located: Located, depth: int) -> dict[str, Any]:
        """The schema with what it refers to, all of allOf and one of its alternatives put into it."""
        schema = dict(located.schema) if isinstance(located.schema, Mapping) else {}
        self.left -= 1
        if depth >= MAX_DEPTH or self.left < 0:
            return schema
        parts: list[Any] = list(schema.get("allOf", ()))
        for keyword in ("oneOf", "anyOf"):
            parts += self._alternative(schema.get(keyword, ()))
        inner = [self.resources[part] for part in parts]
        if "$ref" in schema:
            inner.append(self.resources.resolve(schema["$ref"], located))
        for part in inner:
            schema = _merged(schema, self._plain(part, depth + 1))
        return schema

    def _alternative(self, branches: Sequence[Any]) -> list[Any]:
        """The first that can say that nothing is known, unless the text knows something of another."""
        known = [each for each in branches if isinstance(each, Mapping) and self._knows_some(each)]
        nullable = [each for each in branches if isinstance(each, Mapping) and each.get("type") == "null"]
        return (known or nullable or list(branches))[:1]

    def _knows_some(self, schema: Mapping[str, Any]) -> bool:
        properties = schema.get("properties", {})
        return any(
            isinstance(each, Mapping) and "const" not in each and self._said(each, name) is not None
            for name, each in properties.items()
        )

    def _said(self, schema: Mapping[str, Any], name: str) -> Any:
        """The value that the text gives to *name*; None where it gives none that fits."""
        validator = _lenient(schema)
        for value in values_of(self.text, name, schema) if name else ():
            if value is not None and (validator is None or not validator.errors(value)):
                return value
        if name.lower() in PROSE and self.prose and "string" in kinds_of(schema):
            return self.prose
        return None

    def _object(self, located: Located, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        made = {}
        for name, inner in schema.get("properties", {}).items():
            found = self.resources[inner]
            if name in required or self._said(self._plain(found, depth + 1), name) is not None:
                made[name] = self.value(found, name, depth + 1)
        return made | {name: "" for name in required if name not in made}

    def _nothing(self, located: Located, schema: Mapping[str, Any], kinds: Sequence[str], depth: int) -> Any:
        if "enum" in schema:
            return None if None in schema["enum"] else next(iter(schema["enum"]), None)
        if "null" in kinds or not kinds:
            return None
        match kinds[0]:
            case "string":
                return "-" * min(int(schema.get("minLength", 0)), MAX_CHARS)
            case "boolean":
                return False
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _least(schema, kinds[0])
        return {}

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = schema.get("prefixItems", ())
        rest = schema.get("items", True)
        size = int(schema.get("minItems", 0)) if depth < MAX_DEPTH else 0
        inner = [first[index] if index < len(first) else rest for index in range(min(size, 100))]
        return [
            self.value(self.resources[each] if isinstance(each, Mapping) else _ANY, "", depth + 1) for each in inner
        ]


_ANY = Located(True, "", "#")


def _merged(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    both = {**other, **one}
    if "properties" in one and "properties" in other:
        both["properties"] = {**other["properties"], **one["properties"]}
    if "required" in one and "required" in other:
        both["required"] = list(dict.fromkeys([*one["required"], *other["required"]]))
    return both


def _lenient(schema: Mapping[str, Any]) -> Validator | None:
    """Of a schema that may refer to others, what can be checked alone."""
    try:
        return compile_schema({name: each for name, each in schema.items() if name in _ALONE})
    except SchemaError:
        return None


_ALONE = frozenset(
    ("type", "enum", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength")
) | frozenset(("maxLength", "pattern", "minItems", "maxItems", "uniqueItems"))


def _least(schema: Mapping[str, Any], kind: str) -> float:
    """0, or the number nearest to it that the limits allow."""
    step = schema.get("multipleOf", 1 if kind == "integer" else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    high = schema.get("maximum", schema.get("exclusiveMaximum", 0))
    at = -(-low // step) * step if low > 0 else high // step * step if high < 0 else 0
    if at == schema.get("exclusiveMinimum"):
        at += step
    if at == schema.get("exclusiveMaximum"):
        at -= step
    if not math.isfinite(at):
        return 0
    return int(at) if kind == "integer" else at
