"""What is decided about one call of one tool."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from agentd.domain import PermissionMode, Rules, ToolClass, ToolPolicy, ToolUse
from agentd.engine.permissions import Decision, Opinion, Permissions
from agentd.engine.rules import RuleBook
from agentd.store.fold import JobView, SessionState
from tests.workshop import TOOLS, FakeTool


def decide(
    tool_class: ToolClass,
    mode: PermissionMode,
    *,
    name: str = "X",
    allowed: Sequence[str] = (),
    always: Sequence[str] = (),
    rules: Rules = Rules(),  # noqa: B008  # frozen
    opinion: Opinion = None,
    changed_to: str | None = None,
    workspace: Path = Path("/w"),
    directories: Sequence[Path] = (),
    **call_input: Any,
) -> Decision:
    job = JobView("j", {}, None, None, 1, 0, permission_mode=changed_to)
    policy = ToolPolicy(allowed=tuple(allowed), permission_mode=mode)
    state = SessionState(always=list(always))
    permissions = Permissions(policy, state, job, workspace, directories, rules=RuleBook(rules))
    tool = FakeTool(name, tool_class, TOOLS[0].work)
    return permissions.decide(tool, ToolUse("c", name, {"file_path": "a", **call_input}), opinion)
