"""Errors out of the groups that nurseries make of them."""

from __future__ import annotations

from agentd.errors import StoreFailed, only_cause


def test_what_one_task_met_comes_out_of_all_its_groups() -> None:
    cause = StoreFailed("full")
    assert only_cause(ExceptionGroup("outer", [ExceptionGroup("inner", [cause])])) is cause
    assert only_cause(cause) is cause


def test_what_several_tasks_met_alike_is_one_thing() -> None:
    group = ExceptionGroup("", [StoreFailed("full"), ExceptionGroup("", [StoreFailed("full")])])
    assert str(only_cause(group)) == "full"


def test_where_several_things_happened_all_of_them_are_told() -> None:
    group = ExceptionGroup("", [StoreFailed("full"), StoreFailed("gone")])
    assert only_cause(group) is group
