"""A session as its log says it is: records in, state out. Pure: a fold never reads a clock, a file or a setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from agentd.domain import (
    JobState,
    Message,
    Record,
    Text,
    ToolResult,
    ToolUse,
    Usage,
    block_to_json,
    blocks_from_json,
)

AGENT_TOOL = "Task"  # a call of it is a subagent's conversation, whose turns are not those of the job
TODO_TOOL = "TodoWrite"  # the last call of it that went well holds the list of what is to be done
DIED = "EXECUTOR_DIED"  # code of the error of a job whose process died, while its daemon lived on
REFUSED = "refused"  # why a job ended whose client was told that there is none: it may use the key again
INTERRUPTED_CALL = "[interrupted: this call was stopped before it ended; it may or may not have taken effect]"


AT_REST = frozenset({"job.created", "context.added", "ask.opened", "ask.settled"})
BESIDE = frozenset({"hook", "notice", "session.changed"})  # records that may come while a job waits


@attrs.define
class History:
    """The conversation as a model must see it: every tool_use is followed by exactly one tool_result.

    Results are gathered until the next message; a call that never got one is closed as interrupted.
    """

    messages: list[Message] = attrs.field(factory=list)
    results: dict[str, ToolResult] = attrs.field(factory=dict)  # of the last message's calls
    aside: bool = False  # its turns are not counted as the job's

    @property
    def unanswered(self) -> tuple[ToolUse, ...]:
        """Calls of the last message that have no result yet, in order."""
        return tuple(call for call in self._last_calls() if call.id not in self.results)

    def add(self, message: Message) -> None:
        self.close()
        self.messages.append(message)

    def compact(self, dropped: int, *texts: str) -> None:
        """Put one message that says *texts* in the place of the first *dropped* ones."""
        self.close()
        self.messages[:dropped] = [Message("user", tuple(Text(text) for text in texts if text))]

    def answer(self, result: ToolResult) -> None:
        self.results.setdefault(result.tool_use_id, result)

    def close(self) -> None:
        """Turn the results at hand into a message of their own. Nothing happens where there was no call."""
        if calls := self._last_calls():
            self.messages.append(Message("user", tuple(self._result_of(call) for call in calls)))
        self.results.clear()

    def view(self) -> tuple[Message, ...]:
        """All messages, closed; between two calls of a model it only grows at the end."""
        self.close()
        return tuple(self.messages)

    def last_input(self, tool: str) -> Mapping[str, Any]:
        """What the last of the last message's calls of *tool* that went well was given: calls of one message may end
        in any order."""
        calls = (call for call in reversed(self._last_calls()) if call.name == tool and call.id in self.results)
        return next((call.input for call in calls if not self.results[call.id].is_error), {})

    def _last_calls(self) -> tuple[ToolUse, ...]:
        return self.messages[-1].calls if self.messages else ()

    def _result_of(self, call: ToolUse) -> ToolResult:
        return self.results.get(call.id) or ToolResult(call.id, (Text(INTERRUPTED_CALL),), is_error=True)


@attrs.define
class AskView:
    id: str
    job: str
    data: dict[str, Any]  # of ask.opened
    parent: str | None = None  # the subagent's call, if one asks
    settled: dict[str, Any] | None = None  # of ask.settled


@attrs.define
class JobView:
    """One job. Times are epoch milliseconds; *finished* is the data of job.finished."""

    id: str
    spec: dict[str, Any]
    key: str | None
    payload: str | None
    first: int  # position of job.created
    created: int
    state: JobState = JobState.QUEUED
    at_rest: bool = True  # nothing was in flight at its latest record: another process may take it up there
    last: int = 0  # position of its latest record
    ended: int = 0
    turns: int = 0
    cost: float | None = None
    percent: int = 0
    prompt: str = ""  # id of the message that holds it
    phase: dict[str, Any] | None = None  # data of its latest phase
    start_tree: str | None = None
    tree: str | None = None  # of its latest checkpoint
    permission_mode: str | None = None  # that it was changed to
    finished: dict[str, Any] | None = None


@attrs.frozen
class Fragment:
    """Something that a client put before the model. *job*: the one it ends with; None: it stays until it is dropped."""

    id: str
    kind: Literal["file", "class", "method", "text"]
    name: str  # path or qualified name; of a text, how it is called in lists
    size: int  # bytes of a text; 0 for what is read anew each time
    sha256: str | None  # of a text
    job: str | None = None
    pinned: bool = False


@attrs.frozen
class Task:
    """One of the session's task list."""

    id: str
    title: str
    text: str
    done: bool = False


@attrs.define
class SessionState:
    """Everything that the records of one session say. `pos` is that of the last record folded in."""

    id: str = ""
    face: str = ""
    workspace: str = ""
    isolation: str = ""  # in_place or worktree
    name: str = ""
    created: int = 0
    modified: int = 0
    pos: int = 0
    jobs: dict[str, JobView] = attrs.field(factory=dict)
    asks: dict[str, AskView] = attrs.field(factory=dict)
    always: list[str] = attrs.field(factory=list)  # tools that a person allowed for the rest of the session
    todos: list[dict[str, Any]] = attrs.field(factory=list)  # content, status, activeForm?: what is to be done
    tasks: list[Task] = attrs.field(factory=list)
    fragments: dict[str, Fragment] = attrs.field(factory=dict)  # in the order they were added
    fragments_made: int = 0  # until now: the last id
    imported: str | None = None  # SHA-256 of the zip that this session is, until something changes it
    origin: str | None = None  # the same, whatever changed since
    imported_at: int = 0  # position: jobs before it are of what the import replaced
    imported_jobs: list[dict[str, Any]] = attrs.field(factory=list)  # what the zip said of them, without messages
    staged: list[tuple[str, dict[str, Any]]] = attrs.field(factory=list)  # type and data; the import is to come
    usage: Usage = attrs.field(factory=Usage)
    history: History = attrs.field(factory=History)
    branches: dict[str, History] = attrs.field(factory=dict)  # of subagents at work, by the call they work for

    def apply(self, record: Record) -> None:
        self.pos = record.pos
        if record.type != "import.staged":
            self.modified, self.imported = record.ts, None
        job = self.jobs.get(record.job or "")
        if job is not None:
            job.last, job.at_rest = record.pos, _is_at_rest(record, job)
        elif record.job is not None and record.type != "job.created":
            return  # damage took the record that made its job
        if fold := _FOLDS.get(record.type):
            fold(self, record, record.data)

    def apply_all(self, records: Iterable[Record]) -> None:
        for record in records:
            self.apply(record)

    def open_asks(self, job_id: str | None = None) -> list[AskView]:
        return [ask for ask in self.asks.values() if ask.settled is None and job_id in (None, ask.job)]

    def history_of(self, parent: str | None) -> History:
        """The main conversation's, or that of the subagent which works for the call *parent*."""
        return self.history if parent is None else self.branches.setdefault(parent, History())


def _is_at_rest(record: Record, job: JobView) -> bool:
    if record.parent is not None:  # the call that it belongs to is in flight
        return False
    if job.state is JobState.WAITING and record.type in BESIDE:
        return job.at_rest
    return record.type in AT_REST or (record.type == "message" and job.state is JobState.QUEUED)


def _session_created(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.id, state.face, state.workspace = data["id"], data["face"], data["workspace"]
    state.name, state.created, state.isolation = data["name"], record.ts, data["isolation"]


def _session_changed(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.name = data.get("name", state.name)
    state.workspace = data.get("workspace", state.workspace)
    state.always = data.get("permissions", {}).get("always", state.always)
    if (job := state.jobs.get(record.job or "")) is not None:
        job.permission_mode = data.get("permission_mode", job.permission_mode)


def _job_created(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    assert record.job is not None
    state.jobs[record.job] = JobView(
        record.job, data["spec"], data["key"], data["payload"], record.pos, record.ts, last=record.pos
    )


def _job_started(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.jobs[record.job or ""].state = JobState.RUNNING


def _phase(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    job = state.jobs[record.job or ""]
    job.phase = dict(data)
    if data["percent"] is not None:
        job.percent = data["percent"]


def _message(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    message = Message(data["role"], blocks_from_json(data["content"]), data["id"], data["model"] or "")
    state.history_of(record.parent).add(message)
    if (job := state.jobs.get(record.job or "")) is None:
        return
    if data["role"] == "assistant":
        job.turns += not state.history_of(record.parent).aside
    elif not job.prompt:
        job.prompt = data["id"]


def _message_changed(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    """As it is shown to the model; clients have seen what it was."""
    messages = state.history_of(record.parent).messages
    for index, message in enumerate(messages):
        if message.id == data["id"]:
            messages[index] = attrs.evolve(message, content=blocks_from_json(data["content"]))


def _history_cleared(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.history, state.todos = History(), []


def _tool_started(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    if data["name"] == AGENT_TOOL:
        state.branches[data["call"]] = History(aside=True)


def _tool_finished(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    history = state.history_of(record.parent)
    history.answer(ToolResult(data["call"], blocks_from_json(data["content"]), not data["ok"]))
    state.branches.pop(data["call"], None)
    if data["name"] == TODO_TOOL and record.parent is None:
        state.todos = history.last_input(TODO_TOOL).get("todos", state.todos)


def _compacted(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.history_of(record.parent).compact(data["dropped"], data["text"], data["task"])


def _history_imported(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    messages = data["entry"]["messages"]
    turns = sum(said["role"] == "assistant" for said in messages)
    state.imported_jobs.append({**data["entry"], "messages": None, "turns": turns})
    for said in messages:
        message = Message(said["role"], blocks_from_json(said["content"]), model=said["model"])
        results = [block for block in message.content if isinstance(block, ToolResult)]
        for result in results:
            state.history.answer(result)
        rest = tuple(block for block in message.content if not isinstance(block, ToolResult))
        if rest:
            state.history.add(attrs.evolve(message, content=rest))
    state.history.close()


def _import_staged(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.staged.append((data["type"], data["data"]))


def _session_imported(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    """What the session said before is over, but for its jobs. The records staged last are what it says now; any before
    them are of an import that was cut short."""
    staged = state.staged[max(len(state.staged) - data["records"], 0) :]
    state.imported = state.origin = data["sha256"]
    state.imported_at, state.staged, state.imported_jobs = record.pos, [], []
    state.name, state.created = data["name"], data["created"]
    state.fragments, state.fragments_made = {}, data["fragments_made"]
    state.history, state.tasks, state.todos, state.always = History(), [], [], []
    for kind, content in staged:
        _FOLDS[kind](state, record, content)


def _tasks(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.tasks = [Task(**task) for task in data["tasks"]]


def _context_added(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    state.fragments[data["id"]] = Fragment(**data, job=record.job)
    state.fragments_made = max(state.fragments_made, int(data["id"]))


def _context_dropped(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    for fragment in data["ids"]:
        state.fragments.pop(fragment, None)


def _context_changed(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    if (fragment := state.fragments.get(data["id"])) is not None:
        state.fragments[fragment.id] = attrs.evolve(fragment, pinned=data["pinned"])


def _ask_opened(state: SessionState, record: Record, data: dict[str, Any]) -> None:
    assert record.job is not None
    state.asks[data["id"]] = AskView(data["id"], record.job, data, record.parent)
    state.jobs[record.job].state = JobState.WAITING


def _ask_settled(state: SessionState, record: Record, data: dict[str, Any]) -> None:
    if (ask := state.asks.get(data["id"])) is not None and ask.settled is None:
        ask.settled = data
        if not state.open_asks(ask.job):  # of subagents beside each other, several may ask
            state.jobs[ask.job].state = JobState.RUNNING


def _usage(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    counts = (data["input_tokens"], data["output_tokens"], data["cached_tokens"], data.get("written_tokens", 0))
    state.usage += Usage(*counts)
    if record.job and data["cost"] is not None:
        job = state.jobs[record.job]
        job.cost = (job.cost or 0.0) + data["cost"]


def _checkpoint(state: SessionState, record: Record, data: Mapping[str, Any]) -> None:
    job = state.jobs[record.job or ""]
    job.start_tree, job.tree = job.start_tree or data["tree"], data["tree"]


def _job_finished(state: SessionState, record: Record, data: dict[str, Any]) -> None:
    job = state.jobs[record.job or ""]
    job.state, job.ended, job.finished = JobState(data["outcome"]), record.ts, data
    if job.state is JobState.COMPLETED:
        job.percent = 100
    if data["stop_reason"] == REFUSED:
        job.key = None
    state.history.close()
    state.branches.clear()
    for fragment in [each.id for each in state.fragments.values() if each.job == job.id]:
        del state.fragments[fragment]
    for ask in state.open_asks(job.id):
        ask.settled = {"id": ask.id, "decision": "deny", "reason": "the job has ended", "by": "agentd"}


_FOLDS: dict[str, Any] = {
    "session.created": _session_created,
    "session.changed": _session_changed,
    "job.created": _job_created,
    "job.started": _job_started,
    "phase": _phase,
    "message": _message,
    "message.changed": _message_changed,
    "tool.started": _tool_started,
    "tool.finished": _tool_finished,
    "tasks": _tasks,
    "context.added": _context_added,
    "context.dropped": _context_dropped,
    "context.changed": _context_changed,
    "history.compacted": _compacted,
    "history.cleared": _history_cleared,
    "history.imported": _history_imported,
    "import.staged": _import_staged,
    "session.imported": _session_imported,
    "ask.opened": _ask_opened,
    "ask.settled": _ask_settled,
    "usage": _usage,
    "checkpoint": _checkpoint,
    "job.finished": _job_finished,
}


# --- The fold as JSON: what fold.json holds -----------------------------------------------------------------------


def state_to_json(state: SessionState) -> dict[str, Any]:
    """What state_from_json takes back. Only for a session between jobs: results under way are not kept."""
    fields = attrs.asdict(state, recurse=False)
    return fields | {
        "jobs": [attrs.asdict(job) for job in state.jobs.values()],
        "asks": [attrs.asdict(ask) for ask in state.asks.values()],
        "usage": attrs.asdict(state.usage),
        "tasks": [attrs.asdict(task) for task in state.tasks],
        "fragments": [attrs.asdict(fragment) for fragment in state.fragments.values()],
        "branches": {},
        "history": [
            {"role": m.role, "id": m.id, "model": m.model, "content": [block_to_json(block) for block in m.content]}
            for m in state.history.messages
        ],
    }


def state_from_json(fields: Mapping[str, Any]) -> SessionState:
    """Raises KeyError, TypeError or ValueError for what another version wrote: the log is folded anew then."""
    jobs = [JobView(**{**job, "state": JobState(job["state"])}) for job in fields["jobs"]]
    messages = [Message(m["role"], blocks_from_json(m["content"]), m["id"], m["model"]) for m in fields["history"]]
    return SessionState(
        **{
            **fields,
            "jobs": {job.id: job for job in jobs},
            "asks": {ask["id"]: AskView(**ask) for ask in fields["asks"]},
            "usage": Usage(**fields["usage"]),
            "tasks": [Task(**task) for task in fields["tasks"]],
            "staged": [(kind, data) for kind, data in fields["staged"]],
            "fragments": {fragment["id"]: Fragment(**fragment) for fragment in fields["fragments"]},
            "history": History(messages),
        }
    )
