from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Image, Text, ToolResult
from agentd.providers.requestbody import (
    CACHE_MARK,
    LONGEST_USER,
    NO_OUTPUT,
    common_prefix,
    dump,
    result_parts,
    safe_id,
    safe_name,
    user_tag,
)


@given(
    st.binary(max_size=20), st.binary(max_size=20), st.binary(max_size=20), st.sampled_from([0, 65530, 65536, 140_000])
)
def test_the_common_prefix_is_as_long_as_the_bytes_are_equal(start: bytes, one: bytes, two: bytes, filler: int) -> None:
    start += b"x" * filler
    length = common_prefix(start + one, start + two)
    assert length >= len(start)
    assert (start + one)[:length] == (start + two)[:length]
    assert (start + one)[length : length + 1] != (start + two)[length : length + 1] or length == len(start + one)


def test_cache_marks_are_no_part_of_the_prefix() -> None:
    marked = dump({"content": [{"text": "a", "cache_control": CACHE_MARK}]})
    longer = dump({"content": [{"text": "a"}, {"text": "b", "cache_control": CACHE_MARK}]})
    assert common_prefix(marked, longer) == len(dump({"content": [{"text": "a"}]})) - len("]}")


def test_text_that_looks_like_a_mark_is_text() -> None:
    text = dump({"text": ',"cache_control":{"type":"ephemeral"}'})
    assert common_prefix(text, text) == len(text)


@pytest.mark.parametrize(
    ("name", "safe"), [("Read", "Read"), ("a b/c.d", "a_b_c_d"), ("x" * 70, "x" * 64), ("", "_"), ("é", "_")]
)
def test_a_name_becomes_one_that_services_take(name: str, safe: str) -> None:
    assert safe_name(name, 64) == safe


def test_an_id_becomes_one_that_services_take() -> None:
    assert safe_id("toolu_01A-b") == "toolu_01A-b"
    assert safe_id("functions.Read:0") == "functions_Read_0_9d4d98f9"


@given(st.lists(st.text(max_size=5), unique=True, max_size=8))
def test_different_ids_stay_different(ids: list[str]) -> None:
    assert len({safe_id(each) for each in ids}) == len(ids)


def test_a_result_is_never_nothing() -> None:
    picture = Image("image/png", "aa")
    assert result_parts(ToolResult("c", ())) == (Text(NO_OUTPUT),)
    assert result_parts(ToolResult("c", (Text(" \n"),))) == (Text(NO_OUTPUT),)
    assert result_parts(ToolResult("c", (Text(""), picture))) == (picture,)


@given(st.text())
def test_what_is_sent_is_utf8_and_json(text: str) -> None:
    assert json.loads(dump({"text": text}).decode()) == {"text": text}


def test_a_user_that_is_too_long_for_services_stays_distinct() -> None:
    longest, longer, other = "u" * LONGEST_USER, "u" * 300, "u" * 301 + "\ud800"
    assert user_tag(longest) == longest
    assert len({user_tag(longer), user_tag(other), longest}) == 3
    assert len(user_tag(longer)) == len(user_tag(other)) == 64
