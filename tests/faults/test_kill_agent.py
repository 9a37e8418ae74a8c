"""kill -9 of a daemon with the agent API, while its sessions stream, run a tool, wait for an answer and go back.

AGENTD_FAULTS is how often, at random moments; 3 times where it is not set. Two seconds later no process is left. The
next start has every session: what a client had seen of a run is in the log as it was, runs that were at work end as
errors, what was asked can be answered and goes on, and a file being put back is as it was before or after that.
"""

from __future__ import annotations

import http.client
import os
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.agentapi import check_run
from tests.faults.agents import AgentSite, Event, call
from tests.faults.test_kill_manager import descendants, what
from tests.witness import commands_with, until

TIMES = int(os.environ.get("AGENTD_FAULTS", "3"))
GONE_SECONDS, END_SECONDS = 2.0, 30.0
AT_WORK = ("streams", "tools", "asks")
FILES = 20


def scripts(mark: str) -> dict[str, list[object]]:
    words = [each for number in range(400) for each in (f"Word {number}. ", {"delay_seconds": 0.01})]
    stray = f"setsid sh -c 'exec -a {mark} sleep 300' >/dev/null 2>&1 & exec -a {mark} sleep 300"
    question = call("AskUserQuestion", question="Which one?", options=["this", "that"])
    writes = [call("Write", file_path=f"{number}.txt", content=f"new {number}") for number in range(FILES)]
    return {
        "streams": [{"parts": words}],
        "tools": [{"parts": [call("Bash", command=stray)]}],
        "asks": [{"parts": [question]}],
        "writes": [{"parts": writes}, "Written."],
    }


@pytest.mark.parametrize("time_no", range(TIMES))
def test_a_killed_daemon_loses_nothing_and_leaves_nothing(
    tmp_path: Path, require: Callable[[str], str], time_no: int
) -> None:
    require("bwrap")  # without it, what a killed executor leaves behind is swept at the next start at the earliest
    mark = f"agentd-test-{uuid.uuid4().hex}"
    site = AgentSite(tmp_path, scripts(mark))
    seen: dict[str, list[Event]] = {name: [] for name in AT_WORK}
    with site.daemon() as process:
        written = first_state(site)
        clients = [threading.Thread(target=follow, args=(site, name, seen[name])) for name in AT_WORK]
        clients.append(threading.Thread(target=go_back_and_forth, args=(site, written)))
        for client in clients:
            client.start()
        assert until(lambda: all(seen.values()) and site.get("/api/v1/asks")["asks"], END_SECONDS)
        time.sleep(random.Random(f"{time_no} of {TIMES}").uniform(0.0, 1.0))
        family = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        for client in clients:
            client.join(END_SECONDS)
    assert until(lambda: not any(each.is_alive() for each in family), GONE_SECONDS), [what(each.pid) for each in family]
    assert until(lambda: not commands_with(mark), GONE_SECONDS), commands_with(mark)
    site.scripts = {name: ["I see."] for name in site.scripts}  # a script that is loaded again begins again
    with site.daemon():
        for name in AT_WORK:
            check_log(site, seen[name])
        check_ended(site, seen["streams"])
        check_ended(site, seen["tools"])
        check_asked(site, seen["asks"])
        check_files(site, written)


def first_state(site: AgentSite) -> str:
    """A session that has changed every file, and can go back behind that."""
    site.workspace.mkdir(exist_ok=True)
    for number in range(FILES):
        (site.workspace / f"{number}.txt").write_text(f"old {number}")
    told = site.single("writes", enable_file_checkpointing=True, permission_mode="bypassPermissions")
    assert told["result"] == "Written."
    assert states(site) == {"new"}
    return str(told["session_id"])


def follow(site: AgentSite, model: str, seen: list[Event]) -> None:
    body = {"prompt": "go", "model": model, "permission_mode": "bypassPermissions", "include_partial_messages": True}
    with suppress(OSError):
        for event in site.read("POST", "/api/v1/query", body):
            seen.append(event)  # noqa: PERF402 - seen as they come


def go_back_and_forth(site: AgentSite, session: str) -> None:
    with suppress(OSError, http.client.HTTPException):
        checkpoint = site.get(f"/api/v1/sessions/{session}/checkpoints")["checkpoints"][0]["id"]
        while True:
            status, told = site.ask("POST", f"/api/v1/sessions/{session}/rewind", {"checkpoint_id": checkpoint})
            assert status == 200, told
            checkpoint = told["undo_checkpoint_id"]


def states(site: AgentSite) -> set[str]:
    """In which the files are."""
    found = {path.name: path.read_text().split() for path in site.workspace.glob("*.txt")}
    assert sorted(found) == sorted(f"{number}.txt" for number in range(FILES))
    assert all(name == f"{number}.txt" for name, (_, number) in found.items()), found
    return {state for state, _ in found.values()}


# --- Looking ------------------------------------------------------------------------------------------------------


def session_of(seen: list[Event]) -> str:
    return str(seen[0][2]["session_id"])


def check_log(site: AgentSite, seen: list[Event]) -> None:
    assert site.events(session_of(seen))[: len(seen)] == seen


def check_ended(site: AgentSite, seen: list[Event]) -> None:
    session = session_of(seen)
    assert until(lambda: site.get(f"/api/v1/sessions/{session}")["status"] == "error", END_SECONDS)
    events = [(name, data) for _, name, data in site.events(session)]
    check_run(events, partials=True)
    assert [name for name, _ in events[-3:]] == ["error", "result", "done"]
    assert [event[1] for event in site.read("POST", f"/api/v1/sessions/{session}/resume", {"prompt": "on"})][
        -1
    ] == "done"


def check_asked(site: AgentSite, seen: list[Event]) -> None:
    """It waits, is told once, and goes on with the answer."""
    session = session_of(seen)
    assert site.get(f"/api/v1/sessions/{session}")["status"] == "active"
    [ask] = site.get("/api/v1/asks")["asks"]
    assert ask["session_id"] == session
    assert site.ask("POST", f"/api/v1/sessions/{session}/answer", {"answer": "that"})[0] == 200
    *_, (_, _, result), (_, _, done) = site.read("GET", f"/api/v1/sessions/{session}/events", last=seen[-1][0])
    assert (result["result"], done["reason"]) == ("I see.", "completed")
    check_run([(name, data) for _, name, data in site.events(session)], partials=True)


def check_files(site: AgentSite, session: str) -> None:
    assert states(site) <= {"old", "new"}
    assert until(lambda: site.get(f"/api/v1/sessions/{session}")["status"] != "active", END_SECONDS)
    checkpoint = site.get(f"/api/v1/sessions/{session}/checkpoints")["checkpoints"][0]["id"]
    status, told = site.ask("POST", f"/api/v1/sessions/{session}/rewind", {"checkpoint_id": checkpoint})
    assert (status, states(site)) == (200, {"old"}), told
    assert len(list(site.workspace.iterdir())) == FILES
