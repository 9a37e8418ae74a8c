"""Answers that have to be JSON: what the model is told of it, and whether what it said is. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

import attrs

from agentd.domain import OutputFormat
from agentd.errors import InvalidRequest
from agentd.providers import lenientjson
from agentd.wire import typed

RETRIES = 3  # how often a model may try again
MAX_CANDIDATES = 20  # places in an answer that are looked at
NOT_JSON = "$: the answer is not a JSON value"

_FENCE = re.compile(r"^```[^\n`]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_OPENING = re.compile(r"[{\[]")


@attrs.frozen
class Parsed:
    """*value*: what the answer says, None also where it says nothing. *errors*: why it is not what was asked for."""

    value: Any = None
    errors: Sequence[str] = ()


def instructions(output: OutputFormat) -> str:
    """What goes behind the system prompt. The same for the same *output*, so that a prompt's prefix never changes."""
    told = (
        "Your final answer has to be one JSON value and nothing else: no words before or behind it, no code fence. "
        "Until then, use tools as you need them."
    )
    if output.schema is None:
        return told
    fits = "It has to fit" if output.type == "json_schema" else "It should fit"
    return f"{told} {fits} this JSON Schema:\n```json\n{json.dumps(output.schema, ensure_ascii=False)}\n```"


def parse(text: str, output: OutputFormat) -> Parsed:
    """The JSON value in a model's answer, which may stand in a fence or between words. Of several, the first that
    fits; small mistakes that can be meant in one way only are mended. Raises wire.jsonschema.SchemaError."""
    from agentd.wire.jsonschema import compile_schema  # only here: few jobs ask for it

    checked = output.type == "json_schema" and output.schema is not None
    validator = compile_schema(output.schema) if checked else None
    nearest: Parsed | None = None
    for value in _values(text):
        parsed = Parsed(value, validator.errors(value) if validator else ())
        if not parsed.errors:
            return parsed
        nearest = nearest or Parsed(None, parsed.errors)
    return nearest or Parsed(None, [NOT_JSON])


def retry_message(errors: Sequence[str]) -> str:
    """What a model is told whose answer was not what was asked for."""
    wrong = "\n".join(f"- {error}" for error in errors)
    return f"Your answer is not what was asked for:\n{wrong}\nAnswer again, with the corrected JSON value alone."


def _values(text: str) -> Iterator[Any]:
    """The JSON values that a text may mean, most likely first."""
    for candidate in (text, *reversed(_FENCE.findall(text))):
        try:
            yield _value(candidate)
        except lenientjson.NotJson:
            continue
    yield from _embedded(text)


def _value(text: str) -> Any:
    """Raises NotJson where there is anything but one value."""
    found = lenientjson.parse(text)
    if text[found.end :].strip():
        raise lenientjson.NotJson("there is more than one value")
    return _strictly(found.value)


def _embedded(text: str) -> Iterator[Any]:
    """Objects and arrays between words."""
    at = 0
    for _ in range(MAX_CANDIDATES):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        try:
            found = lenientjson.parse(text, opening.start())
            yield _strictly(found.value)
            at = found.end
        except lenientjson.NotJson:
            at = opening.end()


def _strictly(value: Any) -> Any:
    """What can be written as JSON again: no infinite numbers, no halves of characters. Raises NotJson."""
    try:
        return typed.parse(json.dumps(value).encode())
    except (InvalidRequest, RecursionError) as exc:
        raise lenientjson.NotJson("no JSON value") from exc
