"""The proxy of sandboxes: which hosts are reached, what is refused, and what a command in a namespace makes of it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import attrs
import pytest
import trio
from trio.testing import MockClock

from agentd.sandbox import netproxy
from agentd.sandbox.netproxy import HEAD_BYTES, HEAD_SECONDS, MOST_CONNECTIONS, Allowed, forwarder_argv, serve_proxy
from agentd.wire.client import dial
from agentd.wire.proxy import Proxies
from agentd.wire.urlpolicy import UrlPolicy

PUBLIC = "93.184.215.14"
ADDRESSES = {"public.example": [PUBLIC], "inside.example": ["10.0.0.7"], "both.example": [PUBLIC, "127.0.0.1"]}


# --- Which hosts --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("pypi.org", "pypi.org", 443),
        ("pypi.org", "pypi.org", 80),
        ("PyPI.org.", "pypi.org", 443),
        ("*.pypi.org", "files.pypi.org", 443),
        ("*.pypi.org", "a.b.pypi.org", 443),
        ("pypi.org:8443", "pypi.org", 8443),
        ("*.pypi.org:8443", "files.pypi.org", 8443),
        ("127.0.0.1:8000", "127.0.0.1", 8000),
        ("::1", "::1", 443),
        ("[::1]:8000", "::1", 8000),
        ("localhost:8000", "localhost", 8000),
    ],
)
def test_a_pattern_covers_what_it_names(pattern: str, host: str, port: int) -> None:
    allowed = Allowed.parse(pattern)
    assert allowed is not None
    assert allowed.covers(host, port)


@pytest.mark.parametrize(
    ("pattern", "host", "port"),
    [
        ("pypi.org", "pypi.org", 22),
        ("pypi.org", "pypi.org.evil.example", 443),
        ("pypi.org", "evilpypi.org", 443),
        ("pypi.org", "files.pypi.org", 443),
        ("*.pypi.org", "pypi.org", 443),
        ("*.pypi.org", "evilpypi.org", 443),
        ("pypi.org:8443", "pypi.org", 443),
        ("127.0.0.1", "127.0.0.2", 443),
    ],
)
def test_a_pattern_covers_nothing_else(pattern: str, host: str, port: int) -> None:
    allowed = Allowed.parse(pattern)
    assert allowed is not None
    assert not allowed.covers(host, port)


@pytest.mark.parametrize("pattern", ["", "*", "*.", "a*b", "**.x", "https://x", "x/y", "x:0", "x:y", "a:b:c:", "*:80"])
def test_what_names_no_host_allows_nothing(pattern: str) -> None:
    assert Allowed.parse(pattern) is None


# --- The proxy ----------------------------------------------------------------------------------------------------


@attrs.define
class Desk:
    """A proxy that runs, with what it told."""

    path: Path
    notices: list[tuple[str, str]]

    async def ask(self, head: str | bytes) -> bytes:
        """All that comes back."""
        stream = await dial(self.path)
        async with stream:
            await stream.send_all(head.encode() if isinstance(head, str) else head)
            return await everything(stream)

    async def status(self, head: str | bytes) -> str:
        async with await dial(self.path) as stream:
            await stream.send_all(head.encode() if isinstance(head, str) else head)
            line = (await stream.receive_some()).decode().partition("\r\n")[0]
        return line.removeprefix("HTTP/1.1 ")

    async def connect(self, endpoint: str) -> str:
        return await self.status(f"CONNECT {endpoint} HTTP/1.1\r\nHost: {endpoint}\r\n\r\n")


async def everything(stream: trio.SocketStream) -> bytes:
    return b"".join([piece async for piece in stream])


@asynccontextmanager
async def desk(
    tmp_path: Path, *hosts: str, policy: UrlPolicy = UrlPolicy.LOCAL, proxies: Proxies | None = None
) -> AsyncIterator[Desk]:
    one = Desk(tmp_path / "proxy.sock", [])

    async def resolve(host: str, port: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        if host == "gone.example":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return ADDRESSES.get(host, [host if host[0].isdigit() else "127.0.0.1"])

    def notice(level: str, code: str, text: str) -> None:
        one.notices.append((code, text))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(nothing)
        serve = lambda *, task_status: serve_proxy(  # noqa: E731
            one.path, hosts, policy, notice, resolve=resolve, proxies=proxies or Proxies(), task_status=task_status
        )
        await nursery.start(serve)
        yield one
        nursery.cancel_scope.cancel()


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


@asynccontextmanager
async def server(reply: Callable[[bytes], bytes]) -> AsyncIterator[int]:
    """A port on which each connection is told what *reply* makes of its first bytes."""

    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            heard = b""
            while b"\r\n\r\n" not in heard and b"." not in heard:
                if not (piece := await stream.receive_some()):
                    return
                heard += piece
            await stream.send_all(reply(heard))

    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, handle, [listener])
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel()


async def test_a_tunnel_carries_bytes_both_ways_to_their_end(tmp_path: Path) -> None:
    async with server(lambda heard: heard.upper()) as port, desk(tmp_path, f"localhost:{port}") as proxy:
        told = await proxy.ask(f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\nhello.")
    assert told == netproxy.ESTABLISHED + b"HELLO."


async def test_a_request_goes_on_with_its_own_path_and_host_and_nothing_of_the_proxy(tmp_path: Path) -> None:
    async with server(lambda heard: heard) as port, desk(tmp_path, f"127.0.0.1:{port}") as proxy:
        fields = "Host: evil.example\r\nProxy-Authorization: Basic eDp5\r\nConnection: keep-alive\r\nX-Y: z"
        told = await proxy.ask(f"GET http://127.0.0.1:{port}/a?b=c HTTP/1.1\r\n{fields}\r\n\r\n")
    lines = told.decode().split("\r\n")
    assert lines == ["GET /a?b=c HTTP/1.1", f"Host: 127.0.0.1:{port}", "X-Y: z", "Connection: close", "", ""]


async def test_what_comes_one_byte_at_a_time_is_the_same(tmp_path: Path) -> None:
    async with (
        server(lambda heard: heard.upper()) as port,
        desk(tmp_path, f"localhost:{port}") as proxy,
        await dial(proxy.path) as stream,
    ):
        for byte in f"CONNECT localhost:{port} HTTP/1.1\r\nHost: x\r\n\r\n".encode():
            await stream.send_all(bytes([byte]))
        await stream.send_all(b"x.")
        assert (await everything(stream)).endswith(b"X.")


async def test_a_host_that_is_not_allowed_is_refused_and_told_once(tmp_path: Path) -> None:
    async with desk(tmp_path, "pypi.org") as proxy:
        assert [await proxy.connect("evil.example:443") for _ in range(2)] == ["403 Forbidden"] * 2
        told = await proxy.ask("GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n")
    assert b"this sandbox does not let commands reach evil.example:80: network_access allows pypi.org" in told
    assert [code for code, _ in proxy.notices] == ["NETWORK_REFUSED"]


@pytest.mark.parametrize("endpoint", ["a.inside.example:443", "169.254.169.254:80", "10.0.0.7:80"])
async def test_a_pattern_or_what_is_never_fetched_reaches_public_addresses_only(endpoint: str, tmp_path: Path) -> None:
    async with desk(tmp_path, "*.inside.example", "169.254.169.254", "*.7") as proxy:
        assert await proxy.connect(endpoint) == "403 Forbidden"


async def test_an_exact_name_is_reached_wherever_it_is(tmp_path: Path) -> None:
    """As mirrors of a company are, even if a pattern covers their names too."""
    async with (
        server(lambda heard: b"hi") as port,
        desk(tmp_path, f"*.example:{port}", f"mirror.example:{port}") as proxy,
    ):
        assert await proxy.connect(f"mirror.example:{port}") == "200 Connection established"
        assert await proxy.connect(f"other.example:{port}") == "403 Forbidden"


@pytest.mark.parametrize("name", ["inside.example", "both.example"])
async def test_under_a_strict_policy_only_if_it_is_public(name: str, tmp_path: Path) -> None:
    async with desk(tmp_path, name, policy=UrlPolicy.STRICT) as proxy:
        assert await proxy.connect(f"{name}:443") == "403 Forbidden"


async def test_an_address_of_this_network_is_reached_where_it_is_named(tmp_path: Path) -> None:
    async with server(lambda heard: b"hi") as port, desk(tmp_path, f"127.0.0.1:{port}") as proxy:
        assert await proxy.connect(f"127.0.0.1:{port}") == "200 Connection established"


async def test_under_a_strict_policy_it_is_not(tmp_path: Path) -> None:
    async with desk(tmp_path, "127.0.0.1:8000", "localhost", policy=UrlPolicy.STRICT) as proxy:
        assert await proxy.connect("127.0.0.1:8000") == "403 Forbidden"
        assert await proxy.connect("localhost:80") == "403 Forbidden"


async def test_a_name_that_is_not_there_and_a_port_where_nobody_listens_are_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with desk(tmp_path, "gone.example", f"127.0.0.1:{port}") as proxy:
            assert await proxy.connect("gone.example:443") == "502 Bad Gateway"
            assert await proxy.connect(f"127.0.0.1:{port}") == "502 Bad Gateway"


@pytest.mark.parametrize(
    "head",
    [
        "GET / HTTP/1.1\r\nHost: pypi.org\r\n\r\n",
        "GET https://pypi.org/ HTTP/1.1\r\nHost: pypi.org\r\n\r\n",
        "GET http+unix://%2Frun%2Fx/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET ftp://pypi.org/ HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT pypi.org HTTP/1.1 x\r\n\r\n",
        "CONNECT pypi.org:0 HTTP/1.1\r\nHost: x\r\n\r\n",
        "CONNECT a@b:c:443 HTTP/1.1\r\nHost: x\r\n\r\n",
        "hello\r\n\r\n",
        "\x16\x03\x01\x02\x00\r\n\r\n",
        "GET http://pypi.org/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\nHost: x\r\n\r\n",
    ],
)
async def test_what_is_no_request_to_a_proxy_is_told_so(head: str, tmp_path: Path) -> None:
    async with desk(tmp_path, "pypi.org") as proxy:
        assert await proxy.status(head) == "400 Bad Request"


async def test_a_head_without_end_is_told_so(tmp_path: Path) -> None:
    async with desk(tmp_path, "pypi.org") as proxy:
        assert await proxy.status(b"x" * HEAD_BYTES * 2) == "400 Bad Request"
        assert await proxy.connect("evil.example:443") == "403 Forbidden"


async def test_who_says_nothing_is_hung_up_on(tmp_path: Path, autojump_clock: MockClock) -> None:
    async with desk(tmp_path, "pypi.org") as proxy, await dial(proxy.path) as stream:
        began = trio.current_time()
        assert await everything(stream) == b""
        assert trio.current_time() - began == HEAD_SECONDS


async def test_more_connections_than_there_may_be_are_refused(tmp_path: Path) -> None:
    async with desk(tmp_path, "pypi.org") as proxy:
        streams = [await dial(proxy.path) for _ in range(MOST_CONNECTIONS)]
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await proxy.status("") == "503 Service Unavailable"
        for stream in streams:
            await stream.aclose()
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert await proxy.connect("evil.example:443") == "403 Forbidden"


async def test_where_this_machine_has_a_proxy_of_its_own_that_is_asked(tmp_path: Path) -> None:
    async with server(lambda heard: b"HTTP/1.1 200 OK\r\n\r\n" + heard) as port:
        proxies = Proxies.from_env({"https_proxy": f"http://127.0.0.1:{port}"})
        async with desk(tmp_path, "public.example", proxies=proxies) as proxy:
            told = (await proxy.ask("CONNECT public.example:443 HTTP/1.1\r\nHost: x\r\n\r\n")).decode()
            assert told.startswith("HTTP/1.1 502")  # that one speaks before TLS does: it is no proxy
            assert "sends data of its own" in told
            assert await proxy.connect("evil.example:443") == "403 Forbidden"


async def test_a_host_that_cannot_be_meant_is_told_at_the_beginning(tmp_path: Path) -> None:
    async with desk(tmp_path, "*", "https://pypi.org") as proxy:
        assert [code for code, _ in proxy.notices] == ["NETWORK_ACCESS"] * 2


# --- In a namespace -----------------------------------------------------------------------------------------------

BWRAP = ("bwrap", "--dev-bind", "/", "/", "--unshare-net", "--unshare-pid", "--die-with-parent")
URLLIB = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=10).read().decode())"


async def inside(proxy: Desk, *argv: str) -> subprocess.CompletedProcess[bytes]:
    command = [*BWRAP, *forwarder_argv(str(proxy.path), argv)]
    return await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)


@pytest.fixture
def namespace(require: Callable[[str], str]) -> None:
    require("bwrap")
    if subprocess.run([*BWRAP, "true"], check=False).returncode:
        pytest.skip("bwrap makes no namespace here")


HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"


@pytest.mark.usefixtures("namespace")
async def test_programs_find_the_proxy_by_themselves(tmp_path: Path, require: Callable[[str], str]) -> None:
    curl = require("curl")
    async with server(lambda heard: HELLO) as port, desk(tmp_path, f"127.0.0.1:{port}") as proxy:
        url = f"http://127.0.0.1:{port}/"
        programs = [(sys.executable, "-c", URLLIB, url), (curl, "-sS", "--proxytunnel", url), (curl, "-sS", url)]
        for program in programs:
            done = await inside(proxy, *program)
            assert (done.stdout.decode().strip(), done.returncode) == ("hello", 0), done.stderr


@pytest.mark.usefixtures("namespace")
async def test_a_refusal_is_read_by_who_asked(tmp_path: Path, require: Callable[[str], str]) -> None:
    async with desk(tmp_path, "pypi.org") as proxy:
        done = await inside(proxy, require("curl"), "-sS", "http://evil.example/")
        assert b"does not let commands reach evil.example:80" in done.stdout
        done = await inside(proxy, require("curl"), "-sS", "https://evil.example/")
        assert (b"403" in done.stderr, done.returncode) == (True, 56)


@pytest.mark.usefixtures("namespace")
async def test_nothing_is_reached_around_the_proxy(tmp_path: Path) -> None:
    async with server(lambda heard: HELLO) as port, desk(tmp_path, f"127.0.0.1:{port}") as proxy:
        around = f"import socket; socket.create_connection(('127.0.0.1', {port}), 5)"
        done = await inside(proxy, sys.executable, "-c", around)
        assert b"ConnectionRefusedError" in done.stderr  # there it is the namespace's own loopback


@pytest.mark.usefixtures("namespace")
async def test_much_goes_both_ways_at_once(tmp_path: Path) -> None:
    async def echo(stream: trio.SocketStream) -> None:
        async with stream:
            async for piece in stream:
                await stream.send_all(piece)
            await stream.send_eof()

    program = """if True:
        import os, re, socket, sys, threading
        host, port = re.search("//(.*):(.*)", os.environ["HTTPS_PROXY"]).groups()
        def talk(number):
            sock = socket.create_connection((host, int(port)))
            sock.sendall(b"CONNECT 127.0.0.1:%b HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" % sys.argv[1].encode())
            while not sock.recv(1) == b"\\n" or not sock.recv(2) == b"\\r\\n": pass
            data = bytes([number]) * 3_000_000
            threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(1))).start()
            got = b""
            while piece := sock.recv(1 << 20): got += piece
            assert got == data, len(got)
        threads = [threading.Thread(target=talk, args=(n,)) for n in range(8)]
        for each in threads: each.start()
        for each in threads: each.join()
        print("done")
    """
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, echo, [listener])
        port = listener.socket.getsockname()[1]
        async with desk(tmp_path, f"127.0.0.1:{port}") as proxy:
            done = await inside(proxy, sys.executable, "-c", program, str(port))
            assert (done.stdout, done.stderr) == (b"done\n", b"")
        nursery.cancel_scope.cancel()


# --- The program in between ---------------------------------------------------------------------------------------


def through(*argv: str, path: str = "/nowhere.sock") -> subprocess.CompletedProcess[str]:
    return subprocess.run(forwarder_argv(path, argv), capture_output=True, text=True, timeout=20, check=False)


def test_the_command_is_itself() -> None:
    done = through("sh", "-c", "echo out; echo err >&2; cat /dev/null; exit 7")
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)
    assert through("sh", "-c", "kill -TERM $$").returncode == -15


def test_a_command_that_is_not_there_is_told_as_shells_do() -> None:
    done = through("no-such-command")
    assert (done.stderr, done.returncode) == ("no-such-command: No such file or directory\n", 127)


def test_the_command_has_no_child_and_no_file_that_it_did_not_open() -> None:
    program = "import os; print(sorted(os.listdir('/proc/self/fd'))[:-1]); os.wait()"
    done = through(sys.executable, "-c", program)
    assert done.stdout == "['0', '1', '2']\n"
    assert "ChildProcessError" in done.stderr


def test_what_forwards_ends_with_the_command_and_holds_no_output(tmp_path: Path) -> None:
    argv = forwarder_argv(f"{tmp_path}/x.sock", ["sh", "-c", "echo $http_proxy"])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=True)  # returns at the output's end
    port = int(done.stdout.rpartition(":")[2])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
    pytest.fail("it still listens")


def test_where_nobody_answers_a_connection_just_ends() -> None:
    program = (
        "import os, socket; host, port = os.environ['http_proxy'].removeprefix('http://').split(':');"
        "print(socket.create_connection((host, int(port))).recv(1))"
    )
    assert through(sys.executable, "-c", program).stdout == "b''\n"
