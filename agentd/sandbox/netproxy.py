"""A proxy for commands that may reach some hosts and no others: HTTP, and CONNECT for everything else.

It runs in the executor's own loop and listens on a unix socket, which is all that a sandbox without a network can
reach; netforward.py leads there from a port inside. What a connection is for is said in its first lines, so a host is
allowed by name, and what the name stands for is looked up here: never by the command. Addresses that are not public
are refused to all names that `*.name` covers; of a name or an address that was allowed itself the URL policy decides.
The rules of proxies: RFC 9110, 7.6 and 9.3.6; RFC 9112, 3.2.2.
"""

from __future__ import annotations

import marshal
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import h11
import trio

from agentd.wire import egress
from agentd.wire.dial import open_tunnel
from agentd.wire.egress import EgressRefused, endpoint_of, is_literal, parse_endpoint
from agentd.wire.failure import HttpFailed
from agentd.wire.listeners import open_unix_listener
from agentd.wire.proxy import Proxies
from agentd.wire.resolve import Resolve, dial_first, resolve
from agentd.wire.tls import Trust, start_tls
from agentd.wire.urlpolicy import UrlPolicy, UrlRefused, check_host, checked
from agentd.wire.urls import InvalidUrl, parse_url

_RUN = "import marshal, sys; exec(marshal.loads(bytes.fromhex(sys.argv.pop(1))), {'__name__': '__main__'})"
PORTS = (80, 443)  # of a host that is allowed without one
MOST_CONNECTIONS = 64
MOST_TOLD = 100  # hosts of which a refusal is told
HEAD_BYTES = 32 * 1024
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 20.0
IDLE_SECONDS = 300.0  # without a byte in either direction
CHUNK = 65536
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
PROXY_ENV: Mapping[str, str] = {  # beside what the forwarder sets, which knows the port
    **dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1,::1"),
    "NODE_USE_ENV_PROXY": "1",
}
_OWN = frozenset(b"connection keep-alive proxy-connection proxy-authorization host".split())  # fields between us

Notice = Callable[[str, str, str], object]  # level, code, text


# --- Inside a sandbox ---------------------------------------------------------------------------------------------


def forwarder_argv(socket_inside: str, argv: Sequence[str]) -> list[str]:
    """*argv* with the variables set by which programs find the proxy at *socket_inside*."""
    from agentd.sandbox import netforward

    code = netforward.__spec__.loader.get_code(netforward.__name__)  # type: ignore[union-attr]  # files and zips do
    return [sys.executable, "-I", "-S", "-c", _RUN, marshal.dumps(code).hex(), socket_inside, *argv]


# --- What is allowed ----------------------------------------------------------------------------------------------


@attrs.frozen
class Allowed:
    """One of Sandbox.hosts. *host* begins with `.` where all names below it are meant."""

    host: str
    port: int | None

    @classmethod
    def parse(cls, text: str) -> Allowed | None:
        """`name`, `*.name`, an address, each with or without `:port`. None for what is none of these."""
        plain = text.strip().lower().rstrip(".")
        if is_literal(plain.strip("[]")):
            return cls(plain.strip("[]"), None)
        host, port = plain, None
        if ":" in plain:
            try:
                host, port = parse_endpoint(plain)
            except ValueError:
                return None
        host = host.removeprefix("*") if host.startswith("*.") else host
        return cls(host, port) if host.strip(".") and "*" not in host and "/" not in host else None

    def covers(self, host: str, port: int) -> bool:
        if port != self.port if self.port is not None else port not in PORTS:
            return False
        return host.endswith(self.host) if self.host.startswith(".") else host == self.host

    @property
    def is_exact(self) -> bool:
        """Whether this one host was meant, wherever it is; among all names below another anybody may have put some."""
        return not self.host.startswith(".")


class Refusal(Exception):
    """Its text is for who asked: a person, or a model that reads what a command says."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@attrs.define
class Gate:
    """Decides, and tells once of each host that is refused."""

    hosts: Sequence[str]
    policy: UrlPolicy
    notice: Notice
    _allowed: list[Allowed] = attrs.field(init=False)
    _told: set[str] = attrs.field(factory=set)

    def __attrs_post_init__(self) -> None:
        found = {text: Allowed.parse(text) for text in self.hosts}
        self._allowed = [each for each in found.values() if each is not None]
        for text in (text for text, each in found.items() if each is None):
            self.notice(
                "warning", "NETWORK_ACCESS", f"{text!r} is no host that can be allowed: name, *.name, name:port"
            )

    def admit(self, host: str, port: int) -> Allowed:
        """What allows it, an exact name before a pattern. Raises Refusal."""
        found = sorted((each for each in self._allowed if each.covers(host, port)), key=lambda each: not each.is_exact)
        if not found:
            raise self.refusal(host, port, f"network_access allows {', '.join(self.hosts) or 'no host'}")
        return found[0]

    def refusal(self, host: str, port: int, why: str) -> Refusal:
        text = f"this sandbox does not let commands reach {endpoint_of(host, port)}: {why}"
        if host not in self._told and len(self._told) < MOST_TOLD:
            self._told.add(host)
            self.notice("warning", "NETWORK_REFUSED", text)
        return Refusal(403, text)


# --- The proxy ----------------------------------------------------------------------------------------------------


async def serve_proxy(
    path: Path,
    hosts: Sequence[str],
    policy: UrlPolicy,
    notice: Notice,
    *,
    resolve: Resolve = resolve,
    proxies: Proxies | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve on a unix socket at *path* until cancelled. *proxies*: how this machine itself gets out; those of the
    environment if there are none. Raises ListenFailed."""
    gate = Gate(hosts, policy, notice)
    service = _Service(gate, resolve, proxies or Proxies.from_env(os.environ))
    with closing(open_unix_listener(path)) as listener:
        sock = trio.socket.from_stdlib_socket(listener.sock)
        task_status.started()
        await trio.serve_listeners(service.handle, [trio.SocketListener(sock)])


@asynccontextmanager
async def open_proxy(path: Path, hosts: Sequence[str], policy: UrlPolicy, notice: Notice) -> AsyncIterator[Path]:
    """The same, for as long as the block lasts."""
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_proxy, path, hosts, policy, notice)
        yield path
        nursery.cancel_scope.cancel()


@attrs.frozen
class _Asked:
    """What a connection is for. *head*: what goes to the other side first, of a request that is no CONNECT."""

    host: str
    port: int
    head: bytes | None
    rest: bytes  # that came behind it


@attrs.define
class _Service:
    gate: Gate
    resolve: Resolve
    proxies: Proxies
    _open: int = 0

    async def handle(self, client: trio.SocketStream) -> None:
        """One connection. Raises nothing but Cancelled."""
        self._open += 1
        try:
            async with client:
                await self._serve(client)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            pass  # one of the two hung up, or is silent: the other sees the end
        finally:
            self._open -= 1

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            if self._open > MOST_CONNECTIONS:
                raise Refusal(503, f"there are {MOST_CONNECTIONS} connections already")
            asked = await _read_head(client)
            server = await self._reach(asked.host, asked.port)
        except Refusal as refusal:
            await client.send_all(_answer(refusal))
            return
        async with server:
            if asked.head is None:
                await client.send_all(ESTABLISHED)
            await server.send_all((asked.head or b"") + asked.rest)
            await _join(client, server)

    async def _reach(self, host: str, port: int) -> trio.abc.Stream:
        """Raises Refusal."""
        try:
            with trio.fail_after(CONNECT_SECONDS):
                return await self._connect(host, port)
        except UrlRefused:
            raise self.gate.refusal(host, port, "its address is not a public one") from None
        except EgressRefused as exc:
            raise self.gate.refusal(host, port, str(exc.strerror)) from exc
        except trio.TooSlowError:
            raise Refusal(504, f"{endpoint_of(host, port)} did not answer in {CONNECT_SECONDS:g} s") from None
        except (OSError, HttpFailed) as exc:
            raise Refusal(502, f"no connection to {endpoint_of(host, port)}: {exc}") from exc

    async def _connect(self, host: str, port: int) -> trio.abc.Stream:
        """Raises Refusal, UrlRefused, OSError, HttpFailed."""
        allowed = self.gate.admit(host, port)
        policy = self.gate.policy if allowed.is_exact else UrlPolicy.STRICT
        egress.check(host, port)
        url = parse_url(f"https://{endpoint_of(host, port)}/")
        proxy = self.proxies.choose(url)
        if proxy is None:
            addresses = await checked(self.resolve, policy)(host, port)
            return trio.SocketStream(await dial_first(addresses, port))
        check_host(host, policy)  # names are the other proxy's to look up, and its rules the second check
        below = trio.SocketStream(await dial_first(await self.resolve(proxy.host, proxy.port), proxy.port))
        try:
            stream = await start_tls(below, proxy.host, Trust.from_env(os.environ)) if proxy.tls else below
            await open_tunnel(stream, url, proxy)
        except BaseException:
            below.socket.close()
            raise
        return stream


async def _read_head(client: trio.SocketStream) -> _Asked:
    """Raises Refusal; trio.TooSlowError; OSError where the client hangs up."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES)
    with trio.fail_after(HEAD_SECONDS):
        try:
            while (event := http.next_event()) is h11.NEED_DATA:
                if not (data := await client.receive_some(CHUNK)):
                    raise ConnectionResetError
                http.receive_data(data)
        except h11.RemoteProtocolError as exc:
            raise Refusal(400, f"this is no request to a proxy: {exc}") from exc
    if not isinstance(event, h11.Request):
        raise ConnectionResetError
    return _asked(event, http.trailing_data[0])


def _asked(request: h11.Request, rest: bytes) -> _Asked:
    """Raises Refusal."""
    target = request.target.decode("ascii", "replace")
    try:
        is_tunnel = request.method == b"CONNECT"
        url = parse_url(f"https://{target}/" if is_tunnel else target)
    except InvalidUrl as exc:
        raise Refusal(400, f"this is no request to a proxy: {exc}") from exc
    if is_tunnel:
        return _Asked(url.host, url.port, None, rest)
    if url.scheme != "http":
        raise Refusal(400, f"a proxy is asked for http:// URLs, and with CONNECT for all else; not for {url.scheme}://")
    lines = [request.method + f" {url.target} HTTP/1.1".encode(), f"Host: {url.authority}".encode()]
    lines += [name + b": " + value for name, value in request.headers.raw_items() if name.lower() not in _OWN]
    lines += [b"Connection: close", b"", b""]  # one request a connection: the next may be for another host
    return _Asked(url.host, url.port, b"\r\n".join(lines), rest)


def _answer(refusal: Refusal) -> bytes:
    body = f"agentd: {refusal}\n".encode("utf-8", "replace")
    reason = {400: "Bad Request", 403: "Forbidden", 503: "Service Unavailable", 504: "Gateway Timeout"}
    head = f"HTTP/1.1 {refusal.status} {reason.get(refusal.status, 'Bad Gateway')}\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + body


# --- Bytes --------------------------------------------------------------------------------------------------------


async def _join(one: trio.abc.Stream, other: trio.abc.Stream) -> None:
    """Until both have ended, or have been silent for too long. Raises what breaks a stream."""
    async with trio.open_nursery() as nursery:
        idle = nursery.cancel_scope
        idle.deadline = trio.current_time() + IDLE_SECONDS
        nursery.start_soon(_pump, one, other, idle)
        nursery.start_soon(_pump, other, one, idle)


async def _pump(source: trio.abc.Stream, sink: trio.abc.Stream, idle: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(CHUNK):
            idle.deadline = trio.current_time() + IDLE_SECONDS
            await sink.send_all(data)
        if isinstance(sink, trio.abc.HalfCloseableStream):  # TLS to another proxy has no such end
            await sink.send_eof()
    except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
        idle.cancel()  # neither side has more to say to the other
