"""What hostile programs share. They run inside a sandbox, with the standard library alone, and know their targets by
their environment: see attackrange.Range.targets()."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from pathlib import Path

E = os.environ
libc = ctypes.CDLL(None, use_errno=True)
# On x86_64 and on aarch64. Written down again, as agentd's own table is under test.
NUMBERS = {
    "add_key": (248, 217),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "clone3": (435, 435),
    "fsopen": (430, 430),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "pidfd_getfd": (438, 438),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "init_module": (175, 105),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "reboot": (169, 142),
    "acct": (163, 89),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "setns": (308, 268),
    "unshare": (272, 97),
}


def syscall(name: str, *args: object) -> int:
    """Raises OSError."""
    number = NUMBERS[name][platform.machine() == "aarch64"]
    # An int would be passed as half a register, with whatever is in the other half.
    return check(libc.syscall(number, *(ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args)))


def check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def place(name: str) -> Path:
    return Path(E[name])


def won() -> None:
    """For what cannot be seen from outside: a system call that did what it was not to do."""
    tell(E["WON"])


def tell(what: str | bytes) -> None:
    """Everything that is found. If a secret is in it, the attack has worked."""
    sys.stdout.buffer.write(what if isinstance(what, bytes) else what.encode())
    sys.stdout.buffer.write(b"\n")
    sys.stdout.buffer.flush()


def reached(action: str, *args: object, refusals: tuple[int, ...] = (1,)) -> None:
    """Make a system call whose arguments cannot do anything. Whoever has no right to it is told EPERM before anything
    else is looked at; another error shows that it would have been done."""
    try:
        syscall(action, *args)
    except OSError as exc:
        if exc.errno in (*refusals, 38):
            raise
    won()
