"""The loop between a provider and tools, without an engine; and a small world of fake tools in memory."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import pytest

from agentd.domain import Message, Text, ToolResult, ToolUse
from agentd.errors import ToolFailed
from agentd.providers.assemble import Assembler
from agentd.providers.builtin import BuiltinProvider
from agentd.providers.protocol import ModelRequest, Provider, ToolSchema
from agentd.tools.base import Tool, ToolContext, ToolState
from agentd.tools.registry import CODE_TOOLS, FILE_TOOLS
from agentd.workspace.symbols.query import Symbols

MAX_TURNS = 40


class Tools(Protocol):
    """What the loop needs of tools: their names, and a text for a call. Raises ToolFailed."""

    @property
    def names(self) -> Sequence[str]: ...
    async def run(self, name: str, call_input: Mapping[str, Any]) -> str: ...


@attrs.define
class Conversation:
    messages: list[Message]
    turns: int = 0
    stopped: str = ""  # the reason of the last reply

    @property
    def answer(self) -> str:
        return self.messages[-1].text

    @property
    def calls(self) -> list[ToolUse]:
        return [call for message in self.messages for call in message.calls]

    @property
    def results(self) -> dict[str, ToolResult]:
        blocks = (block for message in self.messages for block in message.content)
        return {block.tool_use_id: block for block in blocks if isinstance(block, ToolResult)}


async def reply_to(provider: Provider, request: ModelRequest) -> Assembler:
    taken = {call.id for message in request.messages for call in message.calls}
    assembler = Assembler(taken)
    async with provider.stream(request) as events:
        async for event in events:
            assembler.feed(event)
    return assembler


async def converse(
    prompt: str | Sequence[str], tools: Tools, *, history: Iterable[Message] = (), provider: Provider | None = None
) -> Conversation:
    """Let a provider (the built-in one) do a task, the last text, with *tools*, to its final answer."""
    provider = provider or BuiltinProvider()
    schemas = tuple(ToolSchema(name, "", {}) for name in tools.names)
    texts = [prompt] if isinstance(prompt, str) else prompt
    talk = Conversation([*history, Message("user", tuple(map(Text, texts)))])
    while talk.turns < MAX_TURNS:
        talk.turns += 1
        request = ModelRequest(provider.models()[0], "", tuple(talk.messages), schemas)
        reply = await reply_to(provider, request)
        message, talk.stopped = reply.message(), reply.stop_reason
        talk.messages.append(message)
        if not message.calls:
            return talk
        talk.messages.append(Message("user", tuple([await _result(call, tools) for call in message.calls])))
    raise AssertionError(f"no answer after {MAX_TURNS} turns")


async def _result(call: ToolUse, tools: Tools) -> ToolResult:
    try:
        return ToolResult(call.id, (Text(await tools.run(call.name, call.input)),))
    except ToolFailed as exc:
        return ToolResult(call.id, (Text(str(exc)),), is_error=True)


EDITORS = ("Bash", "Edit", "Glob", "Grep", "LS", "Read", "Write")
PLANNERS = ("Bash", "Code", "Glob", "Grep", "LS", "Read")


@attrs.define
class World:
    """Files and commands in memory, behind tools that say what the real ones say."""

    files: dict[str, str] = attrs.field(factory=dict)
    commands: dict[str, str] = attrs.field(factory=dict)  # what a command prints; one that is not here fails
    refused: frozenset[str] = frozenset()  # tools whose permission is refused
    names: Sequence[str] = EDITORS

    async def run(self, name: str, call_input: Mapping[str, Any]) -> str:
        if name in self.refused:
            raise ToolFailed(f"{name} was not executed: permission was refused (nobody is there)")
        if name == "Code":
            return await self._subagent(**call_input)
        run: Callable[..., str] = getattr(self, f"_{name.lower()}")
        return run(**{key.removeprefix("-"): value for key, value in call_input.items()})

    async def _subagent(self, instructions: str) -> str:
        """The built-in model again, with the tools to edit."""
        talk = await converse(instructions, World(self.files, self.commands, self.refused))
        if talk.stopped == "failed":
            raise ToolFailed(talk.answer)
        return talk.answer

    def _tasklist(self, tasks: Sequence[Mapping[str, str]]) -> str:
        return f"The list has {len(tasks)} tasks."

    def _read(self, file_path: str, offset: int = 1, limit: int = 2000) -> str:
        lines = self._file(file_path).splitlines()
        shown = [f"{n:>6}\t{text}" for n, text in enumerate(lines, 1) if offset <= n < offset + limit]
        if not lines:
            shown = ["[the file is empty]"]
        if len(lines) >= offset + limit:
            shown.append(f"[{len(lines) - offset - limit + 1} more lines; read on with offset={offset + limit}]")
        return "\n".join(shown)

    def _write(self, file_path: str, content: str) -> str:
        self.files[file_path] = content
        return f"Wrote {file_path}"

    def _edit(self, file_path: str, old_string: str, new_string: str, replace_all: bool = False) -> str:
        if not old_string:
            if self.files.setdefault(file_path, new_string) != new_string:
                raise ToolFailed(f"{file_path} exists and is not empty")
            return f"Created {file_path}"
        count = self._file(file_path).count(old_string)
        if count == 0:
            raise ToolFailed(f"old_string was not found in {file_path}")
        if count > 1 and not replace_all:
            raise ToolFailed(f"old_string occurs {count} times in {file_path}")
        self.files[file_path] = self._file(file_path).replace(old_string, new_string)
        return f"Replaced {count} occurrence{'s' * (count > 1)} in {file_path}\n     1\t…"

    def _bash(self, command: str) -> str:
        if command not in self.commands:
            raise ToolFailed("no such command\n[exit code 127]")
        return self.commands[command]

    def _ls(self, path: str) -> str:
        return "\n".join(sorted(self.files))

    def _glob(self, pattern: str, path: str = "") -> str:
        alternatives = pattern[1:-1].split(",") if pattern.startswith("{") else [pattern]
        shapes = {shape for each in alternatives for shape in (each, each.replace("**/", ""))}
        found = [name for name in self.files if any(fnmatch.fnmatch(name, shape) for shape in shapes)]
        return "\n".join(found) or "No files found"

    def _grep(
        self, pattern: str, output_mode: str = "files_with_matches", i: bool = False, path: str = "", **_: Any
    ) -> str:
        regex = re.compile(pattern, re.IGNORECASE if i else 0)
        hits = [
            (name, number, text)
            for name, content in self.files.items()
            if name.startswith(path)
            for number, text in enumerate(content.splitlines(), 1)
            if regex.search(text)
        ]
        if output_mode == "content":
            lines = [f"{name}:{number}:{text}" for name, number, text in hits]
        else:
            counts = {name: sum(hit[0] == name for hit in hits) for name, _, _ in hits}
            lines = [f"{name}:{count}" if output_mode == "count" else name for name, count in counts.items()]
        return "\n".join(lines) or "No matches found"

    def _file(self, path: str) -> str:
        if path not in self.files:
            raise ToolFailed(f"{path} does not exist")
        return self.files[path]


@attrs.frozen
class Workspace:
    """A directory behind the real file tools; behind those that know the code, too, where there is an index."""

    root: Path
    names: Sequence[str] = ("Glob", "Grep", "LS", "Read")
    symbols: Symbols | None = None
    _tools: Mapping[str, Tool] = attrs.field(factory=lambda: {tool.name: tool for tool in (*FILE_TOOLS, *CODE_TOOLS)})

    async def run(self, name: str, call_input: Mapping[str, Any]) -> str:
        nothing: Mapping[str, str] = {}
        context = ToolContext(
            self.root, ToolState(self.root), nothing, (), lambda text: None, str, symbols=self.symbols
        )
        outcome = await self._tools[name].run(call_input, context)
        text = "\n".join(part.text for part in outcome.content if isinstance(part, Text))
        if outcome.is_error:
            raise ToolFailed(text)
        return text


Tell = Callable[..., Awaitable[Conversation]]


@pytest.fixture
def tell() -> Tell:
    """tell(prompt, tools, history=…, provider=…): let the built-in model do it, to its answer."""
    return converse


@pytest.fixture
def assembled() -> Callable[[Provider, ModelRequest], Awaitable[Assembler]]:
    """A provider's whole reply to a request."""
    return reply_to


@pytest.fixture
def workspace() -> type[Workspace]:
    return Workspace


@pytest.fixture
def world() -> type[World]:
    return World
