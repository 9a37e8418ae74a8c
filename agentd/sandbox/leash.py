"""An executor's side of its launch: it is told what to be in one line, says when it is ready, and ends with its parent.

Four things end it. The end of its standard input, which the parent holds open: the *leash*, the gentle way, and the
one that reaches across machines. A parent-death signal, for when it is too busy to notice. Whatever the parent sends.
And between machines a *lease*, for when the network is gone and a leash would be quiet for ever. DESIGN, Executors.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from pathlib import Path

import attrs
import trio

from agentd.domain import PROTOCOL, Hello, Ready
from agentd.errors import ExecutorFailed, InvalidRequest
from agentd.sandbox import guard
from agentd.wire import egress
from agentd.wire.typed import decode

STDIN = 0
HELLO_LIMIT = 1 << 20  # bytes
READ = 65536
DISCARD = 9  # a port where nobody need listen


def read_hello(stdin: int = STDIN) -> Hello:
    """Wait for the hello line; from then on this process dies with the parent that the hello names.

    To be called before there are threads or an event loop. Raises ExecutorFailed: there is no such line, or the parent
    is dead already.
    """
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(stdin, READ)
        line += piece
        if not piece or len(line) > HELLO_LIMIT:
            raise ExecutorFailed("no hello line came on standard input: --supervised is for agentd's own use")
    try:
        hello = decode(bytes(line), Hello)
    except InvalidRequest as exc:
        raise ExecutorFailed(f"the hello line does not say what it has to: {exc}") from exc
    if hello.parent is not None:
        _die_with(hello.parent)
    return hello


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        guard.prctl(guard.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above: that signal will never come
        raise ExecutorFailed("the process that started this executor is dead")


# Where a launcher is in between, an executor says these on standard output, each a line.
STARTED = '{"started": true}'  # after the hello: from now on there is no queue
STOPPED = '{"stopped": true}'  # last of all: nothing of the session is written after that


def say(line: str) -> None:
    """Tell the parent, if it still listens."""
    try:
        sys.stdout.buffer.write(f"{line}\n".encode())
        sys.stdout.buffer.flush()
    except OSError:
        return


def ready_line(hello: Hello, address: str, sandbox: str) -> bytes:
    """The line to print, and flush, once requests are taken at *address*."""
    pid = os.getpid()
    nonce = _read(Path(hello.nonce_file))
    boot_id = _read(Path("/proc/sys/kernel/random/boot_id"))
    ready = Ready(address, pid, starttime(pid), boot_id, PROTOCOL, nonce, sandbox)
    return json.dumps({"ready": attrs.asdict(ready)}).encode() + b"\n"


def source_address(peer: str) -> str:
    """This machine's address on the way to *peer*, a name or an address. Raises ExecutorFailed: there is no way.

    Asking for a host's own address by its name gives 127.0.0.1 on many systems. Connecting UDP sends nothing.
    """
    try:
        egress.permit(egress.endpoint_of(peer, DISCARD))
        [(family, kind, _, _, there), *_] = socket.getaddrinfo(peer, DISCARD, type=socket.SOCK_DGRAM)
        egress.learn(peer, DISCARD, [str(there[0])])
        with socket.socket(family, kind) as sock:
            sock.connect(there)
            return str(sock.getsockname()[0])
    except OSError as exc:
        raise ExecutorFailed(f"--callback {peer}: there is no way to it from here: {exc.strerror or exc}") from exc


def starttime(pid: int) -> int:
    """When a process started, in clock ticks after boot: see proc(5). 0 where that cannot be known."""
    stat = _read(Path(f"/proc/{pid}/stat"))
    return int(stat.rpartition(")")[2].split()[19]) if stat else 0


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:  # not Linux; or for the nonce, another machine's file system: then the parent will say so
        return ""


async def watch_leash(stdin: int = STDIN) -> None:
    """Return at the end of standard input. What else comes there is ignored."""
    try:
        await trio.lowlevel.wait_readable(stdin)
        while os.read(stdin, READ):
            await trio.lowlevel.wait_readable(stdin)
    except PermissionError:  # a file, or /dev/null: those cannot be waited for, and are at their end
        await trio.lowlevel.checkpoint()


class Lease:
    """So many *seconds* an executor lives without a request that has its token. To be made inside of trio."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._renewed = trio.current_time()

    def renew(self) -> None:
        self._renewed = trio.current_time()

    @property
    def left(self) -> float:
        return self._renewed + self.seconds - trio.current_time()

    async def watch(self) -> None:
        """Return at its end."""
        while self.left > 0:  # noqa: ASYNC110  # it is renewed meanwhile
            await trio.sleep(self.left)
