"""The session manager of the built file, with real worktrees, executors and jobs: `agentd manager`."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.daemon.worktree_repos import git, make_repository
from tests.witness import until

SECONDS = 30.0
READERS = 100
JOB = {"taskInput": "echo one", "plannerModel": "gpt-5", "codeModel": "gpt-5"}
SLOW = JOB | {"plannerModel": "slow", "tags": {"mode": "ASK"}}


@attrs.define
class Place:
    pyz: Path
    root: Path
    port: int = 0

    @contextmanager
    def manager(self, **more: str) -> Iterator[subprocess.Popen[str]]:
        env = {
            "AUTH_TOKEN": "m",
            "LISTEN_ADDR": "127.0.0.1:0",
            "POOL_SIZE": "2",
            "WORKTREE_BASE_DIR": str(self.root / "worktrees"),
            "AGENTD_DATA_DIR": str(self.root / "data"),
            "MODEL_ALIASES": f"gpt-5=builtin,slow=scripted:{self.root / 'slow.json'}",
        }
        command = [sys.executable, str(self.pyz), "manager"]
        with (
            (self.root / "log").open("a") as log,
            subprocess.Popen(command, env={**os.environ, **env, **more}, stdout=-1, stderr=log, text=True) as process,
        ):
            try:
                assert process.stdout
                found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", process.stdout.readline())
                assert found, (self.root / "log").read_text()
                self.port = int(found[1])
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                assert process.wait(SECONDS) == 0

    def ask(self, method: str, path: str, token: str = "m", body: Any = None, key: str = "k") -> tuple[int, Any]:
        status, raw = self.fetch(method, path, token, body, key)
        return status, json.loads(raw) if raw else None

    def fetch(self, method: str, path: str, token: str, body: Any = None, key: str = "k") -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def create(self) -> dict[str, Any]:
        body = {"name": "x", "repoPath": str(self.root / "repo"), "ref": "main"}
        status, made = self.ask("POST", "/v1/sessions", body=body)
        assert status == 201, made
        return dict(made)

    def finish(self, job: str, token: str) -> dict[str, Any]:
        assert until(lambda: self.ask("GET", f"/v1/jobs/{job}", token)[1]["terminal"], SECONDS)
        return dict(self.ask("GET", f"/v1/jobs/{job}", token)[1])

    def executor(self, session: str) -> int:
        """The pid of its executor."""
        noted = json.loads((self.root / "data" / "sessions" / session / "launch.json").read_text())
        return int(noted["processes"][-1]["pid"])

    def has_crashed(self, session: str, times: int) -> bool:
        return bool(self.listed(session)["crashes"] == times)

    def listed(self, session: str) -> dict[str, Any]:
        told = self.ask("GET", "/v1/sessions")[1]["sessions"]
        return next(each for each in told if each["sessionId"] == session)


@pytest.fixture
def place(pyz: Path, tmp_path: Path) -> Place:
    make_repository(tmp_path / "repo")
    slow = {"replies": [{"parts": ["a", {"delay_seconds": 1.5}, "b"]}, "Done."]}
    (tmp_path / "slow.json").write_text(json.dumps(slow))
    return Place(pyz, tmp_path)


def test_a_session_from_its_creation_to_its_end(place: Place) -> None:
    with place.manager():
        made = place.create()
        token = made["token"]
        tree = place.root / "worktrees" / made["branch"].rpartition("/")[2]
        assert git(tree, "symbolic-ref", "--short", "HEAD") == made["branch"]
        job = place.ask("POST", "/v1/jobs", token, JOB)[1]["jobId"]
        assert place.finish(job, token)["state"] == "COMPLETED"
        assert place.fetch("GET", f"/v1/sessions/{made['sessionId']}", token)[1].startswith(b"PK")
        assert place.ask("POST", "/v1/context/text", token, {"text": "remember this"})[0] == 200
        assert len(place.ask("GET", "/v1/context", token)[1]["fragments"]) == 1
        assert git(tree, "status", "--porcelain") == ""
        assert place.ask("DELETE", f"/v1/sessions/{made['sessionId']}") == (204, None)
        assert not tree.exists()
        assert git(place.root / "repo", "for-each-ref", "--format=%(refname)") == "refs/heads/main"


def test_sessions_tokens_and_jobs_are_there_after_a_restart(place: Place) -> None:
    with place.manager():
        made = place.create()
        job = place.ask("POST", "/v1/jobs", made["token"], JOB)[1]["jobId"]
        place.finish(job, made["token"])
        before = place.listed(made["sessionId"])
    with place.manager():
        told = place.listed(made["sessionId"])
        kept = {"sessionId", "name", "repoPath", "branch", "commit", "worktree", "created"}
        assert {key: told[key] for key in kept} == {key: before[key] for key in kept}
        assert told["executor"] == "absent"
        assert place.ask("GET", f"/v1/jobs/{job}", made["token"])[1]["state"] == "COMPLETED"
        assert place.ask("POST", "/v1/jobs", made["token"], JOB) == (
            200,
            {"jobId": job, "state": "COMPLETED", "sessionId": made["sessionId"]},
        )


def test_a_job_at_work_when_the_manager_ends_was_interrupted_and_not_cancelled(place: Place) -> None:
    with place.manager():
        made = place.create()
        job = place.ask("POST", "/v1/jobs", made["token"], SLOW)[1]["jobId"]
    with place.manager():
        told = place.finish(job, made["token"])
        assert told["state"] == "FAILED"
        assert told["error"].startswith("EXECUTOR_RESTARTED")


def test_a_crashed_executor_is_launched_again_until_it_has_crashed_three_times(place: Place) -> None:
    with place.manager():
        made = place.create()
        for crash in range(1, 4):
            assert place.ask("GET", "/v1/context", made["token"])[0] == 200
            os.kill(place.executor(made["sessionId"]), signal.SIGKILL)
            assert until(partial(place.has_crashed, made["sessionId"], crash), SECONDS)
        status, told = place.ask("GET", "/v1/context", made["token"])
        assert (status, told["code"]) == (503, "SPAWN_FAILED")
        assert "killed by SIGKILL" in told["details"]
        assert place.ask("DELETE", f"/v1/sessions/{made['sessionId']}") == (204, None)


def test_a_session_at_work_is_not_idle_and_one_that_nobody_uses_is_closed(place: Place) -> None:
    with place.manager(IDLE_TIMEOUT_SECONDS="0.2", EVICTION_INTERVAL_SECONDS="0.1"):
        made = place.create()
        path = f"/v1/sessions/{made['sessionId']}"
        began = time.monotonic()
        job = place.ask("POST", "/v1/jobs", made["token"], SLOW)
        assert job[0] == 201
        assert until(lambda: place.ask("GET", path)[0] == 404, SECONDS)
        assert time.monotonic() - began > 1.5
        assert place.ask("GET", f"/v1/jobs/{job[1]['jobId']}", made["token"])[1]["code"] == "SESSION_NOT_FOUND"
        assert until(lambda: place.ask("GET", "/health/ready")[1]["activeExecutors"] == 0, SECONDS)


def test_a_hundred_readers_of_one_job_get_every_event_live(place: Place) -> None:
    streams: list[bytes] = []
    with place.manager():
        made = place.create()
        job = place.ask("POST", "/v1/jobs", made["token"], SLOW)[1]["jobId"]
        path = f"/v1/jobs/{job}/events?format=sse"
        readers = [
            threading.Thread(target=lambda: streams.append(place.fetch("GET", path, made["token"])[1]))
            for _ in range(READERS)
        ]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(SECONDS)
        _, events = place.fetch("GET", path, made["token"])
    assert len(streams) == READERS
    assert {re.sub(rb"(?m)^:.*\n\n", b"", stream) for stream in streams} == {events}


@pytest.mark.parametrize("flags", [(), ("--pool-size=0",), ("--no-such-flag",)])
def test_what_is_not_set_right_is_told_and_exits_with_1(
    place: Place, run: Callable[..., subprocess.CompletedProcess[str]], flags: tuple[str, ...]
) -> None:
    done = run(sys.executable, place.pyz, "manager", *flags)
    assert done.returncode == 1
    assert "agentd manager: " in done.stderr
