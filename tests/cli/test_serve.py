"""`agentd serve`: what a user meets. A process each."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request as URLRequest
from urllib.request import urlopen

import pytest

from agentd.cli.help import page as help_page
from agentd.daemon.settings import POOL_SIZE

if TYPE_CHECKING:
    from tests.cli.conftest import Daemon, Place, StartDaemon

FREE = ("--listen", "127.0.0.1:0", "--manager", "127.0.0.1:0", "--agent", "127.0.0.1:0")
REPO = "git init -q -b main . && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first"


@pytest.fixture
def daemon(start: StartDaemon) -> Daemon:
    return start("serve", *FREE)


def test_it_starts_without_settings_and_says_what_is_where(daemon: Daemon, tmp_path: Path) -> None:
    rows = [line.split() for line in daemon.told.splitlines()]
    [main] = [row for row in rows if row[:2] == ["main", daemon.address("main")]]
    assert {"/health", "/metrics", "/agentd/v1", "/manager", "/agent"} <= set(main)
    assert ["manager", daemon.address("manager"), "/"] in rows
    assert ["agent", daemon.address("agent"), "/"] in rows
    for name in ("admin", "manager", "agent"):
        assert [name, str(tmp_path / "data/tokens" / name)] in rows
    assert daemon.told.endswith(f"\nagentd listening on {daemon.address('main')}\n")


def test_its_tokens_are_for_their_owner_and_never_printed(daemon: Daemon, tmp_path: Path) -> None:
    for name in ("admin", "manager", "agent"):
        assert (tmp_path / "data/tokens" / name).stat().st_mode & 0o777 == 0o600
        assert daemon.token(name) not in daemon.told + daemon.log()
    assert len({daemon.token(name) for name in ("admin", "manager", "agent")}) == 3


def test_health_is_for_everybody_and_figures_for_who_has_the_token(daemon: Daemon) -> None:
    assert daemon.ask("main", "/health/live")[0] == 200
    assert json.loads(daemon.ask("main", "/health/ready")[2]) == {
        "status": "ready",
        "faces": ["main", "manager", "agent"],
    }
    assert [daemon.ask("main", "/metrics", token=token)[0] for token in ("", "wrong", daemon.token("manager"))] == [
        401
    ] * 3
    status, _, page = daemon.ask("main", "/metrics", token=daemon.token("admin"))
    assert status == 200
    shown = set(re.findall(r"^# TYPE (\S+)", page.decode(), re.MULTILINE))
    assert shown == set(re.findall(r"\b(?:agentd|process)_[a-z_]+", help_page("serve")))


def test_the_admin_api_is_for_the_admin_token(daemon: Daemon) -> None:
    assert daemon.ask("main", "/agentd/v1/sessions", token=daemon.token("manager"))[0] == 401
    assert daemon.ask("main", "/agentd/v1/sessions", token=daemon.token("admin"))[0] == 200


def test_a_face_is_at_its_own_address_and_below_its_prefix_of_the_main_one(daemon: Daemon) -> None:
    own, prefixed = daemon.ask("manager", "/health/live"), daemon.ask("main", "/manager/health/live")
    assert own[0] == prefixed[0] == 200
    assert own[2] == prefixed[2]
    assert json.loads(own[2])["poolSize"] == POOL_SIZE
    key = daemon.token("agent")
    for face, prefix in (("agent", ""), ("main", "/agent")):
        assert json.loads(daemon.ask(face, f"{prefix}/health")[2])["status"] == "ok"
        assert daemon.ask(face, f"{prefix}/api/v1/sessions", X_API_Key=key)[0] == 200
        assert daemon.ask(face, f"{prefix}/api/v1/sessions", token=daemon.token("admin"))[0] == 401


@pytest.mark.parametrize(
    ("face", "path"), [("main", "/health/live"), ("main", "/nothing"), ("manager", "/v1/sessions")]
)
def test_every_answer_has_an_id_and_keeps_the_clients(daemon: Daemon, face: str, path: str) -> None:
    assert daemon.ask(face, path)[1]["x-request-id"]
    assert daemon.ask(face, path, X_Request_Id="mine-1")[1]["x-request-id"] == "mine-1"


def test_a_page_of_somebody_elses_is_turned_away_and_a_name_of_ours_is_not(start: StartDaemon) -> None:
    daemon = start("serve", *FREE, AGENTD_ALLOWED_HOSTS="agents.example,other.example")
    hosts = {"evil.example": 403, "agents.example": 200, "other.example": 200, "localhost": 200}
    assert {host: daemon.ask("main", "/health/live", Host=host)[0] for host in hosts} == hosts


def test_tokens_that_are_given_are_used_and_stored_nowhere(start: StartDaemon, tmp_path: Path) -> None:
    daemon = start("serve", *FREE, AUTH_TOKEN="master-1", AGENTD_ADMIN_TOKEN="admin-1", API_KEY="key-1")
    assert daemon.ask("manager", "/v1/sessions", token="master-1")[0] == 200
    assert daemon.ask("main", "/metrics", token="admin-1")[0] == 200
    assert daemon.ask("agent", "/api/v1/sessions", X_API_Key="key-1")[0] == 200
    assert list((tmp_path / "data/tokens").iterdir()) == []
    assert "master-1" not in daemon.told + daemon.log()


def test_a_face_may_be_off(start: StartDaemon) -> None:
    daemon = start("serve", "--listen", "127.0.0.1:0", "--manager", "off", "--agent", "off")
    assert list(json.loads(daemon.ask("main", "/health/ready")[2])["faces"]) == ["main"]
    assert not (daemon.root / "data/tokens/manager").exists()
    assert not (daemon.root / "data/tokens/agent").exists()


def test_settings_come_from_the_file_too(start: StartDaemon, place: Place) -> None:
    env = place.config(
        '[serve]\nlisten = "127.0.0.1:0"\n[manager]\nlisten = "127.0.0.1:0"\npool_size = 3\n[agent]\nlisten = "off"\n'
    )
    daemon = start("serve", **env)
    assert json.loads(daemon.ask("manager", "/health/live")[2])["poolSize"] == 3


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "repo").mkdir()
    subprocess.run(REPO, shell=True, cwd=tmp_path / "repo", check=True)
    return tmp_path / "repo"


def open_session(daemon: Daemon, repo: Path) -> dict[str, str]:
    wanted = json.dumps({"name": "mine", "repoPath": str(repo)}).encode()
    status, _, body = daemon.ask("manager", "/v1/sessions", method="POST", body=wanted, token=daemon.token("manager"))
    assert status == 201, body
    session: dict[str, str] = json.loads(body)
    return session


def test_a_session_and_its_token_outlive_the_daemon(start: StartDaemon, repo: Path) -> None:
    first = start("serve", *FREE)
    session = open_session(first, repo)
    assert first.stop() == 0
    second = start("serve", *FREE)
    path = f"/v1/sessions/{session['sessionId']}"
    assert json.loads(second.ask("manager", path, token=second.token("manager"))[2])["name"] == "mine"
    assert second.ask("manager", "/v1/jobs/none", token=session["token"])[0] == 404
    assert second.ask("manager", path, method="DELETE", token=second.token("manager"))[0] == 204


# --- The log ------------------------------------------------------------------------------------------------------


def test_no_secret_and_nothing_that_was_asked_is_in_its_log(start: StartDaemon) -> None:
    daemon = start("serve", *FREE, "--log-format", "json", "--log-level", "debug")
    master, admin = daemon.token("manager"), daemon.token("admin")
    body = json.dumps({"name": "secret-name", "repoPath": "/secret-path", "ref": "secret-ref"}).encode()
    daemon.ask("manager", "/v1/sessions?api_key=secret-query", method="POST", body=body, token=master)
    daemon.ask("manager", "/v1/secret-route?secret-query", token="secret-wrong")
    daemon.ask("main", "/manager/v1/sessions/secret-id", method="DELETE", token=master, X_Request_Id="mine-2")
    daemon.ask("main", "/metrics", token=admin)
    assert daemon.stop() == 0
    lines = [json.loads(line) for line in daemon.log().splitlines()]
    assert not [word for word in ("secret", master, admin) if word in daemon.log()]
    [deleted] = [line for line in lines if line.get("request") == "mine-2" and line["source"] == "http"]
    assert (deleted["method"], deleted["route"], deleted["status"]) == (
        "DELETE",
        "/manager/v1/sessions/{session_id}",
        400,
    )


def test_what_only_reads_is_not_in_its_log(daemon: Daemon) -> None:
    daemon.ask("main", "/health/live")
    assert "/health/live" not in daemon.log()


# --- The end ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_and_gives_the_data_back(start: StartDaemon, number: int) -> None:
    assert start("serve", *FREE).stop(number) == 0
    assert start("serve", *FREE).stop() == 0


def test_who_follows_a_job_sees_how_it_ends_when_the_daemon_stops(daemon: Daemon, repo: Path) -> None:
    token = open_session(daemon, repo)["token"]
    task = {"taskInput": "Run the command `sleep 60`.", "plannerModel": "builtin", "tags": {"mode": "CODE"}}
    answer = daemon.ask(
        "manager", "/v1/jobs", method="POST", body=json.dumps(task).encode(), token=token, Idempotency_Key="one"
    )
    job = json.loads(answer[2])["jobId"]
    with urlopen(
        URLRequest(
            f"{daemon.address('manager')}/v1/jobs/{job}/events?format=sse", headers={"Authorization": f"Bearer {token}"}
        ),
        timeout=30,
    ) as events:
        while b"COMMAND_START" not in events.readline():
            pass
        daemon.process.send_signal(signal.SIGTERM)
        rest = events.read()  # to its end: it is not cut
    assert b'"taskInProgress","value":false' in rest
    assert daemon.process.wait(30) == 0


def test_a_second_signal_ends_it_at_once(daemon: Daemon) -> None:
    host, port = daemon.address("manager").removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as unfinished:
        head = f"POST /v1/sessions HTTP/1.1\r\nHost: x.localhost\r\nAuthorization: Bearer {daemon.token('manager')}\r\n"
        unfinished.sendall(f"{head}Content-Length: 9\r\nExpect: 100-continue\r\n\r\n".encode())
        assert unfinished.recv(100).startswith(b"HTTP/1.1 100")  # it is waited for
        daemon.process.send_signal(signal.SIGTERM)
        wait_for_line(daemon, "stopping: SIGTERM")
        assert daemon.stop() == -signal.SIGTERM


def wait_for_line(daemon: Daemon, text: str) -> None:
    while text not in daemon.log():
        assert daemon.process.poll() is None
        time.sleep(0.01)


def test_a_service_manager_is_told_when_it_is_ready_and_when_it_stops(start: StartDaemon, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "notify"))
        heard.settimeout(30)
        daemon = start("serve", *FREE, NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="60000000")
        told = {heard.recv(1000).split(b"\n")[0] for _ in range(2)}
        assert told == {b"READY=1", b"WATCHDOG=1"}
        daemon.stop()
        assert heard.recv(1000) == b"STOPPING=1"


# --- What keeps it from starting ----------------------------------------------------------------------------------


def agent_off(flags: tuple[str, ...]) -> tuple[str, ...]:
    return () if any(flag.startswith("--agent=") for flag in flags) else ("--agent=off",)


def refused(place: Place, *flags: str, **env: str) -> str:
    """The one line that it says."""
    done = place.run("serve", "--data-dir", str(place.root / "data"), *FREE[:2], *agent_off(flags), *flags, **env)
    assert (done.returncode, done.stdout) == (1, "")
    [line] = done.stderr.splitlines()
    return line.removeprefix("agentd serve: ")


def test_an_address_that_is_taken_is_named_with_its_flag(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        line = refused(place, "--manager", address)
    assert line == (
        f"cannot listen on {address}: Address already in use; "
        "end what is there, or choose another address with --manager"
    )


def test_a_second_daemon_on_the_same_data_is_told_who_has_it_since_when(daemon: Daemon, place: Place) -> None:
    said = rf"the data directory {place.root}/data is in use by process {daemon.process.pid} since \d{{4}}-\S+Z; "
    assert re.fullmatch(f"{said}end that one first, or name another directory with --data-dir", refused(place))


@pytest.mark.parametrize(
    ("flags", "env", "file", "said"),
    [
        (["--pool-size=0"], {}, "", "--pool-size (POOL_SIZE): 0 is not a whole number above 0"),
        ([], {"POOL_SIZE": "many"}, "", "--pool-size (POOL_SIZE): many is not a whole number above 0"),
        ([], {}, "[manager]\npool_size = -1", "manager.pool_size: -1 is not a whole number above 0"),
        ([], {}, "[manager]\npool_sise = 1", "manager.pool_sise: no such key; did you mean pool_size?"),
        (
            [],
            {},
            "[serve]\nx = 1",
            "serve.x: no such key; there are: listen, admin_token, runs, runs_token, cors_origins, verify_commands",
        ),
        ([], {}, "[manger]\n", "manger: no such key; did you mean manager?"),
        (["--manager=here"], {}, "", "--manager (LISTEN_ADDR): here is neither host:port nor unix:/path"),
        (["--manager-id=x"], {}, "", "--manager-id (MANAGER_ID): x is not a UUID"),
        (["--log-level=loud"], {}, "", "--log-level (AGENTD_LOG_LEVEL): loud is not debug or info or warning or error"),
        (["--runs=127.0.0.1:1"], {}, "", "--runs (AGENTD_RUNS): 127.0.0.1:1 is not on or off"),
        (["--agent=here"], {}, "", "--agent (AGENTD_AGENT_LISTEN): here is neither host:port nor unix:/path"),
        (["--max-executors=0"], {}, "", "--max-executors (AGENTD_MAX_EXECUTORS): 0 is not a whole number above 0"),
        (
            ["--agent-workspace=/nothing"],
            {},
            "",
            "--agent-workspace (AGENTD_AGENT_WORKSPACE): /nothing is no directory",
        ),
        (["--executor-command=x {argv} {who}"], {}, "", "launch template: {who} is none of"),
        (["--model-alias=x"], {}, "", "a model alias is NAME=MODEL"),
    ],
)
def test_a_setting_that_is_wrong_is_named(
    place: Place, flags: list[str], env: dict[str, str], file: str, said: str
) -> None:
    assert said in refused(place, *flags, **env, **place.config(file))


def test_a_flag_that_does_not_exist_is_a_usage_error(place: Place) -> None:
    done = place.run("serve", "--manger=off")
    assert done.returncode == 2
    assert done.stderr == "agentd serve: unknown argument: --manger; `agentd help serve` shows how it is used\n"


def test_help_is_its_page(place: Place) -> None:
    assert place.run("serve", "--help").stdout.startswith("agentd serve\n")
