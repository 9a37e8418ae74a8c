"""The fold of a chat's log: from wherever it goes on, with or without messages, it tells the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agentd.domain import Record
from agentd.faces.chat.dialect import Chat
from agentd.faces.runs.events import Event
from agentd.providers.scripted import Reply, call, reply
from agentd.store.view import LogReader
from tests.chatapi import serving

STORY: tuple[Reply | str, ...] = (
    reply("Looking.", call("repo_tree"), call("repo_tree"), call("read_file", path="nothing"), call("git_status")),
    reply("Trying.", call("shell", command="true")),
    reply("", call("write_spec", content="# Goal\n")),
    "Done.",
    reply("", call("fly")),
    *[reply("", call("repo_tree"))] * 5,
)


async def records_of(root: Path) -> list[Record]:
    """Those of a chat in which a lot happens."""
    async with serving(root, *STORY, verify=["true"]) as api:
        chat = await api.create(mode="spec", auto_run=False)
        turn = await api.say(chat, auto_run=True)
        await api.approve(chat, await api.waiting(chat, turn), action="deny", reason="no")
        await api.say(chat, "later")
        await api.turn(chat, turn)
        turn = await api.say(chat, "more", auto_run=True)
        await api.turn(chat, turn)
        await api.post(f"/{chat}/turns/{turn}/retry")
        await api.turn(chat, turn, "failed", "succeeded")
        await api.until(chat, lambda session: session["error"] == "loop detected")
        await api.post(f"/{chat}/attachments", {"name": "a.txt", "content_base64": "aGk="})
        await api.post(f"/{chat}/cancel")
        with LogReader(api.directory(chat).log_path) as reader:
            return list(reader.records())


async def test_a_copy_goes_on_as_the_fold_does(tmp_path: Path) -> None:
    records = await records_of(tmp_path)
    fold, copies = Chat(), list[tuple[int, Chat]]()
    events = list[list[Event]]()
    for index, record in enumerate(records):
        copies.append((index, fold.copy()))
        events.append(fold.apply(record))
    for index, copied in copies:
        assert [copied.apply(record) for record in records[index:]] == events[index:]
        assert copied == fold
    assert len({event.type for each in events for event in each}) >= 18


async def test_messages_make_no_difference_to_events(tmp_path: Path) -> None:
    records = await records_of(tmp_path)
    bare, whole = Chat(), Chat([])
    for record in records:
        assert bare.apply(record) == whole.apply(record)
    assert bare.messages is None
    assert whole.messages is not None
    added = [message["id"] for message in whole.messages]
    assert len(added) == len(set(added))
    skipped = [message for message in whole.messages if "result 3 times" in json.dumps(message)]
    assert [message["role"] for message in skipped] == ["tool"]


@pytest.mark.parametrize("kind", ["message", "tool.finished", "usage", "ask.settled", "notice"])
def test_records_of_subagents_say_nothing_here(kind: str) -> None:
    assert Chat().apply(Record(1, 0, "job", kind, {}, "call_1")) == []
