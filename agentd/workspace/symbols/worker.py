"""A process that scans files for definitions, and names for a pattern. Both take long in ways that nothing in the same
process could interrupt, or work beside. Standard library and attrs only; messages are those of workspace/worker.py.

The first message is our parent's id. Then come requests: ("scan", top, [(path, digest), …]) is answered by a list with
a Look a path, ("match", …) by what names.match() returns.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from hashlib import blake2b
from typing import NamedTuple

from agentd.workspace.symbols import sourcefile
from agentd.workspace.symbols.languages import scanner
from agentd.workspace.symbols.names import match
from agentd.workspace.symbols.packed import NOTHING, Packed, pack
from agentd.workspace.worker import leave_with, unpack
from agentd.workspace.worker import pack as message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

FILE_SECONDS = 5.0  # of this process's time, after which a file is given up
MINIFIED_BYTES = 20_000  # from which on
MINIFIED_LINE_BYTES = 400  # in a line are more than people write, on average

COARSE_NS = 2_000_000_000  # of file systems that keep whole seconds, or FAT's two
FINE_NS = 50_000_000  # of others: the kernel's clock ticks each 1 to 10 ms
DIGEST_BYTES = 16
NICENESS = 5  # whoever waits for us goes first, with all else that it does


class Look(NamedTuple):
    """What a file was when it was looked at."""

    modified: int  # ns
    changed: int  # ns
    size: int
    young: bool  # it could change once more within the same tick of its file system's clock
    digest: bytes
    skipped: str = ""  # why it was not scanned
    packed: Packed | None = NOTHING  # None: the digest is the one that was asked with


class _TookTooLong(BaseException):
    """Raised by a signal, wherever the scanner is at that moment."""


class _Watch:
    """Ends the scan of a file that takes too long."""

    def __init__(self) -> None:
        self._until = float("inf")

    def start(self) -> None:
        self._until = time.process_time() + FILE_SECONDS

    def stop(self) -> None:
        self._until = float("inf")

    def look(self) -> None:
        if time.process_time() > self._until:
            self.stop()
            raise _TookTooLong


def look_at(top: bytes, path: bytes, digest: bytes, watch: _Watch) -> Look | None:
    """None: it is gone, or is no regular file below *top* any more. *digest*: of what is known already."""
    now = time.time_ns()
    try:
        opened = sourcefile.read(top, path)
        if opened is None:
            return None
    except OSError as exc:
        return _unreadable(top + path, exc)
    found, data = opened
    look = Look(found.st_mtime_ns, found.st_ctime_ns, found.st_size, is_young(found, now), b"")
    if len(data) > sourcefile.MAX_FILE_BYTES:
        return look._replace(skipped="larger than 1 MiB")
    look = look._replace(digest=blake2b(data, digest_size=DIGEST_BYTES).digest())
    if look.digest == digest:
        return look._replace(packed=None)
    skipped, packed = _scan(data, path.decode("utf-8", "replace"), watch)
    return look._replace(skipped=skipped, packed=packed)


def is_young(found: os.stat_result, now: int) -> bool:
    """Whether a file seen at *now* could be changed without its times changing: git's rule of the racily clean."""
    coarse = found.st_mtime_ns % 1_000_000_000 == 0
    return max(found.st_mtime_ns, found.st_ctime_ns) > now - (COARSE_NS if coarse else FINE_NS)


def _unreadable(path: bytes, exc: OSError) -> Look | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    reason = f"unreadable: {os.strerror(exc.errno or 0)}"
    return Look(found.st_mtime_ns, found.st_ctime_ns, found.st_size, True, b"", reason)  # and tried again each time


def _scan(data: bytes, path: str, watch: _Watch) -> tuple[str, Packed]:
    """Why it was skipped, or what it defines."""
    text = sourcefile.decode(data)
    if text is None:
        return "binary", NOTHING
    if len(data) > max(MINIFIED_BYTES, MINIFIED_LINE_BYTES * (data.count(b"\n") + 1)):
        return "minified", NOTHING
    try:
        try:
            watch.start()
            return "", pack(scanner(path)(text, path))
        finally:
            watch.stop()
    except _TookTooLong:
        return f"scanning it took longer than {FILE_SECONDS:g} s", NOTHING
    except Exception as exc:  # scanners do not raise; a bug in one shall cost one file
        return f"scanning it failed: {type(exc).__name__}", NOTHING


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """Answer until the input ends."""
    parent = unpack(stdin.read)
    if parent is None:
        return
    watch = _Watch()
    leave_with(parent, watch.look)
    while (request := unpack(stdin.read)) is not None:
        kind, *rest = request
        answer: object
        if kind == "match":
            answer = match(*rest)
        else:
            top, files = rest
            answer = [look and (*look[:-1], look.packed and tuple(look.packed)) for look in _looks(top, files, watch)]
        stdout.write(message(answer))
        stdout.flush()
        gc.collect()


def _looks(top: bytes, files: list[tuple[bytes, bytes]], watch: _Watch) -> list[Look | None]:
    return [look_at(top, path, digest, watch) for path, digest in files]


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us
    os.nice(NICENESS)
    gc.disable()  # trees have no cycles, and looking for some takes a third of the time; once a request is enough
    gc.freeze()
    serve(sys.stdin.buffer, sys.stdout.buffer)
