"""Extensions of agents as they lie on disk, found and read. Blocking: to be called in a thread. It raises nothing.

Where they are: the agent API contract, 18. What a repository brings is somebody else's: see places.py for what is not
followed, and how much is read at most. Nothing is kept from one call to the next, so nothing is ever out of date.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from agentd.domain import Plugin
from agentd.errors import ToolFailed
from agentd.workspace.extensions.jsonfiles import file_servers, user_servers
from agentd.workspace.extensions.markdown import read_agents, read_commands, read_skills, read_style
from agentd.workspace.extensions.nouns import (
    AgentFile,
    Command,
    Extensions,
    Memory,
    RawServer,
    Skill,
    Style,
)
from agentd.workspace.extensions.places import Place, Problems
from agentd.workspace.extensions.plugins import PluginContent, read_plugin

LONGEST_MEMORY = 64 << 10  # bytes of one file

T = TypeVar("T", Skill, Command, AgentFile)
logger = logging.getLogger(__name__)


def load(workspace: Path, home: Path, sources: Collection[str], plugins: Sequence[Plugin]) -> Extensions:
    """What there is for a job in *workspace* of a person whose home directory is *home*. *sources*: "user", "project".

    Commands of both are read in any case, and the *plugins* named; skills, agents, styles, memory and MCP servers only
    of *sources*. Of things with one name a project's counts, not the user's; a plugin's becomes `plugin:name`.
    """
    problems = Problems()
    user = Place(home, "user", confined=False)
    project = Place(Path(os.path.realpath(workspace)), "project", confined=True)
    found = _Found(problems)
    for place in (user, project):
        found.commands |= read_commands(place, ".claude/commands", problems)
    chosen = [place for place in (user, project) if place.location in sources]
    for place in chosen:
        found.skills |= read_skills(place, ".claude/skills", problems)
        found.agents |= read_agents(place, ".claude/agents", problems)
    found.servers |= _servers(chosen, (workspace, project.top), problems)
    for plugin in plugins:
        if plugin.enabled:
            found.add_plugin(plugin, project.top, home)
    return Extensions(
        skills=found.skills,
        commands=found.commands,
        agents=found.agents,
        memory=tuple(_memory(chosen, problems)),
        plugins=tuple(found.plugins),
        plugin_errors=tuple(found.plugin_errors),
        hooks=tuple(hook for content in found.plugins.values() for hook in content.hooks),
        servers=found.servers,
        problems=problems.texts(),
        server_problems=problems.of_servers,
        styles=_styles(chosen, [content.place for content in found.plugins.values()]),
    )


@attrs.define
class _Found:
    problems: Problems
    skills: dict[str, Skill] = attrs.field(factory=dict)
    commands: dict[str, Command] = attrs.field(factory=dict)
    agents: dict[str, AgentFile] = attrs.field(factory=dict)
    servers: dict[str, RawServer] = attrs.field(factory=dict)
    plugins: dict[str, PluginContent] = attrs.field(factory=dict)
    plugin_errors: list[tuple[str, str]] = attrs.field(factory=list)

    def add_plugin(self, plugin: Plugin, workspace: Path, home: Path) -> None:
        try:
            if plugin.name in self.plugins:
                raise ToolFailed("another plugin has the same name")
            content = read_plugin(plugin, workspace, home, self.problems)
        except ToolFailed as exc:
            self.plugin_errors.append((plugin.name, str(exc)))
            return
        self.plugins[plugin.name] = content
        _add(self.commands, content.commands, plugin.name, always=True)
        _add(self.skills, content.skills, plugin.name)
        _add(self.agents, content.agents, plugin.name)
        for name, server in content.servers.items():
            self.servers[f"{plugin.name}:{name}" if name in self.servers else name] = server


def _add(to: dict[str, T], found: Mapping[str, T], plugin: str, *, always: bool = False) -> None:
    for name, one in found.items():
        full = f"{plugin}:{name}" if always or name in to else name
        to[full] = attrs.evolve(one, name=full)


def _servers(chosen: Sequence[Place], workspaces: tuple[Path, ...], problems: Problems) -> dict[str, RawServer]:
    """The narrower counts: what the user has set for this project, then the project's own, then what the user has set
    for all."""
    found: dict[str, RawServer] = {}
    here: dict[str, RawServer] = {}
    for place in chosen:
        if place.location == "user":
            everywhere, here = user_servers(place, workspaces, problems)
            found |= everywhere
        else:
            found |= file_servers(place, ".mcp.json", problems) | file_servers(place, ".claude/mcp.json", problems)
    return found | here


def _memory(chosen: Sequence[Place], problems: Problems) -> list[Memory]:
    found = []
    for place in chosen:
        for name in [".claude/CLAUDE.md"] if place.location == "user" else ["CLAUDE.md", "AGENTS.md"]:
            path = place.top / name
            try:
                read = place.head(name, LONGEST_MEMORY)
            except ToolFailed as exc:
                problems.add(path, f"left out: {exc}")
                break
            if read is None:
                continue
            text, size = read
            if size > LONGEST_MEMORY:
                note = f"only its first {LONGEST_MEMORY} bytes are read, of {size}"
                problems.add(path, note)
                text = f"{text.rpartition(chr(10))[0] or text}\n[{path.name}: {note}]"
            if text.strip():
                found.append(Memory(place.location, path, text.strip()))
            break
    return found


def _styles(chosen: Sequence[Place], plugins: Sequence[Place]) -> Callable[[str], Style | None]:
    """A project's counts, not the user's, not a plugin's."""
    places = [(place, ".claude/output-styles") for place in reversed(chosen)]
    places += [(place, "output-styles") for place in plugins]

    def styles(name: str) -> Style | None:
        problems = Problems()
        found = (read_style(place, directory, name, problems) for place, directory in places)
        style = next((each for each in found if each is not None), None)
        for text in problems.texts():
            logger.warning("output style: %s", text)
        return style

    return styles
