"""Checkpoints as the records of a session say they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.domain import Entry, Record
from agentd.errors import InvalidCheckpoint
from agentd.store.checkpoints import (
    SAVED,
    CheckpointView,
    SavedFile,
    bytes_of,
    checkpoints_of,
    find_checkpoint,
    saved_records,
    states_at,
)
from agentd.store.log import open_log
from agentd.store.view import LogReader


def file(path: str, sha256: str | None = None, size: int = 1) -> dict[str, Any]:
    return SavedFile(path, "file" if sha256 else "absent", sha256, size).to_json()


def saved(name: str, *files: dict[str, Any], **more: Any) -> Entry:
    """By the job of the same name."""
    return Entry(SAVED, {"checkpoint": name, "message": f"message of {name}", "files": list(files), **more}, name)


def folded(*entries: Entry) -> list[CheckpointView]:
    return checkpoints_of(
        Record(pos, 1000 + pos, entry.job, entry.type, entry.data) for pos, entry in enumerate(entries, 1)
    )


def test_the_records_of_a_checkpoint_are_one() -> None:
    other = Entry("notice", {"level": "info", "text": SAVED, "code": SAVED})
    one, two = folded(saved("1"), other, saved("2", file("c")), saved("1", file("b")), saved("1", file("a")))
    assert (one.id, one.message, one.created, one.job, one.files) == ("1", "message of 1", 1001, "1", ["a", "b"])
    assert (two.id, two.created, two.files) == ("2", 1003, ["c"])


def test_what_turned_out_to_be_unchanged_is_not_among_its_files() -> None:
    (one,) = folded(saved("1", file("a"), file("b")), saved("1", unchanged=["a"]))
    assert one.files == ["b"]
    assert one.saved.keys() == {"a", "b"}


def test_what_is_said_later_of_a_file_in_one_checkpoint_is_right() -> None:
    (one,) = folded(saved("1", file("a", "0")), saved("1", file("a", "1")))
    assert one.changes["a"].sha256 == "1"


def test_what_was_saved_before_a_mark_is_told_from_what_came_later() -> None:
    (one,) = folded(saved("1", file("a")), saved("1", mark="tree"), saved("1", file("b")))
    assert (one.mark, one.before_mark) == ("tree", frozenset({"a"}))


def test_a_checkpoint_is_found_by_its_id_and_by_its_message() -> None:
    both = folded(saved("1"), saved("2"))
    assert [find_checkpoint(both, name) for name in ("1", "2", "message of 2")] == [0, 1, 1]
    with pytest.raises(InvalidCheckpoint):
        find_checkpoint(both, "3")


def test_a_file_was_what_the_first_checkpoint_says_of_it_from_there_on() -> None:
    three = folded(
        saved("1", file("a", "1")), saved("2", file("b", "2"), file("a", "2")), saved("3", file("a", "3"), file("c"))
    )
    assert {path: state.sha256 for path, state in states_at(three, 0).items()} == {"a": "1", "b": "2", "c": None}
    assert {path: state.sha256 for path, state in states_at(three, 1).items()} == {"a": "2", "b": "2", "c": None}
    assert states_at(three, 2).keys() == {"a", "c"}


def test_the_records_are_found_among_many_others_and_names_may_be_any_bytes(log_path: Path) -> None:
    noise = Entry("text.delta", {"message": "m", "block": 0, "text": "x" * 50_000})
    odd = "line\nbreak \udcff"
    with open_log(log_path) as log:
        for number in range(3):
            log.append([noise] * 30)
            log.append([saved(str(number), file(odd, str(number)))])
    with LogReader(log_path) as view:
        pieces = list(saved_records(view))
        assert len(pieces) > 3
        found = checkpoints_of(record for piece in pieces for record in piece)
    assert [(each.id, each.files) for each in found] == [("0", [odd]), ("1", [odd]), ("2", [odd])]


def test_the_same_content_takes_room_once(log_path: Path) -> None:
    with open_log(log_path) as log:
        log.append([saved("1", file("a", "x", 10), file("b", "x", 10)), saved("2", file("a", "y", 5), file("c"))])
    with LogReader(log_path) as view:
        assert bytes_of(view) == 15
