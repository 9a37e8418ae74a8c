"""The records of a job as events of the agent API. A pure fold. The contract: agent-api.md, 6.

    init  ( message | partial | question )*  [ error ]  result  done

One record becomes none to many events. An event is named by its record's position: `17` is the last event of record
17, and what comes before that of the same record is `17-1`, `17-2` and so on. Who has seen `17-2` goes on with the
third event of record 17, who has seen `17` with what record 18 becomes: nothing is missed, nothing is repeated.

`init` comes with job.started; what the log says before that (the prompt, notices) waits for it. A job that never
started has one all the same, with what its request says. Results of tools are one message as soon as every call of the
assistant's message has its own; calls that never got one are told as interrupted. Partials are of the main
conversation alone: those of several subagents at once could not be told apart. A reply that broke off has its blocks
stopped, and its message, where something is left of it, holds the text alone and no usage.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self

import attrs

from agentd.domain import JobState, Record, Usage
from agentd.faces.agent import shapes
from agentd.store.fold import INTERRUPTED_CALL

DEFAULT_MODEL = "sonnet"
LIMITS = frozenset({"max_turns_reached", "max_budget_reached"})  # stop reasons of a run that was not finished
NO_PRICE = "NO_PRICE"  # a notice that only matters to a run with a budget


@attrs.frozen
class Event:
    """*part*: which event of its record it is, from 1; 0 for the last. *pos* 0: it is in no log."""

    name: str
    data: dict[str, Any]
    pos: int = 0
    part: int = 0

    @property
    def ident(self) -> str:
        """As above."""
        return f"{self.pos}-{self.part}" if self.part else str(self.pos)


Told = list[tuple[str, dict[str, Any]]]


@attrs.frozen
class Round:
    """The calls of one message, and the results that have come."""

    message: str
    calls: tuple[str, ...]
    results: Mapping[str, dict[str, Any]] = attrs.field(factory=dict)


@attrs.frozen
class Streamed:
    """What was told of the blocks of a message that is still to come."""

    message: str = ""
    begun: frozenset[int] = frozenset()
    open: Mapping[int, str] = attrs.field(factory=dict)  # kinds of the blocks that are not stopped yet


@attrs.frozen
class Asked:
    """What a job was asked to be, as far as its events show it."""

    model: str = DEFAULT_MODEL
    permission_mode: str = "default"
    cwd: str | None = None
    partials: bool = False
    echo: bool = False  # whether the prompt is told
    budget: bool = False
    servers: Mapping[str, str] = attrs.field(factory=dict)  # their transports, by name
    plugins: tuple[str, ...] = ()
    sandbox: bool = False

    @classmethod
    def by(cls, spec: Mapping[str, Any]) -> Asked:
        """*spec*: of job.created."""
        face, tools, limits = spec.get("face") or {}, spec.get("tools") or {}, spec.get("limits") or {}
        servers, sandbox = spec.get("servers") or {}, spec.get("sandbox") or {}
        return cls(
            face.get("model") or (spec.get("models") or {}).get("planner") or DEFAULT_MODEL,
            tools.get("permission_mode", "default"),
            face.get("cwd"),
            bool(face.get("partials")),
            bool(spec.get("checkpoints")),
            limits.get("usd") is not None,
            {name: each.get("transport", "stdio") for name, each in servers.items()},
            tuple(each["name"] for each in spec.get("plugins") or () if each.get("enabled", True)),
            bool(sandbox.get("enabled")),
        )


@attrs.define
class Dialect:
    """One job of one session. *partials*: whether its events have them; None: as its request says. *echo*: tell the
    prompt even if the request does not want it. What it holds is small, and copied in no time."""

    session_id: str
    job_id: str
    partials: bool | None = None
    echo: bool = False
    over: bool = False  # `done` was told
    _begun: bool = False
    _asked: Asked = Asked()
    _created: int = 0  # epoch milliseconds
    _resolved: str = ""  # the service's name for the model
    _held: tuple[Record, ...] = ()  # until init
    _turns: int = 0
    _text: str | None = None  # of the last message
    _usage: dict[str, Usage] = attrs.field(factory=dict)  # by model
    _rounds: dict[str | None, Round] = attrs.field(factory=dict)  # by the call of the subagent whose they are
    _streamed: Streamed = Streamed()

    def copy(self) -> Self:
        """As it is now, whatever is applied to the other one."""
        made = copy.copy(self)
        made._usage, made._rounds = dict(self._usage), dict(self._rounds)
        return made

    def apply(self, record: Record) -> list[Event]:
        """The events that *record* becomes: none if it is of another job."""
        if record.job != self.job_id or (fold := self._FOLDS.get(record.type)) is None:
            return []
        told = fold(self, record, record.data)
        last = len(told)
        return [Event(name, data, record.pos, part if part < last else 0) for part, (name, data) in enumerate(told, 1)]

    # --- Beginning ------------------------------------------------------------------------------------------------

    def _on_created(self, record: Record, data: Mapping[str, Any]) -> Told:
        self._asked, self._created = Asked.by(data["spec"]), record.ts
        if self.partials is None:
            self.partials = self._asked.partials
        return []

    def _on_started(self, record: Record, data: Mapping[str, Any]) -> Told:
        self._resolved = data["resolved_model"]
        return self._begin(data)

    def _begin(self, started: Mapping[str, Any]) -> Told:
        """Before anything else: init, and what waited for it."""
        if self._begun:
            return []
        self._begun = True
        asked, held = self._asked, self._held
        self._held = ()
        init = {
            "session_id": self.session_id,
            "model": asked.model,
            "tools": list(started.get("tools", ())),
            "mcp_servers": shapes.servers(started.get("mcp_servers", ()), asked.servers),
            "plugins": list(dict.fromkeys((*started.get("plugins", ()), *asked.plugins))),
            "commands": list(started.get("commands", ())),
            "permission_mode": started.get("permission_mode", asked.permission_mode),
            "resolved_model": started.get("resolved_model"),
            "plugin_errors": list(started.get("plugin_errors", ())),
            "agents": list(started.get("agents", ())),
            "skills": list(started.get("skills", ())),
            "cwd": started.get("cwd") or asked.cwd,
            **shapes.sandbox(started.get("sandbox", "off"), wanted=asked.sandbox),
        }
        return [
            ("init", init),
            *(told for record in held for told in self._FOLDS[record.type](self, record, record.data)),
        ]

    # --- Messages -------------------------------------------------------------------------------------------------

    def _on_message(self, record: Record, data: Mapping[str, Any]) -> Told:
        if data["role"] == "user":
            return self._on_said(record, data)
        told = self._begin({}) + self._close_round(record.parent)
        if record.parent is None:
            told += self._complete(data)
            self._turns += 1
            self._text = "".join(block["text"] for block in data["content"] if block["type"] == "text")
        calls = tuple(block["id"] for block in data["content"] if block["type"] == "tool_use")
        if calls:
            self._rounds[record.parent] = Round(data["id"], calls)
        used = shapes.usage(shapes.counted(data["usage"])) if data["usage"] else None
        content = [shapes.shown(block) for block in data["content"]]
        model = self._named(data["model"])
        told.append(_message("assistant", content, data["id"], model=model, usage=used, parent=record.parent))
        return told

    def _on_said(self, record: Record, data: Mapping[str, Any]) -> Told:
        """In a person's place. What comes before init is the prompt."""
        if not self._begun:
            if self._asked.echo or self.echo:
                self._held += (record,)
            return []
        told = self._close_round(record.parent)
        content = [shapes.shown(block) for block in data["content"]]
        return [*told, _message("user", content, data["id"], parent=record.parent)]

    def _on_notice(self, record: Record, data: Mapping[str, Any]) -> Told:
        if data["code"] == NO_PRICE and not self._asked.budget:
            return []
        if not self._begun:
            self._held += (record,)
            return []
        name = shapes.name_of(f"{self.job_id}/{record.pos}")
        return [_message("system", [shapes.block("text", text=data["text"])], name, parent=record.parent)]

    def _named(self, model: str | None) -> str:
        """A model as the client knows it: the one asked for by the name that it was asked for by."""
        return self._asked.model if not model or model == self._resolved else model

    # --- Tools ----------------------------------------------------------------------------------------------------

    def _on_result(self, record: Record, data: Mapping[str, Any]) -> Told:
        told = self._close_round(data["call"])  # of the subagent that the call was
        round_ = self._rounds.get(record.parent)
        if round_ is None or data["call"] not in round_.calls or data["call"] in round_.results:
            return told
        result = shapes.tool_result(data["call"], data["content"], is_error=not data["ok"])
        round_ = attrs.evolve(round_, results={**round_.results, data["call"]: result})
        self._rounds[record.parent] = round_
        return told + self._close_round(record.parent) if len(round_.results) == len(round_.calls) else told

    def _close_round(self, parent: str | None) -> Told:
        """The results of a conversation's last calls, if they were not told yet."""
        if (round_ := self._rounds.pop(parent, None)) is None:
            return []
        results = [round_.results.get(call) or _interrupted(call) for call in round_.calls]
        return [_message("user", results, shapes.name_of(f"{round_.message}/results"), parent=parent)]

    def _on_ask(self, record: Record, data: Mapping[str, Any]) -> Told:
        """A question without a tool is one that the model asks; the others are about a call, or an MCP server's."""
        if not self._begun:  # a server that asks while it is being connected to
            self._held += (record,)
            return []
        asks, call, parent = shapes.asked_by_model(data["kind"], data["tool"]), data["call"], record.parent
        if data["kind"] == "question" and not asks:
            call, parent = self._at_work(record.parent)
        question = {
            "tool_use_id": call,
            "question": data["question"],
            "session_id": self.session_id,
            "question_id": data["id"],
            "kind": data["kind"],
            "options": [each if isinstance(each, str) else each["label"] for each in data["options"] or ()],
            "questions": data.get("questions"),
            "tool_name": None if asks else data["tool"],
            "tool_input": None if asks else data["input"],
            "parent_tool_use_id": parent,
        }
        return [("question", question)]

    def _at_work(self, call: str | None) -> tuple[str | None, str | None]:
        """*call*, and the one that its conversation works for; None for what is no call that waits for its result."""
        return next(((call, parent) for parent, each in self._rounds.items() if call in each.calls), (None, None))

    # --- Partial messages -----------------------------------------------------------------------------------------

    def _on_text(self, record: Record, data: Mapping[str, Any]) -> Told:
        return self._delta(record, data, "text")

    def _on_thinking(self, record: Record, data: Mapping[str, Any]) -> Told:
        return self._delta(record, data, "thinking")

    def _on_input(self, record: Record, data: Mapping[str, Any]) -> Told:
        return self._delta(record, data, "tool_use")

    def _delta(self, record: Record, data: Mapping[str, Any], kind: str) -> Told:
        if not self.partials or record.parent is not None:
            return []
        index, streamed = data["block"], self._streamed
        delta = ("partial", shapes.block_delta(index, kind, data["text"]))
        if streamed.message == data["message"] and index in streamed.open:
            return [delta]
        return [*self._begin({}), *self._start(data["message"], index, kind, data.get("call"), data.get("name")), delta]

    def _start(self, message: str, index: int, kind: str, call: str | None, name: str | None) -> Told:
        """Begin a block. Text and thinking end with that; calls may still grow, for some services mix them."""
        told: Told = []
        if self._streamed.message != message:
            told += self._stop()
            self._streamed = Streamed(message)
        growing = {each: was for each, was in self._streamed.open.items() if was == "tool_use"}
        told += [("partial", shapes.block_stop(each)) for each in self._streamed.open if each not in growing]
        self._streamed = Streamed(message, self._streamed.begun | {index}, {**growing, index: kind})
        return [*told, ("partial", shapes.block_start(index, shapes.empty_block(kind, call, name)))]

    def _stop(self) -> Told:
        told: Told = [("partial", shapes.block_stop(index)) for index in sorted(self._streamed.open)]
        self._streamed = Streamed()
        return told

    def _complete(self, data: Mapping[str, Any]) -> Told:
        """What has not been told of the blocks of a message that is there now."""
        if not self.partials:
            return []
        begun = self._streamed.begun if self._streamed.message == data["id"] else frozenset()
        told = self._stop()
        if begun and data["usage"] is None:  # it broke off: what is kept of it has other blocks
            return told
        for index, block in enumerate(data["content"]):
            if index not in begun:
                told += _whole(index, block)
        return told

    # --- End ------------------------------------------------------------------------------------------------------

    def _on_usage(self, record: Record, data: Mapping[str, Any]) -> Told:
        model = self._named(data["model"])
        self._usage[model] = self._usage.get(model, Usage()) + shapes.counted(data)
        return []

    def _on_finished(self, record: Record, data: Mapping[str, Any]) -> Told:
        told = self._begin({}) + self._stop()
        for parent in sorted(self._rounds, key=lambda each: (each is None, each)):
            told += self._close_round(parent)
        reason = _REASONS.get(data["outcome"], "error")
        if reason == "error":
            told.append(("error", shapes.error(data)))
        self.over = True
        return [*told, ("result", self._result(record, data, reason)), ("done", {"reason": reason})]

    def _result(self, record: Record, data: Mapping[str, Any], reason: str) -> dict[str, Any]:
        stopped = data["stop_reason"] if reason == "completed" and data["stop_reason"] in LIMITS else reason
        total = sum(self._usage.values(), Usage())
        return {
            "session_id": self.session_id,
            "is_error": reason == "error",
            "is_complete": stopped == "completed",
            "stop_reason": stopped,
            "duration_ms": data["duration_ms"] or max(record.ts - (self._created or record.ts), 0),
            "num_turns": self._turns,
            "total_cost_usd": data["cost"],
            "usage": shapes.usage(total),
            "model_usage": {model: shapes.usage(used) for model, used in self._usage.items()},
            "result": data["result"] if data["result"] is not None else self._text or None,
            "structured_output": data.get("structured"),
        }

    _FOLDS: ClassVar[Mapping[str, Callable[[Dialect, Record, Mapping[str, Any]], Told]]] = {
        "job.created": _on_created,
        "job.started": _on_started,
        "message": _on_message,
        "notice": _on_notice,
        "tool.finished": _on_result,
        "ask.opened": _on_ask,
        "text.delta": _on_text,
        "thinking.delta": _on_thinking,
        "input.delta": _on_input,
        "usage": _on_usage,
        "job.finished": _on_finished,
    }


_REASONS = {JobState.COMPLETED: "completed", JobState.CANCELLED: "interrupted"}


def _message(
    role: str, content: Sequence[Mapping[str, Any]], message_id: str, **fields: Any
) -> tuple[str, dict[str, Any]]:
    return "message", shapes.message(role, content, message_id, **fields)


def _interrupted(call: str) -> dict[str, Any]:
    return shapes.tool_result(call, [{"type": "text", "text": INTERRUPTED_CALL}], is_error=True)


def _whole(index: int, block: Mapping[str, Any]) -> Told:
    """A block that was not streamed: with one delta, or none where there is nothing in it."""
    kind = block["type"]
    if kind == "tool_use":
        text = json.dumps(block["input"], ensure_ascii=False) if block["input"] else ""
    else:
        text = block[kind]
    shapes_of = [shapes.block_start(index, shapes.empty_block(kind, block.get("id"), block.get("name")))]
    shapes_of += [shapes.block_delta(index, kind, text)] if text else []
    return [("partial", each) for each in (*shapes_of, shapes.block_stop(index))]


def refused(session_id: str, code: str, message: str, spec: Mapping[str, Any]) -> list[Event]:
    """The events of a run that has no session: init, error, result, done. *spec*: as in job.created."""
    dialect = Dialect(session_id, "")
    error = {"code": code, "message": message}
    end = {"outcome": "failed", "stop_reason": "error", "error": error, "result": None, "cost": None, "duration_ms": 0}
    records = [Record(0, 0, "", "job.created", {"spec": spec}), Record(0, 0, "", "job.finished", end)]
    return [attrs.evolve(event, part=0) for record in records for event in dialect.apply(record)]
