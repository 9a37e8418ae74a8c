"""What a text says of a field: `age 30`, `name: Ann`, `"city" is "Rome"`, `tags: a, b and c`, `size = 3`. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from agentd.providers import lenientjson

MAX_LITERALS = 20  # JSON values that are looked for in a text
MAX_LABELS = 50  # places where a field is named

_SIGN = r"\s*[:=]\s*"
_VERB = r"\s+(?:is|are|was|of|to|at)\s+"
_END = r"(?=\s{0,4}(?:[,;\n]|\.(?:\s|$)|\s(?:and|with)\s|$))"
_TEXT = re.compile(rf"[^\s,;{{\[](?:[^,;\n]*?){_END}")
_NAME = re.compile(r"[A-Z][\w'-]*(?:\s[A-Z][\w'-]*)*")
_QUOTED = re.compile(r"""(?P<quote>["'`])(?P<inside>[^\n]*?)(?P=quote)(?!\w)|“(?P<curly>[^”\n]*)”""")
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,17})(?:\.\d+)?(?:[eE][+-]?\d{1,2})?(?!\w|\.\d)")
_YES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
# "name: string" says what a field is made of, and not what is in it.
_KINDS = re.compile(
    r"(?:an? |the |optional |required )*"
    r"(?:string|str|text|integer|int|number|float|boolean|bool|array|list|object|enum)\b.*",
    re.IGNORECASE,
)
AND = re.compile(r"\s*,\s*and\s+|\s*,\s*|\s+and\s+")


def json_values(text: str) -> Iterator[Any]:
    """The JSON objects and arrays that stand in a text."""
    at = 0
    for _ in range(MAX_LITERALS):
        opening = re.compile(r"[{\[]").search(text, at)
        if opening is None:
            return
        try:
            found = lenientjson.parse(text, opening.start())
            yield found.value
            at = found.end
        except lenientjson.NotJson:
            at = opening.end()


def kinds_of(schema: Mapping[str, Any]) -> list[str]:
    """The types that a schema allows; none where it does not say."""
    kind = schema.get("type", "object" if "properties" in schema or "required" in schema else [])
    return [kind] if isinstance(kind, str) else list(kind)


def values_of(text: str, name: str, schema: Mapping[str, Any]) -> Iterator[Any]:
    """What may be the value of the field *name*, in the order of the text."""
    label = re.compile(rf"(?<![\w-]){_spoken(name)}(?:(?P<sign>{_SIGN})|{_VERB}|\s+)", re.IGNORECASE)
    for found in islice(label.finditer(text), MAX_LABELS):
        for kind in kinds_of(schema) or ["string"]:
            yield from _values_at(text, found.end(), kind, bool(found["sign"]), schema)


def _spoken(name: str) -> str:
    """The ways in which people write a field's name: firstName, first_name, "first name"."""
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    return rf"""["'`]?{r"[ _-]?".join(map(re.escape, words)) or re.escape(name)}["'`]?"""


def _values_at(text: str, at: int, kind: str, signed: bool, schema: Mapping[str, Any]) -> Iterator[Any]:
    match kind:
        case "integer" | "number":
            yield from (json.loads(found[0]) for found in [_NUMBER.match(text, at)] if found)
        case "boolean":
            yield from (_YES.get(found[0].lower()) for found in [re.compile(r"\w+").match(text, at)] if found)
        case "string":
            yield from _strings_at(text, at, signed, schema)
        case "array" if signed or text[at : at + 1] == "[":
            yield from _arrays_at(text, at, schema)
        case "object" if text[at : at + 1] == "{":
            yield from (value for value in json_values(text[at:]) if isinstance(value, dict))


def _strings_at(text: str, at: int, signed: bool, schema: Mapping[str, Any]) -> Iterator[str]:
    if quoted := _QUOTED.match(text, at):
        yield quoted["inside"] if quoted["curly"] is None else quoted["curly"]
        return
    for option in schema.get("enum", ()):
        if isinstance(option, str) and re.compile(rf"{re.escape(option)}(?!\w)", re.IGNORECASE).match(text, at):
            yield option
    found = (_TEXT if signed else _NAME).match(text, at)
    if found and not _KINDS.fullmatch(found[0]):
        yield found[0]


def _arrays_at(text: str, at: int, schema: Mapping[str, Any]) -> Iterator[list[Any]]:
    if text[at : at + 1] == "[":
        yield from (value for value in json_values(text[at:]) if isinstance(value, list))
        return
    line = re.compile(r"[^;\n]*?(?=;|\n|\.(?:\s|$)|$)").match(text, at)
    parts = [part.strip().strip("\"'`") for part in AND.split(line[0] if line else "") if part.strip()]
    items = schema.get("items")
    kinds = kinds_of(items) if isinstance(items, Mapping) else []
    if not any(_KINDS.fullmatch(part) for part in parts):
        if kinds[:1] in (["integer"], ["number"]):
            yield [json.loads(part) for part in parts if _NUMBER.fullmatch(part)]
        elif kinds[:1] in ([], ["string"]):
            yield list(parts)
