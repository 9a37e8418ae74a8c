"""Opening connections to servers of all kinds: directly, through a proxy, over TLS, or to a socket file."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

import attrs
import h11
import trio

from agentd.wire import client, egress
from agentd.wire.exchange import MAX_HEAD, RECEIVE_BYTES, Watch, Wire
from agentd.wire.failure import HttpFailed, Kind
from agentd.wire.proxy import Proxy
from agentd.wire.resolve import Resolve, dial_first
from agentd.wire.tls import Trust, start_tls
from agentd.wire.urls import Url


@attrs.frozen
class Dialer:
    """*resolve* says which addresses a host has: those are connected to, and no others."""

    resolve: Resolve
    resolve_proxy: Resolve
    trust: Trust

    async def open(self, url: Url, proxy: Proxy | None, watch: Watch) -> Wire:
        """A connection on which requests for *url* can be sent. Raises HttpFailed, and what *resolve* raises but for
        OSError."""
        seconds = watch.deadlines.connect
        late = f"no connection{f' through {proxy}' if proxy else ''} within {seconds:g} s"
        with watch.wait(seconds, late, broken="connect"):
            if url.scheme != "http+unix":
                _check(url, watch.what)
            if url.scheme == "http+unix":
                below = await client.dial(Path(url.host))
            elif proxy is not None:
                below = await _connect(self.resolve_proxy, proxy.host, proxy.port, f"{watch.what}: {proxy}")
            else:
                below = await _connect(self.resolve, url.host, url.port, watch.what)
            try:
                return Wire(await self._secure(below, url, proxy), below.socket)
            except BaseException:
                below.socket.close()
                raise

    async def _secure(self, below: trio.SocketStream, url: Url, proxy: Proxy | None) -> trio.abc.Stream:
        stream: trio.abc.Stream = below
        if proxy is not None and proxy.tls:
            stream = await start_tls(stream, proxy.host, self.trust)
        if proxy is not None and url.scheme == "https":
            await open_tunnel(stream, url, proxy)
        return await start_tls(stream, url.host, self.trust) if url.scheme == "https" else stream


def _check(url: Url, what: str) -> None:
    """Before a name is looked up, and before a proxy is asked for it. Raises HttpFailed."""
    try:
        egress.check(url.host, url.port)
    except egress.EgressRefused as exc:
        raise HttpFailed("refused", f"{what}: {exc.strerror}") from exc


async def _connect(resolve: Resolve, host: str, port: int, what: str) -> trio.SocketStream:
    try:
        addresses = await resolve(host, port)
    except OSError as exc:
        raise HttpFailed("connect", f"{what}: {host} cannot be looked up: {exc.strerror or exc}") from exc
    try:
        return trio.SocketStream(await dial_first(addresses, port))
    except OSError as exc:
        raise HttpFailed("connect", f"{what}: no connection: {exc}") from exc


async def open_tunnel(stream: trio.abc.Stream, url: Url, proxy: Proxy) -> None:
    """Have the proxy at the other end of *stream* connect it to *url* (RFC 9110, 9.3.6). Raises HttpFailed."""
    http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
    fields = [("Host", url.endpoint), *authorization(proxy)]
    head = http.send(h11.Request(method="CONNECT", target=url.endpoint, headers=fields)) or b""
    await stream.send_all(head + (http.send(h11.EndOfMessage()) or b""))
    try:
        while not isinstance(event := http.next_event(), h11.Response):
            if event is h11.NEED_DATA:
                if not (data := bytes(await stream.receive_some(RECEIVE_BYTES))):
                    raise HttpFailed("connect", f"{proxy} hung up")
                http.receive_data(data)
    except h11.RemoteProtocolError as exc:
        raise HttpFailed("proxy", f"{proxy} does not answer as a proxy does") from exc
    if not 200 <= event.status_code < 300:
        raise refusal(proxy, url, event.status_code)
    if http.trailing_data[0]:  # in TLS it is the client that speaks first
        raise HttpFailed("proxy", f"{proxy} sends data of its own into the connection to {url.endpoint}")


def authorization(proxy: Proxy) -> list[tuple[str, str]]:
    return [("Proxy-Authorization", proxy.authorization)] if proxy.authorization else []


def refusal(proxy: Proxy, url: Url, status: int) -> HttpFailed:
    """What a status of the proxy itself means. 4xx is its rules, which stay; 5xx that it could not get there."""
    if status == 407:
        want = "refuses the user and password of its URL" if proxy.authorization else "wants a user and password"
        return HttpFailed("proxy", f"{proxy} {want} (407): http://USER:PASSWORD@HOST:PORT in the proxy's variable")
    try:
        phrase = f" {HTTPStatus(status).phrase}"
    except ValueError:
        phrase = ""
    kind: Kind = "connect" if status >= 500 else "proxy"
    return HttpFailed(kind, f"{proxy} did not connect to {url.endpoint}: {status}{phrase}")
