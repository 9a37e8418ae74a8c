"""A session manager with 50 sessions whose jobs all run at once, and 10 readers of each job's events: what a session
costs, and how long /health/live takes meanwhile. Server, executors and readers share the machine's cores."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import trio

from agentd.wire.client import connect
from tests.bench.bench_responsive import resident
from tests.bench.bench_start import MIB, PYTHON, PYZ, tiny_repository
from tests.bench.table import Row

SESSIONS, READERS = 50, 10  # readers of each
WORDS, PAUSE_SECONDS = 40, 0.25  # of what the model says, one after another
CREATED_AT_ONCE = 8
LOOKER = """
import http.client, json, sys, threading, time
connection, waits, done = http.client.HTTPConnection(sys.argv[1], timeout=60), [], threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), done.set()), daemon=True).start()
while not done.wait(0.01):
    began = time.perf_counter()
    connection.request("GET", "/health/live")
    connection.getresponse().read()
    waits.append(time.perf_counter() - began)
print(json.dumps(waits))
"""  # in a process of its own: the readers' is busy
MASTER = "bench-master"


def rows(_peers: str | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        repo = tiny_repository(directory / "repo")
        script = [part for word in range(WORDS) for part in (f"word {word} ", {"delay_seconds": PAUSE_SECONDS})]
        (directory / "slow.json").write_text(json.dumps({"replies": [{"parts": script}]}))
        with manager(directory) as (process, base):
            yield from trio.run(Load(base, repo, process.pid).rows)


@contextmanager
def manager(directory: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    settings = {
        "AUTH_TOKEN": MASTER,
        "LISTEN_ADDR": "127.0.0.1:0",
        "POOL_SIZE": str(SESSIONS),
        "WORKTREE_BASE_DIR": str(directory / "worktrees"),
        "AGENTD_DATA_DIR": str(directory / "data"),
        "MODEL_ALIASES": f"slow=scripted:{directory / 'slow.json'}",
    }
    command, env = [PYTHON, PYZ, "manager"], {**os.environ, **settings}
    with subprocess.Popen(command, env=env, stdout=-1, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "the manager did not start"
            yield process, found[0]
        finally:
            process.terminate()


@contextmanager
def looking(base: str) -> Iterator[list[float]]:
    """Seconds that each look at /health/live took in the block; they are there behind it."""
    waits: list[float] = []
    with subprocess.Popen([PYTHON, "-c", LOOKER, urlsplit(base).netloc], stdin=-1, stdout=-1) as looker:
        yield waits
        waits += json.loads(looker.communicate()[0])


@attrs.define
class Load:
    base: str
    repo: Path
    pid: int
    creates: list[float] = attrs.field(factory=list)  # seconds each
    events: int = 0

    async def rows(self) -> list[Row]:
        began = time.perf_counter()
        sessions = await self._create_all()
        created = time.perf_counter() - began
        cpu = self._cpu_seconds()
        began = time.perf_counter()
        with looking(self.base) as waits:
            async with trio.open_nursery() as nursery:
                for session in sessions:
                    nursery.start_soon(self._job, session["token"])
            seconds = time.perf_counter() - began
        return [
            Row(f"create a session, median of {SESSIONS}", statistics.median(self.creates) * 1000, "ms"),
            Row(f"create {SESSIONS} of them, {CREATED_AT_ONCE} at a time", created * 1000, "ms"),
            Row(f"{SESSIONS} jobs, {SESSIONS * READERS} readers: events read a second", self.events / seconds, ""),
            Row("  /health/live meanwhile, median", statistics.median(waits) * 1000, "ms"),
            Row("  99th percentile", statistics.quantiles(waits, n=100)[98] * 1000, "ms"),
            Row("  of one core, used by the manager", 100 * (self._cpu_seconds() - cpu) / seconds, "%"),
            Row("  the manager, resident", resident(self.pid) / MIB, "MiB"),
        ]

    async def _create_all(self) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        limit = trio.CapacityLimiter(CREATED_AT_ONCE)

        async def create(number: int) -> None:
            async with limit:
                began = time.perf_counter()
                body = {"name": f"session {number}", "repoPath": str(self.repo)}
                made.append(await self._call("POST", "/v1/sessions", MASTER, body))
                self.creates.append(time.perf_counter() - began)

        async with trio.open_nursery() as nursery:
            for number in range(SESSIONS):
                nursery.start_soon(create, number)
        return made

    async def _job(self, token: str) -> None:
        body = {"taskInput": "Speak slowly.", "plannerModel": "slow", "tags": {"mode": "ASK"}}
        job = (await self._call("POST", "/v1/jobs", token, body))["jobId"]
        async with trio.open_nursery() as nursery:
            for _ in range(READERS):
                nursery.start_soon(self._read, job, token)

    async def _read(self, job: str, token: str) -> None:
        headers = [("Authorization", f"Bearer {token}")]
        async with (
            await connect(self.base) as client,
            client.open_stream("GET", f"/v1/jobs/{job}/events?format=sse", headers=headers) as answer,
        ):
            async for _ in answer.events():
                self.events += 1

    async def _call(self, method: str, path: str, token: str, body: Any) -> dict[str, Any]:
        headers = [("Authorization", f"Bearer {token}"), ("Idempotency-Key", str(uuid.uuid4()))]
        async with await connect(self.base) as client:
            answer = await client.request(method, path, headers=headers, body=json.dumps(body).encode())
        told: dict[str, Any] = json.loads(answer.body)
        assert answer.status == 201, told
        return told

    def _cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
