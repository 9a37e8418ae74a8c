"""The parent of one command where pid namespaces are not to be had: it adopts what the command leaves, and ends it.

A program of its own: `python -I -S -c <this source> <pid of the executor> <argv of the command>`. It is a child
subreaper (prctl(2)): a process below it that loses its parent becomes its child, whatever session, group or
environment that process made for itself. So when it has no child left, nothing of the command is left. It ends all of
them when the command exits, when it is sent SIGTERM, and when the executor dies in any way.

A process of its own, rather than the executor as the subreaper, because orphans carry no name: here they can only be
this command's. A command that kills its guard with SIGKILL is free; only a pid namespace prevents that.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SWEEP_SECONDS = 5.0
WAKES = (signal.SIGTERM, signal.SIGCHLD)


def main(parent: int, argv: list[str], become: Callable[[list[str]], None] | None = None) -> int:
    """Run *argv* to its end; *become* is what a child does to become it. The exit code is the command's, as shells
    count: 128 + n for signal n."""
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKES)
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it died before the line above: that signal will never come
        return 128 + signal.SIGTERM
    descendants(os.getpid())  # raises where the kernel cannot tell, before there is anything to end
    command = os.fork()
    if command == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKES)
        os.setsid()  # or `kill 0` in the command would reach its guard
        (become or execute)(argv)
    let_go_of_output()
    code = wait_for(command)
    sweep()
    return code


def prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def execute(argv: list[str]) -> None:
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as exc:
        os.write(2, f"{argv[0]}: {exc.strerror}\n".encode())
        os._exit(127)


def let_go_of_output() -> None:
    """The command's output ends when the command's processes have: its guard is not one of the holders."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)


def wait_for(command: int) -> int:
    while signal.sigwait(WAKES) == signal.SIGCHLD:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == command:
                code = os.waitstatus_to_exitcode(ended[1])
                return code if code >= 0 else 128 - code
    return 128 + signal.SIGTERM


def sweep() -> None:
    """Kill until there is no child. A process that is being killed cannot fork, so every pass gains on the tree."""
    deadline = time.monotonic() + SWEEP_SECONDS
    while time.monotonic() < deadline:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):  # gone, or a set-user-id program: those are not ours to end
                pass
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        signal.sigtimedwait([signal.SIGCHLD], 0.005)


def descendants(root: int) -> list[int]:
    """Parents before their children. Raises FileNotFoundError when the kernel was built without these lists."""
    found = [root]
    for pid in found:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208  # pathlib would double the start-up
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as children:  # noqa: PTH123
                    found += map(int, children.read().split())
        except (FileNotFoundError, ProcessLookupError):
            if pid == root:
                raise
    return found[1:]


if __name__ == "__main__":
    os._exit(main(int(sys.argv[1]), sys.argv[2:]))
