"""Lines and the index: sans-IO."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.domain import Record
from agentd.errors import StoreFailed
from agentd.store.lines import (
    DAMAGED,
    MAX_DEPTH,
    Index,
    bare_line,
    decode_line,
    decode_lines,
    encode_json,
    encode_line,
    seal,
)

ANY_TEXT = st.text(st.characters(exclude_categories=()))  # lone surrogates too
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


SIX = {"pos", "ts", "job", "type", "data", "parent"}


def note(pos: int) -> Record:
    return Record(pos, 1000 + pos, "job", "notice", {"n": pos, "text": "x" * (pos % 7)})


def unsealed(pos: int) -> bytes:
    return encode_json({key: getattr(note(pos), key) for key in ("pos", "ts", "job", "type", "data", "parent")}) + b"\n"


def lines_of(count: int) -> list[bytes]:
    return [encode_line(note(pos)) for pos in range(1, count + 1)]


def read_back(raw: bytes) -> tuple[Index, list[Record]]:
    """What an index makes of a whole file, damaged ones as notices."""
    index = Index()
    index.take(raw)
    lines = index.lines(raw[: index.size], 1, index.last_pos) if index.last_pos else []
    records = [decode_line(line, pos) for pos, line in enumerate(lines, 1)]
    assert None not in records
    return index, [record for record in records if record]


def nested(depth: int) -> dict[str, Any]:
    value: list[Any] = []
    for _ in range(depth - 2):  # the innermost list and the object count
        value = [value]
    return {"deep": value}


@settings(deadline=None)
@given(st.dictionaries(ANY_TEXT, JSON, max_size=4), ANY_TEXT, st.none() | ANY_TEXT)
def test_a_record_survives_its_line(data: dict[str, Any], kind: str, job: str | None) -> None:
    record = Record(7, 12, job, kind, data, parent=job)
    line = encode_line(record)
    # Two lone surrogates side by side come back as the one character that they spell in UTF-16.
    joined = json.loads(json.dumps([kind, job, data]))
    assert decode_line(line, 7) == Record(7, 12, joined[1], joined[0], joined[2], parent=joined[1])
    assert line.count(b"\n") == 1


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_become_null(number: float) -> None:
    assert json.loads(encode_json({"a": [number, 1.5]})) == {"a": [None, 1.5]}


def test_text_is_not_escaped_where_it_need_not_be() -> None:
    assert encode_json({"text": "smørrebrød 🥪"}) == '{"text":"smørrebrød 🥪"}'.encode()


def test_what_could_not_be_parsed_again_is_refused() -> None:
    encode_json(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(StoreFailed, match="nested deeper"):
            encode_json(nested(depth))


def test_many_brackets_are_no_depth() -> None:
    encode_json({"flat": [{}] * 1000})


def test_what_json_cannot_say_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        encode_json({"data": b"bytes"})


def test_the_index_leaves_half_a_line_for_later() -> None:
    index, lines = Index(), lines_of(3)
    assert index.take(lines[0] + lines[1][:-1]) == len(lines[0])
    assert index.take(lines[1] + lines[2]) == len(lines[1] + lines[2])
    assert (index.last_pos, index.size, index.last_ts) == (3, sum(map(len, lines)), 1003)


def test_a_line_with_keys_of_a_later_version_is_whole() -> None:
    line = seal(encode_json({"pos": 1, "ts": 1, "job": None, "type": "x", "data": {}, "parent": None, "new": 1}))
    assert decode_line(line, 1) == Record(1, 1, None, "x", {})


def test_no_flipped_byte_of_a_line_goes_unnoticed() -> None:
    line = encode_line(note(1))
    for at in range(len(line) - 1):
        for flip in range(1, 256):
            assert decode_line(line[:at] + bytes([line[at] ^ flip]) + line[at + 1 :], 1) is None


def test_lines_without_seals_as_the_first_versions_wrote_them_are_read_beside_sealed_ones() -> None:
    lines = [unsealed(1), unsealed(2), *lines_of(4)[2:]]
    assert read_back(b"".join(lines))[1] == [note(1), note(2), note(3), note(4)]
    assert decode_lines(b"".join(lines), 1, 4) == [note(1), note(2), note(3), note(4)]


def test_a_bare_line_is_the_record_and_no_more() -> None:
    assert bare_line(encode_line(note(1)), 1, 0) == unsealed(1)
    assert bare_line(unsealed(1), 1, 0) == unsealed(1)


def test_a_bare_line_of_what_was_damaged_is_the_notice() -> None:
    fields = json.loads(bare_line(encode_line(note(4)).replace(b'"n":4', b'"n":5'), 4, 99))
    assert (fields["pos"], fields["ts"], fields["data"]["code"], fields.keys()) == (4, 99, DAMAGED, SIX)


@settings(deadline=None)
@given(st.data())
def test_a_flipped_byte_costs_no_more_than_the_records_it_touches(data: st.DataObject) -> None:
    lines = lines_of(12)
    raw = bytearray(b"".join(lines))
    whole_end = len(raw) - len(lines[-1]) - len(lines[-2])  # damage at the very end is cut: another test
    at = data.draw(st.integers(0, whole_end - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    index, records = read_back(bytes(raw))
    assert [record.pos for record in records] == list(range(1, 13))
    lost = [record.pos for record in records if record.data.get("code") == DAMAGED]
    assert len(lost) <= 2  # a newline that is no more joins two
    hit = next(pos for pos in range(1, 13) if at < sum(map(len, lines[:pos])))
    assert lost[0] == hit
    assert [record for record in records if record.pos not in lost] == [
        note(pos) for pos in range(1, 13) if pos not in lost
    ]
    assert index.size == len(raw)


@settings(deadline=None)
@given(st.integers(0, 5), st.integers(1, 400), st.binary(max_size=300))
def test_damage_of_any_size_leaves_the_records_around_it(start: int, size: int, garbage: bytes) -> None:
    lines = lines_of(20)
    head, middle, tail = b"".join(lines[:start]), b"".join(lines[start:12]), b"".join(lines[12:])
    raw = head + (garbage + middle[size:])[: len(middle)].ljust(len(middle), b"\0") + tail
    _, records = read_back(raw)
    assert [record.pos for record in records] == list(range(1, 21))
    for record in (*records[:start], *records[13:]):  # the 13th may share its line with what has lost its newline
        assert record == note(record.pos)


def test_a_line_too_many_is_left_out() -> None:
    lines = lines_of(3)
    index, records = read_back(lines[0] + b"what is this\n" + lines[1] + lines[2])
    assert records == [note(1), note(2), note(3)]
    assert [(damage.first, damage.last, damage.size) for damage in index.damages] == [(2, 1, 13)]


def test_a_position_that_was_damaged_into_a_larger_one_is_not_believed() -> None:
    lines = lines_of(5)
    lines[2] = lines[2].replace(b'"pos":3', b'"pos":900000000')
    _, records = read_back(b"".join(lines))
    assert [record.data.get("code") for record in records] == [None, None, DAMAGED, None, None]


def test_a_notice_in_place_of_a_damaged_record_has_the_time_of_the_one_before() -> None:
    lines = lines_of(3)
    _, records = read_back(lines[0] + lines[1].replace(b"notice", b"not\xffce") + lines[2])
    assert [record.ts for record in records] == [1001, 1001, 1003]


@settings(deadline=None)
@given(st.integers(-1, 12), st.none() | st.integers(0, 12), st.integers(1, 500))
def test_a_span_is_what_was_asked_for_and_never_nothing_while_there_is_more(
    after: int, limit: int | None, max_bytes: int
) -> None:
    index, lines = Index(), lines_of(10)
    index.take(b"".join(lines))
    last, offset, size = index.span(after, limit, max_bytes)
    start = min(max(after, 0), 10)
    chosen = lines[start:last]
    assert offset == sum(map(len, lines[:start]))
    assert size == sum(map(len, chosen))
    assert len(chosen) <= (10 if limit is None else limit)
    assert size <= max_bytes or len(chosen) == 1
    assert chosen or start == 10 or limit == 0
    if chosen and last < 10 and len(chosen) != limit:
        assert size + len(lines[last]) > max_bytes
