"""What a fork gets of its parent: the conversation up to its last whole exchange, and the blobs that it names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.daemon.forking import branch_off, history
from agentd.domain import Entry, Message, Record, Text, ToolUse
from agentd.store.fold import SessionState
from agentd.store.home import Home, SessionDir, make_home
from agentd.store.log import open_log


def said(role: str, text: str, *calls: str) -> Entry:
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    content += [{"type": "tool_use", "id": call, "name": "Read", "input": {}} for call in calls]
    return Entry("message", {"id": text, "role": role, "content": content, "model": None, "usage": None}, "job")


def done(call: str, text: str = "result", **more: Any) -> Entry:
    result = {
        "call": call,
        "name": "Read",
        "subject": "",
        "ok": True,
        "summary": "",
        "duration_ms": 1,
        "artifact": None,
    }
    return Entry("tool.finished", result | {"content": [{"type": "text", "text": text}]} | more, "job")


def begun(job: str = "job") -> Entry:
    spec = {"mode": "query", "prompt": "", "tools": {"permission_mode": "default"}}
    return Entry("job.created", {"spec": spec, "key": None, "payload": None, "dialect": 1}, job)


def over(job: str = "job") -> Entry:
    end = {"outcome": "completed", "stop_reason": "completed", "error": None, "result": None}
    return Entry("job.finished", end | {"turns": 1, "cost": None, "duration_ms": 1, "diff": None}, job)


def records(*entries: Entry) -> list[Record]:
    return [Record(pos, pos, each.job, each.type, each.data, each.parent) for pos, each in enumerate(entries, 1)]


def texts(*entries: Entry) -> list[str]:
    """What a fork of a session with these records knows."""
    state = SessionState()
    state.apply_all(records(*history(records(*entries))))
    return [message.text or "results" for message in state.history.view()]


def test_all_of_a_conversation_that_rests_is_taken() -> None:
    assert texts(begun(), said("user", "hi"), said("assistant", "ho"), over()) == ["hi", "ho"]


def test_a_prompt_that_is_not_answered_yet_is_left_out() -> None:
    whole = (begun("a"), said("user", "hi"), said("assistant", "ho"), over("a"))
    assert texts(*whole, begun(), said("user", "and?")) == ["hi", "ho"]


def test_calls_are_taken_once_each_has_its_result() -> None:
    working = (begun(), said("user", "hi"), said("assistant", "look", "1", "2"), done("1"))
    assert texts(*working) == []
    assert texts(*working, done("2")) == ["hi", "look", "results"]
    assert texts(*working, done("2"), said("assistant", "more", "3")) == ["hi", "look", "results"]


def test_a_call_that_was_stopped_with_its_job_is_closed_as_in_the_parent() -> None:
    stopped = (begun(), said("user", "hi"), said("assistant", "look", "1"), over())
    assert texts(*stopped) == ["hi", "look", "results"]


def test_what_was_cleared_is_not_known_and_what_was_summed_up_is_so() -> None:
    first = (begun(), said("user", "hi"), said("assistant", "ho"))
    assert texts(*first, Entry("history.cleared", {}), said("user", "new"), over()) == ["new"]
    data = {"dropped": 2, "left": 1, "text": "a summary", "task": "", "before": 9, "after": 1}
    assert texts(*first, Entry("history.compacted", data, "job"), said("user", "new"), over()) == ["a summary", "new"]


def test_what_subagents_say_among_themselves_stays_there() -> None:
    inner = [Entry(each.type, each.data, "job", "1") for each in (said("user", "sub"), said("assistant", "subbed"))]
    assert texts(begun(), said("user", "hi"), said("assistant", "task", "1"), *inner, done("1"), over()) == [
        *("hi", "task", "results")
    ]


def test_an_imported_conversation_replaces_what_was_before() -> None:
    entry = {"id": "old", "messages": [{"role": "user", "content": [{"type": "text", "text": "then"}], "model": ""}]}
    staged = Entry("import.staged", {"type": "history.imported", "data": {"entry": entry}})
    imported = {"sha256": "0" * 64, "name": "", "created": 0, "fragments_made": 0, "records": 1}
    before = (begun("a"), said("user", "gone"), over("a"))
    assert texts(*before, staged, Entry("session.imported", imported)) == ["then"]


def test_nothing_of_it_counts_as_done_in_the_fork() -> None:
    entries = history(records(begun(), said("user", "hi"), said("assistant", "ho"), over()))
    assert {(each.job, each.parent) for each in entries} == {(None, None)}


MOVES = st.lists(st.sampled_from(["prompt", "reply", "call", "result", "end", "clear"]), max_size=25)


@given(MOVES)
def test_a_fork_never_has_an_unanswered_call_nor_more_than_its_parent(moves: list[str]) -> None:
    entries, waiting, number = list[Entry](), list[str](), 0
    for number, move in enumerate(moves):
        match move:
            case "prompt":
                entries += [begun(f"{number}"), said("user", f"{number}")]
                waiting = []
            case "reply" | "call":
                waiting = [f"{number}"] if move == "call" else []
                entries.append(said("assistant", f"{number}", *waiting))
            case "result" if waiting:
                entries.append(done(waiting.pop()))
            case "clear":
                entries.append(Entry("history.cleared", {}))
            case "end":
                entries += [over(each.job) for each in entries if each.type == "job.created" and each.job][-1:]
                waiting = []
    child = SessionState()
    child.apply_all(records(*history(records(*entries))))
    closed = child.history.view()
    for at, message in enumerate(closed):
        if message.calls:
            assert len(closed[at + 1].content) == len(message.calls)


# --- Blobs --------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home")


def session(home: Home, *entries: Entry) -> SessionDir:
    made = home.create_session("agent", home.root, "parent")
    with open_log(made.log_path) as log:
        log.append(entries)
    return made


def test_blobs_that_the_conversation_names_are_there_and_no_others(home: Home) -> None:
    parent = session(home)
    names = [parent.blobs.put(text) for text in (b"a picture", b"a result", b"an output", b"something else")]
    picture = {"type": "image", "media_type": "image/png", "data": "", "sha256": names[0]}
    shown = {"type": "image", "media_type": "image/png", "data": "", "sha256": names[1]}
    with open_log(parent.log_path) as log:
        prompt = said("user", "look")
        prompt.data["content"].append(picture)
        answered = done("1", content=[shown], artifact=names[2])
        log.append([begun(), prompt, said("assistant", "hm", "1"), answered, over()])
    child = home.create_session("agent", home.root, "child", fill=lambda made: branch_off(parent, made))
    assert set(child.blobs.sizes()) == set(names[:3])
    home.remove_session(parent.id)
    assert child.blobs.get(names[0]) == b"a picture"


def test_a_blob_that_is_gone_keeps_nobody_from_forking(home: Home) -> None:
    prompt = said("user", "look")
    prompt.data["content"].append({"type": "image", "media_type": "image/png", "data": "", "sha256": "0" * 64})
    parent = session(home, begun(), prompt, over())
    child = home.create_session("agent", home.root, "child", fill=lambda made: branch_off(parent, made))
    assert child.blobs.sizes() == {}


def test_the_parents_log_is_not_touched(home: Home) -> None:
    parent = session(home, begun(), said("user", "hi"), said("assistant", "ho"))
    before = parent.log_path.read_bytes()
    with open_log(parent.log_path):  # somebody is at work in it
        assert len(branch_off(parent, SessionDir(home.root / "child"))) == 2
    assert parent.log_path.read_bytes() == before


def test_messages_are_what_they_were() -> None:
    state = SessionState()
    state.apply_all(
        records(*history(records(begun(), said("user", "hi"), said("assistant", "look", "1"), done("1"), over())))
    )
    first, second, _ = state.history.view()
    assert first == Message("user", (Text("hi"),), "hi")
    assert second.calls == (ToolUse("1", "Read", {}),)
