"""The session log: one writer, records written before they are announced, nothing lost that was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import Entry
from agentd.errors import Locked, StoreFailed
from agentd.store.log import FileOps, SessionLog, create_log, open_log

ANY_TEXT = st.text(st.characters(exclude_categories=()))
ENTRIES = st.builds(
    Entry,
    ANY_TEXT,
    st.dictionaries(ANY_TEXT, ANY_TEXT | st.integers() | st.lists(ANY_TEXT)),
    st.none() | ANY_TEXT,
    st.none() | ANY_TEXT,
)


def note(n: int) -> Entry:
    return Entry("notice", {"n": n})


class Disk:
    """Takes *room* bytes, then fails as *error* says; None: writes less than it was given, as a full disk does."""

    def __init__(self, room: int, error: int | None = None) -> None:
        self.room = room
        self.error = error
        self.writes = 0

    def write(self, fd: int, data: bytes) -> int:
        self.writes += 1
        written = os.write(fd, data[: self.room])
        self.room -= written
        if written < len(data) and self.error is not None:
            raise OSError(self.error, os.strerror(self.error))
        return written

    def ops(self) -> FileOps:
        return FileOps(write=self.write)


def lowest_free_descriptor() -> int:
    fd = os.dup(0)
    os.close(fd)
    return fd


def refuse(*_: Any) -> None:
    raise OSError(errno.EIO, "Input/output error")


# --- Appending ----------------------------------------------------------------------------------------------------


def test_positions_start_at_one_and_have_no_gap(log_path: Path) -> None:
    with open_log(log_path) as log:
        assert [record.pos for record in log.append([note(1), note(2)])] == [1, 2]
        assert [record.pos for record in log.append([note(3)])] == [3]
        assert log.last_pos == 3
        assert log.size == log_path.stat().st_size


def test_append_returns_what_a_reader_gets(log_path: Path) -> None:
    with open_log(log_path) as log:
        written = log.append([Entry("message", {"text": "å\n"}, job="j", parent="call"), note(2)])
        assert log.read(0) == written


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(ENTRIES, max_size=4), max_size=4))
def test_whatever_was_appended_is_there_when_the_log_is_opened_again(
    tmp_path: Path, batches: list[list[Entry]]
) -> None:
    path = tmp_path / f"{os.urandom(8).hex()}.ndjson"
    with open_log(path) as log:
        for batch in batches:
            log.append(batch)
        before = log.read(0)
    with open_log(path) as log:
        assert log.repairs == ()
        assert log.read(0) == before
        assert len(before) == sum(map(len, batches))


async def test_ctrl_c_does_not_come_between_a_write_and_its_announcement(log_path: Path) -> None:
    protected: list[bool] = []

    def write(fd: int, data: bytes) -> int:
        protected.append(trio.lowlevel.currently_ki_protected())
        return os.write(fd, data)

    with open_log(log_path, ops=FileOps(write=write)) as log:
        log.append([note(1)])
    assert protected == [True]
    assert not trio.lowlevel.currently_ki_protected()


def test_a_batch_is_one_write(log_path: Path) -> None:
    disk = Disk(room=1 << 20)
    with open_log(log_path, ops=disk.ops()) as log:
        log.append([note(n) for n in range(100)])
    assert disk.writes == 1


def test_nothing_to_append_writes_nothing_and_tells_nobody(log_path: Path) -> None:
    told: list[int] = []
    disk = Disk(room=0)
    with open_log(log_path, ops=disk.ops()) as log:
        log.subscribe(told.append)
        assert log.append([]) == []
    assert (disk.writes, told) == (0, [])


def test_time_does_not_go_backwards(log_path: Path) -> None:
    times = iter([500, 400, 600])
    with open_log(log_path, clock=lambda: next(times)) as log:
        for n in range(3):
            log.append([note(n)])
        assert [record.ts for record in log.read(0)] == [500, 500, 600]


def test_time_does_not_go_backwards_when_the_log_is_opened_again(log_path: Path) -> None:
    with open_log(log_path, clock=lambda: 500) as log:
        log.append([note(1)])
    with open_log(log_path, clock=lambda: 400) as log:
        assert log.append([note(2)])[0].ts == 500


def test_a_record_that_is_larger_than_any_buffer_is_read_back(log_path: Path) -> None:
    with open_log(log_path) as log:
        written = log.append([note(1), Entry("big", {"text": "x" * 5_000_000}), note(3)])
    with open_log(log_path) as log:
        assert list(log.records()) == written


# --- Subscribers --------------------------------------------------------------------------------------------------


def test_subscribers_hear_in_order_of_what_they_can_read_by_then(log_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    with open_log(log_path) as log:
        log.subscribe(lambda pos: heard.append(("first", pos, len(log.read(0)))))
        log.subscribe(lambda pos: heard.append(("second", pos, len(log.read(0)))))
        log.append([note(1), note(2)])
        log.append([note(3)])
    assert heard == [("first", 2, 2), ("second", 2, 2), ("first", 3, 3), ("second", 3, 3)]


def test_a_subscriber_that_was_ended_hears_nothing_not_even_of_the_write_under_way(log_path: Path) -> None:
    heard: list[int] = []
    with open_log(log_path) as log:
        log.subscribe(lambda _: end_second())
        end_second = log.subscribe(heard.append)
        log.append([note(1)])
        log.append([note(2)])
    assert heard == []


def test_a_subscriber_must_not_append(log_path: Path) -> None:
    with open_log(log_path) as log:

        def answer(pos: int) -> None:
            log.append([note(pos)])

        log.subscribe(answer)
        with pytest.raises(RuntimeError, match="must not append"):
            log.append([note(1)])
        assert log.last_pos == 1


# --- A disk that refuses ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [None, errno.ENOSPC, errno.EIO, errno.EFBIG])
@pytest.mark.parametrize("room", [0, 1, 100, 130])
def test_a_batch_that_does_not_fit_is_taken_back_whole(log_path: Path, room: int, error: int | None) -> None:
    disk = Disk(room=1 << 20)
    told: list[int] = []
    with open_log(log_path, ops=disk.ops()) as log:
        log.append([note(1)])
        size = log.size
        log.subscribe(told.append)
        disk.room, disk.error = room, error
        with pytest.raises(StoreFailed, match="cannot write to the session log"):
            log.append([note(2), note(3)])
        assert (log.last_pos, log_path.stat().st_size, told) == (1, size, [])
        disk.room = 1 << 20
        assert log.append([note(4)])[0].pos == 2
    with open_log(log_path) as log:
        assert [record.data["n"] for record in log.read(0)] == [1, 4]
        assert log.repairs == ()


def test_a_log_whose_end_cannot_be_cut_takes_nothing_more(log_path: Path) -> None:
    disk = Disk(room=1 << 20)
    with open_log(log_path, ops=FileOps(write=disk.write, truncate=refuse)) as log:
        log.append([note(1)])
        disk.room = 10
        for _ in range(2):
            with pytest.raises(StoreFailed, match=r"cannot be cut: Input/output error"):
                log.append([note(2)])
        assert len(log.read(0)) == 1
    with open_log(log_path) as log:
        assert [(repair.size, repair.quarantined) for repair in log.repairs] == [(10, False)]
        assert log.append([note(3)])[0].pos == 2


def test_an_entry_that_is_no_json_leaves_the_log_as_it_was(log_path: Path) -> None:
    with open_log(log_path) as log:
        with pytest.raises(TypeError):
            log.append([note(1), Entry("notice", {"n": object()})])
        assert log.append([note(2)])[0].pos == 1


# --- Reading ------------------------------------------------------------------------------------------------------


def test_reading_goes_on_behind_a_position(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(n) for n in range(1, 11)])
        assert [record.pos for record in log.read(4, limit=3)] == [5, 6, 7]
        assert log.read_lines(4, limit=3) == b"".join(log.line(pos) for pos in (5, 6, 7))
        assert [record.pos for record in log.records(7)] == [8, 9, 10]
        assert (log.read(10), log.read_lines(10), log.read(99), log.line(11), log.line(0)) == ([], b"", [], b"", b"")


def test_a_read_is_bounded_but_never_stuck(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(n) for n in range(1, 11)])
        size = len(log.line(1))
        assert len(log.read(0, max_bytes=3 * size)) == 3
        assert len(log.read(0, max_bytes=1)) == 1


def test_what_is_not_announced_is_not_read(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(1)])
        with log_path.open("ab") as file:
            file.write(log.line(1))
        assert len(log.read(0)) == 1


def test_a_record_that_was_damaged_since_reads_as_a_notice(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(1), note(2), note(3)])
        raw = bytearray(log_path.read_bytes())
        raw[len(log.line(1)) + 5] = 0
        log_path.write_bytes(raw)
        assert [record.data.get("code") for record in log.read(0)] == [None, "RECORD_DAMAGED", None]


def test_a_log_that_was_cut_by_somebody_is_an_error_not_an_end(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([note(1)])
        os.truncate(log_path, 10)
        with pytest.raises(StoreFailed, match="shorter than it was"):
            log.read(0)


# --- One writer ---------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_the_first_is(log_path: Path) -> None:
    with open_log(log_path), pytest.raises(Locked, match=rf"in use by process {os.getpid()} since 20\d\d-"):
        open_log(log_path)
    open_log(log_path).close()


def test_a_writer_in_another_process_is_one_too(log_path: Path) -> None:
    program = "import sys; from pathlib import Path; from agentd.store.log import open_log; open_log(Path(sys.argv[1]))"
    with open_log(log_path):
        done = subprocess.run([sys.executable, "-c", program, log_path], capture_output=True, text=True, check=False)
    assert f"Locked: the session is in use by process {os.getpid()}" in done.stderr


def test_the_log_is_for_its_owner_only(log_path: Path) -> None:
    open_log(log_path).close()
    assert all(path.stat().st_mode & 0o077 == 0 for path in log_path.parent.iterdir())


def test_a_closed_log_can_be_closed_again_and_takes_nothing_more(log_path: Path) -> None:
    log = open_log(log_path)
    log.close()
    log.close()
    with pytest.raises(StoreFailed, match="is closed"):
        log.append([note(1)])


def test_closing_tells_of_a_failed_sync_and_unlocks_all_the_same(log_path: Path) -> None:
    log = open_log(log_path, ops=FileOps(sync=refuse))
    log.append([note(1)])
    with pytest.raises(StoreFailed, match="cannot sync the session log: Input/output error"):
        log.close()
    open_log(log_path).close()


def test_closing_syncs(log_path: Path) -> None:
    synced: list[int] = []
    with open_log(log_path, ops=FileOps(sync=synced.append)) as log:
        log.append([note(1)])
    assert len(synced) == 1
    assert log.synced_pos == 1


def test_closing_a_log_that_is_on_the_disk_syncs_nothing(log_path: Path) -> None:
    open_log(log_path, ops=FileOps(sync=refuse)).close()


# --- Generations --------------------------------------------------------------------------------------------------


def test_a_log_that_is_opened_again_keeps_its_generation(log_path: Path, filled: Callable[[int], SessionLog]) -> None:
    filled(3)
    with open_log(log_path) as log:
        assert log.generation == 1
        assert log.can_resume(3, 1)


def test_a_log_that_is_opened_after_a_reboot_begins_a_generation(
    log_path: Path, filled: Callable[[int], SessionLog], reboot: Callable[[], None]
) -> None:
    filled(3)
    reboot()
    with open_log(log_path) as log:
        assert log.generation == 2


def test_a_cursor_beyond_what_survived_a_power_cut_cannot_go_on(
    log_path: Path, filled: Callable[[int], SessionLog], reboot: Callable[[], None]
) -> None:
    before = filled(5)
    os.truncate(log_path, before.size - 10)  # the power cut took the fifth record
    for _ in range(2):
        reboot()
        with open_log(log_path) as log:
            assert not log.can_resume(log.last_pos + 1, 1)
            log.append([note(6), note(7)])
    with open_log(log_path) as log:
        assert log.generation == 3
        assert [pos for pos in range(10) if log.can_resume(pos, 1)] == [0, 1, 2, 3, 4]
        assert [pos for pos in range(10) if log.can_resume(pos, 2)] == [0, 1, 2, 3, 4, 5, 6]
        assert [pos for pos in range(10) if log.can_resume(pos, 3)] == [0, 1, 2, 3, 4, 5, 6, 7, 8]
        assert not log.can_resume(1, 4)


def test_a_generation_that_cannot_be_noted_keeps_the_log_closed(
    log_path: Path, filled: Callable[[int], SessionLog], reboot: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(1)
    reboot()
    free = lowest_free_descriptor()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", refuse)
        with pytest.raises(StoreFailed, match="cannot open the session log"):
            open_log(log_path)
    assert lowest_free_descriptor() == free
    open_log(log_path).close()


def test_a_cursor_without_a_generation_is_only_held_against_the_end(
    log_path: Path, filled: Callable[[int], SessionLog]
) -> None:
    log = filled(3)
    assert log.can_resume(3)
    assert not log.can_resume(4)
    assert not log.can_resume(-1)


# --- New sessions -------------------------------------------------------------------------------------------------


def test_a_new_session_has_its_first_records(tmp_path: Path) -> None:
    path = create_log(tmp_path / "session", [note(1), note(2)])
    assert path == tmp_path / "session" / "log.ndjson"
    with open_log(path) as log:
        assert [record.data["n"] for record in log.read(0)] == [1, 2]
        assert log.generation == 1


def test_a_session_that_is_there_already_is_not_replaced(tmp_path: Path) -> None:
    path = create_log(tmp_path / "session", [note(1)])
    before = path.read_bytes()
    with pytest.raises(StoreFailed, match="cannot create the session"):
        create_log(tmp_path / "session", [note(2)])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["session"]
