"""Kinds of values in a request: how each is read, what is said of one that does not fit, and its JSON Schema.

A request is a table of fields. All that is wrong with it is told at once, in the order of the table, in the shapes of
the agent API contract, 1.3; what was sent is not repeated, for it may be a secret. What can be converted without loss
is: "3" to 3. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from agentd.errors import InvalidRequest
from agentd.faces.agent.terms import Terms
from agentd.wire.typed import MAX_INTEGER
from agentd.wire.urlpolicy import UrlRefused, check_url
from agentd.wire.urls import InvalidUrl

MOST_PROBLEMS = 200  # that are told; a body of megabytes can have one for every other byte
MOST_ELEMENTS = 100_000  # of all lists and maps of a request together: those of 32 MiB would take seconds to read
SHOWN_CHARS = 100  # of a name that the client chose

Loc = tuple[str | int, ...]
_INTEGER = re.compile(r"\s*([+-]?[0-9]{1,20})(?:\.0*)?\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?\s*", re.ASCII)
_SCHEME = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*):")
_FLAGS = {"1": True, "true": True, "t": True, "yes": True, "y": True, "on": True}
_FLAGS |= {"0": False, "false": False, "f": False, "no": False, "n": False, "off": False}


class Unprocessable(InvalidRequest):
    """*items*: what is wrong, as a 422 tells it: {"type", "loc", "msg", "ctx"?}. As a text: "loc: msg; loc: msg"."""

    def __init__(self, items: list[dict[str, Any]]) -> None:
        super().__init__(f"{'.'.join(map(str, item['loc'][1:] or item['loc']))}: {item['msg']}" for item in items)
        self.items = items


class Reader:
    """Takes what is wrong while a request is read by *terms*."""

    def __init__(self, terms: Terms | None = None) -> None:
        self._terms = terms
        self.items: list[dict[str, Any]] = []
        self.count = 0
        self._elements = 0

    @property
    def terms(self) -> Terms:
        assert self._terms is not None, "this table asks for terms"
        return self._terms

    @property
    def full(self) -> bool:
        return len(self.items) >= MOST_PROBLEMS

    def add(self, kind: str, loc: Loc, msg: str, **ctx: object) -> None:
        self.count += 1
        if not self.full:
            item: dict[str, Any] = {"type": kind, "loc": list(loc), "msg": msg}
            self.items.append({**item, "ctx": {key: str(value) for key, value in ctx.items()}} if ctx else item)

    def fits(self, value: list[Any] | dict[str, Any], loc: Loc) -> bool:
        """Whether there may be that much more in a request."""
        self._elements += len(value)
        if self._elements <= MOST_ELEMENTS:
            return True
        msg = f"Request should have at most {MOST_ELEMENTS} items in all its lists and dictionaries"
        self.add("too_long", loc, msg, max_length=MOST_ELEMENTS)
        return False

    def broken(self, loc: Loc, rule: str) -> None:
        """*rule*: its text says what it asks for."""
        self.add("value_error", loc, rule, error=rule)


Read = Callable[[Any, Loc, Reader], Any]  # the value as it is meant; anything, where the reader was told of a problem


class Kind(NamedTuple):
    read: Read
    schema: dict[str, Any]


class Field(NamedTuple):
    kind: Kind
    default: Any = None
    required: bool = False
    also: str = ""  # another name, which counts where the first is not there


def read(kind: Kind, value: Any, root: str = "body", terms: Terms | None = None) -> Any:
    """Raises Unprocessable."""
    reader = Reader(terms)
    found = kind.read(value, (root,), reader)
    if reader.items:
        raise Unprocessable(reader.items)
    return found


# --- Kinds --------------------------------------------------------------------------------------------------------


def text(least: int = 0, most: int | None = None) -> Kind:
    """*least* and *most*: characters."""

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is not str:
            reader.add("string_type", loc, "Input should be a valid string")
        elif len(value) < least:
            reader.add("string_too_short", loc, f"String should have at least {_characters(least)}", min_length=least)
        elif most is not None and len(value) > most:
            reader.add("string_too_long", loc, f"String should have at most {_characters(most)}", max_length=most)
        return value

    return Kind(read, {"type": "string"} | _set(minLength=least or None, maxLength=most))


def integer(least: int | None = None, most: int | None = None) -> Kind:
    lowest = -MAX_INTEGER if least is None else least
    highest = MAX_INTEGER - 1 if most is None else most

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        number = _whole(value, loc, reader)
        if number is not None:
            _within(number, lowest, highest, loc, reader)
        return number

    return Kind(read, {"type": "integer"} | _set(minimum=least, maximum=most))


def number(above: float) -> Kind:
    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is str:
            if not _NUMBER.fullmatch(value):
                reader.add("float_parsing", loc, "Input should be a valid number, unable to parse string as a number")
                return None
            value = float(value)
        elif type(value) not in (int, float):
            reader.add("float_type", loc, "Input should be a valid number")
            return None
        if not math.isfinite(value := _float(value)):
            reader.add("finite_number", loc, "Input should be a finite number")
        elif not value > above:
            reader.add("greater_than", loc, f"Input should be greater than {above:g}", gt=f"{above:g}")
        return value

    return Kind(read, {"type": "number", "exclusiveMinimum": above})


def flag() -> Kind:
    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is bool:
            return value
        if type(value) not in (str, int, float):
            reader.add("bool_type", loc, "Input should be a valid boolean")
            return None
        found = _FLAGS.get(value.lower()) if type(value) is str else {0: False, 1: True}.get(value)
        if found is None:
            reader.add("bool_parsing", loc, "Input should be a valid boolean, unable to interpret input")
        return found

    return Kind(read, {"type": "boolean"})


def choice(*words: str) -> Kind:
    *first, last = [f"'{word}'" for word in words]
    expected = f"{', '.join(first)} or {last}" if first else last

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if value not in words:
            reader.add("literal_error", loc, f"Input should be {expected}", expected=expected)
        return value

    return Kind(read, {"type": "string", "enum": list(words)})


def url() -> Kind:
    """Of http or https, and allowed by the operator's policy."""

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is not str:
            reader.add("string_type", loc, "Input should be a valid string")
        elif (scheme := _SCHEME.match(value)) is None:
            _no_url("relative URL without a base", loc, reader)
        elif scheme[1].lower() not in ("http", "https"):
            expected = "'http' or 'https'"
            reader.add("url_scheme", loc, f"URL scheme should be {expected}", expected_schemes=expected)
        else:
            try:
                check_url(value, reader.terms.url_policy)
            except InvalidUrl as exc:
                _no_url(str(exc), loc, reader)
            except UrlRefused as exc:
                reader.broken(loc, str(exc))
        return value

    return Kind(read, {"type": "string", "format": "uri"})


def array(kind: Kind) -> Kind:
    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is not list:
            reader.add("list_type", loc, "Input should be a valid list")
            return None
        if not reader.fits(value, loc):
            return None
        return [kind.read(item, (*loc, at), reader) for at, item in enumerate(value) if not reader.full]

    return Kind(read, {"type": "array", "items": kind.schema})


def mapping(kind: Kind) -> Kind:
    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is not dict:
            reader.add("dict_type", loc, "Input should be a valid dictionary")
            return None
        if not reader.fits(value, loc):
            return None
        return {
            key: kind.read(item, (*loc, key[:SHOWN_CHARS]), reader) for key, item in value.items() if not reader.full
        }

    return Kind(read, {"type": "object", "additionalProperties": kind.schema})


def anything() -> Kind:
    return Kind(lambda value, loc, reader: value, {})


def nullable(kind: Kind) -> Kind:
    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        return None if value is None else kind.read(value, loc, reader)

    return Kind(read, {"anyOf": [kind.schema, {"type": "null"}]})


def either(plain: Kind, listed: Kind) -> Kind:
    """*listed*, an array, where a list is sent; else *plain*."""

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        return (listed if type(value) is list else plain).read(value, loc, reader)

    return Kind(read, {"anyOf": [plain.schema, listed.schema]})


def table(fields: Mapping[str, Field], *, fill: bool = True) -> Kind:
    """An object. Fields that it does not name are left out. *fill*: what is absent gets its default."""

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        if type(value) is not dict:
            msg = "Input should be a valid dictionary or object to extract fields from"
            reader.add("model_attributes_type", loc, msg)
            return None
        found: dict[str, Any] = {}
        for name, field in fields.items():
            there = name if name in value else field.also or name
            if there in value:
                found[name] = field.kind.read(value[there], (*loc, there), reader)
            elif field.required:
                reader.add("missing", (*loc, name), "Field required")
            elif fill:
                found[name] = field.default
        return found

    schema = {"type": "object", "properties": {name: _schema(field) for name, field in fields.items()}}
    return Kind(read, schema | _set(required=[name for name, field in fields.items() if field.required] or None))


def then(kind: Kind, *steps: Read) -> Kind:
    """*steps* go on with what *kind* read, each only if nothing is wrong so far."""

    def read(value: Any, loc: Loc, reader: Reader) -> Any:
        before = reader.count
        found = kind.read(value, loc, reader)
        for step in steps:
            if reader.count > before:
                return None
            found = step(found, loc, reader)
        return found

    return Kind(read, kind.schema)


# --- Inside -------------------------------------------------------------------------------------------------------


def _whole(value: Any, loc: Loc, reader: Reader) -> int | None:
    if type(value) is int:
        return value
    if type(value) is float:
        if value.is_integer():
            return int(value)
        reader.add("int_from_float", loc, "Input should be a valid integer, got a number with a fractional part")
    elif type(value) is str:
        if (match := _INTEGER.fullmatch(value)) is not None:
            return int(match[1])
        reader.add("int_parsing", loc, "Input should be a valid integer, unable to parse string as an integer")
    else:
        reader.add("int_type", loc, "Input should be a valid integer")
    return None


def _within(number: int, least: int, most: int, loc: Loc, reader: Reader) -> None:
    if number < least:
        reader.add("greater_than_equal", loc, f"Input should be greater than or equal to {least}", ge=least)
    elif number > most:
        reader.add("less_than_equal", loc, f"Input should be less than or equal to {most}", le=most)


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # of an integer
        return math.inf


def _no_url(reason: str, loc: Loc, reader: Reader) -> None:
    reader.add("url_parsing", loc, f"Input should be a valid URL, {reason}", error=reason)


def _characters(count: int) -> str:
    return f"{count} character{'' if count == 1 else 's'}"


def _schema(field: Field) -> dict[str, Any]:
    default = None if field.required else field.default  # null: as if it were left out
    return field.kind.schema if default is None else {**field.kind.schema, "default": default}


def _set(**keywords: Any) -> dict[str, Any]:
    return {name: value for name, value in keywords.items() if value is not None}
