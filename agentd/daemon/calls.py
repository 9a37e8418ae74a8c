"""What the daemon asks of its executors below /_, and what their refusals are as errors of ours."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import attrs

from agentd.daemon.launch import Launched
from agentd.errors import (
    AgentdError,
    AskNotFound,
    AskSettled,
    ExecutorFailed,
    InvalidCheckpoint,
    InvalidRequest,
    JobInProgress,
    JobNotFound,
    StoreFailed,
)
from agentd.wire.client import Client
from agentd.wire.messages import to_json
from agentd.wire.typed import parse, structure

CALL_SECONDS = 30.0


class Place(Protocol):
    """What is used of daemon.executors.Seat."""

    state: Literal["absent", "starting", "live", "stopping"]

    @property
    def launched(self) -> Launched | None: ...

    async def up(self) -> Launched: ...

    async def down(self) -> None: ...

    def client(self) -> Client: ...


@attrs.frozen
class _Refusal:
    code: str
    message: str
    details: Any = None


async def call(place: Place, method: str, path: str, value: Any = None) -> Any:
    """An executor's answer; it is launched if it does not live.

    Raises AskNotFound, InvalidRequest, JobInProgress, JobNotFound, StoreFailed, ExecutorFailed, HttpFailed; AskSettled
    and InvalidCheckpoint, whose decision and name are for the caller to find out."""
    launched = await place.up()
    headers = [("Authorization", f"Bearer {launched.token}")]
    body = to_json(value) if value is not None else b""
    answer = await place.client().request(method, path, headers=headers, body=body, seconds=CALL_SECONDS)
    told = parse(answer.body)
    if answer.status < 400:
        return told
    raise _error(structure(told, _Refusal), path)


def _error(refusal: _Refusal, path: str) -> AgentdError:
    name = path.split("/")[3] if path.count("/") > 2 else ""
    match refusal.code:
        case "ASK_NOT_FOUND":
            return AskNotFound(name)
        case "ASK_SETTLED":
            return AskSettled(name, "")
        case "JOB_NOT_FOUND":
            return JobNotFound(name)
        case "JOB_IN_PROGRESS":
            details = refusal.details if isinstance(refusal.details, dict) else {}
            return JobInProgress(str(details.get("activeJobState", "RUNNING")))
        case "INVALID_CHECKPOINT":
            return InvalidCheckpoint("")
        case "VALIDATION_ERROR":
            return InvalidRequest([refusal.message])
        case "STORE_FAILED":
            return StoreFailed(refusal.message)
    return ExecutorFailed(refusal.message)
