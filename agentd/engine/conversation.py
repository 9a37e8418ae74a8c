"""The turn loop: a model speaks and calls, its calls are answered, until it has said its last word or may not go on."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs

from agentd.domain import JobState, Message, OutputFormat, Text, block_to_json
from agentd.engine import structured
from agentd.engine.branch import Branch
from agentd.engine.caller import Caller
from agentd.engine.calls import Calls
from agentd.engine.compaction import Room
from agentd.engine.limits import REPEATS_BEFORE_STOP, REPEATS_BEFORE_WARNING, Budget, LoopGuard
from agentd.engine.turn import Turn
from agentd.providers.failures import ContextOverflow
from agentd.providers.protocol import ToolSchema


@attrs.frozen
class Ending:
    outcome: JobState
    stop_reason: str
    result: str | None = None
    error: Mapping[str, Any] | None = None
    structured: Any = None  # what the result says, where JSON was asked for

    @property
    def is_regular(self) -> bool:
        """Whether the work was done, and not stopped by a limit."""
        return self.outcome is JobState.COMPLETED and self.stop_reason == "completed"

    @classmethod
    def failed(
        cls, stop_reason: str, code: str, message: str, result: str | None = None, details: Any = None
    ) -> Ending:
        error = {"code": code, "message": message} | ({"details": details} if details is not None else {})
        return cls(JobState.FAILED, stop_reason, result, error)


@attrs.frozen
class Material:
    """What a client put before the model. It stands in front of a job's first message, and never in the log."""

    texts: tuple[Text, ...] = ()
    before: str = ""  # the id of that message

    def put_into(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """Where that message is no more, because the conversation was summed up, it stands in front of the rest."""
        if not self.texts or not messages:
            return messages
        at = next((index for index, message in enumerate(messages) if message.id == self.before), 0)
        first = attrs.evolve(messages[at], content=(*self.texts, *messages[at].content))
        return (*messages[:at], first, *messages[at + 1 :])


@attrs.define
class Conversation:
    """One conversation with a model, from where its history stands."""

    branch: Branch
    system: str
    caller: Caller
    calls: Calls
    budget: Budget
    material: Material = Material()
    output: OutputFormat | None = None  # what the last word has to be; None: any text
    _retries: int = 0  # of last words that were not
    _guard: LoopGuard = attrs.field(factory=LoopGuard)
    _room: Room = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        material = sum(len(text.text) for text in self.material.texts)
        hooks = self.calls.around.hooks
        self._room = Room(self.branch, self.caller, self.system, self._schemas, self.budget, hooks, material)

    async def run(self) -> Ending:
        """To the model's last word. Raises AgentdError."""
        if unanswered := self.branch.history.unanswered:  # an earlier executor stopped at an ask
            await self.calls.answer(unanswered)
        while (reason := self.budget.exhausted()) is None:
            turn = await self._take_turn()
            if not turn.message.calls:
                if (ending := self._read(self._ending_of(turn))) is not None:
                    return ending
                continue
            await self.calls.answer(turn.message.calls)
            if (stuck := self._stuck(turn)) is not None:
                return stuck
        return Ending(JobState.COMPLETED, reason, self._last_text())

    async def sum_up(self, trigger: Literal["auto", "manual"] = "auto") -> None:
        """Put a summary in the place of the whole conversation. Raises ProviderFailed; then it is what it was."""
        await self._room.sum_up(self.branch.history.view(), trigger)

    @property
    def _schemas(self) -> tuple[ToolSchema, ...]:
        return tuple(ToolSchema(t.name, t.description, t.input_schema) for t in self.calls.tools.values())

    async def _take_turn(self) -> Turn:
        """Raises ProviderFailed: ContextFull where the conversation is too long and cannot be shortened."""
        history = self.branch.history
        if self._room.is_short(history.view()):
            await self._room.make(history.view())
        while True:
            said = history.view()
            messages, taken = self.material.put_into(said), self.branch.taken_ids
            try:
                turn, cost = await self.caller.take_turn(self.system, messages, self._schemas, taken, said)
            except ContextOverflow as overflow:
                await self._room.make(history.view(), overflow)
                continue
            self.budget.add_turn(cost)
            self._room.measured(turn.usage, history.messages)
            return turn

    def _ending_of(self, turn: Turn) -> Ending:
        text = turn.message.text
        if turn.stop_reason == "failed":
            return Ending.failed("failed", "NOT_DONE", _headline(text) or "not done", text)
        if not text.strip():
            return Ending.failed("llm_error", "EMPTY_REPLY", "the model answered with neither text nor a tool call")
        if turn.stop_reason == "max_tokens":
            self.branch.notice("warning", "CUT_SHORT", "the model's answer was cut at its length limit")
        return Ending(JobState.COMPLETED, "completed", text)

    def _read(self, ending: Ending) -> Ending | None:
        """With what the last word says as JSON, where that was asked for. None: it says none, or not the right one; the
        model has been told, and may try again."""
        if self.output is None or not ending.is_regular:
            return ending
        parsed = structured.parse(ending.result or "", self.output)
        if not parsed.errors:
            return attrs.evolve(ending, structured=parsed.value)
        if self._retries < structured.RETRIES and self.budget.exhausted() is None:
            self._retries += 1
            self.branch.say(str(uuid.uuid4()), [block_to_json(Text(structured.retry_message(parsed.errors)))])
            return None
        details = {"validation_errors": list(parsed.errors), "schema_type": self.output.type}
        text = f"the answer is not the JSON that was asked for: {parsed.errors[0]}"
        return Ending.failed("error", "STRUCTURED_OUTPUT_VALIDATION_ERROR", text, ending.result, details)

    def _stuck(self, turn: Turn) -> Ending | None:
        repeats = self._guard.saw(turn.message.calls, self.branch.history.results)
        if repeats == REPEATS_BEFORE_WARNING:
            self.branch.notice("warning", "LOOP", f"the model made the same calls {repeats} times in a row")
        if repeats < REPEATS_BEFORE_STOP:
            return None
        text = f"stopped: the model made the same calls with the same results {repeats} times in a row"
        return Ending.failed("loop", "LOOP", text)

    def _last_text(self) -> str | None:
        messages: Sequence[Message] = self.branch.history.messages
        return next((each.text for each in reversed(messages) if each.role == "assistant" and each.text), None)


def _headline(text: str) -> str:
    """The first line; and the next, where that only announces it."""
    first, *rest = text.strip().split("\n", 2)
    return " ".join([first, *rest[:1]]) if first.endswith(":") else first
