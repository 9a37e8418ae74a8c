"""Commands of `agentd ctl` for what crosses faces: sessions, jobs, leftovers, tokens."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from agentd.cli.ctl import Usage
from agentd.cli.ctlclient import ADMIN, Ctl, Failed, part, when
from agentd.cli.terminal import Screen, money
from agentd.store.naming import uuid_start

PAGE = 500
DAY_MS = 86_400_000
UUID_CHARS = 36


def items(ctl: Ctl, path: str, **query: str) -> Any:
    """One page of a list."""
    asked = {name: value for name, value in query.items() if value}
    return ctl.ask("GET", f"{ADMIN}/{path}" + (f"?{urlencode(asked)}" if asked else ""))


def every(ctl: Ctl, path: str) -> Iterator[dict[str, Any]]:
    """All of a list, page by page."""
    cursor = ""
    while True:
        page = items(ctl, path, limit=str(PAGE), cursor=cursor)
        yield from page["items"]
        if not (cursor := page["next"] or ""):
            return


def session_id(ctl: Ctl, given: str) -> str:
    """The whole id of a session, which may be given as the runs API has it, or by how it begins."""
    start = uuid_start("run_", given) or uuid_start("sess_", given) or given.lower()
    if len(start) == UUID_CHARS:
        return start
    found = [each["id"] for each in every(ctl, "sessions") if each["id"].startswith(start)]
    if len(found) != 1:
        raise Failed(f"{len(found) or 'no'} sessions begin with {given}" if found else f"there is no session {given}")
    return str(found[0])


def session_path(ctl: Ctl, rest: str) -> str:
    return f"{ADMIN}/sessions/{part(session_id(ctl, ctl.words[0]))}{rest}"


# --- Lists --------------------------------------------------------------------------------------------------------


def sessions(ctl: Ctl) -> None:
    text = ctl.text
    page = items(ctl, "sessions", face=text("face"), status=text("status"), q=text("search"), limit=text("limit"))
    rows = map(_session_row, page["items"])
    ctl.table(page, rows, "SESSION", "FACE", "STATUS", "CHANGED", "COST", "TITLE")


def _cost(usd: float | None) -> str:
    return "" if usd is None else money(usd)


def _session_row(each: dict[str, Any]) -> tuple[Any, ...]:
    title, cost = each["title"] or each["workspace"], _cost(each["totals"]["cost_usd"])
    return each["id"], each["face"], each["status"], when(each["modified"]), cost, title


def _job_row(each: dict[str, Any]) -> tuple[Any, ...]:
    about = each["id"], each["face"], each["state"], each["mode"], each["resolved_model"]
    return *about, when(each["created"]), _cost(each["cost_usd"]), each["title"]


def jobs(ctl: Ctl) -> None:
    session = ctl.text("session")
    session = session_id(ctl, session) if session else ""
    page = items(ctl, "jobs", face=ctl.text("face"), state=ctl.text("state"), session=session, limit=ctl.text("limit"))
    rows = map(_job_row, page["items"])
    ctl.table(page, rows, "JOB", "FACE", "STATE", "MODE", "MODEL", "CREATED", "COST", "TITLE")


# --- What a session has done --------------------------------------------------------------------------------------


def diff(ctl: Ctl) -> None:
    text = ctl.fetch("GET", session_path(ctl, "/diff")).body.decode("utf-8", "replace")
    colours = sys.stdout.isatty()
    if ctl.json:
        ctl.show({"diff": text})
    else:
        Screen(sys.stdout, sys.stderr, live=colours, stream=colours).diff(text.splitlines())


def rewind(ctl: Ctl) -> None:
    """To a checkpoint; without one, those that there are."""
    checkpoint = ctl.text("to")
    if not checkpoint:
        return _checkpoints(ctl)
    body = {"checkpoint": checkpoint, "dry_run": ctl.settings.switch("dry-run")}
    with ctl.waiting("putting files back"):
        done = ctl.ask("POST", session_path(ctl, "/rewind"), body, seconds=600.0)
    would = "would be " if done["dry_run"] else ""
    lines = [f"{would}{word}: {path}" for word in ("restored", "deleted") for path in done[word]]
    lines += [f"failed: {each['path']}: {each['error']}" for each in done["failed"]]
    ctl.show(done, *(lines or ["nothing had changed"]))
    if done["failed"]:
        raise Failed("some files could not be put back")
    return None


def _checkpoints(ctl: Ctl) -> None:
    page = ctl.ask("GET", session_path(ctl, f"/log?types=files.saved&limit={PAGE}"))
    files: dict[str, list[str]] = {}
    times: dict[str, int] = {}
    for record in page["items"]:
        ident = record["data"]["checkpoint"]
        times.setdefault(ident, record["ts"])
        files.setdefault(ident, []).extend(each["path"] for each in record["data"]["files"])
    found = [{"checkpoint": ident, "created": times[ident], "files": paths} for ident, paths in files.items()]
    rows = ((ident, when(times[ident]), " ".join(paths)) for ident, paths in files.items())
    ctl.table(found, rows, "CHECKPOINT", "MADE", "FILES")


# --- The daemon ---------------------------------------------------------------------------------------------------


def collect(ctl: Ctl) -> None:
    with ctl.waiting("looking"):
        done = ctl.ask("POST", f"{ADMIN}/gc", {"dry_run": ctl.settings.switch("dry-run")}, seconds=600.0)
    lines = [f"{each['action']}: {each['path']}" for each in done["items"]]
    ctl.show(done, *(lines or ["nothing is left over"]))


def tokens(ctl: Ctl) -> None:
    page = items(ctl, "tokens")
    rows = ((t["id"], t["name"], " ".join(t["scope"]), when(t["created"]), when(t["expires"])) for t in page["items"])
    ctl.table(page, rows, "TOKEN", "NAME", "SCOPE", "ISSUED", "EXPIRES")


def issue(ctl: Ctl) -> None:
    scope = [each.strip() for text in ctl.settings.many("scope") for each in text.split(",") if each.strip()]
    if not scope:
        raise Usage("--scope is needed; `agentd help admin` has them")
    body: dict[str, Any] = {"scope": scope, "name": ctl.text("name"), "roots": ctl.settings.many("root")}
    if days := ctl.text("days"):
        if not days.isdecimal() or not 0 < len(days) < 6:
            raise Usage(f"--days: {days} is not a whole number")
        body["expires"] = int(time.time() * 1000) + int(days) * DAY_MS
    made = ctl.ask("POST", f"{ADMIN}/tokens", body)
    ctl.show(made, made["token"])


def revoke(ctl: Ctl) -> None:
    ctl.ask("DELETE", f"{ADMIN}/tokens/{part(ctl.words[0])}")
    ctl.show({"ok": True}, "ok")
