"""A program that forks executors whose disk fails, or that die in the middle of what they ask of it.

It imports everything once. A line of JSON on its standard input is an order, one on its standard output an answer:
`{"start": ARGV, "out": FILE, …}` is answered with a pid, `{"poll": PID}` with an exit code or null.

What is asked of the disk is counted below one directory, *home*: files opened to be written, made, renamed and removed,
and write(), ftruncate(), fsync() and fdatasync() of what is open there.
"""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs

DIED = 9  # exit code
OPENS = frozenset({"open"})
NAMES = frozenset({"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"})
SYNCS = frozenset({"fsync", "fdatasync"})
REFUSED = {  # what fails while the disk fails in this way
    "ENOSPC": frozenset({"write", "create", "os.mkdir"}),
    "EACCES": frozenset({"open", "create", *NAMES} - {"os.truncate"}),
    "EIO": SYNCS,
}


@attrs.define
class Disk:
    """*die_at*: the number of the call at which the process ends, 0 for none; half of what it writes is written then.
    *switch*: a file that holds the name of an error as long as the disk fails with it. *count*: a file that gets a
    byte for every call."""

    home: str
    die_at: int = 0
    switch: str | None = None
    count: str | None = None
    _calls: int = 0
    _lock: threading.Lock = attrs.field(factory=threading.Lock)

    def install(self) -> None:
        sys.addaudithook(self._audit)
        os.write = self._write  # type: ignore[assignment]  # before anything is imported that keeps a reference
        os.fsync = self._wrapped("fsync", os.fsync)  # type: ignore[assignment]
        os.fdatasync = self._wrapped("fdatasync", os.fdatasync)  # type: ignore[assignment]

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = args
            if isinstance(path, int) or flags & os.O_DIRECTORY or not self._is_ours(path):
                return
            writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            makes = flags & os.O_CREAT and not os.path.lexists(path)
            self._asked("create" if makes else "open", counts=bool(writes))
        elif event in NAMES and self._is_ours(args[0]):
            self._asked(event)

    def _is_ours(self, path: object) -> bool:
        if isinstance(path, int):
            return self._is_open_in_home(path)
        return isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(self.home)

    def _is_open_in_home(self, fd: int) -> bool:
        try:
            return str(Path(f"/proc/self/fd/{fd}").readlink()).startswith(self.home)
        except OSError:
            return False

    def _write(self, fd: int, data: bytes, write: Callable[[int, bytes], int] = os.write) -> int:
        if not self._is_open_in_home(fd):
            return write(fd, data)

        def half() -> None:
            write(fd, bytes(data)[: len(data) // 2])

        self._asked("write", at_death=half)
        return write(fd, data)

    def _wrapped(self, name: str, call: Callable[[int], None]) -> Callable[[int], None]:
        def wrapped(fd: int) -> None:
            if self._is_open_in_home(fd):
                self._asked(name)
            call(fd)

        return wrapped

    def _asked(self, kind: str, *, counts: bool = True, at_death: Callable[[], None] = lambda: None) -> None:
        if self.switch is not None:
            self._fail_if_told(kind)
        if not counts:
            return
        with self._lock:
            self._calls += 1
            if self.count is not None:
                self._note()
            if self._calls == self.die_at:
                at_death()
                os._exit(DIED)

    def _note(self) -> None:
        with Path(str(self.count)).open("ab", buffering=0) as file:
            file.write(b".")

    def _fail_if_told(self, kind: str) -> None:
        try:
            name = Path(str(self.switch)).read_text()
        except FileNotFoundError:
            return
        if kind in REFUSED[name]:
            number = getattr(errno, name)
            raise OSError(number, os.strerror(number))


def start(order: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    out = os.open(order["out"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for fd, target in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(fd, target)
    from agentd.cli.executor import main as executor
    from agentd.engine import session

    session.WORTH_A_CACHE = 1  # so that the cache of the fold is written too
    if order["die_at"] or order["switch"] or order["count"]:
        PREPARED.home, PREPARED.die_at = order["home"], order["die_at"]
        PREPARED.switch, PREPARED.count = order["switch"], order["count"]
    os._exit(executor(order["start"]))


def poll(pid: int) -> int | None:
    ended, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if ended else None


PREPARED = Disk("\0 nowhere")


def main() -> None:
    PREPARED.install()
    import agentd.cli.executor  # noqa: F401 - once, for all that are forked

    for line in sys.stdin:
        order = json.loads(line)
        answer = poll(order["poll"]) if "poll" in order else start(order)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
