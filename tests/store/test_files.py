"""Atomic files, new directories, sweeping what a crash left, and locks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.errors import Locked
from agentd.store.files import TEMP_PREFIX, FileLock, making_directory, sweep, temp_file, write_atomic

DIE_INSIDE = """
import os, sys
from pathlib import Path
from agentd.store.files import making_directory, temp_file
with temp_file(Path(sys.argv[1])), making_directory(Path(sys.argv[1], "new")) as made:
    (made / "inside").touch()
    os.kill(os.getpid(), 9)
"""


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    write_atomic(path, b"two", durable=False)
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_whose_writing_fails_is_what_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"one")
    with pytest.raises(ZeroDivisionError), temp_file(tmp_path) as temp:
        temp.become(path / str(temp.file.write(b"two") // 0))
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_a_directory_is_there_when_it_is_full(tmp_path: Path) -> None:
    with making_directory(tmp_path / "new") as made:
        (made / "inside").touch()
        assert not (tmp_path / "new").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["inside"]
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700


def test_a_directory_whose_filling_fails_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), making_directory(tmp_path / "new") as made:
        (made / "inside").write_bytes(bytes(1 // 0))
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_takes_what_a_killed_process_left(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIE_INSIDE, tmp_path], check=False)
    assert len(list(tmp_path.glob(f"{TEMP_PREFIX}*"))) == 2
    assert len(sweep(tmp_path)) == 2
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_leaves_what_is_being_made(tmp_path: Path) -> None:
    with temp_file(tmp_path) as temp, making_directory(tmp_path / "new"):
        assert sweep(tmp_path) == []
        temp.become(tmp_path / "file")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "new"]


def test_a_sweep_does_not_follow_links(tmp_path: Path) -> None:
    (tmp_path / f"{TEMP_PREFIX}link").symlink_to(tmp_path / "elsewhere")
    assert sweep(tmp_path) == []


def test_what_a_sweep_takes_at_the_wrong_moment_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make = os.open
    swept: list[Path] = []

    def make_and_lose(path: Path, flags: int, mode: int = 0o777) -> int:
        fd = make(path, flags, mode)
        if flags & os.O_EXCL and not swept:
            swept.append(path)
            path.unlink()
        return fd

    monkeypatch.setattr(os, "open", make_and_lose)
    write_atomic(tmp_path / "file", b"one")
    assert len(swept) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_lock_says_who_has_it(tmp_path: Path) -> None:
    with (
        FileLock.acquire(tmp_path / "lock", "the thing"),
        pytest.raises(Locked, match=rf"^the thing is in use by process {os.getpid()} since \d{{4}}-.*Z$"),
    ):
        FileLock.acquire(tmp_path / "lock", "the thing")


def test_a_lock_that_was_released_can_be_had(tmp_path: Path) -> None:
    lock = FileLock.acquire(tmp_path / "lock", "the thing")
    lock.release()
    lock.release()
    FileLock.acquire(tmp_path / "lock", "the thing").release()


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = "import os, sys; from pathlib import Path; from agentd.store.files import FileLock"
    program += "\nlock = FileLock.acquire(Path(sys.argv[1]), 'it'); os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", program, tmp_path / "lock"], check=False)
    FileLock.acquire(tmp_path / "lock", "it").release()


def test_an_owner_that_has_not_signed_yet_is_no_error(tmp_path: Path) -> None:
    with FileLock.acquire(tmp_path / "lock", "the thing"):
        (tmp_path / "lock").write_bytes(b'{"pid"')
        with pytest.raises(Locked, match=r"^the thing is in use$"):
            FileLock.acquire(tmp_path / "lock", "the thing")
