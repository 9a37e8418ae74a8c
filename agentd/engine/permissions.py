"""Whether a tool call may run. The classes, the modes and the order: contract of the agent API, section 10."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import attrs

from agentd.domain import PermissionMode, Rules, ToolClass, ToolPolicy, ToolUse
from agentd.engine.rules import RuleBook, Ruling
from agentd.store.fold import JobView, SessionState
from agentd.tools.base import Tool, ToolState

ALLOW_FLAGS = {
    ToolClass.EDIT: "--permission-mode acceptEdits (edits) or bypassPermissions (everything)",
    ToolClass.EXEC: "--permission-mode bypassPermissions",
    ToolClass.NET: "--permission-mode bypassPermissions",
    ToolClass.MCP: "--permission-mode bypassPermissions",
    ToolClass.MCP_READ: "--permission-mode bypassPermissions",
}
Opinion = Literal["allow", "ask"] | None  # of a hook


class Verdict(Enum):
    RUN = "run"
    ASK = "ask"
    REFUSE = "refuse"


@attrs.frozen
class Decision:
    verdict: Verdict
    reason: str = ""  # of a refusal: the model is told


def names_tool(listed: Collection[str], name: str) -> bool:
    """Whether a list of tools has this one; `mcp__server` and `mcp__server__*` stand for all of that server."""
    if name in listed:
        return True
    return name.startswith("mcp__") and any(name.startswith(_of_server(each)) for each in listed if _is_server(each))


def _is_server(listed: str) -> bool:
    return listed.startswith("mcp__") and (listed.endswith("__*") or "__" not in listed.removeprefix("mcp__"))


def _of_server(listed: str) -> str:
    return f"{listed.removesuffix('__*')}__"


_FREE: dict[ToolClass, Verdict] = {ToolClass.READ: Verdict.RUN, ToolClass.AGENT: Verdict.RUN}
_BY_MODE = {
    PermissionMode.DEFAULT: _FREE,
    PermissionMode.ACCEPT_EDITS: {**_FREE, ToolClass.EDIT: Verdict.RUN},
    PermissionMode.PLAN: {
        **_FREE,
        ToolClass.EDIT: Verdict.REFUSE,
        ToolClass.EXEC: Verdict.REFUSE,
        ToolClass.MCP: Verdict.REFUSE,
        ToolClass.MCP_READ: Verdict.RUN,
    },
    PermissionMode.BYPASS: dict.fromkeys(ToolClass, Verdict.RUN),
}


@attrs.frozen
class Permissions:
    """Those of one job. *directories*: beside the workspace, in which edits are as free as there."""

    policy: ToolPolicy
    session: SessionState
    job: JobView
    workspace: Path
    directories: Sequence[Path] = ()
    state: ToolState | None = None  # where commands begin; None: in the workspace
    rules: RuleBook = attrs.field(factory=lambda: RuleBook(Rules()))

    @property
    def mode(self) -> PermissionMode:
        """The one in force: a client may change it while the job is at work."""
        return PermissionMode(self.job.permission_mode or self.policy.permission_mode)

    def decide(self, tool: Tool, call: ToolUse, opinion: Opinion = None) -> Decision:
        """*opinion*: what a hook says, which is no word against rules and modes that refuse."""
        ruling = self.rules.decide(
            tool.name,
            call.input,
            workspace=self.workspace,
            directories=self.directories,
            cwd=self.state.cwd if self.state is not None else None,
        )
        ruled = ruling.verdict if ruling is not None else None
        if ruling is not None and ruled == "deny":
            return Decision(Verdict.REFUSE, f"{tool.name} was not executed: the rule {ruling.rule} denies it.")
        by_mode = self._by_mode(tool, call.input)
        if by_mode is Verdict.REFUSE:
            told = f"{tool.name} was not executed: in plan mode nothing is changed. Go on planning."
            return Decision(by_mode, told)
        if opinion == "ask" or (ruling is not None and self._must_ask(ruling)):
            return Decision(Verdict.ASK)
        approved = names_tool(self.policy.allowed, tool.name) or tool.name in self.session.always
        free = by_mode is Verdict.RUN or approved or "allow" in (opinion, ruled)
        return Decision(Verdict.RUN if free else Verdict.ASK)

    def _must_ask(self, ruling: Ruling) -> bool:
        """Whoever bypasses permissions has still denied what is denied: where it cannot be told, they are asked."""
        if self.rules.may_deny(ruling):
            return True
        return ruling.verdict == "ask" and self.mode is not PermissionMode.BYPASS

    def _by_mode(self, tool: Tool, call_input: Mapping[str, Any]) -> Verdict:
        verdict = _BY_MODE[self.mode].get(tool.tool_class, Verdict.ASK)
        if verdict is Verdict.RUN and tool.tool_class is ToolClass.EDIT and self.mode is PermissionMode.ACCEPT_EDITS:
            return verdict if self._is_inside(call_input) else Verdict.ASK
        return verdict

    def _is_inside(self, call_input: Mapping[str, Any]) -> bool:
        """Whether the file of an edit is where edits were accepted, wherever symbolic links lead."""
        named = call_input.get("file_path", call_input.get("notebook_path"))
        if not isinstance(named, str) or "\0" in named:
            return False
        path = (self.workspace / Path(named).expanduser()).resolve()
        return any(path.is_relative_to(place.resolve()) for place in (self.workspace, *self.directories))
