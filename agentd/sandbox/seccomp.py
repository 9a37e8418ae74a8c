"""A filter of system calls as classic BPF, in pure Python: seccomp(2). It denies what a build or a test has no use for
and what other protection has been broken with; what a sandbox is made of is in the other modules.
"""

from __future__ import annotations

import errno
import platform
import struct
from collections.abc import Iterator

# Names and their numbers on x86_64 and on aarch64; None: there is no such call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "setns": (308, 268),
    "open_by_handle_at": (304, 265),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "nfsservctl": (180, 42),
    "lookup_dcookie": (212, 18),
    "syslog": (103, 116),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "vhangup": (153, 58),
    "uselib": (134, None),
    "iopl": (172, None),
    "ioperm": (173, None),
    "modify_ldt": (154, None),
}
# Memory, semaphores and queues that are shared by number or name: for where they are everybody's.
SHARED: dict[str, tuple[int | None, int | None]] = {
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
}
# What is done to another process by its number, which is this argument; 0 is the caller itself.
TO_OTHERS: dict[str, tuple[int, int, int]] = {
    "prlimit64": (302, 261, 0),
    "sched_setaffinity": (203, 122, 0),
    "sched_setscheduler": (144, 119, 0),
    "sched_setparam": (142, 118, 0),
    "sched_setattr": (314, 274, 0),
    "setpriority": (141, 140, 1),
    "ioprio_set": (251, 30, 1),
}
# What sets the mode of a file, which is this argument; and of those that may also open one, in which the flags are.
MODES: dict[str, tuple[int | None, int | None, int, int | None]] = {
    "chmod": (90, None, 1, None),
    "fchmod": (91, 52, 1, None),
    "fchmodat": (268, 53, 2, None),
    "fchmodat2": (452, 452, 2, None),
    "creat": (85, None, 1, None),
    "mknod": (133, None, 1, None),
    "mknodat": (259, 33, 2, None),
    "open": (2, None, 2, 1),
    "openat": (257, 56, 3, 2),
}
SET_ID, CREATING = 0o6000, 0o100 | 0o20000000  # S_ISUID and S_ISGID; O_CREAT and O_TMPFILE
OPENAT2 = (437, 437)
CLONE, CLONE3, UNSHARE = (56, 220), (435, 435), (272, 97)
IOCTL, SOCKET, SOCKETPAIR = (16, 29), (41, 198), (53, 199)
MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}  # column above; AUDIT_ARCH_*
NAMESPACES = 0x7E020000  # CLONE_NEW*: mount, cgroup, uts, ipc, user, pid, net
NEWTIME = 0x80
# TIOCSTI and TIOCLINUX, which type into a terminal; FS_IOC_SETFLAGS and FS_IOC_FSSETXATTR, which a mount need not stop
CONTROLS = (0x5412, 0x541C, 0x40086602, 0x401C5820)
UNIX, INET, NETLINK, INET6 = 1, 2, 16, 10
ORDINARY = (UNIX, INET, INET6, NETLINK)  # not those that no network namespace keeps apart, as a virtual machine's vsock
X32 = 0x40000000

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
NUMBER, ARCH, ARGUMENTS = 0, 4, 16  # offsets in seccomp_data; an argument is 8 bytes, the low half first
ALLOW, FAIL, KILL = 0x7FFF0000, 0x00050000, 0x80000000


def make_filter(families: tuple[int, ...] = ORDINARY, *, shared: bool = True, machine: str = "") -> bytes | None:
    """A filter as bwrap and prctl(2) take it. *families*: of sockets that may be made; *shared*: whether processes may
    use System V and POSIX queues, semaphores and memory, and set priorities and limits of others. None for a machine
    whose numbers are not known."""
    known = MACHINES.get(machine or platform.machine())
    if known is None:
        return None
    column, arch = known
    program = [*_entrance(arch)]
    for call in (CLONE3, OPENAT2):  # their flags are where no filter can look, and there are older ones
        program += _deny(call[column], errno.ENOSYS)
    for call in (*DENIED.values(), *(() if shared else SHARED.values())):
        if (number := call[column]) is not None:
            program += _deny(number, errno.EPERM)
    for number, mode, flags in ((call[column], *call[2:]) for call in MODES.values()):
        if number is not None:
            program += _deny_bits(number, mode, SET_ID, only_if=flags)
    program += _deny_bits(CLONE[column], 0, NAMESPACES)
    program += _deny_bits(UNSHARE[column], 0, NAMESPACES | NEWTIME)
    for other in () if shared else TO_OTHERS.values():
        program += _allow_values(other[column], (0,), argument=other[2], error=errno.EPERM)
    program += _deny_values(IOCTL[column], 1, CONTROLS)
    program += _allow_values(SOCKET[column], families)
    program += _allow_values(SOCKETPAIR[column], (UNIX,))
    program.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in program)


Instruction = tuple[int, int, int, int]  # code, and where it is true or false how many to skip, operand


def _entrance(arch: int) -> Iterator[Instruction]:
    """Programs for another kind of processor have other numbers: they end."""
    yield LOAD, 0, 0, ARCH
    yield EQUAL, 1, 0, arch
    yield RETURN, 0, 0, KILL
    yield LOAD, 0, 0, NUMBER
    yield AT_LEAST, 0, 1, X32
    yield RETURN, 0, 0, FAIL | errno.ENOSYS


def _deny(number: int, error: int) -> Iterator[Instruction]:
    yield EQUAL, 0, 1, number
    yield RETURN, 0, 0, FAIL | error


def _deny_bits(number: int, argument: int, bits: int, *, only_if: int | None = None) -> Iterator[Instruction]:
    """*only_if*: the argument with the flags of what may make a file."""
    yield EQUAL, 0, 4 + 3 * (only_if is not None), number
    if only_if is not None:
        yield LOAD, 0, 0, ARGUMENTS + 8 * only_if
        yield ANY_BIT, 1, 0, CREATING
        yield RETURN, 0, 0, ALLOW
    yield LOAD, 0, 0, ARGUMENTS + 8 * argument
    yield ANY_BIT, 0, 1, bits
    yield RETURN, 0, 0, FAIL | errno.EPERM
    yield RETURN, 0, 0, ALLOW


def _deny_values(number: int, argument: int, values: tuple[int, ...]) -> Iterator[Instruction]:
    yield EQUAL, 0, 2 * len(values) + 2, number
    yield LOAD, 0, 0, ARGUMENTS + 8 * argument
    for value in values:
        yield from _deny(value, errno.EPERM)
    yield RETURN, 0, 0, ALLOW


def _allow_values(
    number: int, values: tuple[int, ...], *, argument: int = 0, error: int = errno.EAFNOSUPPORT
) -> Iterator[Instruction]:
    yield EQUAL, 0, 2 * len(values) + 2, number
    yield LOAD, 0, 0, ARGUMENTS + 8 * argument
    for value in values:
        yield EQUAL, 0, 1, value
        yield RETURN, 0, 0, ALLOW
    yield RETURN, 0, 0, FAIL | error
