"""A job as its first records: whoever writes them durably has accepted it, and an executor runs it. DESIGN, Storage.

So a job may be accepted where there is no executor yet, and wait for its turn.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import attrs

from agentd.domain import DIALECT, Entry, JobSpec, JobState, Text, block_to_json
from agentd.errors import AgentdError
from agentd.store import secrets


def accepted(spec: JobSpec, job: str) -> list[Entry]:
    """For a *spec* without secrets, images and context texts: those need files beside the log."""
    logged, secret = secrets.conceal(attrs.asdict(spec))
    assert not any((secret, spec.images, spec.context_texts))
    said = {"id": str(uuid.uuid4()), "role": "user", "content": [block_to_json(Text(spec.prompt))]}
    return [
        Entry("job.created", {"spec": logged, "key": None, "payload": None, "dialect": DIALECT}, job),
        Entry("message", said | {"model": None, "usage": None}, job),
    ]


def failed(why: AgentdError, job: str, *, turns: int = 0, cost: float | None = None) -> Entry:
    """The end of a job that no executor ends."""
    error: Mapping[str, Any] = {"code": why.code, "message": str(why)}
    data: dict[str, Any] = {"outcome": JobState.FAILED, "stop_reason": "error", "error": error, "result": None}
    return Entry("job.finished", data | {"turns": turns, "cost": cost, "duration_ms": 0, "diff": None}, job)
