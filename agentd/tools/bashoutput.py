"""BashOutput: what a command in the background has said since it was last asked for."""

from __future__ import annotations

import codecs
import signal
import sys
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import attrs
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.sandbox.output import Output
from agentd.tools.background import Shell
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.bash import OUTPUT_CHARACTERS, text_of
from agentd.tools.schema import arg, as_bytes, input_schema, parse, subject

NEWS_SECONDS = 5.0  # how long a command that is silent is waited for: who asks in a loop asks less often
FILTER_SECONDS = 10
MAX_FILTER = 10_000  # characters

# Python's `re` may try for ever and stops for nobody in its own process, so it gets one, which the kernel ends in time
# even if nobody is left who waits for it. A signal without a handler does not ask Python.
_FILTER = """
import re, signal, sys
signal.alarm(int(sys.argv[1]))
try:
    regex = re.compile(bytes.fromhex(sys.argv[2]).decode())
except (re.error, RecursionError, OverflowError) as exc:
    sys.exit(str(exc))
for line in sys.stdin.buffer:
    if regex.search(line.decode("utf-8", "replace").rstrip("\\r\\n")):
        sys.stdout.buffer.write(line)
"""


@attrs.frozen
class BashOutputInput:
    bash_id: str = arg("Which command: the id that Bash gave it")
    filter: str | None = arg(
        "A regular expression as in Python's re: only lines that match are shown, the others are passed over for good",
        default=None,
    )


class BashOutput:
    name = "BashOutput"
    description = (
        "Show what a command in the background has said since it was last asked for, and whether it still runs. If it "
        f"runs and has said nothing, this waits up to {NEWS_SECONDS:.0f} s."
    )
    input_schema: Mapping[str, Any] = input_schema(BashOutputInput)
    tool_class = ToolClass.READ

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "bash_id")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = parse(BashOutputInput, call_input)
        shell = find_shell(asked.bash_id, context)
        await shell.wait_for_news(NEWS_SECONDS)
        async with shell.reading:
            status, whole = shell.status, not shell.running
            news = shell.ring.unread()
            data = news.data if whole else _complete(news.data, lines=asked.filter is not None)
            shown = data if asked.filter is None else await _matching(asked.filter, data)
            shell.ring.passed(news.lost + len(data))
        return _outcome(shell, status, shown, news.lost, asked.filter, context)


def find_shell(shell_id: str, context: ToolContext) -> Shell:
    """Raises ToolFailed."""
    if context.background is None:
        raise ToolFailed("Nothing runs in the background here.")
    return context.background.find(shell_id)


def _complete(data: bytes, *, lines: bool) -> bytes:
    """Without the half character at its end, or the half line: the rest of it is still to come."""
    if lines:
        return data[: data.rfind(b"\n") + 1]
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    decoder.decode(data[-4:])
    return data[: len(data) - len(decoder.getstate()[0])]


async def _matching(regex: str, data: bytes) -> bytes:
    """The lines of *data* that match. Raises ToolFailed."""
    if len(regex) > MAX_FILTER:
        raise ToolFailed(f"The filter is longer than {MAX_FILTER} characters")
    argv = [sys.executable, "-I", "-S", "-W", "ignore", "-c", _FILTER, str(FILTER_SECONDS)]
    argv.append(as_bytes(regex, "filter").hex())
    done = await trio.run_process(
        argv, stdin=data, capture_stdout=True, capture_stderr=True, check=False, cwd="/", env={}
    )
    if done.returncode == -signal.SIGALRM:
        raise ToolFailed(
            f"The filter took longer than {FILTER_SECONDS} s and was ended; make it simpler (no repeat in a repeat). "
            "Nothing is passed over: ask again"
        )
    if done.returncode != 0:
        why = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise ToolFailed(f"The filter is no regular expression that can be used: {why}")
    return done.stdout


def _outcome(
    shell: Shell, status: str, shown: bytes, lost: int, regex: str | None, context: ToolContext
) -> ToolOutcome:
    with closing(Output(OUTPUT_CHARACTERS, lambda _: None)) as output:
        output.feed(shown)
        output.finish()
        text = text_of(output, context).rstrip("\n")
    lines = [f"[{lost} bytes before this are lost: it says more than is kept between two calls]"] if lost else []
    lines.append(text if text.strip() else "[nothing new]" if regex is None else "[nothing new that matches]")
    if shell.exit_code:
        lines += [f"[{line}]" for line in context.confine.explain(shell.exit_code, text)]
    lines.append(f"[{shell.id} {status}]")
    count = len(text.splitlines()) if text.strip() else 0
    return ToolOutcome((Text("\n".join(lines)),), f"{count} new line{'s'[: count != 1]}; it {status}")
