"""Listeners, the number of connections, the orderly end. And the real world: TCP, TLS, curl."""

from __future__ import annotations

import errno
import os
import resource
import socket
import ssl
import stat
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire import server
from agentd.wire.feed import Feed
from agentd.wire.limits import Limits
from agentd.wire.listeners import Listener, ListenFailed, open_tcp_listeners, open_unix_listener
from agentd.wire.messages import Request, Response, StreamResponse
from agentd.wire.routing import Mount, Routes

if TYPE_CHECKING:
    from tests.wire.conftest import FakeSource, Start, Tls

GET = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
HELLO = b'{"hello":"world"}'
Tcp = Callable[..., Any]


# --- Listeners ----------------------------------------------------------------------------------------------------


def test_a_free_port_is_found_and_told() -> None:
    [listener] = open_tcp_listeners("127.0.0.1", 0)
    assert listener.address == f"http://127.0.0.1:{listener.sock.getsockname()[1]}"
    assert listener.is_tcp
    listener.close()


def test_localhost_is_one_port_on_all_its_addresses() -> None:
    listeners = open_tcp_listeners("localhost", 0)
    assert len({listener.sock.getsockname()[1] for listener in listeners}) == 1
    for listener in listeners:
        listener.close()


def test_a_port_that_is_taken_is_a_clear_error() -> None:
    [listener] = open_tcp_listeners("127.0.0.1", 0)
    port = listener.sock.getsockname()[1]
    with pytest.raises(ListenFailed, match=f"cannot listen on 127.0.0.1:{port}: Address already in use"):
        open_tcp_listeners("127.0.0.1", port)
    listener.close()


@pytest.mark.contacts_outside  # to look the name up
@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_a_host_that_is_not_this_machine_is_a_clear_error(host: str) -> None:
    with pytest.raises(ListenFailed, match=f"cannot listen on {host}:0"):
        open_tcp_listeners(host, 0)


def test_a_unix_socket_is_its_owners_alone(tmp_path: Path) -> None:
    listener = open_unix_listener(tmp_path / "s")
    assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
    assert listener.address == f"unix:{tmp_path}/s"
    listener.close()
    assert not (tmp_path / "s").exists()


def test_a_unix_socket_left_behind_is_replaced(tmp_path: Path) -> None:
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "s"))
    left.close()
    open_unix_listener(tmp_path / "s").close()


def test_a_unix_socket_in_use_is_not_replaced(tmp_path: Path) -> None:
    listener = open_unix_listener(tmp_path / "s")
    with pytest.raises(ListenFailed, match="Address already in use"):
        open_unix_listener(tmp_path / "s")
    assert (tmp_path / "s").exists()
    listener.close()


def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with pytest.raises(ListenFailed):
        open_unix_listener(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "precious"


def test_a_unix_socket_may_have_a_long_path(tmp_path: Path) -> None:
    directory = tmp_path / ("d" * 100)
    directory.mkdir()
    listener = open_unix_listener(directory / "s")
    assert (directory / "s").is_socket()
    with pytest.raises(ListenFailed):
        open_unix_listener(directory / "s")
    listener.close()


# --- How many -----------------------------------------------------------------------------------------------------


async def test_one_client_too_many_is_told_to_come_back(start: Start, routes: Routes) -> None:
    house = await start(routes, Limits(connections=2))
    first, second, third = [await house.connect() for _ in range(3)]
    await wait_all_tasks_blocked()
    answer = await third.ask(GET)
    assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
    assert [(await client.ask(GET)).status for client in (first, second)] == [200, 200]
    await first.stream.aclose()
    await wait_all_tasks_blocked()
    assert (await (await house.connect()).ask(GET)).status == 200


async def test_clients_far_over_the_limit_are_just_hung_up_on(start: Start, routes: Routes) -> None:
    house = await start(routes, Limits(connections=1))
    clients = [await house.connect() for _ in range(server.REFUSED + 3)]
    await wait_all_tasks_blocked()
    assert await clients[-1].read() == b""
    assert (await clients[1].answer()).status == 503


async def test_no_more_descriptors_means_a_pause_and_not_the_end(
    start: Start, routes: Routes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "ACCEPT_PAUSE_SECONDS", 0.01)
    house = await start(routes)
    many = OSError(errno.EMFILE, "Too many open files")
    accept, failures = (
        socket.socket.accept,
        [many, ConnectionAbortedError(), many, OSError(errno.EPERM, "Not permitted")],
    )

    def scarce(self: socket.socket) -> Any:
        if failures:
            raise failures.pop(0)
        return accept(self)

    monkeypatch.setattr(socket.socket, "accept", scarce)
    assert (await (await house.connect()).ask(GET)).status == 200
    assert [record.args for record in caplog.records] == [("Too many open files",), ("Not permitted",)]


@pytest.mark.parametrize(("allowed", "room"), [(1024, 896), (256, 128), (64, 32), (-1, 1000), (1 << 20, 1000)])
def test_connections_leave_descriptors_for_everything_else(
    monkeypatch: pytest.MonkeyPatch, allowed: int, room: int
) -> None:
    assert resource.RLIM_INFINITY == -1
    monkeypatch.setattr(resource, "getrlimit", lambda which: (allowed, allowed))
    assert server.room_for(1000) == room


# --- The end ------------------------------------------------------------------------------------------------------


async def test_draining_lets_an_exchange_end_and_hangs_up_on_the_idle(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    @routes.get("/slow")
    async def slow(app: object, request: Request) -> Response:
        await trio.sleep(3)
        return Response(200, b"done")

    house = await start(routes)
    idle, busy = await house.connect(), await house.connect()
    await idle.ask(GET)
    await busy.send(GET.replace(b"/hello", b"/slow"))
    await wait_all_tasks_blocked()
    before = trio.current_time()
    house.scope.cancel()
    assert await idle.read() == b""
    assert trio.current_time() == before
    answer = await busy.answer()
    assert (answer.body, answer.headers["connection"]) == (b"done", "close")
    await house.ended.wait()
    assert trio.current_time() - before == 3


async def test_draining_ends_even_if_a_handler_does_not(
    start: Start, routes: Routes, autojump_clock: MockClock
) -> None:
    @routes.get("/never")
    async def never(app: object, request: Request) -> Response:
        await trio.sleep_forever()
        return Response(200)

    house = await start(routes)
    client = await house.connect()
    await client.send(GET.replace(b"/hello", b"/never"))
    await wait_all_tasks_blocked()
    before = trio.current_time()
    house.scope.cancel()
    await house.ended.wait()
    assert trio.current_time() - before == Limits().drain_seconds
    assert await client.read() == b""


async def test_nobody_gets_in_while_draining(start: Start, routes: Routes) -> None:
    house = await start(routes)
    house.scope.cancel()
    await house.ended.wait()
    assert not house.path.exists()
    with pytest.raises(OSError, match="No such file"):
        await house.connect()


async def test_a_stream_that_ends_while_draining_ends_whole(
    start: Start, routes: Routes, source: FakeSource, autojump_clock: MockClock
) -> None:
    @routes.get("/feed")
    async def feed(app: object, request: Request) -> StreamResponse:
        return StreamResponse(Feed(source))

    house = await start(routes)
    client = await house.connect()
    await client.send(GET.replace(b"/hello", b"/feed"))
    await wait_all_tasks_blocked()
    house.scope.cancel()
    await trio.sleep(1)
    source.add(b"the last words")
    source.end()
    assert (await client.answer()).body == b"the last words"
    await house.ended.wait()


async def test_a_bug_in_the_server_costs_one_connection(
    start: Start, routes: Routes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    house = await start(routes)
    client, other = await house.connect(), await house.connect()
    with monkeypatch.context() as patch:
        patch.setattr("agentd.wire.connection.send_whole", None)
        await client.send(GET)
        assert await client.read() == b""
    assert "a connection failed" in caplog.text
    assert (await other.ask(GET)).status == 200


# --- TCP ----------------------------------------------------------------------------------------------------------


async def tcp_answer(port: int, *fields: str, context: ssl.SSLContext | None = None) -> bytes:
    head = "\r\n".join(["GET /hello HTTP/1.1", *fields, "Connection: close", "", ""])
    if context is None:
        stream: trio.abc.Stream = await trio.open_tcp_stream("127.0.0.1", port)
    else:
        stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context)
    async with stream:
        await stream.send_all(head.encode())
        return b"".join([bytes(piece) async for piece in stream])


@pytest.mark.parametrize(
    ("hosts", "fields", "status"),
    [
        ((), ["Host: localhost"], b"200"),
        ((), ["Host: evil.example"], b"403"),
        ((), ["Host: localhost", "Origin: http://evil.example"], b"403"),
        (["agents.example"], ["Host: agents.example", "Origin: https://agents.example"], b"200"),
        (None, ["Host: evil.example", "Origin: http://evil.example"], b"200"),
    ],
)
async def test_a_tcp_listener_checks_host_and_origin(tcp: Tcp, hosts: Any, fields: list[str], status: bytes) -> None:
    answer = await tcp_answer(await tcp(hosts=hosts), *fields)
    assert answer.startswith(b"HTTP/1.1 " + status)


async def test_a_foreign_host_is_refused_before_the_guard_is_asked(tcp: Tcp, routes: Routes) -> None:
    mount = Mount(routes, None, guard=lambda request: Response(401))
    assert (await tcp_answer(await tcp(mounts=[mount]), "Host: evil.example")).startswith(b"HTTP/1.1 403")


async def test_an_absolute_target_is_checked_like_a_host(tcp: Tcp) -> None:
    port = await tcp()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET http://evil.example/hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await stream.receive_some(100)).startswith(b"HTTP/1.1 403")


async def test_a_handler_is_told_who_asks(tcp: Tcp, routes: Routes) -> None:
    @routes.get("/peer")
    async def peer(app: object, request: Request) -> Response:
        return Response(200, request.peer.encode())

    port = await tcp()
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"GET /peer HTTP/1.1\r\nHost: localhost\r\n\r\n")
        host, own_port = stream.socket.getsockname()
        assert (await stream.receive_some(1000)).endswith(f"{host}:{own_port}".encode())


async def test_tls_is_served(tcp: Tcp, tls: Tls) -> None:
    answer = await tcp_answer(await tcp(tls=tls.server), "Host: 127.0.0.1", context=tls.client)
    assert answer.endswith(HELLO)


async def test_streams_and_files_go_over_tls_too(tcp: Tcp, tls: Tls, routes: Routes, source: FakeSource) -> None:
    @routes.get("/feed")
    async def stream_feed(app: object, request: Request) -> StreamResponse:
        return StreamResponse(Feed(source))

    port = await tcp(tls=tls.server)
    source.add(b"x" * 1_000_000)
    async with await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=tls.client) as stream:
        await stream.send_all(b"GET /feed HTTP/1.0\r\n\r\n")
        data = bytes(await stream.receive_some(10))
        for n in range(5):
            source.add(b"live %d" % n)
            while b"live %d" % n not in data[-100:]:
                data += await stream.receive_some(65536)
        source.end()
        data += b"".join([bytes(piece) async for piece in stream])
    assert data.partition(b"\r\n\r\n")[2] == b"x" * 1_000_000 + b"".join(b"live %d" % n for n in range(5))


async def test_plain_bytes_at_a_tls_port_cost_one_connection(tcp: Tcp, tls: Tls) -> None:
    port = await tcp(tls=tls.server)
    assert b"HTTP" not in await tcp_answer(port, "Host: 127.0.0.1")
    assert (await tcp_answer(port, "Host: 127.0.0.1", context=tls.client)).endswith(HELLO)


# --- curl ---------------------------------------------------------------------------------------------------------


async def curl(*words: str) -> str:
    command = partial(subprocess.run, ["curl", "-sS", "--max-time", "20", *words], capture_output=True, text=True)
    done = await trio.to_thread.run_sync(command)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_curl_talks_to_us(require: Callable[[str], str], tcp: Tcp, tmp_path: Path) -> None:
    require("curl")
    url = f"http://127.0.0.1:{await tcp()}"
    assert (
        await curl(f"{url}/hello", f"{url}/pieces", f"{url}/hello") == f"{HELLO.decode()}one two three{HELLO.decode()}"
    )
    assert "content-length: 17" in (await curl("-I", f"{url}/hello")).lower()
    (tmp_path / "big").write_bytes(os.urandom(3_000_000))
    for extra in (["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"], ["-0"]):
        await curl(*extra, "--data-binary", f"@{tmp_path}/big", "-o", f"{tmp_path}/back", f"{url}/echo")
        assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


async def test_curl_gets_to_read_its_413(require: Callable[[str], str], tcp: Tcp, tmp_path: Path) -> None:
    require("curl")
    url = f"http://127.0.0.1:{await tcp(limits=Limits(body=1000))}"
    (tmp_path / "big").write_bytes(b"x" * 5_000_000)
    for extra in (["-H", "Expect:"], ["-H", "Expect: 100-continue"], ["-H", "Transfer-Encoding: chunked"]):
        assert "PAYLOAD_TOO_LARGE" in await curl(*extra, "--data-binary", f"@{tmp_path}/big", f"{url}/echo")


async def test_curl_follows_a_stream(
    require: Callable[[str], str], tcp: Tcp, routes: Routes, source: FakeSource
) -> None:
    require("curl")

    @routes.get("/feed")
    async def feed(app: object, request: Request) -> StreamResponse:
        return StreamResponse(Feed(source))

    url = f"http://127.0.0.1:{await tcp()}"
    source.add(b"data: one\n\n")
    source.end()
    assert await curl("-N", f"{url}/feed") == "data: one\n\n"


def test_a_closed_listener_can_be_closed_again(tmp_path: Path) -> None:
    listener: Listener = open_unix_listener(tmp_path / "s")
    listener.close()
    (tmp_path / "s").write_text("another's by now")
    listener.close()
    assert (tmp_path / "s").exists()
