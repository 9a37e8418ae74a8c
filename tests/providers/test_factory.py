"""Providers out of settings: what is asked of a service, which models it has, and what is known of them."""

from __future__ import annotations

import json
import tomllib
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from agentd.config import Table
from agentd.domain import Message, Models, Text, Usage
from agentd.errors import InvalidRequest
from agentd.providers.factory import Configured, make_provider, make_registry, open_providers
from agentd.providers.failures import Authentication
from agentd.providers.prices import KNOWN
from agentd.providers.protocol import ModelRequest, Price, StreamEvent, ToolSchema
from agentd.providers.registry import Registry
from agentd.providers.settings import Catalog, read_catalog
from agentd.wire.exchange import Deadlines
from agentd.wire.http import HttpClient
from agentd.wire.messages import Fields, Headers

REPLY = b'data: {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
LIST = b'{"data": [{"id": "a", "max_model_len": 4096}, {"id": "b"}]}'


@attrs.define
class Answer:
    body: bytes
    status: int = 200
    headers: Headers = attrs.field(factory=Headers)

    async def chunks(self) -> AsyncIterator[bytes]:
        await trio.lowlevel.checkpoint()
        yield self.body


@attrs.define
class Client:
    """Gives the list to a GET and the reply to a POST, and takes down what was sent."""

    reply: bytes = REPLY
    listed: bytes = LIST
    sent: list[tuple[str, dict[str, str], bytes]] = attrs.field(factory=list)
    deadlines: list[Deadlines] = attrs.field(factory=list)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Fields, body: bytes, deadlines: Deadlines
    ) -> AsyncIterator[Answer]:
        self.sent.append((url, {name.lower(): value for name, value in headers}, body))
        self.deadlines.append(deadlines)
        await trio.lowlevel.checkpoint()
        yield Answer(self.listed if method == "GET" else self.reply)

    @property
    def keys(self) -> list[str]:
        return [headers.get("authorization", headers.get("x-api-key", "")) for _, headers, _ in self.sent]

    def body(self) -> dict[str, object]:
        decoded: dict[str, object] = json.loads(self.sent[-1][2])
        return decoded


def catalog(text: str = "", **env: str) -> Catalog:
    return read_catalog(Table(tomllib.loads(text), "/etc/c.toml"), env)


def only(given: Catalog, client: Client) -> Configured:
    [settings] = given.providers
    return make_provider(settings, [each for each in given.models if each.provider == settings.name], lambda: client)


async def ask(provider: Configured, model: str) -> list[StreamEvent]:
    request = ModelRequest(model, "", (Message("user", (Text("Hi"),)),), ())
    async with provider.stream(request) as events:
        return [event async for event in events]


WORK = """
[providers.work]
protocol = "openai"
base_url = "https://llm.example/v1"
api_key = "k"
max_tokens = 100
first_byte_seconds = 7
[models.coder]
id = "qwen"
context_tokens = 1000
price = { input = 1, output = 2 }
max_tokens = 200
"""


async def test_a_service_is_called_as_its_settings_say() -> None:
    client = Client()
    await ask(only(catalog(WORK), client), "other")
    url, headers, _ = client.sent[0]
    assert (url, headers["authorization"]) == ("https://llm.example/v1/chat/completions", "Bearer k")
    assert (client.body()["max_tokens"], client.deadlines[0].first_byte) == (100, 7.0)


async def test_what_is_set_for_a_model_counts_before_what_is_set_for_its_service() -> None:
    client = Client()
    await ask(only(catalog(WORK), client), "qwen")
    assert client.body()["max_tokens"] == 200


async def test_the_messages_api_is_spoken_where_it_is_set() -> None:
    client = Client()
    with pytest.raises(Exception, match="anthropic at"):  # the answer is not in its format
        await ask(only(catalog(ANTHROPIC_API_KEY="k"), client), "claude-sonnet-5-5")
    url, headers, _ = client.sent[0]
    assert (url, headers["x-api-key"]) == ("https://api.anthropic.com/v1/messages", "k")


async def test_several_keys_take_turns() -> None:
    client = Client()
    provider = only(catalog(OPENAI_API_KEYS="a b"), client)
    for _ in range(3):
        await ask(provider, "gpt-5")
    assert client.keys == ["Bearer a", "Bearer b", "Bearer a"]


async def test_a_service_that_cannot_be_used_says_why_and_is_not_called() -> None:
    client = Client()
    provider = only(catalog("[providers.openai]"), client)
    with pytest.raises(Authentication, match="OPENAI_API_KEY is not set"):
        await ask(provider, "gpt-5")
    with pytest.raises(Authentication, match="OPENAI_API_KEY is not set"):
        await provider.list_models()
    assert (client.sent, "OPENAI_API_KEY" in provider.describe("gpt-5").note) == ([], True)


def test_of_a_services_own_address_prices_and_sizes_are_known() -> None:
    provider = only(catalog(ANTHROPIC_API_KEY="k"), Client())
    assert provider.models() == tuple(KNOWN["anthropic"])
    known = KNOWN["anthropic"]["claude-haiku-4-5"]
    assert provider.describe("claude-haiku-4-5") == attrs.evolve(known, vision=True)
    assert provider.describe("claude-next").price is None


def test_of_another_address_nothing_is_known() -> None:
    provider = only(catalog(OPENAI_BASE_URL="http://127.0.0.1:1"), Client())
    assert (provider.models(), provider.describe("gpt-5").price) == ((), None)


async def test_what_the_operator_says_of_a_model_counts_before_what_the_service_tells() -> None:
    provider = only(catalog(WORK + "[models.a]\nprice = { input = 0, output = 0 }\n"), Client())
    await provider.list_models()
    assert provider.describe("a").context_tokens == 4096
    assert provider.describe("a").price == Price(0.0, 0.0)
    assert (provider.describe("qwen").context_tokens, provider.describe("qwen").price) == (1000, Price(1.0, 2.0))


async def test_whether_a_model_sees_is_first_for_the_operator_then_for_the_service_then_for_its_name_to_say() -> None:
    client = Client()
    provider = only(catalog(WORK + '[models.b]\nvision = false\n[models."gpt-4o"]\nvision = false\n'), client)
    assert [provider.describe(name).vision for name in ("gpt-4o", "gpt-4.1", "a", "b")] == [False, True, None, False]
    client.listed = b'{"data": [{"id": "gpt-4.1", "architecture": {"input_modalities": ["text"]}},' + (
        b'{"id": "b", "capabilities": {"vision": true}}, {"id": "a", "capabilities": {"vision": true}}]}'
    )
    await provider.list_models()
    assert [provider.describe(name).vision for name in ("gpt-4o", "gpt-4.1", "a", "b")] == [False, False, True, False]


def test_a_whole_service_may_be_said_to_see_or_not() -> None:
    text = WORK.replace('api_key = "k"', 'api_key = "k"\nvision = false') + "[models.b]\nvision = true\n"
    provider = only(catalog(text), Client())
    assert [provider.describe(name).vision for name in ("gpt-4o", "b")] == [False, True]


# --- Calls as text ------------------------------------------------------------------------------------------------

LEAKED = b"""data: {"choices": [{"index": 0, "delta": {"content": "<tool_call>{\\"name\\": \\"Read\\", \\"arguments\\":
 {\\"file_path\\": \\"a\\"}}</tool_call>"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n""".replace(b"\n ", b" ")
LOCAL = """
[providers.local]
protocol = "openai"
base_url = "http://127.0.0.1:1"
[models.plain]
salvage = false
[models.old]
calls = "text"
"""


async def offer(model: str) -> tuple[list[str], bool]:
    """The names of the events of a reply that has a call in its text; and whether tools were offered to the service."""
    client = Client(reply=LEAKED)
    tools = (ToolSchema("Read", "reads", {"type": "object"}),)
    request = ModelRequest(model, "", (Message("user", (Text("Hi"),)),), tools)
    async with only(catalog(LOCAL), client).stream(request) as events:
        names = [type(event).__name__ async for event in events]
    return names, "tools" in client.body()


async def test_calls_that_a_model_wrote_as_text_are_salvaged_unless_its_settings_say_no() -> None:
    assert await offer("any") == (["RequestSent", "CallStarted", "Salvaged", "CallDelta", "Stopped"], True)
    assert await offer("plain") == (["RequestSent", "TextDelta", "Stopped"], True)


async def test_a_model_that_cannot_call_tools_is_asked_to_write_calls_as_text() -> None:
    names, offered = await offer("old")
    assert ("CallStarted" in names, offered) == (True, False)


# --- The registry -------------------------------------------------------------------------------------------------


def registry(given: Catalog, **more: object) -> Registry:
    client = Client()
    providers: Iterable[Configured] = [
        make_provider(each, [m for m in given.models if m.provider == each.name], lambda: client)
        for each in given.providers
    ]
    return make_registry(given, list(providers), **more)  # type: ignore[arg-type]


def test_a_name_of_the_operators_stands_for_its_services_model() -> None:
    resolved = registry(catalog(WORK)).resolve("code", "coder")
    assert (resolved.name, resolved.model, resolved.cost(Usage(1_000_000, 0))) == ("coder", "qwen", 1.0)


def test_the_first_model_of_the_first_service_is_the_default() -> None:
    assert registry(catalog(WORK, ANTHROPIC_API_KEY="k")).default("code") == "coder"
    assert registry(catalog(ANTHROPIC_API_KEY="k")).default("planner") == "claude-sonnet-5-5"
    assert registry(catalog()).default("scan") == "builtin"


def test_the_command_line_counts_before_the_file() -> None:
    given = catalog('[aliases]\nx = "builtin"\ny = "builtin"\n[roles]\ncode = "x"\nscan = "x"', ANTHROPIC_API_KEY="k")
    made = registry(given, aliases={"y": "claude-opus-5"}, roles=Models(scan="y"))
    assert made.resolve("code").model == "builtin"
    assert made.resolve("scan").model == "claude-opus-5"


def test_a_role_that_leads_nowhere_is_refused_at_once() -> None:
    closed = '[providers.work]\nprotocol = "openai"\nbase_url = "http://h"\nmodels = ["a"]\n[roles]\ncode = "b"'
    with pytest.raises(InvalidRequest, match="which is no model here"):
        registry(catalog(closed))


def test_every_model_whose_price_is_known_costs_something_and_caches_for_less() -> None:
    prices = [info.price for models in KNOWN.values() for info in models.values() if info.price]
    assert all(0 < (price.cached or 0) < price.input < price.output for price in prices)


# --- Clients ------------------------------------------------------------------------------------------------------


async def test_connections_are_closed_at_the_end_and_shared_where_the_certificates_are() -> None:
    text = """
[providers.one]
protocol = "openai"
base_url = "http://h"
[providers.two]
protocol = "openai"
base_url = "http://h"
[providers.three]
protocol = "openai"
base_url = "http://h"
ca_file = "ca.pem"
"""
    with open_providers(catalog(text), {}) as providers:
        clients = [provider._client() for provider in providers]
        assert isinstance(clients[0], HttpClient)
        assert (clients[0] is clients[1], clients[0] is clients[2]) == (True, False)
