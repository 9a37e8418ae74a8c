"""Servers as JSON files and our own TOML file write them down."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.config import Table
from agentd.domain import McpServer
from agentd.errors import InvalidSetting
from agentd.tools.mcp.config import MOST_SERVERS, read_servers, servers_in, servers_of

ENV = {"KEY": "k-1", "EMPTY": ""}


def one(entry: Any, env: dict[str, str] | None = ENV, root: Path | None = None) -> McpServer:
    return read_servers({"one": entry}, env=env, root=root)["one"]


def toml(text: str) -> dict[str, McpServer]:
    return servers_of(Table(tomllib.loads(text), "agentd.toml"), ENV)


def test_a_program_is_a_stdio_server() -> None:
    assert one({"command": "npx", "args": ["-y", "x"], "env": {"PORT": 8, "ON": True}}) == McpServer(
        "stdio", "npx", ("-y", "x"), {"PORT": "8", "ON": "true"}
    )


def test_an_address_alone_is_an_http_server() -> None:
    assert one({"url": "https://a.example/mcp"}) == McpServer("http", url="https://a.example/mcp")


@pytest.mark.parametrize(
    ("word", "transport"), [("http", "http"), ("streamable-http", "http"), ("streamableHttp", "http"), ("sse", "sse")]
)
def test_the_names_that_files_have_for_transports_are_known(word: str, transport: str) -> None:
    assert one({"type": word, "url": "http://localhost:1/"}).transport == transport
    assert one({"transport": word, "url": "http://localhost:1/"}).transport == transport


def test_variables_are_filled_wherever_a_text_is() -> None:
    filled = one({"command": "${KEY}", "args": ["a${KEY}b"], "env": {"X": "${KEY}"}})
    assert (filled.command, filled.args, filled.env) == ("k-1", ("ak-1b",), {"X": "k-1"})
    remote = one({"url": "http://localhost/${KEY}", "headers": {"X-Key": "Bearer ${KEY}"}})
    assert (remote.url, remote.headers) == ("http://localhost/k-1", {"X-Key": "Bearer k-1"})


@pytest.mark.parametrize(
    ("text", "filled"),
    [("${NO:-x y}", "x y"), ("${NO:-}", ""), ("${KEY:-x}", "k-1"), ("${EMPTY:-x}", "x"), ("$KEY", "$KEY")],
)
def test_a_default_stands_in_for_what_is_not_set(text: str, filled: str) -> None:
    assert one({"command": "x", "args": [text]}).args == (filled,)


def test_a_variable_without_value_and_default_makes_a_server_that_is_not_tried() -> None:
    server = one({"url": "http://localhost/", "headers": {"X": "${KEY} ${NO}"}})
    assert server == McpServer("http", problem="Missing required environment variable: NO")


def test_without_an_environment_variables_stay_as_they_are_written() -> None:
    assert one({"command": "x", "args": ["${KEY} ${NO:-1}"]}, env=None).args == ("${KEY} ${NO:-1}",)


def test_the_directory_of_a_plugin_is_filled_in_with_and_without_an_environment() -> None:
    for env in (None, ENV):
        assert one({"command": "${CLAUDE_PLUGIN_ROOT}/run"}, env, Path("/p")).command == "/p/run"


def test_what_a_variable_holds_is_not_filled_again() -> None:
    assert one({"command": "x", "args": ["${A}"]}, {"A": "${B}", "B": "no"}).args == ("${B}",)


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ([], "its entry is no object"),
        ({}, "stdio transport requires 'command'"),
        ({"type": "sse"}, "sse transport requires 'url'"),
        ({"type": "http", "command": "x"}, "http transport requires 'url'"),
        ({"type": "ws", "url": "ws://x/"}, "its type is none of stdio, http and sse"),
        ({"command": 3}, "its command is no text"),
        ({"command": "x", "args": "y"}, "its args are no list of at most 256 texts"),
        ({"command": "x", "args": ["y"] * 257}, "its args are no list of at most 256 texts"),
        ({"command": "x", "args": ["\0"]}, "its command is blank, or there is a NUL in what it is told"),
        ({"command": "x", "env": {"A=B": "c"}}, "its env has a name that no variable can have"),
        ({"command": "x", "env": {"A": None}}, "its env has a value that is no text"),
        ({"command": "x", "args": ["z" * 40_000]}, "a text of it has more than 32768 characters"),
        ({"url": "ftp://x/"}, "its url is not valid: it is not of the form http://host/path or https://host/path"),
        ({"url": "http+unix://%2Frun%2Fx/"}, "its url is not of the form http://host/path or https://host/path"),
        ({"url": "http://x", "headers": {"A": "b\nC"}}, "its headers have a name, or a value, that HTTP cannot have"),
    ],
)  # fmt: skip
def test_what_cannot_be_a_server_says_why(entry: Any, problem: str) -> None:
    assert one(entry).problem == problem


def test_a_problem_repeats_no_value() -> None:
    for entry in ({"url": "http://u:k-1@[/"}, {"url": "http://x/", "headers": {"A": "${KEY}\n"}}):
        server = one(entry)
        assert server.problem
        assert "k-1" not in repr(server)


def test_a_timeout_is_that_of_calls_in_milliseconds() -> None:
    assert one({"command": "x", "timeout": 90_000}).call_seconds == 90
    for strange in (500, -1, "9000", True, 1e300, None, float("nan")):
        assert one({"command": "x", "timeout": strange}).call_seconds is None


def test_what_is_disabled_is_left_out() -> None:
    assert read_servers({"one": {"command": "x", "disabled": True}}) == {}


def test_there_is_an_end_to_servers() -> None:
    servers = read_servers({str(number): {"command": "x"} for number in range(MOST_SERVERS + 50)})
    assert len(servers) == MOST_SERVERS + 1
    assert [server.problem for server in servers.values()][MOST_SERVERS:] == [
        "there are more than 100: it is left out, as all behind it"
    ]


def test_servers_are_found_in_both_forms_of_a_file() -> None:
    entry = {"command": "x"}
    assert servers_in({"mcpServers": {"a": entry}, "other": 1}) == {"a": entry}
    assert servers_in({"a": entry}) == {"a": entry}
    others: list[Any] = [{"a": entry, "b": 1}, {"mcpServers": 3}, [], None]
    for other in others:
        assert servers_in(other) == {}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["type", "transport", "command", "args", "env", "url", "headers", "timeout", "disabled"])


@given(st.dictionaries(st.text(max_size=10), st.dictionaries(keys, json_values, max_size=5) | json_values, max_size=3))
def test_nothing_that_a_file_says_raises(raw: dict[str, Any]) -> None:
    for server in read_servers(raw, env=ENV, root=Path("/p")).values():
        assert server.problem or server.command or server.url


def test_the_configuration_file_has_a_table_for_each_server() -> None:
    servers = toml("""
        [mcp.servers.tests]
        command = "npx"
        args = ["-y", "x"]
        connect_timeout = 20
        call_timeout = 0.5
        env = {TOKEN = "${KEY}"}
        [mcp.servers.wiki]
        url = "https://wiki.example/mcp"
        headers = {Authorization = "Bearer ${NO}"}
        [mcp.servers.old]
        transport = "sse"
        url = "http://localhost:1/sse"
    """)
    assert servers == {
        "tests": McpServer("stdio", "npx", ("-y", "x"), {"TOKEN": "k-1"}, connect_seconds=20, call_seconds=0.5),
        "wiki": McpServer("http", problem="Missing required environment variable: NO"),
        "old": McpServer("sse", url="http://localhost:1/sse"),
    }


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[mcp.servers.a]\ncomand = 'x'", "mcp.servers.a.comand: no such key; did you mean command?"),
        ("[mcp.servers.a]\nargs = ['x']", "mcp.servers.a.command: a server has either a command or a url"),
        ("[mcp.servers.a]\ncommand = 'x'\nurl = 'y'", "mcp.servers.a.command: a server has either a command or a url"),
        ("[mcp.servers.a]\ncommand = 'x'\ncall_timeout = 0", "mcp.servers.a.call_timeout: expected a number above 0"),
        ("[mcp.servers.a]\ncommand = 'x'\nenv = {A = 1}", "mcp.servers.a.env.A: expected a text"),
        ("[mcp.servers]\na = 3", "mcp.servers.a: expected a table"),
    ],
)
def test_the_configuration_file_is_held_to_its_keys(text: str, error: str) -> None:
    with pytest.raises(InvalidSetting) as raised:
        toml(text)
    assert str(raised.value) == f"agentd.toml: {error}"
