"""What runs may have beside the tools that are built in: skills, MCP servers. The contract: agent-api.md, 18 and 23."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from agentd.domain import McpServer
from agentd.faces.agent import requests
from agentd.faces.agent.answers import json_answer
from agentd.faces.agent.app import App, route
from agentd.wire.messages import Request, Response

if TYPE_CHECKING:
    from agentd.workspace.extensions import Extensions, Skill

SOURCE, STORED = "filesystem", "database"  # the latter is what other programs have too
MASK = "***"
logger = logging.getLogger(__name__)


@route("GET", "/api/v1/skills")
async def list_skills(app: App, request: Request) -> Response:
    """Of the user, of the project in `cwd`, and of configured plugins; 403 for a directory that is not the key's."""
    asked = requests.look(request.raw_query, app.terms)
    workspace = app.terms.workspace / (asked.cwd or "")
    app.keys.check_root(request.principal, workspace)
    if asked.source == STORED:
        return json_answer(200, {"skills": []})
    found = await trio.to_thread.run_sync(_load, app, workspace)
    for text in found.problems:
        logger.info("%s", text)
    return json_answer(200, {"skills": [_skill(skill) for skill in found.skills.values()]})


@route("GET", "/api/v1/mcp-servers")
async def list_servers(app: App, request: Request) -> Response:
    """Those that are configured for every run. Nothing that may be a key is told of them."""
    asked = requests.look(request.raw_query, app.terms)
    servers = {} if asked.source == STORED else app.settings.site.servers
    return json_answer(200, {"servers": [_server(name, server) for name, server in servers.items()]})


def _load(app: App, workspace: Path) -> Extensions:
    """Blocks."""
    from agentd.workspace.extensions import load  # large, and seldom needed

    return load(workspace, Path.home(), ("user", "project"), app.settings.site.plugins)


def _skill(skill: Skill) -> dict[str, Any]:
    return {
        "id": f"fs:{skill.name}",
        "name": skill.name,
        "description": skill.description,
        "location": skill.location,
        "path": str(skill.path),
        "source": SOURCE,
        "enabled": True,
    }


def _server(name: str, server: McpServer) -> dict[str, Any]:
    return {
        "id": f"fs:{name}",
        "name": name,
        "type": server.transport,
        "env": dict.fromkeys(server.env, MASK),
        "headers": dict.fromkeys(server.headers, MASK),
        "source": SOURCE,
        "enabled": not server.problem,
        "error": server.problem or None,
    }
