"""A run of a spec as its log says it is: records in, state out. Pure. The contract: runs-and-chat.md, 5.

The executor goes on from it after an approval that outlived its process; the runs API shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Self

import attrs

from agentd.domain import JobState, Record
from agentd.store.fold import DIED

STEP_ASK = "step"  # the kind of ask that a gate is
DIAGRAMS = "make diagrams"  # what a step of type diagram runs
RESTARTED = "interrupted by daemon restart"
FINAL = ("succeeded", "failed", "canceled")
_ENDINGS = {JobState.COMPLETED.value: "succeeded", JobState.CANCELLED.value: "canceled"}


@attrs.frozen
class Step:
    """*status*: pending, running, waiting_approval, succeeded, failed, skipped. Times are epoch milliseconds."""

    id: str
    title: str
    type: str
    needs_approval: bool
    command: str | None = None
    patch: str | None = None  # SHA-256 of the blob
    status: str = "pending"
    started: int | None = None
    completed: int | None = None

    @property
    def is_over(self) -> bool:
        return self.completed is not None or self.status == "skipped"

    def to_json(self) -> dict[str, Any]:
        """As a plan holds it."""
        names = ("id", "title", "type", "needs_approval", "command", "patch")
        return {name: getattr(self, name) for name in names}


@attrs.define
class RunState:
    """Of a session's one run. *status* as clients see it; *job* None: there is no run here."""

    job: str | None = None
    created: int = 0
    updated: int = 0
    workspace: str = ""
    spec: str = ""
    status: str = "queued"
    started: bool = False
    model: str | None = None  # provider:model
    steps: list[Step] = attrs.field(factory=list)
    error: str | None = None
    current: int | None = None  # index of the step at work
    ask: str | None = None  # id of the one that is open
    asked: bool = False  # about the step at work, be it settled by now
    planned: bool = False
    patched: bool = False  # a patch was applied,
    verifying: bool = False  # and is being checked

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        state = cls()
        for record in records:
            state.apply(record)
        return state

    def copy(self) -> Self:
        return attrs.evolve(self, steps=list(self.steps))

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def step(self) -> Step | None:
        """The one at work."""
        return self.steps[self.current] if self.current is not None else None

    def apply(self, record: Record) -> None:
        if record.type == "job.created" and self.job is None and record.data["spec"].get("run"):
            asked = record.data["spec"]["run"]
            self.job, self.created = record.job, record.ts
            self.workspace, self.spec = asked["workspace"], asked["spec"]
        if record.job is None or record.job != self.job:
            return
        self.updated = record.ts
        if fold := _FOLDS.get(record.type):
            fold(self, record, record.data)

    def _change(self, index: int, **fields: Any) -> None:
        self.steps[index] = attrs.evolve(self.steps[index], **fields)


def _started(state: RunState, record: Record, data: Mapping[str, Any]) -> None:
    state.started, state.status = True, "running"
    state.model = f"{data['provider']}:{data['resolved_model']}"


def _phase(state: RunState, record: Record, data: Mapping[str, Any]) -> None:
    details = data.get("details") or {}
    match data["name"]:
        case "planned" | "verify":
            state.steps += [Step(**step) for step in details["steps"]]
            state.planned, state.verifying = True, data["name"] == "verify"
        case "step":
            state.current, state.asked = data["index"] - 1, False
            state._change(state.current, status="running", started=record.ts)
        case "step.done":
            index, state.current = data["index"] - 1, None
            state._change(index, status="succeeded" if details["ok"] else "failed", completed=record.ts)
            state.patched = state.patched or bool(details.get("applied"))


def _ask_opened(state: RunState, record: Record, data: Mapping[str, Any]) -> None:
    if data["kind"] == STEP_ASK and state.current is not None:
        state.status, state.ask, state.asked = "waiting_approval", data["id"], True
        state._change(state.current, status="waiting_approval")


def _ask_settled(state: RunState, record: Record, data: Mapping[str, Any]) -> None:
    if data["id"] == state.ask and state.current is not None:
        state.status, state.ask = "running", None
        state._change(state.current, status="running")


def _finished(state: RunState, record: Record, data: Mapping[str, Any]) -> None:
    """A step that was at work has failed with its run; one that still waited was never begun."""
    for index, step in enumerate(state.steps):
        if step.status == "running":
            state._change(index, status="failed", completed=record.ts)
        elif step.status in ("pending", "waiting_approval"):
            state._change(index, status="skipped")
    state.status, state.current, state.ask = _ENDINGS.get(data["outcome"], "failed"), None, None
    state.error = _why(data) if state.status == "failed" else None


def _why(data: Mapping[str, Any]) -> str:
    error = data["error"] or {}
    if data["outcome"] == JobState.INTERRUPTED.value and error.get("code") != DIED:
        return RESTARTED
    return str(error.get("message") or data["stop_reason"])


_FOLDS: dict[str, Any] = {
    "job.started": _started,
    "phase": _phase,
    "ask.opened": _ask_opened,
    "ask.settled": _ask_settled,
    "job.finished": _finished,
}
