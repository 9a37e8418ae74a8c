"""The keywords that look at one value alone: an argument in, a function out that says what is wrong with a value.

The rules: JSON Schema Validation 2020-12, section 6.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from agentd.wire.jsonschema.automaton import Pattern
from agentd.wire.jsonschema.regex import PatternError
from agentd.wire.jsonschema.resources import SchemaError
from agentd.wire.jsonschema.values import TYPES, excerpt, is_number, is_type, key

Assertion = Callable[[Any], str | None]  # None: nothing is wrong


def make_pattern(text: Any) -> Pattern:
    """Raises SchemaError."""
    if not isinstance(text, str):
        raise SchemaError("expected a string")
    try:
        return Pattern(text)
    except PatternError as exc:
        raise SchemaError(str(exc)) from exc


def count(argument: Any) -> int:
    """Raises SchemaError."""
    if not is_type("integer", argument) or argument < 0:
        raise SchemaError("expected an integer that is not negative")
    return int(argument)


def names(argument: Any) -> list[str]:
    """Raises SchemaError."""
    if not isinstance(argument, list) or not all(isinstance(name, str) for name in argument):
        raise SchemaError("expected an array of strings")
    return argument


def _number(argument: Any) -> Any:
    if not is_number(argument):
        raise SchemaError("expected a number")
    return argument


def _type(argument: Any) -> Assertion:
    allowed = [argument] if isinstance(argument, str) else names(argument)
    if unknown := [name for name in allowed if name not in TYPES]:
        raise SchemaError(f"there is no type {unknown[0]!r}")
    said = " or ".join(allowed)
    return lambda value: (
        None if any(is_type(name, value) for name in allowed) else f"expected {said}, found {excerpt(value)}"
    )


def _enum(argument: Any) -> Assertion:
    if not isinstance(argument, list):
        raise SchemaError("expected an array")
    keys = {key(value) for value in argument}
    said = ", ".join(map(excerpt, argument[:20])) + (", …" if len(argument) > 20 else "")
    return lambda value: None if key(value) in keys else f"expected one of {said}, found {excerpt(value)}"


def _const(argument: Any) -> Assertion:
    wanted = key(argument)
    return lambda value: None if key(value) == wanted else f"expected {excerpt(argument)}, found {excerpt(value)}"


def _limit(holds: Callable[[Any, Any], bool], words: str) -> Callable[[Any], Assertion]:
    def make(argument: Any) -> Assertion:
        limit = _number(argument)
        return lambda value: None if holds(value, limit) else f"expected {words} {limit}, found {excerpt(value)}"

    return make


def _size(holds: Callable[[int, int], bool], words: str, what: str) -> Callable[[Any], Assertion]:
    def make(argument: Any) -> Assertion:
        limit = count(argument)
        said = f"expected {words} {limit} {what}{'' if limit == 1 else 's'}"
        return lambda value: None if holds(len(value), limit) else f"{said}, found {len(value)}"

    return make


def _multiple_of(argument: Any) -> Assertion:
    from fractions import Fraction  # rarely needed, and it takes decimal with it

    # As written, in decimal: 0.3 is a multiple of 0.1, which the nearest binary numbers are not.
    step = Fraction(repr(_number(argument)))
    if step <= 0:
        raise SchemaError("expected a number above 0")

    def check(value: float) -> str | None:
        if math.isfinite(value) and Fraction(repr(value)) % step == 0:
            return None
        return f"expected a multiple of {argument}, found {excerpt(value)}"

    return check


def _required(argument: Any) -> Assertion:
    wanted = names(argument)
    return lambda value: _missing(wanted, value)


def _missing(wanted: list[str], value: dict[str, Any], why: str = "") -> str | None:
    missing = [excerpt(name) for name in wanted if name not in value]
    return f"missing {', '.join(missing)}{why}" if missing else None


def _dependent_required(argument: Any) -> Assertion:
    if not isinstance(argument, dict):
        raise SchemaError("expected an object")
    wanted = {name: names(others) for name, others in argument.items()}

    def check(value: dict[str, Any]) -> str | None:
        told = (_missing(wanted[name], value, f", as there is {excerpt(name)}") for name in wanted if name in value)
        return "; ".join(filter(None, told)) or None

    return check


def _unique_items(argument: Any) -> Assertion:
    if not isinstance(argument, bool):
        raise SchemaError("expected a boolean")

    def check(value: list[Any]) -> str | None:
        seen: dict[Any, int] = {}
        for index, item in enumerate(value):
            if (first := seen.setdefault(key(item), index)) != index:
                return f"items {first} and {index} are equal"
        return None

    return check if argument else lambda value: None


_MANY, _FEW = (operator.ge, "at least"), (operator.le, "at most")
ASSERTIONS: dict[str, tuple[str | None, Callable[[Any], Assertion]]] = {  # the type of value that each is for
    "type": (None, _type),
    "enum": (None, _enum),
    "const": (None, _const),
    "maximum": ("number", _limit(operator.le, "at most")),
    "minimum": ("number", _limit(operator.ge, "at least")),
    "exclusiveMaximum": ("number", _limit(operator.lt, "less than")),
    "exclusiveMinimum": ("number", _limit(operator.gt, "more than")),
    "multipleOf": ("number", _multiple_of),
    "minLength": ("string", _size(*_MANY, "character")),
    "maxLength": ("string", _size(*_FEW, "character")),
    "minItems": ("array", _size(*_MANY, "item")),
    "maxItems": ("array", _size(*_FEW, "item")),
    "uniqueItems": ("array", _unique_items),
    "minProperties": ("object", _size(*_MANY, "member")),
    "maxProperties": ("object", _size(*_FEW, "member")),
    "required": ("object", _required),
    "dependentRequired": ("object", _dependent_required),
}
