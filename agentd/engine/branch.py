"""Where the records of a conversation go: the job's own, or, for a subagent, below the call that it works for."""

from __future__ import annotations

from typing import Any

import attrs

from agentd.domain import Entry
from agentd.engine.session import Session
from agentd.store.fold import History, JobView

STREAMED = frozenset({"text.delta", "thinking.delta", "input.delta", "message"})


@attrs.frozen
class Branch:
    """*parent*: the call that its conversation works for; None: the conversation is the job's own. *quiet*: what a
    model says here is for the engine alone, and becomes no record."""

    session: Session
    job: JobView
    parent: str | None = None
    quiet: bool = False
    taken_ids: set[str] = attrs.field(factory=set)  # of all calls of the job: clients tell them apart by these

    @property
    def history(self) -> History:
        return self.session.state.history_of(self.parent)

    def write(self, entry: Entry) -> None:
        """Raises StoreFailed."""
        if not (self.quiet and entry.type in STREAMED):
            self.session.append(attrs.evolve(entry, job=self.job.id, parent=self.parent))

    def append(self, kind: str, /, **data: Any) -> None:
        """Raises StoreFailed."""
        self.write(Entry(kind, data))

    def notice(self, level: str, code: str, text: str) -> None:
        self.append("notice", level=level, code=code, text=text)

    def say(self, message_id: str, content: list[dict[str, Any]]) -> None:
        """A message in a person's place."""
        self.append("message", id=message_id, role="user", content=content, model=None, usage=None)

    def below(self, call: str) -> Branch:
        """For a subagent."""
        return attrs.evolve(self, parent=call)
