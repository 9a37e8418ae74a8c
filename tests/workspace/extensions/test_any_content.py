"""Whatever files hold, reading them raises nothing."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.workspace.extensions.conftest import Ground

MARKDOWN = [
    ".claude/skills/x/SKILL.md",
    ".claude/commands/x.md",
    ".claude/agents/x.md",
    ".claude/output-styles/x.md",
    "CLAUDE.md",
    "+/skills/x.md",
    "+/commands/x.md",
    "+/agents/x.md",
]
JSON = [".mcp.json", "~/.claude.json", "+/.mcp.json", "+/hooks/hooks.json", "+/.claude-plugin/plugin.json"]
KEYS = ["name", "description", "tools", "allowed-tools", "model", "argument-hint", "disable-model-invocation", "x"]
WORDS = ["mcpServers", "hooks", "projects", "PreToolUse", "matcher", "type", "command", "timeout", "a", ""]

values = st.sampled_from(
    ["x", "[a, b]", "{a: b}", "*", "yes", "3", "null", "|\n  x", "- a", "a: b", "'", '"x"', "\n  - a"]
)
fields = st.lists(st.builds("{}: {}".format, st.sampled_from(KEYS), values), max_size=6).map("\n".join)
markdown = st.one_of(
    st.binary(max_size=40),
    st.builds("---\n{}\n---\n{}".format, fields, st.text(max_size=20)).map(
        lambda text: text.encode("utf-8", "replace")
    ),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=4),
    max_leaves=15,
)
documents = st.dictionaries(st.sampled_from(WORDS), json_values, max_size=4)
json_files = st.one_of(st.binary(max_size=20), documents.map(lambda value: json.dumps(value).encode()))


@given(
    st.dictionaries(st.sampled_from(MARKDOWN), markdown, max_size=8),
    st.dictionaries(st.sampled_from(JSON), json_files, max_size=5),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
)
@settings(max_examples=300, deadline=None)
def test_whatever_files_hold_reading_them_raises_nothing(
    texts: dict[str, bytes], tables: dict[str, bytes], arguments: str
) -> None:
    with tempfile.TemporaryDirectory() as top:
        ground = Ground(Path(top, "w").resolve(), Path(top, "h"), Path(top, "p"))
        ground.write({**texts, **tables})
        found = ground.load(plugin=True)
        found.styles("x")
        told: list[Any] = [found.problems, found.plugin_errors]
        told += [skill.body() for skill in found.skills.values()]
        told += [command.expand(arguments) for command in found.commands.values()]
        json.dumps(told, ensure_ascii=False).encode()
