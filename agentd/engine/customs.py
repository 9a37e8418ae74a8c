"""What a job brings along, and what it finds on disk: settings, memory, skills, commands, agents, plugins, MCP servers.

Files are read once, at the beginning of a job, and only those of the sources it names; commands always. Contract of the
agent API, sections 5.4, 5.8, 16 to 19.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from agentd.domain import Agent, JobSpec, McpServer, Mode, Plugin, Rules, Site
from agentd.engine.branch import Branch
from agentd.engine.settingsfile import InvalidSettings, SettingsFile, read_settings_file
from agentd.engine.subagents import GENERAL
from agentd.workspace.paths import shown

if TYPE_CHECKING:
    from agentd.tools.mcp.servers import Servers, Terms
    from agentd.workspace.extensions import Command, Extensions, Skill

WITH_SERVERS = (Mode.QUERY, Mode.CODE, Mode.ARCHITECT, Mode.LUTZ, Mode.CHAT)  # modes that have tools of MCP servers
GENERAL_NAME = "general-purpose"
SETTINGS = Path(".claude", "settings.json")


@attrs.frozen
class Customs:
    """*settings*: of all files, the later ones over the earlier. *found*: None where nothing was looked for."""

    settings: SettingsFile = attrs.field(factory=SettingsFile)
    found: Extensions | None = None
    agents: Mapping[str, Agent] = attrs.field(factory=dict)
    style: str = ""
    servers: Mapping[str, McpServer] = attrs.field(factory=dict)
    sources: tuple[str, ...] = ()

    @property
    def has_own_commands(self) -> bool:
        """Whether some were asked for: those of other sources are the user's to name, not the model's."""
        return any(each.source == "plugin" or each.source in self.sources for each in self.commands.values())

    @property
    def commands(self) -> Mapping[str, Command]:
        return self.found.commands if self.found is not None else {}

    @property
    def skills(self) -> dict[str, Skill]:
        """Those that a model may use of itself."""
        found = self.found.skills if self.found is not None else {}
        return {name: skill for name, skill in found.items() if not skill.disable_model_invocation}

    @property
    def memory(self) -> str:
        """What people want every job to know, for the system prompt."""
        told = self.found.memory if self.found is not None else ()
        return "\n\n".join(f"From {each.path}:\n\n{each.text.strip()}" for each in told if each.text.strip())

    @property
    def skill_list(self) -> str:
        listed = "\n".join(f"- {name}: {' '.join(skill.description.split())}" for name, skill in self.skills.items())
        return f"Skills, which the tool Skill reads:\n{listed}" if listed else ""

    def told(self, workspace: Path, servers: Servers | None) -> dict[str, Any]:
        """What job.started says of it, and of the prompts of *servers*, which are commands too."""
        if self.found is None:
            return {"agents": list(self.agents)} if self.agents else {}
        prompts = servers.prompts.items() if servers is not None else ()
        commands = [
            {"name": name, "path": shown(each.path, workspace), "source": each.source, "description": each.description}
            for name, each in self.commands.items()
        ]
        commands += [
            {"name": name, "path": f"mcp:{each.name}", "source": "mcp", "description": each.description}
            for name, each in prompts
        ]
        return {
            "commands": commands,
            "agents": list(self.agents),
            "skills": list(self.skills),
            "plugins": list(self.found.plugins),
            "plugin_errors": [{"name": name, "error": error} for name, error in self.found.plugin_errors],
        }


async def read_customs(workspace: Path, site: Site, spec: JobSpec, env: Mapping[str, str], branch: Branch) -> Customs:
    """Those of a job. *env*: of its commands, which is what files may refer to. What cannot be used is told as notices;
    only the settings file that the client named has to be there: raises AgentdError."""
    settings = await trio.to_thread.run_sync(lambda: list(_settings(workspace, spec, branch)))
    plugins = tuple({plugin.name: plugin for plugin in (*site.plugins, *spec.plugins)}.values())
    if spec.mode is not Mode.QUERY and not (spec.sources or plugins or spec.output_style):
        servers = _servers(site, spec, None, env)
        return Customs(_merged(settings), agents=_agents(spec, None), servers=servers)
    found = await trio.to_thread.run_sync(_load, workspace, spec.sources, plugins)
    for problem in found.problems:
        branch.notice("warning", "EXTENSION", problem)
    return Customs(
        _merged(settings),
        found,
        _agents(spec, found),
        _style(spec, found, branch),
        _servers(site, spec, found, env),
        spec.sources,
    )


def _load(workspace: Path, sources: Sequence[str], plugins: Sequence[Plugin]) -> Extensions:
    from agentd.workspace.extensions import load

    return load(workspace, Path(os.environ.get("HOME") or Path.home()), sources, plugins)


def _settings(workspace: Path, spec: JobSpec, branch: Branch) -> Iterator[SettingsFile]:
    """Those of the sources, and the one that the client named. Blocks. Raises InvalidSettings for the latter."""
    places = {"user": Path(os.environ.get("HOME") or Path.home()), "project": workspace}
    for source, place in places.items():
        path = place / SETTINGS
        if source in spec.sources and path.exists():
            try:
                yield _told(read_settings_file(path), branch)
            except InvalidSettings as exc:
                branch.notice("warning", "SETTINGS", str(exc))
    if spec.settings is not None:
        yield _told(read_settings_file(workspace / spec.settings), branch)


def _told(settings: SettingsFile, branch: Branch) -> SettingsFile:
    for problem in settings.problems:
        branch.notice("warning", "SETTINGS", problem)
    return settings


def _merged(files: Sequence[SettingsFile]) -> SettingsFile:
    merged = SettingsFile(Rules())
    for each in files:
        merged = SettingsFile(merged.rules + each.rules, {**merged.env, **each.env}, each.model or merged.model)
    return merged


def _agents(spec: JobSpec, found: Extensions | None) -> dict[str, Agent]:
    """For Task: what the request says wins. A query has one at least; other jobs have some where they bring them."""
    on_disk = {name: each.agent for name, each in found.agents.items()} if found is not None else {}
    named = {**on_disk, **spec.agents}
    return {GENERAL_NAME: GENERAL, **named} if named or spec.mode is Mode.QUERY else {}


def _style(spec: JobSpec, found: Extensions, branch: Branch) -> str:
    if spec.output_style is None:
        return ""
    style = found.styles(spec.output_style)
    if style is None:
        text = f"there is no output style {spec.output_style!r} in .claude/output-styles of the sources; none is used"
        branch.notice("warning", "OUTPUT_STYLE", text)
        return ""
    return style.text


def _servers(site: Site, spec: JobSpec, found: Extensions | None, env: Mapping[str, str]) -> dict[str, McpServer]:
    """The site's; over them those of files and plugins; over them the request's. An empty request: none at all."""
    if spec.mode not in WITH_SERVERS or spec.servers == {}:
        return {}
    on_disk: dict[str, McpServer] = {}
    if found is not None and found.servers:
        from agentd.tools.mcp.config import read_servers

        for name, raw in found.servers.items():
            on_disk |= read_servers({name: raw.entry}, env=env, root=raw.root)
    return {**site.servers, **on_disk, **(spec.servers or {})}


@asynccontextmanager
async def open_mcp(
    servers: Mapping[str, McpServer], terms: Callable[[type[Terms]], Terms]
) -> AsyncIterator[Servers | None]:
    """None where the job has none: then nothing of MCP is loaded. *terms* makes those that they work under."""
    if not servers:
        yield None
        return
    from agentd.tools.mcp.servers import Terms, open_servers

    async with open_servers(servers, terms(Terms)) as opened:
        yield opened
