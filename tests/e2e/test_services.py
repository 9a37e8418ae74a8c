"""The built file with a model service: `run` and `executor` find it by the variables that everybody sets."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import attrs
import pytest

from tests.modelserver import (
    MODEL,
    PROTOCOLS,
    ModelServer,
    ProtocolName,
    Strike,
    Turn,
    call,
    document,
    error,
    model_server,
)
from tests.wire.stranger import Link

Run = Callable[..., subprocess.CompletedProcess[str]]

KEY = "sk-e2e-0123456789abcdef"
SECONDS = 30.0
LOOK = Turn("I will look.", calls=(call("Read", file_path="x.py"), call("Grep", pattern="foo")))
EDIT = Turn(calls=(call("Edit", file_path="x.py", old_string="foo", new_string="bar"),))
LEAK = Turn(calls=(call("Bash", command="env; cat /proc/$PPID/environ /proc/self/environ | tr '\\0' '\\n'"),))

pytestmark = pytest.mark.parametrize("protocol", PROTOCOLS)


@attrs.frozen
class Place:
    """A repository, and the command that works in it with a server's models."""

    pyz: Path
    repo: Path
    data: Path
    env: Mapping[str, str]

    def argv(self, *words: str) -> list[str]:
        return ["python3", str(self.pyz), "run", "--repo", str(self.repo), "--data-dir", str(self.data), *words]

    def environment(self, server: ModelServer) -> dict[str, str]:
        variable = server.protocol.upper()
        return {**self.env, f"{variable}_BASE_URL": server.base_url, f"{variable}_API_KEY": KEY}

    def run(self, server: ModelServer, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*words),
            env=self.environment(server),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )

    def code(self, server: ModelServer, *words: str) -> subprocess.CompletedProcess[str]:
        return self.run(server, "--mode", "code", "--permission-mode", "bypassPermissions", *words)

    @property
    def session(self) -> Path:
        [session] = (self.data / "sessions").iterdir()
        return session

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self.session / "log.ndjson").read_bytes().splitlines()]


@pytest.fixture
def place(pyz: Path, bare: Mapping[str, str], run: Run, tmp_path: Path) -> Place:
    repo = tmp_path / "repo"
    repo.mkdir()
    (repo / "x.py").write_text("foo = 1\n")
    author = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "start"]):
        assert run("git", *words, cwd=repo).returncode == 0
    return Place(pyz, repo, tmp_path / "data", bare)


def refuse(protocol: ProtocolName) -> Strike:
    async def strike(link: Link, events: list[bytes]) -> None:
        await link.send(document(401, error(protocol, "authentication_error", f"Incorrect API key provided: {KEY}")))

    return strike


async def hang(link: Link, events: list[bytes]) -> None:
    await link.is_hung_up_on()


def test_a_question_is_answered_by_the_service(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, LOOK, Turn("foo is set at x.py:1.")) as server:
        done = place.run(server, "Where is foo set?")
    assert (done.returncode, done.stdout) == (0, "foo is set at x.py:1.\n"), done.stderr
    assert server.problems == []
    field = "authorization" if protocol == "openai" else "x-api-key"
    assert [seen.headers[field].removeprefix("Bearer ") for seen in server.seen] == [KEY, KEY]


def test_an_edit_is_made_and_a_session_goes_on(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, LOOK, EDIT, Turn("It is bar now."), Turn("Quite sure.")) as server:
        done = place.code(server, "Rename foo.")
        assert (done.returncode, "+bar = 1" in done.stdout) == (0, True), done.stderr
        assert place.run(server, "--resume", place.session.name, "Sure?").stdout == "Quite sure.\n"
    assert (place.repo / "x.py").read_text() == "bar = 1\n"
    assert server.problems == []
    assert "It is bar now." in server.seen[-1].body.decode()


def test_a_model_is_named_by_its_service(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol) as server:
        assert place.run(server, "--model", f"{protocol}/{MODEL}", "Hello?").returncode == 0
        assert place.run(server, "--model", "gpt-nothing", "Hello?").returncode == 3
    assert len(server.seen) == 1


def test_no_command_sees_the_key_and_no_file_has_it(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, LEAK) as server:
        done = place.code(server, "Tell me the key.")
    assert done.returncode == 0
    assert "PATH=" in server.seen[-1].body.decode()
    files = [path.read_bytes() for path in place.data.rglob("*") if path.is_file()]
    for text in (server.seen[-1].body, done.stdout.encode(), done.stderr.encode(), *files):
        assert KEY.encode() not in text


def test_a_key_that_is_refused_is_told_without_it(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, refuse(protocol)) as server:
        done = place.run(server, "Hello?")
    assert done.returncode not in (0, 2)
    assert place.records[-1]["data"]["error"]["code"] == "PROVIDER_AUTH_FAILED"
    assert "API key" in done.stdout + done.stderr
    assert KEY not in done.stdout + done.stderr


def test_ctrl_c_ends_a_call_that_hangs_and_the_session_goes_on(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, hang) as server:
        with subprocess.Popen(
            place.argv("Hello?"), env=place.environment(server), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            wait_until(lambda: server.seen)
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert place.run(server, "--resume", place.session.name, "Still there?").returncode == 0
    assert "Hello?" in server.seen[-1].body.decode()


def test_an_executor_uses_the_service(place: Place, protocol: ProtocolName) -> None:
    with model_server(protocol, LOOK, EDIT, Turn("It is bar now.")) as server, executor(place, server) as ask:
        body = {"plannerModel": MODEL, "codeModel": MODEL, "taskInput": "Rename foo.", "tags": {"mode": "CODE"}}
        job = ask("POST", "/v1/jobs", body)["jobId"]
        wait_until(lambda: ask("GET", f"/v1/jobs/{job}")["state"] not in ("QUEUED", "RUNNING"))
        assert ask("GET", f"/v1/jobs/{job}")["state"] == "COMPLETED"
    assert (place.repo / "x.py").read_text() == "bar = 1\n"


# --- Helpers ------------------------------------------------------------------------------------------------------


def wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def executor(place: Place, server: ModelServer) -> Iterator[Callable[..., Any]]:
    """One that serves the repository, and what asks it."""
    command = [
        "python3",
        str(place.pyz),
        "executor",
        "--listen-addr",
        "127.0.0.1:0",
        "--workspace-dir",
        str(place.repo),
    ]
    env = {**place.environment(server), "AUTH_TOKEN": "token"}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = urlsplit(process.stdout.readline().split()[-1])

        def ask(method: str, path: str, body: object = None) -> Any:
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=SECONDS)
            headers = {"Authorization": "Bearer token", "Idempotency-Key": "one"}
            connection.request(method, path, json.dumps(body) if body else None, headers)
            try:
                return json.loads(connection.getresponse().read())
            finally:
                connection.close()

        try:
            yield ask
        finally:
            process.terminate()
