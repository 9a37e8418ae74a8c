"""Clients of the agent API that are cut off after any number of bytes, and go on behind the last event that they have.

AGENTD_FAULTS=N for 5 N cuts; 50 where it is not set. In the end each has every event of the log, once and in order.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.agentapi import check_run
from tests.faults.agents import AgentSite, Event, call
from tests.witness import until

CUTS = 5 * int(os.environ.get("AGENTD_FAULTS", "10"))
CLIENTS = 4
BEGIN_SECONDS = 30.0
MOST_BYTES = 3000  # from one cut to the next
WORDS = [each for number in range(12) for each in (f"Word {number} is ü. ", {"delay_seconds": 0.005})]
TURN = {"parts": [*WORDS, call("Bash", command="for n in 1 2 3; do echo line $n; done")]}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[AgentSite]:
    site = AgentSite(tmp_path, {"sonnet": [TURN, {"parts": [*WORDS, call("TodoWrite", todos=[])]}, "That is all."]})
    with site.daemon():
        yield site


def test_whoever_is_cut_off_goes_on_to_exactly_the_log(site: AgentSite) -> None:
    with ThreadPoolExecutor(CLIENTS) as clients:
        cuts = [clients.submit(cut_and_cut, site, number, CUTS // CLIENTS) for number in range(CLIENTS)]
    assert sum(each.result() for each in cuts) >= CUTS // CLIENTS * CLIENTS


def cut_and_cut(site: AgentSite, number: int, least: int) -> int:
    """One run after the other, read with cuts; how many there were."""
    dice = random.Random(f"{number} of {CLIENTS}")
    cuts, runs = 0, 0
    while cuts < least:
        runs += 1
        cuts += one_run(site, f"client {number}, run {runs}.", dice)
    return cuts


def one_run(site: AgentSite, prompt: str, dice: random.Random) -> int:
    body = {
        "prompt": prompt,
        "detach": True,
        "include_partial_messages": True,
        "permission_mode": "bypassPermissions",
    }
    events: list[Event] = list(site.read("POST", "/api/v1/query", body, most=dice.randrange(MOST_BYTES)))
    session = session_of(site, prompt)
    cuts = 1
    while not events or events[-1][1] != "done":
        path, last = f"/api/v1/sessions/{session}/events", events[-1][0] if events else ""
        events += site.read("GET", path, last=last, most=dice.randrange(MOST_BYTES))
        cuts += 1
    assert events == site.events(session)
    check_run([(name, data) for _, name, data in events], partials=True)
    return cuts


def session_of(site: AgentSite, prompt: str) -> str:
    """Of a client that was cut before it was told."""

    def found() -> list[str]:
        listed = site.get("/api/v1/sessions?page_size=100")["sessions"]
        return [each["id"] for each in listed if each["title"] == prompt]

    assert until(found, BEGIN_SECONDS), (site.place / "log").read_text()[-2000:]
    return found()[0]
