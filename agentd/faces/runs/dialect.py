"""Runs as clients see them: the Run object and the events, folds of the log. Contract: runs-and-chat.md, 5 and 11."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

import attrs

from agentd.domain import JobState, Record
from agentd.faces.runs.events import Event
from agentd.store.naming import instant
from agentd.store.specrun import DIAGRAMS, STEP_ASK, RunState, Step

ARTIFACTS = "artifacts"


def run_of(ident: str, state: RunState) -> dict[str, Any]:
    return {
        "id": ident,
        "created_at": instant(state.created),
        "updated_at": instant(state.updated),
        "status": state.status,
        "workspace_path": state.workspace,
        "spec_path": state.spec,
        "model_canonical": state.model,
        "steps": [_step_of(step) for step in state.steps],
        "error": state.error,
    }


def _step_of(step: Step) -> dict[str, Any]:
    return {
        "id": step.id,
        "title": step.title,
        "type": step.type,
        "needs_approval": step.needs_approval,
        "command": step.command,
        "status": step.status,
        "started_at": None if step.started is None else instant(step.started),
        "completed_at": None if step.completed is None else instant(step.completed),
    }


def artifact_path(step: str, name: str) -> str:
    """Where it is in an export."""
    return f"{ARTIFACTS}/{step}/{name}"


@attrs.define
class RunEvents:
    """The events of a run."""

    state: RunState = attrs.field(factory=RunState)

    def copy(self) -> Self:
        return type(self)(self.state.copy())

    def apply(self, record: Record) -> list[Event]:
        before, begun, was_final = self.state.step, self.state.started, self.state.is_final
        self.state.apply(record)
        if record.job is None or record.job != self.state.job or was_final:
            return []
        if record.type == "job.finished":
            return _ending(record, self.state, before, begun)
        make = _EVENTS.get(record.type)
        return make(record, self.state) if make is not None else []


def _event(record: Record, kind: str, message: str = "", /, **data: Any) -> Event:
    return Event(record.ts, kind, message, data)


def _created(record: Record, state: RunState) -> list[Event]:
    return [_event(record, "run_created", workspace_path=state.workspace, spec_path=state.spec)]


def _started(record: Record, state: RunState) -> list[Event]:
    return [_event(record, "run_started", "run started")]


def _notice(record: Record, state: RunState) -> list[Event]:
    return [_event(record, "log", str(record.data["text"]))]


def _phase(record: Record, state: RunState) -> list[Event]:
    make = _PHASES.get(record.data["name"])
    return make(record, state, record.data.get("details") or {}) if make is not None else []


def _spec(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    drafted = [_event(record, "spec_created", spec_path=details["path"])] if details["created"] else []
    return [*drafted, _event(record, "spec_loaded", bytes=details["bytes"])]


def _context(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    sizes = {"repo_tree_len": details["tree"], "repo_map_len": details["symbols"]}
    gathered = _event(record, "context_gathered", has_agents_md=details["agents_md"], **sizes)
    return [gathered, _event(record, "model_resolved", model=state.model)]


def _planned(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    why = details.get("why")
    told = [_event(record, "log", f"{why}; the default plan is carried out instead")] if why else []
    return [*told, _event(record, "plan_generated", steps=len(details["steps"]))]


def _verify(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    return [_event(record, "log", f"patches were applied: verifying by {len(details['steps'])} commands")]


def _step(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    step = state.steps[record.data["index"] - 1]
    return [_event(record, "step_started", step_id=step.id, title=step.title, type=step.type)]


def _step_done(record: Record, state: RunState, details: Mapping[str, Any]) -> list[Event]:
    step, ok, events = state.steps[record.data["index"] - 1], details["ok"], []
    if "exit_code" in details:
        rel = artifact_path(step.id, "command.json")
        code, command = details["exit_code"], DIAGRAMS if step.type == "diagram" else step.command
        events.append(
            _event(record, "command_executed", step_id=step.id, cmd=command, exit_code=code, artifact_rel=rel)
        )
    if "applied" in details:
        rel = artifact_path(step.id, "patch_apply.json")
        events.append(_event(record, "patch_applied", step_id=step.id, applied=details["applied"], artifact_rel=rel))
    kind = "step_completed" if ok else "step_failed"
    return [*events, _event(record, kind, details["message"], step_id=step.id, ok=ok)]


def _opened(record: Record, state: RunState) -> list[Event]:
    if record.data["kind"] != STEP_ASK or (step := state.step) is None:
        return []
    about: dict[str, Any] = {"step_id": step.id, "title": step.title}
    if step.command is not None:
        about["command"] = step.command
    if step.patch is not None:
        about["patch_rel"] = artifact_path(step.id, "patch.diff")
    return [_event(record, "approval_requested", **about)]


def _settled(record: Record, state: RunState) -> list[Event]:
    if (step := state.step) is None or not state.asked or record.data["decision"] == "deny":
        return []
    return [_event(record, "approval_granted", step_id=step.id)]


def _ending(record: Record, state: RunState, step: Step | None, begun: bool) -> list[Event]:
    """*step*: the one that was at work."""
    cancelled = record.data["outcome"] == JobState.CANCELLED.value
    events = [_event(record, "run_cancel_requested")] if cancelled else []
    if not (begun or cancelled):
        events += _started(record, state)
    if step is not None and step.status == "running":
        why = "canceled" if cancelled else state.error or ""
        events.append(_event(record, "step_failed", why, step_id=step.id, ok=False))
    said = {"succeeded": record.data["result"], "canceled": "run canceled"}.get(state.status) or state.error or ""
    return [*events, _event(record, f"run_{state.status}", said)]


_EVENTS: dict[str, Callable[[Record, RunState], list[Event]]] = {
    "job.created": _created,
    "job.started": _started,
    "notice": _notice,
    "phase": _phase,
    "ask.opened": _opened,
    "ask.settled": _settled,
}
_PHASES: dict[str, Callable[[Record, RunState, Mapping[str, Any]], list[Event]]] = {
    "spec": _spec,
    "context": _context,
    "planned": _planned,
    "verify": _verify,
    "step": _step,
    "step.done": _step_done,
}
