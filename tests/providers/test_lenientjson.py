from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.providers.lenientjson import (
    BARE_NAME,
    ESCAPE,
    LINE_BREAK,
    PYTHON_WORD,
    SINGLE_QUOTES,
    TRAILING_COMMA,
    UNCLOSED,
    NotJson,
    Unterminated,
    parse,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.sampled_from(["", " tail", "}", "\n\n"]))
def test_json_is_read_as_it_is(value: Any, tail: str) -> None:
    text = " \n" + json.dumps(value, ensure_ascii=False)
    found = parse(text + tail if not isinstance(value, int | float) else text)
    assert (found.value, found.end, found.repairs) == (value, len(text), ())


@pytest.mark.parametrize(
    ("text", "value", "repairs"),
    [
        ('{"a": 1,}', {"a": 1}, (TRAILING_COMMA,)),
        ('{"a": [1, 2, ], }', {"a": [1, 2]}, (TRAILING_COMMA,)),
        ("{'a': 'x \"y\"'}", {"a": 'x "y"'}, (SINGLE_QUOTES,)),
        ("{'a': 'it\\'s'}", {"a": "it's"}, (SINGLE_QUOTES, ESCAPE)),
        ('{a: 1, $b-c: "x"}', {"a": 1, "$b-c": "x"}, (BARE_NAME,)),
        ('{"a": "x\ny\tz"}', {"a": "x\ny\tz"}, (LINE_BREAK,)),
        ('{"a": "x\\ny", b: 1}', {"a": "x\ny", "b": 1}, (BARE_NAME,)),
        ('{"a": "\\d+\\u00e9\\n"}', {"a": "\\d+é\n"}, (ESCAPE,)),
        ('{"a": "\\ud83d\\ude00", b: 1}', {"a": "😀", "b": 1}, (BARE_NAME,)),
        ('{"a": "\\ud83d", b: 1}', {"a": "\ufffd", "b": 1}, (BARE_NAME,)),
        ("{'a': [True, False, None, -1.5e3, null]}", {"a": [True, False, None, -1500.0, None]}, None),
        ("[{}, [],]", [{}, []], (TRAILING_COMMA,)),
    ],
)
def test_what_can_be_meant_in_one_way_only_is_mended(text: str, value: Any, repairs: tuple[str, ...] | None) -> None:
    found = parse(text)
    assert found.value == value
    assert found.end == len(text)
    assert found.repairs == ((SINGLE_QUOTES, PYTHON_WORD) if repairs is None else repairs)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('{"a": {"b": 1}', {"a": {"b": 1}}),
        ('{"a": [1, {"b": "x"', {"a": [1, {"b": "x"}]}),
        ('{"a": 1, ', {"a": 1}),
        ("{", {}),
        ("[ ", []),
    ],
)
def test_brackets_may_be_missing_at_the_end_of_a_whole_text(text: str, value: Any) -> None:
    assert parse(text, all_there=True).value == value
    assert UNCLOSED in parse(text, all_there=True).repairs
    with pytest.raises(NotJson):
        parse(text)


@pytest.mark.parametrize("text", ['{"a": "x', "{'a': 'x}", '{"a": "x\\', '{"a": "x\\"}', '["a'])
def test_a_string_that_does_not_end_is_not_ended_for_it(text: str) -> None:
    with pytest.raises(Unterminated):
        parse(text, all_there=True)


@pytest.mark.parametrize(
    "text",
    ["", "x", "{", '{"a"}', '{"a": }', '{"a" 1}', '{"a": 1 "b": 2}', "{1: 2}", "[,]", "NaN", "{'a': 'it's'}", "[1 2]",
     "[" * 5000, '{a: ' * 70 + "1" + "}" * 70, '{"a":', "+1", "9" * 5000],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(NotJson):
        parse(text)


def test_a_value_may_begin_anywhere() -> None:
    found = parse("call {a: 1} now", 4)
    assert (found.value, found.end) == ({"a": 1}, len("call {a: 1}"))


@given(st.text(alphabet="{}[]\"',:\\ \nanuTF10.e-"), st.booleans())
def test_any_text_is_read_or_refused(text: str, all_there: bool) -> None:
    try:
        found = parse(text, all_there=all_there)
    except NotJson:
        return
    assert 0 < found.end <= len(text)
    json.dumps(found.value)
