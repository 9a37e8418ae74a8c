"""The list of models that a service gives of itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio

from agentd.providers.failures import Authentication, BadRequest, NetworkFailed, ProtocolBroken, ServiceFailed, Target
from agentd.providers.listing import MAX_BYTES, Shelf, fetch_models, read_models
from agentd.wire.exchange import Deadlines
from agentd.wire.failure import HttpFailed
from agentd.wire.messages import Fields, Headers

KEY = "sk-secret-123456"
WORK = Shelf("work", "openai", "https://llm.example/v1", KEY, headers={"x-team": "blue"})
CLAUDE = Shelf("claude", "anthropic", "https://api.anthropic.com", KEY)


@attrs.define
class Pieces:
    """An iterator that may be dropped in the middle."""

    left: bytes

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        piece, self.left = self.left[: 1 << 16], self.left[1 << 16 :]
        if not piece:
            raise StopAsyncIteration
        return piece


@attrs.define
class Answer:
    body: bytes
    status: int = 200
    headers: Headers = attrs.field(factory=Headers)

    def chunks(self) -> Pieces:
        return Pieces(self.body)


@attrs.define
class Client:
    answer: Answer | HttpFailed
    url: str = ""
    headers: dict[str, str] = attrs.field(factory=dict)

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Fields, body: bytes, deadlines: Deadlines
    ) -> AsyncIterator[Answer]:
        assert (method, body) == ("GET", b"")
        self.url, self.headers = url, dict(headers)
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, HttpFailed):
            raise self.answer
        yield self.answer


def models(*entries: object) -> bytes:
    return json.dumps({"object": "list", "data": entries}).encode()


async def test_a_service_is_asked_with_its_key_and_headers() -> None:
    client = Client(Answer(models({"id": "a"}, {"id": "b"})))
    assert list(await fetch_models(client, WORK)) == ["a", "b"]
    assert client.url == "https://llm.example/v1/models"
    assert client.headers == {"Accept": "application/json", "Authorization": f"Bearer {KEY}", "x-team": "blue"}


async def test_the_messages_api_is_asked_in_its_own_way() -> None:
    client = Client(Answer(models({"id": "a", "type": "model"})))
    await fetch_models(client, CLAUDE)
    assert client.url == "https://api.anthropic.com/v1/models?limit=1000"
    assert (client.headers["x-api-key"], client.headers["anthropic-version"]) == (KEY, "2023-06-01")
    await fetch_models(client, attrs.evolve(CLAUDE, bearer=True))
    assert client.headers["Authorization"] == f"Bearer {KEY}"


async def test_an_address_without_a_path_means_v1() -> None:
    client = Client(Answer(models()))
    await fetch_models(client, Shelf("ollama", "openai", "http://127.0.0.1:11434"))
    assert client.url == "http://127.0.0.1:11434/v1/models"


@pytest.mark.parametrize(
    ("entry", "context"),
    [
        ({"id": "a"}, None),
        ({"id": "a", "max_model_len": 32768}, 32768),
        ({"id": "a", "context_length": 262144}, 262144),
        ({"id": "a", "meta": {"n_ctx_train": 4096}}, 4096),
        ({"id": "a", "max_model_len": "many", "meta": []}, None),
    ],
)
def test_how_much_a_model_takes_is_read_where_it_is_told(entry: object, context: int | None) -> None:
    assert dict(read_models(models(entry), Target()))["a"].context_tokens == context


@pytest.mark.parametrize(
    ("entry", "vision"),
    [
        ({}, None),
        ({"architecture": {"input_modalities": ["text", "image"]}}, True),  # OpenRouter, llama.cpp
        ({"architecture": {"input_modalities": ["text"]}}, False),
        ({"architecture": {"modality": "text->text"}}, None),
        ({"capabilities": {"vision": False}}, False),  # Mistral
        ({"capabilities": {"image_input": {"supported": True}}}, True),  # Anthropic
        ({"capabilities": {"image_input": {"supported": "yes"}}}, None),
        ({"capabilities": ["vision"], "architecture": "x"}, None),
        ({"capabilities": {"vision": 1}}, None),
    ],
)
def test_whether_a_model_takes_images_is_read_where_it_is_told(entry: dict[str, object], vision: bool | None) -> None:
    assert dict(read_models(models({"id": "a", **entry}), Target()))["a"].vision is vision


def test_what_holds_no_conversation_and_what_is_no_model_is_left_out() -> None:
    body = models({"id": "text-embedding-3-small"}, {"id": "whisper-1"}, {"id": ""}, {"name": "x"}, 7, {"id": "gpt-5"})
    assert list(dict(read_models(body, Target()))) == ["gpt-5"]


@pytest.mark.parametrize("body", [b"<html>", b"{}", b"7", b'{"data": {}}', b"[" * 100_000])
def test_what_is_no_list_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(ProtocolBroken, match="its list of models"):
        list(read_models(body, Target()))


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(b'{"error": {"message": "Incorrect API key provided: ' + KEY.encode() + b'"}}', 401), Authentication),
        (Answer(b"not found", 404), BadRequest),
        (Answer(b" " * (MAX_BYTES + 1)), ProtocolBroken),
        (HttpFailed("connect", "connection refused"), NetworkFailed),
    ],
)
async def test_a_service_that_gives_no_list_fails_as_at_any_call(
    answer: Answer | HttpFailed, kind: type[ServiceFailed]
) -> None:
    with pytest.raises(kind, match=r"^work at https://llm\.example ") as caught:
        await fetch_models(Client(answer), WORK)
    assert KEY not in str(caught.value)


def test_a_key_is_in_no_repr() -> None:
    assert KEY not in repr(WORK)
