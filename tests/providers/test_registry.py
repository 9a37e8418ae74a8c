from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.domain import Models, Usage
from agentd.errors import InvalidRequest, ModelUnavailable, ProviderFailed
from agentd.providers.failures import NetworkFailed, TimedOut
from agentd.providers.protocol import ModelInfo, ModelRequest, Price, StreamEvent
from agentd.providers.registry import ASK_SECONDS, LIST_SECONDS, ROLES, Registry, Role, parse_aliases
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


def test_what_a_cache_held_and_what_was_put_there_has_prices_of_its_own() -> None:
    usage = Usage(1_000_000, 100_000, 600_000, 300_000)
    assert Price(1.0, 10.0, 0.1, 2.0).cost(usage) == pytest.approx(0.1 + 0.06 + 0.6 + 1.0)
    assert Price(1.0, 10.0).cost(usage) == pytest.approx(1.0 + 1.0)


def test_the_list_has_models_first_then_aliases_with_what_they_stand_for() -> None:
    listed = Registry(aliases={"gpt-5": "builtin"}).models()
    assert [(each.name, each.provider, each.alias_of) for each in listed] == [
        ("builtin", "builtin", None),
        ("gpt-5", "builtin", "builtin"),
    ]
    assert "offline" in listed[0].info.note


# --- Services that are asked --------------------------------------------------------------------------------------


@attrs.define(eq=False)
class Service:
    """Knows *own* models by itself, and tells of *more* when it is asked: or fails, or says nothing at all."""

    name: str
    more: tuple[str, ...] | ProviderFailed | None = ()
    own: tuple[str, ...] = ()
    is_open: bool = True
    asked: int = 0

    def models(self) -> tuple[str, ...]:
        return self.own

    def describe(self, model: str) -> ModelInfo:
        return ModelInfo(note=f"{model} of {self.name}")

    def stream(self, request: ModelRequest) -> AbstractAsyncContextManager[AsyncIterator[StreamEvent]]:
        raise ProviderFailed("it only tells its list")

    async def list_models(self) -> tuple[str, ...]:
        self.asked += 1
        if self.more is None:
            await trio.sleep_forever()
        if isinstance(self.more, ProviderFailed):
            raise self.more
        await trio.lowlevel.checkpoint()
        return self.more


def test_a_model_of_a_service_may_be_named_with_it_and_is_then_not_looked_for() -> None:
    resolved = Registry([Service("work")]).resolve("code", "work/qwen/qwen3")
    assert (resolved.name, resolved.provider.name, resolved.model) == ("work/qwen/qwen3", "work", "qwen/qwen3")


def test_a_service_whose_models_the_operator_named_has_no_others() -> None:
    registry = Registry([Service("work", own=("a",), is_open=False)])
    assert registry.resolve("code", "work/a").model == "a"
    with pytest.raises(ModelUnavailable):
        registry.resolve("code", "work/b")
    assert not registry.can_ask


def test_the_operators_name_for_a_model_comes_before_a_services_own() -> None:
    services = [Service("one", own=("big",)), Service("two", own=("huge",))]
    resolved = Registry(services, named={"big": "two/huge"}).resolve("code", "big")
    assert (resolved.provider.name, resolved.model) == ("two", "huge")


def test_of_two_services_with_one_name_for_a_model_the_first_has_it() -> None:
    registry = Registry([Service("one", own=("a",)), Service("two", own=("a",))])
    assert registry.resolve("code", "a").provider.name == "one"
    assert registry.resolve("code", "two/a").provider.name == "two"


async def test_a_name_that_is_not_known_is_looked_for_in_the_lists_of_the_services() -> None:
    registry = Registry([Service("one", ("a",)), Service("two", ("b",))])
    with pytest.raises(ModelUnavailable):
        registry.resolve("code", "b")
    assert (await registry.ask("code", "b")).provider.name == "two"
    assert registry.resolve("code", "b").provider.name == "two"
    assert [listed.name for listed in registry.models()] == ["a", "b", "builtin"]


async def test_a_name_that_no_list_has_is_refused_with_what_there_is() -> None:
    with pytest.raises(ModelUnavailable, match="Models here: a, builtin"):
        await Registry([Service("one", ("a",))]).ask("code", "b")


async def test_where_a_service_cannot_be_asked_a_call_tells_whether_it_has_the_model() -> None:
    dead = Service("dead", NetworkFailed("connection refused"))
    registry = Registry([Service("one", ("a",)), dead], aliases={"x": "b"})
    resolved = await registry.ask("code", "x")
    assert (resolved.name, resolved.provider, resolved.model) == ("x", dead, "b")
    assert (await registry.ask("code", "a")).provider.name == "one"


async def test_the_default_is_the_first_model_that_the_first_service_lists() -> None:
    registry = Registry([Service("ollama", ("qwen", "llama"))])
    assert registry.default("code") is None
    with pytest.raises(ModelUnavailable):
        registry.resolve("code")
    assert (await registry.ask("code")).model == "qwen"


async def test_without_a_list_there_is_no_default() -> None:
    with pytest.raises(NetworkFailed, match="connection refused"):
        await Registry([Service("ollama", NetworkFailed("connection refused"))]).ask("code")


async def test_a_service_that_says_nothing_is_waited_for_only_so_long(autojump_clock: MockClock) -> None:
    registry = Registry([Service("slow", None), Service("one", ("a",))])
    assert (await registry.ask("code", "a")).provider.name == "one"
    assert trio.current_time() == ASK_SECONDS
    with pytest.raises(TimedOut):
        await registry.ask("code")


async def test_a_list_holds_for_some_time(autojump_clock: MockClock) -> None:
    service = Service("one", ("a",))
    registry = Registry([service])
    for _ in range(2):
        await registry.ask("code", "a")
    assert service.asked == 1
    await trio.sleep(LIST_SECONDS + 1)
    await registry.ask("code", "a")
    assert service.asked == 2


def test_an_alias_may_stand_for_what_a_service_may_yet_turn_out_to_have() -> None:
    Registry([Service("one")], aliases={"x": "b"}, roles=Models(code="c"))
    with pytest.raises(InvalidRequest, match="x stands for b"):
        Registry([Service("one", is_open=False)], aliases={"x": "b"})


def test_an_alias_comes_before_a_models_own_name_and_the_model_is_listed_once() -> None:
    registry = Registry([Service("one", own=("a", "b"))], aliases={"a": "b"})
    assert registry.resolve("code", "a").model == "b"
    assert [(each.name, each.alias_of) for each in registry.models()] == [("b", None), ("builtin", None), ("a", "b")]


# --- Fallback -----------------------------------------------------------------------------------------------------


def test_there_is_a_fallback_only_where_somebody_names_one() -> None:
    assert not Registry().has_fallback(None)
    assert Registry().has_fallback("a")
    registry = Registry([Service("one", own=("a",))], roles=Models(fallback="a"))
    assert registry.has_fallback(None)
    assert registry.resolve("fallback").model == "a"


@pytest.mark.parametrize("name", ["builtin", "alias"])
def test_what_is_no_language_model_is_no_fallback(name: str) -> None:
    with pytest.raises(InvalidRequest, match="is no fallback"):
        Registry(aliases={"alias": "builtin"}).resolve("fallback", name)
