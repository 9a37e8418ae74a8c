"""Commands of `agentd ctl` for what waits for a person: steps of runs, tool calls, questions, plans."""

from __future__ import annotations

from typing import Any

from agentd.cli.ctl import Usage
from agentd.cli.ctladmin import every, items
from agentd.cli.ctlclient import ADMIN, Ctl, Failed, part, when


def asks(ctl: Ctl) -> None:
    page = items(ctl, "asks", state="" if ctl.settings.switch("all") else "open", limit=ctl.text("limit"))
    rows = (
        (each["id"], each["face"], each["kind"], when(each["opened"]), each["decision"] or "open", _in_line(each))
        for each in page["items"]
    )
    ctl.table(page, rows, "ASK", "FACE", "KIND", "OPENED", "DECISION", "QUESTION")


def _in_line(ask: dict[str, Any]) -> str:
    return " ".join(ask["question"].split())


def approve(ctl: Ctl) -> None:
    [ident] = ctl.words
    if ident.startswith("run_"):
        step = ctl.text("step") or _waiting_step(ctl, ident)
        ctl.show(ctl.ask("POST", f"/v1/runs/{part(ident)}/approve", {"step_id": step}), "ok")
    else:
        _settle(ctl, ident, {"decision": "allow"})


def _waiting_step(ctl: Ctl, run: str) -> str:
    steps = ctl.ask("GET", f"/v1/runs/{part(run)}")["steps"]
    waiting = [str(step["id"]) for step in steps if step["status"] == "waiting_approval"]
    if not waiting:
        raise Failed(f"no step of {run} waits")
    return waiting[0]


def deny(ctl: Ctl) -> None:
    _settle(ctl, ctl.words[0], {"decision": "deny", "text": ctl.text("reason")})


def answer(ctl: Ctl) -> None:
    _settle(ctl, ctl.words[0], {"decision": "answer", "text": ctl.words[1]})


def _settle(ctl: Ctl, given: str, body: dict[str, Any]) -> None:
    ctl.show(ctl.ask("POST", f"{ADMIN}/asks/{part(_ask_id(ctl, given))}", body), "ok")


def _ask_id(ctl: Ctl, given: str) -> str:
    """It may be given by how it begins."""
    if not given:
        raise Usage("which one? `agentd ctl asks` lists them")
    found = [str(each["id"]) for each in every(ctl, "asks") if each["id"].startswith(given.lower())]
    if len(found) > 1 and given not in found:
        raise Failed(f"{len(found)} asks begin with {given}")
    return given if given in found or not found else found[0]
