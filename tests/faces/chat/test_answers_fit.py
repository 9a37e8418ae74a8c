"""What is answered about chats is what their document says."""

from __future__ import annotations

import base64
from typing import Any

from agentd.faces.chat.openapi import document
from agentd.faces.chat.routes import PREFIX
from agentd.providers.scripted import call, reply
from tests.chatapi import Api
from tests.wire.openapi31 import misfits

DOCUMENT = document()
ONE = "/{session_id}"


def fits(method: str, path: str, answer: tuple[int, Any], status: int = 200) -> bool:
    assert answer[0] == status, answer
    assert misfits(DOCUMENT, method, f"{PREFIX}{path}", *answer) == []
    return True


async def test_a_chat_fits_before_during_and_after_a_turn(api: Api) -> None:
    api.says(reply("Looking.", call("shell", command="true")), "Done.")
    made = await api.ask("POST", "", {"workspace_path": str(api.workspace), "mode": "spec"})
    assert fits("POST", "", made)
    chat = made[1]["session_id"]
    assert fits("GET", ONE, await api.ask("GET", f"/{chat}"))
    said = await api.ask("POST", f"/{chat}/messages", {"role": "user", "parts": [{"type": "text", "text": "Hi."}]})
    assert fits("POST", f"{ONE}/messages", said)
    waits = await api.waiting(chat, said[1]["turn_id"])
    assert fits("GET", ONE, await api.ask("GET", f"/{chat}"))
    decided = await api.ask("POST", f"/{chat}/approve", {"tool_call_id": waits})
    assert fits("POST", f"{ONE}/approve", decided)
    ended = await api.turn(chat, said[1]["turn_id"])
    assert {part["type"] for message in ended["messages"] for part in message["parts"]} == {"text", "tool_use"}
    assert fits("GET", ONE, (200, ended))
    assert fits("GET", "", await api.ask("GET", ""))
    assert fits("GET", f"{ONE}/events", await api.ask("GET", f"/{chat}/events?format=json"))
    again = await api.ask("POST", f"/{chat}/turns/{said[1]['turn_id']}/retry")
    assert fits("POST", f"{ONE}/turns/{{turn_id}}/retry", again, 409)
    assert fits("POST", f"{ONE}/cancel", await api.ask("POST", f"/{chat}/cancel"))
    assert fits("GET", ONE, await api.ask("GET", f"/{chat}"))


async def test_modes_and_attachments_fit(api: Api) -> None:
    chat = await api.create()
    switched = await api.ask("POST", f"/{chat}/mode", {"mode": "spec"})
    assert fits("POST", f"{ONE}/mode", switched)
    data = {"name": "a.txt", "content_base64": base64.b64encode(b"a").decode()}
    assert fits("POST", f"{ONE}/attachments", await api.ask("POST", f"/{chat}/attachments", data))
    assert fits("POST", f"{ONE}/attachments", await api.ask("POST", f"/{chat}/attachments", {}), 400)


async def test_what_is_refused_of_chats_fits(api: Api) -> None:
    chat = await api.create()
    assert fits("POST", "", await api.ask("POST", "", {}), 400)
    assert fits("GET", ONE, await api.ask("GET", "/none"), 404)
    assert fits("POST", f"{ONE}/approve", await api.ask("POST", f"/{chat}/approve", {"tool_call_id": "x"}), 400)
    assert fits("POST", f"{ONE}/turns/{{turn_id}}/retry", await api.ask("POST", f"/{chat}/turns/x/retry"), 404)
