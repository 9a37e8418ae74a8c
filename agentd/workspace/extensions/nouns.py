"""What extensions are: values, with what is long left in its file until somebody wants it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Agent
from agentd.workspace.extensions.frontmatter import body_of
from agentd.workspace.extensions.places import File, Location

PLUGIN_ROOT = "${CLAUDE_PLUGIN_ROOT}"

# $1 is not the beginning of $10, nor $ARGUMENTS of $ARGUMENTS_FILE.
_PLACEHOLDER = re.compile(r"(\$?)\$(ARGUMENTS(?!\w)|[1-9](?!\d))")
_ARGUMENT = re.compile(r"""(?:"([^"]*)"|'([^']*)')(?!\S)|(\S+)""")  # a quote within a word is an apostrophe


@attrs.frozen
class Skill:
    """*path*: of its file; *directory*: what other files it names are relative to. *allowed_tools* run without being
    asked for while it is at work."""

    name: str
    description: str
    location: Location
    file: File
    allowed_tools: tuple[str, ...] = ()
    model: str | None = None
    disable_model_invocation: bool = False
    root: Path | None = None  # of its plugin

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def directory(self) -> Path:
        return self.file.path.parent

    def body(self) -> str:
        """What it tells the model, read now. Raises ToolFailed."""
        return _body(self.file, self.root)


@attrs.frozen
class Command:
    """A slash command. *argument_hint*: for people."""

    name: str
    source: Location
    file: File
    description: str = ""
    argument_hint: str = ""
    allowed_tools: tuple[str, ...] = ()
    model: str | None = None
    disable_model_invocation: bool = False
    root: Path | None = None

    @property
    def path(self) -> Path:
        return self.file.path

    def expand(self, arguments: str) -> str:
        """What is said in its place, read now. Raises ToolFailed."""
        return expanded(_body(self.file, self.root), arguments)


@attrs.frozen
class AgentFile:
    name: str
    source: Location
    path: Path
    agent: Agent


@attrs.frozen
class Style:
    name: str
    source: Location
    path: Path
    description: str
    text: str  # what is appended to the system prompt


@attrs.frozen
class Memory:
    source: Location
    path: Path
    text: str


@attrs.frozen
class PluginHook:
    """A local program that is told of *event*. *matcher*: a regular expression for the whole name of a tool; empty for
    every tool. *timeout*: seconds."""

    plugin: str
    root: Path
    event: str
    command: str
    matcher: str = ""
    timeout: float = 60.0


@attrs.frozen
class RawServer:
    """An MCP server as the file *path* has it. *root*: of its plugin."""

    entry: Any = attrs.field(repr=False)  # whatever stands there; there may be keys in it
    source: Location
    path: Path
    root: Path | None = None


@attrs.frozen
class Extensions:
    """What load() found. *styles(name)* reads an output style; None: there is none of that name."""

    skills: Mapping[str, Skill] = attrs.field(factory=dict)
    commands: Mapping[str, Command] = attrs.field(factory=dict)
    agents: Mapping[str, AgentFile] = attrs.field(factory=dict)
    memory: tuple[Memory, ...] = ()
    plugins: tuple[str, ...] = ()
    plugin_errors: tuple[tuple[str, str], ...] = ()  # name, what is wrong
    hooks: tuple[PluginHook, ...] = ()
    servers: Mapping[str, RawServer] = attrs.field(factory=dict)
    problems: tuple[str, ...] = ()  # for people
    server_problems: tuple[str, ...] = ()  # those of them that are about MCP servers
    styles: Callable[[str], Style | None] = lambda _: None


def expanded(body: str, arguments: str) -> str:
    """*body* with `$ARGUMENTS` replaced by all of *arguments*, and `$1` to `$9` by one of them: quotes keep words
    together. `$$1` is the text `$1`, `$$ARGUMENTS` its like. Where nothing is replaced, they come behind the body."""
    words = ["".join(parts) for parts in _ARGUMENT.findall(arguments)]
    replaced = False

    def value(match: re.Match[str]) -> str:
        nonlocal replaced
        if match[1]:
            return f"${match[2]}"
        replaced = True
        if match[2] == "ARGUMENTS":
            return arguments
        return words[int(match[2]) - 1] if int(match[2]) <= len(words) else ""

    text = _PLACEHOLDER.sub(value, body)
    return text if replaced or not arguments.strip() else f"{text.rstrip()}\n\nARGUMENTS: {arguments}"


def _body(file: File, root: Path | None) -> str:
    body = body_of(file.text())
    return body.replace(PLUGIN_ROOT, str(root)) if root is not None else body
