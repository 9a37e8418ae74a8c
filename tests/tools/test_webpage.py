"""What an answer says as text: kinds and encodings."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.tools.webpage import Readable, decode, may_be_text, read

URL = "http://a.test/"
HTML = "text/html"


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("é€".encode(), "text/plain", "é€"),
        ("é".encode("latin-1"), "text/plain", "é"),
        (b"\x80", "text/plain; charset=ISO-8859-1", "€"),
        ("é€".encode("cp1252"), "text/plain", "é€"),
        ("é".encode(), 'text/plain; charset="UTF-8"', "é"),
        ("日本".encode("shift_jis"), "text/plain; charset=Shift_JIS", "日本"),
        ("日本".encode("euc-jp"), "text/plain; charset=EUC-JP", "日本"),
        ("中文".encode("gb18030"), "text/plain; charset=gb2312", "中文"),
        ("мир".encode("koi8-r"), "text/plain; charset=koi8-r", "мир"),
        ("é".encode("utf-16-le"), "text/plain; charset=utf-16le", "é"),
        (b"\xff\xfe" + "é".encode("utf-16-le"), "text/plain; charset=utf-8", "é"),
        (b"\xef\xbb\xbf" + "é".encode(), "text/plain; charset=iso-8859-1", "é"),
        ("é".encode(), "text/plain; charset=unknown", "é"),
        (b"ok \xff", "text/plain; charset=utf-8", "ok \ufffd"),
        (b"", "text/plain", ""),
    ],
)
def test_encodings_are_found_out(body: bytes, content_type: str, expected: str) -> None:
    assert decode(body, content_type) == expected


def test_a_character_that_was_cut_in_two_does_not_change_the_encoding() -> None:
    body = "é€".encode()[:-1]
    assert decode(body, "text/plain", is_cut=True) == "é\ufffd"
    assert decode(body, "text/plain") == body.decode("cp1252", "replace")
    assert decode("é".encode("latin-1") + b"x", "text/plain", is_cut=True) == "éx"


@pytest.mark.parametrize(
    ("meta", "codec"),
    [
        ('<meta charset="windows-1251">', "cp1251"),
        ("<META http-equiv=Content-Type content='text/html; charset=windows-1251'>", "cp1251"),
        ('<meta charset="utf-16">', "utf-8"),
        ('<meta charset="nonsense">', "utf-8"),
        ("", "utf-8"),
    ],
)
def test_a_page_may_name_its_encoding_itself(meta: str, codec: str) -> None:
    body = f"<html><head>{meta}<title>мир</title>".encode(codec)
    assert read(body, HTML, URL) == Readable("", "мир")
    assert read(f"{meta}<title>мир</title>".encode(), "text/html; charset=utf-8", URL) == Readable("", "мир")


@pytest.mark.parametrize("charset", ["zip", "hex", "rot13", "idna", "punycode", "unicode_escape", "utf-7", "utf-32"])
def test_codecs_that_are_none_of_the_web_are_not_used(charset: str) -> None:
    assert decode(b"a\\u0041+AGE-", f"text/plain; charset={charset}") == "a\\u0041+AGE-"


@pytest.mark.parametrize(
    "content_type",
    [
        "text/html; charset=utf-8",
        "TEXT/HTML",
        "application/xhtml+xml",
        "text/plain",
        "text/markdown",
        "application/json",
        "application/problem+json",
        "application/atom+xml",
        "image/svg+xml",
        "application/javascript",
        "application/x-yaml",
        "application/octet-stream",
        "",
    ],
)
def test_what_may_be_text(content_type: str) -> None:
    assert may_be_text(content_type)


@pytest.mark.parametrize("content_type", ["image/png", "application/pdf", "application/zip", "video/mp4", "font/woff2"])
def test_what_is_none_by_its_name(content_type: str) -> None:
    assert not may_be_text(content_type)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        (b'{"a": "<p>"}', "application/json", Readable('{"a": "<p>"}')),
        (b"<p>a", "text/plain", Readable("<p>a")),
        (b"<p>a", "text/html", Readable("a")),
        (b"<p>a", "application/xhtml+xml", Readable("a")),
        (b"\n<!DOCTYPE html><title>t</title>a", "", Readable("a", "t")),
        (b"<!-- c --><html>a", "application/octet-stream", Readable("a")),
        (b"#!/bin/sh\n", "application/octet-stream", Readable("#!/bin/sh\n")),
        (b"\x89PNG\r\n\x1a\n\0\0", "", None),
        (b"\0\0\0", "text/plain", None),
    ],
)
def test_pages_become_text_and_other_text_stays_as_it_is(
    body: bytes, content_type: str, expected: Readable | None
) -> None:
    assert read(body, content_type, URL) == expected


TYPES = ["text/html", "text/plain; charset=utf-16", "", "text/x; charset=big5"]


@given(st.binary(max_size=100), st.sampled_from(TYPES))
def test_any_bytes_are_read_or_are_no_text(body: bytes, content_type: str) -> None:
    found = read(body, content_type, URL)
    assert found is None or found.text.isascii() or found.text.encode()  # no lone surrogates
