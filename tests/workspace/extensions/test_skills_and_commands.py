"""Skills, commands, agents and output styles: which files count, under which name, and what is made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.domain import Agent
from agentd.errors import ToolFailed
from agentd.workspace.extensions.nouns import expanded
from tests.workspace.extensions.conftest import Ground


def skill(name: str, description: str = "Does it", more: str = "") -> str:
    return f"---\nname: {name}\ndescription: {description}\n{more}---\n\nDo it.\n"


# --- Skills -------------------------------------------------------------------------------------------------------


def test_a_skill_is_a_directory_with_a_file(ground: Ground) -> None:
    more = "allowed-tools: Read, Bash(git add:*)\nmodel: haiku\ndisable-model-invocation: true\nlicense: MIT\n"
    ground.write({".claude/skills/forms/SKILL.md": skill("pdf", "Fills in forms", more)})
    found = ground.load()
    [one] = found.skills.values()
    assert (one.name, one.description, one.location) == ("pdf", "Fills in forms", "project")
    assert (one.allowed_tools, one.model, one.disable_model_invocation) == (("Read", "Bash(git add:*)"), "haiku", True)
    assert one.path == ground.workspace / ".claude/skills/forms/SKILL.md"
    assert one.directory == ground.workspace / ".claude/skills/forms"
    assert one.body() == "Do it."
    assert found.problems == ()


def test_a_skill_may_be_one_file(ground: Ground) -> None:
    ground.write({"~/.claude/skills/pdf.md": skill("pdf"), "~/.claude/skills/README.md": "Our skills"})
    found = ground.load()
    assert [(one.name, one.location) for one in found.skills.values()] == [("pdf", "user")]
    assert found.problems == ()


@pytest.mark.parametrize(
    "text",
    [
        "No front matter",
        "---\nname: pdf\n---\n",
        "---\ndescription: x\n---\n",
        "---\nname:\ndescription: x\n---\n",
        "---\nname: pdf\ndescription: ''\n---\n",
        "---\nname: 1\ndescription: x\n---\n",
        "---\nname: pdf\ndescription: x\n",
        "---\n- a\n---\n",
        "---\nname: *x\ndescription: x\n---\n",
        "---\nname: pdf\ndescription: x\nmetadata:\n  a: *b\n---\n",
        '---\nname: "a\\nb"\ndescription: x\n---\n',
        f"---\nname: {'a' * 300}\ndescription: x\n---\n",
        f"---\nname: a\ndescription: x\nmore: {'a' * 70_000}\n---\n",
    ],
)
def test_a_skill_that_does_not_say_what_it_is_is_left_out_and_told(ground: Ground, text: str) -> None:
    ground.write({".claude/skills/pdf/SKILL.md": text, ".claude/skills/ok/SKILL.md": skill("ok")})
    found = ground.load()
    assert list(found.skills) == ["ok"]
    [problem] = found.problems
    assert problem.startswith(f"{ground.workspace}/.claude/skills/pdf/SKILL.md: left out: ")


def test_a_problem_of_front_matter_names_the_line_in_the_file(ground: Ground) -> None:
    ground.write({".claude/skills/pdf/SKILL.md": "---\ndescription: y\nname: *x\n---\n"})
    [problem] = ground.load().problems
    assert "line 3: an alias (*) is not supported; if it is text, put it in quotes" in problem


@pytest.mark.parametrize(("name", "description"), [("PDF Forms", "x"), ("a" * 65, "x"), ("a", "x" * 1025)])
def test_a_skill_beyond_the_limits_is_listed_and_told(ground: Ground, name: str, description: str) -> None:
    ground.write({".claude/skills/x/SKILL.md": skill(name, description)})
    found = ground.load()
    assert found.skills[name].description == description
    assert len(found.problems) == 1


def test_a_description_that_is_no_yaml_is_taken_as_it_stands_and_told(ground: Ground) -> None:
    ground.write({".claude/skills/x/SKILL.md": skill("x", 'Use it when: the user says "forms"')})
    found = ground.load()
    assert found.skills["x"].description == 'Use it when: the user says "forms"'
    assert "line 3" in found.problems[0]


@pytest.mark.parametrize(
    "more",
    [
        "allowed-tools: {a: b}",
        "allowed-tools: 3",
        "allowed-tools: *",
        "model: [a]",
        "model: 4",
        "license: see: LICENSE",
    ],
)
def test_what_is_optional_is_understood_or_ignored_and_told(ground: Ground, more: str) -> None:
    ground.write({".claude/skills/x/SKILL.md": skill("x", more=f"{more}\n")})
    found = ground.load()
    assert (found.skills["x"].allowed_tools, found.skills["x"].model) == ((), None)
    assert len(found.problems) == 1


def test_what_cannot_be_read_of_disable_model_invocation_keeps_a_skill_from_the_model(ground: Ground) -> None:
    ground.write({".claude/skills/x/SKILL.md": skill("x", more="disable-model-invocation: *yes\n")})
    assert ground.load().skills["x"].disable_model_invocation


def test_a_value_that_nothing_follows_from_need_not_be_yaml(ground: Ground) -> None:
    ground.write({".claude/skills/x/SKILL.md": skill("x", more="when-to-use: always: really\nmodel: haiku\n")})
    found = ground.load()
    assert found.skills["x"].model == "haiku"
    assert len(found.problems) == 1


def test_crlf_and_a_byte_order_mark_change_nothing(ground: Ground) -> None:
    text = skill("pdf", "|\n  a\n  b").replace("\n", "\r\n")
    ground.write({".claude/skills/pdf/SKILL.md": b"\xef\xbb\xbf" + text.encode()})
    one = ground.load().skills["pdf"]
    assert (one.description, one.body()) == ("a\nb", "Do it.")


def test_a_projects_skill_counts_not_the_users(ground: Ground) -> None:
    ground.write({"~/.claude/skills/a/SKILL.md": skill("a", "user's"), ".claude/skills/a/SKILL.md": skill("a", "ours")})
    assert ground.load().skills["a"].description == "ours"
    assert ground.load(["user"]).skills["a"].description == "user's"


def test_of_two_skills_with_one_name_in_one_place_the_first_counts_and_the_other_is_told(ground: Ground) -> None:
    ground.write({".claude/skills/b/SKILL.md": skill("x", "b"), ".claude/skills/a/SKILL.md": skill("x", "a")})
    found = ground.load()
    assert found.skills["x"].description == "a"
    assert "has the name x too" in found.problems[0]


def test_of_sources_that_are_not_asked_for_only_commands_are_read(ground: Ground) -> None:
    for top in ("", "~/"):
        ground.write(
            {
                f"{top}.claude/skills/a/SKILL.md": skill("a"),
                f"{top}.claude/agents/a.md": skill("a"),
                f"{top}.claude/commands/{'user' if top else 'project'}.md": "x",
                f"{top}.claude/output-styles/a.md": "x",
                f"{top}.claude/CLAUDE.md": "x",
                f"{top}.claude/mcp.json": '{"mcpServers": {"a": {"command": "a"}}}',
            }
        )
    ground.write({"CLAUDE.md": "x", ".mcp.json": '{"mcpServers": {"b": {"command": "b"}}}'})
    found = ground.load([])
    assert list(found.commands) == ["user", "project"]
    assert (found.skills, found.agents, found.memory, found.servers) == ({}, {}, (), {})
    assert found.styles("a") is None


def test_a_body_is_read_when_it_is_wanted(ground: Ground) -> None:
    ground.write({".claude/skills/a/SKILL.md": skill("a")})
    one = ground.load().skills["a"]
    ground.write({".claude/skills/a/SKILL.md": "---\nname: a\n---\nNow this."})
    assert one.body() == "Now this."
    one.path.unlink()
    with pytest.raises(ToolFailed, match="no longer there"):
        one.body()


# --- Commands -----------------------------------------------------------------------------------------------------


def test_a_command_needs_no_front_matter(ground: Ground) -> None:
    ground.write({".claude/commands/fix.md": "# Fix an issue\n\nFix $ARGUMENTS."})
    one = ground.load([]).commands["fix"]
    assert (one.name, one.source, one.description) == ("fix", "project", "Fix an issue")
    assert one.path == ground.workspace / ".claude/commands/fix.md"
    assert one.expand("#1") == "# Fix an issue\n\nFix #1."


def test_a_command_says_more_in_its_front_matter(ground: Ground) -> None:
    matter = "allowed-tools: Bash(git add:*), Bash(git status:*)\ndescription: Commits\nargument-hint: [message]\n"
    ground.write({"~/.claude/commands/commit.md": f"---\n{matter}model: haiku\n---\nCommit: $1"})
    one = ground.load([]).commands["commit"]
    assert (one.source, one.description, one.argument_hint, one.model) == ("user", "Commits", "[message]", "haiku")
    assert one.allowed_tools == ("Bash(git add:*)", "Bash(git status:*)")
    assert one.expand("'a b'") == "Commit: a b"


def test_an_argument_hint_as_documented_is_taken_as_it_stands(ground: Ground) -> None:
    ground.write(
        {".claude/commands/a.md": "---\nargument-hint: [pr-number] [priority]\ndescription: R\n---\nReview $1"}
    )
    one = ground.load([]).commands["a"]
    assert (one.argument_hint, one.description, one.expand("7")) == ("[pr-number] [priority]", "R", "Review 7")


def test_a_command_whose_front_matter_cannot_be_read_works_without_it(ground: Ground) -> None:
    ground.write({".claude/commands/a.md": "---\na: [\n  *\nb: c\n---\nGo on"})
    found = ground.load([])
    one = found.commands["a"]
    assert (one.description, one.expand(""), one.disable_model_invocation) == ("Go on", "Go on", True)
    assert "Nothing of its front matter is used" in found.problems[0]


def test_a_command_that_begins_with_a_rule_is_all_text(ground: Ground) -> None:
    ground.write({".claude/commands/a.md": "---\n\nGo on with $1"})
    found = ground.load([])
    assert found.commands["a"].expand("it") == "---\n\nGo on with it"
    assert "never closed" in found.problems[0]


def test_a_skill_whose_front_matter_is_no_longer_closed_is_all_text(ground: Ground) -> None:
    ground.write({".claude/skills/a/SKILL.md": skill("a")})
    one = ground.load().skills["a"]
    ground.write({".claude/skills/a/SKILL.md": "---\nname: a"})
    assert one.body() == "---\nname: a"


def test_a_command_in_a_directory_has_its_own_name_only(ground: Ground) -> None:
    ground.write({".claude/commands/front/end/x.md": "deep", ".claude/commands/front/y.md": "y"})
    found = ground.load([])
    assert {name: one.expand("") for name, one in found.commands.items()} == {"y": "y", "x": "deep"}


def test_of_two_commands_with_one_name_the_less_deep_one_counts(ground: Ground) -> None:
    ground.write({".claude/commands/a/x.md": "deep", ".claude/commands/x.md": "top"})
    found = ground.load([])
    assert found.commands["x"].expand("") == "top"
    assert len(found.problems) == 1


def test_a_projects_command_counts_not_the_users(ground: Ground) -> None:
    ground.write({"~/.claude/commands/x.md": "user's", ".claude/commands/x.md": "ours"})
    assert ground.load([]).commands["x"].expand("") == "ours"


def test_a_command_that_nobody_could_call_is_left_out_and_told(ground: Ground) -> None:
    ground.write({".claude/commands/two words.md": "x", ".claude/commands/no.txt": "x", ".claude/commands/.h.md": "x"})
    found = ground.load([])
    assert found.commands == {}
    assert len(found.problems) == 1


@pytest.mark.parametrize(
    ("body", "arguments", "text"),
    [
        ("Fix $ARGUMENTS", "1 2", "Fix 1 2"),
        ("$1-$2-$3", "a 'b c'", "a-b c-"),
        ('$1|$2|$3|$4', "\"a b\" don't can't 'x", "a b|don't|can't|'x"),
        ("$10 and $100 cost $1", "5", "$10 and $100 cost 5"),
        ("$0 $ARGUMENTS_FILE $x $$", "", "$0 $ARGUMENTS_FILE $x $$"),
        ("awk '{print $$1}' $1 $$ARGUMENTS", "f", "awk '{print $1}' f $ARGUMENTS"),
        ("$ARGUMENTS", "$1 $ARGUMENTS", "$1 $ARGUMENTS"),
        ("$1$2", "$2 x", "$2x"),
        ("Review.", "now", "Review.\n\nARGUMENTS: now"),
        ("Review.", "  ", "Review."),
        ("Review $1.", "", "Review ."),
        ("$1", "''", ""),
        ("$9", "1 2 3 4 5 6 7 8 9 10", "9"),
    ],
)  # fmt: skip
def test_arguments_take_the_place_of_their_names(body: str, arguments: str, text: str) -> None:
    assert expanded(body, arguments) == text


@given(st.text("$1A RGUMENTS'\"x\n", max_size=40))
def test_what_arguments_say_is_not_expanded(arguments: str) -> None:
    assert expanded("<$ARGUMENTS>", arguments) == f"<{arguments}>"


# --- Agents -------------------------------------------------------------------------------------------------------


def agent(more: str = "", prompt: str = "You review.") -> str:
    return f"---\nname: reviewer\ndescription: Reviews\n{more}---\n\n{prompt}\n"


@pytest.mark.parametrize(
    ("more", "tools", "model"),
    [
        ("", None, None),
        ("tools: Read, Grep\nmodel: opus\n", ("Read", "Grep"), "opus"),
        ("tools:\n  - Read\n  - Bash(git log:*)\nmodel: inherit\n", ("Read", "Bash(git log:*)"), None),
        ("tools: [Read]\ncolor: red\n", ("Read",), None),
        ("tools: '*'\n", None, None),
        ("tools:\nmodel:\n", None, None),
        ("tools: []\n", (), None),
    ],
)
def test_an_agent_on_disk_is_an_agent(
    ground: Ground, more: str, tools: tuple[str, ...] | None, model: str | None
) -> None:
    ground.write({".claude/agents/any-name.md": agent(more)})
    found = ground.load()
    one = found.agents["reviewer"]
    assert one.agent == Agent("Reviews", "You review.", tools, model)
    assert (one.source, one.path) == ("project", ground.workspace / ".claude/agents/any-name.md")
    assert found.problems == ()


def test_an_agent_starts_no_agents(ground: Ground) -> None:
    ground.write({".claude/agents/a.md": agent("tools: Read, Task\n")})
    found = ground.load()
    assert found.agents["reviewer"].agent.tools == ("Read",)
    assert "agents start no agents" in found.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "You review.",
        "---\nname: a\n---\nx",
        agent(prompt=""),
        agent(prompt="x" * 50_001),
        agent("tools: 3\n"),
        agent("tools: [Read, 3]\n"),
        agent("tools: *\n"),
    ],
)
def test_an_agent_that_is_none_is_left_out_and_told(ground: Ground, text: str) -> None:
    ground.write({".claude/agents/a.md": text})
    found = ground.load()
    assert found.agents == {}
    assert len(found.problems) == 1


def test_a_projects_agent_counts_not_the_users(ground: Ground) -> None:
    ground.write({"~/.claude/agents/a.md": agent(prompt="user's"), ".claude/agents/team/a.md": agent(prompt="ours")})
    assert ground.load().agents["reviewer"].agent.prompt == "ours"


# --- Output styles ------------------------------------------------------------------------------------------------


def test_an_output_style_is_its_body(ground: Ground) -> None:
    ground.write({".claude/output-styles/terse.md": "---\nname: Terse\ndescription: Short\n---\n\nBe terse.\n"})
    style = ground.load().styles("terse")
    assert style is not None
    assert (style.name, style.description, style.text, style.source) == ("terse", "Short", "Be terse.", "project")


def test_an_output_style_is_the_projects_then_the_users_then_a_plugins(ground: Ground) -> None:
    def text() -> str:
        style = ground.load(plugin=True).styles("x")
        return style.text if style else "none"

    ground.plugin.mkdir()
    assert text() == "none"
    for name in ("+/output-styles/x.md", "~/.claude/output-styles/x.md", ".claude/output-styles/x.md"):
        ground.write({name: name})
        assert text() == name


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "/etc/passwd", "x\n", "a\0b", "\ud800", "a" * 5000])
def test_an_output_style_is_named_not_found_by_a_path(ground: Ground, name: str) -> None:
    ground.write({".claude/x.md": "x", ".claude/output-styles/a/b.md": "x"})
    assert ground.load().styles(name) is None


def test_an_output_style_whose_front_matter_cannot_be_read_is_its_body(ground: Ground) -> None:
    ground.write({".claude/output-styles/x.md": "---\na:\n  *b\n---\nBe terse."})
    style = ground.load().styles("x")
    assert style is not None
    assert style.text == "Be terse."


def test_an_output_style_that_cannot_be_read_is_none_and_told(ground: Ground, caplog: pytest.LogCaptureFixture) -> None:
    ground.write({".claude/output-styles/x.md": b"\0\0"})
    assert ground.load().styles("x") is None
    assert "it is no text" in caplog.text


def test_a_place_without_anything_has_nothing(tmp_path: Path) -> None:
    ground = Ground(tmp_path / "gone", tmp_path / "neither", tmp_path / "nor")
    found = ground.load(plugin=True)
    assert (found.skills, found.commands, found.agents, found.memory, found.problems) == ({}, {}, {}, (), ())
    [(name, error)] = found.plugin_errors
    assert name == "p"
    assert "No such file" in error
