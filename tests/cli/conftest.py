"""A language model service on a socket, and places for commands and daemons that run as processes of their own."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.sandbox.reexec import own_argv


@attrs.define
class ModelServer:
    """Speaks Chat Completions. *replies* are deltas to send, one a request; a request for the model `broke` is refused
    for want of credit."""

    url: str = ""
    models: tuple[str, ...] = ("small", "broke")
    replies: list[dict[str, Any]] = attrs.field(factory=list)
    requests: list[dict[str, Any]] = attrs.field(factory=list)
    keys: list[str] = attrs.field(factory=list)

    def says(self, text: str) -> None:
        self.replies.append({"content": text})

    def calls(self, tool: str, **arguments: Any) -> None:
        function = {"name": tool, "arguments": json.dumps(arguments)}
        self.replies.append({"tool_calls": [{"index": 0, "id": f"c{len(self.replies)}", "function": function}]})

    def answer(self, path: str, body: bytes) -> tuple[int, str, bytes]:
        if path == "/v1/models":
            return 200, "application/json", json.dumps({"data": [{"id": name} for name in self.models]}).encode()
        self.requests.append(json.loads(body))
        if self.requests[-1]["model"] == "broke":
            return 402, "application/json", b'{"error": {"message": "no credit"}}'
        delta = self.replies.pop(0)
        reason = "tool_calls" if "tool_calls" in delta else "stop"
        events = [
            {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
            {"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]},
            {"choices": [], "usage": {"prompt_tokens": 1000, "completion_tokens": 10}},
        ]
        lines = [json.dumps(event) for event in events] + ["[DONE]"]
        return 200, "text/event-stream", "".join(f"data: {line}\n\n" for line in lines).encode()


@pytest.fixture
def model_server() -> Iterator[ModelServer]:
    model = ModelServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            model.keys.append(self.headers.get("Authorization", ""))
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status, content_type, answer = model.answer(self.path, body)
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        model.url = f"http://127.0.0.1:{server.server_port}/v1"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield model
        server.shutdown()
        thread.join()


@attrs.frozen
class Place:
    """A workspace, a data directory, a configuration file, and an environment that has nothing else."""

    root: Path

    def configure(self, text: str) -> None:
        (self.root / "config.toml").write_text(text)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        verb, *rest = words
        (self.root / "repo").mkdir(exist_ok=True)
        places = ["--repo", str(self.root / "repo"), "--data-dir", str(self.root / "data")] if verb == "run" else []
        return subprocess.run(
            own_argv(verb, *places, *rest),
            env={"PATH": os.environ["PATH"], "HOME": str(self.root), **env},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def records(self, kind: str) -> list[dict[str, Any]]:
        [log] = self.root.glob("data/sessions/*/log.ndjson")
        records = map(json.loads, log.read_bytes().splitlines())
        return [record["data"] for record in records if record["type"] == kind]

    def config(self, text: str) -> dict[str, str]:
        self.configure(text)
        return {"AGENTD_CONFIG": str(self.root / "config.toml")}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


# --- Daemons ------------------------------------------------------------------------------------------------------


@attrs.define
class Daemon:
    """`agentd VERB` as a process, from its ready line on."""

    process: subprocess.Popen[str]
    told: str  # on standard output, until it was ready
    root: Path

    def address(self, face: str) -> str:
        found = re.search(rf"^{face} +(http://\S+)", self.told, re.MULTILINE) or re.search(
            r"on (http://\S+)", self.told
        )
        assert found
        return found[1]

    def token(self, name: str) -> str:
        return (self.root / "data" / "tokens" / name).read_text().strip()

    def ask(
        self, face: str, path: str, *, token: str = "", method: str = "GET", body: bytes | None = None, **fields: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, header fields by their names in lower case, and body."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection(self.address(face).removeprefix("http://"), timeout=30)
        with closing(connection):
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """The exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)

    def log(self) -> str:
        return (self.root / "stderr").read_text()


StartDaemon = Callable[..., Daemon]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartDaemon]:
    """start("serve", flag…, VARIABLE=…) starts one on free ports, below tmp_path, and waits until it is ready."""
    daemons: list[Daemon] = []

    def start(verb: str, *flags: str, **env: str) -> Daemon:
        with (tmp_path / "stderr").open("a") as stderr:
            process = subprocess.Popen(
                own_argv(verb, "--data-dir", str(tmp_path / "data"), *flags),
                env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), **env},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        daemon = Daemon(process, "", tmp_path)
        daemons.append(daemon)
        assert process.stdout
        for line in process.stdout:
            daemon.told += line
            if "listening on" in line:
                return daemon
        pytest.fail(f"it did not start: {daemon.log()}")

    yield start
    for daemon in daemons:
        with daemon.process:
            daemon.process.kill()
