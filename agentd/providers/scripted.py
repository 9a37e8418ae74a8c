"""The scripted model: plays a list of replies and takes down what it was asked. For tests, demos, replay.

A conversation reads as one:

    ScriptedProvider([reply("Let me look.", call("Read", file_path="a.py")), reply("It is empty.")])

Replies are played in the order of the requests, whoever makes them; a retry is a request too. A `Fail` that is the
first part of a reply comes before any output, a later one midway. scriptfile.py has the same as a file.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolResult, Usage
from agentd.errors import ProviderFailed
from agentd.providers.protocol import (
    FREE,
    CallDelta,
    CallStarted,
    ModelInfo,
    ModelRequest,
    Price,
    Stopped,
    StreamEvent,
    TextDelta,
    ThinkingDelta,
)

PIECE_CHARS = 16  # a delta's size: small, so that readers of a stream see it as one


@attrs.frozen
class Think:
    text: str


@attrs.frozen
class ScriptedCall:
    name: str
    input_json: str
    id: str | None = None


@attrs.frozen
class Delay:
    seconds: float


@attrs.frozen
class Fail:
    message: str


@attrs.frozen
class Hang:
    """Nothing more comes, until the caller gives up."""


Part = str | Think | ScriptedCall | Delay | Fail | Hang


@attrs.frozen
class Expectation:
    """What a request has to hold; ProviderFailed says what it lacks."""

    contains: tuple[str, ...] = ()  # each in what was said or returned since the model's last reply
    tools: tuple[str, ...] = ()  # each on offer

    def check(self, request: ModelRequest, number: int) -> None:
        said = _said_since_last_reply(request)
        offered = {tool.name for tool in request.tools}
        lacking = [f"{text!r} in {said[-500:]!r}" for text in self.contains if text not in said]
        lacking += [f"the tool {name} in {sorted(offered)}" for name in self.tools if name not in offered]
        if lacking:
            raise ProviderFailed(f"the script expects of request {number}: {'; '.join(lacking)}")


@attrs.frozen
class Reply:
    parts: tuple[Part, ...]
    stop: str | None = None  # None: tool_use if there are calls, else end_turn
    usage: Usage = attrs.field(factory=Usage)
    expect: Expectation = Expectation()

    @property
    def stop_reason(self) -> str:
        return self.stop or ("tool_use" if any(isinstance(part, ScriptedCall) for part in self.parts) else "end_turn")


def reply(
    *parts: Part,
    stop: str | None = None,
    usage: Usage | None = None,
    expect: Sequence[str] = (),
    tools: Sequence[str] = (),
) -> Reply:
    """One reply. *expect*: texts the request must hold; *tools*: names of tools that must be on offer."""
    return Reply(parts, stop, usage or Usage(), Expectation(tuple(expect), tuple(tools)))


def call(tool: str, /, **call_input: Any) -> ScriptedCall:
    return ScriptedCall(tool, json.dumps(call_input, ensure_ascii=False))


def raw_call(tool: str, input_json: str, call_id: str | None = None) -> ScriptedCall:
    """A call whose arguments are this text, JSON or not."""
    return ScriptedCall(tool, input_json, call_id)


class ScriptedProvider:
    """Plays *replies*, one a request. `requests` holds what it got, `left` how many replies are still to come."""

    def __init__(
        self, replies: Sequence[Reply | str], name: str = "scripted", price: Price = FREE, *, vision: bool = False
    ) -> None:
        self.requests: list[ModelRequest] = []
        self._name = name
        self._price = price
        self._vision = vision
        self._replies = [reply(each) if isinstance(each, str) else each for each in replies]
        self._ids = itertools.count(1)

    @property
    def name(self) -> str:
        return "scripted"

    @property
    def left(self) -> int:
        return max(0, len(self._replies) - len(self.requests))

    def models(self) -> tuple[str, ...]:
        return (self._name,)

    def describe(self, model: str) -> ModelInfo:
        note = f"plays a script; {self.left} replies left"
        return ModelInfo(price=self._price, note=note, vision=self._vision)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        """The next reply. Raises ProviderFailed where the script says so, where it expected another request, or at
        its end."""
        self.requests.append(request)
        number = len(self.requests)
        if number > len(self._replies):
            raise ProviderFailed(f"the script has no reply to request {number}: its last was {len(self._replies)}")
        chosen = self._replies[number - 1]
        chosen.expect.check(request, number)
        if chosen.parts and isinstance(chosen.parts[0], Fail):
            raise ProviderFailed(chosen.parts[0].message)
        async with aclosing(self._play(chosen)) as events:
            yield events

    async def _play(self, chosen: Reply) -> AsyncGenerator[StreamEvent, None]:
        for part in chosen.parts:
            await _pause(part)
            for event in self._events(part):
                yield event
                await trio.lowlevel.checkpoint()
        yield Stopped(chosen.stop_reason, chosen.usage)

    def _events(self, part: Part) -> Iterator[StreamEvent]:
        match part:
            case str():
                yield from map(TextDelta, pieces(part))
            case Think(text):
                yield from map(ThinkingDelta, pieces(text))
            case ScriptedCall(name, text, given):
                call_id = given if given is not None else f"scripted_{next(self._ids)}"
                yield CallStarted(call_id, name)
                yield from (CallDelta(call_id, piece) for piece in pieces(text))


def pieces(text: str, size: int = PIECE_CHARS) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


async def _pause(part: Part) -> None:
    match part:
        case Delay(seconds):
            await trio.sleep(seconds)
        case Hang():
            await trio.sleep_forever()
        case Fail(message):
            raise ProviderFailed(message)


def _said_since_last_reply(request: ModelRequest) -> str:
    said: list[str] = []
    for message in reversed(request.messages):
        if message.role == "assistant":
            break
        for block in reversed(message.content):
            parts = block.content if isinstance(block, ToolResult) else (block,)
            said.extend(part.text for part in parts if isinstance(part, Text))
    return "\n".join(reversed(said))
