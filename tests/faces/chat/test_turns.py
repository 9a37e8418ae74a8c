"""Turns over HTTP: objects and events as the contract has them, in its order."""

from __future__ import annotations

from pathlib import Path

from agentd.daemon.followup import FollowUp
from agentd.domain import Limits, Record
from agentd.errors import ProviderFailed
from agentd.faces.chat.dialect import Chat
from agentd.faces.runs.base import Choice
from agentd.providers.scripted import call, reply
from tests.chatapi import Api, serving, status_of, texts


async def test_a_message_is_answered(api: Api) -> None:
    api.says("Hello.")
    chat = await api.create(system_prompt="Be kind.")
    session = await api.done(chat)
    assert texts(session) == [("user", "Hi."), ("assistant", "Hello.")]
    assert (session["status"], session["error"]) == ("active", None)
    assert "Be kind." in api.model.requests[0].system
    assert await api.types(chat) == [
        "session_created",
        "message_added",
        "turn_started",
        "model_resolved",
        "model_output_delta",
        "model_output_completed",
        "message_added",
        "session_cost_updated",
        "turn_completed",
    ]


async def test_objects_are_as_the_contract_has_them(api: Api) -> None:
    api.says(reply("Looking.", call("repo_tree")), "Done.")
    chat = await api.create()
    turn = await api.say(chat)
    session = await api.turn(chat, turn)
    zeros = {"input_cost_usd": 0.0, "output_cost_usd": 0.0, "total_cost_usd": 0.0}
    assert {name: value for name, value in session.items() if name not in ("messages", "turns", "updated_at")} == {
        "id": chat,
        "created_at": session["created_at"],
        "status": "active",
        "mode": "chat",
        "workspace_path": str(api.workspace),
        "system_prompt": "",
        "spec_path": "",
        "auto_run": True,
        "last_turn_id": turn,
        "cost": zeros,
        "error": None,
    }
    user, assistant, tool, last = session["messages"]
    assert user["parts"] == [{"type": "text", "text": "Hi."}]
    assert [part["type"] for part in assistant["parts"]] == ["text", "tool_use"]
    used = assistant["parts"][1]
    assert used == {
        "type": "tool_use",
        "tool_call_id": used["tool_call_id"],
        "tool_name": "repo_tree",
        "tool_input": {},
    }
    assert (tool["role"], tool["tool_call_id"]) == ("tool", used["tool_call_id"])
    assert (last["role"], last["tool_call_id"]) == ("assistant", None)
    assert len({message["id"] for message in session["messages"]}) == 4
    (told,) = session["turns"]
    assert (told["id"], told["status"], told["error"]) == (turn, "succeeded", None)
    assert told["started_at"] <= told["completed_at"]


async def test_events_of_a_call_come_in_order(api: Api) -> None:
    api.says(reply("", call("shell", command="echo hi")), "Done.")
    chat = await api.create()
    turn = await api.say(chat)
    asked = await api.waiting(chat, turn)
    assert (await api.get(f"/{chat}"))["status"] == "waiting_approval"
    await api.approve(chat, asked, turn_id=turn, action="approve", reason="ok")
    await api.turn(chat, turn)
    events = [event for event in await api.events(chat) if event["type"] != "session_cost_updated"]
    ours = [event for event in events if event.get("turn_id") == turn]
    assert [event["type"] for event in ours] == [
        "message_added",
        "turn_started",
        "model_resolved",
        "model_output_completed",
        "message_added",
        "approval_requested",
        "approval_granted",
        "tool_call_started",
        "tool_call_completed",
        "message_added",
        "model_output_delta",
        "model_output_completed",
        "message_added",
        "verify_skipped",
        "turn_completed",
    ]
    about = {"tool": "shell", "tool_call_id": asked}
    given = {"command": "echo hi"}
    assert ours[5]["data"] == {**about, "input": given}
    assert ours[6]["data"] == {**about, "reason": "ok"}
    assert ours[7]["data"] == {**about, "input": given}
    assert ours[8]["data"] == {**about, "ok": True, "error": ""}


async def test_a_denied_call_is_answered_with_the_reason(api: Api) -> None:
    api.says(reply("", call("shell", command="rm -rf x")), "Then not.")
    chat = await api.create()
    turn = await api.say(chat)
    await api.approve(chat, await api.waiting(chat, turn), action="deny", reason="never")
    session = await api.turn(chat, turn)
    assert status_of(session, turn) == "succeeded"
    assert "never" in texts(session)[2][1]
    types = await api.types(chat)
    assert types.count("approval_denied") == 1
    assert "tool_call_started" not in types


async def test_what_is_not_waiting_cannot_be_approved(api: Api) -> None:
    api.says(reply("", call("shell", command="true")), "Done.")
    chat = await api.create()
    turn = await api.say(chat)
    asked = await api.waiting(chat, turn)
    for body in ({"tool_call_id": "call_x"}, {"tool_call_id": asked, "turn_id": "turn_other"}):
        told = await api.ask("POST", f"/{chat}/approve", body)
        assert told == (400, {"error": f"no approval pending for tool call {body['tool_call_id']}"})
    assert await api.ask("POST", f"/{chat}/approve", {}) == (400, {"error": "tool_call_id required"})
    await api.approve(chat, asked)
    await api.turn(chat, turn)
    assert (await api.ask("POST", f"/{chat}/approve", {"tool_call_id": asked}))[0] == 400


async def test_a_message_that_comes_meanwhile_waits_for_its_turn(api: Api) -> None:
    api.says(reply("", call("shell", command="true")), "One.", "Two.")
    chat = await api.create()
    first = await api.say(chat, "one")
    asked = await api.waiting(chat, first)
    second = await api.say(chat, "two")
    session = await api.get(f"/{chat}")
    assert [turn["status"] for turn in session["turns"]] == ["waiting_approval", "pending"]
    assert [message["role"] for message in session["messages"]] == ["user", "assistant", "user"]
    await api.approve(chat, asked)
    await api.turn(chat, second)
    told = [message.text for message in api.model.requests[1].messages if message.role == "user"]
    assert "two" not in "".join(told)
    assert api.model.requests[2].messages[-1].text == "two"


async def test_a_message_may_wait_until_its_turn_is_asked_for(api: Api) -> None:
    api.says("One.", "Two.")
    chat = await api.create(auto_run=False)
    first = await api.say(chat, "one")
    assert status_of(await api.get(f"/{chat}"), first) == "pending"
    second = await api.say(chat, "two", auto_run=True)
    await api.turn(chat, second)
    assert [message.text for message in api.model.requests[0].messages] == ["one", "two"]
    assert status_of(await api.get(f"/{chat}"), first) == "pending"
    await api.post(f"/{chat}/turns/{first}/retry")
    session = await api.turn(chat, first)
    assert texts(session)[-1] == ("assistant", "Two.")


async def test_a_failed_turn_is_retried_under_its_id(api: Api) -> None:
    api.says(reply("", call("fly")), "Done.")
    chat = await api.create()
    turn = await api.say(chat)
    session = await api.turn(chat, turn)
    assert (session["status"], session["error"]) == ("failed", "unknown tool: fly")
    assert [message["role"] for message in session["messages"]] == ["user", "assistant", "tool"]
    await api.post(f"/{chat}/turns/{turn}/retry")
    session = await api.turn(chat, turn, "succeeded")
    assert (session["status"], session["error"], len(session["turns"])) == ("active", None, 1)
    started = [event for event in await api.events(chat) if event["type"] == "turn_started"]
    assert [event.get("data") for event in started] == [None, {"retry": True}]
    again = await api.ask("POST", f"/{chat}/turns/{turn}/retry")
    assert again == (409, {"error": "turn is not retryable"})


async def test_a_turn_that_waits_is_canceled(api: Api) -> None:
    api.says(reply("", call("shell", command="true"), call("repo_tree")), "Never.")
    chat = await api.create()
    turn = await api.say(chat)
    await api.waiting(chat, turn)
    queued = await api.say(chat, "next")
    await api.post(f"/{chat}/cancel")
    session = await api.get(f"/{chat}")
    assert session["status"] == "canceled"
    assert [(each["status"], each["error"]) for each in session["turns"]] == [("failed", "canceled")] * 2
    calls = [part["tool_call_id"] for part in session["messages"][1]["parts"]]
    answers = [message["tool_call_id"] for message in session["messages"] if message["role"] == "tool"]
    assert answers == calls
    events = await api.events(chat)
    assert [event.get("turn_id") for event in events if event["type"] == "turn_failed"] == [queued, turn]
    assert events[-1]["type"] == "session_canceled"
    await api.post(f"/{chat}/cancel")
    assert (await api.types(chat)).count("session_canceled") == 1


async def test_a_command_at_work_is_stopped(api: Api) -> None:
    api.says(reply("", call("shell", command="echo begun; sleep 60")))
    chat = await api.create()
    turn = await api.say(chat)
    await api.approve(chat, await api.waiting(chat, turn))
    await api.until_event(chat, "tool_call_started")
    await api.post(f"/{chat}/cancel")
    assert status_of(await api.get(f"/{chat}"), turn) == "failed"
    types = await api.types(chat)
    assert types[-4:] == ["tool_call_completed", "message_added", "turn_failed", "session_canceled"]


async def test_an_idle_chat_may_be_canceled_and_goes_on_with_the_next_message(api: Api) -> None:
    api.says("Hello.")
    chat = await api.create()
    await api.post(f"/{chat}/cancel")
    assert (await api.get(f"/{chat}"))["status"] == "canceled"
    assert (await api.done(chat))["status"] == "active"


async def test_what_was_changed_is_verified(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("", call("shell", command="true")), "Done.", verify=["echo fine"]) as api:
        chat = await api.create()
        turn = await api.say(chat)
        await api.approve(chat, await api.waiting(chat, turn))
        await api.until(chat, lambda session: len(session["messages"]) == 4)
        asked = await api.waiting(chat, turn)
        assert asked.startswith("call_")
        await api.approve(chat, asked)
        session = await api.turn(chat, turn)
        assert session["messages"][-1]["tool_call_id"] == asked
        assert "fine" in texts(session)[-1][1]


async def test_what_is_said_by_way_of_another_face_is_a_message_of_a_turn(api: Api) -> None:
    api.says("One.", "Two.", "Three.")
    chat = await api.create(system_prompt="Be kind.")
    sessions = api.chats.base.sessions
    for text in ("first", "third"):
        await sessions.follow_up(await sessions.find(api.directory(chat).id), FollowUp(text))
        await api.until(chat, lambda session: session["turns"][-1]["status"] == "succeeded")
        if text == "first":
            await api.done(chat, "second")
    session = await api.get(f"/{chat}")
    assert [text for role, text in texts(session) if role == "user"] == ["first", "second", "third"]
    assert [turn["status"] for turn in session["turns"]] == ["succeeded"] * 3
    assert "Be kind." in api.model.requests[2].system


async def test_a_turn_that_no_model_fits_fails_and_can_be_retried(tmp_path: Path) -> None:
    budgets = [ProviderFailed("budget exceeded: $5 of $5 are spent")]

    async def choose(spent: float = 0.0) -> Choice:
        if budgets:
            raise budgets.pop()
        return Choice(limits=Limits(usd=1.0))

    async with serving(tmp_path, "Done.", choose=choose) as api:
        chat = await api.create()
        turn = await api.say(chat)
        session = await api.turn(chat, turn)
        assert (session["status"], session["error"]) == ("failed", "budget exceeded: $5 of $5 are spent")
        await api.post(f"/{chat}/turns/{turn}/retry")
        assert status_of(await api.turn(chat, turn, "succeeded"), turn) == "succeeded"
        assert "retry" not in str(await api.events(chat))


def test_what_models_cost_is_summed_up() -> None:
    chat, usage = Chat(), {"input_tokens": 1000, "output_tokens": 100, "cost": 0.002, "output_cost": 0.001}
    events = [chat.apply(Record(pos, 0, "job", "usage", usage)) for pos in (1, 2)]
    costs = {"input_cost_usd": 0.002, "output_cost_usd": 0.002, "total_cost_usd": 0.004}
    assert chat.cost == costs
    assert events[1][0].data == {**costs, "input_tokens": 1000, "output_tokens": 100}
    chat.apply(Record(3, 0, "job", "usage", {**usage, "cost": None}))
    assert chat.cost == costs
