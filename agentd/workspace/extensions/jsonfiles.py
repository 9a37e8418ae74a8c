"""MCP servers and hooks that files name, in JSON of Claude's shapes. They are handed on as they are written: what a
server is started with is decided elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from agentd.errors import ToolFailed
from agentd.wire.typed import NotJson, parse
from agentd.workspace.extensions.nouns import PluginHook, RawServer
from agentd.workspace.extensions.places import LARGEST_FILE, Place, Problems

LARGEST_OF_USER = 32 << 20  # bytes: other programs keep their history in ~/.claude.json
MOST_SERVERS = 100  # of one file
MOST_HOOKS = 100  # of one plugin
DEFAULT_TIMEOUT, LONGEST_TIMEOUT = 60.0, 300.0  # seconds
EVENTS = frozenset(
    ("PreToolUse", "PostToolUse", "Stop", "SubagentStop", "UserPromptSubmit", "PreCompact", "Notification")
)


def read_json(place: Place, relative: str, limit: int = LARGEST_FILE) -> dict[str, Any] | None:
    """The object that a file holds; None if there is no file. Raises ToolFailed."""
    found = place.read(relative, limit + 1)
    if found is None:
        return None
    if len(found[0]) > limit:
        raise ToolFailed(f"it is larger than {limit} bytes")
    try:
        value = parse(found[0])
    except NotJson as exc:
        line = found[0].decode("utf-8", "replace").count("\n", 0, exc.offset) + 1
        raise ToolFailed(f"it is no JSON: line {line}: {exc.reason}") from exc
    if not isinstance(value, dict):
        raise ToolFailed("it holds no JSON object")
    return value


def user_servers(user: Place, workspaces: tuple[Path, ...], problems: Problems) -> tuple[dict[str, RawServer], ...]:
    """The MCP servers of ~/.claude.json and ~/.claude/mcp.json: those for all projects, and those for *workspaces*,
    which are the names of one."""
    relative = ".claude.json"
    everywhere: dict[str, RawServer] = {}
    here: dict[str, RawServer] = {}
    try:
        document = read_json(user, relative, LARGEST_OF_USER) or {}
        everywhere = _servers(user, relative, document.get("mcpServers"), problems)
        projects = document.get("projects")
        for path in map(str, workspaces):
            project = projects.get(path) if isinstance(projects, dict) else None
            if isinstance(project, dict):
                here |= _servers(user, relative, project.get("mcpServers"), problems)
    except ToolFailed as exc:
        problems.add(user.top / relative, f"left out: {exc}", of_servers=True)
    return everywhere | file_servers(user, ".claude/mcp.json", problems), here


def file_servers(place: Place, relative: str, problems: Problems, root: Path | None = None) -> dict[str, RawServer]:
    """The MCP servers of a file: its `mcpServers`, or, in a plugin (*root*), all there is."""
    try:
        document = read_json(place, relative)
    except ToolFailed as exc:
        problems.add(place.top / relative, f"left out: {exc}", of_servers=True)
        return {}
    if document is None:
        return {}
    bare = root is not None and "mcpServers" not in document
    return _servers(place, relative, document if bare else document.get("mcpServers"), problems, root)


def _servers(
    place: Place, relative: str, entries: Any, problems: Problems, root: Path | None = None
) -> dict[str, RawServer]:
    path = place.top / relative
    if not isinstance(entries, dict | None):
        problems.add(path, "its mcpServers are left out: they are no object", of_servers=True)
        return {}
    named = [(name, entry) for name, entry in (entries or {}).items() if name and name.isprintable()]
    if len(named) > MOST_SERVERS:
        problems.add(path, f"of {len(named)} MCP servers only the first {MOST_SERVERS} count", of_servers=True)
    return {name: RawServer(entry, place.location, path, root) for name, entry in named[:MOST_SERVERS]}


def read_hooks(place: Place, relative: str, plugin: str, problems: Problems) -> tuple[PluginHook, ...]:
    """The hooks of a plugin: {"hooks": {EVENT: [{"matcher", "hooks": [{"type", "command", "timeout"}]}]}}, where the
    type is always command. What is none is left out."""
    path = place.top / relative
    try:
        document = read_json(place, relative)
    except ToolFailed as exc:
        problems.add(path, f"left out: {exc}")
        return ()
    hooks: list[PluginHook] = []
    for event, matcher, entry in _entries((document or {}).get("hooks", {}), path, problems):
        command, timeout = entry.get("command"), entry.get("timeout", DEFAULT_TIMEOUT)
        if entry.get("type", "command") != "command" or not isinstance(command, str) or not command.strip():
            problems.add(path, f"a hook of {event} is left out: only those of type command, with one, can be run")
        elif isinstance(timeout, bool) or not isinstance(timeout, int | float) or not timeout > 0:
            problems.add(path, f"a hook of {event} is left out: its timeout is no number of seconds")
        elif len(hooks) == MOST_HOOKS:
            problems.add(path, f"it has more than {MOST_HOOKS} hooks; the others are left out")
            break
        else:
            hooks.append(PluginHook(plugin, place.top, event, command, matcher, min(timeout, LONGEST_TIMEOUT)))
    return tuple(hooks)


def _entries(events: Any, path: Path, problems: Problems) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Event, matcher and description of each hook."""
    if not isinstance(events, dict):
        problems.add(path, "its hooks are left out: they are no object")
        return
    for event, groups in events.items():
        if event not in EVENTS:
            problems.add(path, f"its hooks of {ascii(event)[:40]} are left out: there is no such event here")
            continue
        for group in groups if isinstance(groups, list) else [None]:
            matcher, hooks = (group.get("matcher"), group.get("hooks")) if isinstance(group, dict) else (None, None)
            if not isinstance(matcher, str | None) or not isinstance(hooks, list):
                problems.add(path, f"a hook of {event} is left out: it is no object with a list of hooks")
                continue
            for entry in hooks:
                yield event, matcher or "", entry if isinstance(entry, dict) else {}
