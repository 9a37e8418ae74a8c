"""Every face of the built file does what its /openapi.json says, whatever it is sent.

Schemathesis makes requests from the document and looks at the answers. AGENTD_FUZZ is for how many seconds it does so
with each face; 12 where it is not set.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.request import Request, urlopen

import pytest

from tests.daemon.worktree_repos import make_repository
from tests.e2e.listening import listening

SECONDS = int(os.environ.get("AGENTD_FUZZ", "8"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
KEY = "the-key"
MODELS = {"MODEL_ALIASES": "sonnet=builtin,gpt-5=builtin"}


class Face(NamedTuple):
    """*known*: parameters that name something which is there; *paths*: a pattern of those that are the face's."""

    base: str
    known: Mapping[str, str]
    paths: str = "."
    key: str = KEY


@contextmanager
def executor(pyz: Path, place: Path) -> Iterator[Face]:
    settings = {"AUTH_TOKEN": KEY, "LISTEN_ADDR": "127.0.0.1:0", "WORKSPACE_DIR": str(place / "repo"), **MODELS}
    with listening(pyz, "executor", cwd=place, **settings) as urls:
        job = post(f"{urls['']}/v1/jobs", {"taskInput": "What is there?", "plannerModel": "gpt-5"}, Idempotency_Key="k")
        yield Face(urls[""], {"job_id": job["jobId"]})


@contextmanager
def manager(pyz: Path, place: Path) -> Iterator[Face]:
    places = {"AGENTD_DATA_DIR": str(place / "data"), "WORKTREE_BASE_DIR": str(place / "worktrees")}
    settings = {"AUTH_TOKEN": KEY, "LISTEN_ADDR": "127.0.0.1:0", "POOL_SIZE": "2", **places, **MODELS}
    with listening(pyz, "manager", cwd=place, **settings) as urls:
        made = post(f"{urls['']}/v1/sessions", {"name": "x", "repoPath": str(place / "repo"), "ref": "main"})
        yield Face(urls[""], {"session_id": made["sessionId"]})


@contextmanager
def agent(pyz: Path, place: Path) -> Iterator[Face]:
    with serving(pyz, place) as urls:
        yield Face(urls["agent"], {"session_id": made_session(urls["agent"])})


@contextmanager
def admin(pyz: Path, place: Path) -> Iterator[Face]:
    with serving(pyz, place) as urls:
        yield Face(urls["main"], {"session_id": made_session(urls["agent"])}, "^/agentd/")


@contextmanager
def runs(pyz: Path, place: Path) -> Iterator[Face]:
    """With a token that is for the repository alone: no request has anything done elsewhere."""
    repo = str(place / "repo")
    with serving(pyz, place) as urls:
        base = urls["main"]
        token = post(f"{base}/agentd/v1/tokens", {"scope": ["runs", "chat"], "roots": [repo]})["token"]
        run = post(f"{base}/v1/runs", {"workspace_path": repo, "spec_path": "spec.md"}, token)["run_id"]
        chat = post(f"{base}/v1/sessions", {"workspace_path": repo}, token)["session_id"]
        said = {"role": "user", "parts": [{"type": "text", "text": "What is there?"}]}
        turn = post(f"{base}/v1/sessions/{chat}/messages", said, token)["turn_id"]
        known = {"run_id": run, "session_id": chat, "turn_id": turn, "workspace_path": repo, "follow": "false"}
        yield Face(base, known, "^/(v1/|healthz|hello)", token)


@contextmanager
def serving(pyz: Path, place: Path) -> Iterator[dict[str, str]]:
    words = ["--listen", "127.0.0.1:0", "--agent", "127.0.0.1:0", "--manager", "off", "--admin-token", KEY]
    words += ["--agent-key", KEY, "--agent-workspace", str(place / "repo"), "--data-dir", str(place / "data")]
    words += ["--mcp-connect-timeout", "0.5"]  # those that are made up are not there
    with listening(pyz, "serve", *words, cwd=place, AGENTD_QUESTION_TIMEOUT="1", **MODELS) as urls:
        yield urls


def made_session(base: str) -> str:
    body = {"prompt": "What is there?", "enable_file_checkpointing": True}
    return str(post(f"{base}/api/v1/query/single", body)["session_id"])


def post(url: str, body: Any, key: str = KEY, **headers: str) -> Any:
    fields = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(url, json.dumps(body).encode(), fields), timeout=30) as answer:
        return json.load(answer)


def configuration(known: Mapping[str, str]) -> str:
    """Requests are about what is there, but for those that would remove it. Left out: a stream that does not end, a
    log whose next record may be waited for, and zip archives, which Schemathesis does not make."""
    there = "".join(f"{name} = {json.dumps(value)}\n" for name, value in known.items())
    gone = "".join(f'{name} = "gone"\n' for name in known)
    spared = f'[[operations]]\ninclude-method = "DELETE"\n[operations.parameters]\n{gone}'
    left_out = ("GET /agentd/v1/events", "GET /agentd/v1/sessions/{session_id}/log", "PUT /v1/sessions")
    skipped = "".join(f'[[operations]]\ninclude-name = "{name}"\nenabled = false\n' for name in left_out)
    return f"[parameters]\n{there}{spared}{skipped}"


@pytest.mark.parametrize("make", [executor, manager, agent, admin, runs])
def test_a_face_does_what_its_document_says(make: Callable[..., Any], pyz: Path, clients: Path, tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", {"a.py": "def greet(): pass\n"})
    with make(pyz, tmp_path) as face:
        (tmp_path / "schemathesis.toml").write_text(configuration(face.known))
        command: list[str | Path] = [
            clients / "st",
            "run",
            f"{face.base}/openapi.json",
            "--header",
            f"Authorization: Bearer {face.key}",
            "--include-path-regex",
            face.paths,
        ]
        command += ["--checks", CHECKS, "--phases", "fuzzing", "--max-time", str(SECONDS), "--workers", "1"]
        command += ["--suppress-health-check", "all", "--request-timeout", "40", "--warnings", "off", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    assert " generated, " in done.stdout, "no request was made in that time"
