"""Bodies of the executor API, typed, and the JobSpec that a job's body becomes. The executor contract, 4, 7 and 10."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Literal
from uuid import UUID

import attrs

from agentd.domain import TASK_MODES, JobSpec, Mode, Models, PermissionMode, ToolPolicy
from agentd.engine.context import MOST_TEXT_BYTES
from agentd.errors import InvalidRequest
from agentd.store.fold import Task
from agentd.wire.messages import Request
from agentd.wire.typed import decode

NAME_CHARS = 200
MODES = {mode.name: mode for mode in TASK_MODES}
MOST_JOB_TEXTS = 100
MOST_TASKS = 1000
MOST_TASK_LIST_BYTES = 4 << 20
TITLE_CHARS = 200
DEFAULT_EVENTS, MOST_EVENTS = 1000, 10_000
LONGEST_WAIT_SECONDS = 60.0


@attrs.frozen
class CreateSession:
    name: str


@attrs.frozen
class SwitchSession:
    sessionId: str  # noqa: N815 - the wire's names


@attrs.frozen
class AddFiles:
    relativePaths: list[str]  # noqa: N815


@attrs.frozen
class AddClasses:
    classNames: list[str]  # noqa: N815


@attrs.frozen
class AddMethods:
    methodNames: list[str]  # noqa: N815


@attrs.frozen
class AddText:
    text: str


@attrs.frozen
class DropFragments:
    ids: list[str]


@attrs.frozen
class PinFragment:
    id: str
    pinned: bool = True


@attrs.frozen
class GivenTask:
    id: str | None = None
    title: str | None = None
    text: str | None = None
    done: bool | None = None


@attrs.frozen
class TaskList:
    tasks: list[GivenTask]


@attrs.frozen
class JobContext:
    text: list[str] | None = None


@attrs.frozen
class CreateJob:
    plannerModel: str | None = None  # noqa: N815 - the wire's names
    taskInput: str | None = None  # noqa: N815
    sessionId: str | None = None  # noqa: N815
    autoCommit: bool | None = None  # noqa: N815
    autoCompress: bool | None = None  # noqa: N815
    codeModel: str | None = None  # noqa: N815
    scanModel: str | None = None  # noqa: N815
    preScan: bool | None = None  # noqa: N815
    tags: Mapping[str, str] | None = None
    contextText: list[str] | None = None  # noqa: N815
    context: JobContext | None = None

    @property
    def texts(self) -> list[str]:
        return [*(self.contextText or ()), *((self.context.text if self.context else None) or ())]


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
    mode_of(asked)
    _check_texts(asked.contextText or (), "contextText")
    _check_texts((asked.context.text if asked.context else None) or (), "context.text")
    if len(asked.texts) > MOST_JOB_TEXTS:
        raise InvalidRequest([f"a job takes at most {MOST_JOB_TEXTS} texts @ $.contextText"])
    return asked


def mode_of(asked: CreateJob) -> Mode:
    """ARCHITECT if none is named. Raises InvalidRequest: a typo in the name of a mode must not get one that writes."""
    word = (asked.tags or {}).get("mode", "").strip().upper() or Mode.ARCHITECT.name
    if word not in MODES:
        raise InvalidRequest([f"mode {word[:100]} is not known; the modes are {', '.join(MODES)} @ $.tags.mode"])
    return MODES[word]


def job_spec(asked: CreateJob) -> JobSpec:
    """There is nobody to ask in this API: a job runs in bypassPermissions inside the tools of its mode."""
    return JobSpec(
        mode=mode_of(asked),
        prompt=asked.taskInput or "",
        models=Models(_name(asked.plannerModel), _name(asked.codeModel), _name(asked.scanModel)),
        tools=ToolPolicy(permission_mode=PermissionMode.BYPASS),
        auto_commit=bool(asked.autoCommit),
        auto_compress=bool(asked.autoCompress),
        pre_scan=bool(asked.preScan),
        context_texts=tuple(asked.texts),
    )


def session_choice(body: bytes) -> str:
    """Raises InvalidRequest."""
    return _uuid(decode(body, SwitchSession).sessionId, "sessionId must be a UUID @ $.sessionId")


def session_id(text: str) -> str:
    """Of a path. Raises InvalidRequest."""
    return _uuid(text, "the id of a session is a UUID")


def relative_paths(body: bytes) -> list[str]:
    """Raises InvalidRequest, as the next ones do."""
    return _filled(decode(body, AddFiles).relativePaths, "relativePaths")


def class_names(body: bytes) -> list[str]:
    return _filled(decode(body, AddClasses).classNames, "classNames")


def method_names(body: bytes) -> list[str]:
    return _filled(decode(body, AddMethods).methodNames, "methodNames")


def fragment_ids(body: bytes) -> list[str]:
    return _filled(decode(body, DropFragments).ids, "ids")


def pinning(body: bytes) -> PinFragment:
    return decode(body, PinFragment)


def context_text(body: bytes) -> str:
    text = decode(body, AddText).text
    _check_texts([text], "text")
    return text


def task_list(body: bytes) -> list[Task]:
    """Tasks with the ids that they were given, or new ones. Raises InvalidRequest."""
    given = decode(body, TaskList).tasks
    if len(given) > MOST_TASKS:
        raise InvalidRequest([f"there are more than {MOST_TASKS} tasks @ $.tasks"])
    tasks = [_task(each, index) for index, each in enumerate(given)]
    if len({task.id for task in tasks}) < len(tasks):
        raise InvalidRequest(["two tasks have the same id @ $.tasks"])
    return tasks


def _task(given: GivenTask, index: int) -> Task:
    title, text = (given.title or "").strip(), (given.text or "").strip()
    if not title and not text:
        raise InvalidRequest([f"a task needs a title or a text @ $.tasks[{index}]"])
    if len(title) > TITLE_CHARS:
        raise InvalidRequest([f"a title must not be longer than {TITLE_CHARS} characters @ $.tasks[{index}].title"])
    short = title or " ".join(text.split("\n", 1)[0].split())[:TITLE_CHARS]
    return Task(_name(given.id) or str(uuid.uuid4()), short, text or title, bool(given.done))


def _check_texts(texts: Sequence[str], name: str) -> None:
    """Raises InvalidRequest, in which there is nothing of the texts: they must not get into anybody's log."""
    for index, text in enumerate(texts):
        place = name if name == "text" else f"{name}[{index}]"
        if _blank(text):
            raise InvalidRequest([f"{place} must not be blank @ $.{place}"])
        if len(text.encode()) > MOST_TEXT_BYTES:
            raise InvalidRequest([f"{place} must not be larger than {MOST_TEXT_BYTES} bytes of UTF-8 @ $.{place}"])


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
    return _uuid(request.headers["x-session-id"], "X-Session-Id must be a UUID")


def session_hint(asked: CreateJob) -> str | None:
    """The session that the body names, if that can be one."""
    try:
        return str(UUID(asked.sessionId or ""))
    except ValueError:
        return None


def events_form(request: Request) -> Literal["array", "envelope", "sse"]:
    form = request.query.get("format", "")
    if form == "envelope":
        return "envelope"
    if form == "sse" or (not form and "text/event-stream" in request.headers.get("accept").lower()):
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


def switch(request: Request, name: str) -> bool:
    """Of a query: ?name, ?name=true and ?name=1 are on."""
    return request.query.get(name, "false").lower() in ("", "true", "1")


def _uuid(text: str, problem: str) -> str:
    try:
        return str(UUID(text))
    except ValueError:
        raise InvalidRequest([problem]) from None


def _filled(names: list[str], what: str) -> list[str]:
    if not names:
        raise InvalidRequest([f"{what} must not be empty @ $.{what}"])
    return names


def _blank(text: str | None) -> bool:
    return text is None or not text.strip()


def _name(text: str | None) -> str | None:
    return text.strip() if text and text.strip() else None
