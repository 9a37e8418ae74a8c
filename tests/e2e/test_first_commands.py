"""What a newcomer types first, on a machine that has Python and git and nothing else. No test here needs a network."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest

import build

Run = Callable[..., subprocess.CompletedProcess[str]]
Require = Callable[[str], str]

QUESTION = "Where are HTTP request heads parsed, and what limits apply?"


@pytest.fixture
def repository(pyz: Path, run: Run, tmp_path: Path) -> Path:
    """This source, committed; with the README, which has the question in it, and so is no answer."""
    source = tmp_path / "a clone"
    shutil.copytree(pyz.parent.parent / "agentd", source / "agentd")
    shutil.copy(build.ROOT / "README.md", source)
    author = ("-c", "user.name=Somebody", "-c", "user.email=somebody@example.invalid")
    for words in (["init", "-q"], ["add", "."], [*author, "commit", "-qm", "All of it"]):
        assert run("git", *words, cwd=source).returncode == 0
    return source


def cited(text: str) -> list[tuple[str, int]]:
    return [(path, int(line)) for path, line in re.findall(r"([\w./-]+\.py):(\d+)", text)]


def test_a_question_is_answered_with_places_that_exist(pyz: Path, run: Run, repository: Path) -> None:
    done = run("python3", pyz, "run", "--repo", ".", QUESTION, cwd=repository)
    assert done.returncode == 0, done.stderr
    places = cited(done.stdout)
    assert places
    for path, line in places:
        assert line <= len((repository / path).read_text().splitlines())
    assert [path for path, _ in places[:3] if path.startswith("agentd/wire/")]


def test_a_question_is_answered_without_a_network(pyz: Path, run: Run, repository: Path, require: Require) -> None:
    alone = (require("unshare"), "--user", "--map-root-user", "--net")
    if run(*alone, "true").returncode:
        pytest.skip("needs user namespaces")
    done = run(*alone, "python3", pyz, "run", "--repo", ".", QUESTION, cwd=repository)
    assert done.returncode == 0, done.stderr
    assert cited(done.stdout)


def test_an_edit_that_a_task_spells_out_is_made_and_shown(pyz: Path, run: Run, repository: Path) -> None:
    task = "Replace 'DIALECT = 1' with 'DIALECT = 2' in agentd/domain.py"
    done = run("python3", pyz, "run", "--mode", "code", "--permission-mode", "acceptEdits", task, cwd=repository)
    assert done.returncode == 0, done.stderr
    changed = run("git", "diff", "--unified=0", cwd=repository).stdout.splitlines()[-2:]
    assert [line[:12] for line in changed] == ["-DIALECT = 1", "+DIALECT = 2"]
    assert set(changed) <= set(done.stdout.splitlines())


def test_without_a_terminal_an_edit_is_refused_and_the_flag_is_named(pyz: Path, run: Run, repository: Path) -> None:
    task = "Replace 'DIALECT = 1' with 'DIALECT = 2' in agentd/domain.py"
    done = run("python3", pyz, "run", "--mode", "code", task, cwd=repository)
    assert done.returncode == 4
    assert "--permission-mode" in done.stdout + done.stderr
    assert run("git", "status", "--porcelain", cwd=repository).stdout == ""


def test_the_repository_is_left_as_it_was_by_a_question(pyz: Path, run: Run, repository: Path) -> None:
    run("python3", pyz, "run", QUESTION, cwd=repository)
    assert run("git", "status", "--porcelain", "--ignored", cwd=repository).stdout == ""


def test_an_executor_says_where_it_listens_and_ends_when_told(
    pyz: Path, bare: Mapping[str, str], repository: Path
) -> None:
    command = ["python3", str(pyz), "executor", "--listen-addr", "127.0.0.1:0", "--workspace-dir", "."]
    env = {**bare, "AUTH_TOKEN": "secret"}
    with subprocess.Popen(command, cwd=repository, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        address = urlsplit(process.stdout.readline().split()[-1])
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
        connection.request("GET", "/health/ready")
        assert json.loads(connection.getresponse().read())["status"] == "ready"
        connection.close()
        process.send_signal(signal.SIGTERM)
    assert process.returncode == 0
