"""A language model service on loopback that says what a test wants, byte for byte as the real ones stream it.

It speaks Chat Completions ("openai") or Messages ("anthropic"), keeps what it was sent, and refuses as the services do
a conversation that does not hold together. A token is 4 bytes here; what a prompt begins with that the one before began
with too counts as cached. A *strike* spoils an answer, a *door* what comes before the first request of a connection.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from queue import SimpleQueue
from typing import Any, Literal

import attrs
import trio

from agentd.providers.anthropic import AnthropicOptions, AnthropicProvider
from agentd.providers.openai import OpenAIOptions, OpenAIProvider
from agentd.providers.service import DEADLINES, Service
from agentd.wire.exchange import Deadlines
from agentd.wire.http import HttpClient
from tests.wire.stranger import Link, Seen, stranger

MODEL = "test-model"
PROTOCOLS: tuple[ProtocolName, ...] = ("openai", "anthropic")
PATHS = {"openai": "/v1/chat/completions", "anthropic": "/v1/messages"}
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nCache-Control: no-cache\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"

ProtocolName = Literal["openai", "anthropic"]


@attrs.frozen
class Call:
    name: str
    arguments: str  # as the model writes them, which need not be JSON
    id: str = ""  # empty: the server makes one


@attrs.frozen
class Turn:
    """One reply of the model."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()


def call(name: str, **arguments: Any) -> Call:
    return Call(name, json.dumps(arguments))


Strike = Callable[[Link, list[bytes]], Awaitable[None]]  # is given the events that a good answer would have
Door = Callable[[Link], Awaitable[None]]
DONE = Turn("Done.")
SPOILT = Turn("I will look first.", "Hm. Where is it?", (call("Read", file_path="a.txt"),))  # what strikes are given


@attrs.define
class ModelServer:
    """*plays* and *bad_doors* are used up in order, each for one request or connection; then all is well: `DONE`."""

    protocol: ProtocolName
    plays: deque[Turn | Strike] = attrs.field(factory=deque)
    door: Door | None = None
    bad_doors: deque[Door] = attrs.field(factory=deque)
    port: int = 0
    connections: int = 0
    seen: list[Seen] = attrs.field(factory=list)  # requests of a reply
    problems: list[str] = attrs.field(factory=list)  # of the conversations that were sent
    usages: list[tuple[int, int, int]] = attrs.field(factory=list)  # that were told: tokens in, out, cached
    _prompt: bytes = b""

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}{'/v1' if self.protocol == 'openai' else ''}"

    @property
    def bodies(self) -> list[Any]:
        return [json.loads(seen.body) for seen in self.seen]

    async def attend(self, link: Link) -> None:
        """One connection to its end."""
        self.connections += 1
        door = self.bad_doors.popleft() if self.bad_doors else self.door
        if door is not None:
            await door(link)
        while True:
            await self._answer(link, await link.request())

    async def _answer(self, link: Link, seen: Seen) -> None:
        if seen.target.partition("?")[0] == "/v1/models":
            await link.send(document(200, {"data": [{"id": MODEL, "object": "model"}], "has_more": False}))
            return
        self.seen.append(seen)
        body = json.loads(seen.body)
        if problem := check(self.protocol, seen.target, body):
            self.problems.append(problem)
            await link.send(document(400, error(self.protocol, "invalid_request_error", problem)))
            return
        play = self.plays.popleft() if self.plays else DONE
        turn = play if isinstance(play, Turn) else SPOILT
        events = speak(self.protocol, turn, self._use(body, turn), len(self.seen))
        await (link.send(STREAM_HEAD + CHUNKED, *chunks(events)) if isinstance(play, Turn) else play(link, events))

    def _use(self, body: dict[str, Any], turn: Turn) -> tuple[int, int, int]:
        prompt, before = compact(without_marks(body)), self._prompt
        self._prompt = prompt
        shorter = min(len(prompt), len(before))
        cached = bisect_left(range(shorter), True, key=lambda at: prompt[: at + 1] != before[: at + 1])
        made = len(turn.text + turn.thinking) + sum(len(each.arguments) for each in turn.calls)
        self.usages.append((len(prompt) // 4, made // 4 + 1, cached // 4))
        return self.usages[-1]


@asynccontextmanager
async def open_model_server(protocol: ProtocolName, *plays: Turn | Strike) -> AsyncIterator[ModelServer]:
    server = ModelServer(protocol, deque(plays))
    async with stranger(server.attend) as host:
        server.port = host.port
        yield server


@contextmanager
def model_server(protocol: ProtocolName, *plays: Turn | Strike) -> Iterator[ModelServer]:
    """On a thread of its own, for tests that start programs."""
    started: SimpleQueue[tuple[ModelServer, trio.CancelScope, trio.lowlevel.TrioToken]] = SimpleQueue()

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with open_model_server(protocol, *plays) as server:
                started.put((server, scope, trio.lowlevel.current_trio_token()))
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,), daemon=True)
    thread.start()
    server, scope, token = started.get(timeout=10)
    try:
        yield server
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join(10)


def provider_of(
    server: ModelServer,
    client: HttpClient,
    *,
    base_url: str = "",
    key: str = "",
    headers: Mapping[str, str] | None = None,
    deadlines: Deadlines = DEADLINES,
) -> Service[Any]:
    """What calls the server, at its own address unless another leads there."""
    more: dict[str, Any] = {"client": lambda: client, "deadlines": deadlines}
    at = ("service", base_url or server.base_url, [MODEL])
    if server.protocol == "openai":
        return OpenAIProvider(*at, OpenAIOptions(key, headers or {}), **more)
    return AnthropicProvider(*at, AnthropicOptions(key, headers=headers or {}), **more)


# --- Bytes --------------------------------------------------------------------------------------------------------


def compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def chunks(events: Iterable[bytes]) -> list[bytes]:
    """Each in a chunk of its own, and the last chunk."""
    return [*map(chunk, events), b"0\r\n\r\n"]


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def whole(status: int, body: bytes, kind: str, headers: Mapping[str, str] | None = None) -> bytes:
    """An answer in one piece."""
    fields = {"Content-Type": kind, "Content-Length": str(len(body)), **(headers or {})}
    lines = [f"HTTP/1.1 {status} As asked", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def document(status: int, value: Any, headers: Mapping[str, str] | None = None) -> bytes:
    return whole(status, compact(value), "application/json", headers)


def error(protocol: ProtocolName, kind: str, message: str) -> dict[str, Any]:
    """As either service words it."""
    if protocol == "openai":
        return {"error": {"message": message, "type": kind, "param": None, "code": kind}}
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_011CSHoEeqs5C35K2UUqR7Fy"}


# --- Chat Completions ---------------------------------------------------------------------------------------------


def speak(protocol: ProtocolName, turn: Turn, usage: tuple[int, int, int], number: int) -> list[bytes]:
    """The events of a reply. *number* goes into its ids."""
    calls = [attrs.evolve(each, id=each.id or f"call_{number}_{at}") for at, each in enumerate(turn.calls)]
    numbered = attrs.evolve(turn, calls=tuple(calls))
    if protocol == "openai":
        return [b"data: %b\n\n" % each for each in (*map(compact, _completion(numbered, usage, number)), b"[DONE]")]
    return [b"event: %b\ndata: %b\n\n" % (each["type"].encode(), compact(each)) for each in _message(numbered, usage)]


def _completion(turn: Turn, usage: tuple[int, int, int], number: int) -> Iterator[dict[str, Any]]:
    shared = {"id": f"chatcmpl-{number}", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": MODEL}

    def delta(change: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": change, "logprobs": None, "finish_reason": reason}
        return shared | {"system_fingerprint": "fp_44709d6fcb", "choices": [choice], "usage": None}

    yield delta({"role": "assistant", "content": "", "refusal": None})
    yield from (delta({"reasoning_content": piece}) for piece in halves(turn.thinking))
    yield from (delta({"content": piece}) for piece in halves(turn.text))
    for index, each in enumerate(turn.calls):
        begun = {"index": index, "id": each.id, "type": "function", "function": {"name": each.name, "arguments": ""}}
        yield delta({"tool_calls": [begun]})
        for piece in halves(each.arguments):
            yield delta({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield delta({}, "tool_calls" if turn.calls else "stop")
    sent, made, cached = usage
    counts = {"prompt_tokens": sent, "completion_tokens": made, "total_tokens": sent + made}
    yield shared | {"choices": [], "usage": counts | {"prompt_tokens_details": {"cached_tokens": cached}}}


def halves(text: str) -> Iterator[str]:
    yield from filter(None, (text[: len(text) // 2], text[len(text) // 2 :]))


# --- Messages -----------------------------------------------------------------------------------------------------


def _message(turn: Turn, usage: tuple[int, int, int]) -> Iterator[dict[str, Any]]:
    sent, made, cached = usage
    counts = {"input_tokens": sent - cached, "cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    head = {"id": "msg_014p7gG3wDgGV9EUtLvnow3U", "type": "message", "role": "assistant", "model": MODEL, "content": []}
    told = {"stop_reason": None, "stop_sequence": None, "usage": counts | {"output_tokens": 1}}
    yield {"type": "message_start", "message": head | told}
    yield {"type": "ping"}
    for index, (block, deltas) in enumerate(_blocks(turn)):
        yield {"type": "content_block_start", "index": index, "content_block": block}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    ended = {"stop_reason": "tool_use" if turn.calls else "end_turn", "stop_sequence": None}
    yield {"type": "message_delta", "delta": ended, "usage": {"output_tokens": made}}
    yield {"type": "message_stop"}


def _blocks(turn: Turn) -> Iterator[tuple[dict[str, Any], Sequence[dict[str, Any]]]]:
    if turn.thinking:
        thoughts = [{"type": "thinking_delta", "thinking": piece} for piece in halves(turn.thinking)]
        signed = {"type": "signature_delta", "signature": sign(turn.thinking)}
        yield {"type": "thinking", "thinking": "", "signature": ""}, [*thoughts, signed]
    if turn.text:
        yield {"type": "text", "text": ""}, [{"type": "text_delta", "text": piece} for piece in halves(turn.text)]
    for each in turn.calls:
        pieces = [{"type": "input_json_delta", "partial_json": piece} for piece in ("", *halves(each.arguments))]
        yield {"type": "tool_use", "id": each.id, "name": each.name, "input": {}}, pieces


def sign(thinking: str) -> str:
    """What the service, and nobody else, can tell of its own thinking."""
    return f"EqQB{sum(thinking.encode()):x}=="


# --- What the services refuse -------------------------------------------------------------------------------------


def check(protocol: ProtocolName, target: str, body: dict[str, Any]) -> str:
    """What is wrong with a request; empty if nothing is."""
    if target != PATHS[protocol] or body.get("model") != MODEL or body.get("stream") is not True:
        return f"{target} is not asked for a stream of {MODEL}"
    return _check_completions(body) if protocol == "openai" else _check_messages(body)


def _check_completions(body: dict[str, Any]) -> str:
    open_calls: list[str] = []
    for at, message in enumerate(body["messages"]):
        if message["role"] == "tool":
            if message["tool_call_id"] not in open_calls:
                return f"messages[{at}]: a result without its call"
            open_calls.remove(message["tool_call_id"])
        elif open_calls:
            return f"messages[{at}]: no result for {open_calls}"
        open_calls += [each["id"] for each in message.get("tool_calls", ())]
    return f"no result for {open_calls}" if open_calls else ""


def _check_messages(body: dict[str, Any]) -> str:
    calls: list[str] = []
    for at, message in enumerate(body["messages"]):
        content = message["content"]
        if message["role"] != ("assistant" if at % 2 else "user"):
            return f"messages.{at}: the roles do not take turns"
        results = [block["tool_use_id"] for block in content if block["type"] == "tool_result"]
        first = {block["type"] for block in content[: len(results)]}
        if sorted(results) != sorted(calls) or not first <= {"tool_result"}:
            return f"messages.{at}: the results {results} do not begin what follows the calls {calls}"
        if any(b["type"] == "thinking" and b["signature"] != sign(b["thinking"]) for b in content):
            return f"messages.{at}: Invalid `signature` in `thinking` block"
        calls = [block["id"] for block in content if block["type"] == "tool_use"]
        if len(set(calls)) < len(calls):
            return f"messages.{at}: `tool_use` ids must be unique"
    marks = compact(body).count(b'"cache_control":{"type":"ephemeral"}')
    return f"no result for {calls}" if calls else ("too many cache marks" if marks > 4 else "")


def without_marks(value: Any) -> Any:
    """A body without the marks for the prompt cache, which are no part of a prompt."""
    if isinstance(value, list):
        return [without_marks(each) for each in value]
    if isinstance(value, dict):
        return {key: without_marks(each) for key, each in value.items() if key != "cache_control"}
    return value
