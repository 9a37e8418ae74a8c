"""`agentd ctl tail`: the log of any session, live, as `agentd run` shows its own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from agentd.cli.ctladmin import session_path
from agentd.cli.ctlclient import Ctl, Event
from agentd.cli.terminal import BOLD, CYAN, DIM, GREEN, RED, Screen, one_line
from agentd.domain import Record

SHOWN_CHARS = 200


def tail(ctl: Ctl) -> int:
    """Until it is stopped, or with --no-follow the log ends."""
    path, after, colours = session_path(ctl, "/log"), ctl.text("after"), sys.stdout.isatty() and not ctl.json
    screen = Screen(sys.stdout, sys.stdout, live=colours, stream=True)
    try:
        for event in _history(ctl, path, after) if ctl.settings.switch("no-follow") else ctl.follow(path, after):
            after = event.id
            _show(ctl, screen, event)
    except KeyboardInterrupt:
        screen.clear()
        ctl.tell(f"\nto go on: agentd ctl tail {ctl.words[0]} --after {after}")
        return 130
    screen.clear()
    return 0


def _history(ctl: Ctl, path: str, after: str) -> Any:
    while True:
        page = ctl.ask("GET", f"{path}?limit=500&after={after or 0}")
        for record in page["items"]:
            yield Event(str(record["pos"]), "record", json.dumps(record))
        after = page["next"]
        if after == page["last"] or not page["items"]:
            return


def _show(ctl: Ctl, screen: Screen, event: Event) -> None:
    told = json.loads(event.data)
    if ctl.json:
        print(event.data if event.name == "record" else json.dumps({"type": event.name, "data": told}), flush=True)
    elif event.name == "reset":
        screen.line("what follows is from the beginning: that place in the log is no more", RED)
    elif event.name == "record":
        record = Record(told["pos"], told["ts"], told["job"], told["type"], told["data"], told.get("parent"))
        if (line := _LINES.get(record.type)) is not None:
            screen.line(*line(record.data))
        else:
            screen.show(record)


def _created(data: Mapping[str, Any]) -> tuple[str, str]:
    spec = data["spec"]
    return f"▸ {spec['mode']}: {one_line(spec['prompt'], SHOWN_CHARS)}", BOLD


def _opened(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"? {one_line(data['question'], SHOWN_CHARS)}  agentd ctl approve {data['id']}", CYAN


def _settled(data: Mapping[str, Any]) -> tuple[str, str]:
    said = data.get("answer") or data.get("reason") or ""
    text = f"  {data['decision']}{f': {one_line(said, SHOWN_CHARS)}' if said else ''}"
    return text, RED if data["decision"] == "deny" else GREEN


def _session(data: Mapping[str, Any]) -> tuple[str, str]:
    return f"session {data['id']} of {data['face']} in {data['workspace']}", DIM


_LINES = {
    "session.created": _session,
    "job.created": _created,
    "ask.opened": _opened,
    "ask.settled": _settled,
}
