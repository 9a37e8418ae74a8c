from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.tools.mcp import handshake, rounds
from agentd.tools.mcp.pending import PATIENCE, RequestTimedOut, Watch
from agentd.tools.mcp.session import ELICITATIONS, SERVED_AT_ONCE, Session
from agentd.tools.mcp.transport import TransportClosed, TransportFailed
from agentd.wire.jsonrpc import METHOD_NOT_FOUND, RpcError
from tests.tools.mcp.conftest import OpenSession, Told
from tests.tools.mcp.fake import text

ASK = {"jsonrpc": "2.0", "id": "s1"}
FORM = {"message": "Who?", "requestedSchema": {"type": "object", "properties": {}}}


def watched(lines: list[str], call: str = "call_1") -> Watch:
    return Watch(lines.append, call)


async def call(session: Session, name: str, seconds: float = 60.0, watch: Watch | None = None) -> dict[str, Any]:
    return await session.request("tools/call", {"name": name}, seconds=seconds, watch=watch)


def told_text(result: dict[str, Any]) -> Any:
    return json.loads(result["content"][0]["text"])


async def test_requests_that_overlap_get_their_own_answers(opened: OpenSession, autojump_clock: MockClock) -> None:
    slow = [{"sleep": 5}, {"answer": text("slow")}]
    async with opened({"on": {"tools/call slow": slow, "tools/call quick": [{"answer": text("quick")}]}}) as (
        session,
        _,
    ):
        results: list[str] = []

        async def ask(name: str) -> None:
            results.append((await call(session, name))["content"][0]["text"])

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "slow")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, "quick")
        assert results == ["quick", "slow"]


async def test_a_request_that_is_not_answered_times_out_and_is_called_off(
    opened: OpenSession, autojump_clock: MockClock
) -> None:
    async with opened({"on": {"tools/call": []}}) as (session, transport):
        with pytest.raises(RequestTimedOut):
            await call(session, "x", 7)
        assert trio.current_time() == 7
        await wait_all_tasks_blocked()
        assert [heard["method"] for heard in transport.server.heard] == ["tools/call", "notifications/cancelled"]
        assert transport.server.heard[1]["params"]["requestId"] == transport.server.heard[0]["id"]


async def test_who_gives_up_calls_the_request_off(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({"on": {"tools/call": []}}) as (session, transport):
        with trio.move_on_after(3):
            await call(session, "x")
        await wait_all_tasks_blocked()
        assert [heard["method"] for heard in transport.server.heard] == ["tools/call", "notifications/cancelled"]


async def test_a_server_that_reads_nothing_holds_nobody_up(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({}) as (session, transport):
        transport.reads = False
        with pytest.raises(RequestTimedOut):
            await call(session, "x", 7)
        assert trio.current_time() == 7


async def test_progress_sets_the_clock_back(opened: OpenSession, autojump_clock: MockClock) -> None:
    lines: list[str] = []
    progress = {"jsonrpc": "2.0", "method": "notifications/progress"}
    steps: list[Any] = []
    for done in (1, 2):
        params = {"progressToken": "$id", "progress": done, "total": 3, "message": f"step\n{done}"}
        steps += [{"sleep": 8}, {"say": {**progress, "params": params}}]
    async with opened({"on": {"tools/call": [*steps, {"sleep": 8}, {"answer": text("done")}]}}) as (session, _):
        assert (await call(session, "x", 10, watched(lines)))["content"][0]["text"] == "done"
        assert trio.current_time() == 24
        assert lines == ["[1/3] step 1\n", "[2/3] step 2\n"]


async def test_progress_that_stands_still_does_not(opened: OpenSession, autojump_clock: MockClock) -> None:
    params = {"progressToken": "$id", "progress": 1}
    step = {"say": {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}}
    async with opened({"on": {"tools/call": [step, *[{"sleep": 8}, step] * 3]}}) as (session, _):
        with pytest.raises(RequestTimedOut):
            await call(session, "x", 10, watched([]))
        assert trio.current_time() == 10


async def test_progress_is_listened_to_for_so_long_only(opened: OpenSession, autojump_clock: MockClock) -> None:
    steps: list[Any] = []
    for done in range(1000):
        params = {"progressToken": "$id", "progress": done}
        steps += [{"sleep": 8}, {"say": {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}}]
    async with opened({"on": {"tools/call": steps}}) as (session, _):
        with pytest.raises(RequestTimedOut):
            await call(session, "x", 10, watched([]))
        assert trio.current_time() == 10 * PATIENCE


STRANGE = [
    {"progressToken": "$id", "progress": 10**400},
    {"progressToken": "$id", "progress": "1"},
    {"progressToken": "$id", "progress": True},
    {"progressToken": "$id", "progress": 1, "total": 10**400, "message": 5},
    {"progressToken": 77, "progress": 2},
    {"progressToken": [], "progress": 2},
    {},
]


@pytest.mark.parametrize("params", STRANGE)
async def test_strange_progress_does_no_harm(
    opened: OpenSession, autojump_clock: MockClock, params: dict[str, Any]
) -> None:
    step = {"say": {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}}
    async with opened({"on": {"tools/call": [step, {"answer": text("done")}]}}) as (session, _):
        assert await call(session, "x", 10, watched([])) == text("done")


LIES: dict[str, list[Any]] = {
    "no JSON": [{"raw": "Starting up...\n"}],
    "half a message": [{"raw": '{"jsonrpc":"2.0","id":'}],
    "bytes that are no text": [{"raw": "\udcff".encode("utf-8", "surrogatepass").decode("latin-1")}],
    "an answer to nobody": [{"say": {"jsonrpc": "2.0", "id": 99, "result": {}}}],
    "an answer whose id is a text": [{"say": {"jsonrpc": "2.0", "id": "1", "result": {}}}],
    "an error without an id": [{"say": {"jsonrpc": "2.0", "id": None, "error": {"code": 1, "message": "?"}}}],
    "a batch": [{"say": [{"jsonrpc": "2.0", "id": 1, "result": {}}]}],
    "a request of an unknown method": [{"say": {**ASK, "method": "x/y"}}],
    "a log of anything": [{"say": {"jsonrpc": "2.0", "method": "notifications/message", "params": {"data": [1]}}}],
    "a log of nothing": [{"say": {"jsonrpc": "2.0", "method": "notifications/message"}}],
    "a cancellation of nothing": [{"say": {"jsonrpc": "2.0", "method": "notifications/cancelled"}}],
    "a cancellation of our request": [
        {"say": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "$id"}}}
    ],
    "a cancellation of a list": [
        {"say": {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": []}}}
    ],
}


@pytest.mark.parametrize("lie", LIES)
async def test_what_is_no_answer_is_passed_over(opened: OpenSession, autojump_clock: MockClock, lie: str) -> None:
    async with opened({"on": {"tools/call": [*LIES[lie], {"sleep": 1}, {"answer": text("true")}]}}) as (session, _):
        session.version = "2025-11-25"
        assert await call(session, "x") == text("true")


async def test_the_first_of_two_answers_counts(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({"on": {"tools/call": [{"answer": text("one")}, {"answer": text("two")}]}}) as (session, _):
        assert await call(session, "x") == text("one")
        assert await session.request("ping", seconds=5) == {}


@pytest.mark.parametrize("result", [None, 5, "x", [], True])
async def test_a_result_that_is_no_object_is_a_failure(opened: OpenSession, result: Any) -> None:
    async with opened({"on": {"tools/call": [{"answer": result}]}}) as (session, _):
        with pytest.raises(TransportFailed, match="no object"):
            await call(session, "x")


async def test_who_floods_is_made_to_wait(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({"on": {"tools/call": [{"raw": "{}", "repeat": 1000}, {"answer": text("done")}]}}) as (
        session,
        _,
    ):
        assert await call(session, "x") == text("done")
        assert session.garbage == 1000
        assert trio.current_time() == pytest.approx(1.0)


async def test_who_sends_much_is_made_to_wait_too(opened: OpenSession, autojump_clock: MockClock) -> None:
    garbage = {"raw": "x" * 163_840, "repeat": 100}
    async with opened({"on": {"tools/call": [garbage, {"answer": text("done")}]}}) as (session, _):
        assert await call(session, "x") == text("done")
        assert trio.current_time() == pytest.approx(1.1, abs=0.1)


async def test_a_connection_that_ends_ends_every_request(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({"on": {"tools/call": [], "tools/call last": [{"close": True}]}}) as (session, _):
        failures: list[str] = []

        async def ask(name: str) -> None:
            try:
                await call(session, name)
            except TransportClosed as exc:
                failures.append(str(exc))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "first")
            await wait_all_tasks_blocked()
            nursery.start_soon(ask, "last")
        assert failures == ["it hung up", "it hung up"]
        with pytest.raises(TransportClosed):
            await call(session, "more")


# --- What a server asks -------------------------------------------------------------------------------------------


async def reply(opened: OpenSession, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
    """What a server is answered that asks something during a call."""
    asked = {**ASK, "method": method, **({"params": params} if params is not None else {})}
    async with opened({"on": {"tools/call": [{"await_reply": True}, {"say": asked}]}}) as (session, _):
        told: dict[str, Any] = told_text(await call(session, "x", watch=watched([])))
        return told


async def test_a_ping_is_answered(opened: OpenSession) -> None:
    assert await reply(opened, "ping") == {**ASK, "result": {}}


async def test_roots_are_told(opened: OpenSession) -> None:
    assert (await reply(opened, "roots/list"))["result"] == {"roots": [{"uri": "file:///w"}]}


@pytest.mark.parametrize("method", ["sampling/createMessage", "tasks/get", "initialize", ""])
async def test_what_is_not_offered_is_refused(opened: OpenSession, method: str) -> None:
    assert (await reply(opened, method, {}))["error"]["code"] == METHOD_NOT_FOUND


async def test_an_elicitation_is_asked_and_answered(opened: OpenSession, told: Told) -> None:
    answer = await reply(opened, "elicitation/create", FORM)
    assert answer["result"] == {"action": "accept", "content": {"name": "Ann"}}
    assert told.asked == [(FORM, "call_1")]


async def test_nobody_is_asked_while_the_server_is_not_used(opened: OpenSession, told: Told) -> None:
    async with opened({}) as (_, transport):
        await transport.say({**ASK, "method": "elicitation/create", "params": FORM})
        await wait_all_tasks_blocked()
        assert transport.server.heard == [{**ASK, "result": {"action": "cancel"}}]
        assert told.asked == []


async def test_clocks_stand_while_a_person_thinks(opened: OpenSession, told: Told, autojump_clock: MockClock) -> None:
    told.thinks = 500
    asked = {**ASK, "method": "elicitation/create", "params": FORM}
    async with opened({"on": {"tools/call": [{"await_reply": True}, {"sleep": 5}, {"say": asked}]}}) as (session, _):
        assert told_text(await call(session, "x", 10, watched([])))["result"]["action"] == "accept"
        assert trio.current_time() == 505


async def test_clocks_go_on_when_a_person_has_thought(
    opened: OpenSession, told: Told, autojump_clock: MockClock
) -> None:
    told.thinks = 500
    asked = {**ASK, "method": "elicitation/create", "params": FORM}
    async with opened({"on": {"tools/call": [{"say": asked}]}}) as (session, _):
        with pytest.raises(RequestTimedOut):
            await call(session, "x", 10, watched([]))
        assert trio.current_time() == 510


async def test_a_server_may_take_back_what_it_asked(opened: OpenSession, told: Told, autojump_clock: MockClock) -> None:
    told.thinks = 500
    asked = {**ASK, "method": "elicitation/create", "params": FORM}
    undo = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s1"}}
    steps = [{"say": asked}, {"sleep": 2}, {"say": undo}, {"answer": text("never mind")}]
    async with opened({"on": {"tools/call": steps}}) as (session, transport):
        assert await call(session, "x", watch=watched([])) == text("never mind")
        await trio.sleep(1000)
        assert [heard.get("method") for heard in transport.server.heard] == ["tools/call"]


async def test_a_person_is_not_asked_for_ever(opened: OpenSession, told: Told) -> None:
    async with opened({"on": {"tools/call": []}}) as (session, transport):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, session, "x", 60.0, watched([]))
            for number in range(ELICITATIONS + 3):
                await wait_all_tasks_blocked()
                await transport.say({**ASK, "id": number, "method": "elicitation/create", "params": FORM})
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        assert len(told.asked) == ELICITATIONS


async def test_so_many_requests_of_a_server_are_served_at_once(
    opened: OpenSession, told: Told, autojump_clock: MockClock
) -> None:
    told.thinks = 5
    async with opened({"on": {"tools/call": []}}) as (session, transport):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, session, "x", 60.0, watched([]))
            await wait_all_tasks_blocked()
            for number in range(50):
                await transport.say({**ASK, "id": number, "method": "elicitation/create", "params": FORM})
            await trio.sleep(10)
            nursery.cancel_scope.cancel()
        assert len(told.asked) == SERVED_AT_ONCE


async def test_a_log_goes_to_the_only_call_there_is(opened: OpenSession, told: Told) -> None:
    log = {"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "notice", "data": "a\x1b[2Jb"}}
    lines: list[str] = []
    async with opened({"on": {"tools/call": [{"say": log}, {"answer": text("done")}]}}) as (session, transport):
        await call(session, "x", watch=watched(lines))
        assert lines == ["[info] a [2Jb\n"]
        await transport.say(log)
        await wait_all_tasks_blocked()
        assert told.logged == [("info", "a [2Jb")]


# --- How it begins ------------------------------------------------------------------------------------------------


async def test_a_legacy_server_is_asked_and_then_initialized(opened: OpenSession) -> None:
    async with opened({"capabilities": {"logging": {}}}) as (session, transport):
        await handshake.agree(session, seconds=5)
        assert (session.version, transport.version) == ("2025-11-25", "2025-11-25")
        assert session.can("logging")
        assert session.instructions == "Be careful."
        await wait_all_tasks_blocked()
        said = [heard["method"] for heard in transport.server.heard]
        assert said == ["server/discover", "initialize", "notifications/initialized"]
        assert transport.server.heard[1]["params"]["capabilities"] == {
            "roots": {},
            "elicitation": {"form": {}, "url": {}},
        }


@pytest.mark.parametrize("version", ["2025-06-18", "2025-03-26", "2024-11-05"])
async def test_older_revisions_are_spoken(opened: OpenSession, version: str) -> None:
    async with opened({"version": version}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert session.version == version


async def test_a_revision_that_nobody_knows_is_not(opened: OpenSession) -> None:
    async with opened({"version": "1999-01-01"}) as (session, _):
        with pytest.raises(TransportFailed, match="1999-01-01"):
            await handshake.agree(session, seconds=5)


@pytest.mark.parametrize("era", ["modern", "both"])
async def test_a_modern_server_gets_its_metadata_with_every_request(opened: OpenSession, era: str) -> None:
    async with opened({"era": era}) as (session, transport):
        await handshake.agree(session, seconds=5)
        await session.request("tools/call", {"name": "x"}, seconds=5)
        for heard in transport.server.heard:
            assert heard["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
            assert "elicitation" in heard["params"]["_meta"]["io.modelcontextprotocol/clientCapabilities"]
        assert [heard["method"] for heard in transport.server.heard] == ["server/discover", "tools/call"]


async def test_silence_is_legacy(opened: OpenSession, autojump_clock: MockClock) -> None:
    async with opened({"on": {"server/discover": []}}) as (session, transport):
        await handshake.agree(session, seconds=5)
        assert trio.current_time() == 2
        await wait_all_tasks_blocked()
        said = [heard["method"] for heard in transport.server.heard]
        assert said == ["server/discover", "initialize", "notifications/initialized"]


@pytest.mark.parametrize("code", [-32601, -32602, -32600, -32700, -32000, 0, 5])
async def test_any_error_that_is_not_modern_is_legacy(opened: OpenSession, code: int) -> None:
    async with opened({"on": {"server/discover": [{"error": {"code": code, "message": "?"}}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert session.version == "2025-11-25"


async def test_so_is_an_error_without_an_id(opened: OpenSession, autojump_clock: MockClock) -> None:
    said = {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "?"}}
    async with opened({"on": {"server/discover": [{"say": said}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert trio.current_time() == 0


async def test_a_server_of_other_modern_revisions_only_is_refused(opened: OpenSession) -> None:
    error = {"code": -32022, "message": "no", "data": {"supported": ["2030-01-01"]}}
    async with opened({"on": {"server/discover": [{"error": error}]}}) as (session, transport):
        with pytest.raises(TransportFailed, match="none of the versions"):
            await handshake.agree(session, seconds=5)
        assert len(transport.server.heard) == 1


async def test_a_server_that_was_slow_to_say_that_it_is_modern_is_asked_again(
    opened: OpenSession, autojump_clock: MockClock
) -> None:
    answer = {"answer": {"supportedVersions": ["2026-07-28"], "capabilities": {}}}
    slow = [{"set": {"on": {"server/discover": [answer], "initialize": [{"error": {"code": -32022, "message": ""}}]}}}]
    async with opened({"on": {"server/discover": [*slow, {"sleep": 3}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert session.is_modern


async def test_batches_are_read_in_the_revision_that_has_them(opened: OpenSession) -> None:
    batch = [{"jsonrpc": "2.0", "method": "notifications/x"}, {"jsonrpc": "2.0", "id": "$id", "result": text("in it")}]
    async with opened({"version": "2025-03-26", "on": {"tools/call": [{"say": batch}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert await call(session, "x") == text("in it")


# --- Several rounds -----------------------------------------------------------------------------------------------


def wanted(state: str | None = None, **requests: Any) -> dict[str, Any]:
    result = {"resultType": "input_required", **({"requestState": state} if state is not None else {})}
    return {"answer": {**result, **({"inputRequests": requests} if requests else {})}}


async def in_rounds(session: Session) -> dict[str, Any]:
    return await rounds.ask(session, "tools/call", {"name": "x"}, seconds=10, watch=watched([]))


async def test_a_request_is_repeated_with_what_was_wanted(opened: OpenSession, told: Told) -> None:
    first = wanted("opaque", who={"method": "elicitation/create", "params": FORM}, where={"method": "roots/list"})
    then = {"set": {"on": {"tools/call": [{"answer": text("done", resultType="complete")}]}}}
    async with opened({"era": "modern", "on": {"tools/call": [then, first]}}) as (session, transport):
        await handshake.agree(session, seconds=5)
        assert (await in_rounds(session))["content"] == text("done")["content"]
        _, one, two = transport.server.heard
        assert one["id"] != two["id"]
        assert two["params"]["requestState"] == "opaque"
        assert two["params"]["inputResponses"] == {
            "who": {"action": "accept", "content": {"name": "Ann"}},
            "where": {"roots": [{"uri": "file:///w"}]},
        }
        assert told.asked == [(FORM, "call_1")]


FAILING = {
    "for ever": wanted("again"),
    "nothing": wanted(),
    "what is not offered": wanted(it={"method": "sampling/createMessage", "params": {}}),
    "too much": {"answer": {"resultType": "input_required", "inputRequests": {str(n): {} for n in range(9)}}},
    "strange things": wanted(it=5),
    "another kind of answer": {"answer": {"resultType": "task"}},
}


@pytest.mark.parametrize("what", FAILING)
async def test_who_wants_what_cannot_be_given_fails(opened: OpenSession, autojump_clock: MockClock, what: str) -> None:
    async with opened({"era": "modern", "on": {"tools/call": [FAILING[what]]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        with pytest.raises(TransportFailed):
            await in_rounds(session)


async def test_a_url_that_has_to_be_visited_first_is(opened: OpenSession, told: Told) -> None:
    visit = {"mode": "url", "url": "https://x.test/", "message": "Log in", "elicitationId": "e"}
    error = {"code": -32042, "message": "first", "data": {"elicitations": [visit]}}
    then = {"set": {"on": {"tools/call": [{"answer": text("done")}]}}}
    async with opened({"on": {"tools/call": [then, {"error": error}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        assert await in_rounds(session) == text("done")
        assert told.asked == [(visit, "call_1")]


async def test_a_url_that_is_not_visited_is_an_error(opened: OpenSession, told: Told) -> None:
    told.answer = {"action": "decline"}
    error = {"code": -32042, "message": "first", "data": {"elicitations": [{"mode": "url", "url": "https://x.test/"}]}}
    async with opened({"on": {"tools/call": [{"error": error}]}}) as (session, _):
        await handshake.agree(session, seconds=5)
        with pytest.raises(RpcError):
            await in_rounds(session)
