"""shell, diagram and verify: commands, and how they ended. The contract: runs-and-chat.md, 7.1 and 7.4."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

import attrs

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.chat.repository import NoInput
from agentd.tools.schema import arg, input_schema, parse, subject

MAX_SECONDS = 1800
DIAGRAMS = "make diagrams"
SHELL = (
    "Run a shell command in the workspace. You get {cmd, exit_code, stdout, stderr, duration} as JSON. There is nobody "
    "at the keyboard, and what it leaves running is ended with it."
)


class Ran(Protocol):
    """A command that has ended."""

    @property
    def exit_code(self) -> int: ...
    def to_json(self) -> Mapping[str, object]: ...


Runner = Callable[[str, ToolContext, float], Awaitable[Ran]]  # a command and its limit in seconds, run in the workspace


@attrs.frozen
class ShellInput:
    command: str = arg("The command, for /bin/bash -lc in the workspace")
    timeout_seconds: int = arg(f"Seconds after which it is stopped, {MAX_SECONDS} at most", default=MAX_SECONDS)


@attrs.frozen
class Shell:
    run_command: Runner
    name: str = attrs.field(default="shell", init=False)
    description: str = attrs.field(default=SHELL, init=False)
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(ShellInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.EXEC, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "command")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(ShellInput, call_input)
        if not asked.command.strip():
            raise ToolFailed("The command is empty.")
        if not 0 < asked.timeout_seconds <= MAX_SECONDS:
            raise ToolFailed(f"timeout_seconds is from 1 to {MAX_SECONDS}; this is {asked.timeout_seconds}.")
        return _outcome(await self.run_command(asked.command, context, float(asked.timeout_seconds)))


@attrs.frozen
class Diagram:
    run_command: Runner
    name: str = attrs.field(default="diagram", init=False)
    description: str = attrs.field(default=f"Make the project's diagrams: `{DIAGRAMS}`.", init=False)
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(NoInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.EXEC, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return DIAGRAMS

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        return _outcome(await self.run_command(DIAGRAMS, context, float(MAX_SECONDS)))


@attrs.frozen
class Verify:
    """All of *commands*, whichever fail."""

    run_command: Runner
    commands: Sequence[str]
    name: str = attrs.field(default="verify", init=False)
    description: str = attrs.field(default="Check the work by the project's own commands.", init=False)
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(NoInput), init=False)
    tool_class: ToolClass = attrs.field(default=ToolClass.EXEC, init=False)

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return "; ".join(self.commands)[:120]

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        if not self.commands:
            raise ToolFailed("There are no commands to verify with here.")
        ran = [await self.run_command(command, context, float(MAX_SECONDS)) for command in self.commands]
        failed = sum(each.exit_code != 0 for each in ran)
        told = json.dumps([dict(each.to_json()) for each in ran], ensure_ascii=False)
        summary = f"{failed} of {len(ran)} commands failed" if failed else f"{len(ran)} commands succeeded"
        return ToolOutcome((Text(told),), summary, is_error=failed > 0)


def _outcome(ran: Ran) -> ToolOutcome:
    text = json.dumps(dict(ran.to_json()), ensure_ascii=False)
    return ToolOutcome((Text(text),), f"exit code {ran.exit_code}", is_error=ran.exit_code != 0)
