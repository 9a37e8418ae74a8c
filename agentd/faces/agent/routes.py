"""The agent API over HTTP: its table is filled by importing what is here. The contract: agent-api.md."""

from __future__ import annotations

from agentd.faces.agent import chat, extensions, running, service, sessions, socket
from agentd.faces.agent.app import AgentSettings, App, open_agent, routes

__all__ = [
    "AgentSettings",
    "App",
    "chat",
    "extensions",
    "open_agent",
    "routes",
    "running",
    "service",
    "sessions",
    "socket",
]
