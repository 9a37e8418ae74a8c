"""Which services there are: what the environment and the configuration file say, and what is refused."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import attrs
import pytest

from agentd.config import Table
from agentd.domain import Models
from agentd.errors import InvalidSetting
from agentd.providers.protocol import Price
from agentd.providers.settings import PRESETS, Catalog, ProviderSettings, read_catalog
from agentd.wire.typed import structure


def read(text: str = "", file: str = "/etc/c.toml", **env: str) -> Catalog:
    return read_catalog(Table(tomllib.loads(text), file), env)


def only(catalog: Catalog) -> ProviderSettings:
    [provider] = catalog.providers
    return provider


# --- The environment ----------------------------------------------------------------------------------------------


def test_where_nothing_is_set_there_is_no_service() -> None:
    assert read(file="") == Catalog()


@pytest.mark.parametrize("name", ["openai", "anthropic", "xai", "google"])
def test_a_key_in_the_environment_is_a_service_at_its_own_address(name: str) -> None:
    provider = only(read(**{f"{name.upper()}_API_KEY": " k "}))
    assert (provider.name, provider.api_keys, provider.base_url) == (name, ("k",), PRESETS[name].base_url)
    assert (provider.protocol, provider.problem) == (PRESETS[name].protocol, "")


def test_an_address_in_the_environment_is_a_service_that_may_need_no_key() -> None:
    provider = only(read(OPENAI_BASE_URL="http://127.0.0.1:8000/v1/"))
    assert (provider.base_url, provider.api_keys, provider.problem) == ("http://127.0.0.1:8000/v1", (), "")


def test_ollama_is_there_only_if_its_address_is_set() -> None:
    assert read(OLLAMA_API_KEY="k").providers == ()
    assert only(read(OLLAMA_BASE_URL="http://gpu:11434")).name == "ollama"


def test_a_blank_variable_counts_as_none() -> None:
    assert read(OPENAI_API_KEY=" ", ANTHROPIC_BASE_URL="").providers == ()


def test_several_keys_are_all_taken() -> None:
    assert only(read(OPENAI_API_KEYS="a, b;c d", OPENAI_API_KEY="x")).api_keys == ("a", "b", "c", "d")


def test_only_openais_own_service_gets_its_own_name_for_the_limit_of_a_reply() -> None:
    assert only(read(OPENAI_API_KEY="k")).options == {"max_tokens_field": "max_completion_tokens"}
    assert only(read(OPENAI_BASE_URL="http://127.0.0.1:1")).options == {}


def test_calls_are_salvaged_but_at_the_addresses_of_those_who_make_large_models() -> None:
    assert not only(read(ANTHROPIC_API_KEY="k")).salvage
    assert only(read(ANTHROPIC_BASE_URL="http://127.0.0.1:1")).salvage
    assert only(read(OLLAMA_BASE_URL="http://127.0.0.1:11434/v1")).salvage
    assert only(read("[providers.openai]\nsalvage = true", OPENAI_API_KEY="k")).salvage


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://a b", "http://user:s3cret@host/"])
def test_an_address_that_is_none_is_refused_by_its_name_and_not_repeated(url: str) -> None:
    with pytest.raises(InvalidSetting, match=r"^OPENAI_BASE_URL: ") as caught:
        read(OPENAI_BASE_URL=url)
    assert "s3cret" not in str(caught.value)


# --- The file -----------------------------------------------------------------------------------------------------

WORK = """
[providers.work]
protocol = "openai"
base_url = "https://llm.example/v1"
"""


def test_a_service_of_the_file_comes_before_those_of_the_environment() -> None:
    assert [each.name for each in read(WORK, OPENAI_API_KEY="k").providers] == ["work", "openai"]


def test_a_service_has_what_the_file_says_of_it() -> None:
    text = """
[providers.work]
protocol = "anthropic"
base_url = "https://llm.example"
api_key = "k"
headers = { x-team = "blue" }
models = ["a", "b"]
bearer = true
betas = ["one"]
max_tokens = 1000
extra = { temperature = 0 }
calls = "text"
salvage = false
first_byte_seconds = 30
ca_file = "ca.pem"
"""
    assert only(read(text)) == ProviderSettings(
        name="work",
        protocol="anthropic",
        base_url="https://llm.example",
        api_keys=("k",),
        headers={"x-team": "blue"},
        models=("a", "b"),
        options={"bearer": True, "betas": ("one",), "max_tokens": 1000, "extra": {"temperature": 0}},
        calls="text",
        salvage=False,
        tls={"ca_file": "/etc/ca.pem"},
        seconds={"first_byte_seconds": 30.0},
    )


def test_a_key_may_be_in_a_variable() -> None:
    text = WORK + 'api_key_env = "WORK_KEY"'
    assert only(read(text, WORK_KEY="k")).api_keys == ("k",)
    assert only(read(text)).problem == "no key: WORK_KEY is not set in the environment"


def test_a_key_may_be_in_a_file_beside_the_configuration_which_no_tool_is_to_read(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("k\n")
    catalog = read(WORK + 'api_key_file = "key"', f"{tmp_path}/c.toml")
    assert only(catalog).api_keys == ("k",)
    assert catalog.files == (f"{tmp_path}/c.toml", f"{tmp_path}/key")


@pytest.mark.parametrize("content", [None, b"", b"\xff"])
def test_a_key_that_cannot_be_read_is_the_services_problem(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    provider = only(read(WORK + f'api_key_file = "{tmp_path}/key"'))
    assert provider.problem.startswith(f"no key: {tmp_path}/key ")


def test_a_service_that_the_file_names_and_that_has_no_key_is_there_with_its_problem() -> None:
    for text in ("[providers.openai]", '[models.gpt-5]\nprovider = "openai"'):
        assert only(read(text)).problem == "no key: OPENAI_API_KEY is not set in the environment"


def test_a_key_of_the_environment_does_not_go_to_an_address_of_the_file() -> None:
    provider = only(read('[providers.openai]\nbase_url = "https://proxy.example/v1"', OPENAI_API_KEY="k"))
    assert (provider.base_url, provider.api_keys) == ("https://proxy.example/v1", ())


def test_a_key_of_the_file_does_not_go_to_an_address_of_the_environment() -> None:
    provider = only(read('[providers.openai]\napi_key = "k"', OPENAI_BASE_URL="http://127.0.0.1:1"))
    assert (provider.base_url, provider.api_keys) == ("http://127.0.0.1:1", ())


def test_a_key_of_the_environment_beats_one_of_the_file_at_the_services_own_address() -> None:
    assert only(read('[providers.openai]\napi_key = "k"', OPENAI_API_KEY="e")).api_keys == ("e",)
    assert only(read('[providers.openai]\napi_key = "k"')).api_keys == ("k",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[provider.x]", "provider: no such key; did you mean providers?"),
        (WORK + 'api_ky = "k"', "providers.work.api_ky: no such key; did you mean api_key?"),
        (WORK + "cache = true", "providers.work.cache: no such key"),
        (WORK + 'api_key = "k"\napi_key_env = "K"', "providers.work.api_key_env: there is api_key already"),
        (WORK + "extra = { d = 2026-01-01 }", "providers.work.extra: has a date"),
        (WORK + 'calls = "magic"', "providers.work.calls: expected native or text"),
        ('[providers.x]\nbase_url = "http://h"', "providers.x.protocol: is missing; it is openai or anthropic"),
        ('[providers.x]\nprotocol = "openai"', "providers.x.base_url: is missing"),
        ('[providers.x]\nprotocol = "grpc"', "providers.x.protocol: expected openai or anthropic"),
        ('[providers.x]\nprotocol = "openai"\nbase_url = "h"', "providers.x.base_url: "),
        ('[providers."a/b"]', "providers: 'a/b' is no name"),
        ("[providers.builtin]", "providers: 'builtin' is no name"),
        ('[models.a]\nprovider = "nowhere"', "models.a.provider: nowhere is no service here; there are: openai"),
        ("[models.a]", "models.a.provider: is missing"),
        (WORK + "[models.a]\ncontext = 1", "models.a.context: no such key; did you mean context_tokens?"),
        (WORK + "[models.a]\nprice = { input = 1 }", "models.a.price.output: is missing"),
        (WORK + "[models.a]\nprice = { input = -1, output = 1 }", "models.a.price.input: expected a number"),
        ('[roles]\nplaner = "a"', "roles.planer: no such key; did you mean planner?"),
        (WORK + "[models.a]\n[models.b]\nid = 'a'", "models.b: is the same model as models.a"),
        (WORK + "[models.a]\n[aliases]\na = 'builtin'", "aliases.a: there is models.a already"),
        ("[aliases]\na = 1", "aliases.a: expected a text"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, message: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        read(text)
    assert str(caught.value).startswith(f"/etc/c.toml: {message}")


# --- Models -------------------------------------------------------------------------------------------------------


def test_a_model_belongs_to_the_service_that_it_names_or_to_the_files_only_one() -> None:
    [model] = read(
        WORK + '[models.coder]\nid = "qwen3"\nprice = { input = 0.4, output = 1.6 }\ninclude_usage = false',
        XAI_API_KEY="k",
    ).models
    assert (model.name, model.provider, model.id, model.price) == ("coder", "work", "qwen3", Price(0.4, 1.6))
    assert (model.options, model.vision) == ({"include_usage": False}, None)


@pytest.mark.parametrize("protocol", ["openai", "anthropic"])
def test_whether_models_see_is_said_of_a_service_or_a_model(protocol: str) -> None:
    text = f'[providers.x]\nprotocol = "{protocol}"\nbase_url = "http://h"\nvision = false\n[models.a]\nvision = true'
    catalog = read(text)
    assert (only(catalog).vision, catalog.models[0].vision) == (False, True)
    assert read(text.replace("vision = false", "")).providers[0].vision is None


def test_aliases_and_roles_are_taken_as_they_are() -> None:
    catalog = read('[aliases]\ngpt-5 = "builtin"\n[roles]\ncode = "gpt-5"\nfallback = "b"')
    assert (catalog.aliases, catalog.roles) == ({"gpt-5": "builtin"}, Models(code="gpt-5", fallback="b"))


# --- On its way to an executor ------------------------------------------------------------------------------------

FULL = """
[providers.work]
protocol = "anthropic"
base_url = "https://llm.example"
api_key = "s3cret"
headers = { authorization = "t0ken" }
betas = ["x"]
extra = { thinking = { type = "adaptive" } }
first_byte_seconds = 30
vision = false
[models.a]
price = { input = 1, output = 2 }
vision = true
[aliases]
b = "a"
[roles]
code = "a"
"""


def test_a_catalog_passes_through_a_hello_line_unchanged() -> None:
    catalog = read(FULL)
    passed = structure(json.loads(json.dumps(attrs.asdict(catalog))), Catalog)
    assert json.dumps(attrs.asdict(passed)) == json.dumps(attrs.asdict(catalog))


def test_nothing_secret_is_in_a_repr() -> None:
    assert not [secret for secret in ("s3cret", "t0ken") if secret in repr(read(FULL))]
