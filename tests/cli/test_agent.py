"""`agentd agent`: what a user meets. A process each, with executors of its own and the model that needs no network."""

from __future__ import annotations

import json
import re
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Daemon, Place, StartDaemon

FREE = ("--listen-addr", "127.0.0.1:0")
KEY = "my-key"


@pytest.fixture
def daemon(start: StartDaemon, tmp_path: Path) -> Daemon:
    (tmp_path / "work").mkdir()
    return start("agent", *FREE, "--agent-workspace", str(tmp_path / "work"), API_KEY=KEY)


def ask(daemon: Daemon, path: str, body: Any = None, method: str = "") -> tuple[int, Any]:
    raw = json.dumps(body).encode() if body is not None else None
    status, _, answer = daemon.ask("agent", path, method=method or ("POST" if raw else "GET"), body=raw, X_API_Key=KEY)
    return status, json.loads(answer) if answer.startswith(b"{") else answer.decode()


def until(daemon: Daemon, session: str, status: str) -> Any:
    deadline = time.monotonic() + 20
    while (record := ask(daemon, f"/api/v1/sessions/{session}")[1])["status"] != status:
        assert time.monotonic() < deadline, record
        time.sleep(0.05)
    return record


def test_it_starts_without_settings_and_keeps_a_key_that_it_never_prints(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start("agent", *FREE)
    kept = tmp_path / "data/tokens/agent"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert daemon.told == f"agentd agent: its key is in {kept}\nagentd agent listening on {daemon.address('agent')}\n"
    assert daemon.token("agent") not in daemon.told + daemon.log()
    status, _, _ = daemon.ask("agent", "/api/v1/sessions", X_API_Key=daemon.token("agent"))
    assert status == 200
    assert not (tmp_path / "data/tokens/admin").exists()


def test_a_key_that_is_given_is_used_and_stored_nowhere(daemon: Daemon, tmp_path: Path) -> None:
    assert ask(daemon, "/api/v1/sessions")[0] == 200
    assert list((tmp_path / "data/tokens").iterdir()) == []
    assert KEY not in daemon.told + daemon.log()


def test_a_query_works_in_the_workspace_and_its_session_is_there_after_a_restart(
    daemon: Daemon, start: StartDaemon, tmp_path: Path
) -> None:
    (tmp_path / "work/notes.txt").write_text("the answer is 42\n")
    status, told = ask(daemon, "/api/v1/query/single", {"prompt": "What does notes.txt say?"})
    assert (status, told["is_error"]) == (200, False)
    before = ask(daemon, f"/api/v1/sessions/{told['session_id']}")[1]
    assert daemon.stop() == 0
    again = start("agent", *FREE, API_KEY=KEY)
    assert ask(again, f"/api/v1/sessions/{told['session_id']}")[1] == before
    status, resumed = ask(again, f"/api/v1/sessions/{told['session_id']}/resume", {"prompt": "And what else is there?"})
    assert status == 200
    assert "event: done" in resumed


def begin_asking(daemon: Daemon) -> str:
    """The id of a session whose run waits for a permission; its client has left."""
    import http.client

    address = daemon.address("agent").removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=30)
    body = json.dumps({"prompt": "Run the command `echo walked`.", "detach": True})
    connection.request("POST", "/api/v1/query", body, {"X-API-Key": KEY})
    told, answer = b"", connection.getresponse()
    while b"event: question" not in told:
        line = answer.readline()
        assert line, told
        told += line
    answer.close()
    connection.close()
    found = re.search(rb'"session_id":"([0-9a-f-]{36})"', told)
    assert found
    return found[1].decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_question_survives_a_restart_and_its_answer_lets_the_run_go_on(
    daemon: Daemon, start: StartDaemon, tmp_path: Path, number: signal.Signals
) -> None:
    session = begin_asking(daemon)
    daemon.stop(number)
    again = start("agent", *FREE, "--agent-workspace", str(tmp_path / "work"), API_KEY=KEY)
    assert until(again, session, "active")["id"] == session
    [waiting] = ask(again, "/api/v1/asks")[1]["asks"]
    assert (waiting["session_id"], waiting["tool_name"]) == (session, "Bash")
    assert ask(again, f"/api/v1/sessions/{session}/answer", {"answer": "Yes, go ahead"})[0] == 200
    until(again, session, "completed")
    events = ask(again, f"/api/v1/sessions/{session}/events?after=0")[1]["events"]
    assert "walked" in json.dumps([each["data"] for each in events if each["event"] == "message"])
    assert events[-1]["data"] == {"reason": "completed"}


def test_an_executor_is_bounded_in_number_and_a_bad_bound_is_named(place: Place) -> None:
    done = place.run("agent", "--data-dir", str(place.root / "data"), *FREE, "--max-executors", "none")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("agentd agent: --max-executors (AGENTD_MAX_EXECUTORS): none is not a whole number")


def test_others_can_reach_it_only_with_a_key_and_settings_come_from_the_file(start: StartDaemon, place: Place) -> None:
    env = place.config('[agent]\nlisten = "127.0.0.1:0"\napi_keys = ["one", "two"]\nmax_body_bytes = 100\n')
    daemon = start("agent", **env)
    for key, status in (("one", 200), ("two", 200), ("three", 401)):
        assert daemon.ask("agent", "/api/v1/sessions", X_API_Key=key)[0] == status
    body = json.dumps({"prompt": "x" * 100}).encode()
    assert daemon.ask("agent", "/api/v1/query", method="POST", body=body, X_API_Key="one")[0] == 413
