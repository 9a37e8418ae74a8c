"""What ends a job that would go on: turns, money, and a model that repeats itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from agentd.domain import Limits, ToolResult, ToolUse

REPEATS_BEFORE_WARNING = 3  # the same calls with the same results
REPEATS_BEFORE_STOP = 5


@attrs.define
class Budget:
    """What one job has used. A model without a price never reaches a limit of money."""

    limits: Limits
    turns: int = 0
    cost: float | None = None
    whole: Budget | None = None  # of the job, where this is a subagent's: money is counted there too

    def below(self, turns: int) -> Budget:
        """For a subagent that may take so many turns of its own."""
        return Budget(Limits(turns=turns), whole=self)

    def add_turn(self, cost: float | None) -> None:
        self.turns += 1
        self.add_cost(cost)

    def add_cost(self, cost: float | None) -> None:
        if cost is not None:
            self.cost = (self.cost or 0.0) + cost
        if self.whole is not None:
            self.whole.add_cost(cost)

    def exhausted(self) -> str | None:
        """The stop reason, once the model may not be called again."""
        if self.limits.turns is not None and self.turns >= self.limits.turns:
            return "max_turns_reached"
        paid = self.whole or self
        if paid.limits.usd is not None and paid.cost is not None and paid.cost >= paid.limits.usd:
            return "max_budget_reached"
        return None


@attrs.define
class LoopGuard:
    """Notices a model that makes the same calls and gets the same answers, turn after turn."""

    _last: object = None
    _repeats: int = 0

    def saw(self, calls: tuple[ToolUse, ...], results: Mapping[str, ToolResult]) -> int:
        """How often this turn has now been made in a row, from 1. *results*: by call id."""
        turn = [(call.name, dict(call.input), results[call.id].content) for call in calls]
        self._repeats = self._repeats + 1 if turn == self._last else 1
        self._last = turn
        return self._repeats
