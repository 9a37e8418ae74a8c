"""Requests and responses as values."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from uuid import UUID

import attrs
import pytest

from agentd.domain import JobState
from agentd.errors import PayloadTooLarge
from agentd.wire.messages import JSON_TYPE, Headers, Request, json_response, to_json


class Colour(Enum):
    RED = 1


@attrs.frozen
class Inner:
    name: str


@attrs.frozen
class Outer:
    inner: Inner
    many: tuple[Inner, ...] = ()


@pytest.mark.parametrize(
    ("target", "query"),
    [
        ("/", {}),
        ("/?", {}),
        ("/?a=1&b=2", {"a": "1", "b": "2"}),
        ("/?a=x+y%20z%2B", {"a": "x y z+"}),
        ("/?a", {"a": ""}),
        ("/?a=", {"a": ""}),
        ("/?a=1&a=2", {"a": "2"}),
        ("/?a=b=c", {"a": "b=c"}),
        ("/?%61=%C3%A9", {"a": "é"}),
        ("/?a=%FF", {"a": "\ufffd"}),
        ("/?&&a=1&", {"a": "1"}),
        ("/?a=1?b=2", {"a": "1?b=2"}),
    ],
)
def test_a_query_as_the_contracts_say(target: str, query: dict[str, str]) -> None:
    assert Request("GET", target).query == query


def test_a_path_is_decoded_and_the_query_is_no_part_of_it() -> None:
    assert Request("GET", "/a%20b/%C3%A9%2Fc?d").path == "/a b/é/c"


def test_header_names_have_no_case() -> None:
    headers = Headers({"Content-Type": "text/plain"})
    assert headers["content-TYPE"] == headers.get("CONTENT-type") == "text/plain"
    assert "CONTENT-TYPE" in headers
    assert "accept" not in headers
    assert headers.get("accept", "*/*") == "*/*"
    assert list(headers.items()) == [("content-type", "text/plain")]


def test_a_missing_header_asked_for_by_index_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        Headers()["host"]


@pytest.mark.parametrize(
    "make", [Headers, lambda pairs: Headers.from_wire([(a.encode(), b.encode()) for a, b in pairs])]
)
def test_a_repeated_field_is_one_list(make: type[Headers]) -> None:
    headers = make([("Accept", "a"), ("Cookie", "x=1"), ("ACCEPT", "B, c"), ("cookie", "y=2")])
    assert headers["accept"] == "a, B, c"
    assert headers.tokens("accept") == ["a", "b", "c"]
    assert headers["cookie"] == "x=1; y=2"


def test_what_a_header_holds_is_not_shown_in_a_trace() -> None:
    assert repr(Headers({"Authorization": "Bearer secret"})) == "Headers(authorization)"


def test_a_json_response_is_compact_and_says_what_it_is() -> None:
    response = json_response(201, {"a": [1, None, True], "b": "é"}, [("X-A", "b")])
    assert (response.status, response.content_type, response.headers) == (201, JSON_TYPE, [("X-A", "b")])
    assert response.body == '{"a":[1,null,true],"b":"é"}'.encode()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Outer(Inner("a"), (Inner("b"),)), '{"inner":{"name":"a"},"many":[{"name":"b"}]}'),
        ([Inner("a")], '[{"name":"a"}]'),
        (JobState.RUNNING, '"running"'),
        ({"a": Colour.RED}, '{"a":1}'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        (Path("/a/b"), '"/a/b"'),
    ],
)
def test_what_json_can_be_made_of(value: object, text: str) -> None:
    assert to_json(value).decode() == text


def test_a_lone_surrogate_does_not_stop_an_answer() -> None:
    assert json.loads(to_json({"name": "a\udcff"})) == {"name": "a?"}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_json_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(value)


def test_what_has_no_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no JSON form"):
        to_json(object())


async def test_a_request_made_by_a_test_streams_its_body_too(tmp_path: Path) -> None:
    assert [chunk async for chunk in Request("PUT", "/", body=b"abc").chunks()] == [b"abc"]
    assert await Request("PUT", "/", body=b"abc").save(tmp_path / "a") == 3
    with pytest.raises(PayloadTooLarge):
        await Request("PUT", "/", body=b"abc").save(tmp_path / "b", limit=2)


async def test_saving_over_a_file_is_refused_and_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(FileExistsError):
        await Request("PUT", "/", body=b"new").save(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"old"
