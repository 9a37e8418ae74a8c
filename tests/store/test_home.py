"""The data directory, sessions in it, and the fold cache."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import Entry
from agentd.errors import Locked, SessionNotFound, StoreFailed
from agentd.store.files import TEMP_PREFIX
from agentd.store.home import Fold, Home, SessionDir, make_home, read_fold, write_fold
from agentd.store.log import LogReader, SessionLog, open_log

FOLD = Fold(3, '{"title":"søndag"}')


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "deep" / "agentd")


@pytest.fixture
def session(home: Home) -> SessionDir:
    return home.create_session("run", Path("/src"), "a name")


def append(session: SessionDir, count: int) -> None:
    with open_log(session.log_path) as log:
        log.append([Entry("notice", {"n": n}) for n in range(count)])


# --- The directory ------------------------------------------------------------------------------------------------


def test_reading_makes_nothing(home: Home) -> None:
    assert home.sessions() == []
    assert home.root_log.read().records == []
    home.sweep()
    assert not home.root.exists()


def test_the_first_thing_written_makes_the_directory(home: Home) -> None:
    home.root_log.append([Entry("session.active", {"id": "a"})])
    assert home.root.stat().st_mode & 0o777 == 0o700


def test_sessions_are_made_and_listed_without_trio() -> None:
    program = "import sys, agentd.store.home; sys.exit('trio' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_directories_are_for_their_owner_only(home: Home, session: SessionDir) -> None:
    for directory in (home.root, home.sessions_path, home.tokens_path, session.path):
        assert directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_of_the_user_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_home(tmp_path)
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_a_data_directory_in_a_repository_is_ignored_by_git(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    make_home(tmp_path / ".agentd", ignored_by_git=True).create_session("executor", tmp_path, "")
    done = subprocess.run(["git", "status", "--porcelain"], cwd=tmp_path, capture_output=True, check=True)
    assert done.stdout == b""


def test_a_data_directory_has_one_owner(home: Home) -> None:
    with home.lock(), pytest.raises(Locked, match=rf"{home.root} is in use by process {os.getpid()} since"):
        home.lock()
    home.lock().release()


def test_a_directory_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreFailed, match="cannot make"):
        make_home(tmp_path / "file" / "home")


# --- Sessions -----------------------------------------------------------------------------------------------------


def test_a_session_says_what_it_is(home: Home, session: SessionDir) -> None:
    assert home.sessions() == [session] == [home.session(session.id.upper())]
    with LogReader(session.log_path) as reader:
        (record,) = reader.read(0)
    assert record.type == "session.created"
    assert record.data == {
        "id": session.id,
        "face": "run",
        "workspace": "/src",
        "isolation": "in_place",
        "name": "a name",
        "parent": None,
    }


@pytest.mark.parametrize("name", ["", ".", "..", "../lock", "12345678-1234-1234-1234-123456789abc/..", "{}", "a" * 36])
def test_what_is_no_uuid_never_becomes_a_path(home: Home, session: SessionDir, name: str) -> None:
    with pytest.raises(SessionNotFound):
        home.session(name)


def test_a_session_that_is_not_there_is_not_found(home: Home) -> None:
    with pytest.raises(SessionNotFound):
        home.session("12345678-1234-1234-1234-123456789abc")


def test_what_is_no_session_is_not_listed(home: Home, session: SessionDir) -> None:
    (home.sessions_path / f"{TEMP_PREFIX}1").mkdir()
    (home.sessions_path / f"{TEMP_PREFIX}1" / "log.ndjson").touch()
    (home.sessions_path / "12345678-1234-1234-1234-123456789abc").mkdir()
    assert home.sessions() == [session]


def test_a_sweep_takes_what_was_never_finished_and_leaves_the_rest(home: Home, session: SessionDir) -> None:
    (home.sessions_path / f"{TEMP_PREFIX}1").mkdir()
    (session.path / f"{TEMP_PREFIX}2").touch()
    session.blobs.put(b"kept")
    (session.blobs.directory / f"{TEMP_PREFIX}3").touch()
    home.sweep()
    assert [path.name for path in home.sessions_path.iterdir()] == [session.id]
    assert not list(home.root.rglob(f"{TEMP_PREFIX}*"))
    assert len(session.blobs.sizes()) == 1


def test_a_session_that_is_removed_is_gone_with_all_it_had(home: Home, session: SessionDir) -> None:
    session.blobs.put(b"kept")
    home.remove_session(session.id)
    assert not list(home.sessions_path.iterdir())
    home.remove_session(session.id)


@pytest.mark.parametrize("name", ["..", ".", "", "x", ".gone-x"])
def test_only_a_session_can_be_removed(home: Home, session: SessionDir, name: str) -> None:
    home.remove_session(name)
    assert session.log_path.exists()


def test_a_removal_that_was_killed_is_finished_by_a_sweep(home: Home, session: SessionDir) -> None:
    session.path.rename(session.path.with_name(f".gone-{session.id}"))
    assert not home.sessions()
    home.sweep()
    assert not list(home.sessions_path.iterdir())


def test_secrets_are_kept_for_the_owner_only(session: SessionDir) -> None:
    assert session.read_secrets() == {}
    session.write_secrets({"env": {"KEY": "hush"}})
    assert session.read_secrets() == {"env": {"KEY": "hush"}}
    assert session.secrets_path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("damaged", [b"", b"{", b"[]"])
def test_damaged_secrets_are_an_error_that_does_not_show_them(session: SessionDir, damaged: bytes) -> None:
    session.secrets_path.write_bytes(damaged)
    with pytest.raises(StoreFailed, match=r"^the session's secrets are damaged$"):
        session.read_secrets()


# --- The fold cache -----------------------------------------------------------------------------------------------


@pytest.fixture
def folded(session: SessionDir) -> SessionDir:
    append(session, 4)
    with LogReader(session.log_path) as log:
        write_fold(session, log, FOLD)
    return session


def fold_of(session: SessionDir) -> Fold | None:
    with LogReader(session.log_path) as log:
        return read_fold(session, log)


def test_a_state_comes_back_for_the_log_it_was_folded_from(folded: SessionDir) -> None:
    assert fold_of(folded) == FOLD
    append(folded, 5)
    assert fold_of(folded) == FOLD


def test_there_is_no_state_where_none_was_written(session: SessionDir) -> None:
    assert fold_of(session) is None


def test_a_state_beyond_the_end_of_the_log_is_not_used(folded: SessionDir) -> None:
    lines = folded.log_path.read_bytes().splitlines(keepends=True)
    folded.log_path.write_bytes(b"".join(lines[:2]))
    assert fold_of(folded) is None


def test_a_state_is_not_used_when_its_record_is_another(folded: SessionDir) -> None:
    folded.log_path.write_bytes(folded.log_path.read_bytes().replace(b'"n":1', b'"n":7'))
    assert fold_of(folded) is None


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_damaged_state_is_not_used(folded: SessionDir, data: st.DataObject) -> None:
    with LogReader(folded.log_path) as log:
        write_fold(folded, log, FOLD)
    raw = bytearray(folded.fold_path.read_bytes())
    cut = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw[cut] ^= data.draw(st.integers(1, 255))
    else:
        del raw[cut:]
    folded.fold_path.write_bytes(raw)
    assert fold_of(folded) in (None, FOLD)  # a space in the head may be another kind of space


def test_a_state_of_an_empty_log_is_one(session: SessionDir, filled: Callable[[int], SessionLog]) -> None:
    with LogReader(session.log_path) as log:
        write_fold(session, log, Fold(0, "{}"))
        assert read_fold(session, log) == Fold(0, "{}")
