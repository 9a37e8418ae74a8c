"""Chats whose daemon and executors die: nothing that was said is lost, nothing is done twice."""

from __future__ import annotations

from pathlib import Path

from agentd.providers.scripted import call, reply
from tests.chatapi import serving, status_of, texts


async def test_an_approval_may_come_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="echo hi"))) as api:
        chat = await api.create()
        turn = await api.say(chat)
        asked = await api.waiting(chat, turn)
    async with serving(tmp_path, "Done.") as api:
        assert status_of(await api.get(f"/{chat}"), turn) == "waiting_approval"
        await api.approve(chat, asked)
        session = await api.turn(chat, turn)
        assert texts(session)[-1] == ("assistant", "Done.")
        types = await api.types(chat)
        for kind in ("turn_started", "approval_requested", "approval_granted", "tool_call_started", "turn_completed"):
            assert types.count(kind) == 1


async def test_a_turn_at_work_fails_with_its_daemon_and_can_be_retried(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="echo begun; sleep 60"))) as api:
        chat = await api.create()
        turn = await api.say(chat)
        await api.approve(chat, await api.waiting(chat, turn))
        await api.until_event(chat, "tool_call_started")
    async with serving(tmp_path, "Done.") as api:
        session = await api.turn(chat, turn)
        assert (session["status"], session["error"]) == ("failed", "interrupted by daemon restart")
        assert session["messages"][-1]["role"] == "tool"
        await api.post(f"/{chat}/turns/{turn}/retry")
        session = await api.turn(chat, turn, "succeeded")
        assert (session["status"], texts(session)[-1]) == ("active", ("assistant", "Done."))


async def test_turns_in_line_are_there_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="true"))) as api:
        chat = await api.create()
        first = await api.say(chat, "one")
        asked = await api.waiting(chat, first)
        second = await api.say(chat, "two")
    async with serving(tmp_path, "One.", "Two.") as api:
        await api.approve(chat, asked)
        session = await api.turn(chat, second)
        assert [turn["status"] for turn in session["turns"]] == ["succeeded", "succeeded"]
        assert api.model.requests[1].messages[-1].text == "two"


async def test_turns_in_line_begin_when_the_one_before_died_with_its_daemon(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="echo begun; sleep 60"))) as api:
        chat = await api.create()
        first = await api.say(chat, "one")
        await api.approve(chat, await api.waiting(chat, first))
        second = await api.say(chat, "two")
        await api.until_event(chat, "tool_call_started")
    async with serving(tmp_path, "Two.") as api:
        session = await api.turn(chat, second)
        assert [turn["status"] for turn in session["turns"]] == ["failed", "succeeded"]


async def test_a_cancel_that_was_cut_short_is_carried_out_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="true"))) as api:
        chat = await api.create()
        turn = await api.say(chat)
        await api.waiting(chat, turn)
        directory = api.directory(chat)
    from agentd.daemon.writer import append_alone
    from agentd.domain import Entry

    append_alone(directory, lambda _: [Entry("chat.canceled", {})])  # and then the daemon died
    async with serving(tmp_path) as api:
        session = await api.turn(chat, turn)
        assert (session["status"], session["turns"][0]["error"]) == ("canceled", "canceled")


async def test_events_are_the_same_after_a_restart(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("Looking.", call("repo_tree")), "Done.") as api:
        chat = await api.create()
        await api.done(chat)
        before = await api.events(chat), await api.get(f"/{chat}")
    async with serving(tmp_path) as api:
        assert (await api.events(chat), await api.get(f"/{chat}")) == before
        assert (await api.get("?"))[0] == before[1]


async def test_an_executor_that_dies_interrupts_its_turn_and_the_next_one_begins(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="echo begun; sleep 60")), "Two.") as api:
        chat = await api.create()
        first = await api.say(chat, "one")
        await api.approve(chat, await api.waiting(chat, first))
        await api.until_event(chat, "tool_call_started")
        second = await api.say(chat, "two")
        (seat,) = api.seats
        await seat.down()
        session = await api.turn(chat, second)
        assert [turn["status"] for turn in session["turns"]] == ["failed", "succeeded"]
