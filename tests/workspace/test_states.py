"""What is at a path, and bringing something back to it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.workspace import states
from agentd.workspace.states import ABSENT, Content, Unexpected, look, put, read, remove

HELLO = Content("file", b"hello")


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return tmp_path.resolve()


def test_a_file_a_link_and_nothing_are_told_from_each_other(top: Path) -> None:
    (top / "file").write_bytes(b"x\0y")
    (top / "file").chmod(0o750)
    (top / "link").symlink_to("file")
    (top / "directory").mkdir()
    os.mkfifo(top / "pipe")
    state, data = read(top / "file", 100)
    assert (state.kind, state.size, state.mode, state.is_executable, data) == ("file", 3, 0o750, True, b"x\0y")
    assert (look(top / "link").kind, read(top / "link", 100)[1]) == ("link", b"file")
    assert read(top / "directory", 100) == read(top / "nothing/there", 100) == (ABSENT, None)
    assert (look(top / "pipe").kind, read(top / "pipe", 100)[1]) == ("other", None)


def test_a_file_below_a_file_or_a_link_is_absent(top: Path) -> None:
    (top / "directory").mkdir()
    (top / "directory/x").write_text("x")
    (top / "link").symlink_to("directory")
    assert look(top / "directory/x/y") == look(top / "link/x") == ABSENT


def test_more_than_is_wanted_is_not_read(top: Path) -> None:
    (top / "file").write_bytes(b"123")
    assert read(top / "file", 3)[1] == b"123"
    assert read(top / "file", 2)[1] is None


@pytest.mark.parametrize(
    ("mode", "executable", "before", "after"),
    [
        (0o640, False, 0o777, 0o640),
        (None, True, 0o640, 0o750),
        (None, False, 0o751, 0o640),
        (None, True, 0o755, 0o755),
    ],
)
def test_a_file_gets_its_permission_bits(
    top: Path, mode: int | None, executable: bool, before: int, after: int
) -> None:
    (top / "file").write_text("old")
    (top / "file").chmod(before)
    put(top / "file", Content("file", b"new", mode, executable), look(top / "file"))
    assert stat.S_IMODE((top / "file").stat().st_mode) == after


def test_a_new_file_of_which_no_bits_are_known_gets_the_usual_ones(top: Path) -> None:
    before = os.umask(0o027)
    try:
        put(top / "file", HELLO, ABSENT)
        put(top / "program", Content("file", b"", executable=True), ABSENT)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((top / name).stat().st_mode) for name in ("file", "program")] == [0o640, 0o750]


def test_a_file_stays_with_its_owner(top: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    (top / "file").write_text("old")
    os.chown(top / "file", 12345, 54321)
    put(top / "file", HELLO, look(top / "file"))
    found = (top / "file").stat()
    assert (found.st_uid, found.st_gid) == (12345, 54321)


def test_a_link_is_replaced_and_not_followed(top: Path) -> None:
    (top / "other").write_text("other")
    (top / "link").symlink_to("other")
    put(top / "link", HELLO, look(top / "link"))
    assert not (top / "link").is_symlink()
    assert ((top / "link").read_text(), (top / "other").read_text()) == ("hello", "other")


def test_nothing_is_written_or_removed_below_a_link(top: Path) -> None:
    (top / "directory").mkdir()
    (top / "directory/x").write_text("x")
    (top / "link").symlink_to("directory")
    seen = look(top / "directory/x")
    acts: list[Callable[[], None]] = [
        lambda: put(top / "link/x", HELLO, seen),
        lambda: remove(top / "link/x", seen),
    ]
    for act in acts:
        with pytest.raises(OSError, match=r"Not a directory|symbolic"):
            act()
    assert (top / "directory/x").read_text() == "x"


def test_what_is_no_longer_what_was_seen_stays(top: Path) -> None:
    (top / "file").write_text("old")
    seen = look(top / "file")
    (top / "file").write_text("new and longer")
    acts: list[Callable[[], None]] = [
        lambda: put(top / "file", HELLO, seen),
        lambda: put(top / "file", HELLO, ABSENT),
        lambda: remove(top / "file", seen),
    ]
    for act in acts:
        with pytest.raises(Unexpected, match="meanwhile"):
            act()
    assert [path.name for path in top.iterdir()] == ["file"]


def test_empty_directories_make_room_and_others_do_not(top: Path) -> None:
    (top / "empty/inner").mkdir(parents=True)
    (top / "full/inner").mkdir(parents=True)
    (top / "full/inner/file").write_text("x")
    (top / "full/empty").mkdir()
    put(top / "empty", HELLO, ABSENT)
    assert (top / "empty").read_text() == "hello"
    with pytest.raises(Unexpected, match="directory in its place"):
        put(top / "full", HELLO, ABSENT)
    assert (top / "full/empty").is_dir()


def test_a_name_as_long_as_names_may_be_can_be_put(top: Path) -> None:
    put(top / ("x" * 255), HELLO, ABSENT)
    assert (top / ("x" * 255)).read_text() == "hello"


def test_a_file_that_is_being_written_is_not_taken_for_whole(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = top / "file"
    path.write_text("half")
    real = states._state
    seen: list[os.stat_result] = []

    def state_of(found: os.stat_result) -> states.State:
        seen.append(found)
        if len(seen) == 3:
            path.write_text("other")
            found = path.stat()
        return real(found)

    monkeypatch.setattr(states, "_state", state_of)
    with pytest.raises(Unexpected, match="writing"):
        read(path, 100)
