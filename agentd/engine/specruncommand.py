"""One command of a run: /bin/bash -lc, what it says on either stream, and how it ended. Its contract:
runs-and-chat.md, 5.3.

Commands are kept together as those of tools are (sandbox/contain.py), which merges the streams; so what goes to stderr
takes a way of its own, a pipe that only the command's shell knows.
"""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import attrs
import trio
from trio.lowlevel import FdStream

from agentd.errors import ToolFailed, only_cause
from agentd.sandbox.contain import Containment, Finished, run_command
from agentd.sandbox.output import Output

COMMAND_SECONDS = 30 * 60.0
TIMED_OUT = 124
KEPT_CHARS = 1 << 20  # of each stream
NO_SUCH = 127
CHUNK = 65536


@attrs.frozen
class Ran:
    """As `command.json` has it."""

    cmd: str
    exit_code: int
    stdout: str
    stderr: str
    duration_ms: int

    def to_json(self) -> dict[str, object]:
        told = {"cmd": self.cmd, "exit_code": self.exit_code, "stdout": self.stdout, "stderr": self.stderr}
        return told | {"duration": f"{self.duration_ms}ms"}


async def run(
    command: str,
    workspace: Path,
    env: Mapping[str, str],
    confine: Containment,
    on_output: Callable[[str], object],
    seconds: float = COMMAND_SECONDS,
) -> Ran:
    """Run it to its end; when this is cancelled, nothing of it is left either. *on_output* gets both streams as they
    come. What cannot be started has said so on stderr, and ended as in a shell that finds no such program."""
    began = time.monotonic()
    with closing(Output(KEPT_CHARS, on_output)) as said, closing(Output(KEPT_CHARS, on_output)) as complained:
        code = await _exit_code(command, workspace, env, confine, said, complained, seconds)
        said.finish()
        complained.finish()
        return Ran(command, code, _told(said), _told(complained), round(1000 * (time.monotonic() - began)))


async def _exit_code(
    command: str,
    workspace: Path,
    env: Mapping[str, str],
    confine: Containment,
    said: Output,
    complained: Output,
    seconds: float,
) -> int:
    if "\0" in command:
        complained.feed(b"agentd: the command has a NUL character in it, which no shell takes\n")
        return NO_SUCH
    reader, writer = os.pipe()
    # Only bash can name a descriptor above 9, and the shell in which commands are run may be another.
    split = f"exec 2>&{writer} {writer}>&-; exec /bin/bash -lc {shlex.quote(command)}"
    line = f"exec /bin/bash -c {shlex.quote(split)}"
    work = partial(
        run_command, confine, line, cwd=workspace, env=env, timeout=seconds, on_output=said.feed, fds=(writer,)
    )
    try:
        done = await _hearing(reader, complained, work)
    except OSError as exc:
        complained.feed(f"agentd: the command could not be started: {exc.strerror}\n".encode())
        return NO_SUCH
    except ToolFailed as exc:  # there is no sandbox, and it has to be in one
        complained.feed(f"agentd: {exc}\n".encode())
        return NO_SUCH
    finally:
        os.close(writer)
    return TIMED_OUT if done.timed_out else done.exit_code


async def _hearing(reader: int, output: Output, work: Callable[[], Awaitable[Finished]]) -> Finished:
    """What *work* returns or raises. Meanwhile what comes to *reader*, which is closed then, goes to *output*."""
    with closing(FdStream(reader)) as stream:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_pump, stream, output)
                done = await work()
                nursery.cancel_scope.cancel()
        except ExceptionGroup as group:
            raise only_cause(group) from None
        _drain(stream.fileno(), output)
    return done


async def _pump(stream: FdStream, output: Output) -> None:
    while True:
        output.feed(bytes(await stream.receive_some(CHUNK)))


def _drain(descriptor: int, output: Output) -> None:
    """What was written and not read yet: no more than a pipe holds, for all writers have ended."""
    try:
        for _ in range(64):
            output.feed(os.read(descriptor, CHUNK))
    except BlockingIOError:
        pass


def _told(output: Output) -> str:
    if output.whole is not None:
        return output.whole
    return f"{output.head}\n[… {output.characters - 2 * (KEPT_CHARS // 2)} characters are left out …]\n{output.tail}"
