"""The built file as an MCP server, seen by the official client over both transports and in both eras of the protocol,
where that is installed: AGENTD_MCP_SERVERS, or .cache/mcp-servers, see `python3 build.py clients`. And line by line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import attrs
import pytest

from tests.conftest import ROOT
from tests.e2e.listening import listening

INSTALLED = Path(os.environ.get("AGENTD_MCP_SERVERS") or ROOT / ".cache" / "mcp-servers")
CLIENT = Path(__file__).parent / "mcp_client.py"
MODES = ("legacy", "2026-07-28")
SOURCE = "def add(a, b):\n    return a + b\n"
SECONDS = 300.0  # of patience: what runs beside may take all of the machine
WAIT = 120  # that one call waits


def make_repository(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "sums.py").write_text(SOURCE)
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t", "-C", str(place))
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "begin")):
        subprocess.run([*git, *words], check=True)
    return place


@contextmanager
def serve(pyz: Path, place: Path) -> Iterator[tuple[str, str]]:
    """The URL of /mcp and the admin token."""
    place.mkdir(parents=True, exist_ok=True)
    off = ("--manager", "off", "--agent", "off", "--runs", "off")
    data = ("--data-dir", str(place / "data"))
    with listening(pyz, "serve", "--listen", "127.0.0.1:0", *off, *data, cwd=place) as urls:
        yield f"{urls['']}/mcp", (place / "data" / "tokens" / "admin").read_text().strip()


# --- The official client ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def python() -> str:
    """Of the environment that has the client; without it the test skips, or fails with AGENTD_TEST_REQUIRE=all."""
    found = INSTALLED / "v" / "bin" / "python"
    if not any(INSTALLED.glob("v/lib/python*/site-packages/mcp")):
        give_up = pytest.fail if os.environ.get("AGENTD_TEST_REQUIRE") == "all" else pytest.skip
        give_up(f"needs the mcp package in {INSTALLED / 'v'}: python3 build.py clients")
    return str(found)


@pytest.fixture(scope="module", params=[f"{how} {mode}" for how in ("http", "stdio", "relay") for mode in MODES])
def seen(
    request: pytest.FixtureRequest, pyz: Path, python: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What the client saw: over HTTP, over stdio with no daemon there, and over stdio with one."""
    how, mode = request.param.split()
    place = tmp_path_factory.mktemp("mcp")
    repository = make_repository(place / "repository")
    own = [sys.executable, str(pyz), "mcp", "serve", "--data-dir", str(place / "data")]
    if how == "stdio":
        return talk(python, mode, repository, "stdio", *own)
    with serve(pyz, place) as where:
        return talk(python, mode, repository, *(("http", *where) if how == "http" else ("stdio", *own)))


def talk(python: str, mode: str, repository: Path, *how: str) -> dict[str, Any]:
    command = [python, str(CLIENT), mode, str(repository), *how]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr[-5000:]
    told: dict[str, Any] = json.loads(done.stdout)
    return {**told, "mode": mode}


def test_the_official_client_does_all_of_it(seen: dict[str, Any]) -> None:
    assert seen["version"] == ("2025-11-25" if seen["mode"] == "legacy" else seen["mode"])
    assert len(seen["tools"]) == 11
    assert seen["followed"]["job"]["state"] == "completed"
    assert "sums.py:1" in seen["followed"]["result"]
    assert seen["followed"]["events"][-1]["type"] == "finished"
    assert any(seen["progress"])
    assert seen["search"]["text"] == "sums.py:1:def add(a, b):"
    assert "sums.py:1: function sums.add" in seen["symbols"]["text"]
    assert seen["wrong"] == "no job nobody; list_jobs shows the jobs there are"
    assert seen["unknown"] == -32602
    assert "Where is `add` defined?" in seen["transcript"]
    assert seen["cancelled"]["job"]["state"] == "cancelled"


def test_the_official_client_settles_asks_by_a_tool_and_by_a_form(seen: dict[str, Any]) -> None:
    assert seen["waiting"]["job"]["state"] == "waiting"
    assert seen["listed"]["asks"] == seen["waiting"]["asks"]
    assert seen["answered"]["ask"]["decision"] == "allow"
    assert seen["allowed"]["job"]["state"] == "completed"
    assert "+++ b/told.txt" in seen["diff"]["diff"]
    assert len(seen["elicited"]) == 1
    assert "echo told > told.txt" in seen["elicited"][0]
    assert seen["by form"]["job"]["state"] == "completed"


# --- Line by line -------------------------------------------------------------------------------------------------


@attrs.define
class Server:
    """`agentd mcp serve` as a process, and a session with it."""

    process: subprocess.Popen[bytes]

    def ask(self, method: str, request_id: Any = 1, **params: Any) -> Any:
        self.tell(method, request_id, **params)
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def tell(self, method: str, request_id: Any = None, **params: Any) -> None:
        assert self.process.stdin
        named = {} if request_id is None else {"id": request_id}
        message = {"jsonrpc": "2.0", **named, "method": method, "params": params}
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()

    def tool(self, name: str, /, **arguments: Any) -> Any:
        return self.ask("tools/call", name, name=name, arguments=arguments)["result"]["structuredContent"]

    def rest(self) -> bytes:
        """What it says until it is over."""
        assert self.process.stdout
        return self.process.stdout.read()


@contextmanager
def stdio(pyz: Path, place: Path, *words: str) -> Iterator[Server]:
    command = [sys.executable, str(pyz), "mcp", "serve", "--data-dir", str(place / "data"), *words]
    with (
        (place / "stderr.log").open("ab") as log,
        subprocess.Popen(command, cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            server = Server(process)
            about = {"name": "test", "version": "1"}
            told = server.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=about)
            assert told["result"]["serverInfo"]["name"] == "agentd"
            server.tell("notifications/initialized")
            yield server
        finally:
            process.kill()


def sleepers(seconds: int) -> list[str]:
    """Processes that sleep so long, and executors, by what they were started as."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", str(seconds).encode()]:
            found.append(str(process))
    return found


def test_a_job_goes_on_in_the_directory_that_it_was_started_in(pyz: Path, tmp_path: Path) -> None:
    make_repository(tmp_path / "repository")
    with stdio(pyz, tmp_path, "--workspace", str(tmp_path / "repository")) as server:
        told = server.tool("start_job", prompt="Where is `add` defined?", wait_seconds=WAIT)
        assert (told["job"]["state"], told["job"]["directory"]) == ("completed", str(tmp_path / "repository"))
        assert "sums.py:1" in told["result"]


@pytest.mark.parametrize("end", ["its input is closed", signal.SIGTERM, signal.SIGKILL], ids=str)
def test_nothing_is_left_when_it_ends(pyz: Path, tmp_path: Path, end: Any) -> None:
    repository = make_repository(tmp_path / "repository")
    seconds = 86400 + os.getpid()
    with stdio(pyz, tmp_path) as server:
        prompt, more = f"Run `sleep {seconds}`", {"mode": "code", "permission_mode": "bypassPermissions"}
        told = server.tool("start_job", prompt=prompt, directory=str(repository), wait_seconds=1, **more)
        while not sleepers(seconds):
            told = server.tool("follow_job", job_id=told["job"]["job_id"], wait_seconds=1)
            assert not told["job"]["done"]
        if isinstance(end, signal.Signals):
            server.process.send_signal(end)
        else:
            assert server.process.stdin
            server.process.stdin.close()
        assert server.process.wait(SECONDS) == (-signal.SIGKILL if end == signal.SIGKILL else 0)
        assert server.rest() == b""
    wait_until_gone(seconds)
    with stdio(pyz, tmp_path) as server:
        left = server.tool("follow_job", job_id=told["job"]["job_id"], wait_seconds=WAIT)
        assert left["job"]["state"] == "interrupted"


def wait_until_gone(seconds: int) -> None:
    """Children of what was killed end by themselves, a moment later."""
    for _ in range(1200):
        if not sleepers(seconds):
            return
        subprocess.run(["sleep", "0.05"], check=True)
    raise AssertionError("it still sleeps")


def test_two_of_them_share_a_data_directory_and_one_goes_on_without_the_other(pyz: Path, tmp_path: Path) -> None:
    with stdio(pyz, tmp_path) as first, stdio(pyz, tmp_path) as second:
        job = first.tool("start_job", prompt="What is here?", wait_seconds=WAIT)["job"]["job_id"]
        assert second.tool("job_status", job_id=job)["job"]["state"] == "completed"
        assert first.process.stdin
        first.process.stdin.close()
        assert first.process.wait(SECONDS) == 0
        assert second.tool("job_status", job_id=job)["job"]["state"] == "completed"


def test_jobs_stay_with_a_daemon_when_it_ends(pyz: Path, tmp_path: Path) -> None:
    with serve(pyz, tmp_path):
        with stdio(pyz, tmp_path) as server:
            more = {"mode": "code", "permission_mode": "bypassPermissions"}
            told = server.tool("start_job", prompt="Run `sleep 3`", directory=str(tmp_path), **more)
        with stdio(pyz, tmp_path) as server:
            job = told["job"]["job_id"]
            assert server.tool("follow_job", job_id=job, wait_seconds=WAIT)["job"]["state"] == "completed"


def test_a_wrong_command_line_is_told_on_standard_error(pyz: Path, tmp_path: Path) -> None:
    for words in (("--nope", "x"), ("--workspace", str(tmp_path / "none"))):
        command = [sys.executable, str(pyz), "mcp", "serve", "--data-dir", str(tmp_path / "data"), *words]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
        assert (done.returncode, done.stdout) == (2, "")
        assert "agentd mcp serve: " in done.stderr


# --- HTTP ---------------------------------------------------------------------------------------------------------


def post(url: str, message: Any, **headers: str) -> tuple[int, Any]:
    fields = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **headers}
    asked = urllib.request.Request(url, json.dumps(message).encode(), fields)
    try:
        with urllib.request.urlopen(asked, timeout=SECONDS) as answer:
            return answer.status, json.loads(answer.read())
    except HTTPError as refused:
        return refused.code, json.loads(refused.read())


def test_pages_and_clients_without_a_token_are_refused(pyz: Path, tmp_path: Path) -> None:
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}
    with serve(pyz, tmp_path) as (url, token):
        assert post(url, message)[0] == 401
        owner = {"Authorization": f"Bearer {token}"}
        assert post(url, message, **owner, Origin="https://elsewhere.example")[0] == 403
        assert post(url, message, **owner, Host="elsewhere.example")[0] == 403
        status, told = post(url, message, **owner)
        assert (status, told["result"]["protocolVersion"]) == (200, "2025-11-25")
