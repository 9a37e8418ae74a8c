"""Other processes: of agentd, and of its user. And this one, made more than it may be."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import struct
import time
from pathlib import Path

from tests.sandbox.hostile.program import E, check, libc, place, syscall, tell, won

PTRACE_SEIZE = 0x4206
TIOCSTI = 0x5412
MANY = 150


def victim() -> int:
    return int(E["VICTIM"])


def signal_process() -> None:
    os.kill(victim(), signal.SIGUSR1)


def signal_by_descriptor() -> None:
    signal.pidfd_send_signal(os.pidfd_open(victim()), signal.SIGUSR1)


def signal_by_owner() -> None:
    """A socket says to its owner that there is something to read."""
    here, there = socket.socketpair()
    fcntl.fcntl(here, fcntl.F_SETOWN, victim())
    fcntl.fcntl(here, 10, signal.SIGUSR1)  # F_SETSIG
    fcntl.fcntl(here, fcntl.F_SETFL, os.O_ASYNC)
    there.send(b"x")


def trace() -> None:
    check(libc.ptrace(PTRACE_SEIZE, victim(), None, None))
    won()


def read_memory() -> None:
    buffer = ctypes.create_string_buffer(64)
    here = struct.pack("QQ", ctypes.addressof(buffer), 64)
    there = struct.pack("QQ", int(E["ADDRESS"]), 64)
    syscall("process_vm_readv", victim(), here, 1, there, 1, 0)
    tell(buffer.raw)


def read_memory_file() -> None:
    with Path(f"/proc/{victim()}/mem").open("rb", buffering=0) as file:
        file.seek(int(E["ADDRESS"]))
        tell(file.read(64))


def read_environment() -> None:
    tell(Path(f"/proc/{victim()}/environ").read_bytes())


def read_environment_of_executor() -> None:
    tell(Path(f"/proc/{E['EXECUTOR']}/environ").read_bytes())


def read_environment_of_ancestors() -> None:
    """Up to agentd."""
    process = os.getppid()
    while process > 0:
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            tell(b" ".join(word for word in words if word.startswith(b"AGENTD_")))  # its own has none of these
        if str(process) == E["EXECUTOR"]:
            return
        process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def read_command_line() -> None:
    tell(Path(f"/proc/{victim()}/cmdline").read_bytes())


def read_by_descriptor() -> None:
    tell(Path(f"/proc/{victim()}/fd/{E['DESCRIPTOR']}").read_bytes())


def read_by_root() -> None:
    tell(Path(f"/proc/{victim()}/root{E['HOME']}/.ssh/id_ed25519").read_bytes())


def read_by_directory() -> None:
    tell(Path(f"/proc/{victim()}/cwd/id_ed25519").read_bytes())


def take_descriptor() -> None:
    taken = syscall("pidfd_getfd", os.pidfd_open(victim()), int(E["DESCRIPTOR"]), 0)
    tell(os.pread(taken, 100, 0))


def change_limits() -> None:
    soft, hard = resource.prlimit(victim(), resource.RLIMIT_NOFILE)
    resource.prlimit(victim(), resource.RLIMIT_NOFILE, (soft - 1, hard))


def change_priority() -> None:
    os.setpriority(os.PRIO_PROCESS, victim(), 1)


def change_oom_score() -> None:
    Path(f"/proc/{victim()}/oom_score_adj").write_text("999")


def inherit() -> None:
    """Whatever is open here."""
    for name in sorted(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            tell(os.pread(int(name.name), 100, 0))


def stay() -> None:
    """In a session of its own, an orphan, with nothing to know it by; for a few seconds at the most."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            lock = os.open("alive", os.O_CREAT | os.O_RDWR)
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.set_inheritable(lock, True)
            for descriptor in (0, 1, 2):
                os.dup2(os.open("/dev/null", os.O_RDWR), descriptor)
            os.execve("/bin/sleep", ["sleep", "4"], {})
        os._exit(0)
    os.wait()
    while not Path("alive").exists():
        time.sleep(0.01)


def stay_without_guard() -> None:
    """The same, once whoever looks after this one is gone, as far as it is not agentd itself."""
    if os.getppid() not in (int(E["EXECUTOR"]), 1):
        with contextlib.suppress(OSError):
            os.kill(os.getppid(), signal.SIGKILL)
    stay()


def shared_memory() -> None:
    segment = syscall("shmget", int(E["SHM"]), 0, 0)
    libc.shmat.restype = ctypes.c_void_p
    tell(ctypes.string_at(libc.shmat(segment, None, 0o10000), 64))


def message_queue() -> None:
    queue = check(libc.mq_open(f"/{E['NAME']}".encode(), os.O_RDONLY | os.O_NONBLOCK))
    buffer = ctypes.create_string_buffer(8192)
    check(libc.mq_receive(queue, buffer, 8192, None))
    tell(buffer.value)


def keyring() -> None:
    key = syscall("keyctl", 10, -4, b"user", E["NAME"].encode(), 0)  # search the user's
    buffer = ctypes.create_string_buffer(100)
    syscall("keyctl", 11, key, buffer, 100)
    tell(buffer.value)


def write_to_terminal() -> None:
    with Path("/dev/tty").open("w") as terminal:
        terminal.write("x")


def type_into_terminal() -> None:
    terminal = os.open("/dev/tty", os.O_RDWR)
    fcntl.ioctl(terminal, TIOCSTI, b"x")


def type_into_terminal_by_long_number() -> None:
    """The kernel looks at the lower half alone."""
    terminal = os.open("/dev/tty", os.O_RDWR)
    check(libc.ioctl(terminal, ctypes.c_ulong(TIOCSTI | 1 << 32), ctypes.c_char_p(b"x")))


def write_to_other_terminal() -> None:
    with place("TERMINAL").open("w") as terminal:
        terminal.write("x")


# --- More than a process may have: the policy of these has small limits --------------------------------------------


def exceed_processes() -> None:
    children = []
    with contextlib.suppress(OSError):
        for _ in range(MANY):
            child = os.fork()
            if child == 0:
                signal.pause()
            children.append(child)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if len(children) == MANY:
        won()


def exceed_file_size() -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _raise(resource.RLIMIT_FSIZE)
    os.truncate(os.open("large", os.O_CREAT | os.O_RDWR), 2 << 20)
    won()


def exceed_open_files() -> None:
    _raise(resource.RLIMIT_NOFILE)
    for _ in range(MANY):
        os.open("/dev/null", os.O_RDONLY)
    won()


def exceed_memory() -> None:
    _raise(resource.RLIMIT_DATA)
    mmap.mmap(-1, 300 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)  # none of it is ever touched
    won()


def exceed_processor_time() -> None:
    signal.signal(signal.SIGXCPU, signal.SIG_IGN)
    _raise(resource.RLIMIT_CPU)
    if resource.getrlimit(resource.RLIMIT_CPU)[1] == resource.RLIM_INFINITY:
        won()


def dump_core() -> None:
    """Where the machine writes them to the directory of who crashed."""
    _raise(resource.RLIMIT_CORE)
    if os.fork() == 0:
        os.abort()
    os.wait()


def _raise(kind: int) -> None:
    hard = resource.getrlimit(kind)[1]
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    if resource.getrlimit(kind)[1] != resource.RLIM_INFINITY:
        resource.setrlimit(kind, (hard, hard))
