"""Commands of `agentd ctl` for chats: `agentd ctl session …`."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from agentd.cli.ctl import Usage
from agentd.cli.ctlclient import Ctl, Failed, part
from agentd.cli.ctlruns import line_of

ATTACH_SECONDS = 300.0


def _path(ctl: Ctl, rest: str = "") -> str:
    return f"/v1/sessions/{part(ctl.words[0])}{rest}"


def new(ctl: Ctl) -> None:
    body = {
        "workspace_path": ctl.path("workspace"),
        "system_prompt": ctl.text("system"),
        "mode": ctl.text("mode"),
        "spec_path": ctl.path("spec"),
    }
    made = ctl.ask("POST", "/v1/sessions", body)
    ctl.show(made, made["session_id"])


def message(ctl: Ctl) -> None:
    text, refs, mime = ctl.text("text"), ctl.settings.many("ref"), ctl.text("mime")
    if not (text or refs):
        raise Usage("--text or --ref is needed")
    kind = ctl.text("type") or ("image" if mime.startswith("image/") else "file")
    parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
    parts += [{"type": kind, "ref": ref, **({"mime_type": mime} if mime else {})} for ref in refs]
    body: dict[str, Any] = {"role": ctl.text("role") or "user", "parts": parts}
    if ctl.settings.switch("no-auto-run"):
        body["auto_run"] = False
    made = ctl.ask("POST", _path(ctl, "/messages"), body)
    ctl.show(made, f"{made['message_id']} {made['turn_id']}")


def attach(ctl: Ctl) -> None:
    import mimetypes

    file = Path(ctl.needed("file"))
    try:
        data = file.read_bytes()
    except OSError as exc:
        raise Failed(f"cannot read {file}: {exc.strerror}") from exc
    name = ctl.text("name") or file.name
    mime = ctl.text("mime") or mimetypes.guess_type(name)[0] or "application/octet-stream"
    body = {"name": name, "mime_type": mime, "content_base64": base64.b64encode(data).decode()}
    with ctl.waiting(f"uploading {name}"):
        made = ctl.ask("POST", _path(ctl, "/attachments"), body, seconds=ATTACH_SECONDS)
    ctl.show(made, f"{made['ref']} {made['mime_type']}")


def approve(ctl: Ctl) -> None:
    body = {
        "tool_call_id": ctl.needed("call"),
        "turn_id": ctl.text("turn"),
        "action": "deny" if ctl.settings.switch("deny") else "approve",
        "reason": ctl.text("reason"),
    }
    ctl.show(ctl.ask("POST", _path(ctl, "/approve"), body), "ok")


def list_chats(ctl: Ctl) -> None:
    found = ctl.ask("GET", "/v1/sessions")
    rows = ([chat["id"], chat["status"], chat["mode"], len(chat["turns"]), chat["workspace_path"]] for chat in found)
    ctl.table(found, rows, "SESSION", "STATUS", "MODE", "TURNS", "WORKSPACE")


def show(ctl: Ctl) -> None:
    chat = ctl.ask("GET", _path(ctl))
    heads = ("id", "status", "mode", "workspace_path", "spec_path", "error")
    lines = [f"{name:<15} {chat[name]}" for name in heads if chat[name]]
    lines.append(f"{'cost':<15} ${chat['cost']['total_cost_usd']:g}")
    lines += [f"{turn['id']}  {turn['status']}  {turn['error'] or ''}".rstrip() for turn in chat["turns"]]
    for said in chat["messages"]:
        lines += ["", f"{said['role']}:", *(line for each in said["parts"] for line in _part_lines(each))]
    ctl.show(chat, *lines)


def _part_lines(each: dict[str, Any]) -> list[str]:
    match each["type"]:
        case "text":
            return [f"  {line}" for line in (each.get("text") or "").splitlines()]
        case "tool_use":
            return [f"  {each['tool_name']} {json.dumps(each['tool_input'])}  [{each['tool_call_id']}]"]
    return [f"  [{each['type']}: {each.get('ref')}]"]


def events(ctl: Ctl) -> None:
    path = _path(ctl, "/events")
    follow = not ctl.settings.switch("no-follow")
    for event in ctl.follow(path) if follow else ctl.stream(f"{path}?follow=false"):
        told = json.loads(event.data)
        ctl.show(told, line_of(told))


def cancel(ctl: Ctl) -> None:
    ctl.show(ctl.ask("POST", _path(ctl, "/cancel")), "ok")


def retry(ctl: Ctl) -> None:
    ctl.show(ctl.ask("POST", _path(ctl, f"/turns/{part(ctl.words[1])}/retry")), "ok")


def mode(ctl: Ctl) -> None:
    made = ctl.ask("POST", _path(ctl, "/mode"), {"mode": ctl.words[1], "spec_path": ctl.path("spec")})
    ctl.show(made, " ".join(filter(None, (made["mode"], made["spec_path"]))))
