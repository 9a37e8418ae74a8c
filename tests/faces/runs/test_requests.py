"""Bodies, and what errors become."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd import errors
from agentd.faces.runs.answers import STATUS, NotFound, Refused, answer_error
from agentd.faces.runs.requests import Body, read_body
from agentd.wire.hosts import ForeignRequest
from agentd.wire.messages import BadMessage, Request

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def body(raw: bytes) -> Body:
    return read_body(Request("POST", "/v1/runs", (), raw))


@given(st.binary(max_size=50) | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_an_object_or_refused(raw: bytes) -> None:
    try:
        is_object = isinstance(json.loads(raw.decode("utf-8-sig"), parse_constant=float.fromhex), dict)
    except (ValueError, RecursionError):
        is_object = False
    if is_object:
        assert isinstance(body(raw).fields, dict)
    else:
        with pytest.raises(Refused, match=r"^invalid json$"):
            body(raw)


@given(VALUES)
def test_a_field_is_of_its_type_or_refused(value: Any) -> None:
    asked = body(json.dumps({"a": value}).encode())
    for read, kind, word in (
        (asked.text, str, "a string"),
        (asked.array, list, "an array"),
        (lambda name: asked.flag(name, True), bool, "a boolean"),
    ):
        if value is None or type(value) is kind:
            read("a")
        else:
            with pytest.raises(Refused, match=f"^a must be {word}$"):
                read("a")


@pytest.mark.parametrize("value", [None, "", "  \t\n"])
def test_what_is_blank_is_as_good_as_absent(value: str | None) -> None:
    assert Body({"a": value}).text("a") == Body({}).text("a") == ""


def test_a_text_is_taken_as_it_was_given() -> None:
    assert Body({"a": " x "}).text("a") == " x "


@pytest.mark.parametrize(
    ("exc", "status", "text"),
    [
        (Refused("no"), 400, "no"),
        (Refused("taken", 409), 409, "taken"),
        (NotFound("run", "run_x"), 404, "run not found: run_x"),
        (errors.InvalidRequest(["a @ $.b"]), 400, "a @ $.b"),
        (errors.PayloadTooLarge(5), 413, "the request body is larger than 5 bytes"),
        (errors.ProviderFailed("down"), 500, "down"),
        (errors.ContextFull("m", 1), 500, str(errors.ContextFull("m", 1))),
        (ForeignRequest("elsewhere"), 403, "elsewhere"),
        (BadMessage(431, "too long"), 431, "too long"),
        (ValueError("a secret"), 500, "internal error"),
    ],
)
def test_an_error_is_told_with_its_status_and_text(exc: Exception, status: int, text: str) -> None:
    answer = answer_error(exc)
    assert (answer.status, json.loads(answer.body)) == (status, {"error": text})


def test_who_has_to_wait_is_told_for_how_long() -> None:
    assert answer_error(errors.Busy(8)).headers == (("Retry-After", "5"),)


def test_statuses_are_those_of_the_contract() -> None:
    assert set(STATUS.values()) <= {400, 403, 404, 409, 413, 500, 503}
