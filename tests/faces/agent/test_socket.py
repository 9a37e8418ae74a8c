"""The messages of a socket, against an app that only notes what it is asked for."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.errors import AskNotFound, Busy, SessionNotFound, StoreFailed, only_cause
from agentd.faces.agent.answers import ShuttingDown
from agentd.faces.agent.dialect import Event
from agentd.faces.agent.requests import Query
from agentd.faces.agent.socket import converse
from agentd.faces.agent.streams import Run
from agentd.faces.agent.terms import Terms
from agentd.wire.messages import Hangup

OWNER = "key-1"
ELSEWHERE, IDLE, FOREIGN = "began-elsewhere", "not-running", "of-another-key"

INVALID = "Invalid JSON message"
BEGUN = {"type": "ack", "message": "Query started"}


def error(text: str) -> dict[str, str]:
    return {"type": "error", "message": text}


def ack(text: str) -> dict[str, str]:
    return {"type": "ack", "message": text}


@attrs.define
class FakeRun:
    run: Run
    send: trio.MemorySendChannel[Event]
    receive: trio.MemoryReceiveChannel[Event]
    over: bool = False

    def say(self, name: str, **data: Any) -> None:
        self.send.send_nowait(Event(name, data))

    def end(self, reason: str = "completed") -> None:
        if not self.over:
            self.over = True
            self.say("result", stop_reason=reason)
            self.say("done", reason=reason)


@attrs.define
class FakeApp:
    """Runs end when they are told to; two sessions were not begun here, and one of them is another key's."""

    terms: Terms
    runs: list[FakeRun] = attrs.field(factory=list)
    asked: list[Query] = attrs.field(factory=list)
    notes: list[tuple[str, ...]] = attrs.field(factory=list)
    failure: Exception | None = None
    stopping: bool = False
    ends_at_once: bool = True

    def check_open(self) -> None:
        if self.stopping:
            raise ShuttingDown

    async def find(self, session_id: str, owner: str) -> object:
        if session_id not in {ELSEWHERE, IDLE, *(each.run.session_id for each in self.runs)}:
            raise SessionNotFound(session_id)
        return object()

    def _running(self, session_id: str) -> None:
        running = {each.run.session_id for each in self.runs if not each.over} | {ELSEWHERE}
        if session_id not in running:
            raise SessionNotFound(session_id)

    async def begin(self, asked: Query, owner: str) -> Run:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        self.asked.append(asked)
        number = len(self.runs) + 1
        run = Run(asked.session_id or f"session-{number}", f"job-{number}")
        self.runs.append(FakeRun(run, *trio.open_memory_channel[Event](100)))
        self.runs[-1].say("init", session_id=run.session_id)
        return run

    async def events(self, run: Run) -> AsyncGenerator[Event, None]:
        found = next(each for each in self.runs if each.run == run)
        async for event in found.receive:
            yield event
            if event.name == "done":
                return

    def abandon(self, run: Run) -> None:
        self.notes.append(("abandon", run.job_id))
        if self.ends_at_once:
            next(each for each in self.runs if each.run == run).end("interrupted")

    async def interrupt(self, session_id: str, owner: str) -> None:
        self._running(session_id)
        self.notes.append(("interrupt", session_id))
        for each in self.runs:
            if each.run.session_id == session_id:
                each.end("interrupted")

    async def answer(self, session_id: str, owner: str, text: str, question_id: str | None = None) -> None:
        self._running(session_id)
        if question_id == "unknown":
            raise AskNotFound(question_id)
        self.notes.append(("answer", session_id, text, owner))

    async def control(self, session_id: str, owner: str, permission_mode: str) -> None:
        self._running(session_id)
        self.notes.append(("control", session_id, permission_mode))


class FakeSocket:
    """Both ends of one: the server's, and what a client does."""

    def __init__(self) -> None:
        self._in, self._messages = trio.open_memory_channel[str | bytes](1000)
        self._out, self._frames = trio.open_memory_channel[bytes](10_000)
        self.is_gone = False

    def __aiter__(self) -> FakeSocket:
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self._messages.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def send_frames(self, frames: bytes) -> None:
        await trio.lowlevel.checkpoint()
        if self.is_gone:
            raise Hangup
        self._out.send_nowait(frames)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        self.leave()

    def say(self, message: Any = None, **fields: Any) -> None:
        self._in.send_nowait(message if isinstance(message, (str, bytes)) else json.dumps(message or fields))

    async def hear(self, count: int = 1) -> list[Any]:
        with trio.fail_after(5):
            return [_value(await self._frames.receive()) for _ in range(count)]

    async def ask(self, message: Any = None, **fields: Any) -> Any:
        self.say(message, **fields)
        return (await self.hear())[0]

    def heard(self) -> list[Any]:
        """Everything that has come and nobody looked at."""
        heard = []
        while True:
            try:
                heard.append(_value(self._frames.receive_nowait()))
            except trio.WouldBlock:
                return heard

    def leave(self) -> None:
        self.is_gone = True
        self._in.close()


def _value(frame: bytes) -> Any:
    head = 2 if frame[1] < 126 else 4 if frame[1] == 126 else 10
    return json.loads(frame[head:])


def event(name: str, **data: Any) -> dict[str, Any]:
    return {"type": "sse_event", "event": name, "data": data}


INIT = event("init", session_id="session-1")
INTERRUPTED = [event("result", stop_reason="interrupted"), event("done", reason="interrupted")]


@asynccontextmanager
async def conversing(app: FakeApp) -> AsyncIterator[FakeSocket]:
    socket = FakeSocket()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_converse, socket, app)
        yield socket
        if not socket.is_gone:
            socket.leave()


async def _converse(socket: FakeSocket, app: FakeApp) -> None:
    try:
        await converse(socket, app, OWNER, app.events)
    except ExceptionGroup as exc:
        assert isinstance(only_cause(exc), Hangup)  # noqa: PT017 - what a WebSocket expects of its handler


@pytest.fixture
def app(tmp_path: Path) -> FakeApp:
    return FakeApp(Terms(tmp_path))


@pytest.fixture
async def socket(app: FakeApp) -> AsyncIterator[FakeSocket]:
    async with conversing(app) as socket:
        yield socket


@pytest.fixture
async def busy(socket: FakeSocket) -> FakeSocket:
    """A socket with a run."""
    socket.say(type="prompt", prompt="go")
    assert await socket.hear(2) == [BEGUN, INIT]
    return socket


# --- prompts ------------------------------------------------------------------------------------------------------


async def test_nobody_is_greeted(socket: FakeSocket) -> None:
    await wait_all_tasks_blocked()
    assert socket.heard() == []


async def test_a_run_is_told_from_ack_to_done_and_the_socket_stays(busy: FakeSocket, app: FakeApp) -> None:
    app.runs[0].say("message", type="assistant")
    app.runs[0].end()
    told = await busy.hear(3)
    assert [each["event"] for each in told] == ["message", "result", "done"]
    assert await busy.ask(type="nonsense") == error("Unknown message type: nonsense")


async def test_every_field_of_a_query_may_come_and_null_is_as_good_as_nothing(socket: FakeSocket, app: FakeApp) -> None:
    fields = {"model": None, "max_turns": 3, "permission_mode": "plan", "include_partial_messages": True, "env": None}
    assert await socket.ask(type="prompt", prompt="go", **fields) == BEGUN
    (asked,) = app.asked
    assert (asked["max_turns"], asked["permission_mode"], asked["model"]) == (3, "plan", None)


async def test_a_second_prompt_ends_the_first_run_before_it_is_acknowledged(busy: FakeSocket, app: FakeApp) -> None:
    busy.say(type="prompt", prompt="something else")
    assert await busy.hear(4) == [*INTERRUPTED, BEGUN, event("init", session_id="session-2")]
    assert app.notes == [("abandon", "job-1")]


async def test_a_second_prompt_waits_for_what_the_first_run_has_to_say(busy: FakeSocket, app: FakeApp) -> None:
    app.ends_at_once = False
    busy.say(type="prompt", prompt="something else")
    await wait_all_tasks_blocked()
    assert busy.heard() == []
    app.runs[0].say("message", type="user")
    app.runs[0].end("interrupted")
    assert await busy.hear(4) == [event("message", type="user"), *INTERRUPTED, BEGUN]


async def test_a_run_that_does_not_end_keeps_its_socket(
    busy: FakeSocket, app: FakeApp, autojump_clock: MockClock
) -> None:
    app.ends_at_once = False
    busy.say(type="prompt", prompt="something else")
    with trio.fail_after(60):
        assert _value(await busy._frames.receive()) == error("The running query has not ended yet")
    app.runs[0].end("interrupted")
    assert await busy.hear(2) == INTERRUPTED


async def test_a_prompt_that_is_wrong_leaves_the_run_alone(busy: FakeSocket, app: FakeApp) -> None:
    assert await busy.ask(type="prompt", prompt="x", max_turns=0) == error(
        "Invalid request: max_turns: Input should be greater than or equal to 1"
    )
    assert app.notes == []


async def test_a_prompt_after_done_begins_a_new_session_unless_it_continues(busy: FakeSocket, app: FakeApp) -> None:
    for fields, session_id in (
        ({}, "session-2"),
        ({"continue_conversation": True}, "session-2"),
        ({"session_id": "session-1", "continue_conversation": True}, "session-1"),
    ):
        app.runs[-1].end()
        await wait_all_tasks_blocked()
        busy.heard()
        busy.say(type="prompt", prompt="go on", **fields)
        assert (await busy.hear(2))[1] == event("init", session_id=session_id)


@pytest.mark.parametrize("missing", [{}, {"prompt": None}, {"prompt": ""}])
async def test_a_prompt_is_required(socket: FakeSocket, missing: dict[str, Any]) -> None:
    assert await socket.ask(type="prompt", max_turns="wrong too", **missing) == error("prompt is required")


async def test_all_that_is_wrong_with_a_prompt_is_told_at_once(socket: FakeSocket) -> None:
    told = await socket.ask(type="prompt", prompt=["no", "text"], permission_mode="maybe")
    assert told["type"] == "error"
    assert told["message"].startswith("Invalid request: prompt: Input should be a valid string; permission_mode: ")


@pytest.mark.parametrize(
    "failure", [Busy(5), StoreFailed("the disk is full"), ShuttingDown()], ids=lambda exc: type(exc).__name__
)
async def test_a_run_that_cannot_begin_is_told(socket: FakeSocket, app: FakeApp, failure: Exception) -> None:
    app.failure = failure
    assert await socket.ask(type="prompt", prompt="go") == error(str(failure))
    app.failure = None
    assert await socket.ask(type="prompt", prompt="go") == BEGUN


async def test_a_session_that_is_not_there_is_told_by_a_run(socket: FakeSocket, app: FakeApp) -> None:
    app.failure = SessionNotFound("nowhere")
    socket.say(type="prompt", prompt="go", session_id="nowhere")
    ack_, *events = await socket.hear(5)
    assert ack_ == BEGUN
    assert [each["event"] for each in events] == ["init", "error", "result", "done"]
    assert events[1]["data"]["message"] == "Session nowhere not found"


async def test_a_server_that_stops_takes_no_prompt_and_lets_the_run_go_on(busy: FakeSocket, app: FakeApp) -> None:
    app.stopping = True
    assert (await busy.ask(type="prompt", prompt="more"))["type"] == "error"
    assert app.notes == []


async def test_a_bug_is_logged_and_told_without_a_word_of_it(
    socket: FakeSocket, app: FakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app.failure = ZeroDivisionError("secret")
    assert await socket.ask(type="prompt", prompt="go") == error("An unexpected error occurred")
    assert "ZeroDivisionError" in caplog.text


# --- what steers a run --------------------------------------------------------------------------------------------


async def test_a_run_is_interrupted_without_naming_it(busy: FakeSocket) -> None:
    busy.say(type="interrupt")
    told = await busy.hear(3)
    assert ack("Query interrupted") in told
    assert [each for each in told if each["type"] == "sse_event"] == INTERRUPTED


async def test_a_question_is_answered_without_naming_the_session(busy: FakeSocket, app: FakeApp) -> None:
    assert await busy.ask(type="answer", answer="42") == ack("Answer submitted")
    assert app.notes == [("answer", "session-1", "42", OWNER)]


async def test_the_mode_of_a_run_is_changed_with_or_without_naming_it(busy: FakeSocket, app: FakeApp) -> None:
    for fields in ({}, {"session_id": None}, {"session_id": "session-1"}):
        message = {"type": "control", "permission_mode": "plan", **fields}
        assert await busy.ask(message) == ack("Permission mode updated")
    assert app.notes == [("control", "session-1", "plan")] * 3


async def test_a_run_that_began_elsewhere_is_steered_from_here(socket: FakeSocket, app: FakeApp) -> None:
    assert await socket.ask(type="answer", answer="yes", session_id=ELSEWHERE) == ack("Answer submitted")
    assert await socket.ask(type="interrupt", session_id=ELSEWHERE) == ack("Query interrupted")
    told = await socket.ask(type="control", permission_mode="default", session_id=ELSEWHERE)
    assert told == ack("Permission mode updated")


MODES = "acceptEdits, bypassPermissions, default, plan"
NOT_ACTIVE = "Session not found or not active"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"type": "interrupt"}, "No active session to interrupt"),
        ({"type": "interrupt", "session_id": FOREIGN}, "Session not found or not authorized"),
        ({"type": "interrupt", "session_id": 7}, "Session not found or not authorized"),
        ({"type": "interrupt", "session_id": IDLE}, NOT_ACTIVE),
        ({"type": "answer"}, "answer is required"),
        ({"type": "answer", "answer": None, "session_id": FOREIGN}, "answer is required"),
        ({"type": "answer", "answer": "42"}, "No active session"),
        ({"type": "answer", "answer": "42", "session_id": FOREIGN}, "Session not found or no pending question"),
        ({"type": "answer", "answer": "42", "session_id": IDLE}, "Session not found or no pending question"),
        (
            {"type": "answer", "answer": "42", "session_id": ELSEWHERE, "question_id": "unknown"},
            "Session not found or no pending question",
        ),
        ({"type": "control"}, "session_id and permission_mode required"),
        ({"type": "control", "session_id": FOREIGN}, "session_id and permission_mode required"),
        ({"type": "control", "permission_mode": "maybe"}, "session_id and permission_mode required"),
        (
            {"type": "control", "permission_mode": "maybe", "session_id": FOREIGN},
            f"Invalid permission_mode: maybe. Must be one of: {MODES}",
        ),
        ({"type": "control", "permission_mode": "plan", "session_id": FOREIGN}, NOT_ACTIVE),
        ({"type": "control", "permission_mode": "plan", "session_id": IDLE}, NOT_ACTIVE),
        ({"type": "shout"}, "Unknown message type: shout"),
        ({"type": ["prompt"]}, "Unknown message type: ['prompt']"),
        ({}, "Unknown message type: None"),
        ([1, 2], INVALID),
        ("", INVALID),
        ("{", INVALID),
        ("null", INVALID),
        ('{"type": NaN}', INVALID),
        ("[" * 100_000, INVALID),
        ("9" * 10_000, INVALID),
        ("x" * 300_000, INVALID),
        (b'{"type": "interrupt"}', INVALID),
        (b"\xff", INVALID),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_what_is_wrong_is_told_and_the_socket_stays(socket: FakeSocket, message: Any, text: str) -> None:
    assert await socket.ask(json.dumps(message) if message == {} else message) == error(text)
    assert await socket.ask(type="prompt", prompt="go") == BEGUN


async def test_what_has_ended_is_not_active(busy: FakeSocket, app: FakeApp) -> None:
    app.runs[0].end()
    await busy.hear(2)
    assert await busy.ask(type="interrupt") == error(NOT_ACTIVE)


# --- clients that leave -------------------------------------------------------------------------------------------


async def test_a_client_that_leaves_takes_its_run_with_it(busy: FakeSocket, app: FakeApp) -> None:
    busy.leave()
    await wait_all_tasks_blocked()
    assert app.notes == [("abandon", "job-1")]


async def test_a_detached_run_goes_on_without_its_client(socket: FakeSocket, app: FakeApp) -> None:
    await socket.ask(type="prompt", prompt="go", detach=True)
    socket.leave()
    await wait_all_tasks_blocked()
    assert app.notes == []


async def test_a_run_that_was_over_is_not_stopped_again(busy: FakeSocket, app: FakeApp) -> None:
    app.runs[0].end()
    await busy.hear(2)
    busy.leave()
    await wait_all_tasks_blocked()
    assert app.notes == []


async def test_a_client_that_leaves_while_a_run_begins_leaves_none(app: FakeApp) -> None:
    async with conversing(app) as socket:
        socket.say(type="prompt", prompt="go")
        socket.leave()
    assert app.notes == [("abandon", "job-1")]


# --- any sequence -------------------------------------------------------------------------------------------------

MESSAGES = st.sampled_from(
    [
        {"type": "prompt", "prompt": "go"},
        {"type": "prompt", "prompt": "go on", "continue_conversation": True},
        {"type": "prompt", "prompt": "no", "max_turns": 0},
        {"type": "prompt"},
        {"type": "interrupt"},
        {"type": "answer", "answer": "yes"},
        {"type": "control", "permission_mode": "plan"},
        {"type": "control"},
        {"type": "nonsense"},
        "no json",
        b"binary",
        "end",  # the run ends by itself
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(MESSAGES, max_size=12), st.lists(st.booleans(), min_size=12, max_size=12))
def test_every_message_is_answered_once_and_runs_follow_one_another(messages: list[Any], settles: list[bool]) -> None:
    trio.run(_play, messages, settles)


async def _play(messages: list[Any], settles: list[bool]) -> None:
    app = FakeApp(Terms(Path("/")))
    said = 0
    async with conversing(app) as socket:
        for message, settle in zip(messages, settles, strict=False):
            if message == "end":
                if app.runs:
                    app.runs[-1].end()
            else:
                socket.say(message)
                said += 1
            if settle:
                await wait_all_tasks_blocked()
        await wait_all_tasks_blocked()
        heard = socket.heard()
    replies = [each for each in heard if each["type"] != "sse_event"]
    assert len(replies) == said
    assert sum(each == BEGUN for each in replies) == len(app.runs)
    _check_order(heard)
    last = app.runs[-1:] and cast("Any", app.runs[-1])
    assert all(each.over for each in app.runs[:-1])
    assert not last or last.over  # by itself, or since the client left


def _check_order(heard: list[Any]) -> None:
    """After each ack of a prompt the events of its run, to its end before the next one's."""
    under_way = begun = False
    for each in heard:
        if each == BEGUN:
            assert not under_way
            under_way = begun = True
        elif each["type"] == "sse_event":
            assert under_way
            assert (each["event"] == "init") is begun
            begun, under_way = False, each["event"] != "done"
