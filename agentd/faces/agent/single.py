"""A run as one answer: POST /api/v1/query/single. The contract: agent-api.md, 7."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from typing import Any

import attrs

from agentd.daemon.tail import Tail
from agentd.errors import StoreFailed
from agentd.faces.agent import shapes
from agentd.faces.agent.dialect import Event
from agentd.faces.agent.streams import Run, run_events

FROM_RESULT = (
    *("is_error", "is_complete", "stop_reason", "duration_ms", "num_turns", "total_cost_usd", "usage", "model_usage"),
    *("result", "structured_output"),
)


@attrs.define
class Single:
    """Takes the events of a run. `answer` is there once `done` was taken."""

    answer: dict[str, Any] | None = None
    _init: dict[str, Any] = attrs.field(factory=dict)
    _content: list[dict[str, Any]] = attrs.field(factory=list)
    _error: dict[str, Any] | None = None
    _result: dict[str, Any] = attrs.field(factory=dict)

    def take(self, event: Event) -> None:
        match event.name:
            case "init":
                self._init = event.data
            case "message" if event.data["role"] == "assistant" and event.data["parent_tool_use_id"] is None:
                self._content += event.data["content"]
            case "error":
                self._error = event.data
            case "result":
                self._result = event.data
            case "done":
                self.answer = self._whole()

    def _whole(self) -> dict[str, Any]:
        about = {"session_id": self._init["session_id"], "model": self._init["model"], "content": self._content}
        answer = about | {name: self._result[name] for name in FROM_RESULT}
        if self._error is not None:
            answer["content"] = [shapes.block("text", text=f"Error: {self._error['message']}")]
            answer["error"] = {"code": self._error["code"], "message": self._error["message"]}
        return answer


def answer_of(events: Iterable[Event]) -> dict[str, Any]:
    """Of a run that is over."""
    single = Single()
    for event in events:
        single.take(event)
    assert single.answer is not None, "a run ends with done"
    return single.answer


async def single(tail: Tail, run: Run) -> dict[str, Any]:
    """The answer, when the run has ended. Raises StoreFailed: also where the server stops before that."""
    taken = Single()
    async with aclosing(run_events(tail, run, partials=False)) as events:
        async for event in events:
            taken.take(event)
    if taken.answer is None:
        raise StoreFailed("the server stopped before the run ended")
    return taken.answer
