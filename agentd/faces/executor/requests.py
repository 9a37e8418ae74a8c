"""Bodies of the executor API, typed, and the JobSpec that a job's body becomes. The executor contract, 4, 7 and 10."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Literal
from uuid import UUID

import attrs

from agentd.domain import JobSpec, Mode, Models, PermissionMode, ToolPolicy
from agentd.errors import InvalidRequest
from agentd.wire.messages import Request
from agentd.wire.typed import decode

NAME_CHARS = 200
MODES = {mode.name: mode for mode in Mode}
DEFAULT_EVENTS, MOST_EVENTS = 1000, 10_000
LONGEST_WAIT_SECONDS = 60.0


@attrs.frozen
class CreateSession:
    name: str


@attrs.frozen
class CreateJob:
    plannerModel: str | None = None  # noqa: N815 - the wire's names
    taskInput: str | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    autoCommit: bool | None = None  # noqa: N815
    autoCompress: bool | None = None  # noqa: N815
    codeModel: str | None = None  # noqa: N815
    scanModel: str | None = None  # noqa: N815
    tags: Mapping[str, str] | None = None
    contextText: list[str] | None = None  # noqa: N815
    context: Mapping[str, list[str]] | None = None


def session_name(body: bytes) -> str:
    """Raises InvalidRequest."""
    name = decode(body, CreateSession).name.strip()
    if not name:
        raise InvalidRequest(["name must not be blank @ $.name"])
    if len(name) > NAME_CHARS:
        raise InvalidRequest([f"name must not be longer than {NAME_CHARS} characters @ $.name"])
    return name


def job_request(body: bytes) -> CreateJob:
    """A job's body with everything checked that needs no session. Raises InvalidRequest."""
    asked = decode(body, CreateJob)
    if _blank(asked.plannerModel):
        raise InvalidRequest(["plannerModel is required @ $.plannerModel"])
    if _blank(asked.taskInput):
        raise InvalidRequest(["taskInput is required @ $.taskInput"])
    if asked.contextText or asked.context:
        # To leave it out without a word would answer another question than the one that was asked.
        raise InvalidRequest(["job-scoped texts are not taken by this version; use taskInput @ $.contextText"])
    mode_of(asked)
    return asked


def mode_of(asked: CreateJob) -> Mode:
    word = (asked.tags or {}).get("mode", "").strip().upper()
    if word not in MODES:
        known = ", ".join(MODES)
        raise InvalidRequest([f"mode {word or 'ARCHITECT'} is not known here; there are {known} @ $.tags.mode"])
    return MODES[word]


def job_spec(asked: CreateJob) -> JobSpec:
    """There is nobody to ask in this API: a job runs in bypassPermissions inside the tools of its mode."""
    return JobSpec(
        mode=mode_of(asked),
        prompt=asked.taskInput or "",
        models=Models(_name(asked.plannerModel), _name(asked.codeModel), _name(asked.scanModel)),
        tools=ToolPolicy(permission_mode=PermissionMode.BYPASS),
        auto_commit=bool(asked.autoCommit),
    )


def payload_hash(body: bytes) -> str:
    """Equal for bodies that are the same JSON value."""
    canonical = json.dumps(json.loads(body), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def key_hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def session_header(request: Request) -> str | None:
    """The session that X-Session-Id names. Raises InvalidRequest."""
    if "x-session-id" not in request.headers:
        return None
    try:
        return str(UUID(request.headers["x-session-id"]))
    except ValueError:
        raise InvalidRequest(["X-Session-Id must be a UUID"]) from None


def events_form(request: Request) -> Literal["array", "envelope", "sse"]:
    form = request.query.get("format", "")
    if form == "envelope":
        return "envelope"
    if form == "sse" or (not form and "text/event-stream" in request.headers.get("accept")):
        return "sse"
    if form:
        raise InvalidRequest(["format must be envelope or sse, or be left out for an array"])
    return "array"


def whole_number(request: Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise InvalidRequest([f"{name} must be a whole number"])
    return int(text)


def wait_seconds(request: Request) -> float:
    text = request.query.get("wait")
    if text is None:
        return 0.0
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= LONGEST_WAIT_SECONDS:
        raise InvalidRequest([f"wait must be a number of seconds from 0 to {LONGEST_WAIT_SECONDS:g}"])
    return seconds


def page_limit(request: Request) -> int:
    limit = whole_number(request, "limit", DEFAULT_EVENTS)
    if limit < 1:
        raise InvalidRequest(["limit must be at least 1"])
    return min(limit, MOST_EVENTS)


def _blank(text: str | None) -> bool:
    return text is None or not text.strip()


def _name(text: str | None) -> str | None:
    return text.strip() if text and text.strip() else None
