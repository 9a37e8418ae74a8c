"""Small requests over kept connections: ours beside FastAPI on its two HTTP parsers, and beside hypercorn on trio.

And big bodies, in and out, of a file in memory: those need no peer.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.bench.peers import LOAD_CORE, Load, hammer, resident, serving
from tests.bench.table import Row, table

PEERS = ("fastapi", "uvicorn[standard]", "hypercorn", "trio")
CONNECTIONS = 32
ROUNDS = 12
SECONDS = 0.4  # a round, per server and request
BIG = 256 * 2**20
BIG_ROUNDS = 4

OURS = "agentd"
UVICORN = ("-m", "uvicorn", "peer:app", "--port", "{port}", "--log-level", "warning", "--no-access-log")
SERVERS = {
    "FastAPI, uvicorn[standard]": UVICORN,
    "FastAPI, uvicorn on h11": (*UVICORN, "--http", "h11", "--loop", "asyncio"),
    "FastAPI, hypercorn -k trio": ("-m", "hypercorn", "-k", "trio", "-w", "0", "-b", "127.0.0.1:{port}", "peer:app"),
}
TARGETS = dict(zip(SERVERS, ("≥ 2×", "≥ 3×", "≥ 5×"), strict=True))

OUR_APP = """
import sys
from pathlib import Path
import attrs, trio
from agentd.wire.listeners import open_tcp_listeners
from agentd.wire.messages import FileResponse, Response, json_response
from agentd.wire.routing import Mount, Routes
from agentd.wire.server import serve
from agentd.wire.typed import decode
routes = Routes()
@attrs.frozen
class Item:
    name: str
    count: int
    tags: list[str] = attrs.field(factory=list)
@routes.get("/items/{item_id}")
async def get_item(app, request, item_id: int):
    return json_response(200, {"id": item_id, "name": "a small thing", "tags": ["red", "round"]})
@routes.post("/items")
async def post_item(app, request):
    item = decode(request.body, Item)
    return json_response(200, {"id": 7, "name": item.name, "count": item.count})
@routes.put("/big", streamed=True)
async def put_big(app, request):
    Path("big").unlink()
    return Response(200, b"%d" % await request.save(Path("big")))
@routes.get("/big")
async def get_big(app, request):
    return FileResponse(Path("big"))
trio.run(serve, open_tcp_listeners("127.0.0.1", int(sys.argv[1])), [Mount(routes, None)])
"""
PEER_APP = """
from fastapi import FastAPI
from pydantic import BaseModel
app = FastAPI()
class Item(BaseModel):
    name: str
    count: int
    tags: list[str] = []
@app.get("/items/{item_id}")
async def get_item(item_id: int):
    return {"id": item_id, "name": "a small thing", "tags": ["red", "round"]}
@app.post("/items")
async def post_item(item: Item):
    return {"id": 7, "name": item.name, "count": item.count}
"""
BODY = b'{"name": "a small thing", "count": 3, "tags": ["red", "round"]}'
FIELDS = b"Host: 127.0.0.1\r\nUser-Agent: bench/1.0\r\nAccept: application/json\r\nAuthorization: Bearer 0123456789\r\n"
REQUESTS = {
    "GET": b"GET /items/42 HTTP/1.1\r\n%b\r\n" % FIELDS,
    "POST": b"POST /items HTTP/1.1\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    % (FIELDS, len(BODY), BODY),
}


def rows(peers: str | None) -> Iterator[Row]:
    os.sched_setaffinity(0, {LOAD_CORE})
    yield from big_rows()
    loads = measure(peers)
    for method in REQUESTS:
        what = f"{method}, {CONNECTIONS} connections"
        ours = loads[OURS, method]
        if peers is None:
            yield Row(what, ours.rate, "/s")
        for name in SERVERS if peers else ():
            yield Row(what, ours.rate, "/s", TARGETS[name], name, loads[name, method].rate)
        if peers:
            fastapi = next(iter(SERVERS))
            yield Row(f"{method}, p99", ours.p99 * 1000, "ms", "≤ 0.8×", fastapi, loads[fastapi, method].p99 * 1000)


def big_rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        directory = Path(scratch)
        (directory / "ours.py").write_text(OUR_APP)
        (directory / "big").touch()
        with serving((sys.executable, "ours.py", "{port}"), directory) as (port, pid):
            hammer(port, pid, REQUESTS["GET"], connections=1, seconds=0.2)  # what a server needs once is not counted
            before = resident(pid)
            rates = [(upload(port), download(port)) for _ in range(BIG_ROUNDS)]
            grown = resident(pid) - before
    yield Row("upload of a big body", max(up for up, _ in rates) / 1e6, "MB/s", "≥ 400")
    yield Row("download of a big body", max(down for _, down in rates) / 1e6, "MB/s", "≥ 900")
    yield Row("memory grown by both", grown / 2**20, "MiB", "≤ 5")


def upload(port: int) -> float:
    """Bytes a second."""
    piece = b"x" * 2**20
    with socket.create_connection(("127.0.0.1", port)) as client:
        started = time.perf_counter()
        client.sendall(b"PUT /big HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\n" % BIG)
        for _ in range(BIG // len(piece)):
            client.sendall(piece)
        client.recv(65536)
        return BIG / (time.perf_counter() - started)


def download(port: int) -> float:
    """Bytes a second."""
    buffer = bytearray(2**20)
    with socket.create_connection(("127.0.0.1", port)) as client:
        started, got = time.perf_counter(), 0
        client.sendall(b"GET /big HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        while got < BIG:
            got += client.recv_into(buffer)
        return BIG / (time.perf_counter() - started)


def measure(peers: str | None) -> dict[tuple[str, str], Load]:
    """By server and method: of many short rounds the best, which is the one that other programs disturbed least."""
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        directory = Path(scratch)
        (directory / "ours.py").write_text(OUR_APP)
        (directory / "peer.py").write_text(PEER_APP)
        commands: dict[str, tuple[str, ...]] = {OURS: (sys.executable, "ours.py", "{port}")}
        if peers:
            commands |= {name: (peers, *words) for name, words in SERVERS.items()}
        servers = {name: stack.enter_context(serving(argv, directory)) for name, argv in commands.items()}
        found: dict[tuple[str, str], list[Load]] = {}
        for _ in range(ROUNDS):
            for method, request in REQUESTS.items():
                for name, (port, pid) in servers.items():
                    load = hammer(port, pid, request, connections=CONNECTIONS, seconds=SECONDS)
                    found.setdefault((name, method), []).append(load)
        return {
            key: Load(max(load.rate for load in loads), min(load.p99 for load in loads)) for key, loads in found.items()
        }


def main() -> None:
    """Takes the Python of an environment with PEERS in it."""
    print(table(list(rows(sys.argv[1] if len(sys.argv) > 1 else None))), end="")


if __name__ == "__main__":
    main()
