"""Plugins: directories of commands, agents, skills, hooks and MCP servers. The rules: the agent API contract, 18.2."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import attrs

from agentd.domain import Plugin
from agentd.errors import ToolFailed
from agentd.workspace.extensions.jsonfiles import file_servers, read_hooks, read_json
from agentd.workspace.extensions.markdown import read_agents, read_commands, read_skills
from agentd.workspace.extensions.nouns import AgentFile, Command, PluginHook, RawServer, Skill
from agentd.workspace.extensions.places import Place, Problems

MANIFEST = ".claude-plugin/plugin.json"
ELSEWHERE = ("commands", "agents", "skills", "hooks", "mcpServers", "outputStyles")  # of a manifest


@attrs.frozen
class PluginContent:
    place: Place
    commands: Mapping[str, Command]
    agents: Mapping[str, AgentFile]
    skills: Mapping[str, Skill]
    hooks: tuple[PluginHook, ...]
    servers: Mapping[str, RawServer]


def read_plugin(plugin: Plugin, workspace: Path, home: Path, problems: Problems) -> PluginContent:
    """All of a plugin. A relative path is one below *workspace*, `~` is *home*. Raises ToolFailed: there is none."""
    place = Place(_root(plugin, workspace, home), "plugin", confined=True)
    try:
        manifest = read_json(place, MANIFEST) or {}
    except ToolFailed as exc:
        raise ToolFailed(f"{MANIFEST} cannot be used: {exc}") from exc
    for key in ELSEWHERE:
        if key in manifest:
            what = f"its {key} are not read, only what lies in the usual places"
            problems.add(place.top / MANIFEST, what, of_servers=key == "mcpServers")
    content = PluginContent(
        place,
        commands=read_commands(place, "commands", problems, place.top),
        agents=read_agents(place, "agents", problems, place.top),
        skills=read_skills(place, "skills", problems, place.top),
        hooks=read_hooks(place, "hooks/hooks.json", plugin.name, problems),
        servers=file_servers(place, ".mcp.json", problems, place.top),
    )
    if not (content.commands or content.agents or content.skills or content.hooks or content.servers):
        problems.add(place.top, f"the plugin {plugin.name} brings no commands, agents, skills, hooks or MCP servers")
    return content


def _root(plugin: Plugin, workspace: Path, home: Path) -> Path:
    if not plugin.name.isprintable() or len(plugin.name) > 128:
        raise ToolFailed("its name is too long, or there are unprintable characters in it")
    if not plugin.path:
        raise ToolFailed("it has no path")
    path = plugin.path
    if path == "~" or path.startswith("~/"):
        path = f"{home}{path[1:]}"
    try:
        root = Path(os.path.realpath(workspace / path))
        os.close(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except (OSError, ValueError) as exc:
        reason = getattr(exc, "strerror", None) or "it is no path"
        raise ToolFailed(f"{plugin.path} cannot be read: {reason}".encode("utf-8", "replace").decode()) from exc
    return root
