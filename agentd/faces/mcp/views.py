"""Jobs, sessions, asks and what happens in a job, as tools of this server tell them, with JSON Schemas of that. Pure.

What happens is a fold of the log: a record in, an event or none out. Every event says its `type` and a `text`; text
that is not whole yet, and what subagents do, is left out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from agentd.daemon.asks import decisions_of
from agentd.domain import JobState, Record
from agentd.errors import ToolFailed
from agentd.store.summary import AskRow, JobRow, SessionRow
from agentd.store.tables import Found

TEXT_CHARS = 20_000  # of one event
RESULT_CHARS = 50_000
EVENT_TYPES = ("assistant", "tool", "phase", "notice", "ask", "settled", "commit", "finished")
RECORD_TYPES = frozenset(  # that an event, or a progress notification, is made of
    {"message", "tool.started", "tool.finished", "phase", "notice", "commit", "job.finished"}
    | {"ask.opened", "ask.settled"}
)

Schema = dict[str, Any]


# --- Schemas ------------------------------------------------------------------------------------------------------


def obj(**properties: Schema) -> Schema:
    """An object that has all of these. None of its properties is there without its key."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def text(description: str = "") -> Schema:
    return {"type": "string"} | ({"description": description} if description else {})


def maybe(kind: str, description: str = "") -> Schema:
    return {"type": [kind, "null"]} | ({"description": description} if description else {})


def array(items: Schema, description: str = "") -> Schema:
    return {"type": "array", "items": items} | ({"description": description} if description else {})


def listed(name: str, items: Schema) -> Schema:
    """A page of a list."""
    return obj(**{name: array(items)}, next=maybe("string", "the cursor of what follows"))


NUMBER: Schema = {"type": "integer"}
BOOL: Schema = {"type": "boolean"}
TIME = maybe("string", "RFC 3339, UTC")
STATE: Schema = {"type": "string", "enum": [state.value for state in JobState]}

JOB = obj(
    job_id=text(),
    session_id=text("start_job takes it to go on where this job ended"),
    state=STATE | {"description": "waiting: for an ask to be settled with answer_ask"},
    done=BOOL | {"description": "whether it has come to its end, whatever that was"},
    mode=text(),
    title=text("the first line of what was asked for"),
    directory=text(),
    model=maybe("string"),
    permission_mode=maybe("string"),
    percent=NUMBER,
    turns=NUMBER,
    cost_usd=maybe("number"),
    created=TIME,
    started=TIME,
    ended=TIME,
    error=maybe("string", "why it failed, or was interrupted"),
    changes=maybe("string", "what it changed, in files and lines; job_diff shows it"),
)
SESSION = obj(
    session_id=text(),
    face=text("by which API it was made; mcp: by this one"),
    title=text(),
    directory=text(),
    status={"type": "string", "enum": ["idle", "waiting", "running", "queued"]},
    jobs=NUMBER,
    last_job=maybe("string"),
    cost_usd=maybe("number"),
    created=TIME,
    modified=TIME,
)
ASK = obj(
    ask_id=text("answer_ask takes it"),
    job_id=text(),
    session_id=text(),
    open=BOOL,
    kind={"type": "string", "enum": ["permission", "question", "plan", "step"]},
    question=text(),
    tool=text(),
    input={"type": ["object", "null"], "description": "of the tool call that it is about, where there is one"},
    decisions=array(text(), "what answer_ask takes for it"),
    choices=array(text(), "of a question: answers that are suggested; others do as well"),
    deadline=maybe("string", "RFC 3339, UTC; it is denied then"),
    decision=maybe("string", "what it was settled with"),
)
EVENT: Schema = {
    "type": "object",
    "properties": {
        "type": {"type": "string", "enum": list(EVENT_TYPES)},
        "text": text(),
        "tool": text("of a tool call: its name"),
        "ok": BOOL | {"description": "of a tool call: whether it worked"},
        "ask_id": text("of an ask"),
    },
    "required": ["type", "text"],
}


# --- Rows ---------------------------------------------------------------------------------------------------------


def job(found: Found[JobRow]) -> dict[str, Any]:
    row = found.row
    changed = f"{row.files} files, +{row.added} -{row.removed} lines" if row.files is not None else None
    return {
        "job_id": row.id,
        "session_id": row.session,
        "state": row.state,
        "done": JobState(row.state).terminal,
        "mode": row.mode,
        "title": row.title,
        "directory": found.session.workspace,
        "model": row.resolved_model or row.model,
        "permission_mode": row.permission_mode,
        "percent": row.percent,
        "turns": row.turns,
        "cost_usd": row.cost,
        "created": when(row.created),
        "started": when(row.started),
        "ended": when(row.ended),
        "error": _error(row) if row.error_code else None,
        "changes": changed,
    }


def _error(row: JobRow) -> str:
    """Its code and its message, which may begin with the code."""
    code, message = f"{row.error_code}: ", row.error_message or ""
    return message if message.startswith(code) else f"{code}{message}"


def session(found: Found[SessionRow]) -> dict[str, Any]:
    row = found.row
    return {
        "session_id": row.id,
        "face": row.face,
        "title": row.title or row.name,
        "directory": row.workspace,
        "status": row.status,
        "jobs": row.jobs,
        "last_job": row.last_job,
        "cost_usd": row.cost,
        "created": when(row.created),
        "modified": when(row.modified),
    }


def ask(found: Found[AskRow], opened: Mapping[str, Any]) -> dict[str, Any]:
    """*opened*: the data of its record."""
    row = found.row
    given = opened.get("input")
    return {
        "ask_id": row.id,
        "job_id": row.job,
        "session_id": row.session,
        "open": not row.settled,
        "kind": row.kind,
        "question": row.question,
        "tool": row.tool,
        "input": given if isinstance(given, dict) else None,
        "decisions": list(decisions_of(row)),
        "choices": choices(opened) if row.kind == "question" else [],
        "deadline": when(row.deadline),
        "decision": row.decision,
    }


def choices(opened: Mapping[str, Any]) -> list[str]:
    questions = opened.get("questions") or [{}]
    if labels := [str(option["label"]) for option in questions[0].get("options", ())]:
        return labels
    return [str(option) for option in opened.get("options", ())]


def when(ms: int | None) -> str | None:
    if not ms:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def limit(given: int, most: int) -> int:
    """Raises ToolFailed."""
    if given < 1:
        raise ToolFailed("limit has to be at least 1")
    return min(given, most)


def pairs(given: Mapping[str, Any], most: int) -> str:
    """A tool call's input for people: a line for each of its keys, cut at *most* characters."""
    lines = "\n".join(
        f"{key}: {value if isinstance(value, str) else json.dumps(value)}" for key, value in given.items()
    )
    return lines if len(lines) <= most else f"{lines[:most]}…"


# --- What happens -------------------------------------------------------------------------------------------------


def event(record: Record) -> dict[str, Any] | None:
    """What a record tells; None: nothing."""
    data = record.data
    match record.type:
        case "ask.opened":
            return {"type": "ask", "text": data["question"], "tool": data["tool"] or "", "ask_id": data["id"]}
        case "ask.settled":
            said = data.get("answer") or data["reason"]
            return {"type": "settled", "text": colon(data["decision"], said), "ask_id": data["id"]}
        case _ if record.parent is not None:
            return None
        case "message" if data["role"] == "assistant" and (said := said_in(data["content"])):
            return {"type": "assistant", "text": cut(said)}
        case "tool.finished":
            line = colon(f"{data['name']} {data['subject']}".strip(), data["summary"])
            return {"type": "tool", "text": line, "tool": data["name"], "ok": data["ok"]}
        case "phase":
            return {"type": "phase", "text": phase(data)}
        case "notice":
            return {"type": "notice", "text": colon(data["level"], data["text"])}
        case "commit":
            return {"type": "commit", "text": f"{data['sha'][:12]} {data['message']}"}
        case "job.finished":
            why = data["error"]["message"] if data["error"] else data["stop_reason"]
            return {"type": "finished", "text": colon(data["outcome"], why if why != data["outcome"] else "")}
    return None


def progress(record: Record) -> str:
    """A line for who watches; "" for none."""
    if record.type == "tool.started":
        return f"{record.data['name']} {record.data['subject']}".strip()
    told = event(record)
    return next(iter(told["text"].splitlines()), "") if told is not None and record.type != "tool.finished" else ""


def said_in(content: list[Mapping[str, Any]]) -> str:
    return "".join(block["text"] for block in content if block["type"] == "text").strip()


def phase(data: Mapping[str, Any]) -> str:
    many = f" {data['index']} of {data['count']}" if data.get("count") else ""
    return colon(f"{data['name']}{many}", data.get("title") or "")


def colon(head: str, rest: str | None) -> str:
    return f"{head}: {rest}" if rest else head


def cut(said: str, most: int = TEXT_CHARS) -> str:
    if len(said) <= most:
        return said
    return f"{said[:most]}\n[{len(said) - most} more characters; the session's transcript has all of it]"
