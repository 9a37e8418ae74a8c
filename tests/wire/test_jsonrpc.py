from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.jsonrpc import (
    DEEPEST,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    Notification,
    NotMessage,
    Request,
    Response,
    RpcError,
    encode,
    parse_batch,
    parse_message,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)
PARAMS = st.none() | st.dictionaries(TEXTS, VALUES, max_size=3)
IDS = st.integers(-(2**63), 2**63 - 1) | TEXTS


@given(IDS, TEXTS, PARAMS)
def test_a_request_is_read_as_it_was_written(request_id: str | int, method: str, params: dict[str, Any] | None) -> None:
    message = Request(request_id, method, params)
    assert parse_message(encode(message)) == message


@given(TEXTS, PARAMS)
def test_a_notification_is_read_as_it_was_written(method: str, params: dict[str, Any] | None) -> None:
    assert parse_message(encode(Notification(method, params))) == Notification(method, params)


@given(IDS, VALUES)
def test_a_result_is_read_as_it_was_written(request_id: str | int, result: Any) -> None:
    assert parse_message(encode(Response(request_id, result))) == Response(request_id, result)


@given(VALUES)
def test_a_message_has_no_line_break_in_it(value: Any) -> None:
    assert not {b"\n", b"\r"} & {bytes([byte]) for byte in encode(Response(1, value))}


@given(st.binary(max_size=60))
def test_bytes_are_a_message_or_refused(data: bytes) -> None:
    try:
        parse_message(data)
    except NotMessage:
        pass


def test_an_error_keeps_its_code_message_and_data() -> None:
    message = parse_message(encode(Response("a", error=RpcError(-5, "no", {"why": 1}))))
    assert isinstance(message, Response)
    assert message.error is not None
    assert (message.id, message.error.code, message.error.message, message.error.data) == ("a", -5, "no", {"why": 1})


@pytest.mark.parametrize("members", ['"id":null,', ""])
def test_an_error_may_answer_what_could_not_be_read(members: str) -> None:
    message = parse_message(f'{{"jsonrpc":"2.0",{members}"error":{{"code":-32700,"message":"?"}}}}'.encode())
    assert isinstance(message, Response)
    assert message.id is None


REFUSED = {
    "no JSON": ("x", PARSE_ERROR),
    "nothing": ("", PARSE_ERROR),
    "two values": ('{"jsonrpc":"2.0","method":"a"} {}', PARSE_ERROR),
    "NaN": ('{"jsonrpc":"2.0","method":"a","params":{"x":NaN}}', PARSE_ERROR),
    "a number that is too large": ('{"jsonrpc":"2.0","method":"a","params":{"x":1e999}}', PARSE_ERROR),
    "members that are there twice": ('{"jsonrpc":"2.0","method":"a","method":"b"}', PARSE_ERROR),
    "inner members that are there twice": ('{"jsonrpc":"2.0","method":"a","params":{"x":1,"x":2}}', PARSE_ERROR),
    "an array": ('[{"jsonrpc":"2.0","method":"a"}]', INVALID_REQUEST),
    "a text": ('"2.0"', INVALID_REQUEST),
    "no version": ('{"method":"a"}', INVALID_REQUEST),
    "another version": ('{"jsonrpc":2.0,"method":"a"}', INVALID_REQUEST),
    "an id that is null": ('{"jsonrpc":"2.0","id":null,"method":"a"}', INVALID_REQUEST),
    "an id that is true": ('{"jsonrpc":"2.0","id":true,"method":"a"}', INVALID_REQUEST),
    "an id that is a fraction": ('{"jsonrpc":"2.0","id":1.0,"method":"a"}', INVALID_REQUEST),
    "an id that is huge": (f'{{"jsonrpc":"2.0","id":{2**63},"method":"a"}}', INVALID_REQUEST),
    "a method that is a number": ('{"jsonrpc":"2.0","method":1}', INVALID_REQUEST),
    "params that are null": ('{"jsonrpc":"2.0","method":"a","params":null}', INVALID_REQUEST),
    "params that are an array": ('{"jsonrpc":"2.0","id":1,"method":"a","params":[]}', INVALID_PARAMS),
    "a request with a result": ('{"jsonrpc":"2.0","id":1,"method":"a","result":{}}', INVALID_REQUEST),
    "a response without an id": ('{"jsonrpc":"2.0","result":{}}', INVALID_REQUEST),
    "a result for nobody": ('{"jsonrpc":"2.0","id":null,"result":{}}', INVALID_REQUEST),
    "a response with neither": ('{"jsonrpc":"2.0","id":1}', INVALID_REQUEST),
    "a response with both": ('{"jsonrpc":"2.0","id":1,"result":1,"error":{"code":1,"message":""}}', INVALID_REQUEST),
    "an error that is null": ('{"jsonrpc":"2.0","id":1,"error":null}', INVALID_REQUEST),
    "an error without a code": ('{"jsonrpc":"2.0","id":1,"error":{"message":"a"}}', INVALID_REQUEST),
    "an error whose code is true": ('{"jsonrpc":"2.0","id":1,"error":{"code":true,"message":"a"}}', INVALID_REQUEST),
    "what is too deep": (
        '{"jsonrpc":"2.0","method":"a","params":{"x":' + "[" * DEEPEST + "]" * DEEPEST + "}}",
        PARSE_ERROR,
    ),
    "what is far too deep": ("[" * 100_000, PARSE_ERROR),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_message_is_refused(case: str) -> None:
    data, code = REFUSED[case]
    with pytest.raises(NotMessage) as refused:
        parse_message(data.encode())
    assert refused.value.code == code


def test_a_refusal_knows_the_id_of_a_request() -> None:
    with pytest.raises(NotMessage) as refused:
        parse_message(b'{"jsonrpc":"2.0","id":7,"method":"a","params":1}')
    assert refused.value.id == 7


def test_a_batch_has_what_is_no_message_beside_what_is() -> None:
    first, second = parse_batch(b'[{"jsonrpc":"2.0","method":"a"},5]')
    assert first == Notification("a")
    assert isinstance(second, NotMessage)


def test_one_message_is_a_batch_of_one() -> None:
    assert parse_batch(encode(Notification("a"))) == [Notification("a")]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(NotMessage):
        parse_batch(b"[]")


@pytest.mark.parametrize("value", [float("nan"), "\ud800", object(), {"a": {1, 2}}])
def test_what_json_has_no_form_for_is_not_written(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON|surrogates"):
        encode(Notification("a", {"x": value}))


def test_params_that_are_not_there_are_not_written() -> None:
    assert json.loads(encode(Notification("a"))) == {"jsonrpc": "2.0", "method": "a"}
