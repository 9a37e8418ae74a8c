"""One stream of events to many readers: ours beside sse-starlette and a bare StreamingResponse, both on uvloop.

Each server has a publisher of its own, which lets its event loop turn once between two events. The peers give every
reader a queue, as their manuals have it.
"""

from __future__ import annotations

import os
import select
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.peers import LOAD_CORE, resident, serving
from tests.bench.table import Row, table

PEERS = ("fastapi", "uvicorn[standard]", "sse-starlette")
FEW, EVENTS = 100, 1000  # readers, and events to each as fast as they go
MANY, PACED, PACE_SECONDS = 1000, 30, 0.15  # readers, and events to each at a pace
ROUNDS = 3
PADDING = "x" * 150  # an event has about 200 bytes

OUR_APP = """
import sys, time
import trio
from agentd.wire import sse
from agentd.wire.feed import Feed
from agentd.wire.listeners import open_tcp_listeners
from agentd.wire.messages import Response, StreamResponse
from agentd.wire.routing import Mount, Routes
from agentd.wire.server import serve
routes = Routes()
class Source:
    def __init__(self):
        self.frames, self.over, self.callbacks = [], False, []
    def read(self, after):
        new = self.frames[after:after + 300]
        return b"".join(new), after + len(new)
    def ended(self, after):
        return self.over and after >= len(self.frames)
    def subscribe(self, callback):
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)
    def add(self, *frames):
        self.frames += frames
        for callback in self.callbacks:
            callback()
source = Source()
feed = Feed(source)
@routes.get("/events")
async def events(app, request):
    return StreamResponse(feed)
@routes.get("/go/{count}/{pace_ms}")
async def go(app, request, count: int, pace_ms: int):
    global source, feed
    for n in range(count):
        data = '{"n":%d,"at":%d,"text":"PADDING"}' % (n, time.monotonic_ns())
        source.add(sse.encode("token", data, event_id=n + 1))
        await (trio.sleep(pace_ms / 1000) if pace_ms else trio.lowlevel.checkpoint())
    source.over = True
    source.add()
    source = Source()
    feed = Feed(source)
    return Response(200, b"ok")
trio.run(serve, open_tcp_listeners("127.0.0.1", int(sys.argv[1])), [Mount(routes, None)])
"""
PEER_APP = """
import asyncio, time
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from sse_starlette.sse import EventSourceResponse
app = FastAPI()
queues = []
async def follow(make):
    queue = asyncio.Queue()
    queues.append(queue)
    while (item := await queue.get()) is not None:
        yield make(*item)
@app.get("/sse-starlette")
async def with_sse_starlette():
    return EventSourceResponse(follow(lambda n, data: {"id": str(n), "event": "token", "data": data}))
@app.get("/streaming")
async def with_streaming_response():
    frame = lambda n, data: f"id: {n}\\nevent: token\\ndata: {data}\\n\\n"
    return StreamingResponse(follow(frame), media_type="text/event-stream")
@app.get("/go/{count}/{pace_ms}")
async def go(count: int, pace_ms: int):
    for n in range(count):
        data = '{"n":%d,"at":%d,"text":"PADDING"}' % (n, time.monotonic_ns())
        for queue in queues:
            queue.put_nowait((n + 1, data))
        await asyncio.sleep(pace_ms / 1000)
    for queue in queues:
        queue.put_nowait(None)
    queues.clear()
    return PlainTextResponse("ok")
"""
OURS = "agentd"
SERVERS = {OURS: "/events", "sse-starlette": "/sse-starlette", "StreamingResponse, uvloop": "/streaming"}
FAST_TARGETS = {"sse-starlette": "≥ 8×", "StreamingResponse, uvloop": "≥ 3×"}
PACED_TARGETS = {"sse-starlette": "≤ 0.35×", "StreamingResponse, uvloop": ""}


def rows(peers: str | None) -> Iterator[Row]:
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        directory = Path(scratch)
        (directory / "ours.py").write_text(OUR_APP.replace("PADDING", PADDING))
        (directory / "peer.py").write_text(PEER_APP.replace("PADDING", PADDING))
        ports = {OURS: stack.enter_context(serving((sys.executable, "ours.py", "{port}"), directory))}
        if peers:
            uvicorn = (peers, "-m", "uvicorn", "peer:app", "--port", "{port}", "--log-level", "warning")
            shared = stack.enter_context(serving(uvicorn, directory))
            ports |= dict.fromkeys(FAST_TARGETS, shared)
        yield memory_row(*ports[OURS])
        yield from fast_rows({name: port for name, (port, _) in ports.items()})
        yield from paced_rows({name: port for name, (port, _) in ports.items()})


def fast_rows(ports: dict[str, int]) -> Iterator[Row]:
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(ROUNDS):  # in turns, so that a busy moment of the machine hits all of them
        for name, port in ports.items():
            rates[name].append(events_a_second(port, SERVERS[name]))
    best = {name: max(found) for name, found in rates.items()}
    what = f"SSE, 1 to {FEW} readers"
    if len(ports) == 1:
        yield Row(what, best[OURS], "events/s")
    for name, target in FAST_TARGETS.items() if len(ports) > 1 else ():
        yield Row(what, best[OURS], "events/s", target, name, best[name])


def paced_rows(ports: dict[str, int]) -> Iterator[Row]:
    latencies: dict[str, list[float]] = {name: [] for name in ports}
    for _ in range(ROUNDS):
        for name, port in ports.items():
            latencies[name].append(p99_latency(port, SERVERS[name]))
    best = {name: min(found) * 1000 for name, found in latencies.items()}
    what = f"SSE, 1 to {MANY} paced, p99"
    if len(ports) == 1:
        yield Row(what, best[OURS], "ms")
    for name, target in PACED_TARGETS.items() if len(ports) > 1 else ():
        yield Row(what, best[OURS], "ms", target, name, best[name])


def memory_row(port: int, pid: int) -> Row:
    """After a first crowd has come and gone, so that what a server needs once is not counted."""
    with readers(port, SERVERS[OURS], 50):
        pass
    before = resident(pid)
    with readers(port, SERVERS[OURS], MANY):
        return Row("memory per idle stream", (resident(pid) - before) / 1024 / MANY, "KiB", "≤ 12")


@contextmanager
def readers(port: int, path: str, count: int) -> Iterator[dict[int, socket.socket]]:
    """Connections whose streams have begun, by descriptor."""
    clients: dict[int, socket.socket] = {}
    for _ in range(count):
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        clients[client.fileno()] = client
    try:
        for client in clients.values():
            if not client.recv(65536).startswith(b"HTTP/1.1 200"):
                raise RuntimeError("no stream")
        yield clients
    finally:
        for client in clients.values():
            client.close()


def publish(port: int, count: int, pace_ms: int) -> socket.socket:
    trigger = socket.create_connection(("127.0.0.1", port))
    trigger.sendall(f"GET /go/{count}/{pace_ms} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return trigger


def events_a_second(port: int, path: str) -> float:
    """From the first event sent until every reader has seen the stream end."""
    with readers(port, path, FEW) as clients, select.epoll() as poll:
        for fd in clients:
            poll.register(fd, select.EPOLLIN)
        started, left = time.monotonic(), set(clients)
        with publish(port, EVENTS, 0):
            while left:
                for fd, _ in poll.poll():
                    if clients[fd].recv(262144).endswith(b"0\r\n\r\n"):
                        left.discard(fd)
                        poll.unregister(fd)
        return FEW * EVENTS / (time.monotonic() - started)


def p99_latency(port: int, path: str) -> float:
    """Of all events to all readers, from when an event was made until its reader has it; seconds."""
    latencies: list[float] = []
    with readers(port, path, MANY) as clients, select.epoll() as poll:
        for fd in clients:
            poll.register(fd, select.EPOLLIN)
        left = set(clients)
        with publish(port, PACED, round(PACE_SECONDS * 1000)):
            while left:
                for fd, _ in poll.poll():
                    data = clients[fd].recv(65536)
                    now = time.monotonic_ns()
                    made = [int(piece.partition(b",")[0]) for piece in data.split(b'"at":')[1:]]
                    latencies += [(now - at) / 1e9 for at in made]
                    if data.endswith(b"0\r\n\r\n"):
                        left.discard(fd)
                        poll.unregister(fd)
    return statistics.quantiles(latencies, n=100)[98]


def main() -> None:
    """Takes the Python of an environment with PEERS in it."""
    print(table(list(rows(sys.argv[1] if len(sys.argv) > 1 else None))), end="")


if __name__ == "__main__":
    main()
