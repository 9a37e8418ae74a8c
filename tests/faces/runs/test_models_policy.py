"""The policy: what may be set, what is kept, and which model it picks. The contract: runs-and-chat.md, 13."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.faces.runs.answers import Refused
from agentd.faces.runs.policy import (
    BudgetExceeded,
    Candidate,
    NoModel,
    Policy,
    Router,
    Settings,
    Stock,
    choose,
    rank,
    read_policy,
)
from agentd.providers.protocol import FREE, ModelInfo, Price

ANY = Policy()
BUILTIN = Candidate("builtin", "builtin", "builtin", "builtin", ModelInfo(price=FREE), by_name_only=True)


def model(name: str, price: float | None = 1.0, **more: Any) -> Candidate:
    info = ModelInfo(price=None if price is None else Price(price, 5 * price), vision=more.pop("vision", None))
    return Candidate("work", name, f"work/{name}", name, info, **more)


def names(*candidates: Candidate, policy: Policy = ANY, preferred: tuple[str, ...] = ()) -> list[str]:
    return [each.model for each in rank(candidates, policy, preferred)]


# --- Setting it ---------------------------------------------------------------------------------------------------


def test_what_is_left_out_is_as_built_in() -> None:
    assert read_policy({}).to_json() == {
        "require_tools": False,
        "require_vision": False,
        "max_cost_usd": 5,
        "preferred_models": [],
    }


def test_no_limit_is_null_or_nothing() -> None:
    assert read_policy({"max_cost_usd": None}).max_cost_usd is None
    assert read_policy({"max_cost_usd": 0}).max_cost_usd == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("require_tools", 1),
        ("require_vision", "yes"),
        *(("max_cost_usd", value) for value in (-1, "5", True, math.inf)),
        *(("preferred_models", value) for value in ("gpt", [1], {"a": 1})),
    ],
)
def test_what_has_another_type_is_refused_by_its_name(field: str, value: Any) -> None:
    with pytest.raises(Refused, match=field):
        read_policy({field: value})


async def test_what_was_set_is_there_after_a_restart(tmp_path: Path) -> None:
    path, policy = tmp_path / "settings.json", Policy(max_cost_usd=None, preferred_models=("a:b",))
    await Settings(path, Policy(require_vision=True)).put(policy)
    assert Settings(path, Policy(require_vision=True)).policy == policy
    assert json.loads(path.read_bytes())["model_policy"]["preferred_models"] == ["a:b"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "{", "[]", '{"model_policy": 5}', '{"model_policy": {"max_cost_usd": "x"}}'])
def test_a_file_that_is_damaged_is_as_good_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    first = Policy(require_vision=True)
    assert Settings(tmp_path / "settings.json", first).policy == first


# --- Picking ------------------------------------------------------------------------------------------------------


def test_the_cheaper_one_comes_first_and_the_unknown_price_last() -> None:
    assert names(model("b", 2), model("none", None), model("c", 1), model("a", 1)) == ["a", "c", "b", "none"]


def test_preferred_ones_come_first_in_their_order_and_the_others_stay() -> None:
    assert names(model("a"), model("b", 9), model("c", 8), preferred=("work:b", "work:c")) == ["b", "c", "a"]


def test_eyes_are_needed_where_they_are_required() -> None:
    required = Policy(require_vision=True)
    assert names(model("blind", vision=False), model("sees", 9, vision=True), model("?"), policy=required) == ["sees"]


def test_the_built_in_model_is_chosen_by_its_name_alone() -> None:
    assert names(BUILTIN, model("a")) == ["a"]
    assert names(BUILTIN, model("a"), preferred=("builtin:builtin",)) == ["builtin", "a"]


def test_a_model_that_was_refused_is_taken_only_where_there_is_no_other() -> None:
    assert names(model("a", refused=True), model("b", 9)) == ["b"]
    assert names(model("a", refused=True)) == ["a"]


def test_the_second_one_is_the_fallback_and_never_one_that_is_no_model() -> None:
    assert choose([model("a"), model("b")], Policy()).models.fallback == "work/b"
    assert choose([model("a"), BUILTIN], Policy()).models.fallback is None
    assert choose([BUILTIN, model("a")], Policy()).models.fallback is None


def test_what_is_left_of_the_budget_is_the_limit() -> None:
    assert choose([model("a")], Policy(max_cost_usd=2), spent=0.5).limits.usd == 1.5
    assert choose([model("a")], Policy(max_cost_usd=0), spent=99).limits.usd is None
    with pytest.raises(BudgetExceeded, match="budget exceeded: "):
        choose([model("a")], Policy(max_cost_usd=2), spent=2)


def test_where_nothing_fits_it_is_said_and_why() -> None:
    with pytest.raises(NoModel, match="router: no models match constraints; ollama: refused"):
        choose([], Policy(), why=["ollama: refused"])


async def test_the_operators_own_model_is_preferred_where_the_policy_prefers_none() -> None:
    async def look(asked: Any) -> Stock:
        return Stock([model("a"), model("b", 9)], (), {name: f"work:{name}" for name in asked})

    settings = Settings()
    assert (await Router(settings, look, "b").choose()).models.planner == "work/b"
    await settings.put(Policy(preferred_models=("a",)))
    assert (await Router(settings, look, "b").choose()).models.planner == "work/a"


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        provider=st.sampled_from(["one", "two", "builtin"]),
        model=st.sampled_from("abcdef"),
        name=st.just("n"),
        display=st.sampled_from("xyz"),
        info=st.builds(
            ModelInfo,
            price=st.none() | st.builds(Price, st.sampled_from([0.5, 1.0, 2.0]), st.sampled_from([0.5, 4.0])),
            vision=st.sampled_from([None, True, False]),
        ),
        entitled=st.booleans(),
        refused=st.booleans(),
        by_name_only=st.booleans(),
    ),
    max_size=8,
    unique_by=lambda each: each.id,
)
PREFERRED = st.lists(st.sampled_from([f"{p}:{m}" for p in ("one", "two", "builtin") for m in "abcdef"]), max_size=4)


@given(CANDIDATES, PREFERRED, st.booleans())
def test_whatever_there_is_the_choice_keeps_to_the_rules(
    candidates: list[Candidate], preferred: list[str], vision: bool
) -> None:
    policy = Policy(require_vision=vision)
    ranked = rank(candidates, policy, preferred)
    assert ranked == rank(list(reversed(candidates)), policy, preferred)  # the order they come in does not matter
    assert all(each.entitled and (each.info.vision is True or not vision) for each in ranked)
    assert all(each.id in preferred for each in ranked if each.by_name_only)
    assert len({each.refused for each in ranked}) <= 1  # refused ones only among themselves
    places = [preferred.index(each.id) if each.id in preferred else len(preferred) for each in ranked]
    assert places == sorted(places)
    rest = [each.price for each in ranked if each.id not in preferred]
    assert rest == sorted(rest)
    usable = [
        each
        for each in candidates
        if each.entitled
        and (each.info.vision is True or not vision)
        and not each.refused
        and not (each.by_name_only and each.id not in preferred)
    ]
    assert not usable or {each.id for each in ranked} == {each.id for each in usable}
