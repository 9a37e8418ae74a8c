"""The door for untrusted JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum, IntEnum, StrEnum
from typing import Any, Literal
from uuid import UUID

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import Limits
from agentd.errors import InvalidRequest
from agentd.wire.typed import decode, make_converter, parse, structure

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy


class Mode(StrEnum):
    ASK = "ask"
    CODE = "code"


class Level(IntEnum):
    LOW = 1


class Old(str, Enum):  # noqa: UP042  cattrs finds the hook of str first
    A = "a"


@attrs.frozen
class Part:
    text: str


@attrs.frozen
class Count:
    n: int


@attrs.frozen
class Tree:
    children: list[Tree] = attrs.field(factory=list)


@attrs.frozen
class Asked:
    name: str
    mode: Mode = Mode.ASK
    level: Level = Level.LOW
    old: Old = Old.A
    n: int | None = None
    seconds: float = attrs.field(default=1.0)
    stream: bool = False
    parts: list[Part] = attrs.field(factory=list)
    words: tuple[str, ...] = ()
    numbers: Sequence[int] = ()
    data: Mapping[str, Any] = attrs.field(factory=dict)
    tags: dict[str, str] = attrs.field(factory=dict)
    content: str | list[Part] | None = None
    either: Part | Count | None = None
    literal: Literal["a", 1, None] = None
    id: UUID | None = None
    anything: Any = None

    @seconds.validator
    def _(self, attribute: object, value: float) -> None:
        if value < 0:
            raise ValueError("must not be negative")


def asked(**fields: Any) -> Asked:
    return decode(json.dumps(fields).encode(), Asked)


def problems(body: bytes | Mapping[str, Any], kind: Any = Asked) -> list[str]:
    with pytest.raises(InvalidRequest) as caught:
        decode(body if isinstance(body, bytes) else json.dumps(body).encode(), kind)
    return caught.value.problems


def test_what_is_missing_has_its_default() -> None:
    assert asked(name="x") == Asked("x")


def test_everything_comes_out_typed() -> None:
    fields: dict[str, Any] = {
        "name": "x",
        "mode": "code",
        "level": 1,
        "old": "a",
        "n": 3,
        "seconds": 3,
        "stream": True,
        "parts": [{"text": "p"}],
        "words": ["a", "b"],
        "numbers": [1],
        "data": {"k": [1, None]},
        "tags": {"a": "b"},
        "content": [{"text": "c"}],
        "either": {"n": 1},
        "literal": 1,
        "id": "12345678-1234-5678-1234-567812345678",
        "anything": {"a": [True]},
    }
    found = asked(**fields)
    assert (found.mode, found.level, found.old) == (Mode.CODE, Level.LOW, Old.A)
    assert (found.n, found.seconds, type(found.seconds), found.stream) == (3, 3.0, float, True)
    assert (found.parts, found.words, found.numbers) == ([Part("p")], ("a", "b"), [1])
    assert (found.data, found.tags, found.content) == ({"k": [1, None]}, {"a": "b"}, [Part("c")])
    assert (found.either, found.literal, found.anything) == (Count(1), 1, {"a": [True]})
    assert found.id == UUID("12345678-1234-5678-1234-567812345678")


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("name", 1, "expected a string @ $.name"),
        ("name", None, "expected a string @ $.name"),
        ("name", {"a": 1}, "expected a string @ $.name"),
        ("mode", "chat", 'expected one of "ask", "code" @ $.mode'),
        ("mode", 1, 'expected one of "ask", "code" @ $.mode'),
        ("level", True, "expected one of 1 @ $.level"),
        ("level", "1", "expected one of 1 @ $.level"),
        ("old", "b", 'expected one of "a" @ $.old'),
        ("n", True, "expected an integer or null @ $.n"),
        ("n", 1.0, "expected an integer or null @ $.n"),
        ("n", "1", "expected an integer or null @ $.n"),
        ("n", 2**63, "expected an integer @ $.n"),
        ("seconds", "1", "expected a number @ $.seconds"),
        ("seconds", True, "expected a number @ $.seconds"),
        ("stream", "no", "expected true or false @ $.stream"),
        ("stream", 0, "expected true or false @ $.stream"),
        ("parts", "abc", "expected an array @ $.parts"),
        ("parts", {"0": {"text": "a"}}, "expected an array @ $.parts"),
        ("parts", [{"text": "a"}, {}], "required, but missing @ $.parts[1].text"),
        ("parts", ["a"], "expected an object @ $.parts[0]"),
        ("words", "abc", "expected an array @ $.words"),
        ("words", [1], "expected a string @ $.words[0]"),
        ("numbers", [1, "2"], "expected an integer @ $.numbers[1]"),
        ("data", [], "expected an object @ $.data"),
        ("tags", {"a": 1}, "expected a string @ $.tags['a']"),
        ("content", 3, "expected a string or an array or null @ $.content"),
        ("content", [{"text": 3}], "expected a string @ $.content[0].text"),
        ("either", [], "expected an object or null @ $.either"),
        ("either", {"n": "x"}, "expected an integer @ $.either.n"),
        ("literal", True, 'expected one of "a", 1, null @ $.literal'),
        ("id", "x", "expected a UUID @ $.id"),
        ("id", 3, "expected a string or null @ $.id"),
    ],
)
def test_a_misfit_says_what_is_expected_and_where(field: str, value: Any, problem: str) -> None:
    assert problems({"name": "x", field: value}) == [problem]


def test_all_misfits_are_told_at_once() -> None:
    assert problems({"mode": "x", "parts": [{"text": 1}, 2]}) == [
        "required, but missing @ $.name",
        'expected one of "ask", "code" @ $.mode',
        "expected a string @ $.parts[0].text",
        "expected an object @ $.parts[1]",
    ]


def test_what_a_class_says_of_its_values_is_told() -> None:
    assert problems({"name": "x", "seconds": -1}) == ["must not be negative @ $"]


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"3", b"null", b"true"])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    assert problems(body) == ["expected an object @ $"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'name': 'x'}",
        b'{"name": NaN}',
        b'{"name": -Infinity}',
        b'{"name": 1e999}',
        b'{"name": "\xff"}',
        b'{"name": "\xed\xa0\x80"}',
        '{"name": "x"}'.encode("utf-16"),
        b'{"name": "a\nb"}',
        b'{"name": "x"} {}',
        b"[" * 100_000,
        b'{"n": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    assert problems(body) == ["not valid JSON @ $"]


def test_a_byte_order_mark_is_tolerated() -> None:
    assert decode(b'\xef\xbb\xbf{"name": "x"}', Asked) == Asked("x")


def test_of_members_of_one_name_the_last_counts() -> None:
    assert decode(b'{"name": "x", "name": "y"}', Asked) == Asked("y")


def test_unknown_members_are_ignored_in_requests() -> None:
    assert asked(name="x", unknown=1) == Asked("x")


def test_unknown_members_can_be_forbidden() -> None:
    with pytest.raises(InvalidRequest) as caught:
        structure({"text": "a", "b": 1, "a": 2}, Part, make_converter(forbid_extra_keys=True))
    assert caught.value.problems == ["unknown: a, b @ $"]


def test_lone_surrogates_become_something_that_can_be_written_later() -> None:
    value = parse(rb'{"\ud800": ["a\uDFFFb", {"c": "\ud83d\ude00"}]}')
    assert value == {"\ufffd": ["a\ufffdb", {"c": "\U0001f600"}]}
    json.dumps(value, ensure_ascii=False).encode()


def test_other_kinds_than_classes_can_be_asked_for() -> None:
    assert decode(b"[1, 2]", list[int]) == [1, 2]
    assert structure({"turns": 3}, Limits) == Limits(turns=3)
    assert structure("ask", Mode) is Mode.ASK
    assert problems(b"[1, true]", list[int]) == ["expected an integer @ $[1]"]


def test_a_class_may_hold_itself() -> None:
    assert decode(b'{"children": [{"children": []}]}', Tree) == Tree([Tree()])
    assert problems(b'{"children": [{"children": 3}]}', Tree) == ["expected an array @ $.children[0].children"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@patient
@given(st.dictionaries(st.sampled_from([field.name for field in attrs.fields(Asked)]), JSON))
def test_whatever_comes_is_either_typed_or_refused(fields: dict[str, Any]) -> None:
    try:
        found = asked(**fields)
    except InvalidRequest:
        return
    assert type(found.name) is str
    assert type(found.stream) is bool


@patient
@given(st.binary(max_size=60))
def test_no_bytes_get_more_than_a_refusal(body: bytes) -> None:
    try:
        json.dumps(parse(body), ensure_ascii=False).encode()
    except InvalidRequest:
        pass


def test_a_guard_stays_when_other_classes_are_read_in_between() -> None:
    converter = make_converter()

    @attrs.frozen
    class First:
        data: dict[str, Any]

    @attrs.frozen
    class Second:
        data: Mapping[str, Any]

    for kind in (First, Second, First):
        with pytest.raises(InvalidRequest, match="expected an object"):
            structure({"data": []}, kind, converter)
