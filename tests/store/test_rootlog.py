"""root.ndjson: what belongs to no session."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.domain import Entry
from agentd.errors import Locked, StoreFailed
from agentd.store.rootlog import RootLog, RootRecord

APPEND = """
import sys
from pathlib import Path
from agentd.domain import Entry
from agentd.store.rootlog import RootLog
for n in range(50):
    RootLog(Path(sys.argv[1])).append([Entry("from", {"who": sys.argv[2], "n": n, "text": "x" * 5000})])
"""


@pytest.fixture
def root_log(tmp_path: Path) -> RootLog:
    return RootLog(tmp_path / "root.ndjson", clock=lambda: 17)


def active(session: str) -> Entry:
    return Entry("session.active", {"id": session})


def test_what_was_appended_is_read_back(root_log: RootLog) -> None:
    root_log.append([active("a"), Entry("odd", {"text": "\ud800\n"})])
    assert root_log.read().records == [
        RootRecord(17, "session.active", {"id": "a"}),
        RootRecord(17, "odd", {"text": "\ud800\n"}),
    ]


def test_reading_goes_on_where_the_last_page_ended(root_log: RootLog) -> None:
    root_log.append([active("a")])
    page = root_log.read()
    assert root_log.read(page.end).records == []
    root_log.append([active("b")])
    assert [record.data["id"] for record in root_log.read(page.end).records] == ["b"]


def test_cut_after_any_byte_the_whole_lines_remain(root_log: RootLog) -> None:
    root_log.append([active("a"), active("b")])
    raw = root_log.path.read_bytes()
    for cut in range(len(raw) + 1):
        root_log.path.write_bytes(raw[:cut])
        whole = ["a", "b"][: raw[:cut].count(b"\n")]
        assert [record.data["id"] for record in root_log.read().records] == whole
        root_log.append([active("c")])
        page = root_log.read()
        assert ([record.data["id"] for record in page.records], page.damaged) == ([*whole, "c"], 0)


def test_a_damaged_line_is_left_out_and_counted(root_log: RootLog) -> None:
    root_log.append([active("a"), active("b"), active("c")])
    root_log.path.write_bytes(root_log.path.read_bytes().replace(b'"b"}', b'"b"]'))
    page = root_log.read()
    assert ([record.data["id"] for record in page.records], page.damaged) == (["a", "c"], 1)


def test_a_damaged_line_that_is_valid_json_still_is_left_out(root_log: RootLog) -> None:
    root_log.append([active("a"), active("b")])
    root_log.path.write_bytes(root_log.path.read_bytes().replace(b'"a"}', b'"c"}'))
    page = root_log.read()
    assert ([record.data["id"] for record in page.records], page.damaged) == (["b"], 1)


def test_a_line_of_the_first_versions_which_has_no_seal_is_read(root_log: RootLog) -> None:
    root_log.path.write_bytes(b'{"ts":17,"type":"session.active","data":{"id":"a"}}\n')
    root_log.append([active("b")])
    assert [record.data["id"] for record in root_log.read().records] == ["a", "b"]


def test_processes_append_one_at_a_time(root_log: RootLog) -> None:
    root_log.append([active("a")])
    processes = [subprocess.Popen([sys.executable, "-c", APPEND, root_log.path, who]) for who in "xyz"]
    assert [process.wait() for process in processes] == [0, 0, 0]
    page = root_log.read()
    assert page.damaged == 0
    for who in "xyz":
        assert [record.data["n"] for record in page.records if record.data.get("who") == who] == list(range(50))


def test_a_disk_that_refuses_leaves_nothing(root_log: RootLog, monkeypatch: pytest.MonkeyPatch) -> None:
    root_log.append([active("a")])
    before = root_log.path.read_bytes()

    def refuse(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StoreFailed, match=r"cannot write root\.ndjson: No space left"):
            root_log.append([active("b")])
    assert root_log.path.read_bytes() == before


def test_one_who_holds_the_lock_for_long_is_named(root_log: RootLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.store.rootlog.LOCK_SECONDS", 0.02)
    root_log.append([active("a")])
    with root_log.path.with_suffix(".lock").open("r+b") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Locked, match=rf"root\.ndjson is in use by process {os.getpid()}"):
            root_log.append([active("b")])
