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
    Hook,
    ImagePart,
    JobSpec,
    Limits,
    Mode,
    Models,
    OutputFormat,
    PermissionMode,
    SystemPrompt,
    ToolPolicy,
)
from agentd.faces.agent.models import DEFAULT, ModelNames
from agentd.faces.agent.requests import Query
from agentd.faces.agent.terms import Terms

_KEPT = ("permission_prompt_tool_name", "output_style", "setting_sources", "agents", "plugins", "sandbox")
_FIRST = JobSpec(mode=Mode.QUERY, prompt="")


def to_spec(query: Query, terms: Terms, inherited: JobSpec | None = None, *, single: bool = False) -> JobSpec:
    """*inherited*: the session's last job, with its secrets. *single*: nobody can be asked while it runs.

    The images that came with *query* are to be in the session's blobs before the job begins: query.blobs."""
    old = inherited or _FIRST
    given = query.given.get
    face = _face(query, terms, old.face, single=single)
    cwd = Path(face["cwd"])
    allowed = tuple(given("allowed_tools", old.tools.allowed))
    return JobSpec(
        mode=Mode.QUERY,
        prompt=query.prompt,
        models=_models(face["model"], face["fallback"], terms.models),
        tools=ToolPolicy(
            allowed=allowed,
            disallowed=tuple(given("disallowed_tools", old.tools.disallowed)),
            permission_mode=PermissionMode(given("permission_mode", old.tools.permission_mode)),
            rules=old.tools.rules,
            ask_seconds=0 if single else terms.question_seconds,
        ),
        limits=Limits(given("max_turns", terms.turns), given("max_budget_usd")),
        images=tuple(_image(image) for image in given("images", ())),
        system=SystemPrompt(
            given("system_prompt", old.system.replace), given("system_prompt_append", old.system.append)
        ),
        env=given("env", old.env),
        directories=_absolute(cwd, query.given["add_dirs"]) if "add_dirs" in query.given else old.directories,
        hooks=_hooks(query.given["hooks"]) if "hooks" in query.given else old.hooks,
        output=OutputFormat(**query.given["output_format"]) if "output_format" in query.given else old.output,
        checkpoints=given("enable_file_checkpointing", old.checkpoints),
        thinking_tokens=given("max_thinking_tokens", old.thinking_tokens),
        user=given("user", old.user),
        settings=str(cwd / query.given["settings"]) if "settings" in query.given else old.settings,
        notices=_notices(face, allowed),
        face=face,
    )


def _face(query: Query, terms: Terms, old: Mapping[str, Any], *, single: bool) -> dict[str, Any]:
    """What this API wants to find again: what it says in `init`, and what a later query of the session inherits that no
    other field of a JobSpec holds."""
    given = query.given.get
    servers = given("mcp_servers", old.get("secret", {}).get("mcp_servers", old.get("mcp_servers")))
    return {
        "model": given("model", old.get("model", DEFAULT)),
        "fallback": given("fallback_model", old.get("fallback")),
        "cwd": str(terms.workspace / given("cwd", old.get("cwd", ""))),
        "partials": query["include_partial_messages"],
        "single": single,
        **{name: given(name, old.get(name)) for name in _KEPT},
        "mcp_servers": None if servers is None else {name: {"type": each["type"]} for name, each in servers.items()},
        # Commands, arguments and addresses of servers may have keys in them, as their environments and headers have.
        "secret": {"mcp_servers": servers} if servers else {},
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


def _absolute(cwd: Path, paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(cwd / path) for path in paths)


def _notices(face: Mapping[str, Any], allowed: Sequence[str]) -> tuple[str, ...]:
    """What this version cannot do of what is asked for: said, and not passed over in silence."""
    asked = {
        "Subagents (agents, Task)": bool(face["agents"]) or "Task" in allowed,
        "MCP servers": bool(face["mcp_servers"]) or any(name.startswith("mcp__") for name in allowed),
        "Plugins": any(plugin["enabled"] for plugin in face["plugins"] or ()),
        "Settings from disk (setting_sources)": bool(face["setting_sources"]),
        "Skills": "Skill" in allowed,
        "Slash commands": "SlashCommand" in allowed,
        "Output styles": face["output_style"] is not None,
        "The sandbox": bool(face["sandbox"] and face["sandbox"]["enabled"]),
    }
    return tuple(f"{what}: not in this version; the query goes on without." for what, wanted in asked.items() if wanted)
