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
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.daemon.worktree_repos import make_repository
from tests.e2e.listening import listening

SECONDS = int(os.environ.get("AGENTD_FUZZ", "12"))
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
KEY = "the-key"
MODELS = {"MODEL_ALIASES": "sonnet=builtin,gpt-5=builtin"}

Face = tuple[str, Mapping[str, str]]  # its base URL, and parameters of paths that name something which is there


@contextmanager
def executor(pyz: Path, place: Path) -> Iterator[Face]:
    settings = {"AUTH_TOKEN": KEY, "LISTEN_ADDR": "127.0.0.1:0", "WORKSPACE_DIR": str(place / "repo"), **MODELS}
    with listening(pyz, "executor", cwd=place, **settings) as urls:
        job = post(f"{urls['']}/v1/jobs", {"taskInput": "What is there?", "plannerModel": "gpt-5"}, Idempotency_Key="k")
        yield urls[""], {"job_id": job["jobId"]}


@contextmanager
def manager(pyz: Path, place: Path) -> Iterator[Face]:
    places = {"AGENTD_DATA_DIR": str(place / "data"), "WORKTREE_BASE_DIR": str(place / "worktrees")}
    settings = {"AUTH_TOKEN": KEY, "LISTEN_ADDR": "127.0.0.1:0", "POOL_SIZE": "2", **places, **MODELS}
    with listening(pyz, "manager", cwd=place, **settings) as urls:
        made = post(f"{urls['']}/v1/sessions", {"name": "x", "repoPath": str(place / "repo"), "ref": "main"})
        yield urls[""], {"session_id": made["sessionId"]}


@contextmanager
def agent(pyz: Path, place: Path) -> Iterator[Face]:
    with serving(pyz, place) as urls:
        yield urls["agent"], {"session_id": made_session(urls["agent"])}


@contextmanager
def admin(pyz: Path, place: Path) -> Iterator[Face]:
    with serving(pyz, place) as urls:
        yield urls["main"], {"session_id": made_session(urls["agent"])}


@contextmanager
def serving(pyz: Path, place: Path) -> Iterator[dict[str, str]]:
    words = ["--listen", "127.0.0.1:0", "--agent", "127.0.0.1:0", "--manager", "off", "--admin-token", KEY]
    words += ["--agent-key", KEY, "--agent-workspace", str(place / "repo"), "--data-dir", str(place / "data")]
    with listening(pyz, "serve", *words, cwd=place, AGENTD_QUESTION_TIMEOUT="1", **MODELS) as urls:
        yield urls


def made_session(base: str) -> str:
    body = {"prompt": "What is there?", "enable_file_checkpointing": True}
    return str(post(f"{base}/api/v1/query/single", body)["session_id"])


def post(url: str, body: Any, **headers: str) -> Any:
    fields = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    with urlopen(Request(url, json.dumps(body).encode(), fields), timeout=30) as answer:
        return json.load(answer)


def configuration(known: Mapping[str, str]) -> str:
    """Requests are about what is there, but for those that would remove it. Left out: a stream that does not end, and
    zip archives, which Schemathesis does not make."""
    there = "".join(f"{name} = {json.dumps(value)}\n" for name, value in known.items())
    gone = "".join(f'{name} = "gone"\n' for name in known)
    spared = f'[[operations]]\ninclude-method = "DELETE"\n[operations.parameters]\n{gone}'
    left_out = ("GET /events", "PUT /v1/sessions")
    skipped = "".join(f'[[operations]]\ninclude-name = "{name}"\nenabled = false\n' for name in left_out)
    return f"[parameters]\n{there}{spared}{skipped}"


@pytest.mark.parametrize("face", [executor, manager, agent, admin])
def test_a_face_does_what_its_document_says(face: Callable[..., Any], pyz: Path, clients: Path, tmp_path: Path) -> None:
    make_repository(tmp_path / "repo", {"a.py": "def greet(): pass\n"})
    with face(pyz, tmp_path) as (base, known):
        (tmp_path / "schemathesis.toml").write_text(configuration(known))
        command: list[str | Path] = [
            clients / "st",
            "run",
            f"{base}/openapi.json",
            "--header",
            f"Authorization: Bearer {KEY}",
        ]
        command += ["--checks", CHECKS, "--phases", "fuzzing", "--max-time", str(SECONDS), "--workers", "4"]
        command += ["--suppress-health-check", "all", "--request-timeout", "10", "--warnings", "off", "--no-color"]
        done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
