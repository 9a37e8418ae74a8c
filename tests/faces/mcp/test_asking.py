"""Asks over MCP: listed and settled by tools, and shown to people as forms, in both eras."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.daemon.asks import Answer
from agentd.faces.mcp import asking
from agentd.providers.scripted import call, reply
from agentd.wire.jsonrpc import RpcError
from agentd.wire.sse import Event
from tests.faces.mcp.mcpapi import ACCEPT, Api, Talk, request, serving

WRITES = (reply("I write it.", call("Write", about="a.py")), "Done.")


async def waiting(api: Api, talk: Talk) -> dict[str, Any]:
    """What was told of a job that asks whether it may write."""
    told = await talk.tool("start_job", prompt="go", directory=str(api.workspace), mode="code", wait_seconds=10)
    assert told["job"]["state"] == "waiting"
    return dict(told)


async def test_a_job_that_asks_says_so_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = await api.begin()
        told = await waiting(api, talk)
        [ask] = told["asks"]
        assert (ask["kind"], ask["tool"], ask["input"]) == ("permission", "Write", {"about": "a.py"})
        assert ask["decisions"] == ["allow", "deny", "always"]
        assert told["events"][-1] == {"type": "ask", "text": ask["question"], "tool": "Write", "ask_id": ask["ask_id"]}
        assert (await talk.tool("list_asks"))["asks"] == [ask]
        assert (await talk.tool("list_asks", job_id=told["job"]["job_id"]))["asks"] == [ask]
        assert (await talk.tool("job_status", job_id=told["job"]["job_id"]))["asks"] == [ask]
        again = await talk.tool("follow_job", job_id=told["job"]["job_id"], position=told["position"])
        assert (again["events"], again["asks"]) == ([], [ask])


async def test_an_ask_is_settled_and_its_job_goes_on(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = await api.begin()
        told = await waiting(api, talk)
        ask = told["asks"][0]["ask_id"]
        assert "takes allow" in await talk.refusal("answer_ask", ask_id=ask, decision="answer", text="well")
        assert "needs text" in await talk.refusal("answer_ask", ask_id=ask, decision="answer", text=" ")
        settled = (await talk.tool("answer_ask", ask_id=ask, decision="allow", updated_input={"about": "b.py"}))["ask"]
        assert (settled["open"], settled["decision"]) == (False, "allow")
        assert "settled already: allow" in await talk.refusal("answer_ask", ask_id=ask, decision="deny")
        told = await talk.tool("follow_job", job_id=told["job"]["job_id"], position=told["position"], wait_seconds=10)
        assert [(event["type"], event["text"]) for event in told["events"]] == [
            ("settled", "allow"),
            ("tool", "Write b.py: done"),
            ("assistant", "Done."),
            ("finished", "completed"),
        ]


async def test_a_token_does_not_settle_what_others_made(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        ask = (await waiting(api, await api.begin()))["asks"][0]["ask_id"]
        api.token, _ = await api.server.app.access.issue(["mcp"])
        talk = await api.begin()
        assert (await talk.tool("list_asks"))["asks"] == []
        assert "no ask" in await talk.refusal("answer_ask", ask_id=ask, decision="allow")


# --- Forms, stateless ---------------------------------------------------------------------------------------------


async def test_a_stateless_client_is_asked_to_ask_its_user(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = api.stateless(elicitation={})
        told = await waiting(api, talk)
        ask = told["asks"][0]["ask_id"]
        arguments = {"job_id": told["job"]["job_id"], "position": told["position"], "wait_seconds": 10}
        asked = await talk.result("tools/call", name="follow_job", arguments=arguments)
        assert asked["resultType"] == "input_required"
        form = asked["inputRequests"][ask]
        assert form["method"] == "elicitation/create"
        assert form["params"]["requestedSchema"]["properties"]["decision"]["enum"] == ["allow", "deny", "always"]
        assert form["params"]["message"] == "Allow Write: a.py?\n\nabout: a.py"
        given = {ask: {"action": "accept", "content": {"decision": "allow"}}, "nobody": {"action": "cancel"}}
        done = await talk.result("tools/call", name="follow_job", arguments=arguments, inputResponses=given)
        assert done["structuredContent"]["job"]["state"] == "completed"


@pytest.mark.parametrize(("action", "state"), [("decline", "completed"), ("cancel", "waiting")])
async def test_what_a_user_does_not_decide_stays_open(tmp_path: Path, action: str, state: str) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = api.stateless(elicitation={"form": {}})
        told = await waiting(api, talk)
        arguments = {"job_id": told["job"]["job_id"], "wait_seconds": 10}
        given = {told["asks"][0]["ask_id"]: {"action": action}}
        done = await talk.result("tools/call", name="follow_job", arguments=arguments, inputResponses=given)
        assert done["structuredContent"]["job"]["state"] == state
        assert len(done["structuredContent"]["asks"]) == (state == "waiting")


async def test_a_form_that_is_filled_in_wrongly_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = api.stateless(elicitation={})
        told = await waiting(api, talk)
        arguments, ask = {"job_id": told["job"]["job_id"]}, told["asks"][0]["ask_id"]
        for wrong in ("accept", {}, {"action": "accept", "content": {"decision": "whatever"}}):
            params = {"name": "follow_job", "arguments": arguments, "inputResponses": {ask: wrong}}
            assert (await talk.error("tools/call", **params))["code"] == -32602


async def test_others_asks_are_not_settled_by_a_form(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        admin = await api.begin()
        told = await waiting(api, admin)
        api.token, _ = await api.server.app.access.issue(["mcp"])
        talk = api.stateless(elicitation={})
        api.says("Mine.")
        own = await talk.tool("start_job", prompt="x", directory=str(api.workspace), wait_seconds=10)
        given = {told["asks"][0]["ask_id"]: {"action": "accept", "content": {"decision": "allow"}}}
        arguments = {"job_id": own["job"]["job_id"]}
        await talk.result("tools/call", name="follow_job", arguments=arguments, inputResponses=given)
        assert len((await admin.tool("list_asks"))["asks"]) == 1


@pytest.mark.parametrize("capabilities", [{}, {"elicitation": {"url": {}}}])
async def test_who_shows_no_forms_is_told_of_the_ask(tmp_path: Path, capabilities: dict[str, Any]) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = api.stateless(**capabilities)
        told = await waiting(api, talk)
        again = await talk.tool("follow_job", job_id=told["job"]["job_id"], wait_seconds=10)
        assert again["asks"] == told["asks"]


# --- Forms, with a session ----------------------------------------------------------------------------------------


async def elicited(api: Api, talk: Talk, arguments: dict[str, Any], answer: Callable[[Any], Awaitable[None]]) -> Any:
    """The last message of a follow_job; *answer* gets what the server asks meanwhile."""
    body = json.dumps(request("tools/call", {"name": "follow_job", "arguments": arguments}, "f")).encode()
    headers = [("Authorization", f"Bearer {api.token}"), ("Accept", ACCEPT), *talk.headers.items()]
    last: Any = None
    with trio.fail_after(10):
        async with api.client.open_stream("POST", "/mcp", headers=headers, body=body) as stream:
            events: list[Event] = []
            async for event in stream.events():
                events.append(event)
                last = json.loads(event.data)
                if "method" in last and "id" in last:
                    await answer(last)
    return last


async def test_a_client_with_a_session_is_asked_while_it_waits(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = await api.begin(elicitation={})
        told = await waiting(api, talk)

        async def allow(asked: Any) -> None:
            assert asked["method"] == "elicitation/create"
            result = {"action": "accept", "content": {"decision": "allow"}}
            assert await talk.post({"jsonrpc": "2.0", "id": asked["id"], "result": result}) == 202

        arguments = {"job_id": told["job"]["job_id"], "position": told["position"], "wait_seconds": 10}
        last = await elicited(api, talk, arguments, allow)
        assert last["result"]["structuredContent"]["job"]["state"] == "completed"


async def test_a_client_that_cannot_after_all_is_told_of_the_ask(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk = await api.begin(elicitation={})
        told = await waiting(api, talk)

        async def fail(asked: Any) -> None:
            error = {"code": -32601, "message": "no forms here"}
            await talk.post({"jsonrpc": "2.0", "id": asked["id"], "error": error})

        last = await elicited(api, talk, {"job_id": told["job"]["job_id"], "wait_seconds": 10}, fail)
        assert last["result"]["structuredContent"]["asks"] == told["asks"]


async def test_a_form_is_taken_back_when_somebody_else_decides(tmp_path: Path) -> None:
    async with serving(tmp_path, *WRITES) as api:
        talk, other = await api.begin(elicitation={}), await api.begin()
        told = await waiting(api, talk)

        async def decide(asked: Any) -> None:
            await other.tool("answer_ask", ask_id=told["asks"][0]["ask_id"], decision="deny", text="no")

        last = await elicited(api, talk, {"job_id": told["job"]["job_id"], "wait_seconds": 10}, decide)
        events = last["result"]["structuredContent"]["events"]
        assert ("settled", "deny: no") in [(event["type"], event["text"]) for event in events]


# --- What a form is -----------------------------------------------------------------------------------------------

QUESTION = {
    "kind": "question",
    "question": "Which?",
    "input": {},
    "decisions": ["answer", "deny"],
    "choices": ["a", "b"],
}


def test_the_form_of_a_question_asks_for_words() -> None:
    form = asking.form(QUESTION)
    assert form["message"] == "Which?"
    assert form["requestedSchema"]["properties"]["answer"]["description"] == "For example: a; b"
    assert asking.filled_in(QUESTION, {"action": "accept", "content": {"answer": "c"}}) == Answer("answer", answer="c")


@pytest.mark.parametrize("content", [None, {}, {"answer": " "}, {"answer": 7}, {"decision": "answer"}])
def test_a_question_is_not_answered_by_nothing(content: Any) -> None:
    with pytest.raises(RpcError):
        asking.filled_in(QUESTION, {"action": "accept", "content": content})
