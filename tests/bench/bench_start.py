"""How long things take to start, and what they weigh: `--version`, an executor, and one whole job."""

from __future__ import annotations

import http.client
import os
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import build
from tests.bench.table import ROOT, Row

PEERS = ("fastapi", "uvicorn[standard]")
PYZ = str(ROOT / "dist" / "agentd.pyz")
PYTHON = build.BASE_PYTHON  # as a user has it: no virtual environment
RUNS = 15
SAMPLE_SECONDS = 0.002
MIB = 1 << 20
PEER_APP = """
from fastapi import FastAPI
app = FastAPI()
@app.get("/health/live")
def live():
    return {"status": "ok"}
"""


def rows(peers: str | None) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        repo = tiny_repository(directory / "repo")
        yield version_row()
        yield from executor_rows(directory, repo, peers)
        yield from job_rows(directory, repo)


def version_row() -> Row:
    ours, theirs = medians(lambda: run(PYTHON, PYZ, "--version"), lambda: run(PYTHON, "-c", "pass"))
    return Row("--version", ours * 1000, "ms", "≤ 1.25×", "python3 -c pass", theirs * 1000)


def executor_rows(directory: Path, repo: Path, peers: str | None) -> Iterator[Row]:
    ours = [PYTHON, PYZ, "executor", "--workspace-dir", str(repo), "--listen-addr", "127.0.0.1:{port}"]
    (directory / "peer.py").write_text(PEER_APP)
    theirs = [
        peers or "",
        "-m",
        "uvicorn",
        "--app-dir",
        str(directory),
        "--log-level",
        "warning",
        "--port",
        "{port}",
        "peer:app",
    ]
    if peers:
        first, second = medians(lambda: start(ours), lambda: start(theirs))
        yield Row("executor, start to first 200", first * 1000, "ms", "≤ 0.5×", "FastAPI + uvicorn", second * 1000)
    else:
        yield Row("executor, start to first 200", medians(lambda: start(ours))[0] * 1000, "ms", "≤ 150")
    with serving(ours) as (process, _):
        yield Row("executor, idle, resident", memory([process.pid], "Rss") / MIB, "MiB", "≤ 32")
        yield Row("executor, idle, private", memory([process.pid], "Private_") / MIB, "MiB", "≤ 18")


def job_rows(directory: Path, repo: Path) -> Iterator[Row]:
    job = [
        "run",
        "--repo",
        str(repo),
        "--mode",
        "code",
        "--permission-mode",
        "bypassPermissions",
        "Run the command `true`.",
    ]
    env = {**os.environ, "AGENTD_DATA_DIR": str(directory / "data")}
    command = [PYTHON, PYZ, *job]
    yield Row("one whole job, `run` to its end", medians(lambda: run(*command, env=env))[0] * 1000, "ms", "≤ 300")
    yield Row("one whole job, all processes, shared pages once", peak_memory(command, env) / MIB, "MiB", "≤ 60")


# --- Measuring ----------------------------------------------------------------------------------------------------


def medians(*actions: Callable[[], float]) -> list[float]:
    """Of the seconds that each action says it took; in turns, so that a busy moment hits all."""
    taken: list[list[float]] = [[] for _ in actions]
    for _ in range(RUNS):
        for action, times in zip(actions, taken, strict=True):
            times.append(action())
    return [statistics.median(times) for times in taken]


def run(*command: str, env: Mapping[str, str] | None = None) -> float:
    began = time.perf_counter()
    subprocess.run(command, env=env, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def start(command: Sequence[str]) -> float:
    with serving(command) as (_, seconds):
        return seconds


@contextmanager
def serving(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server that answers on a free port, put for {port} in *command*; and how long that took."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    began = time.perf_counter()
    words = [word.replace("{port}", str(port)) for word in command]
    env = {**os.environ, "AUTH_TOKEN": "bench"}
    with subprocess.Popen(words, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            while not answers(port):
                if process.poll() is not None:
                    raise RuntimeError(f"{words} ended with {process.returncode}")
            yield process, time.perf_counter() - began
        finally:
            process.terminate()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except ConnectionError:
        time.sleep(SAMPLE_SECONDS)
        return False
    finally:
        connection.close()


def peak_memory(command: Sequence[str], env: Mapping[str, str]) -> float:
    """The most bytes that a command and all its descendants have resident at one time."""
    peak = 0.0
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            peak = max(peak, memory(family(process.pid), "Pss:"))
            time.sleep(SAMPLE_SECONDS)
    return peak


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for member in found:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            found += map(int, read(children).split())
    return found


def memory(pids: Sequence[int], key: str) -> float:
    """Bytes, summed over processes, of the lines of smaps_rollup that begin with *key*."""
    lines = (line for pid in pids for line in read(Path(f"/proc/{pid}/smaps_rollup")).splitlines())
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return ""


def tiny_repository(path: Path) -> Path:
    path.mkdir()
    (path / "hello.py").write_text('def greet(name):\n    return f"Hello, {name}"\n')
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "One file"]):
        subprocess.run(["git", "-c", "user.name=b", "-c", "user.email=b@example.invalid", *words], cwd=path, check=True)
    return path
