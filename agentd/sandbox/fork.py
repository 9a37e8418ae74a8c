"""A child that begins where its parent is, with everything imported: half the time and memory of a fresh interpreter.

Only for a process that has neither threads nor an event loop yet: what they hold at the moment of a fork is held in the
child for ever.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn

from trio.lowlevel import FdStream

from agentd.sandbox.child import Child


class Forked:
    """What Child needs to know of a process, for one that was not made by subprocess."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        self._reap(os.WNOHANG)
        return self.returncode

    def wait(self) -> int:
        self._reap(0)
        assert self.returncode is not None
        return self.returncode

    def _reap(self, options: int) -> None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)


def fork(main: Callable[[], int], env: Mapping[str, str]) -> Child:
    """A process, in a session of its own, that runs *main* with *env* as its whole environment and exits with what it
    returns. Its three standard streams are pipes of ours, nothing else is inherited. Raises OSError."""
    (stdin, our_stdin), (our_stdout, stdout), (our_stderr, stderr), (begun, begin) = (os.pipe() for _ in range(4))
    sys.stdout.flush()  # or what is buffered would be written twice
    sys.stderr.flush()
    gc.freeze()  # or the child's first collection would copy every page that it shares with us
    pid = os.fork()
    if pid == 0:
        be_the_child((stdin, stdout, stderr), env, main)
    gc.unfreeze()
    for fd in (stdin, stdout, stderr, begin):
        os.close(fd)
    os.read(begun, 1)  # nothing comes: it ends when the child has its session, so that its group can be signalled
    os.close(begun)
    return Child(Forked(pid), FdStream(our_stdin), FdStream(our_stdout), FdStream(our_stderr))


def be_the_child(streams: tuple[int, int, int], env: Mapping[str, str], main: Callable[[], int]) -> NoReturn:
    """What a process does that was just forked: in a session of its own, with nothing but *streams*, *main*."""
    code = 1
    try:
        os.setsid()
        for number, fd in enumerate(streams):
            os.dup2(fd, number)
        os.closerange(3, _highest_fd() + 1)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(env)
        code = main()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # the parent's atexit handlers and buffers are not ours to run


def _highest_fd() -> int:
    try:
        return max(int(path.name) for path in Path("/dev/fd").iterdir())
    except OSError:
        return int(os.sysconf("SC_OPEN_MAX"))
