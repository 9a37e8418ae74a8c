"""Questions that only a client can settle. An open ask is a record: it outlives the process that asked."""

from __future__ import annotations

import time
import uuid
from typing import Literal

import attrs
import trio

from agentd.domain import Entry, ToolUse
from agentd.engine.branch import Branch
from agentd.engine.session import Session
from agentd.errors import AskNotFound, AskSettled

Answer = Literal["allow", "deny", "always"]


@attrs.frozen
class Settlement:
    decision: Answer
    reason: str
    by: str

    @property
    def allowed(self) -> bool:
        return self.decision != "deny"


@attrs.define
class Asks:
    """The asks of one session. What settles one is whoever comes first: a client, or the deadline."""

    session: Session
    _changed: trio.Event = attrs.field(factory=trio.Event)

    async def permission(self, branch: Branch, call: ToolUse, subject: str, seconds: float | None) -> Settlement:
        """Ask whether *call* may run, and wait. *seconds* 0: nobody is there, so it is refused at once."""
        ask_id = self._asked_about(branch.job.id, call) or await self._open(branch, call, subject, seconds)
        deadline = self.session.state.asks[ask_id].data["deadline"]
        left = trio.current_time() + (deadline / 1000 - time.time() if deadline is not None else float("inf"))
        with trio.move_on_at(left):
            while self.session.state.asks[ask_id].settled is None:
                await self._changed.wait()
        if self.session.state.asks[ask_id].settled is None:
            why = "nobody is there to ask" if seconds == 0 else "nobody answered in time"
            await self.settle(ask_id, Settlement("deny", why, "timeout"))
        settled = self.session.state.asks[ask_id].settled or {}
        return Settlement(settled["decision"], settled["reason"], settled["by"])

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
        self._changed.set()
        self._changed = trio.Event()
        await self.session.log.synced(position)

    def _asked_about(self, job: str, call: ToolUse) -> str | None:
        """The ask that an earlier executor opened for this call; it may be settled by now."""
        asks = self.session.state.asks.values()
        return next((ask.id for ask in asks if (ask.job, ask.data["call"]) == (job, call.id)), None)

    async def _open(self, branch: Branch, call: ToolUse, subject: str, seconds: float | None) -> str:
        data = {
            "id": str(uuid.uuid4()),
            "kind": "permission",
            "call": call.id,
            "tool": call.name,
            "input": dict(call.input),
            "question": f"Allow {call.name}: {subject}?",
            "options": ["allow", "deny", "always"],
            "deadline": None if seconds is None else int((time.time() + seconds) * 1000),
        }
        await self.session.commit(Entry("ask.opened", data, branch.job.id, branch.parent))
        return str(data["id"])
