"""A query as the job that it asks for. Pure. The rules: the agent API contract, 5, 9.4 and 9.5.

What a query says wins, an empty list or object too; what it leaves open is as it was in the session's last job, but for
what belongs to one query alone: its images, its limits, whether its messages come in parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from agentd.domain import (
    Agent,
    Hook,
    ImagePart,
    JobSpec,
    Limits,
    McpServer,
    Mode,
    Models,
    OutputFormat,
    PermissionMode,
    Plugin,
    Sandbox,
    SystemPrompt,
    ToolPolicy,
)
from agentd.faces.agent.models import DEFAULT, INHERIT, ModelNames
from agentd.faces.agent.requests import Query
from agentd.faces.agent.terms import Terms

_FIRST = JobSpec(mode=Mode.QUERY, prompt="")


def to_spec(query: Query, terms: Terms, inherited: JobSpec | None = None, *, single: bool = False) -> JobSpec:
    """*inherited*: the session's last job, with its secrets. *single*: nobody can be asked while it runs.

    The images that came with *query* are to be in the session's blobs before the job begins: query.blobs."""
    old = inherited or _FIRST
    given = query.given.get
    face = _face(query, terms, old.face, single=single)
    cwd = Path(face["cwd"])
    return JobSpec(
        mode=Mode.QUERY,
        prompt=query.prompt,
        models=_models(face["model"], face["fallback"], terms.models),
        tools=ToolPolicy(
            allowed=tuple(given("allowed_tools", old.tools.allowed)),
            disallowed=tuple(given("disallowed_tools", old.tools.disallowed)),
            permission_mode=PermissionMode(given("permission_mode", old.tools.permission_mode)),
            rules=old.tools.rules,
            ask_seconds=0 if single else terms.question_seconds,
            prompt_tool=given("permission_prompt_tool_name", old.tools.prompt_tool),
        ),
        limits=Limits(given("max_turns", terms.turns), given("max_budget_usd")),
        images=tuple(_image(image) for image in given("images", ())),
        system=SystemPrompt(
            given("system_prompt", old.system.replace), given("system_prompt_append", old.system.append)
        ),
        env=given("env", old.env),
        directories=_absolute(cwd, query.given["add_dirs"]) if "add_dirs" in query.given else old.directories,
        hooks=_hooks(query.given["hooks"]) if "hooks" in query.given else old.hooks,
        servers=_servers(query.given["mcp_servers"]) if "mcp_servers" in query.given else old.servers,
        agents=_agents(query.given["agents"], terms.models) if "agents" in query.given else old.agents,
        plugins=_plugins(cwd, query.given["plugins"]) if "plugins" in query.given else old.plugins,
        sources=tuple(given("setting_sources", old.sources)),
        output_style=given("output_style", old.output_style),
        sandbox=_sandbox(cwd, query.given["sandbox"]) if "sandbox" in query.given else old.sandbox,
        output=OutputFormat(**query.given["output_format"]) if "output_format" in query.given else old.output,
        checkpoints=given("enable_file_checkpointing", old.checkpoints),
        thinking_tokens=given("max_thinking_tokens", old.thinking_tokens),
        user=given("user", old.user),
        settings=str(cwd / query.given["settings"]) if "settings" in query.given else old.settings,
        face=face,
    )


def _face(query: Query, terms: Terms, old: Mapping[str, Any], *, single: bool) -> dict[str, Any]:
    """What this API wants to find again: what it says in `init`, and what a later query of the session inherits that no
    other field of a JobSpec holds."""
    given = query.given.get
    return {
        "model": given("model", old.get("model", DEFAULT)),
        "fallback": given("fallback_model", old.get("fallback")),
        "cwd": str(terms.workspace / given("cwd", old.get("cwd", ""))),
        "partials": query["include_partial_messages"],
        "single": single,
    }


def _models(name: str, fallback: str | None, names: ModelNames) -> Models:
    planner = names.planner(name)
    spare = fallback and (names.planner(fallback) or fallback)
    # A model is no fallback of its own: a later query may ask for the one that another query named as that.
    return Models(planner=planner, fallback=spare if spare not in (planner, name) else None)


def _image(image: Mapping[str, Any]) -> ImagePart:
    if "bytes" in image:
        return ImagePart(image["media_type"], sha256=sha256(image["bytes"]).hexdigest())
    return ImagePart(image["media_type"], url=image["data"])


def _hooks(hooks: Mapping[str, Any]) -> dict[str, Hook]:
    return {event: Hook(**hook) for event, hook in hooks.items()}


def _servers(servers: Mapping[str, Mapping[str, Any]]) -> dict[str, McpServer]:
    """As they are: what looks like a variable in a request is none."""
    from agentd.tools.mcp.config import read_servers  # most queries bring none

    return read_servers(servers, env=None)


def _agents(agents: Mapping[str, Mapping[str, Any]], names: ModelNames) -> dict[str, Agent]:
    return {
        name: Agent(
            description=each["description"],
            prompt=each["prompt"],
            tools=None if each["tools"] is None else tuple(each["tools"]),
            model=names.planner(each["model"]) if each["model"] not in (None, INHERIT) else None,
        )
        for name, each in agents.items()
    }


def _plugins(cwd: Path, plugins: Sequence[Mapping[str, Any]]) -> tuple[Plugin, ...]:
    return tuple(
        Plugin(each["name"], each["path"] and str(cwd / each["path"]), enabled=each["enabled"]) for each in plugins
    )


def _sandbox(cwd: Path, sandbox: Mapping[str, Any]) -> Sandbox:
    network = sandbox["network_access"]
    return Sandbox(
        enabled=sandbox["enabled"],
        paths=_absolute(cwd, sandbox["allowed_paths"]),
        network=bool(network),
        hosts=tuple(network) if isinstance(network, list) else (),
    )


def _absolute(cwd: Path, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(cwd / path) for path in paths)
