"""Plugins, memory, and the MCP servers that files name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Plugin
from agentd.workspace.extensions import PluginHook, load
from tests.workspace.extensions.conftest import Ground

SKILL = "---\nname: s\ndescription: Does it\n---\nIn ${CLAUDE_PLUGIN_ROOT}/x"
AGENT = "---\nname: a\ndescription: Does it\n---\nIn ${CLAUDE_PLUGIN_ROOT}/x"


def hooks(**events: Any) -> str:
    return json.dumps({"hooks": events})


def servers(**entries: Any) -> str:
    return json.dumps({"mcpServers": entries})


# --- Plugins ------------------------------------------------------------------------------------------------------


def test_a_plugin_brings_commands_agents_skills_hooks_and_servers(ground: Ground) -> None:
    ground.write(
        {
            "+/.claude-plugin/plugin.json": '{"name": "other", "version": "1.0.0"}',
            "+/commands/c.md": "In ${CLAUDE_PLUGIN_ROOT}/x: $1",
            "+/agents/a.md": AGENT,
            "+/skills/s/SKILL.md": SKILL,
            "+/hooks/hooks.json": hooks(
                PreToolUse=[{"matcher": "Write|Edit", "hooks": [{"type": "command", "command": "fmt", "timeout": 5}]}],
                Stop=[{"hooks": [{"type": "command", "command": "bye"}]}],
            ),
            "+/.mcp.json": servers(db={"command": "${CLAUDE_PLUGIN_ROOT}/db"}),
        }
    )
    found = ground.load([], plugin=True)
    root = ground.plugin
    assert (found.plugins, found.plugin_errors, found.problems) == (("p",), (), ())
    assert found.commands["p:c"].expand("1") == f"In {root}/x: 1"
    assert (found.commands["p:c"].name, found.commands["p:c"].source) == ("p:c", "plugin")
    assert found.agents["a"].agent.prompt == f"In {root}/x"
    assert (found.skills["s"].body(), found.skills["s"].location) == (f"In {root}/x", "plugin")
    assert found.hooks == (
        PluginHook("p", root, "PreToolUse", "fmt", "Write|Edit", 5),
        PluginHook("p", root, "Stop", "bye", "", 60),
    )
    assert found.servers["db"].entry == {"command": "${CLAUDE_PLUGIN_ROOT}/db"}
    assert (found.servers["db"].root, found.servers["db"].source) == (root, "plugin")


def test_what_has_a_name_that_is_taken_is_named_after_its_plugin_too(ground: Ground) -> None:
    ground.write(
        {
            ".claude/skills/s/SKILL.md": SKILL,
            ".claude/agents/a.md": AGENT,
            ".mcp.json": servers(db={"command": "mine"}),
            "+/skills/s/SKILL.md": SKILL,
            "+/agents/a.md": AGENT,
            "+/.mcp.json": servers(db={"command": "theirs"}),
        }
    )
    found = ground.load(["project"], plugin=True)
    assert [(name, one.name, one.location) for name, one in found.skills.items()] == [
        ("s", "s", "project"),
        ("p:s", "p:s", "plugin"),
    ]
    assert list(found.agents) == ["a", "p:a"]
    assert {name: one.entry["command"] for name, one in found.servers.items()} == {"db": "mine", "p:db": "theirs"}


@pytest.mark.parametrize(
    ("path", "error"),
    [
        (None, "it has no path"),
        ("", "it has no path"),
        ("/does/not/exist", "No such file or directory"),
        ("file", "Not a directory"),
        ("a\0b", "it is no path"),
        ("x" * 5000, "File name too long"),
    ],
)
def test_a_plugin_that_is_not_there_is_told_and_costs_only_itself(ground: Ground, path: str | None, error: str) -> None:
    ground.write({"file": "x", "+/commands/c.md": "x"})
    wanted = [Plugin("bad", path), Plugin("good", str(ground.plugin))]
    found = load(ground.workspace, ground.home, [], wanted)
    assert (found.plugins, list(found.commands)) == (("good",), ["good:c"])
    [(name, told)] = found.plugin_errors
    assert name == "bad"
    assert error in told


@pytest.mark.parametrize("manifest", ["", "{", "[]", '{"name": NaN}', "[" * 100_000, "\0"])
def test_a_plugin_whose_manifest_cannot_be_read_is_none(ground: Ground, manifest: str) -> None:
    ground.write({"+/.claude-plugin/plugin.json": manifest, "+/commands/c.md": "x"})
    found = ground.load(plugin=True)
    assert (found.plugins, found.commands) == ((), {})
    assert "plugin.json cannot be used" in found.plugin_errors[0][1]


def test_a_plugin_that_is_not_enabled_is_left_out_without_a_word(ground: Ground) -> None:
    found = load(ground.workspace, ground.home, [], [Plugin("off", "/nowhere", enabled=False)])
    assert (found.plugins, found.plugin_errors) == ((), ())


def test_of_two_plugins_with_one_name_the_second_is_told(ground: Ground) -> None:
    ground.plugin.mkdir()
    found = load(ground.workspace, ground.home, [], [Plugin("p", str(ground.plugin))] * 2)
    assert (found.plugins, found.plugin_errors) == (("p",), (("p", "another plugin has the same name"),))


def test_a_plugin_with_nothing_in_it_is_loaded_and_told(ground: Ground) -> None:
    ground.plugin.mkdir()
    found = ground.load(plugin=True)
    assert found.plugins == ("p",)
    assert "brings no commands" in found.problems[0]


def test_a_path_of_a_plugin_is_one_below_the_workspace_or_the_home_directory(ground: Ground) -> None:
    ground.write({"tools/a/commands/x.md": "x", "~/b/commands/y.md": "y"})
    found = load(ground.workspace, ground.home, [], [Plugin("a", "tools/a"), Plugin("b", "~/b")])
    assert list(found.commands) == ["a:x", "b:y"]


def test_what_a_manifest_has_elsewhere_is_told(ground: Ground) -> None:
    ground.write({"+/.claude-plugin/plugin.json": '{"name": "p", "commands": "./more/"}', "+/commands/c.md": "x"})
    found = ground.load(plugin=True)
    assert found.plugins == ("p",)
    assert "its commands are not read" in found.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"hooks": []}',
        hooks(SessionStart=[{"hooks": [{"command": "x"}]}]),
        hooks(Stop={}),
        hooks(Stop=["x"]),
        hooks(Stop=[{}]),
        hooks(Stop=[{"matcher": 1, "hooks": []}]),
        hooks(Stop=[{"hooks": ["x"]}]),
        hooks(Stop=[{"hooks": [{"type": "prompt", "prompt": "x"}]}]),
        hooks(Stop=[{"hooks": [{"type": "command"}]}]),
        hooks(Stop=[{"hooks": [{"command": " "}]}]),
        hooks(Stop=[{"hooks": [{"command": "x", "timeout": 0}]}]),
        hooks(Stop=[{"hooks": [{"command": "x", "timeout": True}]}]),
        hooks(Stop=[{"hooks": [{"command": "x", "timeout": "5"}]}]),
    ],
)
def test_a_hook_that_is_none_is_left_out_and_told(ground: Ground, text: str) -> None:
    ground.write({"+/hooks/hooks.json": text, "+/commands/c.md": "x"})
    found = ground.load(plugin=True)
    assert (found.plugins, found.hooks) == (("p",), ())
    assert len(found.problems) == 1


def test_a_hook_has_at_most_five_minutes(ground: Ground) -> None:
    ground.write({"+/hooks/hooks.json": hooks(Stop=[{"hooks": [{"command": "x", "timeout": 1e9}]}])})
    assert ground.load(plugin=True).hooks[0].timeout == 300


def test_a_plugin_has_at_most_a_hundred_hooks(ground: Ground) -> None:
    ground.write({"+/hooks/hooks.json": hooks(Stop=[{"hooks": [{"command": "x"}] * 101}])})
    found = ground.load(plugin=True)
    assert len(found.hooks) == 100
    assert len(found.problems) == 1


# --- Memory -------------------------------------------------------------------------------------------------------


def test_memory_is_the_users_then_the_projects(ground: Ground) -> None:
    ground.write({"~/.claude/CLAUDE.md": "I like tea.\n", "CLAUDE.md": "Use tabs.\n", "AGENTS.md": "Not this."})
    found = ground.load()
    assert [(one.source, one.text) for one in found.memory] == [("user", "I like tea."), ("project", "Use tabs.")]
    assert [one.path for one in found.memory] == [ground.home / ".claude/CLAUDE.md", ground.workspace / "CLAUDE.md"]


def test_without_a_claude_md_agents_md_is_read(ground: Ground) -> None:
    ground.write({"AGENTS.md": "Use tabs.", "~/.claude/AGENTS.md": "Not this."})
    assert [one.text for one in ground.load().memory] == ["Use tabs."]


def test_a_claude_md_that_is_a_link_to_agents_md_is_read(ground: Ground) -> None:
    ground.write({"AGENTS.md": "Use tabs."})
    (ground.workspace / "CLAUDE.md").symlink_to("AGENTS.md")
    assert [(one.path.name, one.text) for one in ground.load().memory] == [("CLAUDE.md", "Use tabs.")]


def test_long_memory_is_cut_at_a_line_with_a_note(ground: Ground) -> None:
    ground.write({"CLAUDE.md": "äöü line\n" * 10_000})
    found = ground.load()
    [one] = found.memory
    *lines, note = one.text.split("\n")
    assert set(lines) == {"äöü line"}
    assert note == "[CLAUDE.md: only its first 65536 bytes are read, of 120000]"
    assert found.problems == (f"{ground.workspace}/CLAUDE.md: only its first 65536 bytes are read, of 120000",)


def test_empty_memory_is_none(ground: Ground) -> None:
    ground.write({"CLAUDE.md": "\n \n", "AGENTS.md": "x"})
    assert ground.load().memory == ()


# --- MCP servers --------------------------------------------------------------------------------------------------


def commands(ground: Ground, *sources: str) -> dict[str, tuple[str, str]]:
    return {name: (one.entry["command"], one.source) for name, one in ground.load(sources).servers.items()}


def test_servers_are_those_of_the_sources_files_and_the_narrower_counts(ground: Ground) -> None:
    here = {str(ground.workspace): {"mcpServers": {"local": {"command": "1"}, "both": {"command": "1"}}}}
    user = {"mcpServers": {"user": {"command": "2"}, "both": {"command": "2"}}, "projects": here, "numStartups": 5}
    ground.write(
        {
            "~/.claude.json": json.dumps(user),
            "~/.claude/mcp.json": servers(more={"command": "3"}, user={"command": "3"}),
            ".mcp.json": servers(project={"command": "4"}, both={"command": "4"}, more={"command": "4"}),
            ".claude/mcp.json": servers(project={"command": "5"}),
        }
    )
    assert commands(ground) == {}
    assert commands(ground, "project") == {
        "project": ("5", "project"),
        "both": ("4", "project"),
        "more": ("4", "project"),
    }
    assert commands(ground, "user", "project") == {
        "user": ("3", "user"),
        "both": ("1", "user"),
        "more": ("4", "project"),
        "project": ("5", "project"),
        "local": ("1", "user"),
    }


def test_a_server_says_which_file_it_is_from_and_not_what_is_in_it(ground: Ground) -> None:
    ground.write({".mcp.json": servers(a={"command": "x", "env": {"KEY": "secret"}})})
    one = ground.load().servers["a"]
    assert (one.path, one.root) == (ground.workspace / ".mcp.json", None)
    assert "secret" not in repr(ground.load())


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"mcpServers": []}', '{"mcpServers": 1}', "\xff", "[" * 100_000, "1" * 5000]
)
def test_a_file_of_servers_that_is_none_is_left_out_and_told(ground: Ground, text: str) -> None:
    ground.write({".mcp.json": text.encode("latin-1"), ".claude/mcp.json": servers(a={"command": "x"})})
    found = ground.load()
    assert list(found.servers) == ["a"]
    assert len(found.problems) == 1


def test_a_problem_of_json_names_its_line(ground: Ground) -> None:
    ground.write({".mcp.json": '{\n"mcpServers": {\n  a\n}}'})
    assert "it is no JSON: line 3: " in ground.load().problems[0]


def test_only_a_plugins_file_may_have_nothing_but_servers(ground: Ground) -> None:
    ground.write({".mcp.json": '{"a": {"command": "x"}}', "+/.mcp.json": '{"b": {"command": "y"}}'})
    assert list(ground.load(plugin=True).servers) == ["b"]


def test_a_file_has_at_most_a_hundred_servers(ground: Ground) -> None:
    ground.write({".mcp.json": servers(**{f"s{n}": {"command": "x"} for n in range(101)})})
    found = ground.load()
    assert len(found.servers) == 100
    assert len(found.problems) == 1


def test_a_workspace_behind_a_link_has_the_servers_of_both_its_names(ground: Ground, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ground.workspace)
    projects = {
        str(tmp_path / "link"): {"mcpServers": {"a": {"command": "x"}}},
        str(ground.workspace): {"mcpServers": {"b": {"command": "x"}}},
    }
    ground.write({"~/.claude.json": json.dumps({"projects": projects})})
    assert list(load(tmp_path / "link", ground.home, ["user"], []).servers) == ["a", "b"]
