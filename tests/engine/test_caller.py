"""Model calls that fail: which are made again and when, who else waits, and which model serves in the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.domain import Entry, Message, Text, Thinking, Usage
from agentd.engine.caller import Caller
from agentd.errors import ProviderFailed
from agentd.providers import failures
from agentd.providers.failures import ServiceFailed, Target
from agentd.providers.policy import Policy
from agentd.providers.protocol import (
    CallStarted,
    ModelInfo,
    ModelRequest,
    Price,
    RequestSent,
    Stopped,
    StreamEvent,
    TextDelta,
)
from agentd.providers.registry import Resolved


@attrs.frozen
class Broken:
    """A reply that breaks off."""

    events: tuple[StreamEvent, ...]
    failure: ProviderFailed


@attrs.define
class Service:
    """Plays outcomes, the last one for ever; takes down when it was called, and with what."""

    outcomes: list[ServiceFailed | Broken | str]
    name: str = "service"
    seconds: float = 0.0  # that each call takes
    body: bytes = b""
    times: list[float] = attrs.field(factory=list)
    requests: list[ModelRequest] = attrs.field(factory=list)

    def models(self) -> tuple[str, ...]:
        return (self.name,)

    @asynccontextmanager
    async def stream(self, request: ModelRequest) -> AsyncGenerator[AsyncIterator[StreamEvent], None]:
        self.times.append(trio.current_time())
        self.requests.append(request)
        outcome = self.outcomes.pop(0) if len(self.outcomes) > 1 else self.outcomes[0]
        await trio.sleep(self.seconds)
        if isinstance(outcome, ServiceFailed):
            raise outcome
        yield self._play(outcome)

    async def _play(self, outcome: Broken | str) -> AsyncIterator[StreamEvent]:
        if self.body:
            yield RequestSent(self.body)
        for event in outcome.events if isinstance(outcome, Broken) else (TextDelta(outcome),):
            await trio.lowlevel.checkpoint()
            yield event
        if isinstance(outcome, Broken):
            raise outcome.failure
        await trio.sleep(self.seconds)
        yield Stopped("end_turn", Usage(10, 2))


def failed(kind: type[ServiceFailed], retry_after: float | None = None, detail: str = "") -> ServiceFailed:
    failure = kind(detail, Target("the service", "model"))
    failure.retry_after = retry_after
    return failure


def resolved(service: Service, price: Price | None = None) -> Resolved:
    return Resolved(service.name, service, service.name, ModelInfo(price=price))


@attrs.define
class Desk:
    """A caller whose retries come at the latest moment, and its log."""

    service: Service
    spare: Service | None = None
    policy: Policy = attrs.field(factory=lambda: Policy(random=lambda: 0.0))
    price: Price | None = None
    log: list[Entry] = attrs.field(factory=list)
    caller: Caller = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        spare = resolved(self.spare) if self.spare else None
        self.caller = Caller(self.policy, self.log.append, resolved(self.service, self.price), spare)

    async def ask(self, *messages: Message) -> str:
        turn, _ = await self.caller.take_turn("system", messages or (Message("user", (Text("hi"),)),), ())
        return turn.message.text

    def notices(self) -> list[str]:
        return [entry.data["code"] for entry in self.log if entry.type == "notice"]

    def usage(self, key: str) -> object:
        return [entry.data for entry in self.log if entry.type == "usage"][-1][key]


# --- Which failures are tried again, and when ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "times"),
    [
        (failures.RateLimited, [0, 2, 6, 14, 30, 62, 122, 182, 242, 302]),
        (failures.Overloaded, [0, 2, 6, 14, 30, 62, 122, 182, 242, 302]),
        (failures.ServerFailed, [0, 1, 3, 7]),
        (failures.NetworkFailed, [0, 1, 3, 7, 15, 31]),
        (failures.TimedOut, [0, 1, 3]),
        (failures.Authentication, [0]),
        (failures.QuotaExhausted, [0]),
        (failures.ModelNotFound, [0]),
        (failures.ContextOverflow, [0]),
        (failures.BadRequest, [0]),
        (failures.ProtocolBroken, [0]),
    ],
)
async def test_every_class_of_failure_has_its_calls_and_waits(
    autojump_clock: MockClock, kind: type[ServiceFailed], times: list[float]
) -> None:
    desk = Desk(Service([failed(kind)]))
    with pytest.raises(kind):
        await desk.ask()
    assert desk.service.times == times
    assert desk.notices() == ["RETRY"] * (len(times) - 1) + ["GAVE_UP"] * (len(times) > 1)


def test_every_class_of_failure_is_in_this_table() -> None:
    marks = test_every_class_of_failure_has_its_calls_and_waits.pytestmark  # type: ignore[attr-defined]
    assert {case[0] for case in marks[0].args[1]} == set(failures.FAILURES)


async def test_a_call_that_works_in_the_end_is_a_turn_like_any_other(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.ServerFailed), failed(failures.NetworkFailed), "hello"]))
    assert await desk.ask() == "hello"
    assert desk.usage("calls") == 3


async def test_a_failure_that_its_class_would_retry_may_be_final(autojump_clock: MockClock) -> None:
    failure = failures.network_failure("tls", "the certificate has expired")
    desk = Desk(Service([failure]))
    with pytest.raises(failures.NetworkFailed):
        await desk.ask()
    assert (desk.service.times, desk.notices()) == ([0], [])


async def test_a_failure_that_no_service_has_is_not_tried_again(autojump_clock: MockClock) -> None:
    desk = Desk(Service([Broken((), ProviderFailed("the script is at its end"))]))
    with pytest.raises(ProviderFailed, match="at its end"):
        await desk.ask()
    assert len(desk.service.times) == 1


async def test_waits_are_shortened_by_up_to_a_half_at_random(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.ServerFailed), "hello"]), policy=Policy(random=lambda: 1.0))
    await desk.ask()
    assert desk.service.times == [0, 0.5]


@pytest.mark.parametrize(("asked", "times"), [(7.0, [0, 7.0]), (0.0, [0, 2.0]), (300.0, [0, 300.0])])
async def test_a_service_is_not_called_again_before_it_wants_to_be(
    autojump_clock: MockClock, asked: float, times: list[float]
) -> None:
    desk = Desk(Service([failed(failures.RateLimited, asked), "hello"]))
    assert await desk.ask() == "hello"
    assert desk.service.times == times


async def test_a_service_that_wants_to_be_left_alone_for_too_long_is_given_up_at_once(
    autojump_clock: MockClock,
) -> None:
    desk = Desk(Service([failed(failures.RateLimited, 301.0)]))
    with pytest.raises(failures.RateLimited):
        await desk.ask()
    assert trio.current_time() == 0
    assert "301 s" in desk.log[-1].data["text"]


async def test_no_call_is_begun_after_the_deadline_of_a_turn(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.TimedOut)], seconds=900.0))
    with pytest.raises(failures.TimedOut):
        await desk.ask()
    assert desk.service.times == [0, 901.0]
    assert trio.current_time() == 1801.0


async def test_a_turn_has_its_calls_for_itself(autojump_clock: MockClock) -> None:
    outcomes: list[ServiceFailed | Broken | str] = [failed(failures.TimedOut), failed(failures.TimedOut), "hello"]
    desk = Desk(Service([*outcomes, *outcomes]))
    assert [await desk.ask(), await desk.ask()] == ["hello", "hello"]


async def test_a_retry_says_what_failed_and_when_it_comes(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.Overloaded, detail="HTTP 529, Overloaded"), "hello"]))
    await desk.ask()
    [notice] = [entry.data for entry in desk.log if entry.type == "notice" and entry.data["code"] == "RETRY"]
    assert notice["text"] == (
        "the service is overloaded or not ready: HTTP 529, Overloaded; call 2 of 10 in 2.0 s"
    )  # fmt: skip


async def test_a_wait_can_be_cancelled(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.RateLimited, 100.0)]))
    with trio.move_on_after(1) as scope:
        await desk.ask()
    assert scope.cancelled_caught
    assert trio.current_time() == 1


# --- A reply that has begun ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [TextDelta("Hel"), CallStarted("a", "Read")])
async def test_a_reply_that_breaks_off_is_not_asked_for_again(autojump_clock: MockClock, event: StreamEvent) -> None:
    desk = Desk(Service([Broken((event,), failed(failures.NetworkFailed)), "hello"]), Service(["spare"], "spare"))
    with pytest.raises(failures.NetworkFailed):
        await desk.ask()
    assert desk.service.times == [0]


async def test_the_text_of_a_reply_that_breaks_off_is_kept_and_its_calls_are_not(autojump_clock: MockClock) -> None:
    events = (TextDelta("Let me look."), CallStarted("a", "Read"))
    desk = Desk(Service([Broken(events, failed(failures.NetworkFailed))]))
    with pytest.raises(failures.NetworkFailed):
        await desk.ask()
    [message] = [entry.data for entry in desk.log if entry.type == "message"]
    assert message["content"] == [{"type": "text", "text": "Let me look."}]
    assert message["id"] == next(entry.data["message"] for entry in desk.log if entry.type == "text.delta")


async def test_a_stream_that_breaks_before_the_reply_is_tried_again(autojump_clock: MockClock) -> None:
    desk = Desk(Service([Broken((), failed(failures.NetworkFailed)), "hello"], body=b"{}"))
    assert await desk.ask() == "hello"
    assert desk.service.times == [0, 1]


# --- Pacing -------------------------------------------------------------------------------------------------------


async def test_a_service_that_limits_one_caller_makes_all_wait_and_then_go_one_by_one(
    autojump_clock: MockClock,
) -> None:
    first = Desk(Service([failed(failures.RateLimited, 10.0), "hello"]))
    others = [Desk(Service(["hello"]), policy=first.policy) for _ in range(3)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.ask)
        await trio.sleep(1)
        for desk in others:
            nursery.start_soon(desk.ask)
    assert first.service.times == [0, 10.0]
    assert sorted(desk.service.times[0] for desk in others) == [10.0, 10.25, 10.5]


async def test_a_call_that_is_held_back_by_another_says_so(autojump_clock: MockClock) -> None:
    first = Desk(Service([failed(failures.RateLimited, 10.0), "hello"]))
    other = Desk(Service(["hello"]), policy=first.policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.ask)
        await trio.sleep(1)
        nursery.start_soon(other.ask)
    assert other.log[0].data == {
        "level": "info",
        "code": "HELD_BACK",
        "text": "service is not to be called for another 9 s",
    }
    assert first.notices() == ["RETRY", "NO_PRICE"]


async def test_a_service_that_fails_again_makes_those_who_wait_wait_on(autojump_clock: MockClock) -> None:
    first = Desk(Service([failed(failures.RateLimited, 10.0), failed(failures.RateLimited, 20.0), "hello"]))
    other = Desk(Service(["hello"]), policy=first.policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.ask)
        await trio.sleep(9)
        nursery.start_soon(other.ask)
        await trio.sleep(0.5)
        first.policy.pace("service", "service").hold(5.0)
    assert other.service.times[0] >= 14.5


async def test_a_server_that_breaks_on_one_request_holds_nobody_else_back(autojump_clock: MockClock) -> None:
    first = Desk(Service([failed(failures.ServerFailed), "hello"]))
    other = Desk(Service(["hello"]), policy=first.policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.ask)
        await trio.sleep(0.5)
        nursery.start_soon(other.ask)
    assert other.service.times == [0.5]


async def test_another_model_of_the_service_need_not_wait(autojump_clock: MockClock) -> None:
    first = Desk(Service([failed(failures.RateLimited, 10.0), "hello"]))
    other = Desk(Service(["hello"], "other"), policy=first.policy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.ask)
        await trio.sleep(1)
        nursery.start_soon(other.ask)
    assert other.service.times == [1.0]


# --- Fallback -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "times"),
    [
        (failed(failures.Overloaded), [0, 2, 6]),
        (failed(failures.RateLimited), [0, 2, 6]),
        (failed(failures.RateLimited, 11.0), [0]),
        (failed(failures.NetworkFailed), [0, 1, 3]),
        (failed(failures.ServerFailed), [0, 1, 3]),
        (failed(failures.TimedOut), [0, 1, 3]),
        (failed(failures.QuotaExhausted), [0]),
        (failures.network_failure("tls", "expired"), [0]),
    ],
)
async def test_a_model_that_cannot_be_had_is_replaced_soon(
    autojump_clock: MockClock, failure: ServiceFailed, times: list[float]
) -> None:
    desk = Desk(Service([failure]), Service(["from the spare"], "spare"))
    assert await desk.ask() == "from the spare"
    assert desk.service.times == times
    assert desk.notices()[-2:] == ["FALLBACK", "NO_PRICE"]
    assert (desk.usage("model"), desk.usage("calls")) == ("spare", len(times) + 1)


@pytest.mark.parametrize(
    "kind",
    [
        failures.Authentication,
        failures.ModelNotFound,
        failures.ContextOverflow,
        failures.BadRequest,
        failures.ProtocolBroken,
    ],
)
async def test_a_failure_that_somebody_has_to_mend_is_not_papered_over(
    autojump_clock: MockClock, kind: type[ServiceFailed]
) -> None:
    desk = Desk(Service([failed(kind)]), Service(["from the spare"], "spare"))
    with pytest.raises(kind):
        await desk.ask()


async def test_the_fallback_serves_the_rest_of_the_job(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.QuotaExhausted), "never"]), Service(["one", "two"], "spare"))
    assert [await desk.ask(), await desk.ask()] == ["one", "two"]
    assert len(desk.service.times) == 1


async def test_a_fallback_that_fails_is_tried_as_long_as_any_model_that_has_none(autojump_clock: MockClock) -> None:
    spare = Service([failed(failures.TimedOut)], "spare")
    desk = Desk(Service([failed(failures.QuotaExhausted)]), spare)
    with pytest.raises(failures.TimedOut):
        await desk.ask()
    assert spare.times == [0, 1, 3]


async def test_a_model_that_is_still_held_back_is_not_waited_for_where_there_is_a_fallback(
    autojump_clock: MockClock,
) -> None:
    policy = Policy(random=lambda: 0.0)
    first = Desk(Service([failed(failures.RateLimited, 120.0)]), Service(["one"], "spare"), policy)
    await first.ask()
    second = Desk(Service(["never"]), Service(["two"], "spare"), policy)
    assert await second.ask() == "two"
    assert (second.service.times, trio.current_time()) == ([], 0)


async def test_thinking_of_another_model_is_not_shown_to_the_one_that_serves(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.QuotaExhausted)]), Service(["one", "two"], "spare"))
    thought = (Thinking("hm", "signed"), Text("I see."))
    theirs, own = Message("assistant", thought, "1", "service"), Message("assistant", thought, "2", "spare")
    await desk.ask(theirs, own)
    assert desk.spare is not None
    assert [message.content for message in desk.spare.requests[0].messages] == [thought[1:], thought]


# --- What a call took ---------------------------------------------------------------------------------------------


async def test_the_record_of_a_call_says_what_it_took(autojump_clock: MockClock) -> None:
    desk = Desk(Service([failed(failures.ServerFailed), "hello"], seconds=2.0), price=Price(1.0, 10.0))
    await desk.ask()
    [usage] = [entry.data for entry in desk.log if entry.type == "usage"]
    sent = usage.pop("sent")
    assert (list(sent), sent["tools"], sent["context"]) == (
        ["messages", "system", "tools", "context", "material"],
        {},
        None,
    )
    assert usage == {
        "input_tokens": 10,
        "output_tokens": 2,
        "cached_tokens": 0,
        "written_tokens": 0,
        "cost": 3e-05,
        "output_cost": 2e-05,
        "model": "service",
        "provider": "service",
        "calls": 2,
        "salvaged": 0,
        "request_bytes": None,
        "prefix_bytes": None,
        "first_ms": 2000,
        "duration_ms": 4000,
        "stop": "end_turn",
    }


async def test_the_record_of_a_call_says_how_much_of_its_request_was_sent_before(autojump_clock: MockClock) -> None:
    desk = Desk(Service(["hello"], body=b'{"messages":[1'))
    await desk.ask()
    assert (desk.usage("request_bytes"), desk.usage("prefix_bytes")) == (14, 0)
    desk.service.body += b",2]"
    await desk.ask()
    assert (desk.usage("request_bytes"), desk.usage("prefix_bytes")) == (17, 14)


async def test_a_price_that_is_not_known_is_null_and_told_once(autojump_clock: MockClock) -> None:
    desk = Desk(Service(["one", "two"]))
    await desk.ask()
    await desk.ask()
    assert desk.usage("cost") is None
    assert desk.notices() == ["NO_PRICE"]
