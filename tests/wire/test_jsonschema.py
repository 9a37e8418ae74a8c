"""The cases have the shape of those of the JSON-Schema-Test-Suite; the suite itself is not kept here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.wire.jsonschema import SchemaError, compile_schema

CASES = Path(__file__).parent / "jsonschema_cases"
GROUPS = [(path.stem, group) for path in sorted(CASES.glob("*.json")) for group in json.loads(path.read_text())]


@pytest.mark.parametrize("group", [pytest.param(group, id=f"{stem}: {group['description']}") for stem, group in GROUPS])
def test_a_value_fits_or_it_does_not(group: dict[str, Any]) -> None:
    validator = compile_schema(group["schema"])
    found = {test["description"]: not validator.errors(test["data"]) for test in group["tests"]}
    assert found == {test["description"]: test["valid"] for test in group["tests"]}


@pytest.mark.parametrize(
    ("schema", "where"),
    [
        (7, "#: expected a schema"),
        ({"type": "text"}, "#/type: there is no type 'text'"),
        ({"type": 3}, "#/type: expected an array of strings"),
        ({"properties": []}, "#/properties: expected an object of schemas"),
        ({"properties": {"a": "string"}}, "#/properties/a: expected a schema"),
        ({"items": "string"}, "#/items: expected a schema"),
        ({"not": [{}]}, "#/not: expected a schema"),
        ({"dependencies": 3}, "#/dependencies: expected an object"),
        ({"anyOf": {}}, "#/anyOf: expected an array of schemas"),
        ({"anyOf": []}, "#/anyOf: expected at least one schema"),
        ({"required": "name"}, "#/required: expected an array of strings"),
        ({"minimum": "3"}, "#/minimum: expected a number"),
        ({"exclusiveMinimum": True}, "#/exclusiveMinimum: expected a number"),
        ({"maxLength": -1}, "#/maxLength: expected an integer that is not negative"),
        ({"maxContains": 1.5, "contains": {}}, "#/contains: expected an integer that is not negative"),
        ({"multipleOf": 0}, "#/multipleOf: expected a number above 0"),
        ({"uniqueItems": 1}, "#/uniqueItems: expected a boolean"),
        ({"enum": "a"}, "#/enum: expected an array"),
        ({"dependentRequired": {"a": "b"}}, "#/dependentRequired: expected an array of strings"),
        ({"$ref": "#/$defs/none"}, "#: '#/$defs/none' leads nowhere"),
        ({"$ref": "https://example.org/a"}, "#: 'https://example.org/a' is not in this schema"),
        ({"$ref": 3}, "#/$ref: expected a string"),
        ({"$id": "https://a.example/", "$ref": "http://[::1"}, "#/$ref: 'http://[::1' is not a URI"),
        ({"$id": 3}, "#/$id: expected a string"),
        ({"$id": "a#b"}, "#/$id: a fragment"),
        ({"$defs": {"a": {"$id": "x"}, "b": {"$id": "x"}}}, "#/$defs/b/$id: given twice"),
        ({"$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}, "#/$defs/b/$anchor: given twice"),
        ({"$schema": "https://example.org/own-dialect"}, "#/$schema: not a dialect that is known"),
        ({"$recursiveRef": "#"}, "#/$recursiveRef: is of draft 2019-09"),
        ({"$defs": {"unused": {"type": "text"}}}, "#/$defs/unused/type: there is no type"),
        ({"patternProperties": {"(": {}}}, "#/patternProperties: missing )"),
    ],
)
def test_a_schema_that_is_not_understood_is_refused_with_the_place(schema: Any, where: str) -> None:
    with pytest.raises(SchemaError) as refused:
        compile_schema(schema)
    assert str(refused.value).startswith(where)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
        {"anyOf": [{"type": "null"}, {"not": {"$ref": "#"}}]},
        {"if": {"$ref": "#"}},
        {"dependentSchemas": {"a": {"$ref": "#"}}},
        {"$defs": {"unused": {"allOf": [{"$ref": "#/$defs/unused"}]}}},
    ],
)
def test_a_schema_that_applies_itself_to_the_same_value_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError, match="refers to itself without end"):
        compile_schema(schema)


def test_two_ways_to_one_schema_are_no_circle() -> None:
    shared = {"$defs": {"n": {"type": "integer"}}, "allOf": [{"$ref": "#/$defs/n"}, {"$ref": "#/$defs/n"}]}
    assert compile_schema(shared).errors(1) == []


def test_a_dynamic_reference_that_never_ends_is_told() -> None:
    schema = {"$dynamicAnchor": "a", "$dynamicRef": "#a"}
    assert compile_schema(schema).errors(1) == ["$: nested too deeply to be checked"]


def test_values_and_schemas_that_are_nested_too_deeply_are_told() -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    assert compile_schema({"items": {"$ref": "#"}}).errors(deep) == ["$: nested too deeply to be checked"]
    assert compile_schema({"const": 1}).errors(deep) in (
        ["$: nested too deeply to be checked"],
        [f"$: expected 1, found {'[' * 59}…"],
    )


def test_a_schema_that_doubles_its_work_at_every_step_is_cut_short() -> None:
    defs: dict[str, Any] = {
        f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}, {"$ref": f"#/$defs/a{n + 1}"}]} for n in range(40)
    }
    validator = compile_schema({"$defs": {**defs, "a40": {}}, "$ref": "#/$defs/a0"})
    assert validator.errors(1) == ["$: too large to be checked"]


def test_many_texts_together_may_take_no_longer_than_one() -> None:
    validator = compile_schema({"items": {"pattern": r"^(?:.{0,1000}[^\n]){2}[a-y\u0100-\uffff]{0,900}$"}})
    texts = ["".join(chr(0x4E00 + (n * 7 + start) % 20_000) for n in range(900)) for start in range(50)]
    assert validator.errors(texts) == ["$: too large to be checked"]
    assert validator.errors(["short"]) == []


def test_a_schema_may_be_used_again_after_one_that_was_cut_short() -> None:
    validator = compile_schema({"items": {"$ref": "#"}, "type": "array"})
    validator.errors(json.loads("[" * 900 + "]" * 900))
    assert validator.errors([[], [1]]) == ["$[1][0]: expected array, found 1"]


def test_what_is_wrong_is_told_with_its_place_and_its_value() -> None:
    schema = {
        "type": "object",
        "required": ["name", "tags"],
        "properties": {
            "name": {"type": "string", "minLength": 1},
            "age": {"type": ["integer", "null"], "maximum": 150},
            "tags": {"items": {"enum": ["a", "b"]}, "uniqueItems": True},
            "home page": {"pattern": "^https:"},
        },
        "additionalProperties": False,
    }
    value = {"name": "", "age": 200, "tags": ["a", "c", "a"], "home page": "ftp:x", "extra": 1}
    assert compile_schema(schema).errors(value) == [
        "$.name: expected at least 1 character, found 0",
        "$.age: expected at most 150, found 200",
        "$.tags: items 0 and 2 are equal",
        '$.tags[1]: expected one of "a", "b", found "c"',
        '$["home page"]: expected what matches the pattern ^https:, found "ftp:x"',
        "$.extra: not allowed here",
    ]
    assert compile_schema(schema).errors({}) == ['$: missing "name", "tags"']


def test_of_alternatives_the_nearest_one_is_told() -> None:
    schema = {"anyOf": [{"type": "string"}, {"type": "object", "properties": {"n": {"type": "integer"}}}]}
    assert compile_schema({"properties": {"x": schema}}).errors({"x": {"n": "1"}}) == [
        "$.x: fits none of the alternatives; the nearest one says:",
        '$.x.n: expected integer, found "1"',
    ]


def test_at_most_twenty_errors_are_told() -> None:
    assert len(compile_schema({"items": {"type": "null"}}).errors(list(range(1000)))) == 20
    both = {"allOf": [{"items": {"type": "null"}}, {"items": {"type": "string"}}]}
    assert len(compile_schema(both).errors(list(range(12)))) == 20


def test_long_values_are_cut_in_what_is_told() -> None:
    (told,) = compile_schema({"type": "null"}).errors("x" * 1000)
    assert len(told) < 120


KEYWORDS = (
    "type enum const properties required items prefixItems anyOf allOf oneOf not if then else $ref $defs $id $anchor "
    "$dynamicRef $dynamicAnchor pattern patternProperties additionalProperties propertyNames contains minContains "
    "maxContains uniqueItems minLength maximum multipleOf dependentRequired dependentSchemas dependencies $schema "
    "unevaluatedItems unevaluatedProperties additionalItems definitions"
)
PLAIN = st.sampled_from([None, True, False, 0, 1, -1, 2.5, "", "a", "#", "#/$defs/a", "string", "object", "^a", "("])
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
        st.dictionaries(st.sampled_from(KEYWORDS.split(" ")), inner, max_size=4),
    ),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(schema=st.dictionaries(st.sampled_from(KEYWORDS.split(" ")), ANYTHING, max_size=4), value=ANYTHING)
def test_any_json_is_a_schema_or_is_refused_and_any_json_fits_it_or_not(schema: Any, value: Any) -> None:
    try:
        validator = compile_schema(schema)
    except SchemaError as exc:
        problems = [str(exc)]
    else:
        problems = validator.errors(value)
    assert all(problems)
