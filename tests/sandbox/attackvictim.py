"""Who is attacked: a process with secrets that listens wherever one can, and tells what was done to it when asked.

`python -m tests.sandbox.attackvictim <order as JSON>`; a line of JSON when it is ready, another for each line that it
reads. It ends when its standard input does.
"""

from __future__ import annotations

import ctypes
import itertools
import json
import os
import resource
import signal
import socket
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

SIGNALS: list[int] = []
SHM_BYTES = 4096
IPC_CREATE, REMOVE = 0o1000, 0
libc = ctypes.CDLL(None, use_errno=True)


def serve(sock: socket.socket, secret: bytes) -> None:
    """Tell everybody who comes."""
    if sock.type is socket.SOCK_STREAM:
        sock.listen()
    threading.Thread(target=_serve, args=(sock, secret), daemon=True).start()


def _serve(sock: socket.socket, secret: bytes) -> None:
    while True:
        with suppress(OSError):
            if sock.type is socket.SOCK_STREAM:
                with closing(sock.accept()[0]) as client:
                    client.send(secret)
            else:
                sock.sendto(secret, sock.recvfrom(10)[1])


def bound(family: int, address: object, kind: int = socket.SOCK_STREAM) -> socket.socket:
    sock = socket.socket(family, kind)
    sock.bind(address)  # type: ignore[arg-type]  # each family has its own
    return sock


def listen(order: dict[str, Any], secret: bytes) -> dict[str, int]:
    tcp = bound(socket.AF_INET, ("0.0.0.0", 0))
    udp = bound(socket.AF_INET, ("127.0.0.1", 0), socket.SOCK_DGRAM)
    sockets = [tcp, udp, bound(socket.AF_UNIX, f"\0{order['name']}")]
    sockets += [bound(socket.AF_UNIX, path) for path in order["sockets"]]
    ports = {"TCP": tcp.getsockname()[1], "UDP": udp.getsockname()[1], "TCP6": 0}
    with suppress(OSError):
        sockets.append(bound(socket.AF_INET6, ("::1", 0)))
        ports["TCP6"] = sockets[-1].getsockname()[1]
    for sock in sockets:
        serve(sock, secret)
    return ports


def share(order: dict[str, Any], secret: bytes) -> int:
    """A segment of memory, and a queue with a message in it."""
    segment: int = libc.shmget(order["shm"], SHM_BYTES, IPC_CREATE | 0o600)
    libc.shmat.restype = ctypes.c_void_p
    ctypes.memmove(libc.shmat(segment, None, 0), secret, len(secret))
    name = f"/{order['name']}".encode()
    queue = libc.mq_open(name, os.O_CREAT | os.O_RDWR | os.O_NONBLOCK, 0o600, None)
    for _ in range(9):
        libc.mq_send(queue, secret, len(secret), 0)
    return segment


def state() -> dict[str, Any]:
    """What others may have changed."""
    return {
        "signals": SIGNALS,
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "oom": Path("/proc/self/oom_score_adj").read_text(),
    }


def main(order: dict[str, Any]) -> None:
    secret = order["secret"].encode()
    for number in (signal.SIGUSR1, signal.SIGIO):
        signal.signal(number, lambda number, _: SIGNALS.append(number))
    memory = ctypes.create_string_buffer(secret, 64)
    os.chdir(order["directory"])
    descriptor = os.open("id_ed25519", os.O_RDONLY)
    segment = share(order, secret)
    try:
        ready = {**listen(order, secret), "ADDRESS": ctypes.addressof(memory), "DESCRIPTOR": descriptor}
        for answer in itertools.chain([ready], (state() for _ in iter(sys.stdin.readline, ""))):
            sys.stdout.write(f"{json.dumps(answer)}\n")
            sys.stdout.flush()
    finally:
        libc.shmctl(segment, REMOVE, None)
        libc.mq_unlink(f"/{order['name']}".encode())


if __name__ == "__main__":
    main(json.loads(sys.stdin.readline()))
