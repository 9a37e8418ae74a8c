from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agentd.providers.leakedcalls import (
    ENCODED_TWICE,
    Leaked,
    NoCall,
    may_be_json_call,
    read_broken,
    read_function,
    read_json,
    read_mistral,
)
from agentd.providers.lenientjson import TRAILING_COMMA, UNCLOSED, Unterminated
from agentd.providers.protocol import ToolSchema

READ = {"type": "object", "properties": {"file_path": {"type": "string"}, "limit": {"type": "integer"}}}
TOOLS = {"Read": ToolSchema("Read", "", READ), "LS": ToolSchema("LS", "", {"type": "object"})}
ARGUMENTS = '{"file_path": "a"}'
CALL = Leaked("Read", ARGUMENTS)
LS = Leaked("LS", "{}")


def unmarked(text: str) -> list[Leaked]:
    return read_json(text, TOOLS, marked=False, all_there=False)


def marked(text: str, all_there: bool = False) -> list[Leaked]:
    return read_json(text, TOOLS, marked=True, all_there=all_there)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('{"name": "Read", "arguments": {"file_path": "a"}}', [CALL]),
        ('{"name": "Read", "parameters": {"file_path": "a"}}', [CALL]),
        ('{"name": "Read", "input": {"file_path": "a"}}', [CALL]),
        ('{"arguments": {"file_path": "a"}, "name": "Read", "id": "c1", "type": "function"}', [CALL]),
        ('{"type": "function", "function": {"name": "Read", "parameters": {"file_path": "a"}}}', [CALL]),
        ('[{"name": "Read", "arguments": {"file_path": "a"}}, {"name": "LS", "arguments": {}}]', [CALL, LS]),
        ('{"name": "LS", "arguments": {}}; {"name": "Read", "arguments": {"file_path": "a"}}\n', [LS, CALL]),
        ('{"name": "LS", "arguments": null}', [LS]),
        ('{"name": "LS", "arguments": ""}', [LS]),
        ('{"name": "Read", "arguments": "{\\"file_path\\": \\"a\\"}"}', [Leaked("Read", ARGUMENTS, (ENCODED_TWICE,))]),
        (
            '{"name": "Read", "arguments": "\\"{\\\\\\"file_path\\\\\\": \\\\\\"a\\\\\\",}\\""}',
            [Leaked("Read", ARGUMENTS, (ENCODED_TWICE, TRAILING_COMMA))],
        ),
        ('{"name": "Read", "arguments": {"file_path": "a",},}', [Leaked("Read", ARGUMENTS, (TRAILING_COMMA,))]),
    ],
)
def test_calls_as_json(text: str, calls: list[Leaked]) -> None:
    assert unmarked(text) == marked(text) == calls


@pytest.mark.parametrize(
    "text",
    [
        "", "3", "[]", "{}", "[3]", '"Read"',
        '{"name": "Drop", "arguments": {}}',
        '{"name": ["Read"], "arguments": {}}',
        '{"name": "Read", "arguments": 3}',
        '{"name": "Read", "arguments": [1]}',
        '{"name": "Read", "arguments": "just text"}',
        '{"name": "Read", "arguments": "{\\"a"}',
        '{"name": "Read", "arguments": {}, "input": {}}',
        '[{"name": "Read", "arguments": {}}, {"name": "Drop", "arguments": {}}]',
        '{"name": "Read", "arguments": {}} and so on',
        '{"function": "Read", "arguments": {}}',
    ],
)  # fmt: skip
def test_what_is_no_call_of_a_tool_on_offer(text: str) -> None:
    for read in (unmarked, marked):
        with pytest.raises(NoCall):
            read(text)


@pytest.mark.parametrize("text", ['{"name": "LS"}', '{"name": "LS", "arguments": {}, "version": 3}'])
def test_of_json_that_nothing_marks_as_a_call_more_is_asked(text: str) -> None:
    assert marked(text) == [LS]
    with pytest.raises(NoCall):
        unmarked(text)


def test_brackets_may_be_missing_where_the_text_is_all_there() -> None:
    text = '{"name": "Read", "arguments": {"file_path": "a"}'
    assert marked(text, all_there=True) == [Leaked("Read", ARGUMENTS, (UNCLOSED,))]
    with pytest.raises(NoCall):
        marked(text)


def test_a_string_that_does_not_end_may_go_on() -> None:
    with pytest.raises(Unterminated):
        marked('{"name": "Read", "arguments": {"file_path": "a', all_there=True)


def test_a_function_with_json() -> None:
    for text in ('<function=Read>{"file_path": "a"}</function>', '<function=Read>\n{"file_path": "a"}\n'):
        assert read_function(text, TOOLS, all_there=False) == [CALL]
    assert read_function("<function=LS></function>", TOOLS, all_there=False) == [LS]


def test_a_function_with_parameters() -> None:
    text = """<function=Read>
<parameter=file_path>
12
</parameter>
<parameter=limit>
7
</parameter>
<parameter=new>
<p>x</p>
</parameter>
</function>"""
    found = read_function(text, TOOLS, all_there=False)
    assert found == [Leaked.of("Read", {"file_path": "12", "limit": 7, "new": "<p>x</p>"})]


def test_a_parameter_that_is_not_of_its_type_is_text() -> None:
    text = "<function=Read><parameter=limit>many</parameter></function>"
    assert read_function(text, TOOLS, all_there=False) == [Leaked.of("Read", {"limit": "many"})]


def test_a_parameter_may_hold_end_tags() -> None:
    text = "<function=Read><parameter=file_path>a</parameter> b</function> c</parameter></function>"
    assert read_function(text, TOOLS, all_there=False) == [
        Leaked.of("Read", {"file_path": "a</parameter> b</function> c"})
    ]
    with pytest.raises(Unterminated):
        read_function(text[: text.index(" c")], TOOLS, all_there=False)


@pytest.mark.parametrize(
    "text",
    [
        "<function=Drop>{}</function>",
        "<function=>{}",
        "<function=LS>{} x</function>",
        "<function=LS>[]</function>",
        "x",
    ],
)
def test_what_is_no_function(text: str) -> None:
    with pytest.raises(NoCall):
        read_function(text, TOOLS, all_there=False)


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        (' [{"name": "Read", "arguments": {"file_path": "a"}}, {"name": "LS", "arguments": {}}]', [CALL, LS]),
        ('{"name": "LS", "arguments": {}}</s>', [LS]),
        ('Read{"file_path": "a"}', [CALL]),
        ('Read[ARGS]{"file_path": "a"}[TOOL_CALLS]LS[CALL_ID]x1y2[ARGS]{}</s>', [CALL, LS]),
    ],
)
def test_calls_as_mistral_writes_them(text: str, calls: list[Leaked]) -> None:
    assert read_mistral(text, TOOLS, all_there=False) == calls


@pytest.mark.parametrize("text", ["", "Read", "Drop{}", "Read{} x", "[1]", "LS{}[TOOL_CALLS]"])
def test_what_mistral_would_not_write(text: str) -> None:
    with pytest.raises(NoCall):
        read_mistral(text, TOOLS, all_there=False)


@pytest.mark.parametrize(
    ("text", "name", "arguments"),
    [
        ('{"name": "Read", "arguments": {"file_path": "say "hi""}}', "Read", '{"file_path": "say "hi""}'),
        ('{"name": "Drop", "arguments": {"a": 1}}\n', "Drop", '{"a": 1}'),
        ("{'name': 'Read', 'input': nothing}", "Read", "nothing"),
        ('{"name": "Read"}', "Read", '{"name": "Read"}'),
        ("Read the file", "", "Read the file"),
        ("", "", "null"),
    ],
)
def test_a_broken_call_keeps_its_name_and_its_arguments(text: str, name: str, arguments: str) -> None:
    assert read_broken(text) == [Leaked(name, arguments)]


@pytest.mark.parametrize(
    ("text", "may_be"),
    [
        ("", True), ("{", True), ("[", True), ("[ {", True), ('{"', True), ('{"na', True), ('{"name"', True),
        ('{"name" :', True), ('{"name": "Re', True), ('{"name": "Read"', True), ('{"name": "Drop"', False),
        ("{name:", True), ("{'arguments':", True), ('{"version":', False), ("[1", False), ("[link](x)", False),
        ("{{", False), ("{ } ", False), ('[{"type": "function"', True),
    ],
)  # fmt: skip
def test_an_answer_in_json_is_known_early_not_to_be_a_call(text: str, may_be: bool) -> None:
    assert may_be_json_call(text, TOOLS) is may_be


@pytest.mark.parametrize("read", [read_json, read_function, read_mistral])
def test_long_text_takes_no_long_time(read: Callable[..., Any]) -> None:
    more = {"marked": True} if read is read_json else {}
    for text in (" " * 100_000, "[" * 100_000, '{"a":' * 50_000, "<parameter=a>" * 20_000, "\n</parameter>" * 20_000):
        for start in ("", "<function=LS>", "{"):
            with pytest.raises((NoCall, Unterminated)):
                read(start + text + "x", TOOLS, all_there=True, **more)
            may_be_json_call(start + text, TOOLS)
