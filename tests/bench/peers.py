"""What the server benchmarks share: a server in a process of its own on one core, and the load for it from another."""

from __future__ import annotations

import os
import select
import signal
import socket
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.bench.table import ROOT

START_SECONDS = 30
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


@contextmanager
def serving(argv: Sequence[str], directory: Path) -> Iterator[tuple[int, int]]:
    """Run a server, pinned, with {port} in *argv* filled in; its port and process id, once it accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = ["taskset", "-c", str(SERVER_CORE), *(word.format(port=port) for word in argv)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{directory}"}
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=directory, env=environment, stdout=quiet, start_new_session=True) as process:
        try:
            wait_until_accepting(port, process.poll)
            yield port, process.pid
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # some have children of their own


def wait_until_accepting(port: int, status: Callable[[], int | None]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and status() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise RuntimeError(f"no server came up on port {port}")


class Load(NamedTuple):
    rate: float  # answers for a second of the server's processor time: what a core of its own would do
    p99: float  # seconds, by the clock


def resident(pid: int) -> int:
    """Bytes of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def processor_seconds(pid: int) -> float:
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def hammer(port: int, pid: int, request: bytes, *, connections: int, seconds: float) -> Load:
    """Each connection sends *request*, reads the whole answer, and sends it again. The load never sleeps: on a virtual
    machine, waking it would cost the server as much as a small request does."""
    poll = select.epoll()
    clients: dict[int, socket.socket] = {}
    sent_at: dict[int, float] = {}
    received: dict[int, bytes] = {}
    latencies: list[float] = []
    for _ in range(connections):
        client = socket.create_connection(("127.0.0.1", port))
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        poll.register(client, select.EPOLLIN)
        clients[client.fileno()], received[client.fileno()] = client, b""
    started = now = time.perf_counter()
    used = processor_seconds(pid)
    for fd, client in clients.items():
        sent_at[fd] = time.perf_counter()
        client.sendall(request)
    while now < started + seconds:
        for fd, _ in poll.poll(0):
            received[fd] += clients[fd].recv(65536)
            if is_whole(received[fd]):
                now = time.perf_counter()
                latencies.append(now - sent_at[fd])
                received[fd], sent_at[fd] = b"", now
                clients[fd].send(request)
    used = processor_seconds(pid) - used
    for client in clients.values():
        client.close()
    return Load(len(latencies) / used, statistics.quantiles(latencies, n=100)[98])


def is_whole(answer: bytes) -> bool:
    """An answer with a Content-Length, and a 200."""
    head, end, body = answer.partition(b"\r\n\r\n")
    if not end:
        return False
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"unexpected answer: {answer!r}")
    length = head.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    return len(body) >= int(length)
