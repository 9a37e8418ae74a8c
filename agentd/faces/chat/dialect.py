"""A chat as its log says it is: records in, events out, and the state that objects show. Pure. The contract:
runs-and-chat.md, 6.3, 10 and 11.

A turn is a job; one that is retried is another job of the same turn. What people say is in records of its own, for it
may have to wait for its turn, and what the model is told need not be the same.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from hashlib import blake2s
from typing import Any, Self

import attrs

from agentd.domain import JobState, Mode, Record
from agentd.faces.chat.parts import Attachment, Said, Turn, Waiting
from agentd.faces.runs.events import Event
from agentd.store.fold import DIED
from agentd.store.naming import BYTES, instant, of_uuid, stamped
from agentd.store.specrun import RESTARTED

CANCELED = "canceled"
ATTACHMENTS = "attachments/"
STOPPED = "This call was stopped before it ended: {}."
_FALLBACK = re.compile(r".*; (\S+) serves the rest of this job", re.DOTALL)


@attrs.define
class Chat:
    """*messages*: as clients see them; None where nobody wants them, so that copies cost little."""

    messages: list[dict[str, Any]] | None = None
    session: str = ""  # UUID
    created: int = 0
    updated: int = 0
    workspace: str = ""  # as it was given; "": the session is not made yet
    system_prompt: str = ""
    auto_run: bool = True
    mode: str = "chat"
    spec_path: str = ""
    status: str = "active"
    error: str | None = None
    model: str = ""
    turns: dict[str, Turn] = attrs.field(factory=dict)
    queue: list[str] = attrs.field(factory=list)  # turns that begin by themselves, in order
    fresh: list[Said] = attrs.field(factory=list)
    job: str | None = None  # that is at work or waits,
    turn: str = ""  # and whose turn it is; "": none's, as of a job that came from elsewhere
    canceling: bool = False  # it is to end
    waiting: Waiting | None = None
    calls: dict[str, str] = attrs.field(factory=dict)  # without a result: id -> name
    begun: set[str] = attrs.field(factory=set)  # of them, and of the daemon's own, those at work
    attachments: dict[str, Attachment] = attrs.field(factory=dict)  # by ref
    input_cost: float = 0.0
    output_cost: float = 0.0
    total_cost: float = 0.0

    def copy(self) -> Self:
        made = copy(self)
        made.messages = None if self.messages is None else list(self.messages)
        made.turns, made.queue, made.fresh = dict(self.turns), list(self.queue), list(self.fresh)
        made.calls, made.begun, made.attachments = dict(self.calls), set(self.begun), dict(self.attachments)
        return made

    def apply(self, record: Record) -> list[Event]:
        self.updated = record.ts
        if record.parent is not None or (fold := _FOLDS.get(record.type)) is None:
            return []
        events: list[Event] = fold(self, record, record.data)
        return events

    @property
    def is_idle(self) -> bool:
        """Whether nothing is at work, and nothing is to begin."""
        return self.job is None and not self.queue

    @property
    def cost(self) -> dict[str, float]:
        """In USD, as objects and events show it."""
        costs = {"input": self.input_cost, "output": self.output_cost, "total": self.total_cost}
        return {f"{name}_cost_usd": round(cost, 6) for name, cost in costs.items()}

    @property
    def last_turn(self) -> str | None:
        return next(reversed(self.turns), None)

    def due(self, turn: str) -> list[Said]:
        """What the model is to be told when *turn* begins: all up to its own message that it has not had."""
        ends = [index for index, each in enumerate(self.fresh) if each.turn == turn]
        return self.fresh[: ends[-1] + 1] if ends else []

    # --- What the folds share -------------------------------------------------------------------------------------

    def _change(self, turn: str, **fields: Any) -> None:
        if turn in self.turns:
            self.turns[turn] = attrs.evolve(self.turns[turn], **fields)

    def _show(
        self, record: Record, ident: str, role: str, parts: Sequence[Mapping[str, Any]], call: str | None
    ) -> Event:
        if self.messages is not None:
            told = {"id": ident, "role": role, "parts": list(parts), "created_at": instant(record.ts)}
            self.messages.append({**told, "tool_call_id": call})
        return self._event(record, "message_added", message_id=ident, role=role)

    def _event(self, record: Record, kind: str, message: str = "", /, **data: Any) -> Event:
        return Event(record.ts, kind, message, data, self.turn)

    def _result(self, record: Record, call: str, parts: Sequence[Mapping[str, Any]]) -> Event:
        """The message that answers a call."""
        digest = blake2s(f"{self.session}/{record.pos}/{call}".encode(), digest_size=BYTES).digest()
        self.calls.pop(call, None)
        self.begun.discard(call)
        return self._show(record, stamped("msg_", record.ts, digest), "tool", parts, call)

    def _drop_queue(self, record: Record) -> list[Event]:
        dropped, self.queue = self.queue, []
        for turn in dropped:
            self._change(turn, status="failed", completed=record.ts, error=CANCELED)
        return [Event(record.ts, "turn_failed", CANCELED, turn_id=turn) for turn in dropped]


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# --- What clients do ----------------------------------------------------------------------------------------------


def _session_created(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    chat.session, chat.created = data["id"], record.ts
    return []


def _set(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    chat.mode, chat.spec_path = data["mode"], data["spec_path"]
    named = {"spec_path": chat.spec_path}
    events = []
    if data["why"] == "created":
        chat.workspace, chat.system_prompt, chat.auto_run = data["workspace"], data["system_prompt"], data["auto_run"]
        events.append(Event(record.ts, "session_created", data={"workspace_path": chat.workspace}))
    elif data["why"] == "switched":
        events.append(Event(record.ts, "session_mode_set", data={"mode": chat.mode, **named}))
    else:
        events.append(Event(record.ts, "spec_path_set", data=named))
    return [*events, *([Event(record.ts, "spec_created", data=named)] if data["drafted"] else [])]


def _said(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    turn = data["turn"]
    chat.turns[turn] = Turn(turn)
    chat.fresh.append(Said(data["id"], data["role"], data["parts"], turn))
    if data["run"]:
        chat.queue.append(turn)
    told = chat._show(record, data["id"], data["role"], data["parts"], None)
    return [attrs.evolve(told, turn_id=turn)]


def _queued(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    if data["turn"] not in chat.queue:
        chat.queue.append(data["turn"])
        chat._change(data["turn"], status="pending", completed=None, error=None)
    return []


def _could_not_begin(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    turn, error = data["turn"], data["error"]
    if turn in chat.queue:
        chat.queue.remove(turn)
    chat._change(turn, status="failed", completed=record.ts, error=error)
    chat.status, chat.error = "failed", error
    return [Event(record.ts, "turn_failed", error, turn_id=turn)]


def _canceled(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    events = chat._drop_queue(record)
    if chat.job is not None:
        chat.canceling = True
        return events
    chat.status, chat.error = "canceled", None
    return [*events, Event(record.ts, "session_canceled", CANCELED)]


def _artifact(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    name = data.get("name") or ""
    if data["call"] is None and name.startswith(ATTACHMENTS):
        chat.attachments[name] = Attachment(data["sha256"], data["size"], data["media_type"])
    return []


# --- A turn -------------------------------------------------------------------------------------------------------


def _job_created(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    told = data["spec"].get("chat") if data["spec"]["mode"] == Mode.CHAT else None
    chat.job, chat.turn, chat.canceling = record.job, told["turn"] if told else "", False
    chat.status, chat.error = "active", None
    if told is None:
        return []
    if chat.turn in chat.queue:
        chat.queue.remove(chat.turn)
    chat.turns.setdefault(chat.turn, Turn(chat.turn))
    chat._change(chat.turn, status="running", started=record.ts, completed=None, error=None)
    known = {said.id for said in chat.fresh}
    events = [  # of a turn that came from elsewhere
        chat._show(record, each["id"], each["role"], [_part(part) for part in each["parts"]], None)
        for each in told["messages"]
        if each["id"] not in known
    ]
    return [*events, chat._event(record, "turn_started", **({"retry": True} if told["retry"] else {}))]


def _part(part: Mapping[str, Any]) -> dict[str, Any]:
    if part["type"] == "text":
        return _text(part["text"])
    return {"type": part["type"], "ref": part["ref"], "mime_type": part["media_type"]}


def _job_started(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    chat.model = f"{data['provider']}:{data['resolved_model']}"
    return [chat._event(record, "model_resolved", model=chat.model)]


def _phase(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    details = data.get("details") or {}
    created = data["name"] == "turn" and details.get("created")
    return [chat._event(record, "spec_created", spec_path=details["spec"])] if created else []


def _delta(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    return [chat._event(record, "model_output_delta", delta=data["text"])]


def _message(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    if any(said.id == data["id"] for said in chat.fresh):
        chat.fresh = [said for said in chat.fresh if said.id != data["id"]]
        return []
    if data["role"] != "assistant" or data["model"] is None:
        return []  # what the engine says in a person's place
    blocks = data["content"]
    texts = [block["text"] for block in blocks if block["type"] == "text" and block["text"]]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    parts: list[dict[str, Any]] = [_text("\n".join(texts))] if texts or not calls else []
    for call in calls:
        chat.calls[call["id"]] = call["name"]
        named = {"tool_call_id": call["id"], "tool_name": call["name"], "tool_input": call["input"]}
        parts.append({"type": "tool_use", **named})
    reason = "error" if data["usage"] is None else "tool_calls" if calls else "stop"
    completed = chat._event(record, "model_output_completed", finish_reason=reason)
    return [completed, chat._show(record, of_uuid("msg_", record.ts, data["id"]), "assistant", parts, None)]


def _usage(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    cost = data["cost"] or 0.0
    output = min(data.get("output_cost") or 0.0, cost)
    chat.input_cost += cost - output
    chat.output_cost += output
    chat.total_cost += cost
    counts = {"input_tokens": data["input_tokens"], "output_tokens": data["output_tokens"]}
    return [chat._event(record, "session_cost_updated", **chat.cost, **counts)]


def _ask_opened(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    chat.waiting = Waiting(data["id"], data["call"], data["tool"])
    chat.status = "waiting_approval"
    chat._change(chat.turn, status="waiting_approval")
    about = {"tool": data["tool"], "tool_call_id": data["call"], "input": data["input"]}
    return [chat._event(record, "approval_requested", **about)]


def _ask_settled(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    waiting = chat.waiting
    if waiting is None or waiting.ask != data["id"]:
        return []
    chat.waiting, chat.status = None, "active"
    chat._change(chat.turn, status="running")
    kind = "approval_denied" if data["decision"] == "deny" else "approval_granted"
    about = {"tool": waiting.tool, "tool_call_id": waiting.call, "reason": data["reason"]}
    return [chat._event(record, kind, **about)]


def _tool_started(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    chat.begun.add(data["call"])
    chat.calls.setdefault(data["call"], data["name"])
    about = {"tool": data["name"], "tool_call_id": data["call"], "input": data["input"]}
    return [chat._event(record, "tool_call_started", **about)]


def _tool_finished(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    about = {"tool": data["name"], "tool_call_id": data["call"]}
    error = "" if data["ok"] else data["summary"]
    events = []
    if data.get("skipped"):
        events.append(chat._event(record, "tool_call_skipped", **about, reason=error))
        events.append(chat._event(record, "tool_call_completed", **about, ok=False, error=error, skipped=True))
    elif data["call"] in chat.begun:
        events.append(chat._event(record, "tool_call_completed", **about, ok=data["ok"], error=error))
    parts = [_text(block["text"]) for block in data["content"] if block["type"] == "text"]
    events.append(chat._result(record, data["call"], parts or [_text("[the result is an image]")]))
    if data["name"] == "validate_spec" and (found := _validation(parts)) is not None:
        problems = "; ".join(found["problems"])
        events.append(chat._event(record, "spec_validated", ok=found["ok"], error=problems))
    return events


def _validation(parts: Sequence[Mapping[str, Any]]) -> Any:
    try:
        told = json.loads(parts[-1]["text"])
    except ValueError:
        return None
    return told if isinstance(told, dict) and "problems" in told else None


def _notice(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    text = data["text"]
    match data["code"]:
        case "FALLBACK":
            found = _FALLBACK.fullmatch(text)
            ends = {"from": chat.model, "to": found[1] if found else ""}
            return [chat._event(record, "model_fallback", text, **ends)]
        case "VERIFY_SKIPPED":
            return [chat._event(record, "verify_skipped", reason=text)]
    return [chat._event(record, "log", text)]


def _job_finished(chat: Chat, record: Record, data: Mapping[str, Any]) -> list[Event]:
    if record.job != chat.job:
        return []
    turn, canceling = chat.turn, chat.canceling
    error = None if data["outcome"] == JobState.COMPLETED else CANCELED if canceling else _why(data)
    events = _closed(chat, record, error or "the turn has ended")
    chat.waiting, chat.canceling, chat.job = None, False, None
    status = "succeeded" if error is None else "failed"
    chat._change(turn, status=status, completed=record.ts, error=error)
    if turn:
        ended = "turn_completed" if error is None else "turn_failed"
        events.append(chat._event(record, ended, error or ""))
    chat.turn = ""
    if canceling or error == CANCELED:
        events += [] if canceling else chat._drop_queue(record)
        chat.status, chat.error = "canceled", None
        return [*events, Event(record.ts, "session_canceled", CANCELED)]
    chat.status, chat.error = "active" if error is None else "failed", error
    return events


def _closed(chat: Chat, record: Record, why: str) -> list[Event]:
    """An answer for every call that has none."""
    events = []
    for call, name in list(chat.calls.items()):
        if call in chat.begun:
            about = {"tool": name, "tool_call_id": call}
            events.append(chat._event(record, "tool_call_completed", **about, ok=False, error=why))
        told = STOPPED.format(why) if call in chat.begun else f"This call was not run: {why}."
        events.append(chat._result(record, call, [_text(told)]))
    return events


def _why(data: Mapping[str, Any]) -> str:
    error = data["error"] or {}
    match data["outcome"]:
        case JobState.CANCELLED:
            return CANCELED
        case JobState.INTERRUPTED if error.get("code") != DIED:
            return RESTARTED
    return str(error.get("message") or data["stop_reason"])


_FOLDS: dict[str, Callable[[Chat, Record, Mapping[str, Any]], list[Event]]] = {
    "session.created": _session_created,
    "chat.set": _set,
    "chat.message": _said,
    "chat.queued": _queued,
    "chat.failed": _could_not_begin,
    "chat.canceled": _canceled,
    "artifact": _artifact,
    "job.created": _job_created,
    "job.started": _job_started,
    "phase": _phase,
    "text.delta": _delta,
    "message": _message,
    "usage": _usage,
    "ask.opened": _ask_opened,
    "ask.settled": _ask_settled,
    "tool.started": _tool_started,
    "tool.finished": _tool_finished,
    "notice": _notice,
    "job.finished": _job_finished,
}
