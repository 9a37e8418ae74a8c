"""An answer that has to be JSON, filled from what people spelled out. What nobody said is not made up. Pure.

A form is a JSON Schema. A field that a text gives a value to (`name: Ann`, `age 30`, `"city" is "Rome"`) gets it; any
other is null where it may be, else "", 0, false, the first of an enumeration, or empty.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from agentd.providers.builtin.fields import AND, json_values, values_of

PROSE = ("answer", "result", "response", "summary", "text", "message", "explanation", "findings", "output", "report")

# As engine/structured.py tells it; a test holds the two together.
_TOLD = re.compile(
    r"Your final answer has to be one JSON value\b(?:[^\n]*JSON Schema:\n```json\n(?P<schema>[^\n]+)\n)?"
)
_LISTED = re.compile(
    r"\b(?:fields?|keys?|propert(?:y|ies)|members?|attributes?)\b(?:\s+(?:named|called))?\s*:?\s*"
    r"(?P<names>[\"'`]?\w+[\"'`]?(?:\s*(?:,\s*and|,|and)\s+[\"'`]?\w+[\"'`]?)*)",
    re.IGNORECASE,
)
_BRACED = re.compile(r"\{\s*(?P<names>[\"'`]?\w+[\"'`]?(?:\s*,\s*[\"'`]?\w+[\"'`]?)*)\s*\}")
_LABEL = re.compile(
    r"(?:^|[,;.\n]|\band\b|\bwith\b)[ \t]*[\"'`]?(?P<name>[A-Za-z_][\w-]*)[\"'`]?\s*[:=]\s*(?=[^\s/])", re.MULTILINE
)


@attrs.frozen
class Form:
    schema: Any  # None: any JSON value

    def wants_prose(self, task: str) -> bool:
        """Whether it has a place for what was found and done."""
        if self.schema is None:
            names: Iterable[str] = _names(task)
            return not names or any(name.lower() in PROSE for name in names)
        properties = self.schema.get("properties") if isinstance(self.schema, Mapping) else None
        return isinstance(properties, Mapping) and any(name.lower() in PROSE for name in properties)


def form_of(output_schema: Any, system: str) -> Form | None:
    """What the answer has to be, by the request or by its system prompt; None where it is plain text."""
    if output_schema is not None:
        return Form(output_schema)
    told = [*_TOLD.finditer(system)]
    if not told:
        return None
    schema = told[-1]["schema"]
    try:
        return Form(json.loads(schema) if schema else None)
    except ValueError:
        return Form(None)


def fill(form: Form, said: Sequence[str], prose: str = "") -> str:
    """The answer as JSON. *said*: what people spelled out, oldest first; *prose*: what was found and done for it."""
    text = "\n".join(reversed(said))  # the latest first: it is looked for from the top
    value = _named(text, prose) if form.schema is None else _by_schema(form.schema, text, prose)
    return json.dumps(value, ensure_ascii=False, indent=2)


def _by_schema(schema: Any, text: str, prose: str) -> Any:
    from agentd.providers.builtin.filler import filled  # 15 ms, which few answers need

    return filled(schema, text, prose)


def _named(text: str, prose: str) -> Any:
    """An object with the fields that the text names, or what it spells out; else what was found and done."""
    for value in json_values(text):
        if isinstance(value, dict) and value:
            return value
    return {name: _anything(text, name, prose) for name in _names(text)} or {"answer": prose}


def _names(text: str) -> list[str]:
    """Of the fields that a text asks for or gives a value to."""
    return list(dict.fromkeys([*_listed(text), *(label["name"] for label in _LABEL.finditer(text))]))


def _listed(text: str) -> list[str]:
    found = [*_BRACED.finditer(text), *_LISTED.finditer(text)]
    return [name.strip("\"'`") for each in found for name in AND.split(each["names"])]


def _anything(text: str, name: str, prose: str) -> Any:
    for kind in ("number", "boolean", "string"):
        for value in values_of(text, name, {"type": kind}):
            if value is not None:
                return value
    return prose if name.lower() in PROSE else ""
