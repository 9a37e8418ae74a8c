"""Calls that go on to an executor: what passes, what does not, and what happens when one side leaves. Contract, §8."""

from __future__ import annotations

import json
from typing import Any

import h11
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from agentd.errors import ExecutorFailed
from agentd.wire.messages import ChunkedResponse, Request
from agentd.wire.routing import respond
from tests.managerapi import Asked, Manager, Talk, head, read_answer
from tests.managerpool import INTERNAL, FakeSeat, Gate

SSE = b'id: 1\nevent: NOTIFICATION\ndata: {"seq":1}\n\n'


def seat_of(manager: Manager, managed: Any) -> FakeSeat:
    seat = managed.seat
    assert isinstance(seat, FakeSeat)
    return seat


# --- What passes --------------------------------------------------------------------------------------------------


async def test_a_post_passes_with_its_body_and_the_executors_own_token(manager: Manager) -> None:
    _, token = await manager.create()
    fields = (
        *(
            "Content-Type: application/json",
            "Idempotency-Key: k",
            "X-Github-Token: g",
            "Accept: a/b",
            "Last-Event-ID: 7",
        ),
        *("Cookie: c=1", "X-Session-Id: other", "X-Forwarded-For: 1.2.3.4", "User-Agent: curl", "Content-Length: 4"),
    )
    async with await manager.call(head("POST", "/v1/jobs", token, *fields) + b"body") as stream:
        status, _, answer = await read_answer(stream)
    asked = json.loads(answer)
    assert (status, asked["method"], asked["target"], asked["body"]) == (200, "POST", "/v1/jobs", "body")
    assert asked["headers"] == {
        "host": "localhost",
        "authorization": f"Bearer {INTERNAL}",
        "accept": "a/b",
        "last-event-id": "7",
        "x-github-token": "g",
        "content-type": "application/json",
        "content-length": "4",
        "idempotency-key": "k",
    }


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT"])
async def test_other_methods_pass_without_a_body(manager: Manager, method: str) -> None:
    _, token = await manager.create()
    fields = ("Content-Type: a/b", "Idempotency-Key: k", "Content-Length: 4")
    async with await manager.call(head(method, "/v1/jobs/x", token, *fields) + b"body") as stream:
        _, _, answer = await read_answer(stream)
    asked = json.loads(answer)
    assert (asked["method"], asked["body"]) == (method, "")
    assert not {"content-type", "idempotency-key"} & set(asked["headers"])


async def test_a_body_of_unknown_length_passes(manager: Manager) -> None:
    _, token = await manager.create()
    raw = head("POST", "/v1/jobs", token, "Transfer-Encoding: chunked") + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    async with await manager.call(raw) as stream:
        assert json.loads((await read_answer(stream))[2])["body"] == "abcde"


async def test_a_body_passes_while_it_comes(manager: Manager) -> None:
    came: list[bytes] = []
    part = trio.Event()

    async def play(talk: Talk, asked: Asked) -> None:
        event = await talk.event()
        came.append(bytes(event.data))
        part.set()
        came.append(await talk.body())
        await talk.answer()

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("POST", "/v1/jobs", token, "Content-Length: 6") + b"abc") as stream:
        with trio.fail_after(5):
            await part.wait()
        await stream.send_all(b"def")
        assert (await read_answer(stream))[0] == 200
    assert came == [b"abc", b"def"]


async def test_an_answer_passes_with_its_status_type_and_the_fields_that_may(manager: Manager) -> None:
    async def play(talk: Talk, asked: Asked) -> None:
        fields = {"retry_after": "1", "content_disposition": "attachment", "x_next_after": "9", "allow": "GET"}
        await talk.answer(
            409, b'{"code":"JOB_IN_PROGRESS"}', content_type="a/b; c=d", set_cookie="c", server="s", **fields
        )

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        status, headers, body = await read_answer(stream)
    headers.pop("date")
    assert (status, body) == (409, b'{"code":"JOB_IN_PROGRESS"}')
    assert headers == {
        "content-type": "a/b; c=d",
        "content-length": "26",
        "retry-after": "1",
        "content-disposition": "attachment",
        "x-next-after": "9",
        "allow": "GET",
    }


async def test_an_answer_without_a_type_is_json(manager: Manager) -> None:
    manager.executor.play = lambda talk, asked: talk.answer(200, b"{}")
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        assert (await read_answer(stream))[1]["content-type"] == "application/json"


async def test_head_and_204_pass_without_a_body_and_the_connection_goes_on(manager: Manager) -> None:
    async def play(talk: Talk, asked: Asked) -> None:
        if asked.method == "HEAD":
            await talk.begin(200, content_length="1234")
            await talk.end()
        else:
            await talk.begin(204, x_next_after="1")
            await talk.end()

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("HEAD", "/v1/jobs/x", token)) as stream:
        status, headers, body = await read_answer(stream, "HEAD")
        assert (status, headers["content-length"], body) == (200, "1234", b"")
        await stream.send_all(head("DELETE", "/v1/jobs/x", token))
        status, headers, _ = await read_answer(stream)
        assert (status, headers["x-next-after"]) == (204, "1")


async def test_a_mount_under_a_prefix_relays_the_rest_of_the_path(manager: Manager) -> None:

    _, token = await manager.create()
    request = Request("GET", "/manager/v1/jobs/a%2Fb?x=%20", {"authorization": f"Bearer {token}"})
    answer = await respond([manager.app.mount("/manager")], request)
    assert isinstance(answer, ChunkedResponse)
    assert b'"/v1/jobs/a%2Fb?x=%20"' in b"".join([piece async for piece in answer.chunks])
    await answer.chunks.aclose()  # type: ignore[attr-defined]


async def test_the_token_alone_says_which_session_is_called(manager: Manager) -> None:
    first, token = await manager.create()
    second, _ = await manager.create()
    seat_of(manager, second).address = "unix:/nowhere"
    body = json.dumps({"sessionId": second.id}).encode()
    raw = head("POST", "/v1/jobs", token, f"X-Session-Id: {second.id}", f"Content-Length: {len(body)}") + body
    async with await manager.call(raw) as stream:
        assert (await read_answer(stream))[0] == 200
    assert first.active == manager.bench.now


async def test_a_session_gets_its_own_zip(manager: Manager) -> None:
    managed, token = await manager.create()
    manager.executor.play = lambda talk, asked: talk.answer(200, b"PK", content_type="application/zip")
    async with await manager.call(head("GET", f"/v1/sessions/{managed.id}", token)) as stream:
        status, headers, body = await read_answer(stream)
    assert (status, headers["content-type"], body) == (200, "application/zip", b"PK")
    assert manager.executor.asked[-1].target == f"/v1/sessions/{managed.id}"


# --- Streams ------------------------------------------------------------------------------------------------------


async def read_until(stream: trio.SocketStream, end: bytes) -> bytes:
    data = b""
    with trio.fail_after(5):
        while not data.endswith(end):
            piece = await stream.receive_some(65536)
            assert piece, data
            data += piece
    return data


async def test_a_stream_begins_before_its_first_byte_and_is_live(manager: Manager) -> None:
    go = trio.Event()

    async def play(talk: Talk, asked: Asked) -> None:
        await talk.begin(content_type="text/event-stream", transfer_encoding="chunked", cache_control="no-cache")
        await go.wait()
        await talk.piece(SSE)
        await trio.sleep_forever()

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/x/events", token, "Accept: text/event-stream")) as stream:
        told = await read_until(stream, b"\r\n\r\n")
        assert b"text/event-stream" in told
        assert b"no-cache" in told
        go.set()
        assert await read_until(stream, b"\r\n") == b"%x\r\n%b\r\n" % (len(SSE), SSE)


async def test_a_stream_that_ends_ends_for_the_client_too(manager: Manager) -> None:
    async def play(talk: Talk, asked: Asked) -> None:
        await talk.begin(content_type="text/event-stream", transfer_encoding="chunked")
        for _ in range(3):
            await talk.piece(SSE)
        await talk.end()

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/x/events", token)) as stream:
        assert (await read_answer(stream))[2] == SSE * 3


async def test_a_client_that_does_not_read_holds_up_its_own_stream_only(manager: Manager) -> None:
    sent = 0

    async def play(talk: Talk, asked: Asked) -> None:
        nonlocal sent
        if asked.target.endswith("quick"):
            await talk.answer()
            return
        await talk.begin(transfer_encoding="chunked")
        while True:
            await talk.piece(b"x" * 65536)
            sent += 1

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/slow", token)):
        await wait_all_tasks_blocked(0.01)
        assert sent < 200  # what the sockets on the way take, and no more: nothing is gathered in between
        async with await manager.call(head("GET", "/v1/jobs/quick", token)) as stream:
            with trio.fail_after(5):
                assert (await read_answer(stream))[0] == 200


# --- What goes wrong ----------------------------------------------------------------------------------------------


async def problem_of(manager: Manager, raw: bytes) -> tuple[int, dict[str, Any]]:
    async with await manager.call(raw) as stream:
        with trio.fail_after(10):
            status, _, body = await read_answer(stream)
    return status, json.loads(body)


async def hang_up(talk: Talk, asked: Asked) -> None:
    await talk.stream.aclose()


async def talk_nonsense(talk: Talk, asked: Asked) -> None:
    await talk.stream.send_all(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("play", [hang_up, talk_nonsense])
async def test_an_executor_that_breaks_off_before_its_answer_is_500_with_the_cause(manager: Manager, play: Any) -> None:
    manager.executor.play = play
    _, token = await manager.create()
    status, told = await problem_of(manager, head("POST", "/v1/jobs", token, "Content-Length: 0"))
    assert (status, told["code"]) == (500, "INTERNAL_ERROR")
    assert told["details"]


async def test_an_executor_that_nobody_reaches_is_500_with_the_cause(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.faces.manager.relay.DYING_SECONDS", 0.01)
    manager.bench.seats.address = "unix:/nowhere"
    _, token = await manager.create()
    status, told = await problem_of(manager, head("GET", "/v1/jobs/x", token))
    assert (status, told["code"]) == (500, "INTERNAL_ERROR")
    assert "No such file" in told["details"]


async def test_an_executor_that_does_not_answer_in_time_is_500(
    manager: Manager, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wait(talk: Talk, asked: Asked) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr("agentd.faces.manager.relay.HEAD_SECONDS", 0.02)
    manager.executor.play = wait
    _, token = await manager.create()
    status, told = await problem_of(manager, head("GET", "/v1/jobs/x", token))
    assert (status, told["code"]) == (500, "INTERNAL_ERROR")
    assert "no answer within" in told["details"]


@pytest.mark.parametrize("fields", [{"content_length": "100"}, {"transfer_encoding": "chunked"}])
async def test_an_executor_that_breaks_off_in_the_middle_of_its_answer_cuts_the_connection(
    manager: Manager, fields: dict[str, str]
) -> None:
    async def play(talk: Talk, asked: Asked) -> None:
        await talk.begin(200, **fields)
        await talk.piece(b"half")
        await talk.stream.aclose()

    manager.executor.play = play
    _, token = await manager.create()
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        with pytest.raises((EOFError, h11.RemoteProtocolError)):
            await read_answer(stream)


@pytest.mark.parametrize("when", ["before the head", "in the stream"])
async def test_a_call_is_dropped_when_its_client_leaves(manager: Manager, when: str) -> None:
    there, gone = trio.Event(), trio.Event()

    async def play(talk: Talk, asked: Asked) -> None:
        if when == "in the stream":
            await talk.begin(transfer_encoding="chunked")
        there.set()
        await talk.gone()
        gone.set()

    manager.executor.play = play
    managed, token = await manager.create()
    stream = await manager.call(head("GET", "/v1/jobs/x/events?wait=60", token))
    await there.wait()
    await wait_all_tasks_blocked()
    assert managed.calls == (0 if when == "in the stream" else 1)
    await stream.aclose()
    with trio.fail_after(5):
        await gone.wait()
    assert managed.calls == 0
    assert seat_of(manager, managed).state == "live"


async def test_a_call_is_dropped_when_its_client_leaves_in_the_middle_of_its_body(manager: Manager) -> None:
    there, gone = trio.Event(), trio.Event()

    async def play(talk: Talk, asked: Asked) -> None:
        await talk.event()
        there.set()
        await talk.gone()
        gone.set()

    manager.executor.play = play
    _, token = await manager.create()
    stream = await manager.call(head("POST", "/v1/jobs", token, "Content-Length: 6") + b"abc")
    await there.wait()
    await stream.aclose()
    with trio.fail_after(5):
        await gone.wait()


async def test_an_answer_that_comes_before_the_body_was_read_is_passed_on(manager: Manager) -> None:
    async def refuse(talk: Talk, asked: Asked) -> None:
        await talk.answer(413, b'{"code":"PAYLOAD_TOO_LARGE"}', connection="close")
        await talk.stream.aclose()

    manager.executor.play = refuse
    _, token = await manager.create()
    raw = head("POST", "/v1/jobs", token, "Content-Length: 50000000", "Expect: 100-continue")
    async with await manager.call(raw) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(pour, stream)
        with trio.fail_after(5):
            status, _, _ = await read_answer(stream)
        nursery.cancel_scope.cancel()
    assert status in (413, 500)  # a reset may overtake what it says


async def pour(stream: trio.SocketStream) -> None:
    try:
        while True:
            await stream.send_all(b"x" * 65536)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return


# --- Executors that come and go -----------------------------------------------------------------------------------


async def test_a_session_without_an_executor_gets_one_with_the_next_call(manager: Manager) -> None:
    managed, token = await manager.create()
    seat = seat_of(manager, managed)
    seat.die()
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        assert (await read_answer(stream))[0] == 200
    assert (seat.launches, manager.pool.taken) == (2, 1)


async def test_an_executor_that_died_unnoticed_is_launched_again_for_the_call_that_found_out(manager: Manager) -> None:
    managed, token = await manager.create()
    seat = seat_of(manager, managed)
    good, seat.address = seat.address, "unix:/nowhere"
    seat.die()
    await seat.up()  # to the address where nobody listens

    async def notice() -> None:
        await wait_all_tasks_blocked(0.01)
        seat.address = good
        seat.die()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(notice)
        async with await manager.call(head("POST", "/v1/jobs", token, "Content-Length: 3") + b"abc") as stream:
            status, _, body = await read_answer(stream)
    assert (status, json.loads(body)["body"]) == (200, "abc")


async def test_an_executor_that_does_not_start_is_503_with_what_it_said_last(manager: Manager) -> None:
    managed, token = await manager.create()
    seat = seat_of(manager, managed)
    seat.die()
    seat.refusal = ExecutorFailed("the executor died 3 times; at last: exit code 7\n  out of memory")
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        status, headers, body = await read_answer(stream)
    told = json.loads(body)
    assert (status, told["code"], headers["retry-after"]) == (503, "SPAWN_FAILED", "60")
    assert told["details"] == "the executor died 3 times; at last: exit code 7\n  out of memory"
    assert manager.pool.get(managed.id) is managed


async def test_a_call_does_not_bring_back_the_executor_of_a_session_that_is_being_removed(manager: Manager) -> None:
    managed, token = await manager.create()
    there, gate = trio.Event(), Gate()
    manager.bench.trees.before_remove = gate
    seat = seat_of(manager, managed)
    seat.die()

    async def hold_up() -> None:
        there.set()
        await gate.reached.wait()

    seat.before_up = hold_up
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream, trio.open_nursery() as nursery:
        await there.wait()
        nursery.start_soon(manager.pool.delete, managed.id)
        status, _, body = await read_answer(stream)
        gate.opened.set()
    assert (status, json.loads(body)["code"]) == (404, "SESSION_NOT_FOUND")
    assert seat.launches == 1


async def test_every_call_is_activity_also_one_that_fails(manager: Manager) -> None:
    managed, token = await manager.create()
    seat_of(manager, managed).die()
    seat_of(manager, managed).refusal = ExecutorFailed("no")
    manager.bench.now += 5000
    async with await manager.call(head("GET", "/v1/jobs/x", token)) as stream:
        await read_answer(stream)
    assert (managed.active, managed.calls) == (manager.bench.now, 0)
