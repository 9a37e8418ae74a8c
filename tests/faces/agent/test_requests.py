"""What is said of a request that is not right: the tables of the agent API contract, 1.3 and 4, row by row."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentd.faces.agent import requests
from agentd.faces.agent.fields import MOST_ELEMENTS, MOST_PROBLEMS, Unprocessable
from agentd.faces.agent.models import ModelNames
from agentd.faces.agent.tables import IMAGE_BYTES, MODES, TOOLS
from agentd.faces.agent.terms import Terms
from agentd.wire.urlpolicy import UrlPolicy

TERMS = Terms(Path("/tmp"), ModelNames(("fast",), ("ollama",)))
DICT = "Input should be a valid dictionary or object to extract fields from"
WHOLE = "Input should be a valid integer, unable to parse string as an integer"
SHELL = "Shell metacharacters not allowed in command. Use 'args' for command arguments."
INTERNAL = "URLs targeting internal resources are not allowed"
VALID_TOOLS = "Valid tools include: Read, Write, Edit, MultiEdit, Bash..., or MCP tools with mcp__* prefix."
PNG = {"media_type": "image/png", "data": b64encode(b"\x89PNG").decode()}


def problems(read: Callable[[], Any]) -> list[dict[str, Any]]:
    with pytest.raises(Unprocessable) as refused:
        read()
    return refused.value.items


def wrong(body: bytes) -> list[dict[str, Any]]:
    return problems(lambda: requests.query(body, TERMS))


def wrong_field(terms: Terms = TERMS, /, **fields: Any) -> tuple[str, list[str | int], str]:
    """Of the only problem: its type, where it is in the body, and its text."""
    [item] = problems(lambda: requests.query(json.dumps({"prompt": "x", **fields}).encode(), terms))
    assert item["loc"][0] == "body"
    assert item.get("ctx", {}).keys() <= {"error"} or item["type"] != "value_error"
    return item["type"], item["loc"][1:], item["msg"]


def given(**fields: Any) -> requests.Query:
    return requests.query(json.dumps({"prompt": "x", **fields}).encode(), TERMS)


# --- 1.3 ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"", b"  \n"])
def test_an_empty_body_is_missing(body: bytes) -> None:
    assert wrong(body) == [{"type": "missing", "loc": ["body"], "msg": "Field required"}]


@pytest.mark.parametrize(
    ("body", "offset"),
    [
        (b'{"prompt": }', 11),
        (b' {"prompt": "x"} []', 17),
        (b"{", 1),
        (b'{"prompt": "\xff"}', 12),
        (b'{"max_budget_usd": NaN}', 0),
        (b'{"max_turns": ' + b"9" * 5000 + b"}", 0),
        (b"[" * 100_000, 0),
    ],
)
def test_malformed_json_is_told_by_its_offset(body: bytes, offset: int) -> None:
    [item] = wrong(body)
    assert (item["type"], item["loc"], item["msg"]) == ("json_invalid", ["body", offset], "JSON decode error")


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"1"])
def test_a_body_is_an_object(body: bytes) -> None:
    assert wrong(body) == [{"type": "model_attributes_type", "loc": ["body"], "msg": DICT}]


@pytest.mark.parametrize(
    ("field", "value", "kind", "msg"),
    [
        ("prompt", 1, "string_type", "Input should be a valid string"),
        ("prompt", None, "string_type", "Input should be a valid string"),
        ("prompt", "", "string_too_short", "String should have at least 1 character"),
        ("prompt", "x" * 100_001, "string_too_long", "String should have at most 100000 characters"),
        ("max_turns", "many", "int_parsing", WHOLE),
        ("max_turns", "1.5", "int_parsing", WHOLE),
        ("max_turns", 1.5, "int_from_float", "Input should be a valid integer, got a number with a fractional part"),
        ("max_turns", True, "int_type", "Input should be a valid integer"),
        ("max_turns", [1], "int_type", "Input should be a valid integer"),
        ("max_turns", 0, "greater_than_equal", "Input should be greater than or equal to 1"),
        ("max_turns", 1001, "less_than_equal", "Input should be less than or equal to 1000"),
        ("max_thinking_tokens", -1, "greater_than_equal", "Input should be greater than or equal to 0"),
        ("max_budget_usd", 0, "greater_than", "Input should be greater than 0"),
        (
            "max_budget_usd",
            "much",
            "float_parsing",
            "Input should be a valid number, unable to parse string as a number",
        ),
        ("max_budget_usd", False, "float_type", "Input should be a valid number"),
        ("max_budget_usd", "1e999", "finite_number", "Input should be a finite number"),
        ("max_budget_usd", 10**400, "finite_number", "Input should be a finite number"),
        ("allowed_tools", "Read", "list_type", "Input should be a valid list"),
        ("allowed_tools", None, "list_type", "Input should be a valid list"),
        ("env", ["A=1"], "dict_type", "Input should be a valid dictionary"),
        ("sandbox", "on", "model_attributes_type", DICT),
        ("detach", [], "bool_type", "Input should be a valid boolean"),
        ("detach", "maybe", "bool_parsing", "Input should be a valid boolean, unable to interpret input"),
        ("detach", 2, "bool_parsing", "Input should be a valid boolean, unable to interpret input"),
        (
            "permission_mode",
            "yolo",
            "literal_error",
            "Input should be 'default', 'acceptEdits', 'plan' or 'bypassPermissions'",
        ),
        (
            "permission_mode",
            None,
            "literal_error",
            "Input should be 'default', 'acceptEdits', 'plan' or 'bypassPermissions'",
        ),
    ],
)
def test_a_value_that_does_not_fit_is_told(field: str, value: Any, kind: str, msg: str) -> None:
    assert wrong_field(**{field: value}) == (kind, [field], msg)


def test_constraints_are_told_as_strings() -> None:
    body = b'{"prompt": "", "permission_mode": "yolo", "max_turns": "0", "max_budget_usd": -1}'
    assert [item["ctx"] for item in wrong(body)] == [
        {"min_length": "1"},
        {"expected": "'default', 'acceptEdits', 'plan' or 'bypassPermissions'"},
        {"ge": "1"},
        {"gt": "0"},
    ]


def test_all_that_is_wrong_is_told_at_once_in_the_order_of_the_contract() -> None:
    body = {"user": 1, "hooks": {"Stop": {"timeout": 301}}, "cwd": "/no/such", "env": {"A": 1}, "images": [{}, PNG, {}]}
    assert [item["loc"][1:] for item in wrong(json.dumps(body).encode())] == [
        ["prompt"],
        ["images", 0, "media_type"],
        ["images", 0, "data"],
        ["images", 2, "media_type"],
        ["images", 2, "data"],
        ["cwd"],
        ["env", "A"],
        ["hooks", "Stop", "url"],
        ["hooks", "Stop", "timeout"],
        ["user"],
    ]


def test_a_whole_is_looked_at_only_when_its_parts_are_right() -> None:
    body = {"prompt": 1, "allowed_tools": ["Read"], "disallowed_tools": ["Read"], "mcp_servers": {"a": {"type": "ftp"}}}
    assert [item["loc"] for item in wrong(json.dumps(body).encode())] == [
        ["body", "prompt"],
        ["body", "mcp_servers", "a", "type"],
    ]


def test_what_can_be_converted_without_loss_is() -> None:
    asked = given(max_turns=" +3 ", max_thinking_tokens=7.0, max_budget_usd="1e-1", detach="Yes", fork_session=0)
    assert asked["max_turns"] == 3
    assert asked["max_thinking_tokens"] == 7
    assert asked["max_budget_usd"] == 0.1
    assert asked["detach"] is True
    assert asked["fork_session"] is False


def test_unknown_fields_are_left_out_at_every_level() -> None:
    hook = {"url": "http://localhost/", "method": "PUT"}
    asked = given(colour="red", hooks={"Stop": hook, "BeforeTea": 1}, sandbox={"walls": 3})
    assert asked.given.keys() == {"prompt", "hooks", "sandbox"}
    assert list(asked["hooks"]) == ["Stop"]
    assert "method" not in asked["hooks"]["Stop"]
    assert "walls" not in asked["sandbox"]


def test_an_answer_does_not_repeat_what_was_sent() -> None:
    secret = "hunter2"
    body = {
        "prompt": [secret],
        "images": [{"media_type": secret, "data": secret}, {**PNG, "data": secret + "!"}],
        "permission_mode": secret,
        "max_turns": secret,
        "cwd": f"/{secret}",
        "env": {"A": [secret], "B": f"{secret}\0"},
        "settings": f"../{secret}",
        "mcp_servers": {"a": {"command": f"{secret};"}, "b": {"type": "http", "url": f"http://u:{secret}@[::"}},
        "hooks": {"Stop": {"url": f"http://169.254.169.254/{secret}", "headers": {"K": [secret]}}},
        "output_format": {"schema": {"type": [secret, 1]}},
    }
    items = wrong(json.dumps(body).encode())
    assert len(items) > 10
    assert secret not in json.dumps(items)


def test_no_more_problems_are_told_than_a_person_would_read() -> None:
    assert len(wrong(json.dumps({"add_dirs": [1] * 100_000}).encode())) == MOST_PROBLEMS


def test_a_request_has_no_more_items_than_can_be_read_at_once() -> None:
    half = MOST_ELEMENTS // 2
    assert len(given(add_dirs=["a"] * half, env={f"A{n}": "" for n in range(half)})["env"]) == half
    msg = f"Request should have at most {MOST_ELEMENTS} items in all its lists and dictionaries"
    assert wrong_field(add_dirs=["a"] * half, extra_args=dict.fromkeys(map(str, range(half + 1)))) == (
        "too_long",
        ["extra_args"],
        msg,
    )


# --- 4 ------------------------------------------------------------------------------------------------------------


def test_what_is_absent_has_its_default() -> None:
    asked = given()
    assert asked.given == {"prompt": "x"}
    assert (asked["permission_mode"], asked["model"], asked["allowed_tools"], asked["env"]) == ("default", None, [], {})
    assert asked["include_partial_messages"] is False


def test_every_field_may_be_given() -> None:
    fields: dict[str, Any] = {
        "images": [{"type": "url", "media_type": "image/webp", "data": "https://example.org/a.webp"}],
        "session_id": "any",
        "fork_session": True,
        "continue_conversation": True,
        "allowed_tools": [*TOOLS, "mcp__db", "mcp__db__*"],
        "disallowed_tools": ["mcp__db__drop"],
        "permission_mode": "plan",
        "permission_prompt_tool_name": "mcp__ask__me",
        "model": "claude-opus-4-1",
        "fallback_model": "fast",
        "max_turns": 1000,
        "max_budget_usd": 0.01,
        "max_thinking_tokens": 0,
        "max_buffer_size": -5,
        "cwd": "/tmp",
        "add_dirs": ["/a", "b"],
        "env": {"A": "1"},
        "system_prompt": "",
        "system_prompt_append": "more",
        "output_style": "terse",
        "settings": "a/settings.json",
        "setting_sources": ["project", "user"],
        "agents": {},
        "mcp_servers": {},
        "plugins": [],
        "hooks": {},
        "enable_file_checkpointing": True,
        "output_format": {"type": "json", "schema": {}},
        "include_partial_messages": True,
        "sandbox": {"enabled": False, "allowed_paths": [], "network_access": True},
        "user": "me",
        "extra_args": {"verbose": None, "level": "3"},
        "detach": True,
    }
    assert given(**fields).given == {"prompt": "x", **fields}


@pytest.mark.parametrize("name", ["Nope", "read", "Bash(git:*)", ""])
def test_a_tool_has_to_be_one(name: str) -> None:
    msg = f"Invalid tool names: ['{name}']. {VALID_TOOLS}"
    for field in ("allowed_tools", "disallowed_tools"):
        assert wrong_field(**{field: ["Read", name]}) == ("value_error", [field], msg)


def test_tools_in_both_lists_are_told_in_order() -> None:
    tools = ["Write", "Read", "mcp__a"]
    msg = "Tool conflict: {'Read', 'Write', 'mcp__a'} appear in both allowed_tools and disallowed_tools"
    assert wrong_field(allowed_tools=tools, disallowed_tools=tools) == ("value_error", [], msg)


def test_a_model_has_to_be_one() -> None:
    for field in ("model", "fallback_model"):
        for name in ("gpt-4", "", "unknown/model", "ollama/"):
            kind, loc, msg = wrong_field(**{field: name})
            assert (kind, loc) == ("value_error", [field])
            assert msg.startswith(f"Invalid model: '{name}'. Valid options: sonnet, opus, haiku")
    assert given(model="fast", fallback_model="ollama/qwen3")["fallback_model"] == "ollama/qwen3"


def test_a_fallback_is_another_model() -> None:
    msg = "fallback_model must not be the same as model"
    assert wrong_field(model="opus", fallback_model="opus") == ("value_error", ["fallback_model"], msg)


@pytest.mark.parametrize("field", ["cwd", "settings", "add_dirs"])
@pytest.mark.parametrize("path", ["../a", "a/../b", "/tmp/..", "a\\..\\b"])
def test_no_path_leads_up(field: str, path: str) -> None:
    value = [path] if field == "add_dirs" else path
    assert wrong_field(**{field: value}) == ("value_error", [field], f"Path traversal not allowed in {field}")


@pytest.mark.parametrize("field", ["cwd", "settings", "add_dirs"])
def test_no_path_has_a_null_byte(field: str) -> None:
    value = ["a\0"] if field == "add_dirs" else "a\0"
    assert wrong_field(**{field: value}) == ("value_error", [field], f"Null bytes not allowed in {field}")


def test_dots_in_a_name_are_no_way_up(tmp_path: Path) -> None:
    (tmp_path / "a..b").mkdir()
    assert given(cwd=str(tmp_path / "a..b"), add_dirs=["...", "..x"])["add_dirs"] == ["...", "..x"]


def test_a_cwd_is_a_directory_that_is_there(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in ("file", "none", "x" * 5000):
        expected = ("value_error", ["cwd"], "cwd is not an existing directory")
        assert wrong_field(cwd=str(tmp_path / path)) == expected
    (tmp_path / "below").mkdir()
    terms = Terms(tmp_path)
    assert requests.query(b'{"prompt": "x", "cwd": "below"}', terms)["cwd"] == "below"


@pytest.mark.parametrize("name", ["PATH", "path", "LD_PRELOAD", "Ld_Library_Path"])
def test_a_variable_that_would_change_which_program_runs_is_refused(name: str) -> None:
    msg = f"Setting {name} environment variable is not allowed"
    assert wrong_field(env={"A": "1", name: "x"}) == ("value_error", ["env"], msg)


@pytest.mark.parametrize("env", [{"A\0": "1"}, {"A": "1\0"}])
def test_no_variable_has_a_null_byte(env: dict[str, str]) -> None:
    assert wrong_field(env=env) == ("value_error", ["env"], "Null bytes not allowed in env")


@pytest.mark.parametrize("name", ["", "A=B"])
def test_a_variable_that_no_program_can_be_given_is_refused(name: str) -> None:
    assert wrong_field(env={name: "1"})[:2] == ("value_error", ["env"])


# --- 4.1 to 4.8 ---------------------------------------------------------------------------------------------------


def test_an_image_comes_out_as_bytes() -> None:
    assert given(images=[PNG, PNG]).blobs == [b"\x89PNG", b"\x89PNG"]
    wrapped = {**PNG, "data": "iVBO\nRw==\n"}
    assert given(images=[wrapped]).blobs == [b"\x89PNG"]


@pytest.mark.parametrize(
    ("data", "msg"),
    [
        ("!", "Image data is not valid base64"),
        ("iVBOR", "Image data is not valid base64"),
        ("é", "Image data is not valid base64"),
        ("", "Image data is empty"),
        (b64encode(bytes(IMAGE_BYTES + 1)).decode(), "Image data is larger than 10 MiB"),
        ("A" * (IMAGE_BYTES * 2), "Image data is larger than 10 MiB"),
    ],
)
def test_an_image_that_is_none_is_told(data: str, msg: str) -> None:
    assert wrong_field(images=[{**PNG, "data": data}]) == ("value_error", ["images", 0, "data"], msg)


def test_the_largest_image_is_taken() -> None:
    assert len(given(images=[{**PNG, "data": b64encode(bytes(IMAGE_BYTES)).decode()}]).blobs[0]) == IMAGE_BYTES


def test_an_image_is_of_a_known_type() -> None:
    msg = "Input should be 'image/jpeg', 'image/png', 'image/gif' or 'image/webp'"
    assert wrong_field(images=[{**PNG, "media_type": "image/bmp"}]) == (
        "literal_error",
        ["images", 0, "media_type"],
        msg,
    )


@pytest.mark.parametrize(
    ("place", "loc"),
    [
        (lambda url: {"images": [{**PNG, "type": "url", "data": url}]}, ["images", 0, "data"]),
        (lambda url: {"mcp_servers": {"a": {"type": "sse", "url": url}}}, ["mcp_servers", "a", "url"]),
        (lambda url: {"hooks": {"Stop": {"url": url}}}, ["hooks", "Stop", "url"]),
    ],
)
def test_a_url_is_checked_wherever_one_is(place: Callable[[str], dict[str, Any]], loc: list[str | int]) -> None:
    relative = "Input should be a valid URL, relative URL without a base"
    assert wrong_field(**place("hooks/stop")) == ("url_parsing", loc, relative)
    assert wrong_field(**place("http://"))[:2] == ("url_parsing", loc)
    for other in ("ftp://example.org/", "file:///etc/passwd", "http+unix://%2Fa/"):
        expected = ("url_scheme", loc, "URL scheme should be 'http' or 'https'")
        assert wrong_field(**place(other)) == expected
    assert wrong_field(**place("http://169.254.169.254/latest")) == ("value_error", loc, INTERNAL)
    assert given(**place("HTTP://localhost:8000/hook"))
    strict = Terms(Path("/tmp"), url_policy=UrlPolicy.STRICT)
    assert wrong_field(strict, **place("http://127.0.0.1/")) == ("value_error", loc, INTERNAL)


@pytest.mark.parametrize(
    ("agent", "kind", "field"),
    [
        ({"prompt": "p"}, "missing", "description"),
        ({"description": "d"}, "missing", "prompt"),
        ({"description": "", "prompt": "p"}, "string_too_short", "description"),
        ({"description": "d" * 1001, "prompt": "p"}, "string_too_long", "description"),
        ({"description": "d", "prompt": "p" * 50_001}, "string_too_long", "prompt"),
        ({"description": "d", "prompt": "p", "model": "gpt"}, "literal_error", "model"),
        ({"description": "d", "prompt": "p", "tools": "Read"}, "list_type", "tools"),
    ],
)
def test_a_subagent_says_what_it_has_to(agent: dict[str, Any], kind: str, field: str) -> None:
    assert wrong_field(agents={"r": agent})[:2] == (kind, ["agents", "r", field])


def test_a_subagent_has_none_of_its_own() -> None:
    agent = {"description": "d", "prompt": "p", "tools": ["Read", "Task"]}
    msg = "Subagents cannot have Task tool (no nested subagents)"
    assert wrong_field(agents={"r": agent}) == ("value_error", ["agents", "r", "tools"], msg)
    whole: dict[str, Any] = {"description": "d", "prompt": "p", "tools": None, "model": "inherit"}
    assert given(agents={"r": whole})["agents"]["r"] == whole


@pytest.mark.parametrize(
    ("server", "where", "msg"),
    [
        ({}, [], "stdio transport requires 'command'"),
        ({"type": "stdio", "url": "http://localhost/"}, [], "stdio transport requires 'command'"),
        ({"type": "sse", "command": "npx"}, [], "sse transport requires 'url'"),
        ({"type": "http", "url": None}, [], "http transport requires 'url'"),
        ({"command": "a\0"}, ["command"], "Null bytes not allowed in command"),
        ({"command": "a", "args": ["\0"]}, ["args"], "Null bytes not allowed in args"),
        *(({"command": f"npx{char}x"}, ["command"], SHELL) for char in ";&|$(){}[]<>!\\`\r\n"),
    ],
)
def test_an_mcp_server_can_be_reached(server: dict[str, Any], where: list[str], msg: str) -> None:
    assert wrong_field(mcp_servers={"a": server}) == ("value_error", ["mcp_servers", "a", *where], msg)


def test_no_servers_is_not_the_same_as_nothing_said() -> None:
    assert given(mcp_servers={}).given["mcp_servers"] == {}
    assert "mcp_servers" not in given(mcp_servers=None).given


def test_hooks_have_other_names_too_and_null_is_none() -> None:
    hook = {"url": "http://localhost:8000/x"}
    asked = given(hooks={"pre_tool_use": hook, "stop": None, "PostToolUse": {**hook, "timeout": "9"}})
    whole: dict[str, Any] = {**hook, "headers": {}, "matcher": None}
    assert asked["hooks"] == {"PreToolUse": {**whole, "timeout": 30}, "PostToolUse": {**whole, "timeout": 9}}


@pytest.mark.parametrize("timeout", [0, 301])
def test_a_hook_has_at_most_five_minutes(timeout: int) -> None:
    kind, loc, _ = wrong_field(hooks={"Stop": {"url": "http://localhost/", "timeout": timeout}})
    assert (kind, loc) == ("greater_than_equal" if timeout < 1 else "less_than_equal", ["hooks", "Stop", "timeout"])


def test_a_matcher_that_is_no_pattern_is_taken() -> None:
    assert given(hooks={"Stop": {"url": "http://localhost/", "matcher": "("}})["hooks"]["Stop"]["matcher"] == "("


def test_a_plugin_has_a_name() -> None:
    assert wrong_field(plugins=[{"name": ""}])[:2] == ("string_too_short", ["plugins", 0, "name"])
    assert wrong_field(plugins=[{}])[:2] == ("missing", ["plugins", 0, "name"])
    assert given(plugins=[{"name": "a"}])["plugins"] == [{"name": "a", "path": None, "enabled": True}]


@pytest.mark.parametrize(
    ("output", "where", "msg"),
    [
        ({}, [], "json_schema type requires 'schema' field"),
        ({"type": "json_schema", "schema": None}, [], "json_schema type requires 'schema' field"),
        ({"schema": {}}, [], "JSON schema must have 'type' property"),
    ],
)
def test_a_schema_is_there_and_says_a_type(output: dict[str, Any], where: list[str], msg: str) -> None:
    assert wrong_field(output_format=output) == ("value_error", ["output_format", *where], msg)


def test_a_schema_that_cannot_be_understood_is_refused() -> None:
    output = {"schema": {"type": "object", "$ref": "#/nowhere"}}
    assert wrong_field(output_format=output)[:2] == ("value_error", ["output_format", "schema"])


def test_paths_of_a_sandbox_are_paths() -> None:
    told = wrong_field(sandbox={"allowed_paths": ["/a", "/b\0"]})
    assert told == ("value_error", ["sandbox", "allowed_paths"], "Null bytes not allowed in allowed_paths")


@pytest.mark.parametrize("hosts", [[], ["pypi.org"], ["*.example.org:443", "localhost:8000", "[::1]:80"]])
def test_the_network_of_a_sandbox_may_be_some_hosts(hosts: list[str]) -> None:
    assert given(sandbox={"network_access": hosts})["sandbox"]["network_access"] == hosts


@pytest.mark.parametrize("host", ["", "*", "a b", "http://a", "a/b", "*.*.org", "a:port", "a,b"])
def test_what_is_no_host_is_told(host: str) -> None:
    told = wrong_field(sandbox={"network_access": ["pypi.org", host]})
    msg = "A host is a name or *.name, with or without :port"
    assert told == ("value_error", ["sandbox", "network_access", 1], msg)


def test_a_sandbox_has_defaults() -> None:
    assert given(sandbox={})["sandbox"] == {"enabled": True, "allowed_paths": [], "network_access": False}


# --- The other requests -------------------------------------------------------------------------------------------


def test_where_a_session_goes_on_a_null_is_as_good_as_nothing() -> None:
    body: dict[str, Any] = dict.fromkeys(("prompt", "allowed_tools", "permission_mode", "env", "detach", "hooks"))
    asked = requests.follow_up(json.dumps(body | {"prompt": "x"}).encode(), TERMS)
    assert asked.given == {"prompt": "x"}
    [item] = problems(lambda: requests.follow_up(json.dumps(body).encode(), TERMS))
    assert (item["type"], item["loc"]) == ("string_type", ["body", "prompt"])


def test_on_a_socket_a_null_is_as_good_as_nothing() -> None:
    assert requests.prompt({"type": "prompt", "prompt": "x", "permission_mode": None}, TERMS).given == {"prompt": "x"}
    with pytest.raises(Unprocessable, match=r"^images\.0\.data: Field required; max_turns: Input should be .* 1$"):
        requests.prompt({"prompt": "x", "images": [{"media_type": "image/png"}], "max_turns": 0}, TERMS)


@pytest.mark.parametrize("mode", MODES)
def test_a_permission_mode_can_be_changed_to(mode: str) -> None:
    assert requests.control(json.dumps({"type": "permission_mode_change", "permission_mode": mode}).encode()) == mode


@pytest.mark.parametrize(
    ("body", "kind", "loc", "msg"),
    [
        ({}, "missing", ["body", "type"], "Field required"),
        ({"type": "stop"}, "literal_error", ["body", "type"], "Input should be 'permission_mode_change'"),
        (
            {"type": "permission_mode_change"},
            "value_error",
            ["body"],
            "permission_mode is required for permission_mode_change control event",
        ),
        (
            {"type": "permission_mode_change", "permission_mode": "x"},
            "literal_error",
            ["body", "permission_mode"],
            "Input should be 'default', 'acceptEdits', 'plan' or 'bypassPermissions'",
        ),
    ],
)
def test_a_control_event_that_is_none_is_told(body: dict[str, Any], kind: str, loc: list[str], msg: str) -> None:
    [item] = problems(lambda: requests.control(json.dumps(body).encode()))
    assert (item["type"], item["loc"], item["msg"]) == (kind, loc, msg)


@pytest.mark.parametrize("read", [requests.answer, requests.rewind, requests.rename, requests.settle])
def test_every_body_says_what_it_misses(read: Callable[[bytes], Any]) -> None:
    [item] = problems(lambda: read(b"{}"))
    assert item["type"] == "missing"
    assert problems(lambda: read(b""))[0]["loc"] == ["body"]
    assert problems(lambda: read(b"{"))[0]["type"] == "json_invalid"


def test_bodies_come_out_typed() -> None:
    assert requests.answer(b'{"answer": "yes"}') == ("yes", None)
    assert requests.rewind(b'{"checkpoint_id": "c", "dry_run": true}') == ("c", True)
    assert requests.rename(b'{"title": "t"}') == "t"
    settled = requests.settle(b'{"decision": "allow", "updated_input": {"a": 1}}')
    assert settled == ("allow", None, "", {"a": 1})


def test_a_page_is_the_first_fifty_unless_it_says_otherwise() -> None:
    assert requests.page("") == (1, 50, None, None, [], None, None)
    asked = requests.page("page=2&page_size=5&tags=a&tags=b%20c&search=x+y&status=active&unknown=1")
    assert asked == (2, 5, None, None, ["a", "b c"], "x y", "active")


@pytest.mark.parametrize(
    ("raw", "kind", "name"),
    [
        ("page_size=0", "greater_than_equal", "page_size"),
        ("page_size=101", "less_than_equal", "page_size"),
        ("page_size=many", "int_parsing", "page_size"),
        ("page=", "int_parsing", "page"),
        ("page=0", "greater_than_equal", "page"),
        ("status=gone", "literal_error", "status"),
    ],
)
def test_a_page_that_is_none_is_told(raw: str, kind: str, name: str) -> None:
    [item] = problems(lambda: requests.page(raw))
    assert (item["type"], item["loc"]) == (kind, ["query", name])
