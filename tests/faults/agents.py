"""A daemon with the agent API in a process of its own, which comes and goes over one data directory; and its client."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import attrs

from agentd.wire import sse

SOURCE = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from agentd.cli import main; sys.exit(main(sys.argv[1:]))"
KEY = "the-key"
ANSWER_SECONDS = 60.0
Event = tuple[str, str, Any]  # id, name, data


def call(name: str, **call_input: Any) -> dict[str, Any]:
    """A part of a script."""
    return {"call": name, "input": call_input}


@attrs.define
class AgentSite:
    """*scripts*: the replies of models, by the names that queries have for them."""

    place: Path
    scripts: dict[str, list[Any]]
    port: int = 0

    @property
    def workspace(self) -> Path:
        return self.place / "workspace"

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[str]]:
        self.workspace.mkdir(exist_ok=True)
        for name, replies in self.scripts.items():
            (self.place / f"{name}.json").write_text(json.dumps({"replies": replies}))
        settings = {
            "API_KEY": KEY,
            "LISTEN_ADDR": "127.0.0.1:0",
            "AGENTD_DATA_DIR": str(self.place / "data"),
            "AGENTD_MAX_EXECUTORS": "20",
            "MODEL_ALIASES": ",".join(f"{name}=scripted:{self.place / name}.json" for name in self.scripts),
        }
        command, env = [sys.executable, "-c", START, "agent"], {**os.environ, **settings}
        with (
            (self.place / "log").open("a") as log,
            subprocess.Popen(
                command, cwd=self.workspace, env=env, stdout=subprocess.PIPE, stderr=log, text=True
            ) as process,
        ):
            try:
                assert process.stdout is not None
                found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", process.stdout.readline())
                assert found, (self.place / "log").read_text()[-2000:]
                self.port = int(found[1])
                yield process
            finally:
                process.kill()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)) as connection:
            raw = None if body is None else json.dumps(body)
            connection.request(method, path, raw, {"X-API-Key": KEY, "Accept": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read() or b"null")

    def get(self, path: str) -> Any:
        status, told = self.ask("GET", path)
        assert status == 200, told
        return told

    def single(self, model: str, **more: Any) -> Any:
        """The answer to a query that waits for it."""
        status, told = self.ask("POST", "/api/v1/query/single", {"prompt": "go", "model": model, **more})
        assert status == 200, told
        return told

    def events(self, session: str) -> list[Event]:
        """All that the log has, page by page."""
        events: list[Event] = []
        after = "0"
        while True:
            page = self.get(f"/api/v1/sessions/{session}/events?after={after}&limit=100")
            events += [(each["id"], each["event"], each["data"]) for each in page["events"]]
            if page["after"] == after:
                return events
            after = page["after"]

    def read(self, method: str, path: str, body: Any = None, *, last: str = "", most: int = 1 << 40) -> Iterator[Event]:
        """The events of a stream until `done`, or until its client has had *most* bytes of the answer, head and all."""
        raw = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\nAccept: text/event-stream\r\n"
        head += f"Content-Length: {len(raw)}\r\n" + (f"Last-Event-ID: {last}\r\n" if last else "") + "\r\n"
        with socket.create_connection(("127.0.0.1", self.port), ANSWER_SECONDS) as client:
            client.sendall(head.encode() + raw)
            received, decoder, told = b"", sse.Decoder(), 0
            while len(received) < most and (piece := client.recv(min(65536, most - len(received)))):
                received += piece
                body_so_far = dechunked(received)
                for event in decoder.feed(body_so_far[told:]):
                    yield event.id, event.name, json.loads(event.data)
                    if event.name == "done":
                        return
                told = len(body_so_far)


def dechunked(received: bytes) -> bytes:
    """As much of the body of a chunked answer as is there."""
    head, _, rest = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"[: len(head)]), head
    body = b""
    while b"\r\n" in rest and (size := int(rest.partition(b"\r\n")[0], 16)):
        data = rest.partition(b"\r\n")[2]
        body, rest = body + data[:size], data[size + 2 :]
    return body
