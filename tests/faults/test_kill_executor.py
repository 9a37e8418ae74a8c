"""kill -9 of an executor at work, at random moments. AGENTD_FAULTS is how often; 8 times where it is not set.

Whatever the moment: the log opens again, no event that a reader had seen is missing or other than it was, events have
no gap and no repeat, the key still names the one job, and nothing that the job had started is alive two seconds later.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.witness import commands_with, until

TIMES = int(os.environ.get("AGENTD_FAULTS", "8"))
READY_SECONDS, END_SECONDS, GONE_SECONDS = 30.0, 30.0, 2.0
SOURCE = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from agentd.cli import main; sys.exit(main(sys.argv[1:]))"


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=END_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@attrs.frozen
class Bench:
    """A repository, a script that keeps a job busy, and executors that come and go over them."""

    workspace: Path
    script: Path
    address: Path

    @contextmanager
    def executor(self) -> Iterator[subprocess.Popen[str]]:
        argv = [sys.executable, "-c", START, "executor", "--listen-addr", f"unix:{self.address}", "--auth-token", "t"]
        argv += ["--workspace-dir", str(self.workspace), "--model-alias", f"busy=scripted:{self.script}"]
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert "listening on" in line, line
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def ask(self, method: str, path: str, body: Any = None, key: str = "") -> tuple[int, Any]:
        connection = UnixConnection(self.address)
        headers = {"Authorization": "Bearer t", **({"Idempotency-Key": key} if key else {})}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def read_events(self, job: str, seen: list[dict[str, Any]]) -> None:
        """Follow the job's live events into *seen* until the executor is gone."""
        connection = UnixConnection(self.address)
        with suppress(OSError, http.client.HTTPException):
            connection.request("GET", f"/v1/jobs/{job}/events?format=sse", headers={"Authorization": "Bearer t"})
            for line in connection.getresponse():
                if line.startswith(b"data: ") and line.endswith(b"\n"):
                    seen.append(json.loads(line.removeprefix(b"data: ")))  # noqa: PERF401 - seen as they come
        connection.close()

    def log_records(self) -> list[dict[str, Any]]:
        [log] = self.workspace.glob(".agentd/sessions/*/log.ndjson")
        return [json.loads(line) for line in log.read_bytes().splitlines()]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    git = ["git", "-C", str(workspace), "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "start"], check=True)
    return Bench(workspace, tmp_path / "script.json", tmp_path / "s")


def write_script(path: Path, mark: str) -> None:
    """A job of half a minute: talk, edits, commands, and a child that leaves its session and its parent behind."""
    stray = f"setsid sh -c 'exec -a {mark} sleep 300' >/dev/null 2>&1 & "
    command = f"{stray} for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.01; done"
    step = [
        {
            "parts": [
                "Some words of the model. " * 20,
                {"delay_seconds": 0.02},
                "And more.",
                call("Bash", command=command),
            ]
        },
        {"parts": [call("Write", file_path="notes.txt", content=mark), call("Read", file_path="notes.txt")]},
    ]
    path.write_text(json.dumps({"replies": [*step * 60, "Done."]}))


def call(name: str, **call_input: Any) -> dict[str, Any]:
    return {"call": name, "input": call_input}


@pytest.mark.parametrize("time_no", range(TIMES))
def test_a_killed_executor_loses_nothing_and_leaves_nothing(
    bench: Bench, require: Callable[[str], str], time_no: int
) -> None:
    require("bwrap")  # without it, what a killed executor leaves behind is swept at the next start at the earliest
    mark = f"agentd-test-{uuid.uuid4().hex}"
    write_script(bench.script, mark)
    body = {"taskInput": "Be busy.", "plannerModel": "busy", "codeModel": "busy", "tags": {"mode": "CODE"}}
    seen: list[dict[str, Any]] = []
    with bench.executor() as process:
        status, made = bench.ask("POST", "/v1/jobs", body, key=mark)
        assert status == 201
        reader = threading.Thread(target=bench.read_events, args=(made["jobId"], seen))
        reader.start()
        time.sleep(random.Random(f"{time_no} of {TIMES}").uniform(0.0, 1.2))
        process.send_signal(signal.SIGKILL)
        reader.join(END_SECONDS)
    assert until(lambda: not commands_with(mark), GONE_SECONDS), commands_with(mark)
    with bench.executor():
        assert bench.ask("POST", "/v1/jobs", body, key=mark)[1]["jobId"] == made["jobId"]
        status, job = bench.ask("GET", f"/v1/jobs/{made['jobId']}")
        assert status == 200
        events = bench.ask("GET", f"/v1/jobs/{made['jobId']}/events?format=envelope&limit=10000")[1]["events"]
    assert job["state"] == "FAILED"
    assert "EXECUTOR_RESTARTED" in job["error"]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[: len(seen)] == seen
    assert [record["pos"] for record in bench.log_records()] == list(range(1, len(bench.log_records()) + 1))
