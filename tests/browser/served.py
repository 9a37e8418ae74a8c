"""`agentd serve` of the built file, which a test can kill and start again, and sessions whose log a test writes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import attrs

from agentd.domain import Entry
from agentd.store.home import Home, SessionDir
from agentd.store.log import open_log

TOKEN = "the-admin-token"
SECONDS = 60.0


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@attrs.define(eq=False)
class Served:
    """*env*: what is in the daemon's environment besides a HOME of its own."""

    pyz: Path
    root: Path
    env: Mapping[str, str] = attrs.field(factory=dict)
    port: int = attrs.field(factory=free_port)
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def home(self) -> Home:
        return Home(self.root / "data")

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    def start(self) -> None:
        """Returns once requests are taken."""
        self.workspace.mkdir(exist_ok=True)
        argv = [sys.executable, str(self.pyz), "serve", "--data-dir", str(self.home.root), "--listen", self.url[7:]]
        env = {"PATH": os.environ["PATH"], "HOME": str(self.root), "AGENTD_ADMIN_TOKEN": TOKEN, **self.env}
        with (self.root / "daemon.log").open("a") as log:
            self.process = subprocess.Popen(
                [*argv, "--manager", "off", "--agent", "off"],
                env=env,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("agentd listening on"):
                return
        raise AssertionError((self.root / "daemon.log").read_text())

    def kill(self) -> None:
        """As kill -9 does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(SECONDS)
        if self.process.stdout is not None:
            self.process.stdout.close()
        self.process = None

    def run(self, spec: str) -> str:
        """The id of a run that is begun."""
        told = self.ask("POST", "/v1/runs", {"workspace_path": str(self.workspace), "spec_path": spec}, api="")
        return str(told["run_id"])

    def ask(self, method: str, path: str, body: Any = None, *, api: str = "/agentd/v1") -> Any:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            data = json.dumps(body) if body is not None else None
            connection.request(method, f"{api}{path}", data, {"Authorization": f"Bearer {TOKEN}"})
            answer = connection.getresponse()
            raw = answer.read()
        finally:
            connection.close()
        assert answer.status < 300, raw
        return json.loads(raw) if raw else None

    def session(self, *entries: Entry, title: str = "a session") -> SessionDir:
        """A session in place that has these records."""
        made = self.home.create_session("run", self.workspace, title)
        if entries:
            write(made, *entries)
        return made


def write(session: SessionDir, *entries: Entry) -> None:
    """As `agentd run` does in a process of its own. Ids of jobs are of the whole index, so they get the session's."""
    with open_log(session.log_path) as log:
        log.append([attrs.evolve(each, job=f"{session.id}-{each.job}" if each.job else None) for each in entries])


# --- Records ------------------------------------------------------------------------------------------------------


def job(prompt: str, name: str = "job-1", model: str = "test-model") -> list[Entry]:
    """A job that has begun."""
    spec = {"mode": "code", "prompt": prompt, "tools": {"permission_mode": "default"}, "face": {}}
    started = {"model": model, "resolved_model": model, "provider": "test", "tools": ["Read", "Edit", "Bash"]}
    started |= {"mcp_servers": [], "permission_mode": "default", "containment": "bwrap", "sandbox": "off"}
    created = {"spec": spec, "key": None, "payload": None, "dialect": 1}
    return [
        Entry("job.created", created, name),
        said("user", prompt, name, f"u-{name}"),
        Entry("job.started", started, name),
    ]


def said(role: str, text: str, name: str = "job-1", message: str = "m-1") -> Entry:
    content = [{"type": "text", "text": text}]
    return Entry("message", {"id": message, "role": role, "content": content, "model": None, "usage": None}, name)


def delta(text: str, name: str = "job-1", message: str = "m-1") -> Entry:
    return Entry("text.delta", {"message": message, "block": 0, "text": text}, name)


def call(tool: str, about: Mapping[str, Any], told: str, name: str = "job-1", number: int = 1) -> list[Entry]:
    """A tool call from beginning to end."""
    subject, key = str(next(iter(about.values()))), f"call-{number}"
    use = {"type": "tool_use", "id": key, "name": tool, "input": dict(about)}
    asked = {"id": f"a-{name}-{number}", "role": "assistant", "content": [use], "model": "test-model", "usage": None}
    ended = {"call": key, "name": tool, "subject": subject, "ok": True, "summary": told.split("\n")[0]}
    ended |= {"duration_ms": 120, "content": [{"type": "text", "text": told}], "artifact": None}
    return [
        Entry("message", asked, name),
        Entry("tool.started", {"call": key, "name": tool, "input": dict(about), "subject": subject}, name),
        Entry("tool.output", {"call": key, "text": told}, name),
        Entry("tool.finished", ended, name),
    ]


def usage(tokens_in: int, tokens_out: int, cost: float | None, name: str = "job-1") -> Entry:
    told = {"input_tokens": tokens_in, "output_tokens": tokens_out, "cached_tokens": 0, "cost": cost}
    return Entry("usage", told | {"model": "test-model", "provider": "test", "calls": 1}, name)


def finished(outcome: str = "completed", name: str = "job-1", message: str = "") -> Entry:
    error = {"code": "MODEL_FAILED", "message": message} if message else None
    told = {"outcome": outcome, "stop_reason": outcome, "error": error, "result": None, "turns": 3, "cost": 0.0421}
    return Entry("job.finished", told | {"duration_ms": 4210, "diff": None}, name)
