"""The index of sessions: whatever happens to it, it says what the logs say."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.domain import Entry, JobSpec, JobState, Mode, Models, Record
from agentd.errors import InvalidRequest
from agentd.store.fold import SessionState
from agentd.store.home import Home, SessionDir
from agentd.store.index import Change, SessionIndex
from agentd.store.lines import encode_line
from agentd.store.log import open_log
from agentd.store.tables import Query
from agentd.store.view import LogReader

SPEC = attrs.asdict(JobSpec(Mode.CODE, "\n  Fix the parser.\nThen stop.", Models("opus")))
STARTED = {
    "model": "opus",
    "resolved_model": "opus-4",
    "provider": "p",
    "permission_mode": "default",
    "containment": "bwrap",
    "sandbox": "off",
}
USED = {"input_tokens": 5, "output_tokens": 3, "cached_tokens": 1, "cost": 0.25, "model": "opus-4", "provider": "p"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "data")


@pytest.fixture
def index(home: Home) -> Iterator[SessionIndex]:
    with closing(SessionIndex(home)) as made:
        yield made


def create(home: Home, face: str = "run", name: str = "a session") -> SessionDir:
    return home.create_session(face, Path("/the/place"), name)


def append(session: SessionDir, *entries: Entry) -> None:
    with open_log(session.log_path) as log:
        log.append(entries)


def created(job: str = "j1") -> Entry:
    return Entry("job.created", {"spec": SPEC, "key": None, "payload": None, "dialect": 1}, job)


def started(job: str = "j1") -> Entry:
    return Entry("job.started", STARTED, job)


def asked(job: str = "j1", ask: str = "a1") -> Entry:
    data = {"id": ask, "kind": "permission", "call": "c", "tool": "Bash", "input": {}, "question": "Allow Bash: ls?"}
    return Entry("ask.opened", data | {"options": ["allow", "deny", "always"], "deadline": None}, job)


def settled(job: str = "j1", ask: str = "a1") -> Entry:
    return Entry("ask.settled", {"id": ask, "decision": "allow", "reason": "", "by": "client"}, job)


def used(job: str = "j1") -> Entry:
    return Entry("usage", USED, job)


def said(job: str = "j1") -> Entry:
    return Entry("message", {"id": "m", "role": "assistant", "content": [], "model": "m", "usage": None}, job)


def finished(job: str = "j1", outcome: str = "completed") -> Entry:
    error = None if outcome == "completed" else {"code": "LOOP", "message": "it went in circles"}
    diff = {"files": 2, "added": 3, "removed": 1, "sha256": "0" * 64, "tree": "t"}
    data = {"outcome": outcome, "stop_reason": "stop", "error": error, "result": "done", "turns": 1, "cost": 0.25}
    return Entry("job.finished", data | {"duration_ms": 5, "diff": diff}, job)


def dump(home: Home) -> dict[str, list[Any]]:
    with closing(sqlite3.connect(home.root / "index.db")) as db:
        tables = ("sessions", "jobs", "asks", "opened", "meta", "files")
        return {name: db.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall() for name in tables}


def delete_index(home: Home) -> None:
    for path in home.root.glob("index.db*"):
        path.unlink()


def test_a_session_shows_what_its_records_say(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), started(), said(), used(), asked())
    index.catch_up()
    [shown] = index.sessions(Query()).items
    row = shown.row
    assert (row.title, row.status, row.model, row.turns, row.cost) == ("Fix the parser.", "waiting", "opus-4", 1, 0.25)
    [job] = index.jobs(Query()).items
    assert (job.row.state, job.row.mode, job.row.model, job.row.input_tokens) == ("waiting", "code", "opus", 5)
    [ask] = index.asks(Query(states=["open"])).items
    assert (ask.row.question, ask.row.job, ask.session.face) == ("Allow Bash: ls?", "j1", "run")


def test_what_is_appended_later_is_seen_by_the_next_look(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), started(), asked())
    index.catch_up()
    append(session, settled(), finished(outcome="failed"))
    changes = index.catch_up()
    assert {(change.kind, change.id) for change in changes} == {("session", session.id), ("job", "j1"), ("ask", "a1")}
    job = index.job("j1")
    assert job is not None
    assert (job.row.state, job.row.error_code, job.row.files) == ("failed", "LOOP", 2)
    assert index.asks(Query(states=["open"])).items == []
    assert index.catch_up() == []


def test_text_that_streams_is_no_change(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), started())
    index.catch_up()
    append(session, Entry("text.delta", {"message": "m", "block": 0, "text": "…"}, "j1"))
    assert index.catch_up() == []


def test_only_what_is_new_is_read(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), started())
    index.catch_up()
    raw = session.log_path.read_bytes()
    end = finished()
    line = encode_line(Record(4, 5, end.job, end.type, end.data))
    session.log_path.write_bytes(b"?" * (len(raw) - 1) + b"\n" + line)  # who reads it from the beginning is lost
    index.catch_up()
    job = index.job("j1")
    assert job is not None
    assert (job.row.state, job.row.title) == ("completed", "Fix the parser.")


def test_a_session_that_is_gone_leaves_the_lists(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created())
    index.catch_up()
    home.remove_session(session.id)
    assert index.catch_up() == [Change("session", session.id, session.id, gone=True)]
    assert index.sessions(Query()).items == []
    assert index.job("j1") is None


def test_a_session_of_the_manager_exists_from_its_opening_to_its_closing(home: Home, index: SessionIndex) -> None:
    session = create(home, "manager")
    index.catch_up()
    assert index.sessions(Query()).items == []
    tree = {"id": "w", "path": "/w", "repo": "/repo", "branch": "agentd/session/w", "commit": "abc"}
    opened = {"id": session.id, "face": "manager", "name": "n", "workspace": "/w", "worktree": tree, "owner": "master"}
    home.root_log.append([Entry("session.opened", opened)])
    assert index.catch_up() == [Change("session", session.id, session.id)]
    [shown] = index.sessions(Query()).items
    assert (shown.owner, shown.opened and shown.opened.branch) == ("master", "agentd/session/w")
    home.root_log.append([Entry("session.closed", {"id": session.id, "reason": "deleted"})])
    assert index.catch_up() == [Change("session", session.id, session.id, gone=True)]
    assert index.session(session.id) is None


@pytest.mark.parametrize("damage", [b"", b"no database at all" * 300, None])
def test_an_index_that_is_damaged_or_absent_is_made_anew(home: Home, damage: bytes | None) -> None:
    append(create(home), created(), started(), asked())
    with closing(SessionIndex(home)) as index:
        index.catch_up()
        before = dump(home)
    delete_index(home)
    if damage is not None:
        (home.root / "index.db").write_bytes(damage)
    with closing(SessionIndex(home)) as index:
        index.catch_up()
    assert dump(home) == before


def test_an_index_of_another_version_is_made_anew(home: Home) -> None:
    append(create(home), created())
    with closing(SessionIndex(home)) as index:
        index.catch_up()
    with closing(sqlite3.connect(home.root / "index.db")) as db:
        db.execute("DELETE FROM jobs")
        db.execute("PRAGMA user_version = 99")
        db.commit()
    with closing(SessionIndex(home)) as index:
        index.catch_up()
        assert len(index.jobs(Query()).items) == 1


def test_an_index_that_breaks_while_it_is_used_is_made_anew(home: Home, index: SessionIndex) -> None:
    append(create(home), created())
    index.catch_up()
    with closing(sqlite3.connect(home.root / "index.db")) as db:
        db.execute("DROP TABLE jobs")
        db.commit()
    assert len(index.jobs(Query()).items) == 1


def test_a_log_that_was_cut_is_folded_from_its_beginning(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), started())
    size = session.log_path.stat().st_size
    append(session, finished())
    index.catch_up()
    with session.log_path.open("r+b") as file:
        file.truncate(size)
    index.catch_up()
    job = index.job("j1")
    assert job is not None
    assert job.row.state == "running"


def test_pages_follow_one_another_whatever_is_made_meanwhile(home: Home, index: SessionIndex) -> None:
    ids = [create(home, name=f"session {n}").id for n in range(5)]
    index.catch_up()
    listed = []
    page = index.sessions(Query(limit=2))
    while True:
        listed += [each.row.id for each in page.items]
        if page.next is None:
            break
        create(home, name="made meanwhile")
        index.catch_up()
        page = index.sessions(Query(limit=2, cursor=page.next))
    assert sorted(listed) == sorted(ids)


@pytest.mark.parametrize("cursor", ["", "x", "1", "1.", ".a", "-1.a"])
def test_what_is_no_cursor_is_refused(index: SessionIndex, cursor: str) -> None:
    with pytest.raises(InvalidRequest):
        index.sessions(Query(cursor=cursor))


def test_lists_are_filtered(home: Home, index: SessionIndex) -> None:
    one, two = create(home, "run", "red 100%"), create(home, "runs", "blue_shift")
    append(one, created("j1"), started("j1"))
    append(two, created("j2"), started("j2"), finished("j2"))
    index.catch_up()

    def shown(**filters: Any) -> list[str]:
        return [each.row.id for each in index.sessions(Query(**filters)).items]

    assert shown(face="run") == [one.id]
    assert shown(states=["idle"]) == [two.id]
    assert shown(words="0% red") == [one.id]
    assert shown(words="e_s") == [two.id]
    assert shown(words="'; DROP TABLE sessions; --") == []
    assert [each.row.id for each in index.jobs(Query(states=["running", "queued"])).items] == ["j1"]
    assert [each.row.id for each in index.jobs(Query(session=two.id)).items] == ["j2"]
    assert index.counts()["jobs"] == {"running": 1, "completed": 1}


def test_records_of_another_version_do_not_hide_the_others(home: Home, index: SessionIndex) -> None:
    session = create(home)
    append(session, created(), Entry("job.started", {"engine": 9}, "j1"), Entry("from.the.future", {}, "j1"), used())
    index.catch_up()
    job = index.job("j1")
    assert job is not None
    assert (job.row.state, job.row.cost) == ("running", 0.25)


# --- However it came to be ----------------------------------------------------------------------------------------

STEPS = st.tuples(
    st.integers(0, 2),  # which session
    st.sampled_from([created, started, asked, settled, used, said, finished]),
    st.sampled_from(["j1", "j2"]),
)


def entry(make: Any, job: str, session: int) -> Entry:
    """The ids are those of one session."""
    name = f"{job}-{session}"
    return make(name, f"a-{name}") if make in (asked, settled) else make(name)  # type: ignore[no-any-return]


def is_possible(make: Any, name: str, jobs: set[str]) -> bool:
    return make is not created or name not in jobs


@contextmanager
def three_sessions() -> Iterator[tuple[Home, list[SessionDir]]]:
    with TemporaryDirectory() as place:
        home = Home(Path(place))
        yield home, [create(home) for _ in range(3)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.lists(STEPS, max_size=8), max_size=5))
def test_an_index_that_kept_up_is_one_that_was_made_anew(batches: Sequence[Sequence[tuple[int, Any, str]]]) -> None:
    with three_sessions() as (home, sessions):
        jobs: set[str] = set()
        with closing(SessionIndex(home)) as index:
            for batch in batches:
                for at, make, job in batch:
                    made = entry(make, job, at)
                    if is_possible(make, made.job or "", jobs):
                        jobs.add(made.job or "") if make is created else None
                        append(sessions[at], made)
                index.catch_up()
            index.catch_up()
            kept_up = dump(home)
            shown = {each.row.id: each.row for each in index.jobs(Query()).items}
        delete_index(home)
        with closing(SessionIndex(home)) as index:
            index.catch_up()
        assert dump(home) == kept_up
        for session in sessions:
            assert_agrees(session, shown)


def assert_agrees(session: SessionDir, shown: dict[str, Any]) -> None:
    """With what the whole fold makes of the same log."""
    state = SessionState()
    with LogReader(session.log_path) as log:
        state.apply_all(log.records())
    for job in state.jobs.values():
        row = shown[job.id]
        assert (JobState(row.state), row.turns, row.cost, row.ended) == (job.state, job.turns, job.cost, job.ended)
