"""The door for untrusted JSON: what passes is typed, what does not says where and why. No sockets and no trio here.

cattrs is imported when the first value comes: it costs 40 ms, and a listener should be up before that. Left alone, it
calls kind(value), so "no" is True, {"a": 1} is a str and "abc" a list of 3: hence the guards.
"""

from __future__ import annotations

import json
import math
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin
from uuid import UUID

import attrs

from agentd.errors import InvalidRequest

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")
Hook = Callable[[Any, Any], Any]

MAX_INTEGER = 2**63  # what other programs, and SQLite, can hold

_SPACE = " \t\r\n"  # JSON's
_WORDS = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "true or false",
    int: "an integer",
    float: "a number",
    NoneType: "null",
}


class NotJson(InvalidRequest):
    """*offset*: the character that it is wrong at, where that is known, else 0. *reason*: repeats nothing of it."""

    def __init__(self, offset: int, reason: str) -> None:
        super().__init__(["not valid JSON @ $"])
        self.offset, self.reason = offset, reason


class Misfit(ValueError):
    """A value that is not what it has to be. Its text says what that is, and goes to the client."""


def decode(body: bytes, kind: type[T], converter: Converter | None = None) -> T:
    """A request's JSON body as *kind*. Raises InvalidRequest with every misfit in it."""
    return structure(parse(body), kind, converter)


def structure(value: Any, kind: type[T], converter: Converter | None = None) -> T:
    """Parsed JSON as *kind*: an attrs class, or what its fields may be. Raises InvalidRequest, see decode()."""
    try:
        return (converter or _default_converter()).structure(value, kind)
    except (ExceptionGroup, ValueError, TypeError, RecursionError) as exc:  # cattrs makes a group of all misfits
        raise InvalidRequest(_problems(exc)) from exc


def parse(body: bytes, *, unique: bool = False) -> Any:
    """Strict JSON: UTF-8, finite numbers. Of members of one name the last counts, unless they have to be *unique*. A
    lone surrogate, which would not go into UTF-8 later, becomes U+FFFD. Raises NotJson, which is an InvalidRequest."""
    try:
        text = body.removeprefix(BOM_UTF8).decode()
        value, end = (_unique_decoder if unique else _decoder).raw_decode(text, len(text) - len(text.lstrip(_SPACE)))
        if rest := text[end:].lstrip(_SPACE):
            raise NotJson(len(text) - len(rest), "Extra data")
        return _without_surrogates(value) if "\\ud" in text or "\\uD" in text else value
    except json.JSONDecodeError as exc:
        raise NotJson(exc.pos, exc.msg) from exc
    except UnicodeDecodeError as exc:
        raise NotJson(exc.start, "Not UTF-8") from exc
    except (ValueError, RecursionError) as exc:  # numbers that are none, or too long; nested too deeply
        raise NotJson(0, "Not what JSON allows, or more than is read here") from exc


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("the number is too large")
    return value


def _without_doubles(members: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("two members have one name")
    return value


_decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite)
_unique_decoder = json.JSONDecoder(parse_constant=_no_number, parse_float=_finite, object_pairs_hook=_without_doubles)


def is_deep(value: Any, levels: int) -> bool:
    """Whether there are more than *levels* of objects and arrays in it, one in the other."""
    level = [value]
    for _ in range(levels + 1):
        values = [each.values() if isinstance(each, dict) else each for each in level if isinstance(each, dict | list)]
        if not values:
            return False
        level = [inner for each in values for inner in each]
    return True


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(item) for key, item in value.items()}
    return value


def make_converter(*, forbid_extra_keys: bool = False) -> Converter:
    """A converter that converts nothing: every value must have the JSON type that its place asks for.

    It takes attrs classes, str, int, float (an integer will do), bool, list, tuple[X, ...], dict[str, X], Literal,
    Enum, UUID, Any, and unions of these. *forbid_extra_keys* is for our own files; requests may hold others.
    """
    from cattrs import Converter
    from cattrs.cols import homogenous_tuple_structure_factory, list_structure_factory
    from cattrs.gen import make_mapping_structure_fn

    made = Converter(forbid_extra_keys=forbid_extra_keys)
    made.register_structure_hook(str, _text)
    made.register_structure_hook(bool, exactly)
    made.register_structure_hook(int, _integer)
    made.register_structure_hook(float, _number)
    made.register_structure_hook(UUID, _uuid)
    guard = made.register_structure_hook_factory
    guard(attrs.has, lambda kind: _guarded(dict, made.gen_structure_attrs_fromdict(kind)))
    # Not made.gen_structure_mapping: that registers its hook, and the next class would find it without the guard.
    guard(_is(dict, Mapping), lambda kind: _guarded(dict, make_mapping_structure_fn(kind, made)))
    guard(_is(list, Sequence), lambda kind: _guarded(list, list_structure_factory(kind, made)))
    guard(_is(tuple), lambda kind: _guarded(list, homogenous_tuple_structure_factory(kind, made)))
    made.register_structure_hook_func(_is(Literal), lambda value, kind: _one_of(value, get_args(kind)))
    made.register_structure_hook_func(_is_enum, _member)
    guard(_is(Union, UnionType), lambda kind: _union(get_args(kind), made))
    return made


def prepare(kind: type) -> None:
    """Make now what decode() and structure() need for *kind*, instead of at the first value of it."""
    _default_converter().get_structure_hook(kind)


@cache
def _default_converter() -> Converter:
    return make_converter()


def exactly(value: Any, kind: Any) -> Any:
    """*value*, if its type is *kind*; a subclass will not do, for True is an int. Raises Misfit."""
    if type(value) is not kind:
        raise Misfit(f"expected {_WORDS[kind]}")
    return value


def _text(value: Any, kind: Any) -> Any:
    # A StrEnum comes here too: cattrs looks for hooks of base classes first.
    return exactly(value, str) if kind is str else _member(value, kind)


def _integer(value: Any, kind: Any) -> Any:
    if kind is not int:
        return _member(value, kind)
    if type(value) is not int or not -MAX_INTEGER <= value < MAX_INTEGER:
        raise Misfit("expected an integer")
    return value


def _number(value: Any, _: Any) -> float:
    return float(_integer(value, int)) if type(value) is int else exactly(value, float)


def _uuid(value: Any, _: Any) -> UUID:
    try:
        return UUID(exactly(value, str))
    except ValueError as exc:
        raise Misfit("expected a UUID") from exc


def _guarded(kind: type, hook: Hook) -> Hook:
    return lambda value, wanted: hook(exactly(value, kind), wanted)


def _member(value: Any, kind: Any) -> Any:
    return kind(_one_of(value, [member.value for member in kind]))


def _one_of(value: Any, known: Sequence[Any]) -> Any:
    if not any(type(value) is type(one) and value == one for one in known):
        raise Misfit(f"expected one of {', '.join(map(json.dumps, known))}")
    return value


def _union(members: Sequence[Any], converter: Converter) -> Hook:
    """The members whose JSON type is the value's are tried in turn; the last one's misfits are told."""

    def choose(value: Any, _: Any) -> Any:
        fitting = [member for member in members if _json_type(member) in (type(value), Any)]
        if type(value) is int:
            fitting += [member for member in members if member is float]
        if not fitting:
            raise Misfit(f"expected {' or '.join(dict.fromkeys(_WORDS[_json_type(member)] for member in members))}")
        for member in fitting[:-1]:
            try:
                return converter.structure(value, member)
            except (ValueError, BaseExceptionGroup):
                continue
        return value if value is None else converter.structure(value, fitting[-1])

    return choose


def _json_type(kind: Any) -> Any:
    """What json.loads makes for a *kind*; Any for anything."""
    base = get_origin(kind) or kind
    if base is Literal:
        return type(get_args(kind)[0])
    if _is_enum(base):
        return type(next(iter(base)).value)
    if base in (list, tuple, Sequence):
        return list
    if base in (dict, Mapping) or attrs.has(base):
        return dict
    return str if base is UUID else base


def _is(*bases: Any) -> Callable[[Any], bool]:
    return lambda kind: (get_origin(kind) or kind) in bases


def _is_enum(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Enum)


def _problems(exc: Exception) -> list[str]:
    from cattrs import transform_error

    return transform_error(exc, format_exception=_explain)


def _explain(exc: BaseException, kind: type | None) -> str:
    from cattrs import ForbiddenExtraKeysError

    if isinstance(exc, KeyError):
        return "required, but missing"
    if isinstance(exc, ForbiddenExtraKeysError):
        return f"unknown: {', '.join(sorted(exc.extra_fields))}"
    if isinstance(exc, ValueError) and exc.args and isinstance(exc.args[0], str):
        return exc.args[0]  # a Misfit, or what a validator of ours says
    return "not acceptable"
