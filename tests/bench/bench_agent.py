"""The agent API with a model that answers at once, beside FastAPI that does nothing but stream the same events.

The peer has no agent: no log, no process that works, no history. Latencies are medians by the clock of one client. Then
what sessions cost that nothing runs in, and a client that stops reading with 100 000 events behind it.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Entry
from agentd.store.home import Home
from agentd.store.log import open_log
from tests.bench.bench_start import MIB, PYTHON, PYZ, tiny_repository
from tests.bench.peers import resident, serving
from tests.bench.table import Row
from tests.faults.test_kill_manager import descendants

PEERS = ("fastapi", "uvicorn[standard]")
KEY, PEER = "bench-key", "FastAPI that only streams"
ROUNDS, IN_A_ROUND = 4, 8  # first events
CLIENTS, QUERIES = 8, 20  # at a time, and of each
IDLE = 100  # sessions
STALLED, LOOKS = 100_000, 500  # events behind a stalled reader, and small requests beside it
SECONDS = 120.0
PEER_APP = """
import asyncio, json, pathlib
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse
app = FastAPI()
frames = json.loads(pathlib.Path("frames.json").read_text())
async def stream():
    for frame in frames:
        yield frame
        await asyncio.sleep(0)
@app.post("/api/v1/query")
@app.post("/api/v1/sessions/{session_id}/resume")
async def query(request: Request, session_id: str = ""):
    await request.json()
    return StreamingResponse(stream(), media_type="text/event-stream")
"""


def rows(peers: str | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        tiny_repository(place / "repo")
        with ExitStack() as stack:
            ours = stack.enter_context(agent(place))
            session = ours.session()
            theirs = stack.enter_context(stub(place, peers, ours)) if peers else None
            yield from latency_rows(ours, theirs, session)
            yield from throughput_rows(ours, theirs)
            yield from idle_rows(ours)
        grow(place, session)
        with agent(place) as ours:
            yield from stalled_rows(ours, session)


# --- Servers ------------------------------------------------------------------------------------------------------


@attrs.frozen
class Server:
    port: int
    pid: int

    def query(self, path: str = "/api/v1/query", **more: Any) -> tuple[float, bytes]:
        """Seconds until the first event is there, and the whole stream. *more*: fields of the request."""
        body = json.dumps({"prompt": "go", "model": "sonnet", **more})
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            connection.connect()
            began = time.perf_counter()
            connection.request("POST", path, body, {"X-API-Key": KEY, "Content-Type": "application/json"})
            response = connection.getresponse()
            first = response.readline()
            waited = time.perf_counter() - began
            if response.status != 200:
                raise RuntimeError(f"{response.status}: {first!r}")
            return waited, first + response.read()

    def session(self) -> str:
        """A new one that has had its run."""
        found = re.search(rb'"session_id":"([^"]+)"', self.query()[1])
        if found is None:
            raise RuntimeError("the stream does not name its session")
        return found[1].decode()

    def get(self, path: str) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)) as connection:
            connection.request("GET", path, headers={"X-API-Key": KEY, "Accept": "application/json"})
            return json.load(connection.getresponse())


@contextmanager
def agent(place: Path) -> Iterator[Server]:
    (place / "script.json").write_text(json.dumps({"replies": ["All is well."] * 100}))
    settings = {
        "API_KEY": KEY,
        "LISTEN_ADDR": "127.0.0.1:0",
        "AGENTD_DATA_DIR": str(place / "data"),
        "AGENTD_AGENT_WORKSPACE": str(place / "repo"),
        "MODEL_ALIASES": f"sonnet=scripted:{place / 'script.json'}",
    }
    command, env = [PYTHON, PYZ, "agent"], {**os.environ, **settings}
    with subprocess.Popen(command, env=env, stdout=-1, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout
            found = re.search(r"http://127\.0\.0\.1:(\d+)", process.stdout.readline())
            assert found, "the agent API did not start"
            yield Server(int(found[1]), process.pid)
        finally:
            process.terminate()


@contextmanager
def stub(place: Path, peers: str, ours: Server) -> Iterator[Server]:
    """The peer, which sends what *ours* does."""
    frames = [f"{frame}\n\n" for frame in ours.query()[1].decode().split("\n\n")[:-1]]
    (place / "frames.json").write_text(json.dumps(frames))
    (place / "peer.py").write_text(PEER_APP)
    command = (peers, "-m", "uvicorn", "peer:app", "--port", "{port}", "--log-level", "warning")
    with serving(command, place) as (port, pid):
        yield Server(port, pid)


# --- Beside the stub ----------------------------------------------------------------------------------------------


def latency_rows(ours: Server, theirs: Server | None, session: str) -> Iterator[Row]:
    for what, path in (("a new session", "/api/v1/query"), ("a warm one", f"/api/v1/sessions/{session}/resume")):
        here, there = in_turns(ours, theirs, lambda server, path=path: server.query(path)[0])  # type: ignore[misc]
        yield Row(f"first event of a query, {what}", here * 1000, "ms", "", PEER, there and there * 1000)


def in_turns(ours: Server, theirs: Server | None, look: Callable[[Server], float]) -> tuple[float, float | None]:
    """Medians."""
    found: dict[Server, list[float]] = {server: [] for server in (ours, theirs) if server}
    for _ in range(ROUNDS):
        for server, looks in found.items():
            looks += [look(server) for _ in range(IN_A_ROUND)]
    medians = {server: statistics.median(looks) for server, looks in found.items()}
    return medians[ours], medians[theirs] if theirs else None


def throughput_rows(ours: Server, theirs: Server | None) -> Iterator[Row]:
    what = f"whole queries in new sessions, {CLIENTS} at a time"
    yield Row(what, queries_a_second(ours), "/s", "", PEER, queries_a_second(theirs) if theirs else None)


def queries_a_second(server: Server) -> float:
    def client() -> None:
        for _ in range(QUERIES):
            server.query()

    with ThreadPoolExecutor(CLIENTS) as pool:
        began = time.perf_counter()
        for done in [pool.submit(client) for _ in range(CLIENTS)]:
            done.result()
        return CLIENTS * QUERIES / (time.perf_counter() - began)


# --- What stays ---------------------------------------------------------------------------------------------------


def idle_rows(ours: Server) -> Iterator[Row]:
    """Of sessions that have had a run: the daemon alone, and each process that is kept for the next one."""
    before = resident(ours.pid)
    for _ in range(IDLE):
        ours.query()
    yield Row("the daemon's memory, an idle session", (resident(ours.pid) - before) / 1024 / IDLE, "KiB", "≤ 12")
    kept = [each.pid for each in descendants(ours.pid)]
    yield Row("private memory of a process that is kept for a session", median_private(kept) / MIB, "MiB")


def median_private(pids: Iterable[int]) -> float:
    """Of those that are there still."""
    found = []
    for pid in pids:
        with suppress(OSError):
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            found.append(sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_")))
    return statistics.median(found)


def grow(place: Path, session_id: str) -> None:
    """Add a run of many partial messages to a session that no daemon has."""
    with open_log(Home(place / "data").session(session_id).log_path) as log:
        run = [record for record in log.records() if record.type.startswith("job.")][-3:]
        job, message = str(uuid.uuid4()), str(uuid.uuid4())
        created, started, finished = (Entry(record.type, dict(record.data), job) for record in run)
        created.data["spec"]["face"]["partials"] = True
        log.append([created, started])
        for number in range(STALLED):
            log.append([Entry("text.delta", {"message": message, "block": 0, "text": f"word {number} "}, job)])
        log.append([finished])


def stalled_rows(ours: Server, session: str) -> Iterator[Row]:
    """What a reader costs that takes nothing, and what others wait meanwhile."""
    ours.get(f"/api/v1/sessions/{session}/events?after=0&limit=1")  # recovery is over when this is answered
    quiet = p99_look(ours)
    before = resident(ours.pid)
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.connect(("127.0.0.1", ours.port))
        head = f"GET /api/v1/sessions/{session}/events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\r\n"
        reader.sendall(head.encode())
        beside = p99_look(ours)
        grown = resident(ours.pid) - before
        if b"event: init" not in reader.recv(4096, socket.MSG_WAITALL):
            raise RuntimeError("the reader was sent nothing")
    yield Row(f"memory for a stalled reader, {STALLED:,} events", grown / MIB, "MiB", "≤ 5")
    yield Row("GET / beside it, p99", beside * 1000, "ms", "", "without it", quiet * 1000)


def p99_look(ours: Server) -> float:
    """Seconds that something small takes."""
    waits = []
    with closing(http.client.HTTPConnection("127.0.0.1", ours.port, timeout=SECONDS)) as connection:
        for _ in range(LOOKS):
            began = time.perf_counter()
            connection.request("GET", "/")
            connection.getresponse().read()
            waits.append(time.perf_counter() - began)
    return statistics.quantiles(waits, n=100)[98]
