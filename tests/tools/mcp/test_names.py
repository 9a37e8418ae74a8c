from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.mcp.names import full_name, full_names


def test_a_tool_is_called_by_its_server_and_its_own_name() -> None:
    assert full_name("github", "create-issue") == "mcp__github__create-issue"


def test_other_characters_become_underscores() -> None:
    assert full_name("my server", "a.b/ç\n") == "mcp__my_server__a_b___"


def test_a_long_name_is_cut_and_hashed() -> None:
    one, two = full_name("s", "x" * 60 + "1"), full_name("s", "x" * 60 + "2")
    assert len(one) == len(two) == 64
    assert one[:55] == two[:55]
    assert one != two


def test_names_that_come_out_alike_are_told_apart() -> None:
    offered = [("a", "b__c"), ("a__b", "c"), ("a", "b..c")]
    first, second, third = full_names(offered)
    assert first == "mcp__a__b__c"
    assert second.startswith("mcp__a__b__c_")
    assert len({first, second, third}) == 3


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=80)), max_size=20))
def test_every_tool_has_one_name_that_services_take(offered: list[tuple[str, str]]) -> None:
    names = full_names(offered)
    assert set(names.values()) == set(offered)
    assert len(names) == len(set(offered))
    assert all(re.fullmatch(r"mcp__[A-Za-z0-9_-]{2,59}", name) for name in names)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.text("._-", max_size=3)), max_size=20))
def test_a_name_stays_what_it_is_when_others_come_behind(offered: list[tuple[str, str]]) -> None:
    assert list(full_names(offered))[:5] == list(full_names(list(dict.fromkeys(offered))[:5]))
