"""Extensions of agents: skills, commands, subagents, plugins, output styles and memory, in files of Claude's formats.

load() finds them. No processes here, and no sockets: what MCP servers and hooks they name is said, not started.
"""

from agentd.workspace.extensions.loading import load
from agentd.workspace.extensions.nouns import (
    AgentFile,
    Command,
    Extensions,
    Memory,
    PluginHook,
    RawServer,
    Skill,
    Style,
)

__all__ = ["AgentFile", "Command", "Extensions", "Memory", "PluginHook", "RawServer", "Skill", "Style", "load"]
