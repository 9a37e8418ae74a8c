"""Settings files as Claude-style agents have them: JSON with permission rules, environment and model.

The rules: contract of the agent API, section 18.5. What else is in such a file is for other programs.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Rules
from agentd.errors import AgentdError

MAX_BYTES = 1 << 20
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_HONOURED = ("allow", "ask", "deny")


class InvalidSettings(AgentdError):
    """The file cannot be read, or its rules cannot: nothing runs without the rules that somebody wrote for it."""

    code = "AGENT_ERROR"

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"the settings file {path} cannot be used: {problem}")


@attrs.frozen
class SettingsFile:
    rules: Rules = attrs.field(factory=Rules)
    env: Mapping[str, str] = attrs.field(factory=dict)
    model: str | None = None
    problems: tuple[str, ...] = ()  # what is in it and is left out, for people


def read_settings_file(path: Path) -> SettingsFile:
    """Raises InvalidSettings."""
    try:
        content = _content(path)
    except (OSError, ValueError) as exc:
        raise InvalidSettings(path, getattr(exc, "strerror", None) or "the path is none") from exc
    if len(content) > MAX_BYTES:
        raise InvalidSettings(path, f"it is larger than {MAX_BYTES} bytes")
    try:
        return _settings(json.loads(content))
    except RecursionError as exc:
        raise InvalidSettings(path, "it is nested too deeply") from exc
    except ValueError as exc:
        raise InvalidSettings(path, str(exc)) from exc


def _content(path: Path) -> bytes:
    """At most one byte more than a settings file may have. Raises OSError, also for what is no regular file: a pipe
    would keep the run waiting for ever, and our own standard input is for nobody else to read."""
    with open(path, "rb", opener=lambda name, _: os.open(name, _READ)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return file.read(MAX_BYTES + 1)


def _settings(found: Any) -> SettingsFile:
    """Raises ValueError."""
    if not isinstance(found, dict):
        raise ValueError("expected a JSON object @ $")
    problems: list[str] = []
    return SettingsFile(
        rules=_rules(found.get("permissions", {}), problems),
        env=_env(found.get("env", {}), problems),
        model=_model(found.get("model"), problems),
        problems=tuple(problems),
    )


def _rules(found: Any, problems: list[str]) -> Rules:
    """Raises ValueError: a rule that is not understood may have been one that denies."""
    if not isinstance(found, dict):
        raise ValueError("expected an object @ $.permissions")
    problems += [f"permissions.{key} is not used" for key in found if key not in _HONOURED]
    return Rules(**{key: _texts(found.get(key, []), key) for key in _HONOURED})


def _texts(found: Any, key: str) -> tuple[str, ...]:
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"expected a list of strings @ $.permissions.{key}")
    return tuple(found)


def _env(found: Any, problems: list[str]) -> dict[str, str]:
    if not isinstance(found, dict):
        problems.append("env is left out: it is no object")
        return {}
    env = {}
    for name, value in found.items():
        if not isinstance(value, str | int | float) or not name or set(name) & set("=\0") or "\0" in str(value):
            problems.append(f"env.{name} is left out: it is no text")
        else:
            env[name] = json.dumps(value) if isinstance(value, bool) else str(value)
    return env


def _model(found: Any, problems: list[str]) -> str | None:
    if found is None or (isinstance(found, str) and found.strip()):
        return found
    problems.append("model is left out: it is no text")
    return None
