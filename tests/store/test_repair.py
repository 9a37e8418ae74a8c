"""Opening a log after a crash or damage: what was synced is there, and positions have no gap."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import Entry, Record
from agentd.errors import StoreFailed
from agentd.store.lines import DAMAGED
from agentd.store.log import FileOps, LogReader, SessionLog, open_log
from agentd.store.repair import quarantine_path

Fill = Callable[[int], SessionLog]
UNSYNCED = FileOps(sync=lambda _: None)  # hundreds of syncs take their time


def note(n: int) -> Entry:
    return Entry("notice", {"n": n})


@pytest.fixture
def eight(log_path: Path, filled: Fill) -> tuple[list[Record], bytes]:
    """Eight records at `log_path`, and the bytes of them."""
    filled(8)
    with LogReader(log_path) as reader:
        return reader.read(0), log_path.read_bytes()


def quarantined(log_path: Path) -> list[bytes]:
    lines = quarantine_path(log_path).read_text().splitlines()
    return [json.loads(line)["raw"].encode("utf-8", "surrogateescape") for line in lines]


def codes(records: list[Record]) -> list[str | None]:
    return [record.data.get("code") for record in records]


def test_cut_after_any_byte_a_log_has_the_records_that_were_whole(log_path: Path, filled: Fill) -> None:
    filled(6)
    raw = log_path.read_bytes()
    lines = raw.splitlines(keepends=True)
    for cut in range(len(b"".join(lines[:3])), len(raw) + 1):
        log_path.write_bytes(raw[:cut])
        whole = raw[:cut].count(b"\n")
        with open_log(log_path, ops=UNSYNCED) as log:
            assert log.read_lines(0) == b"".join(lines[:whole])
            assert len(log.repairs) == (0 if raw[:cut].endswith(b"\n") else 1)
            assert log.append([note(7)])[0].pos == whole + 1
        with open_log(log_path, ops=UNSYNCED) as log:
            assert (log.repairs, log.last_pos) == ((), whole + 1)
        assert not quarantine_path(log_path).exists()


def test_of_records_that_were_written_together_a_torn_end_leaves_none(log_path: Path, filled: Fill) -> None:
    whole = filled(2).size
    with open_log(log_path) as log:
        log.append([note(3), note(4), note(5)])
    raw = log_path.read_bytes()
    for cut in range(whole, len(raw)):
        log_path.write_bytes(raw[:cut])
        with LogReader(log_path) as reader:
            assert reader.last_pos == 2
        with open_log(log_path, ops=UNSYNCED) as log:
            assert (log.last_pos, log.size, log.generation) == (2, whole, 1)
            assert [(repair.size, repair.quarantined) for repair in log.repairs] == [(cut - whole, False)][
                : cut - whole
            ]
    log_path.write_bytes(raw)
    with open_log(log_path) as log:
        assert (log.last_pos, log.repairs) == (5, ())


def test_of_records_that_were_written_together_damage_takes_one(log_path: Path, filled: Fill) -> None:
    filled(1)
    with open_log(log_path) as log:
        log.append([note(2), note(3)])
    log_path.write_bytes(log_path.read_bytes().replace(b'"n":3', b'"n":4'))
    with open_log(log_path) as log:
        assert (log.last_pos, log.generation) == (2, 2)
        assert [repair.quarantined for repair in log.repairs] == [True]


def test_a_torn_end_may_be_all_there_is(log_path: Path) -> None:
    log_path.write_bytes(b'{"pos":1,"ts"')
    with open_log(log_path) as log:
        assert (log.last_pos, log.size) == (0, 0)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_flipped_byte_in_the_middle_reads_as_a_notice_and_leaves_no_gap(
    log_path: Path, eight: tuple[list[Record], bytes], data: st.DataObject
) -> None:
    quarantine_path(log_path).unlink(missing_ok=True)
    before, whole = eight
    raw = bytearray(whole)
    raw[data.draw(st.integers(0, len(raw) * 3 // 4))] ^= data.draw(st.integers(1, 255))
    log_path.write_bytes(raw)
    with LogReader(log_path) as reader:
        unrepaired = reader.read(0)
    with open_log(log_path, ops=UNSYNCED) as log:
        records = log.read(0)
        assert [record.pos for record in records] == list(range(1, 9))
        assert records == unrepaired
        changed = [record for record, old in zip(records, before, strict=True) if record != old]
        assert codes(changed) in ([DAMAGED], [DAMAGED, DAMAGED])  # a newline that is no more joins two lines
        assert [repair.last for repair in log.repairs] == [changed[-1].pos]
    with open_log(log_path) as log:
        assert (log.repairs, log.read(0)) == ((), records)


def test_what_is_taken_out_is_kept_byte_for_byte(log_path: Path, filled: Fill) -> None:
    filled(4)
    lines = log_path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\xff\x00" + lines[1][2:]
    log_path.write_bytes(b"".join(lines))
    with open_log(log_path) as log:
        assert codes(log.read(0)) == [None, DAMAGED, None, None]
        assert [str(repair) for repair in log.repairs] == [
            f"the records from 2 to 2 were damaged: {len(lines[1])} bytes, kept in the quarantine file"
        ]
    assert quarantined(log_path) == [lines[1]]


def test_a_block_of_zeros_costs_the_records_in_it(log_path: Path, filled: Fill) -> None:
    filled(100)
    raw = bytearray(log_path.read_bytes())
    raw[4096:8192] = bytes(4096)
    first, last = raw[:4096].count(b"\n") + 1, 100 - raw[8192:].count(b"\n") + 1
    log_path.write_bytes(raw)
    with open_log(log_path) as log:
        lost = [record.pos for record in log.read(0) if record.data.get("code") == DAMAGED]
        assert lost == list(range(first, last + 1))
        assert [(repair.first, repair.last) for repair in log.repairs] == [(first, last)]


def test_two_damaged_places_are_repaired_both(log_path: Path, filled: Fill) -> None:
    filled(9)
    lines = log_path.read_bytes().splitlines(keepends=True)
    lines[2], lines[6] = b"?" + lines[2], lines[6][:9] + b"\n"
    log_path.write_bytes(b"".join(lines))
    with open_log(log_path) as log:
        assert [pos for pos, code in enumerate(codes(log.read(0)), 1) if code] == [3, 7]
        assert log.append([note(10)])[0].pos == 10
    assert quarantined(log_path) == [lines[2], lines[6]]


def test_damage_that_is_larger_than_what_is_read_at_once_is_repaired(
    log_path: Path, filled: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.store.view.SCAN_BYTES", 256)
    filled(40)
    raw = bytearray(log_path.read_bytes())
    raw[500:2000] = b"\n" * 1500
    log_path.write_bytes(raw)
    with open_log(log_path) as log:
        assert [record.pos for record in log.read(0)] == list(range(1, 41))
        assert codes(log.read(0)).count(None) == log.last_pos - (log.repairs[0].last - log.repairs[0].first + 1)


def test_a_finished_line_at_the_end_that_is_damaged_is_kept_aside_and_begins_a_generation(
    log_path: Path, filled: Fill
) -> None:
    filled(3)
    lines = log_path.read_bytes().splitlines(keepends=True)
    log_path.write_bytes(lines[0] + lines[1] + lines[2].replace(b'"pos"', b'"p\x00s"'))
    with open_log(log_path) as log:
        assert log.last_pos == 2
        assert [repair.quarantined for repair in log.repairs] == [True]
        log.append([note(4)])
        assert (log.can_resume(3, 1), log.can_resume(2, 1), log.can_resume(3, 2)) == (False, True, True)
    assert quarantined(log_path) == [lines[2].replace(b'"pos"', b'"p\x00s"')]


def test_of_a_last_line_whose_newline_is_damaged_nothing_is_thrown_away(log_path: Path, filled: Fill) -> None:
    filled(3)
    raw = log_path.read_bytes()
    log_path.write_bytes(raw[:-1] + b"\x0b")
    with open_log(log_path) as log:
        assert (log.last_pos, log.generation) == (2, 2)
        assert [repair.quarantined for repair in log.repairs] == [True]
    assert quarantined(log_path) == [raw.splitlines()[2] + b"\x0b"]


def test_a_file_that_is_no_log_is_kept_aside_whole(log_path: Path) -> None:
    log_path.write_bytes(b"\x89PNG\r\n\x1a\n" * 50)
    with open_log(log_path) as log:
        assert log.last_pos == 0
    assert quarantined(log_path) == [b"\x89PNG\r\n\x1a\n" * 50]


def test_where_there_is_no_room_to_set_damage_aside_the_log_stays_as_it_is(log_path: Path, filled: Fill) -> None:
    filled(3)
    raw = log_path.read_bytes().replace(b'"pos":2', b'"pos":x')
    log_path.write_bytes(raw)
    quarantine_path(log_path).mkdir()  # nothing can be appended to it
    with pytest.raises(StoreFailed, match="cannot open the session log"):
        open_log(log_path)
    assert log_path.read_bytes() == raw
    quarantine_path(log_path).rmdir()
    open_log(log_path).close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_power_cut_leaves_of_the_unsynced_part_what_was_synced_is_there(
    log_path: Path, eight: tuple[list[Record], bytes], data: st.DataObject
) -> None:
    _, whole = eight
    synced, end = len(b"".join(whole.splitlines(keepends=True)[:3])), len(whole)
    # File systems write blocks in any order: what was not synced may be there, be zeros, or be missing.
    raw = bytearray(whole)
    hole = sorted(data.draw(st.tuples(*[st.integers(synced, end)] * 2)))
    raw[hole[0] : hole[1]] = bytes(hole[1] - hole[0])
    log_path.write_bytes(raw[: data.draw(st.integers(synced, end))])
    with open_log(log_path, ops=UNSYNCED) as log:
        records = log.read(0)
        assert [record.pos for record in records] == list(range(1, len(records) + 1))
        assert [record.data["n"] for record in records[:3]] == [1, 2, 3]
        assert log.append([note(0)])[0].pos == len(records) + 1


def test_a_crash_while_a_repair_is_written_leaves_the_log_to_be_repaired(
    log_path: Path, filled: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(3)
    raw = log_path.read_bytes().replace(b'"pos":2', b'"pos":x')
    log_path.write_bytes(raw)

    def die(source: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            open_log(log_path)
    assert log_path.read_bytes() == raw
    with open_log(log_path) as log:
        assert codes(log.read(0)) == [None, DAMAGED, None]


def test_a_failed_opening_lets_go_of_the_lock(log_path: Path) -> None:
    log_path.mkdir()
    with pytest.raises(StoreFailed, match="Is a directory"):
        open_log(log_path)
    log_path.rmdir()
    open_log(log_path).close()
