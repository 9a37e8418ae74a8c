"""A crash at every step: what is being made is there whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.store.blobs import Blobs
from agentd.store.files import TEMP_PREFIX, sweep
from agentd.store.home import Fold, Home, SessionDir, read_fold
from agentd.store.log import LogReader, open_log
from agentd.store.repair import quarantine_path

ROOT = Path(__file__).parents[2]
HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
Crashes = Callable[[str], list[Path]]


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    """The directories of an action that died at its first step, its second, …; at last that of one that lived."""

    def crash(action: str) -> list[Path]:
        subprocess.run([sys.executable, "-m", "tests.store.die_at", action, str(tmp_path)], cwd=ROOT, check=True)
        directories = sorted(tmp_path.iterdir(), key=lambda path: int(path.name))
        assert len(directories) > 3
        return directories

    return crash


def temporary(directory: Path) -> list[Path]:
    return list(directory.rglob(f"{TEMP_PREFIX}*"))


def test_a_session_is_made_whole_or_not_at_all(crashes: Crashes) -> None:
    made = []
    for directory in crashes("create-session"):
        home = Home(directory / "home")
        home.sweep()
        assert temporary(directory) == []
        made.append(len(home.sessions()))
        for session in home.sessions():
            with open_log(session.log_path) as log:
                assert [record.type for record in log.read(0)] == ["session.created"]
                assert (log.repairs, log.generation) == ((), 1)
    assert made == sorted(made)
    assert (made[0], made[-1]) == (0, 1)


def test_a_blob_is_put_whole_or_not_at_all(crashes: Crashes) -> None:
    put = []
    for directory in crashes("put-blob"):
        blobs = Blobs(directory / "blobs")
        blobs.sweep()
        assert temporary(directory) == []
        put.append(len(blobs.sizes()))
        assert blobs.sizes() in ({}, {HELLO: 5})
        assert blobs.get(blobs.put(b"hello")) == b"hello"
    assert (put[0], put[-1]) == (0, 1)


def test_a_repair_is_made_whole_or_again(crashes: Crashes) -> None:
    for directory in crashes("open-damaged"):
        with LogReader(directory / "log.ndjson") as reader:
            before = reader.read(0)
        with open_log(directory / "log.ndjson") as log:
            assert log.read(0) == before
            assert [record.data.get("code") for record in before] == [None, "RECORD_DAMAGED", None]
            assert log.generation >= 2
            assert not log.can_resume(4, 1)
        kept = quarantine_path(directory / "log.ndjson").read_text()
        assert '\\"n\\":2' in kept
        assert '\\"n\\":4' in kept
        sweep(directory)
        assert temporary(directory) == []


def test_a_state_is_replaced_or_not(crashes: Crashes) -> None:
    found = []
    for directory in crashes("replace-fold"):
        with LogReader(directory / "log.ndjson") as log:
            found.append(read_fold(SessionDir(directory), log))
    assert set(found) == {Fold(2, '"old"'), Fold(4, '"new"')}
    assert found == sorted(found, key=lambda fold: fold.pos if fold else 0)
