"""Whatever clients do, in whatever order: a chat is what a small model of its states says it is."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.domain import ToolResult
from agentd.providers.protocol import ModelRequest, StreamEvent
from agentd.providers.scripted import Reply, ScriptedProvider, call, reply
from tests.agentserver import Stage
from tests.chatapi import Api, Event, serving

WORDS = ("ok", "ask", "fail")
STEPS = st.lists(
    st.sampled_from(
        [*WORDS, *WORDS, "later", "approve", "approve", "deny", "cancel", "retry", "retry", "restart", "mode", "attach"]
    ),
    min_size=1,
    max_size=10,
)
REPLIES: dict[str, Reply] = {"ask": reply("", call("shell", command="true")), "fail": reply("", call("fly"))}
PENDING, ASKING, SUCCEEDED, FAILED = "pending", "waiting_approval", "succeeded", "failed"


class Obedient(Stage):
    """Does what was said last, and is done when it was told what came of that."""

    def __init__(self) -> None:
        super().__init__([])

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        last = request.messages[-1]
        results = any(isinstance(block, ToolResult) for block in last.content)
        chosen = reply("Done.") if results else REPLIES.get(last.text, reply("Done."))
        async with ScriptedProvider([chosen]).stream(request) as events:
            yield events


@attrs.define
class Model:
    """What a chat should be. Turns that ask wait until somebody decides; the others end by themselves."""

    status: str = "active"
    turns: dict[str, str] = attrs.field(factory=dict)
    queue: list[str] = attrs.field(factory=list)
    unsaid: dict[str, str] = attrs.field(factory=dict)  # what the model has not had, by turn
    asking: str | None = None
    cancels: int = 0

    def say(self, turn: str, text: str, *, run: bool) -> None:
        self.turns[turn], self.unsaid[turn] = PENDING, text
        if run:
            self.queue.append(turn)

    def run(self) -> None:
        """Until a turn asks, or none is left."""
        while self.queue and self.asking is None:
            turn = self.queue.pop(0)
            word = self.unsaid.get(turn, "ok")
            if turn in self.unsaid:
                due = list(self.unsaid)[: list(self.unsaid).index(turn) + 1]
                self.unsaid = {each: text for each, text in self.unsaid.items() if each not in due}
            self.turns[turn] = {"ask": ASKING, "fail": FAILED}.get(word, SUCCEEDED)
            self.status = {"ask": ASKING, "fail": "failed"}.get(word, "active")
            self.asking = turn if word == "ask" else None

    def decided(self) -> None:
        assert self.asking is not None
        self.turns[self.asking], self.status, self.asking = SUCCEEDED, "active", None

    def cancel(self) -> None:
        self.cancels += self.status != "canceled"
        for turn in [*self.queue, *filter(None, [self.asking])]:
            self.turns[turn] = FAILED
        self.queue, self.asking, self.status = [], None, "canceled"

    def retryable(self) -> str | None:
        there = (turn for turn, status in self.turns.items() if status in (FAILED, PENDING) and turn not in self.queue)
        return next(there, None)


@attrs.define
class Play:
    """A sequence of steps, against the API and against the model."""

    root: Path
    model: Model = attrs.field(factory=Model)
    chat: str = ""

    async def run(self, steps: Sequence[str]) -> None:
        left = list(steps)
        while left:
            async with serving(self.root, model=Obedient()) as api:
                self.chat = self.chat or await api.create()
                await self._check(api)
                while left and (step := left.pop(0)) != "restart":
                    await self._step(api, step)
                    self.model.run()
                    await self._check(api)
                check_events(await api.events(self.chat), self.model.cancels)

    async def _step(self, api: Api, step: str) -> None:
        model, chat = self.model, self.chat
        match step:
            case "ok" | "ask" | "fail":
                model.say(await api.say(chat, step), step, run=True)
            case "later":
                model.say(await api.say(chat, "ok", auto_run=False), "ok", run=False)
            case "approve" | "deny":
                await self._decide(api, step)
            case "cancel":
                await api.post(f"/{chat}/cancel")
                model.cancel()
            case "retry":
                await self._retry(api)
            case "mode":
                await api.post(f"/{chat}/mode", {"mode": "spec"})
            case "attach":
                await api.post(f"/{chat}/attachments", {"name": "a.txt", "content_base64": "aGk="})

    async def _decide(self, api: Api, action: str) -> None:
        if self.model.asking is None:
            body = {"tool_call_id": "call_x", "action": action}
            assert (await api.ask("POST", f"/{self.chat}/approve", body))[0] == 400
            return
        await api.approve(self.chat, await api.waiting(self.chat, self.model.asking), action=action)
        self.model.decided()

    async def _retry(self, api: Api) -> None:
        model = self.model
        if (turn := model.retryable()) is not None:
            await api.post(f"/{self.chat}/turns/{turn}/retry")
            model.turns[turn] = PENDING
            model.queue.append(turn)
        elif done := next((turn for turn, status in model.turns.items() if status in (SUCCEEDED, ASKING)), None):
            assert (await api.ask("POST", f"/{self.chat}/turns/{done}/retry", {}))[0] == 409

    async def _check(self, api: Api) -> None:
        """The chat comes to what the model says, and its messages are such as any model takes."""
        wanted = (self.model.status, self.model.turns)
        session = await api.until(self.chat, lambda told: (told["status"], statuses(told)) == wanted)
        calls = Counter(
            part["tool_call_id"]
            for message in session["messages"]
            for part in message["parts"]
            if part["type"] == "tool_use"
        )
        answers = Counter(message["tool_call_id"] for message in session["messages"] if message["role"] == "tool")
        assert set(calls.values()) <= {1}
        assert not answers - calls
        assert (calls - answers).total() == (self.model.asking is not None)
        assert (session["error"] is not None) == (session["status"] == "failed")


def statuses(session: Any) -> dict[str, str]:
    return {turn["id"]: turn["status"] for turn in session["turns"]}


def check_events(events: Sequence[Event], cancels: int) -> None:
    """The rules of order at the end of section 11, and that nothing is told twice."""
    seen: dict[str, list[str]] = {}
    at_work: str | None = None
    for event in events:
        kind, turn = event["type"], event.get("turn_id")
        if kind == "turn_started":
            assert at_work is None
            at_work = turn
        elif kind in ("turn_completed", "turn_failed") and turn == at_work:
            at_work = None
        if (ident := event.get("data", {}).get("tool_call_id")) is not None:
            assert turn == at_work
            seen.setdefault(ident, []).append(kind)
    for kinds in seen.values():
        assert kinds in (
            ["approval_requested"],
            ["approval_requested", "approval_granted", "tool_call_started", "tool_call_completed"],
            ["approval_requested", "approval_denied"],
        )
    assert sum(event["type"] == "session_canceled" for event in events) == cancels


@given(STEPS)
@settings(max_examples=25, deadline=None)
def test_a_chat_is_what_its_model_says(steps: list[str]) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as root, trio.fail_after(60):
            await Play(Path(root)).run(steps)

    trio.run(play)
