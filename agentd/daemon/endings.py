"""What the daemon writes to a log where no executor lives: how jobs ended, and what fits between them. Pure.

Each is a decision for writer.append_alone().
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agentd.daemon.accepting import failed
from agentd.domain import Entry, JobState
from agentd.errors import AgentdError, JobInProgress
from agentd.store.fold import JobView, SessionState


def between_jobs(entries: Sequence[Entry], state: SessionState) -> Sequence[Entry]:
    """Raises JobInProgress."""
    if any(not job.state.terminal for job in state.jobs.values()):
        raise JobInProgress("WAITING")
    return entries


def cancelled(state: SessionState) -> list[Entry]:
    """The end of every job that has none. One that was at work when its executor died was interrupted by that."""
    entries = []
    for job in state.jobs.values():
        if not job.state.terminal:
            outcome = JobState.CANCELLED if job.at_rest else JobState.INTERRUPTED
            entries.append(_end_of(job, outcome, "cancelled while no executor lived"))
    return entries


def interrupted(code: str, state: SessionState) -> list[Entry]:
    message = "the executor stopped while this job was at work"
    dead = [job for job in state.jobs.values() if not job.state.terminal and not job.at_rest]
    return [_end_of(job, JobState.INTERRUPTED, message, code) for job in dead]


def given_up(why: AgentdError, state: SessionState) -> list[Entry]:
    left = [job for job in state.jobs.values() if not job.state.terminal]
    return [failed(why, job.id, turns=job.turns, cost=job.cost) for job in left]


def _end_of(job: JobView, outcome: JobState, message: str, code: str = "") -> Entry:
    error = {"code": code or outcome.name, "message": message}
    data: dict[str, Any] = {"outcome": outcome, "stop_reason": outcome.value, "error": error, "result": None}
    return Entry("job.finished", data | {"turns": job.turns, "cost": job.cost, "duration_ms": 0, "diff": None}, job.id)
