"""Sessions as zips: what goes out comes back, and what must not come in does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentd.domain import Entry, Record, Text, Thinking, ToolUse, block_to_json
from agentd.engine.archive import import_session
from agentd.engine.session import load_state
from agentd.store.fold import SessionState, Task, state_from_json, state_to_json
from agentd.store.home import SessionDir, make_home
from tests.zips import contents, exported, fragment, imported, job_line, make_zip, native, session_of

# --- Round trip ---------------------------------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
names = words.filter(str.strip)


def said(job: str, role: str, *blocks: Any) -> Entry:
    content = [block_to_json(block) for block in blocks]
    data = {"id": f"{job}-{role}", "role": role, "content": content, "model": "m" if role == "assistant" else None}
    return Entry("message", data | {"usage": None}, job)


def length(entries: list[Entry]) -> int:
    """Of the conversation."""
    state = SessionState()
    state.apply_all(Record(pos, 0, each.job, each.type, each.data) for pos, each in enumerate(entries, 1))
    return len(state.history.view())


@st.composite
def jobs(draw: st.DrawFn, before: list[Entry], job: str, finished: bool) -> list[Entry]:
    """One job, whose conversation may be summed up: its first message, or all of it."""
    spec = {"mode": "ask", "prompt": draw(words), "models": {"planner": "p", "code": None}}
    entries = [Entry("job.created", {"spec": spec, "key": None, "payload": None, "dialect": 1}, job)]
    entries.append(said(job, "user", Text(draw(words))))
    for turn in range(draw(st.integers(0, 3))):
        calls = [ToolUse(f"{job}-{turn}-{n}", "Read", {"x": draw(words)}) for n in range(draw(st.integers(0, 2)))]
        entries.append(said(job, "assistant", Thinking("hm", "sig"), Text(draw(words)), *calls))
        for call in calls[: draw(st.integers(0, 2))]:
            result = {"call": call.id, "name": "Read", "ok": True, "summary": "", "content": [block_to_json(Text("r"))]}
            entries.append(Entry("tool.finished", result | {"duration_ms": 1, "artifact": None, "subject": ""}, job))
    if draw(st.booleans()):
        dropped = draw(st.sampled_from([1, length([*before, *entries])]))
        told = {"dropped": dropped, "left": 0, "text": draw(words), "task": "", "before": 1, "after": 1}
        entries.append(Entry("history.compacted", told, job))
    if finished:
        end = {"outcome": "completed", "stop_reason": "completed", "error": None, "result": draw(words), "turns": 1}
        entries.append(Entry("job.finished", end | {"cost": None, "duration_ms": 1, "diff": None}, job))
    return entries


@st.composite
def fragments(draw: st.DrawFn) -> list[tuple[Any, ...]]:
    """(id, kind, name, text, job, pinned)"""
    ids = draw(st.lists(st.integers(1, 30), unique=True, max_size=5))
    kinds = st.sampled_from(["file", "class", "method", "text"])
    made = []
    for number in sorted(ids):
        kind = draw(kinds)
        text = draw(words) * draw(st.sampled_from([1, 1000])) if kind == "text" else None
        made.append((str(number), kind, draw(names), text, draw(st.sampled_from([None, "job-0"])), draw(st.booleans())))
    return made


@st.composite
def sessions(draw: st.DrawFn) -> Callable[[SessionDir], list[Entry]]:
    ends = [True] * draw(st.integers(0, 3)) + draw(st.sampled_from([[], [False]]))  # the last may be at work
    told: list[Entry] = []
    for number, end in enumerate(ends):
        told += draw(jobs(told, f"job-{number}", end))
    context = draw(fragments())
    tasks = [{"id": str(n), "title": draw(names), "text": draw(names), "done": draw(st.booleans())} for n in range(2)]

    def fill(made: SessionDir) -> list[Entry]:
        entries = [*told, Entry("tasks", {"tasks": tasks})]
        for number, kind, name, text, job, pinned in context:
            sha256 = None if text is None else made.transient.put(text.encode())
            data = {"id": number, "kind": kind, "name": name, "size": len((text or "").encode()), "sha256": sha256}
            entries.append(Entry("context.added", data, job))
            if pinned:
                entries.append(Entry("context.changed", {"id": number, "pinned": True}))
        return entries

    return fill


def conversation(state: SessionState) -> list[Any]:
    return [(message.role, message.model, message.content) for message in state.history.messages]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sessions())
def test_what_goes_out_comes_back(tmp_path: Path, fill: Callable[[SessionDir], list[Entry]]) -> None:
    home = make_home(tmp_path / "home")
    first = session_of(home, fill)
    zipped = exported(first)
    assert zipped == exported(first)
    second = imported(home, zipped)
    before, after = load_state(first), load_state(second)
    kept = {key: each for key, each in before.fragments.items() if each.job is None}
    assert list(after.fragments.values()) == list(kept.values())
    assert after.fragments_made == before.fragments_made
    assert after.tasks == before.tasks
    one, two = contents(zipped), contents(exported(second))
    assert one.keys() == two.keys()
    assert {name: data for name, data in one.items() if name != "manifest.json"} == {
        name: data for name, data in two.items() if name != "manifest.json"
    }
    if all(job.finished for job in before.jobs.values()):
        assert conversation(after) == conversation(before)


def test_an_imported_session_goes_on(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    end = {"outcome": "completed", "stop_reason": "completed", "error": None, "result": "r", "turns": 1, "cost": None}
    end |= {"duration_ms": 1, "diff": None}
    spec = {"spec": {"mode": "ask", "prompt": "p", "models": {}}, "key": None, "payload": None, "dialect": 1}

    def job(name: str) -> list[Entry]:
        return [Entry("job.created", spec, name), said(name, "user", Text(name)), Entry("job.finished", end, name)]

    first = exported(session_of(home, lambda _: job("one")))
    path = home.root / "upload"
    path.write_bytes(first)
    second = session_of(home, lambda made: [*import_session(path, made.transient, 1), *job("two")])
    history = contents(exported(second))["history.jsonl"].splitlines()
    assert [json.loads(line)["id"] for line in history] == ["one", "two"]
    assert [json.loads(line)["messages"][0]["content"][0]["text"] for line in history] == ["one", "two"]


def test_an_import_replaces_what_the_session_was_but_its_jobs(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    path = home.root / "upload"
    path.write_bytes(make_zip([("manifest.json", b'{"name": " New ", "created": 5}')]))
    spec = {"spec": {"mode": "ask", "prompt": "p", "models": {}}, "key": "k", "payload": "x", "dialect": 1}

    def fill(made: SessionDir) -> list[Entry]:
        task = {"id": "1", "title": "t", "text": "t", "done": False}
        old = [Entry("job.created", spec, "old"), said("old", "user", Text("old")), Entry("tasks", {"tasks": [task]})]
        torn = Entry("import.staged", {"type": "tasks", "data": {"tasks": [task]}})
        return [*old, torn, *import_session(path, made.transient, 1)]

    state = load_state(session_of(home, fill))
    assert (state.name, state.created, state.tasks, state.staged) == ("New", 5, [], [])
    assert conversation(state) == []
    assert state.jobs["old"].key == "k"


def test_an_imported_session_survives_being_kept_as_json(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    line = job_line(
        messages=[{"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "b", "input": {}}]}]
    )
    zipped = native(context__json=fragment(pinned=True), history__jsonl=line)
    path = home.root / "upload"
    path.write_bytes(zipped)

    def fill(made: SessionDir) -> list[Entry]:
        return [*import_session(path, made.transient, 1), *import_session(path, made.transient, 1)[:-1]]

    state = load_state(session_of(home, fill))
    assert len(state.staged) == 3
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state
    assert state.imported is not None


def test_wherever_an_import_is_cut_off_the_session_is_the_old_one_or_the_new(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    path = home.root / "upload"
    new = b'{"tasks": [{"id": "1", "title": "new", "text": "new", "done": false}]}'
    line = job_line(messages=[{"role": "user", "content": [{"type": "text", "text": "hi"}]}])
    path.write_bytes(native(context__json=fragment(), tasklist__json=new, history__jsonl=line))
    old = Entry("tasks", {"tasks": [{"id": "1", "title": "old", "text": "old", "done": False}]})
    session = session_of(home, lambda made: [old, *import_session(path, made.transient, 1)])
    raw = session.log_path.read_bytes()
    before = sum(map(len, raw.splitlines(keepends=True)[:2]))
    for end in range(before, len(raw)):
        session.log_path.write_bytes(raw[:end])
        state = load_state(session)
        assert (state.tasks, state.fragments, state.history.messages) == ([Task("1", "old", "old")], {}, [])
    session.log_path.write_bytes(raw)
    state = load_state(session)
    assert (state.tasks[0].title, len(state.fragments), len(state.history.messages)) == ("new", 1, 1)


# --- Other programs' ----------------------------------------------------------------------------------------------


def test_a_zip_without_a_manifest_is_an_imported_session(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    state = load_state(imported(home, make_zip([("fragments-v4.json", b"{}"), ("contexts.jsonl", b"")])))
    assert (state.name, state.fragments) == ("Imported session", {})


def test_files_classes_and_texts_of_brokk_are_taken(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    kinds = "ai.brokk.context.FragmentDtos$"
    referenced = {
        "a": {"type": f"{kinds}ProjectFileDto", "id": "a", "repoRoot": "/r", "relPath": "src/A.java"},
        "b": {"@class": f"{kinds}ProjectFileDto", "relPath": "../../etc/passwd"},
        "c": {"type": f"{kinds}ExternalFileDto", "absPath": "/etc/passwd"},
        "z": {"type": f"{kinds}ProjectFileDto", "relPath": "not/in/context"},
    }
    virtual = {
        "d": {"type": f"{kinds}StringFragmentDto", "contentId": "t1", "description": "secret words"},
        "e": {"type": f"{kinds}SummaryFragmentDto", "targetIdentifier": "a.B", "summaryType": "CODEUNIT_SKELETON"},
        "f": {"type": f"{kinds}PasteTextFragmentDto", "contentId": "t2", "description": "a delta"},
        "g": "nonsense",
    }
    context = {
        "editable": ["a", "b"],
        "readonly": ["c", 5],
        "virtuals": ["d", "e", "f", "g", "nowhere"],
        "pinned": ["e"],
    }
    state = load_state(
        imported(
            home,
            make_zip(
                [
                    ("manifest.json", b'{"id": "x", "name": "Theirs", "created": 1700000000000, "modified": 2}'),
                    ("fragments-v4.json", json.dumps({"referenced": referenced, "virtual": virtual}).encode()),
                    ("contexts.jsonl", b'{"editable": ["z"]}\n' + json.dumps(context).encode() + b"\n"),
                    ("content_metadata.json", b'{"t2": {"revision": 2, "appliesTo": "t1"}}'),
                    ("content/t1.txt", "wörds".encode()),
                    ("content/t2.txt", b"@@"),
                    ("tasklist.json", b'{"tasks": [{"id": "1", "title": "T", "text": "x", "done": true}]}'),
                ]
            ),
        )
    )
    got = [(each.id, each.kind, each.name, each.size, each.pinned) for each in state.fragments.values()]
    assert got == [
        ("1", "file", "src/A.java", 0, False),
        ("2", "text", "Text 2", 6, False),
        ("3", "class", "a.B", 0, True),
    ]
    assert (state.name, state.created, len(state.tasks)) == ("Theirs", 1700000000000, 1)


def test_what_is_not_understood_is_passed_on(tmp_path: Path) -> None:
    home = make_home(tmp_path / "home")
    theirs = [("images/1.png", b"png"), ("git_states.json", b"[]"), ("content/x.txt", b"x"), ("context.json", b"?")]
    session = imported(home, make_zip(theirs))
    once = contents(exported(session))
    assert (once["images/1.png"], once["git_states.json"]) == (b"png", b"[]")
    assert "content/x.txt" not in once
    assert contents(exported(imported(home, exported(session))))["images/1.png"] == b"png"
