"""Redirects: which are followed, what goes along, and where it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.failure import HttpFailed
from agentd.wire.http import HttpClient
from agentd.wire.messages import Headers
from agentd.wire.proxy import Proxies
from agentd.wire.redirects import STATUSES, Hop, location, next_hop
from agentd.wire.urlpolicy import UrlPolicy, UrlRefused
from agentd.wire.urls import parse_url
from tests.wire.stranger import OK, Link, Script, answering, names, stranger

KEYS = [("Authorization", "Bearer k"), ("X-Api-Key", "k"), ("Cookie", "c=k"), ("Accept", "text/html")]

origins = st.builds(
    "{}://{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["a.test", "b.test"]),
    st.sampled_from(["", ":81"]),
)
fields = st.lists(
    st.tuples(
        st.sampled_from(
            ["Authorization", "x-api-key", "Cookie", "Proxy-Authorization", "api-key", "X-Anything", "ACCEPT"]
        ),
        st.just("value"),
    )
)


def redirect(to: str, status: int = 302) -> bytes:
    return b"HTTP/1.1 %d There\r\nLocation: %b\r\nContent-Length: 4\r\n\r\nover" % (status, to.encode())


def by_path(answers: dict[str, bytes]) -> Script:
    async def script(link: Link) -> None:
        while True:
            seen = await link.request()
            await link.send(answers.get(seen.target, OK))

    return script


async def test_redirects_are_followed_only_where_asked() -> None:
    async with HttpClient() as client, stranger(by_path({"/a": redirect("b"), "/b": redirect("/c?d")})) as server:
        answer = await client.request("GET", f"{server.url}/a", redirects=2)
        assert (answer.status, answer.url) == (200, f"{server.url}/c?d")
        refused = await client.request("GET", f"{server.url}/a")
        assert (refused.status, refused.headers["location"], refused.url) == (302, "b", f"{server.url}/a")
    assert [seen.target for seen in server.seen] == ["/a", "/b", "/c?d", "/a"]


async def test_there_is_an_end_to_them() -> None:
    async with HttpClient() as client, stranger(answering(redirect("/again"))) as server:
        with pytest.raises(HttpFailed, match="redirects more than 3 times") as failed:
            await client.request("GET", server.url, redirects=3)
    assert (failed.value.kind, len(server.seen)) == ("protocol", 4)


async def test_a_failure_after_a_redirect_is_that_of_the_new_place() -> None:
    async with (
        HttpClient(names(a_test="127.0.0.1")) as client,
        stranger(answering(redirect("http://b.test/"))) as server,
    ):
        with pytest.raises(HttpFailed, match=r"GET http://b\.test: b\.test cannot be looked up") as failed:
            await client.request("POST", f"http://a.test:{server.port}/", redirects=1)
    assert failed.value.kind == "connect"


async def test_nothing_secret_goes_to_another_origin_nor_comes_back() -> None:
    answers: dict[str, bytes] = {}
    settings = names(a_test="127.0.0.1", b_test="127.0.0.1")  # one server under two names: two origins
    async with HttpClient(settings) as client, stranger(by_path(answers)) as server:
        a, b = f"http://a.test:{server.port}", f"http://b.test:{server.port}"
        answers |= {"/": redirect(f"{b}/x"), "/x": redirect(f"{a}/y")}
        answer = await client.request("GET", a.replace("//", "//u:p@"), headers=KEYS, redirects=5)
        assert (answer.status, answer.url) == (200, f"{a}/y")
    first, second, third = (seen.headers for seen in server.seen)
    assert {"authorization", "x-api-key", "cookie", "accept"} <= first.keys()
    for headers in (second, third):
        assert headers.keys() == {"host", "user-agent", "accept-encoding", "accept"}


@pytest.mark.parametrize(
    ("method", "status", "becomes", "body"),
    [
        ("POST", 301, "GET", b""),
        ("POST", 302, "GET", b""),
        ("POST", 303, "GET", b""),
        ("PUT", 303, "GET", b""),
        ("PUT", 302, "PUT", b"body"),
        ("HEAD", 303, "HEAD", b""),
        ("POST", 307, "POST", b"body"),
        ("POST", 308, "POST", b"body"),
    ],
)
async def test_what_becomes_of_method_and_body(method: str, status: int, becomes: str, body: bytes) -> None:
    async with HttpClient() as client, stranger(by_path({"/": redirect("/b", status)})) as server:
        sent = b"" if method == "HEAD" else b"body"
        await client.request(method, server.url, headers=[("Content-Type", "text/x")], body=sent, redirects=1)
    followed = server.seen[1]
    assert (followed.method, followed.body) == (becomes, body)
    assert ("content-type" in followed.headers) == (becomes == method)


async def test_a_body_that_is_gone_is_not_sent_again() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"once"

    async with HttpClient() as client, stranger(by_path({"/": redirect("/b", 307)})) as server:
        with pytest.raises(HttpFailed, match="whose body can be sent only once"):
            await client.request("POST", server.url, body=body(), redirects=1)


@pytest.mark.parametrize(
    ("url", "to", "said"),
    [
        ("https://a.test/", "http://a.test/", "from https to http"),
        ("http://a.test/", "file:///etc/passwd", "what is no URL of ours"),
        ("http://a.test/", "http://a b/", "what is no URL of ours"),
        ("http://a.test/", "http+unix://%2Frun%2Fdocker.sock/", "to a socket file"),
    ],
)
def test_where_no_one_should_follow(url: str, to: str, said: str) -> None:
    with pytest.raises(HttpFailed, match=said) as failed:
        location(parse_url(url), 302, Headers([("Location", to)]))
    assert failed.value.kind == "protocol"


@pytest.mark.parametrize(("status", "fields"), [(200, [("Location", "/x")]), (304, [("Location", "/x")]), (302, [])])
def test_what_is_no_redirect(status: int, fields: list[tuple[str, str]]) -> None:
    assert location(parse_url("http://a.test/"), status, Headers(fields)) is None


def test_a_location_may_be_utf_8() -> None:
    headers = Headers([("Location", "/ä".encode().decode("latin-1"))])
    assert str(location(parse_url("http://a.test/"), 301, headers)) == "http://a.test/%C3%A4"
    assert str(location(parse_url("http://a.test/"), 301, Headers([("Location", "/\xe4")]))) == "http://a.test/%C3%A4"


@given(origins, origins, fields, st.sampled_from(sorted(STATUSES)), st.sampled_from(["GET", "POST", "PUT"]))
def test_secrets_never_leave_their_origin(
    here: str, there: str, given: list[tuple[str, str]], status: int, method: str
) -> None:
    hop = Hop(method, attrs.evolve(parse_url(here), userinfo="u:p"), given, b"body")
    try:
        target = location(hop.url, status, Headers([("Location", there)]))
    except HttpFailed:
        assert (hop.url.scheme, parse_url(there).scheme) == ("https", "http")
        return
    assert target is not None
    after = next_hop(hop, target, status)
    if parse_url(here).origin == parse_url(there).origin:
        assert (list(after.fields), after.url.userinfo) == (given, "u:p")
    else:
        assert {name.lower() for name, _ in after.fields} <= {"accept"}
        assert after.url.userinfo == ""
    becomes_get = status == 303 or (status in (301, 302) and method == "POST")
    assert (after.method, after.body) == (("GET", b"") if becomes_get else (method, b"body"))


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "http://metadata.test/", "http://metadata.google.internal/"]
)
async def test_no_redirect_leads_around_a_policy(target: str) -> None:
    settings = names(metadata_test="169.254.169.254").under(UrlPolicy.LOCAL)
    async with HttpClient(settings) as client, stranger(answering(redirect(target))) as server:
        with pytest.raises(UrlRefused):
            await client.request("GET", server.url, redirects=3)
    assert len(server.seen) == 1


async def test_nor_does_a_proxy() -> None:
    async with stranger(answering(OK)) as proxy:
        settings = attrs.evolve(names(), proxies=Proxies.from_env({"http_proxy": proxy.url})).under(UrlPolicy.LOCAL)
        async with HttpClient(settings) as client:
            for url in ("http://169.254.169.254/", "http+unix://%2Ftmp%2Fsocket/"):
                with pytest.raises(UrlRefused):
                    await client.request("GET", url)
    assert proxy.connections == 0
