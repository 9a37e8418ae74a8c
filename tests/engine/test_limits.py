"""Limits: what ends a job that would go on."""

from __future__ import annotations

from agentd.domain import Limits, Text, ToolResult, ToolUse
from agentd.engine.limits import Budget, LoopGuard


def test_a_budget_of_turns_is_used_up_by_turns() -> None:
    budget = Budget(Limits(turns=2))
    budget.add_turn(None)
    assert budget.exhausted() is None
    budget.add_turn(None)
    assert budget.exhausted() == "max_turns_reached"


def test_a_budget_of_money_is_used_up_by_what_calls_cost() -> None:
    budget = Budget(Limits(usd=1.0))
    budget.add_turn(0.5)
    assert budget.exhausted() is None
    budget.add_turn(0.5)
    assert budget.exhausted() == "max_budget_reached"


def test_a_model_without_a_price_never_uses_up_money() -> None:
    budget = Budget(Limits(usd=0.01))
    budget.add_turn(None)
    assert budget.exhausted() is None


def turn(call_id: str, about: str, answer: str) -> tuple[tuple[ToolUse, ...], dict[str, ToolResult]]:
    return (ToolUse(call_id, "Read", {"about": about}),), {call_id: ToolResult(call_id, (Text(answer),))}


def test_the_same_calls_with_the_same_results_are_counted_whatever_their_ids() -> None:
    guard = LoopGuard()
    assert [guard.saw(*turn("1", "a", "x")), guard.saw(*turn("2", "a", "x"))] == [1, 2]


def test_a_different_turn_starts_the_count_anew() -> None:
    guard = LoopGuard()
    turns = [turn("1", "a", "x"), turn("2", "b", "x"), turn("3", "a", "x")]
    assert [guard.saw(*each) for each in turns] == [1, 1, 1]


def test_a_call_whose_result_changes_is_no_loop() -> None:
    guard = LoopGuard()
    assert [guard.saw(*turn("1", "date", "now")), guard.saw(*turn("2", "date", "later"))] == [1, 1]
