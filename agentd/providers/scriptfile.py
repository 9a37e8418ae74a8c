"""A script for the scripted model, as a JSON file. Strict: an unknown key is an error, and an error names its place.

    {"replies": [
        "Just text.",
        {"parts": ["Let me look.", {"call": "Read", "input": {"file_path": "a.py"}}]},
        {"parts": [{"delay_seconds": 0.5}, "It is empty."],
         "expect": {"contains": ["(empty file)"], "tools": ["Read"]},
         "usage": {"input_tokens": 900, "output_tokens": 12}, "stop": "end_turn"}],
     "price": {"input": 3.0, "output": 15.0}}

Parts: text, {"thinking": text}, {"call": name, "input": {…}, "id": …} or {"call": name, "raw": "[no object"},
{"delay_seconds": number}, {"fail": message}, {"hang": true}. The price is USD per million tokens, 0 if not given.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Usage
from agentd.errors import InvalidRequest
from agentd.providers.protocol import FREE, Price
from agentd.providers.registry import PREFIX
from agentd.providers.scripted import (
    Delay,
    Expectation,
    Fail,
    Hang,
    Part,
    Reply,
    ScriptedCall,
    ScriptedProvider,
    Think,
    reply,
)

_NO_DEFAULT: Any = object()


def load_script(path: Path) -> ScriptedProvider:
    """The model `scripted:<path>`. Raises InvalidRequest: what is wrong, and where in the file."""
    try:
        data = json.loads(path.read_bytes())
    except OSError as exc:
        raise InvalidRequest([f"cannot read the script {path}: {exc.strerror}"]) from exc
    except (ValueError, RecursionError) as exc:
        raise InvalidRequest([f"the script {path} is no JSON: {exc}"]) from exc
    try:
        return parse_script(data, f"{PREFIX}{path}")
    except InvalidRequest as exc:
        raise InvalidRequest(f"script {path}: {problem}" for problem in exc.problems) from exc


def parse_script(data: Any, name: str = "scripted") -> ScriptedProvider:
    """A script from its JSON value. Raises InvalidRequest with the first misfit, as "what is wrong @ $.replies[0]"."""
    script = _Reader(data, "$").object("replies", "price")
    price = script.get("price", None)
    return ScriptedProvider(
        [_read_reply(each) for each in script.get("replies").items()],
        name,
        FREE if price is None else Price(**{key: value.number() for key, value in _price(price).items()}),
    )


def _price(price: _Reader) -> dict[str, _Reader]:
    keys = price.object("input", "output", "cached")
    return {key: keys.get(key) for key in ("input", "output", *(("cached",) if "cached" in keys.value else ()))}


def _read_reply(item: _Reader) -> Reply:
    if isinstance(item.value, str):
        return reply(item.value)
    fields = item.object("parts", "stop", "usage", "expect")
    stop = fields.get("stop", None)
    return Reply(
        tuple(_read_part(part) for part in fields.get("parts").items()),
        None if stop is None else stop.text(),
        _read_usage(fields.get("usage", None)),
        _read_expectation(fields.get("expect", None)),
    )


def _read_usage(usage: _Reader | None) -> Usage:
    if usage is None:
        return Usage()
    usage.object(*(names := ("input_tokens", "output_tokens", "cached_tokens")))
    return Usage(**{name: usage.get(name).count() for name in names if name in usage.value})


def _read_expectation(expect: _Reader | None) -> Expectation:
    if expect is None:
        return Expectation()
    expect.object("contains", "tools")
    lists = (expect.get(name, None) for name in ("contains", "tools"))
    return Expectation(*(tuple(item.text() for item in each.items()) if each else () for each in lists))


def _read_part(item: _Reader) -> Part:
    if isinstance(item.value, str):
        return item.value
    part = item.object()
    kinds = [kind for kind in _PARTS if kind in part.value]
    if len(kinds) != 1:
        raise part.misfit(f"a part is text, or an object with one of {', '.join(_PARTS)}")
    made: Part = _PARTS[kinds[0]](part)
    return made


def _read_call(part: _Reader) -> ScriptedCall:
    part.object("call", "input", "raw", "id")
    call_id = part.get("id", None)
    raw = part.get("raw", None)
    if raw is not None and "input" in part.value:
        raise part.misfit("a call has input or raw, not both")
    given = part.get("input", None)
    text = raw.text() if raw else json.dumps(given.object().value if given else {}, ensure_ascii=False)
    return ScriptedCall(part.get("call").text(), text, None if call_id is None else call_id.text())


def _read_hang(part: _Reader) -> Hang:
    if part.object("hang").value["hang"] is not True:
        raise part.get("hang").misfit("expected true")
    return Hang()


_PARTS: dict[str, Any] = {
    "thinking": lambda part: Think(part.object("thinking").get("thinking").text()),
    "call": _read_call,
    "delay_seconds": lambda part: Delay(part.object("delay_seconds").get("delay_seconds").number()),
    "fail": lambda part: Fail(part.object("fail").get("fail").text()),
    "hang": _read_hang,
}


@attrs.frozen
class _Reader:
    """A JSON value and its place."""

    value: Any
    place: str

    def misfit(self, problem: str) -> InvalidRequest:
        return InvalidRequest([f"{problem} @ {self.place}"])

    def object(self, *keys: str) -> _Reader:
        """This, an object that has no other keys than these; with none given, any."""
        if not isinstance(self.value, dict):
            raise self.misfit("expected an object")
        if keys and (unknown := sorted(set(self.value) - set(keys))):
            raise self.misfit(f"unknown key {unknown[0]!r}; there are {', '.join(keys)}")
        return self

    def get(self, key: str, default: Any = _NO_DEFAULT) -> Any:
        if key in self.value:
            return _Reader(self.value[key], f"{self.place}.{key}")
        if default is _NO_DEFAULT:
            raise self.misfit(f"{key!r} is missing")
        return default

    def items(self) -> list[_Reader]:
        if not isinstance(self.value, list):
            raise self.misfit("expected a list")
        return [_Reader(item, f"{self.place}[{index}]") for index, item in enumerate(self.value)]

    def text(self) -> str:
        if not isinstance(self.value, str):
            raise self.misfit("expected text")
        return self.value

    def number(self) -> float:
        if type(self.value) not in (int, float) or self.value < 0:
            raise self.misfit("expected a number of 0 or more")
        return float(self.value)

    def count(self) -> int:
        if type(self.value) is not int or self.value < 0:
            raise self.misfit("expected a whole number of 0 or more")
        return self.value
