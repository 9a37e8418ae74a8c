"""What a log says of one job, ready to be played again: replies of models, outcomes of calls, answers, hooks. Pure."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from typing import Any

import attrs

from agentd.domain import JobState, Message, Record, ToolUse, Usage, blocks_from_json
from agentd.engine.asks import Settlement
from agentd.engine.compaction import HEADING
from agentd.engine.context import MATERIAL_CHARS
from agentd.engine.hooks import OF_TOOLS, PLUGIN, Decision
from agentd.engine.specrunsteps import Done
from agentd.store.specrun import STEP_ASK

HOOK_SAYS = "\n[the PostToolUse hook says: "  # begins what the engine puts behind a result
CUT_AT = "\n[cut at "  # the same, of a result in a chat
LISTS = "\n\nThe task list:\n"  # begins what the engine puts behind a summary
NO_SUMMARIES = frozenset({"NO_SUMMARY", "NOT_COMPRESSED"})
EXTERNAL = frozenset({JobState.CANCELLED.value, JobState.INTERRUPTED.value})  # ends that came from outside


@attrs.define
class Reply:
    """Of a model. *message*: None for a summary, which only the engine has seen; *usage*: None where it broke off."""

    pos: int
    message: Message | None
    usage: dict[str, Any] | None
    summary: str | None = None  # None: it was none
    context: int | None = None  # tokens that the model takes

    @property
    def is_for_the_engine(self) -> bool:
        return self.message is None

    @property
    def counts(self) -> Usage:
        told = self.usage or {}
        return Usage(*(told.get(f"{name}_tokens", 0) for name in ("input", "output", "cached", "written")))


@attrs.define
class Tape:
    """The records of one job in order, without what was streamed."""

    records: Sequence[Record]
    replies: dict[str | None, deque[Reply]] = attrs.field(factory=dict)  # by branch
    started: dict[str, Record] = attrs.field(factory=dict)  # by call
    finished: dict[str, Record] = attrs.field(factory=dict)
    asked: dict[str, Record] = attrs.field(factory=dict)
    settled: dict[str, Record] = attrs.field(factory=dict)  # by ask
    end: dict[str, Any] | None = None  # data of job.finished
    begin: dict[str, Any] | None = None  # data of job.started
    instructions: dict[str, str] = attrs.field(factory=dict)  # of MCP servers, by name
    material: int = 0  # characters that clients put before the model
    modes: deque[tuple[int, str]] = attrs.field(factory=deque)  # permission modes that a client set, by position
    _hooks: defaultdict[tuple[str, str | None], deque[Record]] = attrs.field(factory=lambda: defaultdict(deque))
    _programs: defaultdict[tuple[str, str | None], list[Record]] = attrs.field(factory=lambda: defaultdict(list))
    _gates: deque[Record] = attrs.field(factory=deque)  # asks about steps, whose ids are made anew
    _steps: deque[Done] = attrs.field(factory=deque)

    @classmethod
    def of(cls, records: Sequence[Record]) -> Tape:
        tape = cls(records)
        for record in records:
            tape._take(record)
        for branch in {record.parent for record in records}:
            tape.replies[branch] = deque(_replies(record for record in records if record.parent == branch))
        sent = [record.data.get("sent") or {} for record in records if record.type == "usage" and record.parent is None]
        tape.material = min(next((each["material"] for each in sent if "material" in each), 0), MATERIAL_CHARS)
        tape._steps.extend(tape._done_steps())
        return tape

    def _take(self, record: Record) -> None:
        data = record.data
        match record.type:
            case "job.started":
                self.begin = data
                self.instructions = {str(name): str(text) for name, text in data.get("instructions", {}).items()}
            case "job.finished":
                self.end = data
            case "tool.started":
                self.started[data["call"]] = record
            case "tool.finished":
                self.finished[data["call"]] = record
            case "ask.opened":
                self.asked[data["call"]] = record
                if data["kind"] == STEP_ASK:
                    self._gates.append(record)
            case "ask.settled":
                self.settled[data["id"]] = record
            case "hook":
                told = self._programs if data["url"].startswith(PLUGIN) else self._hooks
                told[data["event"], data["call"]].append(record)
            case "session.changed" if "permission_mode" in data and not self._is_at_work("ExitPlanMode"):
                self.modes.append((record.pos, data["permission_mode"]))

    def _is_at_work(self, tool: str) -> bool:
        return any(record.data["name"] == tool and call not in self.finished for call, record in self.started.items())

    # --- What comes next ------------------------------------------------------------------------------------------

    def peek(self, branch: str | None) -> Reply | None:
        return next(iter(self.replies.get(branch, ())), None)

    def settlement(self, call: ToolUse, kind: str) -> tuple[int, Settlement] | None:
        """What was answered when *call* was asked about, and where; None: nobody has answered."""
        asked = self.asked.get(call.id)
        if kind == STEP_ASK:
            asked = self._gates.popleft() if self._gates else None
        settled = self.settled.get(asked.data["id"]) if asked is not None else None
        if settled is None:
            return None
        names = ("decision", "reason", "by", "answer", "updated_input")
        return settled.pos, Settlement(*(settled.data.get(name) for name in names))  # type: ignore[arg-type]

    def hook(self, event: str, call: str | None) -> tuple[Decision, str] | None:
        """What a hook decided, or why it failed."""
        told = self._hooks[event, call]
        if not told:
            return None
        data = told.popleft().data
        return Decision(data["decision"], data["reason"], self._modified(event, call)), data["error"] or ""

    def wants(self, event: str, tool: str) -> bool:
        """Whether programs of plugins were told of *event*; of a tool's, whether of that tool."""
        return any(
            event == each and (each not in OF_TOOLS or self._name(call) == tool) for each, call in self._programs
        )

    def _name(self, call: str | None) -> str:
        seen = self.started.get(call or "") or self.finished.get(call or "")
        return str(seen.data["name"]) if seen is not None else ""

    def programs(self, event: str, call: str | None) -> list[Decision]:
        """What programs of plugins decided, in their order."""
        told = [record.data for record in self._programs.get((event, call), ())]
        return [Decision(data["decision"], data["reason"], self._modified(event, call)) for data in told]

    def feedback(self, call: str) -> str | None:
        """What was put behind the result of a call by those who were told of it, whoever they were."""
        content = self.finished[call].data["content"] if call in self.finished else ()
        said = str(content[-1].get("text", "")) if content else ""
        return said.removeprefix(HOOK_SAYS).removesuffix("]") if said.startswith(HOOK_SAYS) else None

    def _modified(self, event: str, call: str | None) -> dict[str, Any] | None:
        """The input that a hook gave a call, or the prompt: seen by what was made of it."""
        if event == "UserPromptSubmit":
            return {"prompt": self.prompt} if self.prompt is not None else None
        if event != "PreToolUse" or call is None:
            return None
        seen = self.asked.get(call) or self.started.get(call)
        return dict(seen.data["input"]) if seen is not None else None

    @property
    def prompt(self) -> str | None:
        """What a hook or a slash command made of the prompt; None: nothing."""
        changed = next((record for record in self.records if record.type == "message.changed"), None)
        return str(changed.data["content"][0]["text"]) if changed is not None else None

    def next_step(self) -> Done | None:
        return self._steps.popleft() if self._steps else None

    def _done_steps(self) -> Iterable[Done]:
        phases = [
            record.data for record in self.records if record.type == "phase" and record.data["name"] == "step.done"
        ]
        ended = {each["details"]["id"]: each["details"] for each in phases if each.get("details")}
        for call, record in self.finished.items():
            if (details := ended.get(call)) is not None:
                told = "".join(block.get("text", "") for block in record.data["content"])
                done = Done(details["ok"], details["message"], told, record.data["duration_ms"])
                yield attrs.evolve(done, exit_code=details.get("exit_code"), applied=details.get("applied"))

    # --- How it ended ---------------------------------------------------------------------------------------------

    @property
    def ended_outside(self) -> bool:
        """Whether the job was stopped where it stood, or is still at work: nothing has to come behind its records."""
        return self.end is None or self.end["outcome"] in EXTERNAL or self.end["stop_reason"] == "timeout"

    @property
    def failure(self) -> tuple[str, str] | None:
        """Code and text of a model's failure that ended the job."""
        if self.end is None or self.end["stop_reason"] != "llm_error" or not self.end["error"]:
            return None
        return self.end["error"]["code"], self.end["error"]["message"]

    def has_notice(self, *codes: str) -> bool:
        return any(record.type == "notice" and record.data["code"] in codes for record in self.records)


def _replies(records: Iterable[Record]) -> Iterable[Reply]:
    """Those of one branch."""
    found: list[Reply] = []
    said: tuple[int, Message] | None = None
    context: int | None = None
    for record in records:
        data = record.data
        if record.type == "message" and data["role"] == "assistant":
            message = Message("assistant", blocks_from_json(data["content"]), data["id"], data["model"] or "")
            if data["usage"] is None:
                found.append(Reply(record.pos, message, None))  # it broke off
            else:
                said = record.pos, message
        elif record.type == "usage":
            context = (data.get("sent") or {}).get("context", context)
            pos, message_or_none = said if said is not None else (record.pos, None)
            found.append(Reply(pos, message_or_none, data, context=context))
            said = None
        elif record.type == "history.compacted" and found and found[-1].is_for_the_engine:
            found[-1].summary = data["text"].removeprefix(f"{HEADING}\n\n").rsplit(LISTS, 1)[0]
        elif record.type == "notice" and data["code"] in NO_SUMMARIES and not _is_summed_up(found):
            found.append(Reply(record.pos, None, None))
    return found


def _is_summed_up(found: Sequence[Reply]) -> bool:
    """Whether the last reply was to be a summary, and was none."""
    return bool(found) and found[-1].is_for_the_engine and found[-1].summary is None
