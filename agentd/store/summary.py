"""What lists show of a session, its jobs and its asks: a small fold of the same records that fold.py folds whole.

Pure. It goes on from rows as they were stored, so a log that has grown is not read from its beginning.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import attrs

from agentd.domain import JobState, Record

TITLE_CHARS = 120
QUESTION_CHARS = 4000
ERROR_CHARS = 2000


@attrs.define
class SessionRow:
    """Times are epoch milliseconds, 0 for never; cost is USD."""

    id: str
    face: str = ""
    name: str = ""
    title: str = ""  # the first line of what was asked first
    workspace: str = ""
    isolation: str = ""
    parent: str | None = None  # it is a fork of that one
    opened: int = 0  # of its first record, whatever was imported later: lists are ordered by it
    created: int = 0
    modified: int = 0
    status: str = "idle"  # or waiting, running, queued: what its jobs are
    model: str | None = None
    last_job: str | None = None
    last_state: str | None = None
    asked_model: str | None = None  # of the last job, by the name that its client used
    permission_mode: str | None = None  # that is in force, or was in the last job
    user: str | None = None  # whom the last job was for, as its client said
    jobs: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None
    pending: str = ""  # turns of a chat that are to begin by themselves: ids, with a space between them


@attrs.define
class JobRow:
    id: str
    session: str
    state: str = JobState.QUEUED.value
    mode: str = ""
    title: str = ""
    model: str | None = None  # as it was asked for
    resolved_model: str | None = None
    provider: str | None = None
    permission_mode: str | None = None
    containment: str | None = None
    sandbox: str | None = None
    percent: int = 0
    turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost: float | None = None
    created: int = 0
    started: int = 0
    ended: int = 0
    stop_reason: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    files: int | None = None  # changed, with lines added and removed
    added: int | None = None
    removed: int | None = None
    pos: int = 0  # of job.created


@attrs.define
class AskRow:
    id: str
    session: str
    job: str
    kind: str
    tool: str
    question: str
    options: str  # a JSON array
    deadline: int | None
    opened: int
    pos: int  # of ask.opened, which has the whole input
    settled: int = 0
    decision: str | None = None
    reason: str | None = None
    settled_by: str | None = None


def _unknown(job_id: str) -> JobRow | None:
    return None


@attrs.define
class Summary:
    """*jobs* has all that have not ended, *asks* all that are open; *find* tells of a job that has ended, once."""

    session: SessionRow
    jobs: dict[str, JobRow] = attrs.field(factory=dict)
    asks: dict[str, AskRow] = attrs.field(factory=dict)
    find: Callable[[str], JobRow | None] = _unknown

    def apply_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.apply(record)
        states = {job.state for job in self.jobs.values()}
        self.session.status = next((state for state in _UNFINISHED if state in states), "idle")
        if (last := self._job(self.session.last_job)) is not None:
            self.session.last_state = last.state

    def apply(self, record: Record) -> None:
        if record.type != "import.staged":
            self.session.modified = record.ts
        self.session.opened = self.session.opened or record.ts
        if record.job is not None and record.type != "job.created" and self._job(record.job) is None:
            return  # damage took the record that made its job
        if fold := _FOLDS.get(record.type):
            try:
                fold(self, record, record.data)
            except (LookupError, TypeError, AttributeError):  # another version's: lists do without it
                return

    def _job(self, job_id: str | None) -> JobRow | None:
        if job_id is not None and job_id not in self.jobs and (known := self.find(job_id)) is not None:
            self.jobs[job_id] = known
        return self.jobs.get(job_id or "")

    def job_of(self, record: Record) -> JobRow:
        return self.jobs[record.job or ""]


_UNFINISHED = (JobState.WAITING.value, JobState.RUNNING.value, JobState.QUEUED.value)


def first_line(text: str, chars: int = TITLE_CHARS) -> str:
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= chars else f"{line[: chars - 1]}…"


# --- The fold -----------------------------------------------------------------------------------------------------


def _session_created(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    session = summary.session
    session.face, session.workspace, session.isolation = data["face"], data["workspace"], data["isolation"]
    session.name, session.parent, session.created = data["name"], data.get("parent"), record.ts


def _session_changed(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    summary.session.name = data.get("name", summary.session.name)
    summary.session.workspace = data.get("workspace", summary.session.workspace)
    summary.session.permission_mode = data.get("permission_mode", summary.session.permission_mode)


def _session_imported(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    summary.session.name, summary.session.created = data["name"], data["created"]


def _job_created(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    assert record.job is not None
    spec, session = data["spec"], summary.session
    models = spec.get("models") or {}
    job = JobRow(record.job, session.id, mode=spec["mode"], created=record.ts, pos=record.pos)
    job.model = models.get("planner") or models.get("code")
    job.title = first_line(spec["prompt"])
    session.title = session.title or job.title
    session.jobs += 1
    session.last_job = job.id
    session.asked_model = (spec.get("face") or {}).get("model") or job.model
    session.permission_mode = (spec.get("tools") or {}).get("permission_mode")
    session.user = spec.get("user")
    _leave_line(session, (spec.get("chat") or {}).get("turn"))
    summary.jobs[job.id] = job


def _chat_message(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    text = "\n".join(part["text"] for part in data["parts"] if part["type"] == "text")
    summary.session.title = summary.session.title or first_line(text)
    if data["run"]:
        _chat_queued(summary, record, data)


def _chat_queued(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    turns = summary.session.pending.split()
    summary.session.pending = " ".join(turns if data["turn"] in turns else [*turns, data["turn"]])


def _chat_failed(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    _leave_line(summary.session, data["turn"])


def _chat_canceled(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    summary.session.pending = ""


def _leave_line(session: SessionRow, turn: str | None) -> None:
    session.pending = " ".join(each for each in session.pending.split() if each != turn)


def _job_started(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    job = summary.job_of(record)
    job.state, job.started = JobState.RUNNING.value, record.ts
    job.model, job.resolved_model, job.provider = data["model"], data["resolved_model"], data["provider"]
    job.permission_mode = data["permission_mode"]
    job.containment, job.sandbox = data["containment"], data["sandbox"]
    summary.session.model = data["resolved_model"]


def _phase(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    if record.job is not None and data["percent"] is not None:
        summary.job_of(record).percent = data["percent"]


def _message(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    if record.job is not None and data["role"] == "assistant":
        summary.job_of(record).turns += 1
        summary.session.turns += 1


def _usage(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    counted: list[SessionRow | JobRow] = [summary.session]
    if record.job is not None:
        counted.append(summary.job_of(record))
    for row in counted:
        row.input_tokens += data["input_tokens"]
        row.output_tokens += data["output_tokens"]
        row.cached_tokens += data["cached_tokens"]
        if data["cost"] is not None:
            row.cost = (row.cost or 0.0) + data["cost"]


def _ask_opened(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    job = summary.job_of(record)
    job.state = JobState.WAITING.value
    summary.asks[data["id"]] = AskRow(
        id=data["id"],
        session=summary.session.id,
        job=job.id,
        kind=data["kind"],
        tool=data["tool"],
        question=data["question"][:QUESTION_CHARS],
        options=json.dumps(data["options"]),
        deadline=data["deadline"],
        opened=record.ts,
        pos=record.pos,
    )


def _ask_settled(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    ask = summary.asks.get(data["id"])
    if ask is not None and not ask.settled:
        _settle(ask, record.ts, data["decision"], data["reason"], data["by"])
        if not any(each.job == ask.job and not each.settled for each in summary.asks.values()):
            summary.jobs[ask.job].state = JobState.RUNNING.value


def _job_finished(summary: Summary, record: Record, data: Mapping[str, Any]) -> None:
    job = summary.job_of(record)
    job.state, job.ended, job.stop_reason = data["outcome"], record.ts, data["stop_reason"]
    if job.state == JobState.COMPLETED:
        job.percent = 100
    if (error := data["error"]) is not None:
        job.error_code, job.error_message = error["code"], error["message"][:ERROR_CHARS]
    if (diff := data["diff"]) is not None:
        job.files, job.added, job.removed = diff["files"], diff["added"], diff["removed"]
    for ask in summary.asks.values():
        if ask.job == job.id and not ask.settled:
            _settle(ask, record.ts, "deny", "the job has ended", "agentd")


def _settle(ask: AskRow, ts: int, decision: str, reason: str, by: str) -> None:
    ask.settled, ask.decision, ask.reason, ask.settled_by = ts, decision, reason, by


_FOLDS: dict[str, Callable[[Summary, Record, Mapping[str, Any]], None]] = {
    "session.created": _session_created,
    "session.changed": _session_changed,
    "session.imported": _session_imported,
    "chat.message": _chat_message,
    "chat.queued": _chat_queued,
    "chat.failed": _chat_failed,
    "chat.canceled": _chat_canceled,
    "job.created": _job_created,
    "job.started": _job_started,
    "phase": _phase,
    "message": _message,
    "usage": _usage,
    "ask.opened": _ask_opened,
    "ask.settled": _ask_settled,
    "job.finished": _job_finished,
}
