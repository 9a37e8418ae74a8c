"""A cancel at any moment: the turn has ended when it is answered, its calls have results, and the chat goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from agentd.daemon.tail import Cursor
from agentd.providers.scripted import Delay, Hang, call, reply
from tests.chatapi import Api, serving, status_of, texts

STORY = (
    reply("Looking.", call("repo_tree"), call("git_status")),
    reply("Trying.", call("shell", command="echo one; sleep 0.05; echo two")),
    reply("More ", Delay(0.05), "to say."),
)


async def until_record(api: Api, chat: str, number: int) -> bool:
    """Returns when the log has so many records, or nothing happens any more; an approval is given on the way."""
    tail = await api.chats.base.sessions.tail(api.directory(chat).id)
    while (seen := tail.reader.last_pos) < number:
        state = await api.chats.state_of(tail.session.id)
        if state.is_idle:
            return False
        if state.waiting is not None:
            await api.ask("POST", f"/{chat}/approve", {"tool_call_id": state.waiting.call})
        await tail.wait(Cursor(seen), 0.5)
    return True


@pytest.mark.parametrize("number", range(3, 34, 2))
async def test_a_turn_is_canceled_at_any_record(tmp_path: Path, number: int) -> None:
    async with serving(tmp_path, *STORY) as api:
        chat = await api.create()
        turn = await api.say(chat)
        with trio.fail_after(20):
            await until_record(api, chat, number)
            await api.post(f"/{chat}/cancel")
        session = await api.get(f"/{chat}")
        assert session["status"] == "canceled"
        ended = (session["turns"][0]["status"], session["turns"][0]["error"])
        assert ended in (("failed", "canceled"), ("succeeded", None))
        calls = [part["tool_call_id"] for each in session["messages"] for part in each["parts"] if "tool_name" in part]
        answers = [each["tool_call_id"] for each in session["messages"] if each["role"] == "tool"]
        assert sorted(answers) == sorted(calls)
        types = await api.types(chat)
        assert types.count("session_canceled") == 1
        assert types[-1] == "session_canceled"
        api.says("Here again.")
        session = await api.done(chat, "Go on.")
        assert texts(session)[-1] == ("assistant", "Here again.")
        assert status_of(session, turn) == ended[0]


async def test_a_model_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("I am ", Hang())) as api:
        chat = await api.create()
        turn = await api.say(chat)
        await api.until_event(chat, "model_output_delta")
        await api.post(f"/{chat}/cancel")
        assert status_of(await api.get(f"/{chat}"), turn) == "failed"


async def test_cancels_at_once_are_one(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", Hang())) as api:
        chat = await api.create()
        await api.say(chat)
        await api.until_event(chat, "turn_started")
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(api.post, f"/{chat}/cancel")
        assert (await api.types(chat)).count("session_canceled") == 1


async def test_messages_of_many_at_once_are_all_answered_one_after_the_other(tmp_path: Path) -> None:
    async with serving(tmp_path, *["ok"] * 8) as api:
        chat = await api.create()
        turns: list[str] = []

        async def say(number: int) -> None:
            turns.append(await api.say(chat, f"number {number}"))

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(say, number)
        session = await api.until(chat, lambda told: {each["status"] for each in told["turns"]} == {"succeeded"})
        assert [each["id"] for each in session["turns"]] == [
            event["turn_id"] for event in await api.events(chat) if event["type"] == "turn_started"
        ]
        assert sorted(turns) == sorted(each["id"] for each in session["turns"])
        said = [request.messages[-1].text for request in api.model.requests]
        assert said == [text for role, text in texts(session) if role == "user"]


async def test_no_more_executors_live_than_may_and_turns_wait_for_room(tmp_path: Path) -> None:
    async with serving(tmp_path, *["ok"] * 3, most=1) as api:
        chats = [await api.create() for _ in range(3)]
        turns = [await api.say(chat) for chat in chats]
        for chat, turn in zip(chats, turns, strict=True):
            assert status_of(await api.turn(chat, turn), turn) == "succeeded"
