"""`agentd ctl`: what each command asks, what it prints, and how it ends. A daemon that is none answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.cli.ctl import COMMANDS, main
from agentd.cli.ctlcompletion import bash, firsts, fish
from agentd.cli.help import page
from agentd.daemon.announced import announce, find_daemon
from agentd.sandbox.reexec import own_argv
from agentd.store.home import Home

OK = {"ok": True}
RUN, CHAT = "run_20260102t081717z_aaaaaaaaaaaaaaaa", "sess_20260102t081717z_aaaaaaaaaaaaaaaa"
UUID = "00000000-0000-0000-0000-000000000001"


class Streams(list[str]):
    """What a stream says each time that it is asked for."""


@attrs.define
class FakeDaemon:
    """Answers with *answers*, by method and path."""

    url: str = ""
    answers: dict[str, Any] = attrs.field(factory=dict)
    asked: list[tuple[str, Any]] = attrs.field(factory=list)
    tokens: list[str] = attrs.field(factory=list)
    resumed: list[str] = attrs.field(factory=list)


@pytest.fixture
def daemon() -> Iterator[FakeDaemon]:
    fake = FakeDaemon()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = f"{self.command} {self.path}"
            fake.asked.append((asked, json.loads(body) if body else None))
            fake.tokens.append(self.headers.get("Authorization", ""))
            answer = fake.answers.get(asked, (404, {"error": "unknown endpoint"}))
            if isinstance(answer, Streams):
                return self.stream(answer)
            status, told = answer if isinstance(answer, tuple) else (200, answer)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(told if isinstance(told, bytes) else json.dumps(told).encode())
            return None

        do_POST = do_DELETE = do_GET  # noqa: N815

        def stream(self, pieces: Streams) -> None:
            fake.resumed.append(self.headers.get("Last-Event-ID", ""))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(pieces.pop(0).encode() if pieces else b"")

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        fake.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield fake
        server.shutdown()
        thread.join()


Ctl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ctl(daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ctl:
    """ctl(word…) is the exit code, and what was printed."""
    for name in ("HARNESS_AUTH_TOKEN", "AGENTD_ADMIN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AGENTD_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("HARNESS_URL", daemon.url)
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(words))
        told = capsys.readouterr()
        return status, told.out, told.err

    return call


# --- What is asked ------------------------------------------------------------------------------------------------

POLICY = {"require_tools": False, "require_vision": False, "max_cost_usd": 5, "preferred_models": []}
ASKS = {"items": [{"id": UUID, "state": "open"}], "next": None}


@pytest.mark.parametrize(
    ("words", "asked", "body", "answer", "printed"),
    [
        (["run", "--spec", "s.md"], "POST /v1/runs", {"workspace_path": "{here}", "spec_path": "{here}/s.md"},
         {"run_id": RUN}, RUN),
        (["approve", RUN, "--step", "s1"], f"POST /v1/runs/{RUN}/approve", {"step_id": "s1"}, OK, "ok"),
        (["--step", "s1", "approve", RUN], f"POST /v1/runs/{RUN}/approve", {"step_id": "s1"}, OK, "ok"),
        (["cancel", RUN], f"POST /v1/runs/{RUN}/cancel", None, OK, "ok"),
        (["cancel", CHAT], f"POST /v1/sessions/{CHAT}/cancel", None, OK, "ok"),
        (["cancel", UUID], f"POST /agentd/v1/sessions/{UUID}/cancel", None, {"job_id": None}, "ok"),
        (["spec", "prompt", "new", "--prompt", "Do it.", "--workspace", "w", "--overwrite", "--print"],
         "POST /v1/specs/generate",
         {"workspace_path": "{here}/w", "spec_name": "new", "prompt": "Do it.", "overwrite": True},
         {"spec_path": "/p", "content": "# Goal\n"}, "/p\n# Goal"),
        (["list"], "GET /v1/runs", None, [{"id": RUN, "status": "queued", "spec_path": "s.md"}],
         f"{RUN}  queued              s.md"),
        (["session", "new", "--system", "Be brief.", "--mode", "spec"], "POST /v1/sessions",
         {"workspace_path": "{here}", "system_prompt": "Be brief.", "mode": "spec", "spec_path": ""},
         {"session_id": CHAT, "spec_path": ""}, CHAT),
        (["session", "message", CHAT, "--text", "Hi", "--ref", "attachments/a.png", "--mime", "image/png",
          "--no-auto-run"], f"POST /v1/sessions/{CHAT}/messages",
         {"role": "user", "auto_run": False, "parts": [
             {"type": "text", "text": "Hi"},
             {"type": "image", "ref": "attachments/a.png", "mime_type": "image/png"}]},
         {"message_id": "msg_1", "turn_id": "turn_1"}, "msg_1 turn_1"),
        (["session", "approve", CHAT, "--call", "c1", "--deny", "--reason", "no"], f"POST /v1/sessions/{CHAT}/approve",
         {"tool_call_id": "c1", "turn_id": "", "action": "deny", "reason": "no"}, OK, "ok"),
        (["session", "cancel", CHAT], f"POST /v1/sessions/{CHAT}/cancel", None, OK, "ok"),
        (["session", "retry", CHAT, "turn_1"], f"POST /v1/sessions/{CHAT}/turns/turn_1/retry", None, OK, "ok"),
        (["session", "mode", CHAT, "spec"], f"POST /v1/sessions/{CHAT}/mode", {"mode": "spec", "spec_path": ""},
         {"mode": "spec", "spec_path": "/s.md"}, "spec /s.md"),
        (["gc", "--dry-run"], "POST /agentd/v1/gc", {"dry_run": True}, {"items": []}, "nothing is left over"),
        (["token", "new", "--scope", "viewer,approver", "--name", "me"], "POST /agentd/v1/tokens",
         {"scope": ["viewer", "approver"], "name": "me", "roots": []}, {"token": "agentd_x"}, "agentd_x"),
        (["token", "revoke", "t1"], "DELETE /agentd/v1/tokens/t1", None, b"", "ok"),
        (["diff", UUID], f"GET /agentd/v1/sessions/{UUID}/diff", None, b"+a\n", "+a"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) and value and isinstance(value[0], str) else None,
)  # fmt: skip
def test_a_command_is_one_request(
    ctl: Ctl, daemon: FakeDaemon, tmp_path: Path, words: list[str], asked: str, body: Any, answer: Any, printed: str
) -> None:
    daemon.answers[asked] = answer
    assert ctl(*words) == (0, f"{printed}\n", "")
    wanted = None if body is None else json.loads(json.dumps(body).replace("{here}", str(tmp_path)))
    assert daemon.asked == [(asked, wanted)]


def test_a_policy_is_changed_where_it_is_said_and_else_stays(ctl: Ctl, daemon: FakeDaemon) -> None:
    daemon.answers |= {"GET /v1/model-policy": POLICY, "POST /v1/model-policy": POLICY}
    assert ctl("policy", "--set", "max_cost_usd=", "--set", "preferred_models=a:b, c")[0] == 0
    assert daemon.asked[-1][1] == POLICY | {"max_cost_usd": None, "preferred_models": ["a:b", "c"]}
    assert ctl("policy", "--set", "nothing=1")[0] == 2


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (["approve", "00000000"], {"decision": "allow"}),
        (["deny", UUID, "--reason", "no"], {"decision": "deny", "text": "no"}),
        (["answer", UUID, "blue"], {"decision": "answer", "text": "blue"}),
    ],
)
def test_what_waits_is_decided_by_its_id_or_how_that_begins(
    ctl: Ctl, daemon: FakeDaemon, words: list[str], body: Any
) -> None:
    daemon.answers |= {"GET /agentd/v1/asks?limit=500": ASKS, f"POST /agentd/v1/asks/{UUID}": {}}
    assert ctl(*words) == (0, "ok\n", "")
    assert daemon.asked[-1] == (f"POST /agentd/v1/asks/{UUID}", body)


def test_an_upload_says_what_it_is_by_its_name(ctl: Ctl, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "ui.png").write_bytes(b"\x89PNG")
    daemon.answers[f"POST /v1/sessions/{CHAT}/attachments"] = {"ref": "attachments/ui.png", "mime_type": "image/png"}
    assert ctl("session", "attach", CHAT, "--file", "ui.png")[:2] == (0, "attachments/ui.png image/png\n")
    assert daemon.asked[0][1] == {"name": "ui.png", "mime_type": "image/png", "content_base64": "iVBORw=="}


def test_an_export_is_the_bytes_that_came(ctl: Ctl, daemon: FakeDaemon, tmp_path: Path) -> None:
    daemon.answers[f"GET /v1/runs/{RUN}/export"] = b"PK\x00\xff"
    assert ctl("export", RUN, "--out", "r.zip")[:2] == (0, "wrote r.zip\n")
    assert (tmp_path / "r.zip").read_bytes() == b"PK\x00\xff"


# --- Streams ------------------------------------------------------------------------------------------------------


def event(number: int, kind: str, message: str = "") -> str:
    told = {"ts": "2026-01-02T08:17:17.000000Z", "run_id": RUN, "type": kind} | (
        {"message": message} if message else {}
    )
    return f"event: message\ndata: {json.dumps(told)}\nid: {number}\n\n: keep-alive\n\n"


@pytest.mark.parametrize(("end", "status"), [("run_succeeded", 0), ("run_failed", 1), ("run_canceled", 1)])
def test_a_run_is_followed_to_its_end(ctl: Ctl, daemon: FakeDaemon, end: str, status: int) -> None:
    daemon.answers[f"GET /v1/runs/{RUN}/events"] = Streams([event(1, "log", "two\nlines") + event(2, end)])
    at = "2026-01-02T08:17:17.000000Z"
    assert ctl("attach", RUN) == (status, f"{at}  {'log':<22}  two lines\n{at}  {end:<22}  -\n", "")


def test_a_stream_that_breaks_off_is_taken_up_where_it_did(
    ctl: Ctl, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentd.cli.ctlclient.AGAIN_SECONDS", 0.0)
    daemon.answers[f"GET /v1/runs/{RUN}/events"] = Streams(
        [event(1, "log") + "event: mess", "", event(2, "run_succeeded")]
    )
    status, out, _ = ctl("--json", "attach", RUN)
    assert (status, [json.loads(line)["type"] for line in out.splitlines()]) == (0, ["log", "run_succeeded"])
    assert daemon.resumed == ["", "1", "1"]


# --- How it ends --------------------------------------------------------------------------------------------------


def test_what_the_daemon_refuses_is_shown_as_it_said_it(ctl: Ctl, daemon: FakeDaemon) -> None:
    daemon.answers[f"POST /v1/runs/{RUN}/cancel"] = (404, {"error": "run not found\x1b[2J"})
    status, out, err = ctl("cancel", RUN)
    assert (status, out) == (1, "")
    assert err == 'error: http 404: {"error": "run not found\\u001b[2J"}\n'


def test_without_a_daemon_it_is_said_how_to_start_one(ctl: Ctl) -> None:
    status, _, err = ctl("list", "--url", "http://127.0.0.1:1")
    assert status == 1
    assert err == (
        "error: no daemon listens at http://127.0.0.1:1; start one with `agentd serve`, or name another with --url\n"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "no such command: lst; did you mean list?"),
        (["session"], "session wants one of: session new,"),
        (["attach"], "it is used so: agentd ctl attach RUN"),
        (["attach", "a", "b"], "it is used so: agentd ctl attach RUN"),
        (["run"], "--spec is needed"),
        (["list", "--foo"], "unknown argument: --foo"),
        (["session", "message", CHAT], "--text or --ref is needed"),
        (["list", "--url", "nowhere"], "nowhere is no address"),
        (["completion", "csh"], "csh: it is one of bash, zsh, fish"),
    ],
)
def test_a_wrong_command_line_is_exit_code_2(ctl: Ctl, words: list[str], said: str) -> None:
    status, out, err = ctl(*words)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {said}")


def test_help_needs_no_daemon_and_loads_none_of_what_is_slow() -> None:
    program = "import sys; from agentd.cli import main; main(['ctl', '--help']); print(*sorted(sys.modules))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    loaded = set(out.splitlines()[-1].split())
    assert out.startswith("agentd ctl\n")
    assert not loaded & {"trio", "attr", "cattrs", "http.client", "ssl", "asyncio"}


def test_every_command_is_in_the_manual() -> None:
    manual = page("ctl")
    assert [name for name in COMMANDS if not all(word in manual for word in name.split())] == []


def test_help_of_a_command_says_how_it_is_used(ctl: Ctl) -> None:
    assert ctl("attach", "--help") == (0, "agentd ctl attach RUN\n", "")


def test_it_is_the_same_program_under_the_name_agentctl(tmp_path: Path) -> None:
    (tmp_path / "agentctl").symlink_to(Path(__file__).parents[2] / "agentd/__main__.py")
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "agentctl"), "--help"], capture_output=True, text=True, env=env
    )
    assert done.stdout.startswith("agentd ctl\n"), done.stderr


# --- Tokens -------------------------------------------------------------------------------------------------------


def test_the_token_of_the_data_directory_goes_to_the_daemon_there_alone(
    ctl: Ctl, daemon: FakeDaemon, tmp_path: Path
) -> None:
    home = Home(tmp_path / "data")
    daemon.answers["GET /v1/runs"] = []
    with home.lock():
        (home.tokens_path / "admin").write_text("the-admin-token\n")
        tokens = {"admin": str(home.tokens_path / "admin")}
        with announce(home.root, daemon.url, tokens):
            assert ctl("list")[0] == 0
        with announce(home.root, "http://127.0.0.1:1", tokens):
            assert ctl("list")[0] == 0  # HARNESS_URL names another
    assert daemon.tokens == ["Bearer the-admin-token", ""]


def test_each_api_gets_its_own_token(ctl: Ctl, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_AUTH_TOKEN", "of-runs")
    monkeypatch.setenv("AGENTD_ADMIN_TOKEN", "of-the-admin")
    daemon.answers |= {"GET /v1/runs": [], "GET /agentd/v1/tokens": {"items": [], "next": None}}
    ctl("list")
    ctl("token", "list")
    ctl("list", "--token", "mine")
    assert daemon.tokens == ["Bearer of-runs", "Bearer of-the-admin", "Bearer mine"]


def test_what_a_daemon_left_that_was_killed_says_nothing(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.lock(), announce(home.root, "http://127.0.0.1:1", {}):
        assert find_daemon(home.root) is not None
        left = (home.root / "serve.json").read_bytes()
    assert find_daemon(home.root) is None
    for changed in ({"pid": 1}, {"process": "another boot 1"}):  # its id is somebody else's now
        with home.lock():
            (home.root / "serve.json").write_text(json.dumps(json.loads(left) | changed))
            assert find_daemon(home.root) is None


# --- Files --------------------------------------------------------------------------------------------------------


def test_a_workspace_is_begun_and_nothing_is_overwritten(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "AGENTS.md").write_text("mine")
    status, out, _ = ctl("init")
    assert (status, out.splitlines()[0], out.splitlines()[-1]) == (
        0,
        "[init] exists, skipping: AGENTS.md",
        "[init] done",
    )
    assert (tmp_path / "AGENTS.md").read_text() == "mine"
    for name in ("docs/diagrams/README.md", "docs/diagrams/sample.mmd", "specs/README.md", "specs/example/spec.md"):
        assert (tmp_path / name).is_file()
    ctl("init", "--force")
    assert (tmp_path / "AGENTS.md").read_text() != "mine"


def test_a_new_spec_is_left_alone_when_it_is_there(ctl: Ctl, tmp_path: Path) -> None:
    assert ctl("spec", "new", "a-b") == (0, "[spec] created: specs/a-b/spec.md\n", "")
    assert (tmp_path / "specs/a-b/diagrams/diagram.mmd").is_file()
    (tmp_path / "specs/a-b/spec.md").write_text("mine")
    assert ctl("spec", "new", "a-b") == (0, "[spec] exists: specs/a-b/spec.md\n", "")
    assert (tmp_path / "specs/a-b/spec.md").read_text() == "mine"
    assert ctl("spec", "new", "../x")[0] == 2


def test_the_doctor_looks_for_programs_and_for_the_daemon(ctl: Ctl, daemon: FakeDaemon) -> None:
    daemon.answers["GET /health/ready"] = {"status": "ready"}
    status, out, _ = ctl("doctor")
    assert status == 0
    assert [line.split()[1] for line in out.splitlines()] == ["git", "rg", "mmdc", "awsdac", "daemon"]
    assert ctl("doctor", "--url", "http://127.0.0.1:1")[0] == 1


# --- Completion ---------------------------------------------------------------------------------------------------


def complete(*words: str) -> Sequence[str]:
    """What bash offers for the last of *words*."""
    line = " ".join(f"'{word}'" for word in words)
    script = (
        f"{bash()}\nCOMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _agentctl; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout.split()


def test_bash_completes_commands_and_flags() -> None:
    assert complete("agentctl", "sess") == ["session", "sessions"]
    assert complete("agentctl", "session", "re") == ["retry"]
    assert complete("agentctl", "session", "new", "--sy") == ["--system"]
    assert complete("agentd", "ctl", "run", "--sp") == ["--spec"]


def test_fish_is_told_every_first_word() -> None:
    told = fish()
    assert all(f" -a {word} " in told for word in firsts())


# --- With a daemon that is one ------------------------------------------------------------------------------------


def test_a_spec_is_written_carried_out_and_looked_at(start: Any, tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    served = start("serve", "--listen", "127.0.0.1:0", "--manager", "off", "--agent", "off")
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "AGENTD_DATA_DIR": str(tmp_path / "data")}

    def ctl(*words: str, status: int = 0) -> str:
        done = subprocess.run(
            own_argv("ctl", *words), env=env, cwd=repo, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == status, done.stderr
        return done.stdout.strip()

    path = ctl("spec", "prompt", "clean", "--prompt", "Clean up.\n\n1. Run `rm -rf build`.")
    assert Path(path) == repo / "specs/clean/spec.md"
    run = ctl("run", "--spec", path)
    with subprocess.Popen(own_argv("ctl", "attach", run), env=env, stdout=subprocess.PIPE, text=True) as waiting:
        assert waiting.stdout
        assert any("approval_requested" in line for line in waiting.stdout)
        [ask] = json.loads(ctl("--json", "asks"))["items"]
        assert ctl("approve", ask["id"]) == "ok"
        assert "run_succeeded" in waiting.stdout.read()
    assert waiting.returncode == 0
    assert "• Bash rm -rf build" in ctl("tail", run, "--no-follow")
    assert run in ctl("list")
    assert ctl("approve", run, "--step", "nothing", status=1) == ""
    assert ctl("rewind", run) == "none"
    served.stop()
    assert ctl("doctor", status=1).endswith("or name another with --url")
