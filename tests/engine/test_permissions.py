"""Permissions: the table and the order of the agent API's contract, section 10."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.domain import PermissionMode, Rules, ToolClass
from agentd.engine.permissions import Verdict
from tests.permitting import decide

DEFAULT, ACCEPT, PLAN, BYPASS = PermissionMode
TABLE = {
    ToolClass.READ: "run run run run",
    ToolClass.EDIT: "ask run refuse run",
    ToolClass.EXEC: "ask ask refuse run",
    ToolClass.NET: "ask ask ask run",
    ToolClass.AGENT: "run run run run",  # what it does is decided call by call
    ToolClass.MCP: "ask ask refuse run",
    ToolClass.MCP_READ: "ask ask run run",
}


@pytest.mark.parametrize("tool_class", ToolClass)
def test_a_mode_decides_by_the_class_of_the_tool(tool_class: ToolClass) -> None:
    verdicts = [decide(tool_class, mode).verdict.value for mode in PermissionMode]
    assert " ".join(verdicts) == TABLE[tool_class]


def test_a_mode_that_was_changed_to_counts() -> None:
    assert decide(ToolClass.EXEC, PLAN, changed_to="bypassPermissions").verdict is Verdict.RUN


@pytest.mark.parametrize("given", [{"allowed": ["X"]}, {"always": ["X"]}, {"opinion": "allow"}])
def test_what_is_approved_runs_without_being_asked_for(given: dict[str, Any]) -> None:
    assert decide(ToolClass.EXEC, DEFAULT, **given).verdict is Verdict.RUN


@pytest.mark.parametrize("given", [{"allowed": ["X"]}, {"always": ["X"]}, {"opinion": "allow"}, {"opinion": "ask"}])
def test_plan_mode_refuses_even_what_is_approved_and_says_why(given: dict[str, Any]) -> None:
    decision = decide(ToolClass.EXEC, PLAN, **given)
    assert decision.verdict is Verdict.REFUSE
    assert "plan mode" in decision.reason


@pytest.mark.parametrize("mode", PermissionMode)
def test_a_hook_has_a_person_asked_in_every_mode_that_does_not_refuse(mode: PermissionMode) -> None:
    assert decide(ToolClass.READ, mode, opinion="ask").verdict is Verdict.ASK


@pytest.mark.parametrize("mode", PermissionMode)
def test_a_rule_that_denies_is_the_last_word(mode: PermissionMode) -> None:
    decision = decide(ToolClass.EXEC, mode, name="Bash", rules=Rules(deny=("Bash",)), allowed=["Bash"], opinion="allow")
    assert decision.verdict is Verdict.REFUSE
    assert "the rule Bash denies it" in decision.reason


def test_a_rule_that_allows_is_an_approval() -> None:
    rules = Rules(allow=("Bash(git status)",))
    assert decide(ToolClass.EXEC, DEFAULT, name="Bash", rules=rules, command="git status").verdict is Verdict.RUN
    assert decide(ToolClass.EXEC, DEFAULT, name="Bash", rules=rules, command="git push").verdict is Verdict.ASK


def test_a_rule_that_asks_counts_unless_everything_is_let_through() -> None:
    rules = Rules(ask=("Read",))
    verdicts = [decide(ToolClass.READ, mode, name="Read", rules=rules).verdict.value for mode in PermissionMode]
    assert verdicts == ["ask", "ask", "ask", "run"]


def test_what_may_be_denied_is_asked_for_even_where_everything_is_let_through() -> None:
    rules = Rules(deny=("Bash(rm:*)",))
    assert decide(ToolClass.EXEC, BYPASS, name="Bash", rules=rules, command="X=rm; $X -rf /").verdict is Verdict.ASK
    assert decide(ToolClass.EXEC, BYPASS, name="Bash", rules=rules, command="ls").verdict is Verdict.RUN


def test_edits_are_accepted_where_the_work_is_and_nowhere_else(tmp_path: Path) -> None:
    work, beside, out = (tmp_path / name for name in ("work", "beside", "out"))
    for place in (work, beside, out):
        place.mkdir()
    (work / "link").symlink_to(out)

    def verdict(path: str) -> Verdict:
        return decide(
            ToolClass.EDIT, ACCEPT, name="Write", workspace=work, directories=[beside], file_path=path
        ).verdict

    for path in ("a", "sub/a", str(work / "a"), str(beside / "a")):
        assert verdict(path) is Verdict.RUN
    for path in ("../out/a", str(out / "a"), "link/a", "/etc/hosts", "\0"):
        assert verdict(path) is Verdict.ASK
