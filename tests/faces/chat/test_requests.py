"""What requests have to say, and what chats, modes and specs they make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agentd.providers.scripted import call, reply
from tests.chatapi import Api, serving, status_of

TEXT = [{"type": "text", "text": "hi"}]


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"[]", "invalid json"),
        (b"{", "invalid json"),
        ({}, "workspace_path is empty"),
        ({"workspace_path": " "}, "workspace_path is empty"),
        ({"workspace_path": 1}, "workspace_path must be a string"),
        ({"workspace_path": "/nowhere/at/all"}, "workspace_path must be a directory"),
        ({"workspace_path": ".", "mode": "talk"}, "mode must be chat or spec"),
        ({"workspace_path": ".", "auto_run": "no"}, "auto_run must be a boolean"),
        ({"workspace_path": ".", "spec_path": "../x.md"}, "path escapes workspace: ../x.md"),
        ({"workspace_path": ".", "spec_path": "/etc/x.md"}, "spec_path escapes workspace: /etc/x.md"),
        ({"workspace_path": ".", "spec_path": "a\0b"}, "spec_path is no path: 'a\\x00b'"),
        (
            {"workspace_path": ".", "spec_path": ".git/hooks/x"},
            "spec_path must be none of git's own files: .git/hooks/x",
        ),
        ({"workspace_path": ".", "spec_path": "."}, "spec_path must be a file: ."),
    ],
)
async def test_a_chat_that_cannot_be_made_is_refused(api: Api, body: Any, text: str) -> None:
    if isinstance(body, dict) and body.get("workspace_path") == ".":
        body = {**body, "workspace_path": str(api.workspace)}
    assert await api.ask("POST", "", body) == (400, {"error": text})
    assert await api.get("") == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"parts": TEXT}, "role required"),
        ({"role": "robot", "parts": TEXT}, "role must be one of user, system, assistant, tool"),
        ({"role": "user"}, "parts must not be empty"),
        ({"role": "user", "parts": []}, "parts must not be empty"),
        ({"role": "user", "parts": "hi"}, "parts must be an array"),
        ({"role": "user", "parts": ["hi"]}, "parts[0] must be an object"),
        ({"role": "user", "parts": [{"text": "hi"}]}, "parts[0].type required"),
        ({"role": "user", "parts": [{"type": "text"}]}, "parts[0].text must be a string"),
        ({"role": "user", "parts": [*TEXT, {"type": "image"}]}, "parts[1].ref required"),
        ({"role": "user", "parts": TEXT, "auto_run": 1}, "auto_run must be a boolean"),
    ],
)
async def test_a_message_that_says_nothing_is_refused(api: Api, body: Any, text: str) -> None:
    chat = await api.create()
    assert await api.ask("POST", f"/{chat}/messages", body) == (400, {"error": text})
    assert (await api.get(f"/{chat}"))["turns"] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("POST", "/messages"),
        ("GET", "/events"),
        ("POST", "/mode"),
        ("POST", "/approve"),
        ("POST", "/cancel"),
        ("POST", "/turns/turn_x/retry"),
        ("POST", "/attachments"),
        ("GET", "/attachments/x"),
        ("GET", "/export"),
    ],
)
@pytest.mark.parametrize("ident", ["sess_x", "sess_20260102t081717z_aaaaaaaaaaaaaaaa", "..%2F..%2Fetc"])
async def test_a_chat_that_there_is_not_is_not_found(api: Api, method: str, path: str, ident: str) -> None:
    status, told = await api.ask(method, f"/{ident}{path}", {})
    assert status == 404
    assert told["error"].startswith("session not found: ")


async def test_other_things_are_not_found_either(api: Api) -> None:
    chat = await api.create()
    assert (await api.ask("POST", f"/{chat}/turns/turn_x/retry", {})) == (404, {"error": "turn not found: turn_x"})
    assert (await api.ask("GET", f"/{chat}/attachments/x.png"))[0] == 404
    assert (await api.ask("PUT", f"/{chat}"))[0] == 405


async def test_chats_are_listed_newest_first_and_whole(api: Api) -> None:
    chats = [await api.create() for _ in range(3)]
    api.says("Hello.")
    await api.done(chats[1])
    listed = await api.get("")
    assert {each["id"] for each in listed} == set(chats)
    assert [each["created_at"] for each in listed] == sorted((each["created_at"] for each in listed), reverse=True)
    assert next(each for each in listed if each["id"] == chats[1]) == await api.get(f"/{chats[1]}")


async def test_a_token_is_wanted_where_there_is_one(tmp_path: Path) -> None:
    async with serving(tmp_path, token="open sesame") as api:
        assert await api.ask("GET", "") == (401, {"error": "unauthorized"})
        assert await api.ask("GET", "", authorization="Bearer open sesame") == (200, [])


# --- Specs --------------------------------------------------------------------------------------------------------


async def test_a_spec_is_drafted_for_a_chat_about_one(api: Api) -> None:
    told = await api.post("", {"workspace_path": str(api.workspace), "mode": "spec"})
    chat = told["session_id"]
    path = api.workspace / "specs" / f"session-{chat}" / "spec.md"
    assert told["spec_path"] == str(path)
    for heading in ("# Goal\n", "# Constraints / nuances\n", "# Acceptance tests\n"):
        assert heading in path.read_text()
    events = [(event["type"], event["data"]) for event in await api.events(chat)]
    named = {"spec_path": str(path)}
    created = {"workspace_path": str(api.workspace)}
    assert events == [("session_created", created), ("spec_path_set", named), ("spec_created", named)]


async def test_a_spec_that_is_named_is_stored_and_drafted_with_the_first_turn(api: Api) -> None:
    told = await api.post("", {"workspace_path": str(api.workspace), "mode": "spec", "spec_path": "specs/x/spec.md"})
    path = api.workspace / "specs/x/spec.md"
    assert told["spec_path"] == str(path)
    assert not path.exists()
    api.says("ok")
    await api.done(told["session_id"])
    assert path.exists()
    assert (await api.types(told["session_id"])).count("spec_created") == 1


async def test_the_mode_is_switched_from_the_next_turn_on(api: Api) -> None:
    chat = await api.create(spec_path="a/spec.md")
    path = str(api.workspace / "a/spec.md")
    assert (await api.get(f"/{chat}"))["spec_path"] == path
    told = await api.post(f"/{chat}/mode", {"mode": "spec"})
    assert told == {"session_id": chat, "mode": "spec", "spec_path": path}
    assert (await api.types(chat))[-2:] == ["session_mode_set", "spec_created"]
    told = await api.post(f"/{chat}/mode", {"mode": "chat"})
    assert told == {"session_id": chat, "mode": "chat", "spec_path": path}
    api.says("ok")
    await api.done(chat)
    assert "write_spec" not in {tool.name for tool in api.model.requests[0].tools}


async def test_a_mode_that_is_none_is_refused(api: Api) -> None:
    chat = await api.create()
    assert await api.ask("POST", f"/{chat}/mode", {}) == (400, {"error": "mode is required"})
    assert await api.ask("POST", f"/{chat}/mode", {"mode": "x"}) == (400, {"error": "mode must be chat or spec"})
    refused = await api.ask("POST", f"/{chat}/mode", {"mode": "spec", "spec_path": "../x"})
    assert refused == (400, {"error": "path escapes workspace: ../x"})


async def test_a_link_leads_no_spec_out_of_the_workspace(api: Api, tmp_path: Path) -> None:
    (api.workspace / "out").symlink_to(tmp_path)
    body = {"workspace_path": str(api.workspace), "mode": "spec", "spec_path": "out/spec.md"}
    assert await api.ask("POST", "", body) == (400, {"error": "path escapes workspace: out/spec.md"})


async def test_a_written_spec_is_validated_in_events_and_messages(api: Api) -> None:
    chat = await api.create(mode="spec", spec_path="spec.md")
    api.says(reply("", call("write_spec", content="# Goal\n")), "Done.")
    session = await api.done(chat)
    types = [each for each in await api.types(chat) if each not in ("session_cost_updated", "model_output_delta")]
    at = types.index("tool_call_started")
    call_events = ["tool_call_started", "tool_call_completed", "message_added"]
    assert types[at : at + 7] == [*call_events, *call_events, "spec_validated"]
    validated = next(event["data"] for event in await api.events(chat) if event["type"] == "spec_validated")
    missing = "missing heading: # Constraints / nuances; missing heading: # Acceptance tests"
    assert validated == {"ok": False, "error": missing}
    assert len(session["messages"][3]["parts"]) == 2
    assert status_of(session, session["last_turn_id"]) == "succeeded"
    assert "approval_requested" not in types


async def test_what_is_known_of_chats_is_kept_within_bounds_and_shown_all_the_same(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    chats = [await api.create() for _ in range(4)]
    before = await api.get("")
    monkeypatch.setattr("agentd.faces.chat.app.KEPT_BYTES", 1)
    assert await api.get("") == before
    assert len(api.chats._known) == 1
    api.says("Hello.")
    await api.done(chats[0])
    sizes = sum(each.mark[1] for each in api.chats._known.values())
    assert api.chats._bytes == sizes
    assert (await api.get(""))[-1]["turns"]
