"""Bash: one shell command. The input and its limits: the agent API contract, section 15."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import attrs

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.sandbox.contain import Finished, run_command
from agentd.sandbox.output import Output
from agentd.tools.base import ToolContext, ToolOutcome
from agentd.tools.schema import arg, input_schema, parse, subject

OUTPUT_CHARACTERS = 30_000
PATH_BYTES = 4096
DEFAULT_TIMEOUT, MAX_TIMEOUT = 120_000, 600_000  # milliseconds

DESCRIPTION = f"""\
Run a shell command (bash; sh where there is none) in the workspace. You get stdout and stderr merged, and the exit code
if it is not 0.

- The directory you `cd` to is where the next command starts, as long as it is inside the workspace. Variables, aliases
  and shell options do not last.
- There is nobody at the keyboard: standard input is empty. Use the flags that make a program not ask.
- A command is stopped after {DEFAULT_TIMEOUT // 1000} s, or after `timeout` milliseconds (at most {MAX_TIMEOUT}).
- Whatever a command leaves running in the background is killed when the command ends. For what is to run on, like a
  server or a long build, set `run_in_background`: the call returns at once with an id, for BashOutput, which shows what
  the command says, and for KillShell, which ends it. It ends with the job at the latest.
- More than {OUTPUT_CHARACTERS} characters of output are cut in the middle; the full text is kept.
- To read, search or edit files use the tools made for that: they are faster and show line numbers."""


@attrs.frozen
class BashInput:
    command: str = arg("The command. Several lines are fine.")
    timeout: int = arg(f"Milliseconds after which it is stopped, {MAX_TIMEOUT} at most.", default=DEFAULT_TIMEOUT)
    description: str = arg("What the command does, in five to ten words, for the person who watches.", default="")
    run_in_background: bool = arg("Return at once and let it run on, without a timeout.", default=False)


class Bash:
    """The tool. How commands are kept together is the context's business."""

    name = "Bash"
    description = DESCRIPTION
    input_schema: Mapping[str, Any] = input_schema(BashInput)
    tool_class = ToolClass.EXEC

    def subject(self, call_input: Mapping[str, Any]) -> str:
        return subject(call_input, "command")

    async def run(self, call_input: Mapping[str, Any], context: ToolContext) -> ToolOutcome:
        asked = _check(call_input)
        notices = _start_directory(context)
        if asked.run_in_background:
            return await self._start(asked, notices, context)
        with (
            closing(Output(OUTPUT_CHARACTERS, context.on_output)) as output,
            _unnamed() as file,
        ):
            told = file.fileno()
            try:
                done = await run_command(
                    context.confine,
                    f"trap 'pwd -P >|/dev/fd/{told}' EXIT; {asked.command}",
                    cwd=context.state.cwd,
                    env=context.env,
                    timeout=asked.timeout / 1000,
                    on_output=output.feed,
                    fds=(told,),
                )
            except OSError as exc:
                raise _not_started(asked.command, exc) from exc
            output.finish()
            notices += _follow(_take(told), context)
            return _outcome(asked, done, output, notices, context)

    async def _start(self, asked: BashInput, notices: list[str], context: ToolContext) -> ToolOutcome:
        """Raises ToolFailed."""
        if context.background is None:
            raise ToolFailed("Nothing can run in the background here: run the command in the foreground.")
        try:
            shell = await context.background.start(context.confine, asked.command, context.state.cwd, context.env)
        except OSError as exc:
            raise _not_started(asked.command, exc) from exc
        told = f"Started in the background as {shell.id}. BashOutput shows what it says, KillShell ends it."
        lines = [told, *(f"[{notice}]" for notice in notices)]
        return ToolOutcome((Text("\n".join(lines)),), f"started as {shell.id}")


def _check(call_input: Mapping[str, Any]) -> BashInput:
    """Raises ToolFailed."""
    asked = parse(BashInput, call_input)
    if not asked.command.strip():
        raise ToolFailed("The command is empty.")
    if "\0" in asked.command:
        raise ToolFailed("The command has a NUL character in it, which no shell takes.")
    if not 0 < asked.timeout <= MAX_TIMEOUT:
        raise ToolFailed(f"timeout is in milliseconds, from 1 to {MAX_TIMEOUT}; this is {asked.timeout}.")
    return asked


def _not_started(command: str, exc: OSError) -> ToolFailed:
    advice = (
        " It is too long for one command: Write it to a file first, and run that." if len(command) > 100_000 else ""
    )
    return ToolFailed(f"The command could not be started: {exc.strerror}.{advice}")


def _start_directory(context: ToolContext) -> list[str]:
    """Make the session's directory one that is there; what the model is to know of it."""
    gone = context.state.cwd
    if gone.is_dir():
        return []
    context.state.cwd = context.workspace
    return [f"{gone} is gone: the command ran in {context.workspace}"]


def _unnamed() -> IO[bytes]:
    """A file that a sandbox cannot hide, as it has no name."""
    return os.fdopen(os.memfd_create("cwd"), "r+b") if sys.platform == "linux" else tempfile.TemporaryFile()


def _take(told: int) -> Path | None:
    """Where the shell was when it exited; None if it was killed or set an EXIT trap of its own."""
    name = os.pread(told, PATH_BYTES, 0)
    return Path(os.fsdecode(name.removesuffix(b"\n"))) if name else None


def _follow(went_to: Path | None, context: ToolContext) -> list[str]:
    """The next command starts where this one went, if that is inside the workspace. Any of its processes may have
    said where that is."""
    if went_to is None or went_to == context.state.cwd or not went_to.is_absolute():
        return []
    if went_to.is_relative_to(context.workspace) and ".." not in went_to.parts:
        context.state.cwd = went_to
        return []
    return [f"{went_to} is outside the workspace: the next command starts in {context.state.cwd} again"]


def _outcome(asked: BashInput, done: Finished, output: Output, notices: list[str], context: ToolContext) -> ToolOutcome:
    text = text_of(output, context)
    lines = [text.rstrip("\n")] if text.strip() else []
    lines += [f"[{notice}]" for notice in notices]
    if done.timed_out:
        lines.append(
            f"[stopped: it was still running after {asked.timeout} ms. Give a longer timeout (at most {MAX_TIMEOUT}), "
            "or run less at once]"
        )
    if done.exit_code:
        lines += [f"[{line}]" for line in context.confine.explain(done.exit_code, text)]
        lines.append(f"[exit code {done.exit_code}]")
    summary = "timed out" if done.timed_out else f"exit code {done.exit_code}"
    return ToolOutcome((Text("\n".join(lines)),), summary, is_error=done.timed_out or done.exit_code != 0)


def text_of(output: Output, context: ToolContext) -> str:
    """All of it; or the head and the tail, and between them what is missing and where it is."""
    if output.whole is not None:
        return output.whole
    missing = output.characters - len(output.head) - len(output.tail)
    kept = context.keep(output.path) if output.path is not None else None
    what = f"the first {output.spooled} bytes are" if output.spool_cut else "the full output is"
    where = f"; {what} kept as {kept}" if kept else ""
    return f"{output.head}\n[{missing} characters are cut here{where}]\n{output.tail}"
