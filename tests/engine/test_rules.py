"""Permission rules: which calls they name, and which rule wins."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Rules
from agentd.engine.rules import RuleBook, Ruling


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    root = tmp_path / "ws"
    for directory in ("src", "secrets/deep", "nested/secrets", "out"):
        (root / directory).mkdir(parents=True)
    (root / ".env").write_text("")
    (root / "secrets" / "key").write_text("")
    (root / "link").symlink_to("secrets")
    (root / "src" / "innocent").symlink_to("../.env")
    return root


class Judge:
    """Asks for one rule at a time."""

    def __init__(self, workspace: Path, directories: Sequence[Path] = ()) -> None:
        self.workspace, self.directories = workspace, directories

    def __call__(self, rules: Rules, tool: str, **call_input: Any) -> str | None:
        book = RuleBook(rules)
        assert book.problems == []
        ruling = book.decide(tool, call_input, workspace=self.workspace, directories=self.directories)
        return ruling.verdict if ruling else None

    def denied(self, rule: str, tool: str, **call_input: Any) -> bool:
        return self(Rules(deny=(rule,)), tool, **call_input) == "deny"

    def allowed(self, rule: str, tool: str, **call_input: Any) -> bool:
        return self(Rules(allow=(rule,)), tool, **call_input) == "allow"


@pytest.fixture
def judge(workspace: Path) -> Judge:
    return Judge(workspace)


def test_deny_beats_ask_and_ask_beats_allow(judge: Judge) -> None:
    assert judge(Rules(("Read",), ("Read",), ("Read",)), "Read", file_path="a") == "deny"
    assert judge(Rules(("Read",), ("Read",), ()), "Read", file_path="a") == "ask"
    assert judge(Rules(("Read",), (), ()), "Read", file_path="a") == "allow"
    assert judge(Rules(), "Read", file_path="a") is None


def test_a_ruling_names_the_rule_as_it_was_written(workspace: Path) -> None:
    book = RuleBook(Rules(deny=(" Read( ./x ) ", "Edit(./.env)")))
    assert book.decide("Write", {"file_path": ".env"}, workspace=workspace) == Ruling("deny", "Edit(./.env)")


@pytest.mark.parametrize("path", ["secrets/key", "./secrets/key", "src/../secrets/key", "secrets/deep/er", "link/key"])
def test_a_path_below_a_denied_directory_is_denied_however_it_is_written(judge: Judge, path: str) -> None:
    assert judge.denied("Read(./secrets/**)", "Read", file_path=path)
    assert judge.denied("Read(./secrets/**)", "Read", file_path=str(judge.workspace / path))


@pytest.mark.parametrize(
    "rule", ["Read(.env)", "Read(./.env)", "Read(/.env)", "Read(**/.env)", "Read(.e*)", "Read(?env)"]
)
def test_a_link_to_a_denied_file_is_denied(judge: Judge, rule: str) -> None:
    assert judge.denied(rule, "Read", file_path="src/innocent")


def test_a_rule_for_a_link_is_one_for_what_it_leads_to(judge: Judge) -> None:
    assert judge.denied("Read(./link/**)", "Read", file_path="secrets/key")


def test_an_anchored_rule_is_about_one_place_and_a_name_about_all(judge: Judge) -> None:
    assert not judge.denied("Read(./secrets/**)", "Read", file_path="nested/secrets/x")
    assert judge.denied("Read(secrets)", "Read", file_path="nested/secrets/x")
    assert not judge.denied("Read(secrets)", "Read", file_path="nested/secretsx")


def test_a_rule_from_the_root_or_the_home_directory(judge: Judge) -> None:
    assert judge.denied("Edit(//etc/**)", "Write", file_path="/etc/passwd")
    assert judge.denied("Edit(/etc/**)", "Write", file_path="/etc/passwd")
    assert judge.denied("Edit(/etc/**)", "Write", file_path="etc/passwd")
    assert judge.denied("Read(~/.ssh/**)", "Read", file_path=str(Path.home() / ".ssh" / "id_rsa"))
    assert judge.denied("Read(~/.ssh/**)", "Read", file_path="~/.ssh/id_rsa")


@pytest.mark.parametrize("tool", ["Edit", "Write", "MultiEdit"])
def test_edit_stands_for_all_tools_that_write(judge: Judge, tool: str) -> None:
    assert judge.denied("Edit(./src/**)", tool, file_path="src/a")
    assert judge.denied("Edit", tool, file_path="src/a")
    assert judge.allowed("Edit(./src/**)", tool, file_path="src/a")


def test_a_notebook_is_a_file_like_others(judge: Judge) -> None:
    assert judge.denied("Edit(*.ipynb)", "NotebookEdit", notebook_path="src/a.ipynb")
    assert judge.denied("Read(*.ipynb)", "NotebookRead", notebook_path="src/a.ipynb")


def test_read_stands_for_searching_and_listing_too(judge: Judge) -> None:
    assert judge.denied("Read(./secrets/**)", "Grep", pattern="x", path="secrets")
    assert judge.denied("Read(./secrets/**)", "Grep", pattern="x", path="secrets/key")
    assert judge.denied("Read(./secrets/**)", "Glob", pattern="*", path="secrets")
    assert judge.denied("Read(./secrets/**)", "Glob", pattern="secrets/**")
    assert judge.denied("Read(./secrets/**)", "LS", path="secrets")
    assert not judge.denied("Read(./secrets/**)", "Edit", file_path="secrets/key")


def test_a_search_above_denied_files_asks(judge: Judge) -> None:
    rules = Rules(deny=("Read(./secrets/**)",), allow=("Read",))
    assert judge(rules, "Grep", pattern="x") == "ask"
    assert judge(rules, "Grep", pattern="x", path=".") == "ask"
    assert judge(rules, "Grep", pattern="x", path="src") == "allow"
    assert judge(Rules(deny=("Read(./absent)",), allow=("Read",)), "Grep", pattern="x") == "allow"
    assert judge(Rules(deny=("Read(./.env)",), allow=("Read",)), "Grep", pattern="x", glob="*.py") == "allow"


def test_a_rule_that_allows_is_held_against_where_a_link_leads(judge: Judge) -> None:
    assert judge.allowed("Edit(./src/**)", "Write", file_path="src/new/file")
    assert not judge.allowed("Edit(./src/**)", "Write", file_path="src/innocent")
    assert not judge.allowed("Edit(./src/**)", "Write", file_path="src/../out/x")
    assert not judge.allowed("Edit(./link/**)", "Write", file_path="link/key")
    assert not judge.allowed("Read(/etc/**)", "Read", file_path="/etc/passwd")


def test_relative_rules_that_deny_hold_in_further_directories(workspace: Path, tmp_path: Path) -> None:
    judge = Judge(workspace, [tmp_path / "more"])
    assert judge.denied("Read(./secrets/**)", "Read", file_path=str(tmp_path / "more" / "secrets" / "x"))
    assert not judge.allowed("Read(./secrets/**)", "Read", file_path=str(tmp_path / "more" / "secrets" / "x"))


@pytest.mark.parametrize(
    ("rule", "tool"),
    [("mcp__git", "mcp__git__push"), ("mcp__git__*", "mcp__git__push"), ("mcp__git__push", "mcp__git__push")],
)
def test_mcp_rules_name_a_server_or_a_tool(judge: Judge, rule: str, tool: str) -> None:
    assert judge.denied(rule, tool)
    assert judge.allowed(rule, tool)
    assert not judge.denied(rule, "mcp__github__push")


def test_a_domain_is_denied_with_all_below_it_and_allowed_by_itself(judge: Judge) -> None:
    rule = "WebFetch(domain:example.com)"
    assert judge.denied(rule, "WebFetch", url="https://example.com/x")
    assert judge.denied(rule, "WebFetch", url="https://EXAMPLE.com.:8080/x")
    assert judge.denied(rule, "WebFetch", url="https://www.example.com/")
    assert not judge.denied(rule, "WebFetch", url="https://notexample.com/")
    assert judge.allowed(rule, "WebFetch", url="https://example.com/x")
    assert not judge.allowed(rule, "WebFetch", url="https://www.example.com/x")
    assert not judge.allowed(rule, "WebFetch", url="https://example.com@evil.test/")
    assert not judge.allowed(rule, "WebFetch", url="https://evil.test/#example.com")
    assert judge.allowed("WebFetch(domain:*.example.com)", "WebFetch", url="https://a.example.com/")


def test_skills_agents_and_slash_commands_are_named_by_name(judge: Judge) -> None:
    assert judge.denied("Skill(deploy)", "Skill", skill="deploy")
    assert judge.denied("Skill(deploy)", "Skill", command="deploy")
    assert judge.allowed("Task(explore)", "Task", subagent_type="explore")
    assert judge.allowed("SlashCommand(/review:*)", "SlashCommand", command="/review 12")
    assert not judge.allowed("SlashCommand(/review)", "SlashCommand", command="/review 12")


MISTAKES = """
Bash(
Bash)
Bash()
Bash('a)
git status
Nope
Nope(x)
Read()
Read(!x)
Read(../x)
WebFetch(x)
TodoWrite(x)
Skill(*:*)
mcp__a__b(x)
"""


@pytest.mark.parametrize("rule", MISTAKES.split("\n")[:-1])
def test_a_rule_that_is_not_understood_is_a_problem_and_never_allows(rule: str, workspace: Path) -> None:
    book = RuleBook(Rules(allow=(rule, "LS")))
    assert len(book.problems) == 1
    assert book.decide("Bash", {"command": "git status"}, workspace=workspace) is None
    assert book.decide("LS", {"path": "."}, workspace=workspace) == Ruling("allow", "LS")


def test_commands_start_in_the_directory_that_the_session_is_in(workspace: Path) -> None:
    book = RuleBook(Rules(deny=("Read(./secrets/**)",), allow=("Bash(cat:*)",)))
    command = {"command": "cat key"}
    inside = book.decide("Bash", command, workspace=workspace, cwd=workspace / "secrets")
    assert inside
    assert inside.verdict == "ask"
    assert book.decide("Bash", command, workspace=workspace) == Ruling("allow", "Bash(cat:*)")


def test_input_of_another_type_is_named_by_rules_without_a_pattern_only(judge: Judge) -> None:
    assert judge(Rules(deny=("Read(x)",), allow=("Read",)), "Read", file_path=7) == "allow"
    assert judge(Rules(allow=("Read(x)",)), "Read", file_path="a\0b") is None
    assert judge(Rules(deny=("Bash(rm:*)",)), "Bash", command=None) is None


def test_a_command_line_above_denied_files_asks_only_where_it_would_read_them(judge: Judge) -> None:
    rules = Rules(deny=("Read(./secrets/**)",), allow=("Bash",))
    assert judge(rules, "Bash", command="rg key") == "ask"
    assert judge(rules, "Bash", command="cp -r . /tmp/x") == "ask"
    assert judge(rules, "Bash", command="ruff check .") == "allow"
    assert judge(rules, "Bash", command="grep -r key src") == "allow"
