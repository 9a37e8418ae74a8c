"""A process that searches files for another one, which can end it: Python's `re` may try for ever, and stops for nobody
in its own process. Standard library only: this starts in 30 ms, and holds 10 MB.

Messages are marshalled values behind their length; both ends are the same Python. The first one is what to search for,
then come lists of paths, each answered by a list of what was found.
"""

from __future__ import annotations

import marshal
import os
import signal
import sys
from collections.abc import Callable

from agentd.workspace.pattern import Pattern
from agentd.workspace.scan import Found, Scan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO

PARENT_CHECK_SECONDS = 0.5

LENGTH_BYTES = 4


def pack(value: Any) -> bytes:
    data = marshal.dumps(value)
    return len(data).to_bytes(LENGTH_BYTES, "little") + data


def unpack(read: Callable[[int], bytes]) -> Any:
    """The next message; None at the end. *read* gives exactly so many bytes, or fewer at the end."""
    data = read(LENGTH_BYTES)
    if len(data) < LENGTH_BYTES:
        return None
    return marshal.loads(read(int.from_bytes(data, "little")))


def describe(scan: Scan) -> tuple[Any, ...]:
    """The first message."""
    pattern = scan.pattern
    return pattern.source, pattern.ignore_case, pattern.multiline, scan.mode, scan.before, scan.after, os.getpid()


def search(scan: Scan, top: bytes, paths: list[bytes], keep: int, check: Callable[[], None]) -> list[tuple[int, Found]]:
    """What is found in which of *paths*, by index; at most *keep* lines in all."""
    results = []
    for index, path in enumerate(paths):
        found = scan.file(top, path, keep, check)
        if found:
            results.append((index, found))
            keep = max(0, keep - len(found[1]))
    return results


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Answer until the input ends."""
    described = unpack(stdin.read)
    if described is None:
        return
    source, ignore_case, multiline, mode, before, after, parent = described
    leave_with(parent)
    scan = Scan(Pattern(source, ignore_case=ignore_case, multiline=multiline), mode, before, after)
    while (request := unpack(stdin.read)) is not None:
        top, paths, keep = request
        stdout.write(pack(search(scan, top, paths, keep, lambda: None)))
        stdout.flush()


def leave_with(parent: int, also: Callable[[], None] = lambda: None) -> None:
    """End when the parent is gone, even in the middle of a match: `re` lets signal handlers run. *also* is called as
    often as is looked for the parent; what it raises is raised wherever the process is at that moment."""

    def look(*_: object) -> None:
        if os.getppid() != parent:
            os._exit(1)
        also()

    signal.signal(signal.SIGALRM, look)
    signal.setitimer(signal.ITIMER_REAL, PARENT_CHECK_SECONDS, PARENT_CHECK_SECONDS)


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    serve(sys.stdin.buffer, sys.stdout.buffer)
