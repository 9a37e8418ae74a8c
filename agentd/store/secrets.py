"""What is secret in a job's spec: it is in secrets.json, for the owner only, and not in the log. DESIGN, Storage.

Secret are the values of `env`, the headers of `hooks`, and how MCP `servers` are reached.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from agentd.store.home import SessionDir

HIDDEN = ""  # what the log has in the place of a secret text


def conceal(spec: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """A JobSpec as JSON without its secrets, and these; they are empty if it has none."""
    hooks = dict(spec.get("hooks", {}))
    secret = {
        "env": dict(spec.get("env", {})),
        "hooks": {event: hook["headers"] for event, hook in hooks.items() if hook.get("headers")},
        "servers": dict(spec.get("servers") or {}),
    }
    shown = {
        "env": dict.fromkeys(secret["env"], HIDDEN),
        "hooks": {event: {**hook, "headers": dict.fromkeys(hook["headers"], HIDDEN)} for event, hook in hooks.items()},
    }
    if secret["servers"]:  # the log has how they are reached, but not where
        shown["servers"] = {name: {"transport": server["transport"]} for name, server in secret["servers"].items()}
    return {**spec, **shown}, {name: value for name, value in secret.items() if value}


def reveal(spec: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of conceal(). Values of which nothing is kept any more stay hidden."""
    hooks, headers = spec.get("hooks", {}), secret.get("hooks", {})
    return {
        **spec,
        "env": {**spec.get("env", {}), **secret.get("env", {})},
        "hooks": {event: {**hook, "headers": headers.get(event, hook["headers"])} for event, hook in hooks.items()},
        **({"servers": secret["servers"]} if "servers" in secret else {}),
    }


def keep(session: SessionDir, job: str, secret: Mapping[str, Any], others: Collection[str]) -> None:
    """Keep those of a job that is about to be accepted, and of *others* what there is; the rest is forgotten. A later
    job may inherit from the latest. Blocks. Raises StoreFailed."""
    kept = session.read_secrets()
    wanted = {name: value for name, value in kept.items() if name in others} | ({job: dict(secret)} if secret else {})
    if wanted != kept:
        session.write_secrets(wanted)


def revealed(session: SessionDir, job: str, spec: Mapping[str, Any]) -> dict[str, Any]:
    """The whole spec of a job, from what the log says of it. Blocks. Raises StoreFailed."""
    hidden = any(spec.get(name) for name in ("env", "hooks", "servers"))
    return reveal(spec, session.read_secrets().get(job, {})) if hidden else dict(spec)
