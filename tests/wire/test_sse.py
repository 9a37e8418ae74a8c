"""Server-Sent Events, out and in. The rules: WHATWG HTML, 9.2."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.wire import sse
from agentd.wire.sse import Decoder, Event, EventTooLarge, encode

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a machine may be busy


def decode(*pieces: bytes) -> list[tuple[str, str, str]]:
    decoder = Decoder()
    return [(event.name, event.data, event.id) for piece in pieces for event in decoder.feed(piece)]


def test_an_event_as_wire_bytes() -> None:
    assert encode("token", '{"a":1}', event_id=7) == b'id: 7\nevent: token\ndata: {"a":1}\n\n'


def test_an_event_may_have_no_id() -> None:
    assert encode("token", "x") == b"event: token\ndata: x\n\n"


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_a_line_break_in_data_starts_another_data_line(end: str) -> None:
    assert encode("a", f"b{end}event: c", event_id=1) == b"id: 1\nevent: a\ndata: b\ndata: event: c\n\n"


def test_a_line_break_in_a_name_starts_no_field() -> None:
    assert encode("a\ndata: b", "c") == b"event: a data: b\ndata: c\n\n"


def test_a_lone_surrogate_does_not_stop_a_stream() -> None:
    assert encode("a", "\ud800") == b"event: a\ndata: ?\n\n"


@pytest.mark.parametrize(
    ("stream", "events"),
    [  # the examples of WHATWG 9.2.6
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
            [("message", "first event", "1"), ("message", "second event", ""), ("message", " third event", "")],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
    ],
)
def test_the_examples_of_the_standard(stream: bytes, events: list[tuple[str, str, str]]) -> None:
    assert decode(stream) == events
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == events


@pytest.mark.parametrize(
    ("stream", "events"),
    [
        (b"event: a\nid: 1\n\ndata: b\n\n", [("message", "b", "1")]),  # no data: no event, but the id counts
        (b"id: 1\ndata: a\n\ndata: b\n\n", [("message", "a", "1"), ("message", "b", "1")]),
        (b"id: 1\x002\ndata: a\n\n", [("message", "a", "")]),
        (b"foo: bar\ndata: a\n\n", [("message", "a", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
        (b"data: \xef\xbb\xbfa\n\n", [("message", "\ufeffa", "")]),
        (b"data: a\xff\n\n", [("message", "a\ufffd", "")]),
        (b"data: a\r\rdata: b\r\n\r\ndata: c\n\r", [("message", "a", ""), ("message", "b", ""), ("message", "c", "")]),
        (b"data: a\n", []),
        (b": comment\n\n", []),
    ],
)
def test_the_corners_of_the_standard(stream: bytes, events: list[tuple[str, str, str]]) -> None:
    assert decode(stream) == events
    assert decode(*(stream[i : i + 1] for i in range(len(stream)))) == events


def test_the_time_to_reconnect_is_kept() -> None:
    decoder = Decoder()
    decoder.feed(b"retry: 1500\nretry: x\nretry: -1\n")
    assert decoder.retry_ms == 1500


def test_an_event_without_end_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENT_CHARACTERS", 100)
    decoder = Decoder()
    assert decoder.feed(b"data: " + b"x" * 90 + b"\n\n") == [Event("message", "x" * 90, "")]
    with pytest.raises(EventTooLarge):
        decoder.feed(b"data: " + b"x" * 60 + b"\ndata: " + b"y" * 60)
    with pytest.raises(EventTooLarge):
        Decoder().feed(b"data\n" * 200)


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), min_size=1)


@patient
@given(st.lists(st.tuples(NAMES, TEXT)), st.lists(st.integers(0, 10_000)))
def test_what_was_encoded_is_decoded_however_it_is_cut(events: list[tuple[str, str]], cuts: list[int]) -> None:
    stream = b"".join(encode(name, data, event_id=n) for n, (name, data) in enumerate(events))
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(edges)]
    lines = [data.replace("\r\n", "\n").replace("\r", "\n") for _, data in events]
    names = [name for name, _ in events]
    assert decode(*pieces) == [(name, data, str(n)) for n, (name, data) in enumerate(zip(names, lines, strict=True))]


@patient
@given(st.binary(), st.lists(st.integers(0, 1000)))
def test_any_bytes_are_decoded_alike_however_they_are_cut(stream: bytes, cuts: list[int]) -> None:
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    assert decode(*(stream[start:end] for start, end in pairwise(edges))) == decode(stream)
