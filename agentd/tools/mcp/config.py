"""How MCP servers are written down: in JSON files, as other programs have them too, and in agentd's own TOML file.

    {"mcpServers": {"tests": {"command": "npx", "args": ["-y", "x"], "env": {"KEY": "${KEY}"}},
                    "wiki": {"type": "http", "url": "https://wiki.example/mcp", "headers": {"X-Key": "${KEY:-none}"}}}}

A JSON file is anybody's: what is wrong in it makes that server one that is not tried, with the reason. Our own file is
held to its keys. `${VAR}` and `${VAR:-default}` stand for what the environment has: the agent API contract, 17.3.
Texts of problems have no values in them, which may be keys. Nothing is opened here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

import attrs

from agentd.config import Table
from agentd.domain import McpServer
from agentd.wire.urls import InvalidUrl, parse_url

MOST_SERVERS = 100
MOST_ITEMS = 256  # arguments, variables, headers of one server
LONGEST_NAME = 128
LONGEST_TEXT = 32 * 1024  # of what a server is told, with its variables filled in
MOST_MS = 24 * 3600 * 1000

KEYS = ("transport", "command", "args", "env", "url", "headers", "connect_timeout", "call_timeout")

Transport = Literal["stdio", "http", "sse"]
TRANSPORTS: Mapping[str, Transport] = {  # all the names there are in files
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamable_http": "http",
    "streamablehttp": "http",
    "sse": "sse",
}

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_FIELD_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_FIELD_VALUE = re.compile(r"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?")


class _Misfit(ValueError):
    """Its text is a server's problem."""


class _Variables(NamedTuple):
    env: Mapping[str, str] | None  # None: they stay as they are written
    root: Path | None

    def fill(self, text: str) -> str:
        if self.root is not None:
            text = text.replace("${CLAUDE_PLUGIN_ROOT}", str(self.root))
        filled = text if self.env is None else _VARIABLE.sub(self._value, text)
        if len(filled) > LONGEST_TEXT:
            raise _Misfit(f"a text of it has more than {LONGEST_TEXT} characters")
        return filled

    def _value(self, found: re.Match[str]) -> str:
        name, default = found[1], found[2]
        assert self.env is not None
        value = self.env.get(name)
        if default is not None:
            return value or default  # as in a shell: `:-` is also for what is set and empty
        if value is None:
            raise _Misfit(f"Missing required environment variable: {name}")
        return value


def servers_in(document: Any) -> Mapping[str, Any]:
    """The entries of a JSON file: its "mcpServers", or the file itself where it has nothing but servers, as those of
    plugins may. Empty for what is none of both."""
    if not isinstance(document, dict):
        return {}
    entries = document.get("mcpServers")
    if isinstance(entries, dict):
        return entries
    bare = [isinstance(entry, dict) and ("command" in entry or "url" in entry) for entry in document.values()]
    return document if all(bare) else {}


def read_servers(
    raw: Mapping[str, Any], *, env: Mapping[str, str] | None = None, root: Path | None = None
) -> dict[str, McpServer]:
    """The entries of a JSON file, by name; those that are `disabled` are left out. *env*: what variables are filled
    from; None: they stay as they are. *root*: what ${CLAUDE_PLUGIN_ROOT} stands for. Never raises: a server that cannot
    be tried says so in its *problem*."""
    wanted = [(str(name), entry) for name, entry in raw.items() if not _is_off(entry)]
    servers = {name: _server(name, entry, _Variables(env, root)) for name, entry in wanted[:MOST_SERVERS]}
    for name, _ in wanted[MOST_SERVERS : MOST_SERVERS + 1]:
        servers[name] = McpServer(problem=f"there are more than {MOST_SERVERS}: it is left out, as all behind it")
    return servers


def servers_of(config: Table, env: Mapping[str, str] = os.environ) -> dict[str, McpServer]:
    """The [mcp.servers.NAME] of the configuration file, whose top *config* is. Variables are filled from *env*; one
    that is missing is a server's *problem*. Raises InvalidSetting for what such a table cannot have."""
    servers = {}
    for name, table in config.table("mcp").tables("servers").items():
        server = _server(name, _entry(table), _Variables(env, None))
        connect, call = _positive(table, "connect_timeout"), _positive(table, "call_timeout")
        servers[name] = attrs.evolve(server, connect_seconds=connect, call_seconds=call)
    return servers


def _entry(table: Table) -> dict[str, Any]:
    """As it would be in a JSON file. Raises InvalidSetting."""
    table.only(*KEYS)
    command, url = table.text("command"), table.text("url")
    if (command is None) == (url is None):
        raise table.misfit("command", "a server has either a command or a url")
    return {
        "type": table.one_of("transport", "stdio", "http", "sse"),
        "command": command,
        "args": list(table.texts("args")),
        "env": table.words("env"),
        "url": url,
        "headers": table.words("headers"),
    }


def _positive(table: Table, key: str) -> float | None:
    seconds = table.number(key)
    if seconds == 0:
        raise table.misfit(key, "expected a number above 0")
    return seconds


def _is_off(entry: Any) -> bool:
    return isinstance(entry, dict) and entry.get("disabled") is True


def _server(name: str, entry: Any, variables: _Variables) -> McpServer:
    transport: Transport = "stdio"
    try:
        if not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise _Misfit(f"its name is not one of 1 to {LONGEST_NAME} printable characters")
        if not isinstance(entry, dict):
            raise _Misfit("its entry is no object")
        transport = _transport(entry)
        return _started(entry, variables) if transport == "stdio" else _reached(entry, transport, variables)
    except _Misfit as misfit:
        return McpServer(transport, problem=str(misfit))


def _transport(entry: Mapping[str, Any]) -> Transport:
    """What it says; else by what there is: a program, or an address."""
    said = entry.get("type") or entry.get("transport")
    if said is None:
        return "http" if entry.get("url") and not entry.get("command") else "stdio"
    if not isinstance(said, str) or said.lower() not in TRANSPORTS:
        raise _Misfit("its type is none of stdio, http and sse")
    return TRANSPORTS[said.lower()]


def _started(entry: Mapping[str, Any], variables: _Variables) -> McpServer:
    command = variables.fill(_text(entry, "command", "stdio transport requires 'command'"))
    args = entry.get("args") or []
    if not isinstance(args, list) or len(args) > MOST_ITEMS or not all(isinstance(arg, str) for arg in args):
        raise _Misfit(f"its args are no list of at most {MOST_ITEMS} texts")
    words = [command, *map(variables.fill, args)]
    env = _map(entry, "env", variables)
    if not command.strip() or any("\0" in text for text in (*words, *env.values())):
        raise _Misfit("its command is blank, or there is a NUL in what it is told")
    if any(not name or "=" in name or "\0" in name for name in env):
        raise _Misfit("its env has a name that no variable can have")
    return McpServer("stdio", words[0], tuple(words[1:]), env, call_seconds=_call_seconds(entry))


def _reached(entry: Mapping[str, Any], transport: Transport, variables: _Variables) -> McpServer:
    url = variables.fill(_text(entry, "url", f"{transport} transport requires 'url'"))
    try:
        if parse_url(url).scheme == "http+unix":
            raise _Misfit("its url is not of the form http://host/path or https://host/path")
    except InvalidUrl as exc:
        raise _Misfit(f"its url is not valid: {exc}") from exc
    headers = _map(entry, "headers", variables)
    for name, value in headers.items():
        if not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(value):
            raise _Misfit("its headers have a name, or a value, that HTTP cannot have")
    return McpServer(transport, url=url, headers=headers, call_seconds=_call_seconds(entry))


def _text(entry: Mapping[str, Any], key: str, missing: str) -> str:
    value = entry.get(key)
    if value is None or value == "":
        raise _Misfit(missing)
    if not isinstance(value, str):
        raise _Misfit(f"its {key} is no text")
    return value


def _map(entry: Mapping[str, Any], key: str, variables: _Variables) -> dict[str, str]:
    """Texts by name; numbers and true and false are taken as they would be written."""
    values = entry.get(key) or {}
    if not isinstance(values, dict) or len(values) > MOST_ITEMS:
        raise _Misfit(f"its {key} is no object of at most {MOST_ITEMS} texts")
    return {str(name): variables.fill(_scalar(key, value)) for name, value in values.items()}


def _scalar(key: str, value: Any) -> str:
    if type(value) not in (str, int, float, bool):
        raise _Misfit(f"its {key} has a value that is no text")
    return str(value).lower() if type(value) is bool else str(value)


def _call_seconds(entry: Mapping[str, Any]) -> float | None:
    """*timeout* is in milliseconds, and one of less than a second means nothing, as where these files come from."""
    timeout: Any = entry.get("timeout")
    return timeout / 1000 if type(timeout) in (int, float) and 1000 <= timeout <= MOST_MS else None
