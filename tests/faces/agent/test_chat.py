"""Chat completions over the agent API, and its models: as OpenAI's clients ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentd.providers.scripted import Delay, Hang, call, reply
from agentd.wire import sse
from tests.agentserver import KEY, serving

PATH = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


async def test_a_chat_is_completed_in_a_session_that_knows_what_was_said(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Let me look.", call("Read", about="x")), "It was 42.")
        messages = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Remember 42."},
            {"role": "assistant", "content": "Noted."},
            {"role": "user", "content": "Which number?"},
        ]
        status, told = await server.ask("POST", PATH, {"model": "sonnet", "messages": messages})
        [choice] = told["choices"]
        assert (status, told["object"], told["model"]) == (200, "chat.completion", "sonnet")
        assert choice["message"]["content"] == "Let me look.\n\nIt was 42."
        assert choice["finish_reason"] == "stop"
        assert [message.text for message in server.model.requests[0].messages] == [
            *("Remember 42.", "Noted.", "Which number?")
        ]
        [record] = (await server.get("/api/v1/sessions"))["sessions"]
        assert (record["status"], record["title"]) == ("completed", "Which number?")


async def test_a_chat_is_completed_chunk_by_chunk(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("A longer answer, ", Delay(0.1), "in several pieces."))
        body = json.dumps({"model": "sonnet", "messages": HELLO, "stream": True}).encode()
        answer = await server.client.request("POST", PATH, headers=[("Authorization", f"Bearer {KEY}")], body=body)
        *chunks, last = [event.data for event in sse.Decoder().feed(answer.body)]
        deltas = [json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks]
        assert last == "[DONE]"
        assert "".join(deltas) == "A longer answer, in several pieces."
        assert len([delta for delta in deltas if delta]) > 1


async def test_a_chat_whose_client_leaves_is_stopped(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        server.says(reply("Hm.", Hang()))
        body = json.dumps({"model": "sonnet", "messages": HELLO, "stream": True}).encode()
        async with server.client.open_stream("POST", PATH, headers=[("X-API-Key", KEY)], body=body) as stream:
            async for _ in stream.chunks():
                break
        [record] = (await server.get("/api/v1/sessions"))["sessions"]
        assert (await server.until(record["id"], lambda each: each["status"] != "active"))["status"] == "completed"


async def test_nobody_is_asked_unless_the_mode_says_that_nothing_needs_to_be(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        for headers, seen in (({}, "nobody is there"), ({"x_permission_mode": "bypassPermissions"}, "saw a")):
            server.says(reply("So.", call("Write", about="a")), "Done.")
            body = {"model": "sonnet", "messages": HELLO}
            assert (await server.ask("POST", PATH, body, **headers))[0] == 200
            results = [str(block) for message in server.model.requests[-1].messages for block in message.content]
            assert seen in results[-1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        ({"messages": HELLO, "model": "nothing-like-it"}, 404),
        ({"messages": [], "model": "sonnet"}, 400),
        ({"messages": HELLO, "model": "sonnet", "tool_choice": "required", "tools": [{"type": "function"}]}, 400),
    ],
)
async def test_what_is_wrong_is_told_in_the_shape_of_that_api(tmp_path: Path, body: Any, status: int) -> None:
    async with serving(tmp_path) as server:
        found, told = await server.ask("POST", PATH, body)
        assert found == status, told
        assert set(told["error"]) == {"message", "type", "param", "code"}
        assert (await server.get("/api/v1/sessions"))["total"] == 0


async def test_models_are_the_names_that_a_query_may_use(tmp_path: Path) -> None:
    async with serving(tmp_path) as server:
        listed = [each["id"] for each in (await server.get("/v1/models"))["data"]]
        assert {"sonnet", "opus", "haiku"} <= set(listed)
        assert (await server.get("/v1/models/sonnet"))["id"] == "sonnet"
        assert (await server.ask("GET", "/v1/models/nothing"))[0] == 404
