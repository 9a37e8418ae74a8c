"""Executors that tests start, kill and talk to, forked off one program (harsh.py) so that each is up in a moment."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).parents[2]
READY_SECONDS, ANSWER_SECONDS, END_SECONDS = 30.0, 60.0, 30.0
TOKEN = "t"


class Died(Exception):
    """The executor was gone before it had answered."""


@attrs.frozen
class Forge:
    """Forks executors. *command* goes before the program: nsenter, setpriv."""

    process: subprocess.Popen[str]

    @classmethod
    @contextmanager
    def open(cls, *command: str) -> Iterator[Forge]:
        argv = [*command, sys.executable, "-m", "tests.faults.harsh"]
        names = {"GIT_AUTHOR_NAME": "t", "GIT_AUTHOR_EMAIL": "t@example.invalid"}
        names |= {key.replace("AUTHOR", "COMMITTER"): value for key, value in names.items()}
        env = {**os.environ, **names}
        with subprocess.Popen(
            argv, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            yield cls(process)
            process.stdin.close() if process.stdin else None

    def tell(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


@attrs.define
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@attrs.define
class Executor:
    forge: Forge
    pid: int
    address: Path
    out: Path
    code: int | None = None

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """Raises Died."""
        connection = UnixConnection(self.address)
        fields = {"Authorization": f"Bearer {TOKEN}", **{key.replace("_", "-"): text for key, text in headers.items()}}
        data = body if isinstance(body, bytes | None) else json.dumps(body)
        try:
            connection.request(method, path, data, fields)
            response = connection.getresponse()
            raw = response.read()
        except (OSError, http.client.HTTPException) as exc:
            raise Died(f"{method} {path}: {exc!r}") from exc
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json"
        return Answer(response.status, dict(response.headers), json.loads(raw) if is_json else raw)

    @contextmanager
    def stream(self, path: str) -> Iterator[http.client.HTTPResponse]:
        """Its lines, as they come."""
        connection = UnixConnection(self.address)
        with closing(connection):
            connection.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
            with connection.getresponse() as response:
                yield response

    def is_ready(self) -> bool:
        try:
            return self.ask("GET", "/health/ready").status == 200
        except Died:
            return False

    def is_alive(self) -> bool:
        if self.code is None:
            self.code = self.forge.tell(poll=self.pid)
        return self.code is None

    def kill(self) -> None:
        if self.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        give_up = time.monotonic() + END_SECONDS
        while self.is_alive():
            assert time.monotonic() < give_up, "the executor does not end"
            time.sleep(0.002)
        assert self.code is not None
        return self.code

    def said(self) -> str:
        """What it printed, warnings too."""
        return self.out.read_text()

    def wait_for_end(self, job: str) -> dict[str, Any]:
        """A job's status when it is terminal. Raises Died."""
        give_up = time.monotonic() + END_SECONDS
        while True:
            status: dict[str, Any] = self.ask("GET", f"/v1/jobs/{job}").body
            if status.get("terminal"):
                return status
            assert time.monotonic() < give_up, f"a job in limbo: {status}"
            self.ask("GET", f"/v1/jobs/{job}/events?after={1 << 40}&wait=0.05")

    def events(self, job: str, after: int = 0, wait: float = 0.0) -> list[dict[str, Any]]:
        answer = self.ask("GET", f"/v1/jobs/{job}/events?format=envelope&limit=10000&after={after}&wait={wait:g}")
        assert answer.status == 200, answer
        events: list[dict[str, Any]] = answer.body["events"]
        return events


@attrs.define
class Place:
    """Where an executor works, and how it is started there."""

    root: Path
    forge: Forge
    settings: tuple[str, ...] = ()
    home_path: Path | None = None
    workspace_path: Path | None = None
    _starts: int = 0

    @property
    def workspace(self) -> Path:
        return self.workspace_path or self.root / "workspace"

    @property
    def home(self) -> Path:
        return self.home_path or self.workspace / ".agentd"

    def start(self, *, die_at: int = 0, switch: Path | None = None, count: Path | None = None) -> Executor:
        """Raises Died if it ends before it listens."""
        self._starts += 1
        address, out = self.root / "s", self.root / f"out-{self._starts}"
        address.unlink(missing_ok=True)
        argv = ["--listen-addr", f"unix:{address}", "--auth-token", TOKEN, "--workspace-dir", str(self.workspace)]
        order = {"home": str(self.home), "die_at": die_at, "out": str(out)}
        order |= {"switch": str(switch) if switch else None, "count": str(count) if count else None}
        pid = self.forge.tell(start=[*argv, *self.settings], **order)
        executor = Executor(self.forge, pid, address, out)
        give_up = time.monotonic() + READY_SECONDS
        while not executor.is_ready():
            if not executor.is_alive():
                raise Died(executor.said())
            assert time.monotonic() < give_up, executor.said()
            time.sleep(0.002)
        return executor

    @contextmanager
    def executor(self, **how: Any) -> Iterator[Executor]:
        executor = self.start(**how)
        try:
            yield executor
        finally:
            executor.kill()


def make_repository(path: Path) -> None:
    path.mkdir(parents=True)
    (path / "a.py").write_text("class Greeter:\n    def greet(self):\n        return 'hello'\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "start"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.invalid"]
        subprocess.run(["git", "-C", str(path), *identity, *words], check=True)
