"""The MCP server over HTTP: who may come in, sessions, statuses, streams, and what is refused."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from agentd.faces.mcp import exchanges, server
from agentd.faces.mcp.protocol import CAPABILITIES_KEY, VERSION_KEY
from agentd.providers.scripted import Hang, call, reply
from agentd.wire.jsonrpc import Notification, Response
from tests.adminapi import ADMIN
from tests.faces.mcp.mcpapi import RUNS_TOKEN, Api, messages_of, request, serving


async def test_a_client_without_a_token_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        for method in ("POST", "GET", "DELETE"):
            answer = await api.send(request("ping"), method=method, token="")
            assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert json.loads(answer.body)["id"] is None


async def test_tokens_of_other_apis_are_not_for_this_one(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        issued, _ = await api.server.app.access.issue(["agent", "manager"])
        for token in (RUNS_TOKEN, issued):
            assert (await api.send(request("ping"), token=token)).status == 403


async def test_a_cookie_opens_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.send(request("ping"), token="", cookie=f"agentd={ADMIN}", sec_fetch_site="same-origin")
        assert answer.status == 401


async def test_a_session_begins_with_initialize_and_ends_with_delete(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        assert talk.told["serverInfo"]["name"] == "agentd"
        assert talk.told["capabilities"] == {"tools": {}, "resources": {}}
        assert await talk.tell("notifications/initialized") == 202
        assert await talk.result("ping") == {}
        session = talk.headers["mcp-session-id"]
        assert (await api.send(None, method="DELETE", mcp_session_id=session)).status == 204
        answer = await api.send(request("ping"), mcp_session_id=session)
        assert answer.status == 404
        assert (await api.send(None, method="DELETE", mcp_session_id=session)).status == 404


async def test_there_is_nothing_to_get(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.send(None, method="GET", accept="text/event-stream")
        assert (answer.status, answer.headers["allow"]) == (405, "DELETE, OPTIONS, POST")


async def test_a_session_is_nobody_elses(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        other, _ = await api.server.app.access.issue(["mcp"])
        session = talk.headers["mcp-session-id"]
        assert (await api.send(request("ping"), token=other, mcp_session_id=session)).status == 404


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, -32600),
        ({"mcp_session_id": "nobody"}, 404, -32600),
        ({"mcp_session_id": "nobody", "mcp_protocol_version": "1999-01-01"}, 400, -32022),
        ({"mcp_protocol_version": "1999-01-01"}, 400, -32022),
        ({"accept": "text/html"}, 406, -32600),
    ],
)
async def test_requests_without_a_session_are_refused(
    tmp_path: Path, headers: dict[str, str], status: int, code: int
) -> None:
    async with serving(tmp_path) as api:
        answer = await api.send(request("tools/list", {}), **headers)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', -32700),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
        (b'{"id":1,"method":"ping"}', -32600),
        (b'{"a":' * 100_000, -32700),
    ],
)
async def test_what_is_no_message_is_refused(tmp_path: Path, body: bytes, code: int) -> None:
    async with serving(tmp_path) as api:
        answer = await api.send(body)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (400, code)


async def test_a_body_has_a_limit(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        answer = await api.send(b" " * (server.BODY_BYTES + 1))
        assert answer.status == 413


async def test_stateless_requests_need_no_session(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = api.stateless()
        told = await talk.result("server/discover")
        assert told["supportedVersions"][0] == "2026-07-28"
        assert told["resultType"] == "complete"
        assert len((await talk.result("tools/list"))["tools"]) == 11
        assert not api.server.sessions


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"mcp_method": "tools/call"}, 400, -32020),
        ({"mcp_protocol_version": "2025-11-25"}, 400, -32020),
        ({"method": "nope"}, 404, -32601),
        ({"method": "ping"}, 404, -32601),
        ({"meta": {VERSION_KEY: "2031-01-01"}, "mcp_protocol_version": "2031-01-01"}, 400, -32022),
        ({"meta": {CAPABILITIES_KEY: None}}, 400, -32602),
        ({"meta": {VERSION_KEY: 7}}, 400, -32602),
    ],
)
async def test_stateless_requests_are_refused_by_status_too(
    tmp_path: Path, change: dict[str, Any], status: int, code: int
) -> None:
    async with serving(tmp_path) as api:
        method = change.pop("method", "tools/list")
        meta = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}} | change.pop("meta", {})
        headers = {"mcp_protocol_version": "2026-07-28", "mcp_method": method} | change
        answer = await api.send(request(method, {"_meta": meta}), **headers)
        assert (answer.status, json.loads(answer.body)["error"]["code"]) == (status, code)


async def test_a_stateless_client_is_told_nothing_of_methods_of_the_other_era(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        assert (await talk.error("server/discover"))["code"] == -32601
        assert (await talk.error("prompts/list"))["code"] == -32601


async def test_notifications_and_responses_are_accepted(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        assert await talk.post({"jsonrpc": "2.0", "id": "agentd-1", "result": {}}) == 202
        assert await talk.tell("notifications/roots/list_changed") == 202
        assert await talk.tell("notifications/cancelled", requestId={"no": "id"}) == 202
        stateless = {"mcp_protocol_version": "2026-07-28"}
        told = {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {}}
        assert (await api.send(told, **stateless)).status == 202
        assert (await api.send({"jsonrpc": "2.0", "id": 1, "result": {}}, **stateless)).status == 400


async def test_the_version_that_has_batches_gets_them_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin("2025-03-26")
        assert talk.told["protocolVersion"] == "2025-03-26"
        fields = {name.replace("-", "_"): value for name, value in talk.headers.items()}
        told = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        batch = [request("ping", {}, 1), told, request("initialize", {}, 2), {"id": 3}, request("tools/list", {}, 4)]
        answer = await api.send(batch, **fields)
        responses = {each["id"]: each for each in json.loads(answer.body)}
        assert set(responses) == {1, 2, 3, 4}
        assert responses[1]["result"] == {}
        assert [responses[ident]["error"]["code"] for ident in (2, 3)] == [-32601, -32600]
        assert len(responses[4]["result"]["tools"]) == 11
        assert (await api.send([told], **fields)).status == 202
        for wrong in ([], [told] * 65):
            assert (await api.send(wrong, **fields)).status == 400


async def test_other_versions_have_no_batches(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        assert await talk.post([request("ping")]) == 400


async def follow_of(api: Api, talk: Any, **more: Any) -> dict[str, Any]:
    """A request to follow a job that says nothing for now."""
    api.says(reply(Hang()))
    started = await talk.tool("start_job", prompt="go", directory=str(api.workspace))
    arguments = {"job_id": started["job"]["job_id"], "wait_seconds": 100, **more}
    return request("tools/call", {"name": "follow_job", "arguments": arguments}, "the-follow")


async def test_a_cancelled_request_is_not_answered(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        message = await follow_of(api, talk)
        answers: list[Any] = []
        headers = {name.replace("-", "_"): value for name, value in talk.headers.items()}

        async def ask() -> None:
            answers.append(await api.send(message, **headers))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            conversation = api.server.sessions[talk.headers["mcp-session-id"]].conversation
            with trio.fail_after(5):
                while not conversation.is_busy:
                    await trio.lowlevel.checkpoint()
            assert await talk.tell("notifications/cancelled", requestId="the-follow") == 202
        assert answers[0].body == b""


async def test_an_id_that_is_in_use_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        message = await follow_of(api, talk)
        conversation = api.server.sessions[talk.headers["mcp-session-id"]].conversation
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.post, message)
            with trio.fail_after(5):
                while not conversation.is_busy:
                    await trio.lowlevel.checkpoint()
            headers = {name.replace("-", "_"): value for name, value in talk.headers.items()}
            answer = await api.send(request("ping", {}, "the-follow"), **headers)
            assert json.loads(answer.body)["error"]["code"] == -32600
            conversation.end()


async def test_a_client_that_leaves_takes_its_request_back(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = await api.begin()
        message = await follow_of(api, talk)
        conversation = api.server.sessions[talk.headers["mcp-session-id"]].conversation
        async with trio.open_nursery() as nursery:
            nursery.start_soon(talk.post, message)
            with trio.fail_after(5):
                while not conversation.is_busy:
                    await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            while conversation.is_busy:
                await trio.lowlevel.checkpoint()


async def test_an_answer_that_takes_long_becomes_a_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "STREAM_SECONDS", 0.01)
    async with serving(tmp_path) as api:
        talk = await api.begin()
        message = await follow_of(api, talk, wait_seconds=0.3)
        headers = {name.replace("-", "_"): value for name, value in talk.headers.items()}
        answer = await api.send(message, **headers)
        assert answer.headers["content-type"].startswith("text/event-stream")
        [response] = messages_of(answer)
        assert response["result"]["structuredContent"]["job"]["state"] == "running"


async def test_who_takes_no_stream_gets_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "STREAM_SECONDS", 0.01)
    async with serving(tmp_path) as api:
        talk = await api.begin()
        message = await follow_of(api, talk, wait_seconds=0.3)
        headers = {name.replace("-", "_"): value for name, value in talk.headers.items()}
        answer = await api.send(message, **headers | {"accept": "application/json"})
        assert answer.headers["content-type"] == "application/json"
        assert json.loads(answer.body)["id"] == "the-follow"


async def test_progress_is_told_to_who_wants_it(tmp_path: Path) -> None:
    async with serving(tmp_path, reply("Reading.", call("Read", about="a.py")), "Done.") as api:
        talk = api.stateless()
        meta = {"progressToken": "p1"}
        asked = {"prompt": "go", "directory": str(api.workspace), "wait_seconds": 10}
        response = await talk.ask("tools/call", name="start_job", arguments=asked, _meta=meta)
        assert response["result"]["structuredContent"]["job"]["state"] == "completed"
        steps = [each["params"] for each in talk.heard if each["method"] == "notifications/progress"]
        assert [step["progress"] for step in steps] == list(range(1, len(steps) + 1))
        assert {step["progressToken"] for step in steps} == {"p1"}
        assert {"Reading.", "Read a.py", "Done."} <= {step["message"] for step in steps}


async def test_progress_that_nobody_takes_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchanges, "MOST_NOTIFIED", 2)
    async with serving(tmp_path, reply("Reading.", call("Read", about="a.py")), "Done.") as api:
        talk = await api.begin()
        asked = {"prompt": "go", "directory": str(api.workspace), "wait_seconds": 10}
        response = await talk.ask("tools/call", name="start_job", arguments=asked, _meta={"progressToken": 1})
        assert response["result"]["structuredContent"]["job"]["done"]
        assert len(talk.heard) == 2


def test_what_utf8_has_not_is_told_in_another_way() -> None:
    response = Response(1, {"content": [{"text": "caf\udce9"}]})
    assert json.loads(exchanges.written(response))["result"] == {"content": [{"text": "caf?"}]}
    notified = Notification("notifications/progress", {"message": "caf\udce9"})
    assert json.loads(exchanges.written(notified))["params"] == {"message": "caf?"}


async def test_too_many_requests_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "MOST_AT_ONCE", 0)
    async with serving(tmp_path) as api:
        talk = api.stateless()
        assert (await talk.error("tools/list"))["code"] == -32600


async def test_the_session_that_was_not_used_for_longest_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MOST_SESSIONS", 2)
    async with serving(tmp_path) as api:
        first, second = await api.begin(), await api.begin()
        await first.result("ping")
        third = await api.begin()
        assert await second.post(request("ping")) == 404
        assert await first.result("ping") == await third.result("ping") == {}


async def test_a_session_that_nobody_uses_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving(tmp_path) as api:
        first = await api.begin()
        monkeypatch.setattr(server, "IDLE_SECONDS", 0.0)
        assert await first.post(request("ping")) == 404


async def _until_stopped(api: Api, answer: Any) -> AsyncIterator[Any]:
    async for event in answer.events():
        yield event
        api.server.stop()


async def test_a_subscription_needs_a_stream(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        talk = api.stateless()
        talk.headers = {"accept": "application/json"}
        assert (await talk.error("subscriptions/listen", notifications={}))["code"] == -32600


async def test_a_subscription_is_held_and_promises_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path) as api:
        meta = {VERSION_KEY: "2026-07-28", CAPABILITIES_KEY: {}}
        message = request("subscriptions/listen", {"_meta": meta, "notifications": {"toolsListChanged": True}}, 9)
        fields = {"authorization": f"Bearer {ADMIN}", "accept": "text/event-stream"}
        fields |= {"mcp-protocol-version": "2026-07-28", "mcp-method": "subscriptions/listen"}
        body, headers = json.dumps(message).encode(), list(fields.items())
        async with api.client.open_stream("POST", "/mcp", headers=headers, body=body) as answer:
            events = [json.loads(event.data) async for event in _until_stopped(api, answer)]
        told, last = events
        assert last["result"]["resultType"] == "complete"
        assert told["method"] == "notifications/subscriptions/acknowledged"
        assert told["params"]["notifications"] == {}
        assert list(told["params"]["_meta"].values()) == [9]
