from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.domain import Message, OutputFormat, Text, ToolResult, ToolUse
from agentd.engine.structured import instructions, parse, retry_message
from agentd.providers.builtin.form import Form, fill
from agentd.providers.builtin.provider import next_move
from agentd.providers.protocol import ModelRequest, ToolSchema

PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "email": {"type": ["string", "null"]},
        "isActive": {"type": "boolean"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "role": {"enum": ["user", "admin"], "type": "string"},
    },
    "required": ["name", "age", "email", "isActive", "tags", "role"],
}
NOTHING = {"name": "", "age": 0, "email": None, "isActive": False, "tags": [], "role": "user"}
BASH = ToolSchema("Bash", "", {})


def user(text: str) -> Message:
    return Message("user", (Text(text),))


def answer(prompt: str, schema: Any) -> Any:
    """What is said to a request with a schema of its own; it has to fit."""
    output = OutputFormat("json_schema", schema)
    by_system = next_move(ModelRequest("builtin", instructions(output), (user(prompt),), ()))
    by_request = next_move(ModelRequest("builtin", "", (user(prompt),), (), output_schema=schema))
    assert by_system == by_request
    parsed = parse(by_system.text, output)
    assert not parsed.errors
    return parsed.value


def plain(prompt: str) -> Any:
    move = next_move(ModelRequest("builtin", f"Be brief.\n\n{instructions(OutputFormat('json'))}", (user(prompt),), ()))
    return json.loads(move.text)


def test_what_nobody_said_is_not_made_up() -> None:
    assert answer("Create a user.", PERSON) == NOTHING


@pytest.mark.parametrize(
    "prompt",
    [
        "A user with name: Ann Lee, age: 30, email: ann@example.org, is active: yes, tags: a, b and c; role: admin",
        'The name is "Ann Lee", age 30, email "ann@example.org", isActive true, tags: ["a", "b", "c"], role admin.',
        "name = Ann Lee\nage = 30\nemail = ann@example.org\nis_active = true\ntags = a, b, c\nrole = Admin",
        'Answer with {"name": "Ann Lee", "age": 30, "email": "ann@example.org", "isActive": true, '
        '"tags": ["a", "b", "c"], "role": "admin"}.',
    ],
)
def test_what_is_spelled_out_is_in_the_answer(prompt: str) -> None:
    assert answer(prompt, PERSON) == {
        "name": "Ann Lee",
        "age": 30,
        "email": "ann@example.org",
        "isActive": True,
        "tags": ["a", "b", "c"],
        "role": "admin",
    }


@pytest.mark.parametrize(
    "prompt",
    [
        "Return an object with name: string, age: integer, tags: array of strings, email: string or null.",
        "The name is required and the age is an integer. The tags are optional.",
        "What is the name of the user, and of what age?",
        "The filename: x.py has rename: y.",
        "age 30.5 is no whole number, and age thirty is no number.",
    ],
)
def test_words_about_a_field_are_not_its_value(prompt: str) -> None:
    assert answer(prompt, PERSON) == NOTHING


def test_what_was_said_last_counts() -> None:
    said = (user("name: Ann, age 30"), Message("assistant", (Text("{}"),)), user("No, age 31."))
    move = next_move(ModelRequest("builtin", "", said, (), output_schema=PERSON))
    assert json.loads(move.text) == NOTHING | {"name": "Ann", "age": 31}


def test_what_is_optional_is_left_out_where_nothing_is_known() -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}, "zip": {"type": "string"}}}
    assert answer('The city is "Rome".', schema) == {"city": "Rome"}


def test_objects_in_objects_references_and_alternatives_are_filled() -> None:
    schema = {
        "type": "object",
        "required": ["customer", "item", "note"],
        "properties": {
            "customer": {"$ref": "#/$defs/customer"},
            "item": {"allOf": [{"$ref": "#/$defs/item"}, {"required": ["count"]}]},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "$defs": {
            "customer": {
                "type": "object",
                "properties": {"first_name": {"type": "string"}},
                "required": ["first_name"],
            },
            "item": {"type": "object", "properties": {"count": {"type": "number"}, "size": {"type": "number"}}},
        },
    }
    told = answer("The first name is Ann; the count is 2.5", schema)
    assert told == {"customer": {"first_name": "Ann"}, "item": {"count": 2.5}, "note": None}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "string"}, ""),
        ({"type": "string", "minLength": 3}, "---"),
        ({"type": "integer", "minimum": 4, "multipleOf": 3}, 6),
        ({"type": "integer", "exclusiveMinimum": 4}, 5),
        ({"type": "number", "maximum": -2.25}, -2.5),
        ({"type": "number", "exclusiveMaximum": 0}, -0.5),
        ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [False, False]),
        ({"type": "array", "prefixItems": [{"const": 1}, {"type": "string"}], "minItems": 2}, [1, ""]),
        ({"enum": ["a", "b"]}, "a"),
        ({"enum": ["a", None]}, None),
        ({"const": {"a": 1}}, {"a": 1}),
        ({"type": "null"}, None),
        ({"type": ["integer", "null"]}, None),
        ({"oneOf": [{"type": "boolean"}, {"type": "integer"}]}, False),
        ({"type": "object", "required": ["unheard_of"]}, {"unheard_of": ""}),
        ({"type": "object", "additionalProperties": False}, {}),
    ],
)
def test_what_stands_for_nothing_fits_the_schema(schema: Any, value: Any) -> None:
    told = answer("Hello.", schema)
    assert (told, type(told)) == (value, type(value))


def test_a_schema_within_itself_ends() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#"}, "n": {"type": "integer"}}, "required": ["n"]}
    assert answer("n is 3", tree) == {"n": 3}


def test_a_schema_that_asks_for_itself_five_times_is_given_up() -> None:
    endless = {"type": "object", "properties": {name: {"$ref": "#"} for name in "abcde"}, "required": [*"abcde"]}
    move = next_move(ModelRequest("builtin", "", (user("Hello."),), (), output_schema=endless))
    assert isinstance(json.loads(move.text), dict)


@pytest.mark.parametrize(
    "piece", [" ", "\n", "name ", "name: ", "tags: [", "tags: a, ", "{", '"', "name: 'a", "age -", ", a:"]
)
def test_a_prompt_that_repeats_itself_takes_no_longer_than_its_length(piece: str) -> None:
    long = f"name: a{piece * (60_000 // len(piece))}b"
    for form in (PERSON, None):
        assert fill(Form(form), [long]).startswith("{")


def test_a_form_that_nothing_can_fill_is_answered_all_the_same() -> None:
    move = next_move(
        ModelRequest("builtin", "", (user("Hello."),), (), output_schema={"type": "string", "pattern": "x"})
    )
    assert json.loads(move.text) == ""


def test_plain_json_has_the_fields_that_the_prompt_names() -> None:
    assert plain("Give me an object with the fields name, age and city. age: 30") == {"name": "", "age": 30, "city": ""}
    assert plain("Answer as {title, done}. The title is 'Tea', done: true") == {"title": "Tea", "done": True}
    assert plain("name: Ann, age: 30") == {"name": "Ann", "age": 30}


def test_plain_json_that_the_prompt_spells_out_is_repeated() -> None:
    assert plain('Reply with {"ok": true}') == {"ok": True}


def test_what_is_spelled_out_is_done_before_the_answer_is_given() -> None:
    schema = {"type": "object", "properties": {"result": {"type": "string"}}, "required": ["result"]}
    task = user("Run the command `echo hi`.")
    request = ModelRequest("builtin", "", (task,), (BASH,), output_schema=schema)
    (call,) = next_move(request).calls
    assert call.name == "Bash"
    made = Message("assistant", (ToolUse("c1", call.name, call.input),))
    done = Message("user", (ToolResult("c1", (Text("hi"),)),))
    move = next_move(ModelRequest("builtin", "", (task, made, done), (BASH,), output_schema=schema))
    assert "hi" in json.loads(move.text)["result"]


def test_a_question_is_not_looked_into_where_the_form_has_no_place_for_the_answer() -> None:
    offered = (ToolSchema("Grep", "", {}), ToolSchema("Read", "", {}), ToolSchema("Glob", "", {}))
    request = ModelRequest("builtin", "", (user("What is the age of Ann?"),), offered, output_schema=PERSON)
    assert not next_move(request).calls


def test_told_to_try_again_it_answers_the_same_task() -> None:
    first = (user("age 30"),)
    again = (
        *first,
        Message("assistant", (Text("[]"),)),
        user(retry_message(['$: missing "name"', "$.age: expected 7"])),
    )
    answers = {next_move(ModelRequest("builtin", "", said, (), output_schema=PERSON)).text for said in (first, again)}
    assert len(answers) == 1


def test_without_a_form_nothing_changes() -> None:
    assert not next_move(ModelRequest("builtin", "Be brief.", (user("Hello."),), ())).text.startswith("{")
