"""LogReader: a log as another process sees it, without its lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.domain import Entry, Record
from agentd.errors import StoreFailed
from agentd.store.log import LogReader, SessionLog, open_log

ROOT = Path(__file__).parents[2]
Fill = Callable[[int], SessionLog]


def note(n: int) -> Entry:
    return Entry("notice", {"n": n})


def test_a_reader_sees_what_was_there_when_it_last_looked(log_path: Path) -> None:
    with open_log(log_path) as log, LogReader(log_path) as reader:
        written = log.append([note(1), note(2)])
        assert reader.last_pos == 0
        assert reader.refresh() == 2
        assert reader.read(0) == written


def test_a_reader_goes_no_further_than_what_was_announced_to_it(log_path: Path) -> None:
    with open_log(log_path) as log, LogReader(log_path) as reader:
        log.append([note(1)])
        announced = log.size
        log.append([note(2)])
        assert reader.refresh(announced) == 1
        assert reader.refresh(announced + 5) == 1
        assert reader.refresh(log.size) == 2


def test_half_a_line_is_not_there_yet(log_path: Path, filled: Fill) -> None:
    filled(3)
    raw = log_path.read_bytes()
    log_path.write_bytes(raw[:-1])
    with LogReader(log_path) as reader:
        assert reader.last_pos == 2
        log_path.write_bytes(raw)
        assert reader.refresh() == 3


def test_a_damaged_record_is_a_notice_before_anybody_has_repaired_the_log(log_path: Path, filled: Fill) -> None:
    filled(3)
    raw = log_path.read_bytes().replace(b'"pos":2', b'"pos":x')
    log_path.write_bytes(raw)
    with LogReader(log_path) as reader:
        assert [record.data.get("code") for record in reader.read(0)] == [None, "RECORD_DAMAGED", None]
        assert reader.read_lines(0).count(b"\n") == 3
        assert reader.line(2).startswith(b'{"pos":2,')
        assert reader.line(3) + reader.line(2) == raw.splitlines(keepends=True)[2] + reader.read_lines(1, 1)
    assert log_path.read_bytes() == raw


def test_a_reader_follows_a_log_that_is_repaired_under_it(log_path: Path, filled: Fill) -> None:
    filled(3)
    log_path.write_bytes(log_path.read_bytes().replace(b'"pos":2', b'"pos":x'))
    with LogReader(log_path) as reader:
        before = reader.read(0)
        with open_log(log_path) as log:
            log.append([note(4)])
        assert reader.refresh() == 4
        assert reader.read(0, limit=3) == before


def test_a_reader_notices_when_the_end_is_taken_back(log_path: Path, filled: Fill) -> None:
    log = filled(3)
    with LogReader(log_path) as reader:
        os.truncate(log_path, log.size - 5)
        assert reader.refresh() == 2
        assert not reader.can_resume(3)


def test_a_reader_learns_of_a_new_generation(log_path: Path, filled: Fill, reboot: Callable[[], None]) -> None:
    filled(3)
    with LogReader(log_path) as reader:
        reboot()
        open_log(log_path).close()
        reader.refresh()
        assert reader.generation == 2
        assert reader.can_resume(3, 1)


def test_there_is_nothing_to_read_where_there_is_no_log(log_path: Path) -> None:
    with pytest.raises(StoreFailed, match="cannot read the session log: No such file"):
        LogReader(log_path)


def test_a_long_log_is_indexed_in_pieces(log_path: Path, filled: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(50)
    whole = log_path.read_bytes()
    for size in (1, 7, 100, 4096):
        monkeypatch.setattr("agentd.store.view.SCAN_BYTES", size)
        with LogReader(log_path) as reader:
            assert reader.read_lines(0) == whole


def test_a_reader_beside_a_writer_sees_whole_lines_without_a_gap(log_path: Path) -> None:
    command = [sys.executable, "-m", "tests.store.appender", str(log_path), "2"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = 0
        with LogReader(log_path) as reader:
            for line in process.stdout:
                words = line.split()
                if words[0] != b"written":
                    continue
                reader.refresh(int(words[2]))
                assert reader.last_pos >= int(words[1])
                records = reader.read(seen)
                assert [record.pos for record in records] == list(range(seen + 1, seen + 1 + len(records)))
                assert all(set(record.data) == {"writer", "n", "text"} for record in records)
                seen += len(records)
                reader.refresh()  # without a bound too: it may see more, never half of anything
                if seen >= 2000:
                    break
        process.kill()
        process.stdout.read()
    assert seen >= 2000


def test_read_as_json_a_record_has_its_fields_and_no_others(log_path: Path, filled: Fill) -> None:
    filled(5)
    raw = log_path.read_bytes()
    log_path.write_bytes(raw.replace(b'"n":2', b'"n":3'))
    with LogReader(log_path) as reader:
        lines = [json.loads(line) for line in reader.read_json(1).splitlines()]
        assert [Record(**line) for line in lines] == reader.read(1)
        assert reader.read_json(5) == b""
