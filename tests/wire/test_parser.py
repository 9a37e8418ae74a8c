"""Request heads and bodies out of bytes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.wire.limits import Limits
from agentd.wire.messages import BadMessage
from agentd.wire.parser import Parser

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy

LIMITS = Limits(target=200, head=1000, fields=10)
GET = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = (
    b"PUT /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nT: t\r\n\r\n"
)


def parse(pieces: Sequence[bytes], limits: Limits = LIMITS) -> list[tuple[str, str, bytes] | int]:
    """Every request in the stream as (method, target, body), and the status of the error that ended it."""
    parser, found = Parser(limits), list[tuple[str, str, bytes] | int]()
    coming = iter(pieces)
    try:
        while True:
            while (head := parser.next_head()) is None:
                if (piece := next(coming, None)) is None:
                    return found
                parser.feed(piece)
            body = b""
            while (chunk := parser.next_chunk()) != b"":
                if chunk is None:
                    if (piece := next(coming, None)) is None:
                        return [*found, (head.method, head.target, body + b"...")]
                    parser.feed(piece)
                else:
                    body += chunk
            found.append((head.method, head.target, body))
    except BadMessage as exc:
        return [*found, exc.status]


def split(stream: bytes, cuts: Sequence[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in pairwise(edges)]


def test_pipelined_requests_come_out_in_order() -> None:
    assert parse([GET + POST + CHUNKED + GET]) == [
        ("GET", "/a", b""),
        ("POST", "/b", b"hello"),
        ("PUT", "/c", b"hello"),
        ("GET", "/a", b""),
    ]


@pytest.mark.parametrize(
    ("stream", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET example.org HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"a" * 2000, 414),
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: a\r\n" * 20 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused_with_the_right_status(stream: bytes, status: int) -> None:
    assert parse([stream]) == [status]


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5, 6",
        b"Content-Length: +5",
        b"Content-Length: 5_0",
        b"Content-Length: -1",
        b"Content-Length: 0x5",
        b"Transfer-Encoding: chunked\r\n folded: yes",
        b"X: a\r\n\tTransfer-Encoding: chunked",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding: chunked\x00",
        b"X: a\rTransfer-Encoding: chunked",
    ],
)
def test_shapes_that_smuggle_requests_are_refused(fields: bytes) -> None:
    assert parse([b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\n0\r\n\r\n"]) in ([400], [501])


@pytest.mark.parametrize("first", [b" ", b"\t"])
def test_a_body_that_begins_with_a_space_is_no_folded_header(first: bytes) -> None:
    assert parse([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n" + first + b"x"]) == [
        ("POST", "/", first + b"x")
    ]


@pytest.mark.parametrize("coding", [b"gzip", b"gzip, chunked", b"chunked, chunked", b"identity", b"xchunked"])
def test_an_unknown_transfer_coding_is_not_implemented(coding: bytes) -> None:
    assert parse([b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: " + coding + b"\r\n\r\n0\r\n\r\n"]) == [501]


def test_chunks_from_an_http_1_0_client_are_refused() -> None:
    assert parse([b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"]) == [400]


@pytest.mark.parametrize("chunk", [b"x\r\n", b"-1\r\n", b"1 \r\nab\r\n", b"5\r\nhelloX\r\n", b"1\nab\r\n0\r\n\r\n"])
def test_a_malformed_chunk_is_refused(chunk: bytes) -> None:
    assert parse([b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk + b"x" * 2000]) == [400]


def test_the_same_length_told_twice_is_one_length() -> None:
    fields = b"Content-Length: 2\r\nContent-Length: 2"
    assert parse([b"POST / HTTP/1.1\r\nHost: x\r\n" + fields + b"\r\n\r\nhi"]) == [("POST", "/", b"hi")]


def test_empty_lines_before_a_request_are_ignored() -> None:
    assert parse([b"\r\n", b"\r", b"\n" + POST + b"\r\n" + GET]) == [("POST", "/b", b"hello"), ("GET", "/a", b"")]


def test_an_absolute_target_goes_before_host() -> None:
    parser = Parser(LIMITS)
    parser.feed(b"GET HTTP://b.example:80/p?q HTTP/1.1\r\nHost: a.example\r\n\r\n")
    head = parser.next_head()
    assert head is not None
    assert (head.target, head.headers["host"]) == ("/p?q", "b.example:80")


def test_an_absolute_target_without_a_path_means_the_root() -> None:
    assert parse([b"GET http://b.example HTTP/1.1\r\nHost: x\r\n\r\n"]) == [("GET", "/", b"")]


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"keep-alive", True),
        (b"1.1", b"close", False),
        (b"1.1", b"x, CLOSE", False),
        (b"1.1", b"x\r\nConnection: close", False),
        (b"1.0", b"keep-alive", False),
    ],
)
def test_who_keeps_the_connection(version: bytes, connection: bytes, kept: bool) -> None:
    parser = Parser(LIMITS)
    parser.feed(b"GET / HTTP/" + version + b"\r\nHost: x\r\nConnection: " + connection + b"\r\n\r\n")
    head = parser.next_head()
    assert head is not None
    assert head.keep_alive == kept


@pytest.mark.parametrize(
    ("version", "length", "body", "expects"),
    [(b"1.1", b"2", b"", True), (b"1.1", b"2", b"h", False), (b"1.1", b"0", b"", False), (b"1.0", b"2", b"", False)],
)
def test_who_waits_for_a_100(version: bytes, length: bytes, body: bytes, expects: bool) -> None:
    head = b"POST / HTTP/%b\r\nHost: x\r\nContent-Length: %b\r\nExpect: 100-Continue\r\n\r\n" % (version, length)
    parser = Parser(LIMITS)
    parser.feed(head + body)
    assert parser.next_head() is not None
    assert parser.expects_continue == expects


def test_a_head_of_exactly_the_limit_passes() -> None:
    fill = b"a" * (LIMITS.head - len(GET) - len(b"F: \r\n"))
    stream = GET[:-2] + b"F: " + fill + b"\r\n\r\n"
    assert len(stream) == LIMITS.head
    assert parse([stream + GET]) == [("GET", "/a", b"")] * 2


STREAMS = st.sampled_from(
    [
        GET,
        POST,
        CHUNKED,
        b"\r\n",
        b"garbage\r\n\r\n",
        b"GET /" + b"a" * 1500 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 1500 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"PO",
        b"\x00",
    ]
)


@patient
@given(st.lists(STREAMS | st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_split_of_a_stream_gives_the_same_requests(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    assert parse(split(stream, cuts)) == parse([stream])


@patient
@given(st.lists(STREAMS, min_size=1, max_size=4))
def test_a_stream_fed_one_byte_at_a_time_gives_the_same_requests(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    assert parse([stream[i : i + 1] for i in range(len(stream))]) == parse([stream])


def ask_h11(stream: bytes) -> tuple[str, str, bytes] | int:
    """The first request in the stream as h11's Connection has it, or the status it would be refused with."""
    http, body = h11.Connection(h11.SERVER), b""
    http.receive_data(stream)
    try:
        request = http.next_event()
        assert isinstance(request, h11.Request)
        while isinstance(event := http.next_event(), h11.Data):
            body += event.data
    except h11.RemoteProtocolError as exc:
        return exc.error_status_hint
    return request.method.decode(), request.target.decode(), body + (b"..." if event is h11.NEED_DATA else b"")


NAMES = st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Expect", b"Connection", b"Upgrade", b"X:", b" "]
)
VALUES = st.sampled_from(
    [b"x", b"0", b"3", b"3, 3", b"chunked", b"close", b"gzip", b"a\r\n b", b"", b"\x00", b"100-continue"]
)
FIELD = st.tuples(NAMES, st.sampled_from([b": ", b":", b" : "]), VALUES, st.sampled_from([b"\r\n", b"\n"]))


@patient
@given(
    st.sampled_from([b"GET / HTTP/1.1", b"POST /a?b HTTP/1.0", b"PUT / HTTP/1.1 ", b"G@T /", b"GET / HTTP/2.0"]),
    st.lists(FIELD, max_size=4),
    st.sampled_from([b"", b"abc", b"abcdef", b"3\r\nabc\r\n0\r\n\r\n", b"3\r\nabcX", b"3\r\nab", b"0\r\nA: b\r\n\r\n"]),
)
def test_what_passes_is_what_h11_would_let_pass(line: bytes, fields: list[tuple[bytes, ...]], body: bytes) -> None:
    stream = line + b"\r\nHost: x\r\n" + b"".join(b"".join(field) for field in fields) + b"\r\n" + body
    ours = parse([stream])[0]
    assert ours == ask_h11(stream) or ours in (400, 501)
