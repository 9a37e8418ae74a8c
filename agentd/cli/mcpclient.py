"""`agentd mcp list` and `agentd mcp test`: the MCP servers that jobs may use, connected to as jobs do it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import attrs
import trio

from agentd.cli.mcp import CLIENT_OPTIONS
from agentd.cli.terminal import one_line, printable
from agentd.config import PASS_ENV, TABLES, Settings, config_path, read_config, read_settings, tool_environment
from agentd.daemon.site import SITE, read_site
from agentd.domain import McpServer, Text, ToolClass
from agentd.errors import AgentdError, InvalidSetting, ToolFailed, only_cause
from agentd.sandbox.contain import probe
from agentd.tools.base import ToolContext, ToolOutcome, ToolState
from agentd.tools.mcp import protocol
from agentd.tools.mcp.config import read_servers
from agentd.tools.mcp.content import describe_resource
from agentd.tools.mcp.server import Server
from agentd.tools.mcp.servers import Servers, Terms, open_servers
from agentd.tools.mcp.tool import McpTool
from agentd.wire.typed import NotJson, parse
from agentd.wire.urlpolicy import UrlPolicy
from agentd.workspace.extensions import load

RESOURCES = 1000
COLUMNS = 160  # of what a server says on one line
INTERRUPTED = 130
DONE, FAILED, WRONG = 0, 1, 2


@attrs.frozen
class Order:
    """What the command line and the configuration come to. *servers*: those to connect to, with where each is named."""

    project: Path
    env: Mapping[str, str] = attrs.field(repr=False)  # of stdio servers: the same as in a job
    connect_seconds: float
    servers: Mapping[str, tuple[McpServer, str]]
    as_json: bool
    call: str | None = None
    call_input: Mapping[str, Any] = attrs.field(factory=dict)


def main(argv: list[str]) -> int:
    """0; 1: a server cannot be had, or the call has failed; 2: the command line or the configuration is wrong."""
    try:
        settings = read_settings(CLIENT_OPTIONS, argv, os.environ, words=True)
        command = _command(settings)
        order = _order(settings, command)
    except AgentdError as exc:
        print(f"agentd mcp: {exc}", file=sys.stderr)
        return WRONG
    if not order.servers:
        print("agentd mcp: no servers are set; `agentd help mcp` says how", file=sys.stderr)
        return DONE
    return trio.run(_until_interrupted, list_servers if command == "list" else test_server, order)


# --- What was said ------------------------------------------------------------------------------------------------


def _command(settings: Settings) -> str:
    command, *names = settings.words or [""]
    if command == "test" and len(names) != 1:
        raise InvalidSetting("`agentd mcp test NAME` needs the name of one server")
    if command == "list" and names:
        raise InvalidSetting(f"`agentd mcp list` takes no names; did you mean `agentd mcp test {names[0]}`?")
    for name in ("call", "input"):
        if command == "list" and settings.text(name):
            raise InvalidSetting(f"--{name} is for `agentd mcp test`")
    if settings.text("input") and not settings.text("call"):
        raise InvalidSetting("--input is for a call: --call names the tool")
    return command


def _order(settings: Settings, command: str) -> Order:
    """Raises InvalidSetting."""
    project = Path(settings.text("project") or ".").expanduser().resolve()
    if not project.is_dir():
        raise InvalidSetting(f"--project: {project} is no directory")
    env = tool_environment(PASS_ENV, {}, os.environ)
    everything = Settings(SITE, os.environ)
    everything.file = read_config(config_path(settings.text("config"), os.environ)).only(*TABLES)
    site = read_site(everything)
    servers = {name: (server, everything.file.file) for name, server in site.servers.items()}
    home = Path(os.environ.get("HOME") or Path.home())
    found = load(project, home, _sources(settings), site.plugins)
    for name, raw in found.servers.items():
        read = read_servers({name: raw.entry}, env=env, root=raw.root)  # empty where it is disabled
        servers |= {each: (server, str(raw.path)) for each, server in read.items()}
    for problem in found.server_problems:
        print(f"agentd mcp: {printable(problem)}", file=sys.stderr)
    if command == "test":
        servers = {settings.words[1]: _named(servers, settings.words[1])}
    if settings.text("timeout"):
        seconds = settings.number("timeout")
        servers = {name: (_patient(server, seconds), origin) for name, (server, origin) in servers.items()}
    call, call_input = settings.text("call"), _call_input(settings.text("input"))
    as_json = settings.switch("json")
    return Order(project, env, site.connect_seconds, servers, as_json, call, call_input)


def _patient(server: McpServer, seconds: float) -> McpServer:
    return attrs.evolve(server, connect_seconds=seconds, call_seconds=seconds)


def _sources(settings: Settings) -> list[str]:
    words = [word.strip() for text in settings.many("sources") for word in text.split(",") if word.strip()]
    if wrong := [word for word in words if word not in ("project", "user")]:
        raise InvalidSetting(f"--sources: {wrong[0]} is neither project nor user")
    return words


def _named(servers: Mapping[str, tuple[McpServer, str]], name: str) -> tuple[McpServer, str]:
    if name in servers:
        return servers[name]
    near = get_close_matches(name, servers, n=1)
    there = f"did you mean {near[0]}?" if near else f"there are: {', '.join(servers) or 'none'}"
    raise InvalidSetting(f"no server is called {name}; {there}")


def _call_input(text: str | None) -> dict[str, Any]:
    if not text:
        return {}
    try:
        value = parse(Path(text[1:]).expanduser().read_bytes() if text.startswith("@") else text.encode())
    except OSError as exc:
        raise InvalidSetting(f"--input: {text[1:]}: {exc.strerror}") from exc
    except NotJson as exc:
        raise InvalidSetting(f"--input: is no JSON: {exc.reason}, at character {exc.offset + 1}") from exc
    if not isinstance(value, dict):
        raise InvalidSetting('--input: expected a JSON object, such as \'{"path": "x"}\'')
    return value


# --- Doing it -----------------------------------------------------------------------------------------------------


async def _until_interrupted(work: Callable[[Order], Awaitable[int]], order: Order) -> int:
    """Ctrl-C gives up, which ends the servers' processes too."""
    status = INTERRUPTED

    async def heed(scope: trio.CancelScope, *, task_status: trio.TaskStatus[None]) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                scope.cancel()

    try:
        async with trio.open_nursery() as nursery:
            await nursery.start(heed, nursery.cancel_scope)
            status = await work(order)
            nursery.cancel_scope.cancel()
    except ExceptionGroup as group:
        raise only_cause(group) from None
    return status


async def _terms(order: Order) -> Terms:
    def tell(level: str, code: str, text: str) -> None:
        if level != "info":
            print(f"{level}: {printable(text)}", file=sys.stderr)

    return Terms(
        cwd=order.project,
        env=order.env,
        roots=[order.project],
        confine=await probe(),
        url_policy=UrlPolicy.LOCAL,
        notice=tell,
        connect_seconds=order.connect_seconds,
    )


async def list_servers(order: Order) -> int:
    terms = await _terms(order)
    async with open_servers({name: server for name, (server, _) in order.servers.items()}, terms) as servers:
        told = [described(server, order.servers[server.name][1]) for server in servers.servers]
    if order.as_json:
        for each in told:
            print(json.dumps(each, ensure_ascii=False))
    else:
        print_table(told)
    return FAILED if any(each["error"] for each in told) else DONE


async def test_server(order: Order) -> int:
    [(name, (config, origin))] = order.servers.items()
    terms = await _terms(order)
    async with open_servers({name: config}, terms) as servers:
        [server] = servers.servers
        if server.session is None:
            print(f"agentd mcp: {name}: {printable(server.error or 'it is gone')}", file=sys.stderr)
            return FAILED
        if order.call is not None:
            return await call_tool(servers, order, terms)
        told = described(server, origin) | await offered(servers, server)
    if order.as_json:
        print(json.dumps(told, ensure_ascii=False))
    else:
        print_server(told)
    return DONE


async def call_tool(servers: Servers, order: Order, terms: Terms) -> int:
    """Call a tool, and print what comes."""
    tools = _tools(servers)
    tool = next((tool for tool in tools if order.call in (tool.offer.own, tool.name)), None)
    if tool is None:
        there = ", ".join(tool.offer.own for tool in tools) or "none"
        print(f"agentd mcp: there is no tool {order.call}; there are: {printable(there)}", file=sys.stderr)
        return WRONG
    context = ToolContext(
        workspace=order.project,
        state=ToolState(order.project),
        env=order.env,
        off_limits=(),
        on_output=lambda text: print(printable(text).rstrip("\n"), file=sys.stderr),
        keep=_keep,
        confine=terms.confine,
    )
    try:
        outcome = await tool.run(order.call_input, context)
    except ToolFailed as exc:
        print(f"agentd mcp: {printable(str(exc))}", file=sys.stderr)
        return FAILED
    print_outcome(tool, outcome, order.as_json)
    return FAILED if outcome.is_error else DONE


def _keep(path: Path) -> str:
    """What is no text, or too much of it, stays as a file for the person."""
    kept = Path(tempfile.mkdtemp(prefix="agentd-mcp-")) / path.name
    shutil.copyfile(path, kept)
    return str(kept)


def _tools(servers: Servers) -> list[McpTool]:
    return [tool for tool in servers.tools.values() if isinstance(tool, McpTool)]


# --- What there is ------------------------------------------------------------------------------------------------


def described(server: Server, origin: str) -> dict[str, Any]:
    session = server.session
    version = {"version": session.version if session is not None else None}
    return attrs.asdict(server.status) | version | {"from": origin}


async def offered(servers: Servers, server: Server) -> dict[str, Any]:
    """All that it says of itself. Lists that cannot be had are empty, and that is told."""
    session = server.session
    return {
        "server": dict(session.info) if session is not None else {},
        "capabilities": dict(session.capabilities) if session is not None else {},
        "instructions": server.instructions,
        "tools": [
            {
                "name": tool.name,
                "own": tool.offer.own,
                "class": str(tool.tool_class),
                "description": tool.description,
                "input_schema": tool.offer.schema,
            }
            for tool in _tools(servers)
        ],
        "resources": await _entries(server, "resources/list", "resources"),
        "resource_templates": await _entries(server, "resources/templates/list", "resourceTemplates"),
        "prompts": [attrs.asdict(prompt) for prompt in servers.prompts.values()],
    }


async def _entries(server: Server, method: str, key: str) -> list[dict[str, Any]]:
    if not server.has_resources:
        return []
    try:
        return await server.entries(method, key, RESOURCES)
    except ToolFailed as exc:
        print(f"warning: {method}: {printable(str(exc))}", file=sys.stderr)
        return []


# --- Telling ------------------------------------------------------------------------------------------------------


def print_table(told: Sequence[Mapping[str, Any]]) -> None:
    rows = [("NAME", "TRANSPORT", "STATUS", "MCP", "TOOLS", "FROM"), *map(_row, told)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for cells in rows:
        print("  ".join(map(str.ljust, cells, widths)).rstrip())
    for each in told:
        if each["error"]:
            print(f"\n{one_line(each['name'], COLUMNS)}: {printable(each['error'])}")


def _row(told: Mapping[str, Any]) -> tuple[str, ...]:
    count = "" if told["error"] else str(told["tool_count"])
    cells = (told["name"], told["type"], told["status"], told["version"] or "", count, told["from"])
    return tuple(one_line(cell, COLUMNS) for cell in cells)


def print_server(told: Mapping[str, Any]) -> None:
    info = told["server"]
    said = " ".join(protocol.one_line(info.get(key), COLUMNS) for key in ("name", "version"))
    print(f"{told['name']}: connected by {told['type']}, MCP {told['version']}")
    print(f"  server        {said.strip() or 'does not say what it is'}")
    print(f"  capabilities  {', '.join(_capabilities(told['capabilities'])) or 'none'}")
    print(f"  set in        {told['from']}")
    if told["instructions"]:
        print(f"  instructions  {one_line(told['instructions'], COLUMNS)}")
    print(f"\nTools: {len(told['tools'])}")
    for tool in told["tools"]:
        reads = " (changes nothing)" if tool["class"] == ToolClass.MCP_READ else ""
        _print_entry(f"{tool['name']}{reads}", tool["description"], _arguments(tool["input_schema"]))
    resources = [describe_resource(entry) for entry in (*told["resources"], *told["resource_templates"])]
    print(f"\nResources: {len(resources)}")
    for resource in resources:
        print(f"  {one_line(resource, COLUMNS)}")
    print(f"\nPrompts: {len(told['prompts'])}")
    for prompt in told["prompts"]:
        arguments = [(each["name"], "", each["required"], each["description"]) for each in prompt["arguments"]]
        _print_entry(prompt["name"], prompt["description"], arguments)


def _print_entry(name: str, description: str, arguments: Sequence[tuple[str, str, bool, str]]) -> None:
    print(f"  {one_line(name, COLUMNS)}")
    if description:
        print(f"      {one_line(description, COLUMNS)}")
    for argument, kind, required, told in arguments:
        facts = ", ".join(filter(None, [kind, "" if required else "optional"]))
        line = f"{argument}{f' ({facts})' if facts else ''}{f': {told}' if told else ''}"
        print(f"      - {one_line(line, COLUMNS)}")


def _capabilities(said: Mapping[str, Any]) -> Iterator[str]:
    for name, value in said.items():
        inner = ", ".join(key for key, on in protocol.object_of(value).items() if on is not False)
        yield one_line(f"{name} ({inner})" if inner else name, COLUMNS)


def _arguments(schema: Mapping[str, Any]) -> list[tuple[str, str, bool, str]]:
    """Name, type, whether it has to be there, description."""
    required = schema.get("required")
    needed = required if isinstance(required, list) else []
    return [
        (name, _type(inner), name in needed, protocol.one_line(inner.get("description"), COLUMNS))
        for name, inner in protocol.object_of(schema.get("properties")).items()
        if isinstance(inner, dict)
    ]


def _type(schema: Mapping[str, Any]) -> str:
    choices = schema.get("enum")
    if isinstance(choices, list):
        return protocol.one_line(" | ".join(map(str, choices[:20])), COLUMNS)
    kind = schema.get("type")
    return protocol.one_line(" | ".join(map(str, kind)) if isinstance(kind, list) else kind, COLUMNS)


def print_outcome(tool: McpTool, outcome: ToolOutcome, as_json: bool) -> None:
    if as_json:
        content = [_part(part) for part in outcome.content]
        print(json.dumps({"tool": tool.name, "is_error": outcome.is_error, "content": content}, ensure_ascii=False))
        return
    if outcome.is_error:
        print("The tool says that it failed:", file=sys.stderr)
    for part in outcome.content:
        print(printable(part.text) if isinstance(part, Text) else f"[an image: {part.media_type}]")


def _part(part: Any) -> dict[str, Any]:
    kind = "text" if isinstance(part, Text) else "image"
    return {"type": kind, **attrs.asdict(part)}
