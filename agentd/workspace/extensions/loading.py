"""Extensions of agents as they lie on disk, found and read. Blocking: to be called in a thread. It raises nothing.

Where they are: the agent API contract, 18. What a repository brings is somebody else's: see places.py for what is not
followed, and how much is read at most. Nothing is kept from one call to the next, so nothing is ever out of date.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from agentd.domain import Plugin
from agentd.workspace.extensions.markdown import read_agents, read_commands, read_skills
from agentd.workspace.extensions.nouns import (
    AgentFile,
    Command,
    Extensions,
    Skill,
)
from agentd.workspace.extensions.places import Place, Problems

T = TypeVar("T")


def load(workspace: Path, home: Path, sources: Collection[str], plugins: Sequence[Plugin]) -> Extensions:
    """What there is for a job in *workspace* of a person whose home directory is *home*. *sources*: "user", "project".

    Commands of both are read in any case, and the *plugins* named; skills, agents, styles, memory and MCP servers only
    of *sources*. Of things with one name a project's counts, not the user's; a plugin's becomes `plugin:name`.
    """
    problems = Problems()
    user = Place(home, "user", confined=False)
    project = Place(Path(os.path.realpath(workspace)), "project", confined=True)
    chosen = [place for place in (user, project) if place.location in sources]
    found = _Found()
    for place in (user, project):
        found.commands |= read_commands(place, ".claude/commands", problems)
    for place in chosen:
        found.skills |= read_skills(place, ".claude/skills", problems)
        found.agents |= read_agents(place, ".claude/agents", problems)
    return Extensions(
        skills=found.skills,
        commands=found.commands,
        agents=found.agents,
        problems=problems.texts(),
    )


@attrs.define
class _Found:
    skills: dict[str, Skill] = attrs.field(factory=dict)
    commands: dict[str, Command] = attrs.field(factory=dict)
    agents: dict[str, AgentFile] = attrs.field(factory=dict)
