"""What the requests of the agent API are made of, field by field, and the rules of each. The rules: the agent API
contract, 1.3, 4 and 9. Pure but for one look at the disk: whether a query's cwd is a directory."""

from __future__ import annotations

import os
import re
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Iterable
from typing import Any

from agentd.faces.agent.fields import (
    SHOWN_CHARS,
    Field,
    Kind,
    Loc,
    Read,
    Reader,
    anything,
    array,
    choice,
    either,
    flag,
    integer,
    mapping,
    nullable,
    number,
    table,
    text,
    then,
    url,
)
from agentd.faces.agent.models import FAMILIES, INHERIT

PROMPT_CHARS = 100_000
IMAGE_BYTES = 10 * 1024 * 1024
PAGE_SIZE, MOST_PAGE_SIZE = 50, 100
MODES = ("default", "acceptEdits", "plan", "bypassPermissions")
MEDIA_TYPES = ("image/jpeg", "image/png", "image/gif", "image/webp")
TOOLS = (
    *("Read", "Write", "Edit", "MultiEdit", "Bash", "Glob", "Grep", "LS", "WebFetch", "WebSearch", "Task", "TodoWrite"),
    *("NotebookEdit", "NotebookRead", "AskUserQuestion", "Skill", "SlashCommand"),
    *("BashOutput", "KillShell", "ExitPlanMode"),
)
HOOKS = {
    "PreToolUse": "pre_tool_use",
    "PostToolUse": "post_tool_use",
    "Stop": "stop",
    "SubagentStop": "subagent_stop",
    "UserPromptSubmit": "user_prompt_submit",
    "PreCompact": "pre_compact",
    "Notification": "notification",
}
_REFUSED_ENV = ("LD_PRELOAD", "LD_LIBRARY_PATH", "PATH")
_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_SHELL = re.compile(r"[;&|$(){}\[\]<>!\\`\r\n]")


# --- Rules --------------------------------------------------------------------------------------------------------


def _tool_names(names: list[str], loc: Loc, reader: Reader) -> list[str]:
    if wrong := [name[:SHOWN_CHARS] for name in names if name not in TOOLS and not name.startswith("mcp__")]:
        valid = f"{', '.join(TOOLS[:5])}..., or MCP tools with mcp__* prefix"
        reader.broken(loc, f"Invalid tool names: {wrong[:20]}. Valid tools include: {valid}.")
    return names


def _no_task(names: list[str], loc: Loc, reader: Reader) -> list[str]:
    if "Task" in names:
        reader.broken(loc, "Subagents cannot have Task tool (no nested subagents)")
    return names


def _model(name: str, loc: Loc, reader: Reader) -> str:
    if problem := reader.terms.models.misfit(name):
        reader.broken(loc, problem)
    return name


def _clean(what: str) -> Read:
    """Paths, one or several, of the field *what*."""

    def step(value: str | list[str], loc: Loc, reader: Reader) -> Any:
        paths = [value] if isinstance(value, str) else value
        if any("\0" in path for path in paths):
            reader.broken(loc, f"Null bytes not allowed in {what}")
        elif any(".." in re.split(r"[/\\]", path) for path in paths):
            reader.broken(loc, f"Path traversal not allowed in {what}")
        return value

    return step


def _directory(path: str, loc: Loc, reader: Reader) -> str:
    if not os.path.isdir(reader.terms.workspace / path):  # noqa: PTH112 - Path.is_dir raises for what no path can be
        reader.broken(loc, "cwd is not an existing directory")
    return path


def _env(env: dict[str, str], loc: Loc, reader: Reader) -> dict[str, str]:
    refused = [name for name in env if name.upper() in _REFUSED_ENV]
    if _any_nul((*env, *env.values())):
        reader.broken(loc, "Null bytes not allowed in env")
    elif refused:
        reader.broken(loc, f"Setting {refused[0]} environment variable is not allowed")
    elif any(not name or "=" in name for name in env):
        reader.broken(loc, "Names of environment variables must not be empty and not have a '=' in them")
    return env


def _image(image: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    """What is sent as base64 gets to be "bytes"."""
    where = (*loc, "data")
    if image["type"] == "url":
        _URL.read(image["data"], where, reader)
        return image
    data = image.pop("data")
    if len(data) > IMAGE_BYTES * 3 // 2:  # not worth decoding
        reader.broken(where, _TOO_LARGE)
        return image
    try:
        image["bytes"] = b64decode("".join(data.split()), validate=True)  # base64's lines may be kept
    except (NotBase64, ValueError):
        reader.broken(where, "Image data is not valid base64")
        return image
    if not 0 < len(image["bytes"]) <= IMAGE_BYTES:
        reader.broken(where, _TOO_LARGE if image["bytes"] else "Image data is empty")
    return image


def _command(command: str, loc: Loc, reader: Reader) -> str:
    if "\0" in command:
        reader.broken(loc, "Null bytes not allowed in command")
    elif _SHELL.search(command):
        reader.broken(loc, "Shell metacharacters not allowed in command. Use 'args' for command arguments.")
    return command


def _no_nul(texts: list[str], loc: Loc, reader: Reader) -> list[str]:
    if _any_nul(texts):
        reader.broken(loc, f"Null bytes not allowed in {loc[-1]}")
    return texts


def _transport(server: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    needed = "command" if server["type"] == "stdio" else "url"
    if not server[needed]:
        reader.broken(loc, f"{server['type']} transport requires '{needed}'")
    return server


def _host(pattern: str, loc: Loc, reader: Reader) -> str:
    if not _HOST.fullmatch(pattern):
        reader.broken(loc, "A host is a name or *.name, with or without :port")
    return pattern


def _hook(hook: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    return {**hook, "timeout": hook["timeout"] or reader.terms.hook_seconds}


def _only_set(hooks: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    return {event: hook for event, hook in hooks.items() if hook is not None}


def _output(output: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    schema = output["schema"]
    if output["type"] == "json":
        return output
    if schema is None:
        reader.broken(loc, "json_schema type requires 'schema' field")
    elif "type" not in schema:
        reader.broken(loc, "JSON schema must have 'type' property")
    elif problem := _schema_problem(schema):
        reader.broken((*loc, "schema"), problem)
    return output


def _schema_problem(schema: dict[str, Any]) -> str:
    from agentd.wire.jsonschema import SchemaError, compile_schema  # large, and seldom needed

    try:
        compile_schema(schema)
    except SchemaError as exc:
        return str(exc)
    return ""


def _conflicts(asked: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    both = sorted({*(asked.get("allowed_tools") or ())} & {*(asked.get("disallowed_tools") or ())})
    if both:
        names = ", ".join(f"'{name[:SHOWN_CHARS]}'" for name in both)
        reader.broken(loc, f"Tool conflict: {{{names}}} appear in both allowed_tools and disallowed_tools")
    fallback = asked.get("fallback_model")
    if fallback is not None and fallback == asked.get("model"):
        reader.broken((*loc, "fallback_model"), "fallback_model must not be the same as model")
    return asked


def _mode_there(change: dict[str, Any], loc: Loc, reader: Reader) -> dict[str, Any]:
    if change["permission_mode"] is None:
        reader.broken(loc, "permission_mode is required for permission_mode_change control event")
    return change


def _any_nul(texts: Iterable[str]) -> bool:
    return any("\0" in text for text in texts)


# --- Tables -------------------------------------------------------------------------------------------------------

_TOO_LARGE = f"Image data is larger than {IMAGE_BYTES // (1024 * 1024)} MiB"
NAMED: dict[str, dict[str, Any]] = {}
_URL = url()


def _named(name: str, kind: Kind) -> Kind:
    """*kind*, referred to by *name* in schemas."""
    NAMED[name] = kind.schema
    return Kind(kind.read, {"$ref": f"#/components/schemas/{name}"})


def _optional(kind: Kind) -> Field:
    return Field(nullable(kind))


def _required(kind: Kind) -> Field:
    return Field(kind, required=True)


_TEXT = text()
_TEXTS = array(_TEXT)
_TOOL_NAMES = Field(then(_TEXTS, _tool_names), [])
_WORDS = Field(mapping(_TEXT), {})
_MODE = choice(*MODES)
_MODEL = _optional(then(_TEXT, _model))

_IMAGE = _named(
    "Image",
    then(
        table(
            {
                "type": Field(choice("base64", "url"), "base64"),
                "media_type": _required(choice(*MEDIA_TYPES)),
                "data": _required(_TEXT),
            }
        ),
        _image,
    ),
)
_AGENT = _named(
    "Agent",
    table(
        {
            "description": _required(text(1, 1000)),
            "prompt": _required(text(1, 50_000)),
            "tools": _optional(then(_TEXTS, _no_task)),
            "model": _optional(choice(*FAMILIES, INHERIT)),
        }
    ),
)
_MCP_SERVER = _named(
    "McpServer",
    then(
        table(
            {
                "type": Field(choice("stdio", "sse", "http"), "stdio"),
                "command": _optional(then(_TEXT, _command)),
                "args": Field(then(_TEXTS, _no_nul), []),
                "env": _WORDS,
                "url": _optional(_URL),
                "headers": _WORDS,
            }
        ),
        _transport,
    ),
)
_HOOK = _named(
    "Hook",
    then(
        table(
            {
                "url": _required(_URL),
                "timeout": Field(integer(1, 300)),
                "headers": _WORDS,
                "matcher": _optional(_TEXT),
            }
        ),
        _hook,
    ),
)
_ALL_HOOKS = table({event: Field(nullable(_HOOK), also=alias) for event, alias in HOOKS.items()}, fill=False)
_PLUGIN = _named(
    "Plugin", table({"name": _required(text(1)), "path": _optional(_TEXT), "enabled": Field(flag(), True)})
)
_OUTPUT = _named(
    "OutputFormat",
    then(
        table(
            {
                "type": Field(choice("json", "json_schema"), "json_schema"),
                "schema": _optional(mapping(anything())),
            }
        ),
        _output,
    ),
)
_SANDBOX = _named(
    "Sandbox",
    table(
        {
            "enabled": Field(flag(), True),
            "allowed_paths": Field(then(_TEXTS, _no_nul), []),
            "network_access": Field(either(flag(), array(then(_TEXT, _host))), False),
        }
    ),
)

FIELDS: dict[str, Field] = {
    "prompt": _required(text(1, PROMPT_CHARS)),
    "images": _optional(array(_IMAGE)),
    "session_id": _optional(_TEXT),
    "fork_session": Field(flag(), False),
    "continue_conversation": Field(flag(), False),
    "allowed_tools": _TOOL_NAMES,
    "disallowed_tools": _TOOL_NAMES,
    "permission_mode": Field(_MODE, "default"),
    "permission_prompt_tool_name": _optional(_TEXT),
    "model": _MODEL,
    "fallback_model": _MODEL,
    "max_turns": _optional(integer(1, 1000)),
    "max_budget_usd": _optional(number(above=0)),
    "max_thinking_tokens": _optional(integer(0)),
    "max_buffer_size": _optional(integer()),
    "cwd": _optional(then(_TEXT, _clean("cwd"), _directory)),
    "add_dirs": Field(then(_TEXTS, _clean("add_dirs")), []),
    "env": Field(then(mapping(_TEXT), _env), {}),
    "system_prompt": _optional(_TEXT),
    "system_prompt_append": _optional(_TEXT),
    "output_style": _optional(_TEXT),
    "settings": _optional(then(_TEXT, _clean("settings"))),
    "setting_sources": _optional(array(choice("project", "user"))),
    "agents": _optional(mapping(_AGENT)),
    "mcp_servers": _optional(mapping(_MCP_SERVER)),
    "plugins": _optional(array(_PLUGIN)),
    "hooks": _optional(_named("Hooks", then(_ALL_HOOKS, _only_set))),
    "enable_file_checkpointing": Field(flag(), False),
    "output_format": _optional(_OUTPUT),
    "include_partial_messages": Field(flag(), False),
    "sandbox": _optional(_SANDBOX),
    "user": _optional(_TEXT),
    "extra_args": Field(mapping(nullable(_TEXT)), {}),
    "detach": Field(flag(), False),
}
QUERY = then(table(FIELDS, fill=False), _conflicts)
FOLLOW_UP = then(
    table(
        {name: field if field.default is None else _optional(field.kind) for name, field in FIELDS.items()}, fill=False
    ),
    _conflicts,
)
ANSWER = table({"answer": _required(text(1, PROMPT_CHARS)), "question_id": _optional(_TEXT)})
CONTROL = then(
    table({"type": _required(choice("permission_mode_change")), "permission_mode": _optional(_MODE)}), _mode_there
)
REWIND = table({"checkpoint_id": _required(text(1)), "dry_run": Field(flag(), False)})
RENAME = table({"title": _required(text(1, 200))})
SETTLE = table(
    {
        "decision": _required(choice("allow", "deny", "always", "answer")),
        "answer": _optional(text(1, PROMPT_CHARS)),
        "reason": Field(text(0, PROMPT_CHARS), ""),
        "updated_input": _optional(mapping(anything())),
    }
)
LOOK = table({"cwd": FIELDS["cwd"], "source": _optional(choice("filesystem", "database"))})
PAGE = table(
    {
        "page": Field(integer(1), 1),
        "page_size": Field(integer(1, MOST_PAGE_SIZE), PAGE_SIZE),
        "mode": _optional(_TEXT),
        "project_id": _optional(_TEXT),
        "tags": Field(_TEXTS, []),
        "search": _optional(_TEXT),
        "status": _optional(choice("active", "completed", "error")),
    }
)
