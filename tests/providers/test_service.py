"""The glue between formats and HTTP client: what is sent where, and what becomes of an answer and of its end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import attrs
import pytest
import trio
import trio.testing

from agentd.domain import Message, Text, Usage
from agentd.providers.anthropic import AnthropicOptions, AnthropicProvider
from agentd.providers.errorbody import READ_BYTES
from agentd.providers.failures import (
    Authentication,
    NetworkFailed,
    Overloaded,
    ProtocolBroken,
    RateLimited,
    ServerFailed,
    ServiceFailed,
    TimedOut,
)
from agentd.providers.openai import OpenAIOptions, OpenAIProvider
from agentd.providers.protocol import ModelRequest, RequestSent, Stopped, StreamEvent, TextDelta
from agentd.providers.service import DRAIN_SECONDS, Service
from agentd.wire.exchange import Deadlines
from agentd.wire.failure import HttpFailed, Kind
from agentd.wire.http import HttpClient
from agentd.wire.messages import Fields, Headers
from agentd.wire.urls import InvalidUrl
from tests.providers.streams import data_lines

REQUEST = ModelRequest("some-model", "", (Message("user", (Text("Hi"),)),), ())
HI = {"choices": [{"index": 0, "delta": {"content": "Hi"}, "finish_reason": None}]}
STOP = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
KEY = "sk-secret-123456"

Step = bytes | float | Kind  # of an answer's body: a piece, seconds of silence, or the kind of failure it ends in


@attrs.define
class Steps:
    """An iterator that may be dropped in the middle."""

    steps: Iterator[Step]

    def __aiter__(self) -> Steps:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        match next(self.steps, None):
            case None:
                raise StopAsyncIteration
            case bytes() as piece:
                return piece
            case float() as seconds:
                await trio.sleep(seconds)
                return await self.__anext__()
            case kind:
                raise HttpFailed(kind, f"POST http://somewhere: it broke with {KEY}")


@attrs.define
class FakeAnswer:
    steps: Sequence[Step]
    status: int = 200
    headers: Headers = attrs.field(factory=Headers)

    def chunks(self) -> Steps:
        return Steps(iter(self.steps))


@attrs.define
class FakeClient:
    """Gives one answer, and takes down what it was asked."""

    answer: FakeAnswer | Kind
    url: str = ""
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes = b""
    left: bool = False  # the block of the stream was left

    @asynccontextmanager
    async def stream(
        self, method: str, url: str, *, headers: Fields, body: bytes, deadlines: Deadlines
    ) -> AsyncIterator[FakeAnswer]:
        assert method == "POST"
        self.url, self.headers, self.body = url, dict(headers), body
        if isinstance(self.answer, str):
            raise HttpFailed(self.answer, f"POST http://somewhere: no connection with {KEY}")
        try:
            yield self.answer
        finally:
            self.left = True


def openai(client: FakeClient, base_url: str = "http://127.0.0.1:8000/v1", **more: Any) -> OpenAIProvider:
    return OpenAIProvider("local", base_url, ["some-model"], OpenAIOptions(key=KEY), lambda: client, **more)


def anthropic(client: FakeClient, base_url: str = "https://api.anthropic.com") -> AnthropicProvider:
    return AnthropicProvider("anthropic", base_url, ["some-model"], AnthropicOptions(key=KEY), lambda: client)


async def ask(provider: Service[Any], request: ModelRequest = REQUEST) -> list[StreamEvent]:
    async with provider.stream(request) as events:
        return [event async for event in events]


async def reply(*steps: Step, status: int = 200, **headers: str) -> list[StreamEvent]:
    return (await ask(openai(FakeClient(FakeAnswer(steps, status, Headers(headers))))))[1:]


async def test_a_reply_from_openai() -> None:
    client = FakeClient(FakeAnswer([data_lines(HI)[:20], data_lines(HI)[20:], data_lines(STOP, "[DONE]")]))
    events = await ask(openai(client))
    assert events == [RequestSent(client.body), TextDelta("Hi"), Stopped("end_turn", Usage())]
    assert client.url == "http://127.0.0.1:8000/v1/chat/completions"
    assert client.headers["authorization"] == f"Bearer {KEY}"
    assert client.headers["Content-Type"] == "application/json"
    assert json.loads(client.body)["model"] == "some-model"
    assert client.left


async def test_a_reply_from_anthropic() -> None:
    stream = data_lines(
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hi"}},
        {"type": "message_stop"},
    )
    client = FakeClient(FakeAnswer([stream]))
    assert (await ask(anthropic(client)))[1:] == [TextDelta("Hi"), Stopped("end_turn", Usage())]
    assert client.url == "https://api.anthropic.com/v1/messages"
    assert client.headers["x-api-key"] == KEY


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("http://localhost:11434", "http://localhost:11434/v1/chat/completions"),
        ("http://localhost:11434/", "http://localhost:11434/v1/chat/completions"),
        ("https://api.openai.com/v1/", "https://api.openai.com/v1/chat/completions"),
        ("https://x.example/openai?api-version=1", "https://x.example/openai/chat/completions?api-version=1"),
        ("http+unix://%2Frun%2Fmodel.sock/v1", "http+unix://%2Frun%2Fmodel.sock/v1/chat/completions"),
        ("http://me:pw@gateway/llm", "http://me:pw@gateway/llm/chat/completions"),
    ],
)
async def test_where_chat_completions_are(base_url: str, url: str) -> None:
    client = FakeClient(FakeAnswer([data_lines(STOP)]))
    await ask(openai(client, base_url))
    assert client.url == url


@pytest.mark.parametrize("base_url", ["https://api.anthropic.com/v1", "https://api.anthropic.com/"])
async def test_where_messages_are(base_url: str) -> None:
    client = FakeClient(FakeAnswer([data_lines({"type": "message_stop"})]))
    await ask(anthropic(client, base_url))
    assert client.url == "https://api.anthropic.com/v1/messages"


def test_a_base_url_that_is_none_is_refused_at_once() -> None:
    with pytest.raises(InvalidUrl):
        openai(FakeClient("connect"), "localhost:8000")


async def test_a_model_may_have_options_of_its_own() -> None:
    client = FakeClient(FakeAnswer([data_lines(STOP)]))
    await ask(openai(client, by_model={"some-model": OpenAIOptions(max_tokens=7), "other": OpenAIOptions()}))
    assert json.loads(client.body)["max_tokens"] == 7
    assert "authorization" not in client.headers


@pytest.mark.parametrize(
    ("status", "failure"), [(401, Authentication), (429, RateLimited), (500, ServerFailed), (529, Overloaded)]
)
async def test_an_error_status_is_the_failure_it_is(status: int, failure: type[ServiceFailed]) -> None:
    with pytest.raises(failure) as caught:
        await reply(b'{"error": {"mes', b'sage": "nope"}}', status=status, **{"retry-after": "7"})
    assert caught.value.retry_after == (7.0 if failure.retryable else None)
    assert str(caught.value).startswith("local at http://127.0.0.1:8000 (some-model) ")
    assert f"HTTP {status}, nope." in str(caught.value)


async def test_an_error_that_breaks_off_is_told_all_the_same() -> None:
    with pytest.raises(Overloaded, match="HTTP 503, Loading"):
        await reply(b"Loading", "network", status=503)


async def test_of_an_endless_error_only_the_beginning_is_read() -> None:
    with pytest.raises(ServerFailed):
        await reply(b"x" * READ_BYTES, "protocol", status=500)


@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("connect", NetworkFailed),
        ("tls", NetworkFailed),
        ("proxy", NetworkFailed),
        ("network", NetworkFailed),
        ("timeout", TimedOut),
        ("protocol", ProtocolBroken),
    ],
)
async def test_a_failure_of_the_connection_is_told_before_and_midway(kind: Kind, failure: type[ServiceFailed]) -> None:
    with pytest.raises(failure) as before:
        await ask(openai(FakeClient(kind)))
    with pytest.raises(failure) as midway:
        await reply(data_lines(HI), kind)
    assert KEY not in f"{before.value} {midway.value}"


async def test_what_came_before_a_failure_has_been_given() -> None:
    got: list[StreamEvent] = []

    async def collect() -> None:
        async with openai(FakeClient(FakeAnswer([data_lines(HI), "network"]))).stream(REQUEST) as events:
            async for event in events:
                got.append(event)  # noqa: PERF401 (what came before is what this is about)

    with pytest.raises(NetworkFailed):
        await collect()
    assert got[1:] == [TextDelta("Hi")]


async def test_a_connection_that_breaks_after_the_reply_does_no_harm() -> None:
    assert await reply(data_lines(HI, STOP), "network") == [TextDelta("Hi"), Stopped("end_turn", Usage())]


async def test_an_end_without_a_reply_is_a_failure() -> None:
    with pytest.raises(NetworkFailed):
        await reply(data_lines(HI))


async def test_a_server_that_does_not_hang_up_is_not_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    started = trio.current_time()
    assert await reply(data_lines(HI, STOP, "[DONE]"), 1000.0) == [TextDelta("Hi"), Stopped("end_turn", Usage())]
    assert trio.current_time() - started == DRAIN_SECONDS


async def test_leaving_the_block_ends_the_call() -> None:
    client = FakeClient(FakeAnswer([data_lines(HI), 1000.0]))
    async with openai(client).stream(REQUEST) as events:
        async for event in events:
            if event == TextDelta("Hi"):
                break
    assert client.left


async def test_a_stream_over_a_real_connection_which_is_used_again(nursery: trio.Nursery) -> None:
    connections = 0

    async def serve(stream: trio.SocketStream) -> None:
        nonlocal connections
        connections += 1
        async with stream:
            while await stream.receive_some():
                body = data_lines(HI, STOP, "[DONE]")
                head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                await stream.send_all(head)
                for part in (body[:50], body[50:]):
                    await stream.send_all(b"%x\r\n%s\r\n" % (len(part), part))
                await stream.send_all(b"0\r\n\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    async with HttpClient() as client:
        provider = OpenAIProvider("local", f"http://127.0.0.1:{port}", ["m"], OpenAIOptions(), lambda: client)
        for _ in range(3):
            assert (await ask(provider))[1:] == [TextDelta("Hi"), Stopped("end_turn", Usage())]
    assert connections == 1
    nursery.cancel_scope.cancel()
