"""Questions that only a client can settle. An open ask is a record: it outlives the process that asked."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import attrs
import trio

from agentd.domain import Entry, ToolUse
from agentd.engine.branch import Branch
from agentd.engine.session import Session
from agentd.errors import AskNotFound, AskSettled
from agentd.store.fold import AskView

Answer = Literal["allow", "deny", "always", "answer"]
Kind = Literal["permission", "question", "plan", "step"]
YES_OR_NO = ("allow", "deny")
NOBODY = "nobody is there to ask"


@attrs.frozen
class Settlement:
    """*answer*: what a question was answered; *updated_input*: what the call is to be given instead."""

    decision: Answer
    reason: str
    by: str
    answer: str | None = None
    updated_input: Mapping[str, Any] | None = None

    @property
    def allowed(self) -> bool:
        return self.decision != "deny"


@attrs.frozen
class Subject:
    """What is asked. *options*: of a permission or a plan the decisions, of a question what may be answered."""

    kind: Kind
    question: str
    options: Sequence[str]
    questions: Sequence[Mapping[str, Any]] = ()


@attrs.define
class Asks:
    """The asks of one session. What settles one is whoever comes first: a client, the deadline, or *reconsider*."""

    session: Session
    _early: dict[str, str] = attrs.field(factory=dict)  # by job: an answer that came before its question
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def ask(
        self,
        branch: Branch,
        call: ToolUse,
        subject: Subject,
        seconds: float | None,
        reconsider: Callable[[], Settlement | None] = lambda: None,
    ) -> Settlement:
        """Ask about *call*, and wait. *seconds* 0: nobody is there, so it is refused at once. *reconsider*: whether it
        is settled by now, without anybody; it is called when something has changed."""
        ask = self.about(branch.job.id, call) or await self._open(branch, call, subject, seconds)
        if subject.kind == "question" and ask.settled is None and (early := self._early.pop(branch.job.id, None)):
            await self.settle(ask.id, Settlement("answer", "", "client", early))
        deadline = ask.data["deadline"]
        left = trio.current_time() + (deadline / 1000 - time.time() if deadline is not None else float("inf"))
        with trio.move_on_at(left):
            while ask.settled is None:
                changed = self._changed
                if (settled := reconsider()) is not None:
                    await self.settle(ask.id, settled)
                else:
                    await changed.wait()
        if ask.settled is None:
            why = NOBODY if seconds == 0 else "nobody answered in time"
            await self.settle(ask.id, Settlement("deny", why, "timeout"))
        return settlement_of(ask)

    def about(self, job: str, call: ToolUse) -> AskView | None:
        """The ask that an earlier executor opened for this call; it may be settled by now."""
        asks = self.session.state.asks.values()
        return next((ask for ask in asks if (ask.job, ask.data["call"]) == (job, call.id)), None)

    async def settle(self, ask_id: str, answer: Settlement) -> None:
        """Raises AskNotFound, AskSettled (with the decision that stands), StoreFailed."""
        ask = self.session.state.asks.get(ask_id)
        if ask is None:
            raise AskNotFound(ask_id)
        if ask.settled is not None:
            raise AskSettled(ask_id, ask.settled["decision"])
        entries = [Entry("ask.settled", {"id": ask_id} | attrs.asdict(answer), ask.job, ask.parent)]
        if answer.decision == "always":
            always = sorted({*self.session.state.always, ask.data["tool"]})
            entries.append(Entry("session.changed", {"permissions": {"always": always}}))
        position = self.session.append(*entries)
        self.look()
        await self.session.log.synced(position)

    def answer_early(self, job: str, text: str) -> None:
        """Keep an answer for the next question of the job; the latest counts."""
        self._early[job] = text

    def look(self) -> None:
        """Have everybody who waits look again whether it is settled."""
        self._changed.set()
        self._changed = trio.Event()

    async def _open(self, branch: Branch, call: ToolUse, subject: Subject, seconds: float | None) -> AskView:
        data: dict[str, Any] = {
            "id": str(uuid.uuid4()),
            "kind": subject.kind,
            "call": call.id,
            "tool": call.name,
            "input": dict(call.input),
            "question": subject.question,
            "options": list(subject.options),
            "deadline": None if seconds is None else int((time.time() + seconds) * 1000),
        }
        if subject.kind == "question":
            data["questions"] = list(subject.questions)
        await self.session.commit(Entry("ask.opened", data, branch.job.id, branch.parent))
        return self.session.state.asks[str(data["id"])]


def settlement_of(ask: AskView) -> Settlement:
    """As it was settled."""
    told = ask.settled or {}
    return Settlement(told["decision"], told["reason"], told["by"], told.get("answer"), told.get("updated_input"))
