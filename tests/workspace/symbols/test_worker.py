"""A scanning process: how it looks at one file, whatever that is, and when it ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentd.workspace.symbols import worker as worker_module
from agentd.workspace.symbols.worker import is_young


@pytest.fixture
def top(tmp_path: Path) -> Path:
    path = tmp_path / "workspace"
    path.mkdir()
    return path.resolve()


def put(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def test_a_directory_that_became_a_link_is_not_read(top: Path, tmp_path: Path) -> None:
    put(tmp_path / "outside" / "a.py", "secret = 1\n")
    (top / "directory").symlink_to(tmp_path / "outside")
    assert worker_module.look_at(os.fsencode(top) + b"/", b"directory/a.py", b"", worker_module._Watch()) is None


def test_what_the_system_refuses_is_told(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(top / "a.py", "a = 1\n")

    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    look = worker_module.look_at(os.fsencode(top) + b"/", b"a.py", b"", worker_module._Watch())
    assert look is not None
    assert (look.skipped, look.young) == ("unreadable: Permission denied", True)


def test_a_worker_does_not_scan_what_has_the_same_contents(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(top / "a.py", "a = 1\n")
    watch = worker_module._Watch()
    look = worker_module.look_at(os.fsencode(top) + b"/", b"a.py", b"", watch)
    assert look is not None
    monkeypatch.setattr(worker_module, "scanner", None)
    again = worker_module.look_at(os.fsencode(top) + b"/", b"a.py", look.digest, watch)
    assert again is not None
    assert again.packed is None


@pytest.mark.parametrize(
    ("modified", "seen", "young"),
    [
        (10_000_000_000, 10_000_000_000, True),
        (10_000_000_000, 11_900_000_000, True),  # whole seconds: maybe this file system has no others
        (10_000_000_000, 12_100_000_000, False),
        (10_000_000_001, 10_010_000_000, True),
        (10_000_000_001, 10_100_000_000, False),
        (20_000_000_001, 10_000_000_000, True),  # from the future
    ],
)
def test_a_file_is_young_for_as_long_as_its_clock_may_stand_still(modified: int, seen: int, young: bool) -> None:
    found = os.stat_result((0,) * 10, {"st_mtime_ns": modified, "st_ctime_ns": modified})
    assert is_young(found, seen) is young


def test_a_scanner_that_fails_costs_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def scan(text: str, path: str) -> list[object]:
        raise KeyError(text)

    monkeypatch.setattr(worker_module, "scanner", lambda _: scan)
    assert worker_module._scan(b"x", "a.py", worker_module._Watch())[0] == "scanning it failed: KeyError"


def test_a_scanner_that_takes_too_long_costs_one_file(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = worker_module._Watch()

    def scan(text: str, path: str) -> list[object]:
        while True:
            watch.look()  # as the timer's signal does

    monkeypatch.setattr(worker_module, "FILE_SECONDS", 0.01)
    monkeypatch.setattr(worker_module, "scanner", lambda _: scan)
    assert worker_module._scan(b"x", "a.py", watch)[0].startswith("scanning it took longer")


ORPHAN = """
import os, subprocess, sys
from agentd.workspace.worker import pack
from agentd.workspace.workerprocess import command
reader, writer = os.pipe()
child = subprocess.Popen(command("agentd.workspace.symbols.worker"), stdin=reader, stdout=3, pass_fds=[3])
os.set_inheritable(writer, True)
os.write(writer, pack(os.getpid()) + pack(("match", "(a|aa)+$", "", 5, [("a.py", "a" * 200 + "b", "f", "", "\\0")])))
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_a_worker_in_the_middle_of_a_match_ends_with_its_parent() -> None:
    alive, held = os.pipe()  # the worker holds the writing end: it is closed when the worker is gone
    with subprocess.Popen(
        [sys.executable, "-c", f"import os; os.dup2({held}, 3)\n{ORPHAN}"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=[held],
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        os.close(held)
        os.kill(worker, 0)
        parent.kill()
    assert os.read(alive, 1) == b""
    os.close(alive)
