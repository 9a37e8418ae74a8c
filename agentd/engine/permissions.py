"""Whether a tool call may run. Pure. The classes, the modes and the order: contract of the agent API, section 10."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

import attrs

from agentd.domain import PermissionMode, ToolClass

ALLOW_FLAGS = {
    ToolClass.EDIT: "--permission-mode acceptEdits (edits) or bypassPermissions (everything)",
    ToolClass.EXEC: "--permission-mode bypassPermissions",
    ToolClass.NET: "--permission-mode bypassPermissions",
}


class Verdict(Enum):
    RUN = "run"
    ASK = "ask"
    REFUSE = "refuse"


@attrs.frozen
class Decision:
    verdict: Verdict
    reason: str = ""  # of a refusal: the model is told


_FREE: dict[ToolClass, Verdict] = {ToolClass.READ: Verdict.RUN, ToolClass.AGENT: Verdict.RUN}
_BY_MODE = {
    PermissionMode.DEFAULT: _FREE,
    PermissionMode.ACCEPT_EDITS: {**_FREE, ToolClass.EDIT: Verdict.RUN},
    PermissionMode.PLAN: {
        **_FREE,
        ToolClass.EDIT: Verdict.REFUSE,
        ToolClass.EXEC: Verdict.REFUSE,
    },
    PermissionMode.BYPASS: dict.fromkeys(ToolClass, Verdict.RUN),
}


def decide(name: str, tool_class: ToolClass, mode: PermissionMode, approved: Collection[str]) -> Decision:
    """*approved*: tools that run without being asked for, by request or because a person said "always"."""
    verdict = _BY_MODE[mode].get(tool_class, Verdict.ASK)
    if verdict is Verdict.REFUSE:
        return Decision(verdict, f"{name} was not executed: in plan mode nothing is changed. Go on planning.")
    if verdict is Verdict.ASK and name in approved:
        return Decision(Verdict.RUN)
    return Decision(verdict)
