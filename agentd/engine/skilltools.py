"""Skill and SlashCommand: tools that hand a model what people have written down for it, out of files.

Contract of the agent API, sections 5.8, 15 and 18.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject

if TYPE_CHECKING:
    from agentd.workspace.extensions import Skill

SKILL_TOOL, COMMAND_TOOL = "Skill", "SlashCommand"


@attrs.frozen
class SkillInput:
    skill: str = arg("The name of the skill")
    args: str = arg("What it is to be used on, if that is not clear from the conversation", default="")


@attrs.frozen
class UseSkill:
    """The tool Skill."""

    skills: Mapping[str, Skill]
    name: str = SKILL_TOOL
    description: str = (
        "Read a skill: instructions for a kind of task, written by people for you. Use it as soon as a task is of the "
        "kind that a skill is for, before you begin. The result is what the skill says, and where its other files are."
    )
    tool_class: ToolClass = ToolClass.READ
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(SkillInput))

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(_by_one_name(call_input), "skill")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(SkillInput, _by_one_name(call_input))
        skill = self.skills.get(asked.skill.strip().removeprefix("/"))
        if skill is None:
            raise ToolFailed(f"There is no skill {asked.skill!r}; there are: {', '.join(self.skills) or 'none'}")
        body = await trio.to_thread.run_sync(skill.body)
        told = f"The skill {skill.name}. Its files are in {skill.directory}\n\n{body.strip()}"
        if asked.args.strip():
            told += f"\n\nIt is to be used on: {asked.args.strip()}"
        return ToolOutcome((Text(told),), f"skill {skill.name}")


def _by_one_name(call_input: Mapping[str, Any]) -> Mapping[str, Any]:
    """`command` is what the field was called once."""
    given = call_input.get("skill", call_input.get("command"))
    return call_input if given is None else {**call_input, "skill": given}


@attrs.frozen
class CommandInput:
    command: str = arg("The command with its arguments: /name arguments")


@attrs.frozen
class RunCommand:
    """The tool SlashCommand. *expand*: what a line that begins with a slash stands for; None: nothing."""

    commands: Mapping[str, str]  # names, and what they are for
    expand: Callable[[str], Awaitable[str | None]]
    name: str = COMMAND_TOOL
    tool_class: ToolClass = ToolClass.READ
    input_schema: Mapping[str, Any] = attrs.field(factory=lambda: input_schema(CommandInput))

    @property
    def description(self) -> str:
        listed = "\n".join(f"- /{name}: {' '.join(what.split())}" for name, what in self.commands.items())
        return (
            "Look up what a slash command stands for: the result is what you are to do then. Only where the user, or "
            f"your instructions, speak of one of these:\n{listed}"
        )

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "command")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        line = parse(CommandInput, call_input).command.strip()
        told = await self.expand(line if line.startswith("/") else f"/{line}")
        if told is None:
            there_are = ", ".join(f"/{name}" for name in self.commands) or "none"
            raise ToolFailed(f"There is no command {line.split(maxsplit=1)[0]}; there are: {there_are}")
        return ToolOutcome((Text(told),), line[:120])
