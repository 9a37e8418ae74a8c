"""What a person sees of a job."""

from __future__ import annotations

import io
from typing import Any

import pytest

from agentd.cli.terminal import Screen, money, one_line, printable
from agentd.domain import Record


class Terminal:
    """A screen, and what has been written on it."""

    def __init__(self, *, live: bool = False, stream: bool = False) -> None:
        self.out, self.err = io.StringIO(), io.StringIO()
        self.screen = Screen(self.out, self.err, live=live, stream=stream, clock=lambda: 0.0)

    def show(self, kind: str, **data: Any) -> None:
        self.screen.show(Record(1, 0, "job", kind, data))

    def finish(self, **changed: Any) -> None:
        data = {"outcome": "completed", "stop_reason": "completed", "error": None, "result": "The answer.", "turns": 1}
        self.show("job.finished", **(data | {"cost": 0.0, "duration_ms": 400, "diff": None} | changed))


def test_without_a_terminal_only_the_answer_goes_to_standard_output() -> None:
    terminal = Terminal()
    terminal.show("text.delta", message="m", block=0, text="Let me look. ")
    terminal.show("tool.started", call="c", name="Read", input={"file_path": "a.py"}, subject="a.py")
    terminal.show("tool.finished", call="c", name="Read", subject="a.py", ok=True, summary="read 3 lines")
    terminal.finish()
    assert terminal.out.getvalue() == "The answer.\n"
    assert "• Read a.py  read 3 lines\n" in terminal.err.getvalue()


def test_servers_and_plugins_that_cannot_be_had_are_told_when_a_job_begins() -> None:
    terminal = Terminal()
    servers = [{"name": "wiki", "error": "no connection"}, {"name": "db", "error": None}]
    lint = {"name": "lint", "error": "it has no path"}
    terminal.show("job.started", model="m", resolved_model="m", mcp_servers=servers, plugin_errors=[lint])
    told = ["m", "warning: MCP server wiki: no connection", "warning: plugin lint: it has no path"]
    assert terminal.err.getvalue().splitlines() == told


def test_on_a_terminal_the_answer_is_shown_once_while_it_is_written() -> None:
    terminal = Terminal(live=True, stream=True)
    for piece in ("The ", "answer."):
        terminal.show("text.delta", message="m", block=0, text=piece)
    terminal.show("message", id="m")
    terminal.finish()
    assert terminal.out.getvalue() == "The answer.\n"


def test_the_status_line_is_wiped_before_anything_else_is_written() -> None:
    terminal = Terminal(live=True)
    terminal.screen.status("Read a.py")
    terminal.screen.line("a line")
    assert terminal.err.getvalue().index("\r\033[K") < terminal.err.getvalue().index("a line")


@pytest.mark.parametrize("evil", ["\033]0;title\007", "\033[2J", "\r", "\u202e", "\x9b31m"])
def test_nothing_a_model_says_drives_the_terminal(evil: str) -> None:
    terminal = Terminal()
    terminal.show("tool.started", call="c", name="Bash", input={}, subject=f"echo {evil}")
    terminal.show("tool.finished", call="c", name="Bash", subject=evil, ok=False, summary=evil)
    terminal.finish(result=f"done {evil}")
    written = terminal.out.getvalue() + terminal.err.getvalue()
    assert evil not in written


def test_the_summary_counts_turns_time_tokens_and_cost() -> None:
    terminal = Terminal()
    terminal.show("usage", input_tokens=5200, output_tokens=300, cached_tokens=0, cost=0.0)
    terminal.finish(diff={"files": 1, "added": 2, "removed": 1})
    assert "1 turn · 0.4 s · 5.2k tokens in, 300 out · cost $0 · changed 1 file (+2 -1)" in terminal.err.getvalue()


def test_a_failure_says_why() -> None:
    terminal = Terminal()
    terminal.finish(outcome="failed", error={"code": "X", "message": "no such model"}, result=None)
    assert "failed: no such model" in terminal.err.getvalue()


def test_tabs_and_line_ends_stay_readable() -> None:
    assert printable("a\tb\r\nc") == "a    b\nc"
    assert one_line("a\nb", 80) == "a ⏎ b"
    assert one_line("abcdef", 4) == "abc…"


@pytest.mark.parametrize(("cost", "shown"), [(None, "no price known"), (0.0, "$0"), (0.0123, "$0.0123"), (2.5, "$2.5")])
def test_money_is_short_and_unknown_is_not_zero(cost: float | None, shown: str) -> None:
    assert money(cost) == shown
