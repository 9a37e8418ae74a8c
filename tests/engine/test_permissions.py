"""Permissions: the table of the agent API's contract, section 10."""

from __future__ import annotations

import pytest

from agentd.domain import PermissionMode, ToolClass
from agentd.engine.permissions import Verdict, decide

TABLE = {
    ToolClass.READ: "run run run run",
    ToolClass.EDIT: "ask run refuse run",
    ToolClass.EXEC: "ask ask refuse run",
    ToolClass.NET: "ask ask ask run",
    ToolClass.AGENT: "run run run run",  # what it does is decided call by call
}


@pytest.mark.parametrize("tool_class", ToolClass)
def test_a_mode_decides_by_the_class_of_the_tool(tool_class: ToolClass) -> None:
    verdicts = [decide("X", tool_class, mode, ()).verdict.value for mode in PermissionMode]
    assert " ".join(verdicts) == TABLE[tool_class]


def test_an_approved_tool_runs_without_being_asked_for() -> None:
    assert decide("Bash", ToolClass.EXEC, PermissionMode.DEFAULT, {"Bash"}).verdict is Verdict.RUN


def test_plan_mode_refuses_even_what_is_approved_and_says_why() -> None:
    decision = decide("Bash", ToolClass.EXEC, PermissionMode.PLAN, {"Bash"})
    assert decision.verdict is Verdict.REFUSE
    assert "plan mode" in decision.reason
