"""`agentd gc`: what nobody owns goes, and nothing else does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from agentd.domain import Entry
from agentd.store.home import Home, make_home

if TYPE_CHECKING:
    from tests.cli.conftest import Place, StartDaemon

FREE = ("--listen", "127.0.0.1:0", "--manager", "127.0.0.1:0", "--agent", "127.0.0.1:0")
WHO = ("-c", "user.name=a", "-c", "user.email=a@b")


def git(directory: Path, *words: str) -> str:
    done = subprocess.run(["git", *WHO, *words], cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def home(place: Place) -> Home:
    return make_home(place.root / "data")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    git(tmp_path / "source", "init", "-q", "-b", "main")
    (tmp_path / "source" / "file").write_text("first\n")
    git(tmp_path / "source", "add", ".")
    git(tmp_path / "source", "commit", "-q", "-m", "first")
    return tmp_path / "source"


@pytest.fixture
def leftover(home: Home, repo: Path) -> Path:
    """A worktree like those of sessions, that no session has."""
    name = str(uuid.uuid4())
    path = home.root / "worktrees" / name
    path.parent.mkdir()
    git(repo, "worktree", "add", "-q", "-b", f"agentd/session/{name}", str(path))
    return path


def collect(place: Place, *flags: str) -> list[tuple[str, str, str, str]]:
    """Kind, state, outcome and path of everything."""
    done = place.run("gc", "--json", "--data-dir", str(place.root / "data"), *flags)
    assert (done.returncode, done.stderr) == (0, "")
    rows: list[dict[str, Any]] = [json.loads(line) for line in done.stdout.splitlines()]
    return [(row["kind"], row["state"], row["outcome"], row["path"]) for row in rows]


def test_a_dry_run_says_what_would_go_and_it_stays(place: Place, leftover: Path) -> None:
    assert collect(place, "--dry-run") == [("worktree", "clean", "would be removed", str(leftover))]
    assert leftover.is_dir()


def test_a_clean_leftover_goes_with_its_branch(place: Place, leftover: Path, repo: Path) -> None:
    assert collect(place) == [("worktree", "clean", "removed", str(leftover))]
    assert not leftover.exists()
    assert git(repo, "branch", "--format=%(refname:short)") == "main"
    assert collect(place) == []


def test_what_was_not_committed_is_kept_first(place: Place, leftover: Path, repo: Path) -> None:
    (leftover / "new").write_text("work\n")
    done = place.run("gc", "--data-dir", str(place.root / "data"))
    assert "dirty" in done.stdout
    assert f"refs/agentd/rescued/{leftover.name}" in done.stdout
    assert git(repo, "show", f"refs/agentd/rescued/{leftover.name}:new") == "work"


def test_a_worktree_that_somebody_works_in_stays(place: Place, leftover: Path) -> None:
    with subprocess.Popen(["sleep", "60"], cwd=leftover) as sleeper:
        found = collect(place, "--dry-run"), collect(place)
        sleeper.kill()
    assert found == ([("worktree", "alive", "stays", str(leftover))],) * 2
    assert leftover.is_dir()


def test_a_session_that_nobody_was_told_of_goes_and_others_stay(place: Place, home: Home) -> None:
    half_made = home.create_session("manager", place.root, "mine", isolation="worktree")
    others = home.create_session("run", place.root, "yours")
    assert collect(place) == [("session", "half-made", "removed", str(half_made.path))]
    assert others.log_path.is_file()


def test_a_removal_that_was_not_finished_is(place: Place, home: Home) -> None:
    session = home.create_session("manager", place.root, "mine", isolation="worktree")
    opened = {"id": session.id, "face": "manager", "name": "mine", "workspace": "/x", "worktree": None, "owner": None}
    home.root_log.append([Entry("session.opened", opened), Entry("session.closed", {"id": session.id, "reason": "x"})])
    assert collect(place) == [("session", "half-removed", "removed", str(session.path))]


def test_a_cache_goes_when_nothing_has_looked_at_it_for_a_month(place: Place, home: Home) -> None:
    old, young = (home.root / "workspaces" / name / "symbols" for name in ("old", "young"))
    for cache in (old, young):
        cache.mkdir(parents=True)
        (cache / "index").touch()
    month_ago = time.time() - 31 * 24 * 3600
    for path in (old, old / "index"):
        os.utime(path, (month_ago, month_ago))
    assert collect(place) == [("cache", "unused", "removed", str(old))]
    assert young.is_dir()


def test_while_a_daemon_has_the_directory_it_is_the_one_to_ask(place: Place, start: StartDaemon) -> None:
    daemon = start("serve", *FREE)
    done = place.run("gc", "--data-dir", str(place.root / "data"))
    assert (done.returncode, done.stdout) == (1, "")
    assert f"in use by process {daemon.process.pid} since" in done.stderr
    asked = re.search(r"^  agentd (ctl .*)$", done.stderr, re.MULTILINE)
    assert asked
    assert place.run(*asked[1].split()).stdout == "nothing is left over\n"


def test_where_there_is_nothing_nothing_is_made(place: Place) -> None:
    done = place.run("gc", "--data-dir", str(place.root / "nowhere"))
    assert (done.returncode, done.stdout) == (
        0,
        f"there is no data directory {place.root}/nowhere: nothing to remove\n",
    )
    assert not (place.root / "nowhere").exists()


def test_nothing_left_over_is_said(place: Place, home: Home) -> None:
    assert place.run("gc", "--data-dir", str(home.root)).stdout == "nothing is left over\n"
