"""Asking the person at the terminal whether a tool call may run. What is asked is shown in full, and shown harmless."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import trio

from agentd.cli.terminal import BOLD, DIM, GREEN, RED, Screen

SHOWN_LINES = 40  # of a command, or of one side of an edit
ANSWERS = {"y": "allow", "yes": "allow", "n": "deny", "no": "deny", "a": "always", "always": "always"}


async def ask_person(screen: Screen, ask: Mapping[str, Any]) -> str:
    """ "allow", "deny" or "always". An end of input is a no."""
    screen.clear()
    screen.line(f"{ask['tool']} wants to run:", BOLD)
    for text, style in described(ask["input"]):
        screen.line(f"    {text}", style)
    while True:
        print("Allow? [y]es, [n]o, [a]lways in this session: ", end="", file=sys.stderr, flush=True)
        line = await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True)
        if not line:
            return "deny"
        if (decision := ANSWERS.get(line.strip().lower())) is not None:
            return decision


def described(call_input: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Lines and their styles: an edit as what goes and what comes, anything else as its fields."""
    rows: list[tuple[str, str]] = []
    for name, value in call_input.items():
        if name in ("old_string", "new_string", "content"):
            sign, style = ("-", RED) if name == "old_string" else ("+", GREEN)
            rows += _cut([(f"{sign} {line}", style) for line in str(value).split("\n")])
        else:
            first, *rest = str(value).split("\n")
            rows += _cut([(f"{name}: {first}", ""), *((f"  {line}", "") for line in rest)])
    return rows


def _cut(rows: list[tuple[str, str]]) -> list[tuple[str, str]]:
    left_out = len(rows) - SHOWN_LINES
    return rows if left_out <= 0 else [*rows[:SHOWN_LINES], (f"… {left_out} more lines", DIM)]
