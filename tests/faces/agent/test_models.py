"""Model names: which may be asked for, and what each stands for. The agent API contract, 20."""

from __future__ import annotations

import pytest

from agentd.domain import Models
from agentd.faces.agent.models import ModelNames
from agentd.providers.settings import Catalog, ModelSettings, ProviderSettings

SERVICE = ProviderSettings("work", "openai", "http://127.0.0.1:1/v1")
CATALOG = Catalog(
    (SERVICE,), (ModelSettings("coder", "work", "qwen3-coder"),), {"gpt-5": "coder"}, Models(planner="work/big")
)


@pytest.mark.parametrize(
    "name",
    [
        *("sonnet", "opus", "haiku", "claude-sonnet-4-5", "claude-opus-4-1", "claude-haiku-4-5"),
        *("claude-3-5-sonnet-20241022", "claude-3-5-haiku-latest", "claude-3-opus-20240229", "claude-3-7-sonnet-x"),
        *("gpt-5", "coder", "builtin", "work/big", "work/other"),
    ],
)
def test_families_full_names_and_what_is_configured_are_valid(name: str) -> None:
    assert ModelNames.of(CATALOG).misfit(name) == ""


@pytest.mark.parametrize("name", ["", "gpt-4", "claude-2", "Sonnet", "work/", "/x", "home/x", "scripted:/etc/passwd"])
def test_what_nobody_named_is_not(name: str) -> None:
    problem = ModelNames.of(CATALOG).misfit(name)
    assert problem.startswith(f"Invalid model: '{name}'. Valid options: sonnet, opus, haiku, gpt-5, coder")


def test_an_alias_wins() -> None:
    names = ModelNames(("sonnet", "claude-opus-4-1"))
    assert names.planner("sonnet") == "sonnet"
    assert names.planner("claude-opus-4-1") == "claude-opus-4-1"


def test_a_full_name_falls_to_the_alias_of_its_family() -> None:
    names = ModelNames(("sonnet", "haiku"))
    assert names.planner("claude-sonnet-4-5") == "sonnet"
    assert names.planner("claude-3-5-haiku-latest") == "haiku"
    assert names.planner("claude-opus-4-1") == "claude-opus-4-1"


def test_no_model_is_sonnet_which_is_the_default_where_it_is_no_alias() -> None:
    assert ModelNames(("sonnet",)).planner(None) == "sonnet"
    assert ModelNames().planner(None) is None
    assert ModelNames().planner("sonnet") is None


def test_another_family_that_is_not_configured_is_left_for_the_registry_to_refuse() -> None:
    assert ModelNames().planner("opus") == "opus"
