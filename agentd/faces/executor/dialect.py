"""Records into the events and the status of the executor API. Pure folds. The contract: executor.md, 8, 9 and 11."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from agentd.domain import JobState, Record
from agentd.store.fold import JobView

OUTPUT_CHARS = 25_000  # of a command, in COMMAND_RESULT
PLAIN = frozenset({"NOTIFICATION", "LLM_TOKEN", "ERROR"})  # types whose data is a string in the array form
EDIT_TOOLS = frozenset({"Write", "Edit", "MultiEdit", "NotebookEdit"})
COMMAND_TOOLS = frozenset({"Bash"})
DESTRUCTIVE_TOOLS = EDIT_TOOLS | COMMAND_TOOLS | {"KillShell", "Code"}


@attrs.frozen
class Event:
    """`plain` is the data in the array form of the log, `data` in the others; they differ for the types in PLAIN."""

    type: str
    data: Any
    plain: Any = None

    def to_json(self, seq: int, timestamp: int, *, plain: bool) -> dict[str, Any]:
        data = self.plain if plain and self.type in PLAIN else self.data
        return {"seq": seq, "timestamp": timestamp, "type": self.type, "data": data}


def notification(message: str, level: str | None = None) -> Event:
    return Event("NOTIFICATION", {"level": level, "message": message} if level else message, message)


def state_hint(name: str, value: bool) -> Event:
    return Event("STATE_HINT", {"name": name, "value": value})


def _token(text: str, *, fresh: bool, reasoning: bool = False, kind: str = "AI") -> Event:
    data = {
        "token": text,
        "messageType": kind,
        "isNewMessage": fresh,
        "isReasoning": reasoning,
        "isTerminal": False,
    }
    return Event("LLM_TOKEN", data, text)


def events_of(record: Record, *, fresh: bool) -> list[Event]:
    """The events that one record of a job becomes. *fresh*: it is the first delta of its message."""
    fold = _FOLDS.get(record.type)
    return fold(record, record.data, fresh) if fold else []


def _created(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    return [notification(f"Job started: {record.job}")]


def _started(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    jobs = data.get("history", 0)
    baseline = {"count": jobs, "snippet": f"tasks={jobs}" if jobs else "empty"}
    return [state_hint("taskInProgress", True), Event("CONTEXT_BASELINE", baseline)]


def _phase(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    """The two phases of LUTZ, in the words of the seed."""
    index, count = data["index"], data["count"]
    match data["name"]:
        case "plan":
            return [_token("Planning phase: analyzing the objective...", fresh=True, kind="CUSTOM")]
        case "planned":
            return [notification(f"Task list generated with {count} subtasks")]
        case "task":
            return [_token(f"Executing task {index}/{count}: {data['title']}...", fresh=True, kind="CUSTOM")]
        case "task.done":
            return [notification(f"Task {index} completed, progress: {data['percent']}%")]
    return []


def _text(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    return [_token(data["text"], fresh=fresh)]


def _thinking(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    return [_token(data["text"], fresh=fresh, reasoning=True)]


def _tool_started(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    name = data["name"]
    call = {
        "id": data["call"],
        "name": name,
        "arguments": json.dumps(data["input"]),
        "destructive": name in DESTRUCTIVE_TOOLS,
    }
    events = [Event("TOOL_CALL", call)]
    if name in COMMAND_TOOLS:
        events.append(Event("COMMAND_START", {"stage": "command", "command": str(data["input"].get("command", ""))}))
    return events


def _tool_finished(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    text = "".join(block["text"] for block in data["content"] if block["type"] == "text")
    events = []
    if data["name"] in COMMAND_TOOLS:
        result = {"stage": "command", "command": data["subject"], "success": data["ok"], "output": text[-OUTPUT_CHARS:]}
        events.append(Event("COMMAND_RESULT", result | {"outputTruncated": len(text) > OUTPUT_CHARS}))
    status = "SUCCESS" if data["ok"] else "REQUEST_ERROR"
    events.append(
        Event("TOOL_OUTPUT", {"id": data["call"], "name": data["name"], "status": status, "resultText": text})
    )
    return events


def _notice(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    return [notification(data["text"], data["level"].upper())]


def _commit(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    return [notification(f"Committed {data['sha'][:8]}: {data['message']}", "INFO"), state_hint("gitRepoUpdated", True)]


def _finished(record: Record, data: Mapping[str, Any], fresh: bool) -> list[Event]:
    events = [state_hint("workspaceUpdated", True)] if data["diff"] and data["diff"]["files"] else []
    events.append(state_hint("taskInProgress", False))
    if data["outcome"] in (JobState.FAILED, JobState.INTERRUPTED):
        message = error_text(data)
        events.append(Event("ERROR", {"message": message, "title": "Job error"}, message))
    return events


_FOLDS: dict[str, Callable[[Record, Mapping[str, Any], bool], list[Event]]] = {
    "job.created": _created,
    "job.started": _started,
    "phase": _phase,
    "text.delta": _text,
    "thinking.delta": _thinking,
    "tool.started": _tool_started,
    "tool.finished": _tool_finished,
    "notice": _notice,
    "commit": _commit,
    "job.finished": _finished,
}

# --- Status -------------------------------------------------------------------------------------------------------

STATES = {
    JobState.QUEUED: "QUEUED",
    JobState.RUNNING: "RUNNING",
    JobState.WAITING: "RUNNING",
    JobState.COMPLETED: "COMPLETED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "CANCELLED",
    JobState.INTERRUPTED: "FAILED",
}


def state_of(job: JobView, *, at_work: bool, cancelling: bool) -> str:
    """*at_work*: the executor has begun with it, if only by asking services whether they have its models."""
    if job.state.terminal or not at_work:
        return STATES[job.state]
    return "CANCELLING" if cancelling else "RUNNING"


def error_text(finished: Mapping[str, Any]) -> str:
    """The `error` of a failed job; one that a stop of the executor cut short says EXECUTOR_RESTARTED."""
    error = finished["error"] or {"code": "FAILED", "message": "the job failed"}
    if finished["outcome"] == JobState.INTERRUPTED:
        return f"EXECUTOR_RESTARTED: {error['message']}"
    return str(error["message"])


def status(job: JobView, state: str, *, last_seq: int) -> dict[str, Any]:
    """GET /v1/jobs/{id}. *state*: see state_of. *last_seq* is only shown once the job has ended."""
    finished = job.finished or {}
    failed = job.state in (JobState.FAILED, JobState.INTERRUPTED)
    metadata = {"lastSeq": str(last_seq), "stopReason": finished["stop_reason"].upper()} if finished else {}
    return {
        "jobId": job.id,
        "state": state,
        "startTime": job.created,
        "endTime": job.ended,
        "progressPercent": job.percent,
        "result": finished.get("result") if job.state is JobState.COMPLETED else None,
        "error": error_text(finished) if failed and finished else None,
        "metadata": metadata,
        "terminal": job.state.terminal,
    }
