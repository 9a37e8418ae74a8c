from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.domain import OutputFormat
from agentd.engine.structured import NOT_JSON, instructions, parse, retry_message
from agentd.wire.jsonschema import SchemaError

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}
SCHEMA = OutputFormat("json_schema", PERSON)
JSON = OutputFormat("json")
ANN = {"name": "Ann", "age": 30}


def test_the_model_is_told_the_schema_as_it_is() -> None:
    told = instructions(SCHEMA)
    assert json.loads(told.split("```json\n")[1].split("\n```")[0]) == PERSON
    assert "has to fit" in told


def test_a_schema_that_is_advice_is_told_as_advice() -> None:
    assert "should fit" in instructions(OutputFormat("json", PERSON))
    assert "Schema" not in instructions(JSON)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "Ann", "age": 30}',
        '\n  {"name": "Ann", "age": 30}\n',
        '```json\n{"name": "Ann", "age": 30}\n```',
        '```\n{"name": "Ann", "age": 30}\n```',
        'Here you are:\n\n```json\n{"name": "Ann", "age": 30}\n```\nAnything else?',
        'The answer is {"name": "Ann", "age": 30}. I hope that helps.',
        'I first thought [1], but {"draft": true} is wrong; so it is {"name": "Ann", "age": 30}.',
        '```json\n{"name": "Ann"}\n```\nNo, with the age:\n```json\n{"name": "Ann", "age": 30}\n```',
        "{'name': 'Ann', age: 30,}",
        '{"name": "Ann", "age": 30.0}',
    ],
)
def test_the_value_is_found_where_models_put_it(text: str) -> None:
    assert parse(text, SCHEMA).value == ANN
    assert not parse(text, SCHEMA).errors


@pytest.mark.parametrize(
    "text", ["", "I cannot say.", '{"name": "Ann', "{", "[1, 2", "1e999", '{"a": NaN}', "a {b c} d"]
)
def test_what_is_no_json_is_told_as_that(text: str) -> None:
    assert parse(text, SCHEMA).errors == [NOT_JSON]
    assert parse(text, JSON).errors == [NOT_JSON]


def test_what_does_not_fit_is_told_and_is_no_value() -> None:
    parsed = parse('{"name": 3}', SCHEMA)
    assert parsed.value is None
    assert parsed.errors == ['$: missing "age"', "$.name: expected string, found 3"]


def test_any_json_will_do_where_there_is_no_schema_or_it_is_advice() -> None:
    assert parse('{"name": 3}', JSON).value == {"name": 3}
    assert parse('{"name": 3}', OutputFormat("json", PERSON)).value == {"name": 3}


@pytest.mark.parametrize(
    ("text", "value"), [("null", None), ("7", 7), ('"a"', "a"), ("[1, 2]", [1, 2]), ("true", True)]
)
def test_a_value_may_be_of_any_type_that_the_schema_allows(text: str, value: Any) -> None:
    parsed = parse(text, OutputFormat("json_schema", {}))
    assert (parsed.value, list(parsed.errors)) == (value, [])


def test_half_a_character_does_not_get_through() -> None:
    assert parse('{"name": "\\ud800", "age": 1}', SCHEMA).value == {"name": "\ufffd", "age": 1}


def test_many_brackets_are_looked_at_in_no_time() -> None:
    assert parse("{" * 50_000, JSON).errors == [NOT_JSON]
    assert parse("[" * 50_000 + "]" * 50_000, JSON).errors == [NOT_JSON]


def test_a_schema_that_is_not_understood_is_no_business_of_the_model() -> None:
    with pytest.raises(SchemaError):
        parse("1", OutputFormat("json_schema", {"type": "text"}))


def test_a_model_that_tries_again_is_told_what_was_wrong() -> None:
    told = retry_message(parse('{"name": 3}', SCHEMA).errors)
    assert '- $: missing "age"' in told
    assert "- $.name: expected string, found 3" in told
