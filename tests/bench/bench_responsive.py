"""An executor over 10 000 files in six languages: how long the longest wait for /health/live is while it indexes, asks
and searches, what the work itself takes, and what the process weighs after it."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.bench.bench_start import MIB, PYTHON, PYZ
from tests.bench.bench_symbols import FILES, plant
from tests.bench.table import Row

PAUSE_SECONDS = 0.002  # between two looks at its health
JOB_SECONDS = 300.0
TOKEN = "bench"
QUESTION = "Where are the handlers defined, and which files use them?"


def rows(_peers: str | None = None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as directory:
        repo = Path(directory, "repository")
        plant(repo)
        commit(repo)
        with executor(repo) as (pid, base):
            server = Server(base)
            yield from server.row("index them, for a class that is not there", lambda: server.post_class("No.Such"))
            yield from server.row("the same once more", lambda: server.post_class("No.Such"))
            for mode in ("ASK", "SEARCH"):
                yield from server.row(f"a question in {mode}, built-in model", partial(server.job, mode))
            yield Row("the executor after it, resident", resident(pid) / MIB, "MiB")


def commit(repo: Path) -> None:
    person = ("-c", "user.name=Bench", "-c", "user.email=bench@localhost")
    for words in (("init", "-q"), ("add", "-A"), (*person, "commit", "-q", "-m", "all")):
        subprocess.run(["git", "-C", str(repo), *words], check=True)


@contextmanager
def executor(repo: Path) -> Iterator[tuple[int, str]]:
    """Its pid and base URL."""
    words = ["--listen-addr", "127.0.0.1:0", "--workspace-dir", str(repo), "--model-alias", "any=builtin"]
    env = {**os.environ, "AUTH_TOKEN": TOKEN, "DEFAULT_SCAN_MODEL": "builtin"}
    with subprocess.Popen([PYTHON, PYZ, "executor", *words], env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        try:
            found = re.search(r"http://\S+", process.stdout.readline())
            assert found, "the executor did not start"
            yield process.pid, found[0]
        finally:
            process.terminate()


class Server:
    """One executor, seen by a client that works and by one that looks whether it is alive."""

    def __init__(self, base: str) -> None:
        self._host = urlsplit(base).netloc
        self._client = http.client.HTTPConnection(self._host, timeout=JOB_SECONDS)

    def row(self, what: str, work: Callable[[], None]) -> Iterator[Row]:
        waits: list[float] = []
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(waits, done))
        watcher.start()
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
        yield Row(f"{FILES} files: {what}", seconds * 1000, "ms")
        yield Row("  /health/live meanwhile, the longest of " + str(len(waits)), max(waits) * 1000, "ms", "≤ 50")

    def _watch(self, waits: list[float], done: threading.Event) -> None:
        connection = http.client.HTTPConnection(self._host, timeout=60)
        while not done.is_set():
            began = time.perf_counter()
            connection.request("GET", "/health/live")
            connection.getresponse().read()
            waits.append(time.perf_counter() - began)
            time.sleep(PAUSE_SECONDS)

    def post_class(self, name: str) -> None:
        self._call("POST", "/v1/context/classes", {"classNames": [name]})

    def job(self, mode: str) -> None:
        body = {"taskInput": QUESTION, "plannerModel": "any", "tags": {"mode": mode}}
        job = self._call("POST", "/v1/jobs", body)["jobId"]
        after = 0
        deadline = time.monotonic() + JOB_SECONDS
        while not self._call("GET", f"/v1/jobs/{job}")["terminal"]:
            assert time.monotonic() < deadline, f"{mode} did not end"
            page = self._call("GET", f"/v1/jobs/{job}/events?format=envelope&after={after}&wait=10")
            after = page["nextAfter"]

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {TOKEN}", "Idempotency-Key": str(uuid.uuid4())}
        self._client.request(method, path, json.dumps(body) if body is not None else None, headers)
        return json.loads(self._client.getresponse().read())


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
