"""URLs as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.wire.urls import InvalidUrl, Url, parse_url


@pytest.mark.parametrize(
    ("text", "host", "port", "target"),
    [
        ("http://example.com", "example.com", 80, "/"),
        ("HTTPS://EXAMPLE.com/A?B#c", "example.com", 443, "/A?B"),
        ("http://example.com:8080?q", "example.com", 8080, "/?q"),
        ("http://example.com:/", "example.com", 80, "/"),
        ("http://example.com./", "example.com", 80, "/"),
        ("http://under_score.test/", "under_score.test", 80, "/"),
        ("http://bücher.test/straße?ä=ö", "xn--bcher-kva.test", 80, "/stra%C3%9Fe?%C3%A4=%C3%B6"),
        ("http://a/%7Eb/{c}|d\\e?f={g}", "a", 80, "/%7Eb/%7Bc%7D%7Cd%5Ce?f=%7Bg%7D"),
        ("http://[2001:DB8:0::1]:81/", "2001:db8::1", 81, "/"),
        ("http://127.0.0.1/", "127.0.0.1", 80, "/"),
        ("http://127.1/", "127.0.0.1", 80, "/"),
        ("http://2130706433/", "127.0.0.1", 80, "/"),
        ("http://0x7f.0.0x1/", "127.0.0.1", 80, "/"),
        ("http://0177.0.0.01/", "127.0.0.1", 80, "/"),
        ("http://\uff11\uff12\uff17.0\u30020.1/", "127.0.0.1", 80, "/"),
        ("http+unix://%2Ftmp%2FA.sock/v1?x", "/tmp/A.sock", 0, "/v1?x"),
    ],
)
def test_what_a_url_says(text: str, host: str, port: int, target: str) -> None:
    url = parse_url(text)
    assert (url.host, url.port, url.target) == (host, port, target)
    assert parse_url(str(url)) == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http:/example.com",
        "http:///x",
        "http://:80/",
        "http://user@/",
        "http://./",
        "http://a..b/",
        "http://a b/",
        "http://a\n/",
        "http://a\\@b/",
        "http://a%2eb/",
        "http://a:0/",
        "http://a:65536/",
        "http://a:80:80/",
        "http://a:-1/",
        "http://a:٣/",
        "http://[::1/",
        "http://[::1]x/",
        "http://[v1.x]/",
        "http://[fe80::1%25eth0]/",
        "http://::1/",
        "http://256.1.1.1/",
        "http://1.2.3.4.5/",
        "http://a.0x/",
        "http://" + "a" * 64 + ".test/",
        "http://" + "a." * 130 + "test/",
        "http+unix://relative/",
        "http+unix:///",
        "http+unix://%2Fa%00b/",
    ],
)
def test_what_is_no_url(text: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_url(text)


def test_the_authority_is_what_a_host_field_says() -> None:
    assert parse_url("http://a:80/").authority == "a"
    assert parse_url("https://a:80/").authority == "a:80"
    assert parse_url("https://[::1]/").authority == "[::1]"
    assert parse_url("https://[::1]/").endpoint == "[::1]:443"


def test_credentials_are_in_no_text() -> None:
    url = parse_url("https://user:secret@example.com/path?key=k")
    assert url.authorization == "Basic dXNlcjpzZWNyZXQ="
    assert (str(url), url.site) == ("https://example.com/path?key=k", "https://example.com")
    assert "secret" not in repr(url)
    with pytest.raises(InvalidUrl) as failed:
        parse_url("https://user:secret@exa mple.com")
    assert "secret" not in str(failed.value)


@pytest.mark.parametrize(
    ("reference", "joined"),
    [
        ("/c", "https://a.test/c"),
        ("c?d", "https://a.test/b/c?d"),
        ("../c", "https://a.test/c"),
        ("?d", "https://a.test/b/?d"),
        ("//b.test/c", "https://b.test/c"),
        ("http://b.test:81", "http://b.test:81/"),
        ("#f", "https://a.test/b/?q"),
        ("é", "https://a.test/b/%C3%A9"),
    ],
)
def test_references_are_relative_to_where_they_are_found(reference: str, joined: str) -> None:
    assert str(parse_url("https://a.test/b/?q").join(reference)) == joined


def test_credentials_stay_within_their_origin() -> None:
    url = parse_url("https://user:pass@a.test/")
    assert url.join("/b").userinfo == "user:pass"
    assert url.join("https://a.test:444/").userinfo == ""
    assert url.join("https://other:word@b.test/").userinfo == ""
    assert url.join("https://other:word@a.test/").userinfo == "user:pass"


@pytest.mark.parametrize("reference", ["file:///etc/passwd", "javascript:alert(1)", "http://", "//[", "http://a b"])
def test_a_reference_to_what_is_no_url_of_ours_is_refused(reference: str) -> None:
    with pytest.raises(InvalidUrl):
        parse_url("https://a.test/").join(reference)


def test_a_socket_file_has_references_too() -> None:
    url = parse_url("http+unix://%2Ftmp%2Fs/a/b")
    assert url.join("c") == Url("http+unix", "/tmp/s", 0, "/a/c")
    assert url.join("http://a.test/").host == "a.test"


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_is_not(text: str) -> None:
    for candidate in (text, f"http://{text}", f"https://a/{text}"):
        try:
            url = parse_url(candidate)
        except InvalidUrl:
            continue
        assert f"{url.authority}{url.target}".isascii()
        assert not set(f"{url.authority}{url.target}") & set(" \r\n\t\0")
        assert parse_url(str(url)).origin == url.origin
