"""Puts itself into a sandbox, then becomes a command: for machines without bwrap. Linux only.

A program of its own, started by enclosure.py: `python -I -S -c <START> <descriptor> <argv of the command>`, where the
descriptor is of a file that has this module and its order, both marshalled. System calls are made through ctypes, as
Python 3.11 has none of these. What cannot be done ends the program with 125, before there is a command.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import select
import signal
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
NOSUID, NODEV, NOEXEC, RECURSIVE, PRIVATE = 2, 4, 8, 0x4000, 0x40000
OPEN_TREE, MOVE_MOUNT, MOUNT_SETATTR = 428, 429, 442  # these have the same number on every processor
CWD, EMPTY_PATH, AT_RECURSIVE, NOFOLLOW = -100, 0x1000, 0x8000, 0x100
CLONE, CLOEXEC, FROM_EMPTY_PATH = 1, 0o2000000, 4
RDONLY_MOUNT, NODEV_MOUNT = 1, 4
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PDEATHSIG, DUMPABLE, SECCOMP, CAPBSET_DROP, NO_NEW_PRIVS, CAP_AMBIENT = 1, 4, 22, 24, 38, 47
SECCOMP_FILTER, CLEAR_ALL, CAP_VERSION = 2, 4, 0x20080522
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ANSWERING = ("sys", "sysrq-trigger", "irq", "bus")  # below /proc: there root may write without any capability
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 1
FAILED = 125
libc = ctypes.CDLL(None, use_errno=True)


def main(order: dict[str, Any], argv: list[str]) -> None:
    """Never returns."""
    if order["parent"]:
        prctl(PDEATHSIG, signal.SIGKILL)
        if os.getppid() != order["parent"]:  # it died before the line above: that signal will never come
            os._exit(FAILED)
    if order["namespaces"]:
        enter_namespaces(order)
    for name, wanted in order["limits"]:
        limit(getattr(resource, name), wanted)
    write("/proc/self/oom_score_adj", "500", lenient=True)  # ended before agentd is, where memory runs out
    if order["drop"]:
        prctl(NO_NEW_PRIVS, 1)
        drop_capabilities()
    if order["landlock"] is not None:
        restrict(order["landlock"])
    if order["filter"]:
        filter_calls(order["filter"])
    os.environ.update(order["env"])
    execute(argv)


# --- Namespaces ---------------------------------------------------------------------------------------------------


def enter_namespaces(order: dict[str, Any]) -> None:
    uid, gid = os.getuid(), os.getgid()
    try:
        check(libc.unshare(NEWUSER | order["namespaces"]))
        write("/proc/self/setgroups", "deny", lenient=True)
        write("/proc/self/uid_map", f"{uid} {uid} 1")
        write("/proc/self/gid_map", f"{gid} {gid} 1")
    except OSError:
        if uid != 0:
            raise
        check(libc.unshare(order["namespaces"]))  # root where there are no user namespaces
    if order["namespaces"] & NEWNET:
        loopback_up()
    if order["namespaces"] & NEWPID:
        be_below_the_first(order["mounts"])


def be_below_the_first(mounts: list[tuple[str, str, str]]) -> None:
    """Return in a child of the first process of a pid namespace, which has its mounts."""
    cwd = os.getcwd()  # noqa: PTH109  # pathlib would double the start-up
    alive, held = os.pipe()
    first = os.fork()
    if first:
        os.close(alive)
        signal.signal(signal.SIGTERM, lambda *_: os.kill(first, signal.SIGKILL))
        stand_by(first)
    os.close(held)
    be_the_first(alive)
    make_mounts(mounts)
    os.chdir(cwd)  # which was the old mount's
    command = os.fork()
    if command:
        drop_capabilities()
        prctl(DUMPABLE, 0)
        stand_by(command)
    os.close(alive)
    os.setsid()  # or its `kill 0` would reach what is above it


def be_the_first(alive: int) -> None:
    """All processes of the namespace end with its first, which ends with its parent; unless that ended before this
    was said: then nobody holds the pipe."""
    os.setsid()
    prctl(PDEATHSIG, signal.SIGKILL)
    if select.select([alive], [], [], 0)[0]:
        os._exit(FAILED)


def stand_by(child: int) -> None:
    """Reap until *child* ends, and exit as shells count. Its streams are not held open meanwhile."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def loopback_up() -> None:
    import _socket  # the module socket takes as long to import as all others here

    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        told = fcntl.ioctl(sock.fileno(), SIOCGIFFLAGS, struct.pack("16sH22x", b"lo", 0))
        flags = struct.unpack_from("H", told, 16)[0]
        fcntl.ioctl(sock.fileno(), SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | IFF_UP))
    finally:
        sock.close()


# --- Mounts -------------------------------------------------------------------------------------------------------


def make_mounts(rules: list[tuple[str, str, str]]) -> None:
    """*rules*: path, access and source, parents first. What is to be seen is cloned before anything is covered."""
    mount("", "/", "", RECURSIVE | PRIVATE)
    clones = {path: clone(source or path) for path, access, source in rules if path != "/" and is_seen(access, source)}
    devices = {name: clone(f"/dev/{name}") for name in DEVICES}
    if rules[0][1] == "read":
        restrict_mount(CWD, "/", RDONLY_MOUNT, AT_RECURSIVE)
    make_dev(devices)
    make_proc()
    empty = [path for path, access, source in rules if make_mount(path, access, clones.get(path), bool(source))]
    for path in empty:
        restrict_mount(CWD, path, RDONLY_MOUNT)
    restrict_mount(CWD, "/dev", RDONLY_MOUNT)


def is_seen(access: str, source: str) -> bool:
    return access in ("read", "write") or (access == "fresh" and source != "")


def make_mount(path: str, access: str, cloned: int | None, is_elsewhere: bool) -> bool:
    """Whether there is an empty directory now, to be made read-only when all is in its place."""
    if cloned is not None:
        if access == "read":
            restrict_mount(cloned, "", RDONLY_MOUNT, AT_RECURSIVE | EMPTY_PATH)
        attach(cloned, path)
    elif access == "fresh" and not is_elsewhere:
        mount("tmpfs", path, "tmpfs", NOSUID | NODEV, "mode=1777")
    elif access == "hide" and os.path.isdir(path):  # noqa: PTH112  # pathlib would double the start-up
        mount("tmpfs", path, "tmpfs", NOSUID | NODEV, "mode=755,size=4k")
        return True
    elif access == "hide" and os.path.lexists(path):
        null = clone("/dev/null")
        assert null is not None
        restrict_mount(null, "", RDONLY_MOUNT | NODEV_MOUNT, EMPTY_PATH)
        attach(null, path)
    return False


def make_dev(devices: dict[str, int | None]) -> None:
    mount("tmpfs", "/dev", "tmpfs", NOSUID, "mode=755")
    for name, device in devices.items():
        if device is not None:
            attach(device, f"/dev/{name}")
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")  # noqa: PTH211
    os.symlink("pts/ptmx", "/dev/ptmx")  # noqa: PTH211
    os.mkdir("/dev/shm")  # noqa: PTH102
    os.mkdir("/dev/pts")  # noqa: PTH102
    mount("tmpfs", "/dev/shm", "tmpfs", NOSUID | NODEV, "mode=1777")
    mount("devpts", "/dev/pts", "devpts", NOSUID | NOEXEC, "newinstance,ptmxmode=0666,mode=620")


def make_proc() -> None:
    """A new one shows this namespace alone. Containers may refuse it: the old one keeps others' secrets by the user
    namespace, and is read-only already."""
    try:
        mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
    except PermissionError:
        return
    for name in ANSWERING:
        cloned = clone(f"/proc/{name}")
        if cloned is not None:
            restrict_mount(cloned, "", RDONLY_MOUNT, AT_RECURSIVE | EMPTY_PATH)
            attach(cloned, f"/proc/{name}")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    words = [word.encode() or None for word in (source, kind, data)]
    check(libc.mount(words[0], os.fsencode(target), words[1], ctypes.c_ulong(flags), words[2]), target)


def clone(path: str) -> int | None:
    """A mount of what is there; None if nothing is."""
    flags = CLONE | CLOEXEC | AT_RECURSIVE | NOFOLLOW
    try:
        return check(libc.syscall(OPEN_TREE, CWD, os.fsencode(path), flags), path)
    except FileNotFoundError:
        return None


def attach(cloned: int, path: str) -> None:
    if not os.path.lexists(path):  # the directory above it is a new and empty one
        make_mountpoint(path, is_directory=os.stat(cloned).st_mode & 0o170000 == 0o040000)
    check(libc.syscall(MOVE_MOUNT, cloned, b"", CWD, os.fsencode(path), FROM_EMPTY_PATH), path)
    os.close(cloned)


def make_mountpoint(path: str, *, is_directory: bool) -> None:
    os.makedirs(path if is_directory else os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
    if not is_directory:
        os.close(os.open(path, os.O_CREAT | os.O_CLOEXEC, 0o600))


def restrict_mount(directory: int, path: str, attributes: int, flags: int = 0) -> None:
    wanted = struct.pack("QQQQ", attributes, 0, 0, 0)
    check(libc.syscall(MOUNT_SETATTR, directory, os.fsencode(path), flags, wanted, len(wanted)), path)


# --- This process -------------------------------------------------------------------------------------------------


def limit(kind: int, wanted: int) -> None:
    """Soft and hard; not above what it is."""
    _, hard = resource.getrlimit(kind)
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def drop_capabilities() -> None:
    """Those of now, and those that a program run by root would get."""
    libc.prctl(CAP_AMBIENT, CLEAR_ALL, 0, 0, 0)
    number = 0
    while libc.prctl(CAPBSET_DROP, number, 0, 0, 0) == 0:  # ends at the last, or at the first for who has none
        number += 1
    header, nothing = struct.pack("Ii", CAP_VERSION, 0), bytes(24)
    check(libc.capset(header, nothing), "capset")


def restrict(order: dict[str, Any]) -> None:
    """Landlock. *order*: handled rights on files, on TCP, and scopes; and the rights to each path."""
    files, net, scoped, size = order["files"], order["net"], order["scoped"], order["size"]
    attributes = struct.pack("QQQ", files, net, scoped)[:size]
    ruleset = check(libc.syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock")
    for path, to_directory, to_file in order["paths"]:
        allow(ruleset, path, to_directory, to_file)
    check(libc.syscall(RESTRICT_SELF, ruleset, 0), "landlock")
    os.close(ruleset)


def allow(ruleset: int, path: str, to_directory: int, to_file: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:  # it is gone, or not for us anyway
        return
    mode = os.fstat(place).st_mode & 0o170000
    rights = to_directory if mode == 0o040000 else to_file
    rule = struct.pack("=Qi", rights, place)
    if rights and mode != 0o120000:
        check(libc.syscall(ADD_RULE, ruleset, 1, rule, 0), path)
    os.close(place)


def filter_calls(program: bytes) -> None:
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    check(libc.prctl(SECCOMP, SECCOMP_FILTER, head, 0, 0), "seccomp")


def execute(argv: list[str]) -> None:
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as exc:
        os.write(2, f"{argv[0]}: {exc.strerror}\n".encode())
        os._exit(127)


# --- ctypes -------------------------------------------------------------------------------------------------------


def check(result: int, what: str = "") -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
    return result


def prctl(option: int, value: int) -> None:
    check(libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)), "prctl")


def write(path: str, text: str, *, lenient: bool = False) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)
    except OSError:
        if not lenient:
            raise


def run(order: dict[str, Any], argv: list[str]) -> None:
    """Never returns."""
    try:
        main(order, argv)
    except OSError as exc:
        os.write(2, f"agentd: no sandbox: {exc}\n".encode())
    os._exit(FAILED)
