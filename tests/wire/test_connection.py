"""What one client meets: answers, keep-alive, refusals, time-outs. Over a real unix socket, in virtual time."""

from __future__ import annotations

import math
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.errors import InvalidRequest
from agentd.wire.limits import Limits
from agentd.wire.messages import ChunkedResponse, FileResponse, Request, Response
from agentd.wire.routing import Mount, Routes

if TYPE_CHECKING:
    from tests.wire.conftest import RawClient, Start

GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO = b'{"hello":"world"}'
SECONDS = Limits()


def post(body: bytes, path: str = "/echo", extra: bytes = b"") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    return head + extra + b"\r\n" + body


def chunked(*chunks: bytes, path: str = "/echo") -> bytes:
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks,)) + b"0\r\n\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + coded


@pytest.fixture
async def client(start: Start, routes: Routes) -> RawClient:
    house = await start(routes)
    connected: RawClient = await house.connect()
    return connected


# --- Answers ------------------------------------------------------------------------------------------------------


async def test_a_get_is_answered_and_the_connection_is_kept(client: RawClient) -> None:
    for _ in range(3):
        answer = await client.ask(GET)
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, HELLO, "17")
        assert "connection" not in answer.headers


async def test_a_small_answer_leaves_in_one_piece(client: RawClient) -> None:
    await client.send(GET)
    data = await client.read()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(HELLO)


async def test_a_body_comes_back_whole_however_it_was_sent(client: RawClient) -> None:
    body = b"x" * 300_000
    assert (await client.ask(post(body))).body == body
    assert (await client.ask(chunked(b"ab", b"c" * 100_000, b"d"))).body == b"ab" + b"c" * 100_000 + b"d"


async def test_requests_sent_one_byte_at_a_time_are_answered_like_any(client: RawClient) -> None:
    await client.send(post(b"hello") + chunked(b"wo", b"rld") + GET, one_at_a_time=True)
    assert [(await client.answer()).body for _ in range(3)] == [b"hello", b"world", HELLO]


async def test_pipelined_requests_are_answered_in_order(client: RawClient) -> None:
    await client.send(b"".join(post(b"%d" % n) for n in range(50)) + GET)
    assert [(await client.answer()).body for _ in range(51)] == [*(b"%d" % n for n in range(50)), HELLO]


async def test_head_gets_the_head_of_the_get(client: RawClient) -> None:
    answer = await client.ask(b"HEAD /hello HTTP/1.1\r\nHost: x\r\n\r\n", method="HEAD")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "17", b"")
    assert (await client.ask(GET)).status == 200


async def test_an_empty_answer_has_no_length_and_no_type(client: RawClient) -> None:
    answer = await client.ask(b"GET /empty HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, set(answer.headers)) == (204, {"date"})


async def test_pieces_go_out_as_chunks_and_the_connection_is_kept(client: RawClient) -> None:
    answer = await client.ask(b"GET /pieces HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"one two three")
    assert (await client.ask(GET)).status == 200


async def test_head_of_pieces_sends_none(client: RawClient) -> None:
    answer = await client.ask(b"HEAD /pieces HTTP/1.1\r\nHost: x\r\n\r\n", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert (await client.ask(GET)).status == 200


async def test_an_http_1_0_client_gets_no_chunks_and_is_hung_up_on(client: RawClient) -> None:
    await client.send(b"GET /pieces HTTP/1.0\r\n\r\n")
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert body == b"one two three"
    assert b"Connection: close" in head
    assert b"chunked" not in head


async def test_connection_close_is_answered_in_kind(client: RawClient) -> None:
    answer = await client.ask(b"GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.headers["connection"] == "close"
    assert await client.read() == b""


async def test_options_for_the_whole_server_are_answered(client: RawClient) -> None:
    assert (await client.ask(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n")).status == 204


async def test_a_half_closed_client_still_gets_its_answer(client: RawClient) -> None:
    await client.send(GET)
    await client.stream.send_eof()
    assert HELLO in await client.read_to_end()


# --- Bodies -------------------------------------------------------------------------------------------------------


async def test_a_client_that_waits_for_100_gets_it(client: RawClient) -> None:
    await client.send(post(b"", extra=b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 5"))
    assert (await client.answer()).status == 100
    await client.send(b"hello")
    assert (await client.answer()).body == b"hello"


async def test_a_client_that_does_not_wait_gets_no_100(client: RawClient) -> None:
    answer = await client.ask(post(b"hello", extra=b"Expect: 100-continue\r\n"))
    assert (answer.status, answer.body) == (200, b"hello")


@pytest.mark.parametrize("path", ["/nothing", "/hello"])
async def test_no_100_for_a_body_that_nobody_wants(client: RawClient, path: str) -> None:
    answer = await client.ask(post(b"", path, b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 5"))
    assert answer.status in (404, 405)
    assert answer.headers["connection"] == "close"


async def test_no_100_and_no_reading_for_a_body_that_is_too_large(start: Start, routes: Routes) -> None:
    client = await (await start(routes, Limits(body=10))).connect()
    answer = await client.ask(post(b"", extra=b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 11"))
    assert answer.status == 413


async def test_a_body_may_be_as_large_as_the_limit_and_no_larger(start: Start, routes: Routes) -> None:
    client = await (await start(routes, Limits(body=10))).connect()
    assert (await client.ask(post(b"x" * 10))).status == 200
    assert (await client.ask(chunked(b"x" * 9, b"y"))).status == 200
    assert (await client.ask(chunked(b"x" * 9, b"yz"))).status == 413


async def test_a_route_has_a_limit_of_its_own(start: Start, routes: Routes) -> None:
    @routes.post("/big", limit=20)
    async def big(app: object, request: Request) -> Response:
        return Response(200, request.body)

    client = await (await start(routes, Limits(body=10))).connect()
    assert (await client.ask(post(b"x" * 20, "/big"))).status == 200
    assert (await client.ask(post(b"x" * 21, "/big"))).status == 413


async def test_a_client_that_is_still_sending_gets_to_read_its_413(start: Start, routes: Routes) -> None:
    client = await (await start(routes, Limits(body=1000))).connect()
    with trio.fail_after(1):
        await client.send(post(b"x" * 5_000_000))  # more than the sockets hold: the server reads on, to nowhere
    assert (await client.answer()).status == 413
    await client.stream.send_eof()
    assert await client.read() == b""


async def test_a_small_body_that_nobody_wants_does_not_cost_the_connection(client: RawClient) -> None:
    await client.send(post(b"x" * 1000, "/nothing") + GET)
    assert [(await client.answer()).status for _ in range(2)] == [404, 200]


async def test_a_streamed_route_takes_the_body_as_it_comes(start: Start, routes: Routes, tmp_path: Path) -> None:
    @routes.post("/upload", streamed=True)
    async def upload(app: object, request: Request) -> Response:
        size = await request.save(tmp_path / "upload", limit=1_000_000)
        return Response(200, b"%d" % size)

    client = await (await start(routes, Limits(body=10))).connect()
    assert (await client.ask(post(b"x" * 700_000, "/upload"))).body == b"700000"
    assert (tmp_path / "upload").read_bytes() == b"x" * 700_000
    assert (tmp_path / "upload").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("request_bytes", [post(b"x" * 2000, "/upload"), chunked(b"x" * 999, b"yy", path="/upload")])
async def test_an_upload_over_its_limit_leaves_no_file(
    start: Start, routes: Routes, tmp_path: Path, request_bytes: bytes
) -> None:
    @routes.post("/upload", streamed=True)
    async def upload(app: object, request: Request) -> Response:
        return Response(200, b"%d" % await request.save(tmp_path / "upload", limit=1000))

    client = await (await start(routes)).connect()
    assert (await client.ask(request_bytes)).status == 413
    assert not (tmp_path / "upload").exists()


async def test_an_upload_that_breaks_off_leaves_no_file_and_is_no_bug(
    start: Start, routes: Routes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    @routes.post("/upload", streamed=True)
    async def upload(app: object, request: Request) -> Response:
        return Response(200, b"%d" % await request.save(tmp_path / "upload"))

    client = await (await start(routes)).connect()
    await client.send(post(b"x" * 2000, "/upload")[:-1])
    await wait_all_tasks_blocked()
    assert (tmp_path / "upload").exists()
    await client.stream.aclose()
    await wait_all_tasks_blocked()
    assert not (tmp_path / "upload").exists()
    assert caplog.text == ""


async def test_a_handler_may_drop_a_streamed_body_in_the_middle(start: Start, routes: Routes) -> None:
    @routes.post("/peek", streamed=True)
    async def peek(app: object, request: Request) -> Response:
        async for chunk in request.chunks():
            return Response(200, chunk[:1])
        return Response(200)

    client = await (await start(routes)).connect()
    assert (await client.ask(post(b"abc" * 1000, "/peek"))).body == b"a"
    assert (await client.ask(GET)).status == 200


async def test_a_malformed_chunk_gets_400_even_in_a_handler(start: Start, routes: Routes) -> None:
    @routes.post("/upload", streamed=True)
    async def upload(app: object, request: Request) -> Response:
        return Response(200, b"".join([chunk async for chunk in request.chunks()]))

    client = await (await start(routes)).connect()
    assert (await client.ask(chunked(b"abc", path="/upload").replace(b"3\r\n", b"?\r\n"))).status == 400


# --- Files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 70_000, 3_000_000])
async def test_a_file_is_sent_whole(start: Start, routes: Routes, tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(range(256)) * (size // 256) + b"x" * (size % 256))

    @routes.get("/file")
    async def file(app: object, request: Request) -> FileResponse:
        return FileResponse(path, "image/png")

    client = await (await start(routes)).connect()
    answer = await client.ask(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.headers["content-type"], answer.body) == ("image/png", path.read_bytes())
    assert (await client.ask(GET)).status == 200


async def test_a_file_that_shrinks_while_it_is_sent_is_cut(
    start: Start, routes: Routes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)

    @routes.get("/file")
    async def file(app: object, request: Request) -> FileResponse:
        return FileResponse(path)

    client = await (await start(routes)).connect()
    await client.send(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    await wait_all_tasks_blocked()
    os.truncate(path, 1000)
    assert len(await client.read_to_end()) < 3_000_000
    assert "FileTooShort" in caplog.text


async def test_a_file_that_is_not_there_is_the_faces_error(start: Start, routes: Routes, tmp_path: Path) -> None:
    @routes.get("/file")
    async def file(app: object, request: Request) -> FileResponse:
        return FileResponse(tmp_path / "missing")

    mount = Mount(routes, None, answer_error=lambda exc: Response(418, type(exc).__name__.encode()))
    client = await (await start([mount])).connect()
    answer = await client.ask(b"GET /file HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, answer.body) == (418, b"FileNotFoundError")


# --- Errors of handlers -------------------------------------------------------------------------------------------


async def test_a_bug_in_a_handler_is_a_500_that_tells_nothing(
    start: Start, routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    @routes.get("/bug")
    async def bug(app: object, request: Request) -> Response:
        raise RuntimeError("secret")

    client = await (await start(routes)).connect()
    answer = await client.ask(b"GET /bug HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, b"secret" in answer.body) == (500, False)
    assert "secret" in caplog.text
    assert (await client.ask(GET)).status == 200


async def test_a_field_with_a_line_break_is_a_500_and_not_two_fields(start: Start, routes: Routes) -> None:
    @routes.get("/split")
    async def split(app: object, request: Request) -> Response:
        return Response(200, headers=[("Location", request.query["to"])])

    client = await (await start(routes)).connect()
    answer = await client.ask(b"GET /split?to=a%0d%0aSet-Cookie:%20b HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (answer.status, "set-cookie" in answer.headers) == (500, False)


async def test_pieces_that_fail_before_the_first_are_an_error_answer(start: Start, routes: Routes) -> None:
    async def failing() -> AsyncIterator[bytes]:
        raise InvalidRequest(["no such archive @ $.name"])
        yield b""

    @routes.get("/export")
    async def export(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(failing())

    client = await (await start(routes)).connect()
    assert (await client.ask(b"GET /export HTTP/1.1\r\nHost: x\r\n\r\n")).status == 400
    assert (await client.ask(GET)).status == 200


async def test_pieces_that_fail_midway_are_cut_so_that_the_client_sees_it(
    start: Start, routes: Routes, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("the disk is gone")

    @routes.get("/export")
    async def export(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(failing())

    client = await (await start(routes)).connect()
    await client.send(b"GET /export HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.read_to_end()).endswith(b"4\r\nsome\r\n")  # and no last chunk
    assert "the disk is gone" in caplog.text


async def test_pieces_end_when_the_client_leaves(start: Start, routes: Routes, autojump_clock: MockClock) -> None:
    closed = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await trio.sleep(math.inf)
        finally:
            closed.set()

    @routes.get("/relay")
    async def relay(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(endless())

    client = await (await start(routes)).connect()
    await client.send(b"GET /relay HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b"first" in await client.read()
    before = trio.current_time()
    await client.stream.aclose()
    await closed.wait()
    assert trio.current_time() == before


# --- Refusals and time-outs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000, 431),
        (b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)
async def test_what_cannot_be_answered_is_refused_and_hung_up_on(client: RawClient, data: bytes, status: int) -> None:
    answer = await client.ask(data)
    assert (answer.status, answer.headers["connection"]) == (status, "close")
    await client.stream.send_eof()
    assert await client.read() == b""


async def test_garbage_after_a_good_request_does_not_cost_its_answer(client: RawClient) -> None:
    await client.send(GET + b"garbage\r\n\r\n")
    assert [(await client.answer()).status for _ in range(2)] == [200, 400]


async def test_a_silent_client_is_hung_up_on_without_a_word(client: RawClient, autojump_clock: MockClock) -> None:
    before = trio.current_time()
    assert await client.read() == b""
    assert trio.current_time() - before == SECONDS.head_seconds


async def test_a_slow_head_gets_408_however_busy_it_looks(client: RawClient, autojump_clock: MockClock) -> None:
    before = trio.current_time()
    with trio.move_on_after(60):
        for byte in GET * 2:
            await client.stream.send_all(bytes([byte]))
            await trio.sleep(0.9)
            if trio.current_time() - before > SECONDS.head_seconds + 1:
                break
    assert (await client.answer()).status == 408


async def test_a_kept_connection_may_be_idle_for_longer_than_a_head(
    client: RawClient, autojump_clock: MockClock
) -> None:
    await client.ask(GET)
    before = trio.current_time()
    assert await client.read() == b""
    assert trio.current_time() - before == SECONDS.idle_seconds


async def test_a_body_that_stops_coming_gets_408(client: RawClient, autojump_clock: MockClock) -> None:
    before = trio.current_time()
    assert (await client.ask(post(b"hello")[:-1])).status == 408
    assert trio.current_time() - before == SECONDS.body_seconds


async def test_a_handler_whose_body_stops_coming_is_cancelled(
    start: Start, routes: Routes, tmp_path: Path, autojump_clock: MockClock
) -> None:
    @routes.post("/upload", streamed=True)
    async def upload(app: object, request: Request) -> Response:
        return Response(200, b"%d" % await request.save(tmp_path / "upload"))

    client = await (await start(routes)).connect()
    assert (await client.ask(post(b"hello", "/upload")[:-1])).status == 408
    assert not (tmp_path / "upload").exists()


async def test_a_slow_handler_has_all_the_time_it_needs(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    @routes.get("/slow")
    async def slow(app: object, request: Request) -> Response:
        await trio.sleep(1000)
        return Response(200)

    client = await (await start(routes)).connect()
    assert (await client.ask(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")).status == 200


async def test_a_client_that_takes_nothing_of_its_answer_is_cut_after_a_minute(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    @routes.get("/large")
    async def large(app: object, request: Request) -> Response:
        return Response(200, b"x" * 10_000_000)

    client = await (await start(routes)).connect()
    await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
    await trio.sleep(SECONDS.stall_seconds + 2)
    assert len(await client.read_to_end()) < 10_000_000


async def test_pieces_for_a_client_that_takes_nothing_end_after_a_minute(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    ended = trio.Event()

    async def endless() -> AsyncIterator[bytes]:
        try:
            while True:
                yield b"x" * 100_000
        finally:
            ended.set()

    @routes.get("/endless")
    async def pieces(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(endless())

    client = await (await start(routes)).connect()
    before = trio.current_time()
    await client.send(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")
    await ended.wait()
    assert trio.current_time() - before == SECONDS.stall_seconds


async def test_a_slow_handler_behind_a_full_socket_is_not_cut(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        yield b"x" * 1_000_000
        await trio.sleep(200)
        yield b"y"

    @routes.get("/slow")
    async def pieces(app: object, request: Request) -> ChunkedResponse:
        return ChunkedResponse(slow())

    client = await (await start(routes)).connect()
    assert (await client.ask(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")).body == b"x" * 1_000_000 + b"y"


async def test_a_client_that_takes_a_little_now_and_then_is_not_cut(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    @routes.get("/large")
    async def large(app: object, request: Request) -> Response:
        return Response(200, b"x" * 2_000_000)

    client = await (await start(routes)).connect()
    await client.send(b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    data = b""
    for _ in range(10):
        await trio.sleep(SECONDS.stall_seconds - 5)
        data += await client.read()
    assert len((data + await client.read_to_end()).partition(b"\r\n\r\n")[2]) == 2_000_000


# --- Mounts -------------------------------------------------------------------------------------------------------


async def test_the_guard_runs_before_path_method_and_body_are_looked_at(start: Start, routes: Routes) -> None:
    mount = Mount(routes, None, guard=lambda request: Response(401, b"who are you?"))
    client = await (await start([mount])).connect()
    assert (await client.ask(GET)).status == 401
    assert (await client.ask(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")).status == 401
    assert (await client.ask(b"BREW /echo HTTP/1.1\r\nHost: x\r\n\r\n")).status == 401
    assert (await client.ask(post(b"x" * 2000))).status == 401
    head = post(b"", extra=b"Expect: 100-continue\r\n").replace(b"Length: 0", b"Length: 9")
    assert (await client.ask(head)).status == 401
