"""What the kernel gives, and only should to others. Nothing here does harm where it works: a call that would is made
with arguments that cannot be carried out, a file that would is opened and not written to, and mounts are made in a
namespace of their own."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
import struct
import subprocess
from pathlib import Path

from tests.sandbox.hostile.program import E, check, libc, place, reached, syscall, tell, won

NEWNS, NEWUSER = 0x20000, 0x10000000
REMOUNT, BIND, RECURSIVE, PRIVATE, DETACH = 0x20, 0x1000, 0x4000, 0x40000, 2
ADJ_TICK = 0x4000
DEVICES = ("mem", "kmem", "port", "kmsg", "vda", "sda", "nvme0n1", "fuse", "kvm", "loop-control", "net/tun")


def _own_mounts() -> None:
    """So that what is mounted here is not mounted for the machine."""
    syscall("unshare", NEWNS | (NEWUSER if os.getuid() else 0))
    check(libc.mount(None, b"/", None, ctypes.c_ulong(RECURSIVE | PRIVATE), None))


def mount() -> None:
    _own_mounts()
    check(libc.mount(b"tmpfs", os.fsencode(Path.cwd()), b"tmpfs", 0, None))
    won()


def mount_by_descriptor() -> None:
    syscall("fsopen", b"tmpfs", 0)
    won()


def write_after_remount() -> None:
    for path in (E["OUT"], "/") if E["INSIDE"] else ():  # not those of the machine
        libc.mount(None, os.fsencode(path), None, ctypes.c_ulong(REMOUNT | BIND), None)
    (place("OUT") / "new").write_text("x")


def read_after_unmount() -> None:
    libc.umount2(os.fsencode(place("HOME") / ".ssh"), DETACH)  # nothing is mounted there but by a sandbox
    tell((place("HOME") / ".ssh/id_ed25519").read_bytes())


def change_root() -> None:
    os.chroot(Path.cwd())
    won()


def pivot_root() -> None:
    reached("pivot_root", b"/nowhere", b"/nowhere")


def user_namespace() -> None:
    syscall("unshare", NEWUSER)
    won()


def user_namespace_by_clone() -> None:
    order = struct.pack("11Q", NEWUSER, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
    if syscall("clone3", order, len(order)) == 0:
        os._exit(0)
    won()


def enter_namespace() -> None:
    syscall("setns", os.open(f"/proc/{E['VICTIM']}/ns/net", os.O_RDONLY), 0)
    won()


def make_device() -> None:
    os.mknod("device", stat.S_IFCHR | 0o600, os.makedev(1, 9))
    os.read(os.open("device", os.O_RDONLY), 1)
    won()


def open_devices() -> None:
    for path in (*(f"/dev/{name}" for name in DEVICES), "/proc/kcore"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
            tell(path)
            won()


def open_kernel_settings() -> None:
    os.close(os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY))
    won()


def open_sysrq() -> None:
    os.close(os.open("/proc/sysrq-trigger", os.O_WRONLY))
    won()


def open_sysfs() -> None:
    for name in ("profiling", "mm/transparent_hugepage/enabled", "mm/ksm/run", "kexec_crash_size"):
        with contextlib.suppress(OSError):
            os.close(os.open(f"/sys/kernel/{name}", os.O_RDWR))
            won()


def groups(name: str) -> list[Path]:
    top = Path("/sys/fs/cgroup")
    return [path for path in (top / name, *top.glob(f"*/{name}")) if path.exists()]


def make_cgroup() -> None:
    for path in groups("cgroup.procs"):
        made = path.parent / E["NAME"]
        made.mkdir()
        made.rmdir()
        won()
        return


def open_release_agent() -> None:
    """Of the first version of control groups: a program that the kernel runs."""
    for path in groups("release_agent"):
        os.close(os.open(path, os.O_WRONLY))
        won()
        return


def leave_cgroup() -> None:
    """By the number of nobody: no process is moved."""
    for path in groups("cgroup.procs"):
        os.close(os.open(path, os.O_WRONLY))
        won()
        return


def bpf() -> None:
    syscall("bpf", 0, struct.pack("5I", 2, 4, 4, 1, 0) + bytes(100), 120)
    won()


def io_uring() -> None:
    syscall("io_uring_setup", 1, ctypes.create_string_buffer(120))
    won()


def performance_events() -> None:
    order = struct.pack("IIQQQQQ", 1, 112, 0, 0, 0, 0, 0b1100000) + bytes(64)  # of this process, not of the kernel
    syscall("perf_event_open", order, 0, -1, -1, 0)
    won()


def page_faults() -> None:
    syscall("userfaultfd", 1)
    won()


def open_by_handle() -> None:
    """A file by its number on the disk, whatever is mounted over it."""
    handle = ctypes.create_string_buffer(bytes.fromhex(E["HANDLE"]), 136)
    directory = os.open(".", os.O_RDONLY)
    tell(os.pread(syscall("open_by_handle_at", directory, handle, 0), 100, 0))


def kernel_log() -> None:
    buffer = ctypes.create_string_buffer(100)
    syscall("syslog", 3, buffer, 100)
    won()


def load_module() -> None:
    reached("init_module", b"", 0, b"")


def remove_module() -> None:
    reached("delete_module", b"no-such-module", 0)


def load_kernel() -> None:
    reached("kexec_load", 0, 0, None, 0xFFFFFFFF)


def restart() -> None:
    reached("reboot", 0, 0, 0, None)  # the numbers that it has to be told are wrong


def accounting() -> None:
    reached("acct", b"/nowhere/at/all")


def swap() -> None:
    reached("swapon", b"/nowhere/at/all", 0)


def set_clock() -> None:
    """The length of a tick, to what it is."""
    buffer = ctypes.create_string_buffer(256)
    check(libc.adjtimex(buffer))
    struct.pack_into("I", buffer, 0, ADJ_TICK)
    check(libc.adjtimex(buffer))
    won()


def set_host_name() -> None:
    """To what it is."""
    name = os.uname().nodename.encode()
    check(libc.sethostname(name, len(name)))
    won()


def setuid_program() -> None:
    """It tells who it is run as."""
    told = subprocess.run([E["SETUID"], "-u"], capture_output=True, check=True).stdout
    if int(told) != os.getuid():
        won()


def capabilities() -> None:
    status = Path("/proc/self/status").read_text()
    if any(int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("CapEff", "CapPrm"))):
        won()


def other_system_calls() -> None:
    """Those of 32-bit programs have other numbers, so that a filter of numbers does not know them."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20 (getpid); int 0x80; ret
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    if ctypes.CFUNCTYPE(ctypes.c_int)(address)() == os.getpid():
        won()
