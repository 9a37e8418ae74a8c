"""Tool calls that a model wrote as text, out of that text. Of tools that are on offer only: anything else is none.

    {"name": …, "arguments": {…}}           also "parameters" or "input"; and within {"function": …}, as Llama has it
    [{"name": …}, …]                         several
    <function=Read>{…}</function>            Llama
    <function=Read><parameter=file_path>…    Qwen's coders: a value is text unless the tool's schema says otherwise
    [TOOL_CALLS][{…}]   [TOOL_CALLS]Read{…}  Mistral, before and since 2024

Small models make mistakes in JSON; lenientjson.py says which are mended. Arguments that are JSON within a string are
unpacked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from agentd.providers.lenientjson import NotJson, Parsed, Unterminated, parse
from agentd.providers.protocol import ToolSchema

ENCODED_TWICE = "arguments within a string"
MAX_UNPACKED = 3

Tools = Mapping[str, ToolSchema]

_ARGUMENTS = ("arguments", "parameters", "input")
_BESIDE = {"type", "id", "index"}  # what may be beside the name and the arguments of JSON that nothing else marks
_WRAPPERS = ("function", "tool_call")


@attrs.frozen
class Leaked:
    """A call as it was written: *arguments* is JSON of an object, *repairs* says what was mended."""

    name: str
    arguments: str
    repairs: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, arguments: Mapping[str, Any], repairs: tuple[str, ...] = ()) -> Leaked:
        return cls(name, json.dumps(arguments, ensure_ascii=False), repairs)


class NoCall(Exception):
    """The text is no call of a tool on offer."""


def read_json(text: str, tools: Tools, *, marked: bool, all_there: bool) -> list[Leaked]:
    """The calls that *text* is, from its first character to its last: one or more JSON values, with white space, commas
    or semicolons between them. *marked*: something else says already that these are calls, so that less is asked of
    them; *all_there*: see parse(). Raises Unterminated where more text could make it one, NoCall."""
    found: list[Leaked] = []
    at = _pass(text, 0)
    while at < len(text):
        value = _parse(text, at, all_there)
        found += _calls(value.value, tools, value.repairs, marked)
        at = _pass(text, value.end)
    if not found:
        raise NoCall
    return found


def read_function(text: str, tools: Tools, *, all_there: bool) -> list[Leaked]:
    """The call that `<function=name>…` is; its end tag may be missing. Raises Unterminated, NoCall."""
    head = _FUNCTION.match(text)
    if head is None or head[1] not in tools:
        raise NoCall
    body = text[head.end() :].rstrip().removesuffix("</function>")
    if body.lstrip().startswith("<parameter="):
        return [Leaked.of(head[1], dict(_parameters(body, tools[head[1]])))]
    if not body.strip():
        return [Leaked.of(head[1], {})]
    value = _parse(body, 0, all_there)
    if body[value.end :].strip():
        raise NoCall
    return [_call(head[1], value.value, value.repairs)]


def read_mistral(text: str, tools: Tools, *, all_there: bool) -> list[Leaked]:
    """The calls in what follows the first [TOOL_CALLS]. Raises Unterminated, NoCall."""
    text = text.strip().removesuffix("</s>")
    if text.startswith(("[", "{")):
        return read_json(text, tools, marked=True, all_there=all_there)
    found: list[Leaked] = []
    for piece in text.split("[TOOL_CALLS]"):
        head = _MISTRAL.match(piece)
        if head is None or head[1] not in tools:
            raise NoCall
        value = _parse(piece, head.end(), all_there)
        if piece[value.end :].strip():
            raise NoCall
        found.append(_call(head[1], value.value, value.repairs))
    return found


def read_broken(text: str) -> list[Leaked]:
    """The call that *text* must have been meant to be, in a place that is for calls: its arguments as they are, for the
    model to be told what is wrong with them. Its name is empty if there is none."""
    name, arguments = _NAME.search(text), _ARGUMENTS_START.search(text)
    given = text[arguments.end() :].rstrip().removesuffix("}") if arguments else text
    return [Leaked(name[1] if name else "", given.strip() or "null")]


def may_be_json_call(text: str, tools: Tools) -> bool:
    """Whether what begins like this can still be JSON that is a call: an answer in JSON is not to be held back."""
    text = text.lstrip()
    head = _FIRST_MEMBER.match(text)
    if head is None:
        return _BEFORE_MEMBER.fullmatch(text) is not None
    key, value = head["key"], head["value"]
    return key in _FIRST_KEYS and (key != "name" or value is None or value in tools)


def _calls(value: Any, tools: Tools, repairs: tuple[str, ...], marked: bool) -> list[Leaked]:
    if isinstance(value, list):
        return [_one_call(each, tools, repairs, marked) for each in value]
    return [_one_call(value, tools, repairs, marked)]


def _one_call(value: Any, tools: Tools, repairs: tuple[str, ...], marked: bool) -> Leaked:
    if not isinstance(value, dict):
        raise NoCall
    for key in _WRAPPERS:
        if isinstance(value.get(key), dict) and (marked or set(value) <= _BESIDE | {key}):
            value = value[key]
    name = value.get("name")
    given = [key for key in _ARGUMENTS if key in value]
    if not isinstance(name, str) or name not in tools or len(given) > 1:
        raise NoCall
    if not marked and not (given and set(value) <= _BESIDE | {"name", *given}):
        raise NoCall
    return _call(name, value[given[0]] if given else {}, repairs)


def _call(name: str, arguments: Any, repairs: tuple[str, ...]) -> Leaked:
    """Raises NoCall if the arguments are no object, even when they are unpacked."""
    for _ in range(MAX_UNPACKED):
        if isinstance(arguments, str) and arguments.strip():
            arguments, more = _unpack(arguments)
            repairs = tuple(dict.fromkeys((*repairs, ENCODED_TWICE, *more)))
    if arguments is None or arguments == "":
        arguments = {}
    if not isinstance(arguments, dict):
        raise NoCall
    return Leaked.of(name, arguments, repairs)


def _unpack(text: str) -> tuple[Any, tuple[str, ...]]:
    try:
        found = parse(text)
    except NotJson as exc:
        raise NoCall from exc
    if text[found.end :].strip():
        raise NoCall
    return found.value, found.repairs


def _parse(text: str, at: int, all_there: bool) -> Parsed:
    try:
        return parse(text, at, all_there=all_there)
    except Unterminated:
        raise
    except NotJson as exc:
        raise NoCall from exc


def _parameters(body: str, tool: ToolSchema) -> Iterator[tuple[str, Any]]:
    """Raises Unterminated where the body does not consist of whole parameters."""
    properties = tool.input_schema.get("properties", {})
    at = 0
    while found := _PARAMETER.match(body, at):
        at = found.end()
        kind = properties.get(found["name"], {})
        yield found["name"], _typed(found["value"], kind.get("type") if isinstance(kind, Mapping) else None)
    if body[at:].strip():
        raise Unterminated("a parameter does not end")


def _typed(text: str, kind: Any) -> Any:
    if kind in (None, "string"):
        return text
    try:
        found = parse(text)
    except NotJson:
        return text
    return text if text[found.end :].strip() else found.value


def _pass(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return at if found is None else found.end()


_FIRST_KEYS = {"name", *_ARGUMENTS, *_WRAPPERS, *_BESIDE}
_FIRST_MEMBER = re.compile(
    r"""(?:\[\s*)?\{\s*["']?(?P<key>[\w-]+)["']?\s*:\s*(?:"(?P<value>[^"\\]*)"|'(?P<other>[^'\\]*)')?"""
)
_BEFORE_MEMBER = re.compile(r"""(?:\[\s*)?(?:\{\s*(?:["']?[\w-]+["']?\s*|["'])?)?""")
_NAME = re.compile(r"""["']?name["']?\s*:\s*["']([^"'\n]{1,128})["']""")
_ARGUMENTS_START = re.compile(rf"""["']?(?:{"|".join(_ARGUMENTS)})["']?\s*:\s*""")
_BETWEEN = re.compile(r"[\s;,]*")
_FUNCTION = re.compile(r"<function=([\w.:-]{1,128})>")
_PARAMETER = re.compile(
    r"\s*<parameter=(?P<name>[\w.-]{1,128})>\n?(?P<value>.*?)\n?</parameter>\s*(?=<parameter=|\Z)", re.DOTALL
)
_MISTRAL = re.compile(r"\s*([\w.:-]{1,128}?)\s*(?:\[CALL_ID\][\w-]*)?(?:\[ARGS\])?\s*(?=\{)")
