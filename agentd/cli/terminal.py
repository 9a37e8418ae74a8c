"""What a person sees of a job: records in, lines out. Nothing here waits; nothing a model wrote moves the cursor."""

from __future__ import annotations

import re
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TextIO

import attrs

from agentd.domain import Record

CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
DIM, BOLD, RED, GREEN, CYAN, PLAIN = "\033[2m", "\033[1m", "\033[31m", "\033[32m", "\033[36m", "\033[0m"
OUTPUT_LINES = 4  # of a command, shown under its line


def printable(text: str) -> str:
    """*text* without characters that a terminal obeys: models, files and commands are not to drive it."""
    return CONTROLS.sub("\ufffd", text.replace("\r\n", "\n").replace("\t", "    "))


def one_line(text: str, width: int) -> str:
    line = printable(text).replace("\n", " ⏎ ")
    return line if len(line) <= width else line[: max(width - 1, 0)] + "…"


def tokens(count: int) -> str:
    return str(count) if count < 1000 else f"{count / 1000:.1f}k"


def money(cost: float | None) -> str:
    return "no price known" if cost is None else f"${cost:.4f}".rstrip("0").rstrip(".") if cost else "$0"


@attrs.define
class Screen:
    """Progress goes to *err*, the answer to *out*: `agentd run … > answer.txt` keeps just the answer."""

    out: TextIO
    err: TextIO
    live: bool  # err is a terminal: a status line that is rewritten, and colours
    stream: bool  # out is a terminal: the answer is shown while it is written
    clock: Callable[[], float] = time.monotonic
    _started: float = 0.0
    _status: str = ""
    _shown: bool = False  # the status line is on the screen
    _midline: bool = False  # the answer's last line has no end yet
    _totals: list[int] = attrs.field(factory=lambda: [0, 0])
    _streamed: bool = False
    _depth: int = 0  # 1: the record at hand is a subagent's

    def __attrs_post_init__(self) -> None:
        self._started = self.clock()

    # --- Records --------------------------------------------------------------------------------------------------

    def show(self, record: Record) -> None:
        self._depth = 1 if record.parent else 0
        if handler := _HANDLERS.get(record.type):
            handler(self, record.data)

    def _job_started(self, data: Mapping[str, Any]) -> None:
        model = data["resolved_model"]
        self.line(f"{data['model']} → {model}" if data["model"] != model else model, DIM)
        for each in data.get("mcp_servers", ()):
            if each["error"] is not None:
                self.line(f"warning: MCP server {each['name']}: {each['error']}", DIM)
        for each in data.get("plugin_errors", ()):
            self.line(f"warning: plugin {each['name']}: {each['error']}", DIM)
        self.status("thinking")

    def _text(self, data: Mapping[str, Any]) -> None:
        if not self.stream or self._depth:  # a subagent speaks to its caller, not to the person
            self.status("writing")
            return
        self._clear()
        text = printable(data["text"])
        self.out.write(text)
        self.out.flush()
        self._midline, self._streamed = not text.endswith("\n"), True

    def _thinking(self, data: Mapping[str, Any]) -> None:
        self.status("thinking")

    def _message(self, data: Mapping[str, Any]) -> None:
        self._end_line()

    def _tool_started(self, data: Mapping[str, Any]) -> None:
        self.status(f"{data['name']} {data['subject']}")

    def _tool_output(self, data: Mapping[str, Any]) -> None:
        last = data["text"].rstrip().rsplit("\n", 1)[-1]
        if last:
            self.status(last)

    def _tool_finished(self, data: Mapping[str, Any]) -> None:
        mark, style = ("•", CYAN) if data["ok"] else ("✗", RED)
        width = max(shutil.get_terminal_size().columns - len(data["name"]) - len(data["summary"]) - 6, 20)
        indent = "  " * self._depth
        self.line(
            f"{indent}{mark} {data['name']} ",
            style,
            (one_line(data["subject"], width), ""),
            (f"  {data['summary']}", DIM),
        )
        self.status("thinking")

    def _notice(self, data: Mapping[str, Any]) -> None:
        self.line(f"{data['level']}: {data['text']}", RED if data["level"] == "error" else DIM)

    def _commit(self, data: Mapping[str, Any]) -> None:
        self.line(f"committed {data['sha'][:10]}: {data['message']}", GREEN)

    def _usage(self, data: Mapping[str, Any]) -> None:
        self._totals[0] += data["input_tokens"]
        self._totals[1] += data["output_tokens"]

    def _phase(self, data: Mapping[str, Any]) -> None:
        match data["name"]:
            case "planned":
                self.line(f"{data['count']} task{'s' if data['count'] != 1 else ''}", BOLD)
            case "task":
                self.line(f"Task {data['index']}/{data['count']}: {data['title']}", BOLD)
            case "plan":
                self.status("planning")

    def _finished(self, data: Mapping[str, Any]) -> None:
        self._end_line()
        self.clear()
        if data["result"] and not self._streamed:
            self.out.write(printable(data["result"]).rstrip("\n") + "\n")
        self.out.flush()
        if data["error"]:
            self.line(f"{data['outcome']}: {data['error']['message']}", RED)
        elif data["stop_reason"] not in ("completed", "cancelled"):
            self.line(f"stopped: {data['stop_reason'].replace('_', ' ')}", RED)
        self.line(self._summary(data), DIM)

    def _summary(self, data: Mapping[str, Any]) -> str:
        turns = f"{data['turns']} turn{'s' if data['turns'] != 1 else ''}"
        used = f"{tokens(self._totals[0])} tokens in, {tokens(self._totals[1])} out"
        parts = [turns, f"{data['duration_ms'] / 1000:.1f} s", used, f"cost {money(data['cost'])}"]
        if (diff := data["diff"]) is not None:
            files = f"{diff['files']} file{'s' if diff['files'] != 1 else ''}"
            parts.append(
                f"changed {files} (+{diff['added']} -{diff['removed']})" if diff["files"] else "no file changed"
            )
        return " · ".join(parts)

    # --- Lines ----------------------------------------------------------------------------------------------------

    def line(self, text: str, style: str = "", *more: tuple[str, str]) -> None:
        """A line that stays, of parts with a style each."""
        self._end_line()
        self._clear()
        self.err.write("".join(self._styled(*part) for part in ((text, style), *more)) + "\n")
        self.err.flush()
        self._draw()

    def _styled(self, text: str, style: str) -> str:
        clean = printable(text)
        return f"{style}{clean}{PLAIN}" if style and self.live else clean

    def diff(self, lines: Iterable[str]) -> None:
        """A unified diff, after the answer."""
        self._clear()
        for row in map(printable, lines):
            style = BOLD if row.startswith(("diff ", "+++", "---")) else GREEN if row[:1] == "+" else ""
            style = RED if row[:1] == "-" and not row.startswith("---") else CYAN if row.startswith("@@") else style
            self.out.write((f"{style}{row}{PLAIN}" if style and self.stream else row) + "\n")
        self.out.flush()

    def status(self, text: str) -> None:
        """What is being done now; the next call replaces it."""
        self._status = text
        self._clear()
        self._draw()

    def tick(self) -> None:
        """Once a second: the clock in the status line moves."""
        self._clear()
        self._draw()

    def clear(self) -> None:
        self._status = ""
        self._clear()

    def _draw(self) -> None:
        if self.live and self._status and not self._midline:
            width = shutil.get_terminal_size().columns - 1
            row = one_line(f"… {self._status}  {self.clock() - self._started:.0f} s", width)
            self.err.write(f"{DIM}{row}{PLAIN}")
            self.err.flush()
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            self.err.write("\r\033[K")
            self.err.flush()
            self._shown = False

    def _end_line(self) -> None:
        if self._midline:
            self.out.write("\n")
            self.out.flush()
            self._midline = False


_HANDLERS: dict[str, Callable[[Screen, Mapping[str, Any]], None]] = {
    "job.started": Screen._job_started,
    "text.delta": Screen._text,
    "thinking.delta": Screen._thinking,
    "message": Screen._message,
    "tool.started": Screen._tool_started,
    "tool.output": Screen._tool_output,
    "tool.finished": Screen._tool_finished,
    "notice": Screen._notice,
    "commit": Screen._commit,
    "usage": Screen._usage,
    "phase": Screen._phase,
    "job.finished": Screen._finished,
}
