from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from agentd.domain import Models, Usage
from agentd.errors import InvalidRequest, ModelUnavailable, ProviderFailed
from agentd.providers.protocol import ModelRequest, StreamEvent
from agentd.providers.registry import ROLES, Registry, Role, parse_aliases
from agentd.providers.scripted import ScriptedProvider


class Plain:
    """A provider that knows no more than it has to."""

    name = "plain"

    def models(self) -> tuple[str, ...]:
        return ("plain",)

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        raise ProviderFailed("plain says nothing")


@pytest.fixture
def script(tmp_path: Path) -> str:
    file = tmp_path / "script.json"
    file.write_text(json.dumps({"replies": ["Hi."]}))
    return f"scripted:{file}"


@pytest.mark.parametrize("role", ROLES)
def test_the_built_in_model_is_the_default_where_nothing_is_configured(role: Role) -> None:
    assert Registry().resolve(role).model == "builtin"


@pytest.mark.parametrize("role", ROLES)
def test_the_default_is_the_first_model_of_what_is_configured(role: Role) -> None:
    assert Registry([ScriptedProvider([])]).resolve(role).model == "scripted"


def test_a_role_may_have_a_default_of_its_own() -> None:
    registry = Registry([ScriptedProvider([])], aliases={"small": "builtin"}, roles=Models(scan="small"))
    assert registry.resolve("scan").model == "builtin"
    assert registry.resolve("planner").model == "scripted"


def test_an_alias_stands_for_a_model() -> None:
    resolved = Registry(aliases={"gpt-5": "sonnet", "sonnet": "builtin"}).resolve("planner", "gpt-5")
    assert (resolved.name, resolved.model, resolved.provider.name) == ("gpt-5", "builtin", "builtin")


def test_an_unknown_name_is_refused_with_what_there_is_and_what_would_work() -> None:
    with pytest.raises(ModelUnavailable) as caught:
        Registry(aliases={"gpt-5": "builtin"}).resolve("planner", "gpt-6")
    assert str(caught.value).startswith("MODEL_UNAVAILABLE: gpt-6. Models here: gpt-5, builtin.")
    assert "--model-alias gpt-6=builtin" in str(caught.value)


@pytest.mark.parametrize(
    ("aliases", "problem"),
    [
        ({"a": "b", "b": "a"}, "a -> b -> a"),
        ({"a": "a"}, "a -> a"),
        ({"a": "b", "b": "gone"}, "a stands for gone, which is no model here. Models: builtin"),
        ({"builtin": "x"}, "builtin is a model itself"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused_at_once(aliases: dict[str, str], problem: str) -> None:
    with pytest.raises(InvalidRequest, match=problem):
        Registry(aliases=aliases)


def test_a_default_that_is_no_model_is_refused_at_once() -> None:
    with pytest.raises(InvalidRequest, match="gpt-5 stands for gpt-5, which is no model here"):
        Registry(roles=Models(code="gpt-5"))


def test_aliases_are_read_from_the_command_line() -> None:
    assert parse_aliases(["gpt-5=builtin", "x = scripted:/a=b.json"]) == {"gpt-5": "builtin", "x": "scripted:/a=b.json"}


@pytest.mark.parametrize("given", ["gpt-5", "=builtin", "gpt-5=", "gpt 5=builtin", ""])
def test_an_alias_that_is_not_name_and_model_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest, match="write NAME=MODEL"):
        parse_aliases([given])


def test_an_alias_given_twice_must_be_the_same() -> None:
    assert parse_aliases(["a=b", "a=b"]) == {"a": "b"}
    with pytest.raises(InvalidRequest, match="a: given as b and as c"):
        parse_aliases(["a=b", "a=c"])


def test_a_script_that_an_alias_names_is_a_model_and_keeps_its_place(script: str) -> None:
    registry = Registry(aliases={"demo": script})
    assert registry.resolve("planner", "demo").provider is registry.resolve("code", script).provider


def test_a_request_may_not_open_a_script_unless_its_operator_makes_it(script: str) -> None:
    with pytest.raises(ModelUnavailable):
        Registry().resolve("planner", script)
    assert Registry(open_scripts=True).resolve("planner", script).model == script


def test_a_broken_script_is_told_when_the_registry_is_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="cannot read the script"):
        Registry(aliases={"demo": f"scripted:{tmp_path}/none.json"})


def test_built_in_models_cost_nothing_and_unknown_prices_are_not_nothing() -> None:
    assert Registry().resolve("planner").cost(Usage(10, 10)) == 0.0
    assert Registry([Plain()]).resolve("planner").cost(Usage(10, 10)) is None


def test_the_list_has_models_first_then_aliases_with_what_they_stand_for() -> None:
    listed = Registry(aliases={"gpt-5": "builtin"}).models()
    assert [(each.name, each.provider, each.alias_of) for each in listed] == [
        ("builtin", "builtin", None),
        ("gpt-5", "builtin", "builtin"),
    ]
    assert "offline" in listed[0].info.note
