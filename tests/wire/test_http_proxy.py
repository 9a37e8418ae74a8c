"""Requests through a proxy, seen from the proxy's side."""

from __future__ import annotations

import attrs
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from agentd.wire.failure import Kind
from agentd.wire.http import HttpClient, HttpFailed, HttpSettings
from agentd.wire.proxy import Proxies
from agentd.wire.tls import Trust, context_for
from tests.wire.stranger import OK, QUICK, Authority, Link, Script, Stranger, answering, names, stranger

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"
SECRET = "p%40ss"


def forwarding(to: Stranger) -> Script:
    """A proxy that connects whatever it is asked for to one server."""

    async def script(link: Link) -> None:
        await link.request()
        async with await trio.open_tcp_stream("127.0.0.1", to.port) as beyond:
            await link.send(ESTABLISHED)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pump, link.stream, beyond)
                await pump(beyond, link.stream)
                nursery.cancel_scope.cancel()

    return script


async def pump(source: trio.abc.Stream, target: trio.abc.Stream) -> None:
    while data := await source.receive_some(65536):
        await target.send_all(data)


def through(proxy: Stranger, trust: Trust | None = None, *, user: str = "", **env: str) -> HttpSettings:
    """Settings for that proxy, whose own name is the only one that can be looked up."""
    url = f"http://{user}proxy.test:{proxy.port}"
    proxies = Proxies.from_env({"http_proxy": url, "https_proxy": url, **env})
    return attrs.evolve(names(proxy_test="127.0.0.1"), proxies=proxies, trust=trust or Trust())


async def test_plain_requests_name_their_whole_url() -> None:
    async with stranger(answering(OK)) as proxy, HttpClient(through(proxy, user=f"me:{SECRET}@")) as client:
        url = "http://user:word@example.test:81/a?b"
        for _ in range(2):
            assert (await client.request("POST", url, body=b"x")).body == b"ok"
    seen = proxy.seen[0]
    assert (proxy.connections, seen.method, seen.target) == (1, "POST", "http://example.test:81/a?b")
    assert seen.headers["host"] == "example.test:81"
    assert seen.headers["authorization"] == "Basic dXNlcjp3b3Jk"
    assert seen.headers["proxy-authorization"] == "Basic bWU6cEBzcw=="


async def test_https_goes_through_a_tunnel(authority: Authority) -> None:
    context = authority.server("example.test")
    async with (
        stranger(answering(OK), tls=context) as server,
        stranger(forwarding(server)) as proxy,
        HttpClient(through(proxy, authority.trust, user=f"me:{SECRET}@")) as client,
    ):
        for _ in range(2):
            answer = await client.request("GET", "https://example.test/secret?x", headers=[("X-Api-Key", "k")])
            assert answer.body == b"ok"
    (connect,) = proxy.seen
    assert (connect.method, connect.target, connect.body) == ("CONNECT", "example.test:443", b"")
    assert connect.headers == {"host": "example.test:443", "proxy-authorization": "Basic bWU6cEBzcw=="}
    assert (server.connections, server.seen[0].target) == (1, "/secret?x")
    assert "proxy-authorization" not in server.seen[0].headers


async def test_the_certificate_behind_a_tunnel_is_that_of_the_host(authority: Authority) -> None:
    context = authority.server("proxy.test")
    async with (
        stranger(answering(OK), tls=context) as server,
        stranger(forwarding(server)) as proxy,
        HttpClient(through(proxy, authority.trust)) as client,
    ):
        with pytest.raises(HttpFailed, match=r"the certificate of example\.test is refused") as failed:
            await client.request("GET", "https://example.test/")
    assert failed.value.kind == "tls"


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_the_proxy_itself_may_be_spoken_to_over_tls(authority: Authority, scheme: str) -> None:
    outer = authority.server("proxy.test")
    async with stranger(answering(OK), tls=authority.server("example.test")) as server:
        script = forwarding(server) if scheme == "https" else answering(OK)
        async with stranger(script, tls=outer) as proxy:
            env = {f"{scheme}_proxy": f"https://proxy.test:{proxy.port}"}
            async with HttpClient(through(proxy, authority.trust, **env)) as client:
                assert (await client.request("GET", f"{scheme}://example.test/")).body == b"ok"
    assert proxy.seen[0].target == ("example.test:443" if scheme == "https" else "http://example.test/")


async def test_exemptions_are_reached_directly() -> None:
    async with stranger(answering(OK)) as server, stranger(answering(OK)) as proxy:
        settings = attrs.evolve(
            through(proxy, no_proxy="example.test"), resolve=names(example_test="127.0.0.1").resolve
        )
        async with HttpClient(settings) as client:
            await client.request("GET", f"http://example.test:{server.port}/")
            await client.request("GET", f"http://127.0.0.1:{server.port}/")
    assert (server.connections, proxy.connections) == (2, 0)


# --- Faults -------------------------------------------------------------------------------------------------------


def saying(answer: bytes) -> Script:
    async def script(link: Link) -> None:
        await link.request()
        await link.send(answer)
        await link.is_hung_up_on()

    return script


async def hang_up(link: Link) -> None:
    await link.request()


async def deaf(link: Link) -> None:
    await link.is_hung_up_on()


async def reset(link: Link) -> None:
    await link.request()
    link.reset()


REFUSED = b"HTTP/1.1 %d No\r\nContent-Length: 6\r\n\r\n" + b"p@ss!!"
FAULTS: dict[str, tuple[Script, Kind, str]] = {
    "wants credentials": (saying(REFUSED % 407), "proxy", r"wants a user and password \(407\)"),
    "forbids": (saying(REFUSED % 403), "proxy", "did not connect to example.test:443: 403 Forbidden"),
    "knows no CONNECT": (saying(REFUSED % 405), "proxy", "405 Method Not Allowed"),
    "does not get there": (saying(REFUSED % 502), "connect", "502 Bad Gateway"),
    "is busy": (saying(REFUSED % 503), "connect", "503 Service Unavailable"),
    "says a strange number": (saying(REFUSED % 599), "connect", "example.test:443: 599$"),
    "redirects": (saying(b"HTTP/1.1 302 No\r\nLocation: http://x/\r\n\r\n"), "proxy", "302 Found"),
    "hangs": (deaf, "timeout", r"no connection through the proxy proxy\.test:\d+ within 5 s"),
    "stops midway": (saying(b"HTTP/1.1 200"), "timeout", "no connection through the proxy"),
    "hangs up": (hang_up, "connect", "hung up"),
    "resets": (reset, "connect", "Connection reset"),
    "is no proxy": (saying(b"220 mail.example.test ESMTP\r\n\r\n"), "proxy", "does not answer as a proxy does"),
    "talks first": (saying(ESTABLISHED + b"hello"), "proxy", "sends data of its own"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_what_a_proxy_does_wrong_is_called_so(fault: str, autojump_clock: MockClock) -> None:
    script, kind, text = FAULTS[fault]
    async with stranger(script) as proxy, HttpClient(through(proxy)) as client:
        with pytest.raises(HttpFailed, match=text) as failed:
            await client.request("GET", "https://example.test/", deadlines=QUICK)
        assert (failed.value.kind, proxy.connections) == (kind, 1)
        assert "proxy" in str(failed.value) or kind == "connect"
        await wait_all_tasks_blocked()
        assert proxy.open == 0


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_refused_credentials_are_told_and_not_shown(scheme: str) -> None:
    async with stranger(saying(REFUSED % 407)) as proxy, HttpClient(through(proxy, user=f"me:{SECRET}@")) as client:
        with pytest.raises(HttpFailed, match=r"refuses the user and password of its URL \(407\)") as failed:
            await client.request("GET", f"{scheme}://example.test/")
    assert failed.value.kind == "proxy"
    for secret in (SECRET, "p@ss", "bWU6cEBzcw=="):
        assert secret not in f"{failed.value!r}{failed.value}"


async def test_a_407_from_behind_a_tunnel_is_the_answer(authority: Authority) -> None:
    context = authority.server("example.test")
    async with (
        stranger(answering(REFUSED % 407), tls=context) as server,
        stranger(forwarding(server)) as proxy,
        HttpClient(through(proxy, authority.trust)) as client,
    ):
        assert (await client.request("GET", "https://example.test/")).status == 407


async def test_a_proxy_that_is_not_there() -> None:
    async with stranger(answering(OK)) as proxy:
        settings = through(proxy)
    async with HttpClient(settings) as client:
        with pytest.raises(HttpFailed, match=r"the proxy proxy\.test:\d+: no connection: .*refused") as failed:
            await client.request("GET", "http://example.test/")
        assert failed.value.kind == "connect"
    async with HttpClient(attrs.evolve(settings, resolve_proxy=names().resolve)) as client:
        with pytest.raises(HttpFailed, match=r"the proxy .*: proxy\.test cannot be looked up") as failed:
            await client.request("GET", "http://example.test/")
        assert failed.value.kind == "connect"


async def test_a_handshake_through_a_tunnel_that_hangs_is_given_up_on(
    authority: Authority, autojump_clock: MockClock
) -> None:
    await context_for(authority.trust)  # in a thread, which virtual time would not wait for
    async with stranger(saying(ESTABLISHED)) as proxy, HttpClient(through(proxy, authority.trust)) as client:
        with pytest.raises(HttpFailed, match="within 5 s") as failed:
            await client.request("GET", "https://example.test/", deadlines=QUICK)
        assert (failed.value.kind, trio.current_time()) == ("timeout", 5)
        await wait_all_tasks_blocked()
        assert proxy.open == 0


async def test_what_a_gateway_answers_is_the_answer() -> None:
    async with stranger(answering(REFUSED % 502)) as proxy, HttpClient(through(proxy)) as client:
        assert (await client.request("GET", "http://example.test/")).status == 502
