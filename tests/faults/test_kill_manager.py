"""kill -9 of a session manager under load, at random moments. AGENTD_FAULTS is how often; 4 times where it is not set.

Whatever the moment: two seconds later no process is left; the next start brings back every session that was answered
for, with its token, its jobs and what was edited in its worktree; what was deleted is gone, with its edits rescued; and
there is no directory, branch, worktree or lock that no session owns. The user's own repository is as it was.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.daemon.launchfile import Identity
from agentd.daemon.processes import users_of
from tests.daemon.worktree_repos import fingerprint, git, make_repository
from tests.witness import commands_with, until

TIMES = int(os.environ.get("AGENTD_FAULTS", "4"))
GONE_SECONDS, START_SECONDS, ANSWER_SECONDS = 2.0, 30.0, 60.0
SOURCE = Path(__file__).resolve().parents[2]
START = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from agentd.cli import main; sys.exit(main(sys.argv[1:]))"
MASTER = "m"
CLIENTS, SLOTS = 3, 5


@attrs.define
class Session:
    """One that was answered for."""

    id: str
    token: str
    branch: str
    edit: str = ""  # what is in edit.txt of its worktree
    job: str = ""  # id, once that was answered
    key: str = ""
    delete: bool = False  # was asked for
    deleted: bool = False  # was answered


@attrs.define
class Site:
    """A repository, a data directory, and managers that come and go over them."""

    place: Path
    mark: str
    port: int = 0
    sessions: list[Session] = attrs.field(factory=list)
    surprises: list[str] = attrs.field(factory=list)
    family: list[Identity] = attrs.field(factory=list)  # what the manager had started when it was killed
    stopping: threading.Event = attrs.field(factory=threading.Event)

    @property
    def repo(self) -> Path:
        return self.place / "repo"

    @property
    def base(self) -> Path:
        return self.place / "worktrees"

    @property
    def data(self) -> Path:
        return self.place / "data"

    @contextmanager
    def manager(self, *, ready: bool = True) -> Iterator[subprocess.Popen[str]]:
        settings = {
            "AUTH_TOKEN": MASTER,
            "LISTEN_ADDR": "127.0.0.1:0",
            "POOL_SIZE": str(SLOTS),
            "WORKTREE_BASE_DIR": str(self.base),
            "AGENTD_DATA_DIR": str(self.data),
            "MODEL_ALIASES": f"busy=scripted:{self.place / 'script.json'}",
        }
        with (self.place / "log").open("a") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", START, "manager"],
                env={**os.environ, **settings},
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert process.stdout is not None
        try:
            if ready:
                line = process.stdout.readline()
                found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
                assert found, (line, (self.place / "log").read_text()[-2000:])
                self.port = int(found[1])
            yield process
        finally:
            process.kill()
            process.wait()
            process.stdout.close()

    def ask(self, method: str, path: str, token: str = MASTER, body: Any = None, key: str = "") -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=ANSWER_SECONDS)
        headers = {"Authorization": f"Bearer {token}", **({"Idempotency-Key": key} if key else {})}
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            raw = response.read()
            return response.status, json.loads(raw) if raw else None
        finally:
            connection.close()

    # --- Load -----------------------------------------------------------------------------------------------------

    def work(self, number: int) -> None:
        """One client: sessions made, edited, used and deleted, until the manager is gone."""
        dice = random.Random(number)
        with suppress(OSError, http.client.HTTPException):
            while not self.stopping.is_set():
                self.one_session(dice)

    def one_session(self, dice: random.Random) -> None:
        status, made = self.ask("POST", "/v1/sessions", body={"name": "x", "repoPath": str(self.repo), "ref": "main"})
        if status != 201:
            self.expect(status, {429})
            time.sleep(0.02)
            return
        session = Session(made["sessionId"], made["token"], made["branch"])
        self.sessions.append(session)
        tree = self.base / session.branch.rpartition("/")[2]
        edit = f"{self.mark} {session.id}"
        (tree / "edit.txt").write_text(edit)
        session.edit = edit
        self.start_job(session)
        time.sleep(dice.uniform(0, 0.2))
        if dice.random() < 0.7:
            session.delete = True
            status, _ = self.ask("DELETE", f"/v1/sessions/{session.id}")
            self.expect(status, {204})
            session.deleted = True

    def start_job(self, session: Session) -> None:
        session.key = uuid.uuid4().hex
        status, job = self.ask("POST", "/v1/jobs", session.token, BUSY, session.key)
        self.expect(status, {201})
        session.job = job["jobId"]

    def expect(self, status: int, expected: set[int]) -> None:
        if status not in expected:
            self.surprises.append(f"{status} instead of {expected}")

    # --- Looking --------------------------------------------------------------------------------------------------

    def processes(self) -> list[str]:
        """Whatever works for one of ours, by its parent, its directory, its open files or its command line."""
        found = [pid for place in (self.repo, self.base, self.data) for pid in users_of(place)]
        found += [each.pid for each in self.family if each.is_alive()]
        return sorted({*map(what, found), *commands_with(self.mark)})

    def branches(self) -> set[str]:
        told = git(self.repo, "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads/agentd")
        return set(told.splitlines())

    def rescued(self, session: Session) -> str:
        """What edit.txt says in the commit that holds the session's rescued work."""
        return git(self.repo, "show", f"refs/agentd/rescued/{session.id}:edit.txt")

    def users_own(self) -> dict[str, str]:
        shared = re.compile(r"\.git/(worktrees|refs/(heads/)?agentd|logs/refs/(heads/)?agentd|packed-refs)")
        return {name: value for name, value in fingerprint(self.repo).items() if not shared.match(name)}


BUSY = {"taskInput": "Be busy.", "plannerModel": "busy", "codeModel": "busy", "tags": {"mode": "CODE"}}


def make_site(place: Path) -> Site:
    site = Site(place, f"agentd-test-{uuid.uuid4().hex}")
    make_repository(site.repo, {f"d{n}/f{n}.txt": f"{n}\n" for n in range(50)})
    (site.repo / "d0/f0.txt").write_text("the user is in the middle of this\n")
    (site.repo / "mine.txt").write_text("and of this\n")
    git(site.repo, "add", "mine.txt")
    stray = f"setsid sh -c 'exec -a {site.mark} sleep 300' >/dev/null 2>&1 & "
    command = f"{stray} for i in 1 2 3 4 5 6 7 8 9 10; do echo line $i; sleep 0.01; done"
    talk = {"parts": ["Some words. " * 20, {"call": "Bash", "input": {"command": command}}]}
    write = {"parts": [{"call": "Write", "input": {"file_path": "notes.txt", "content": "n"}}]}
    (place / "script.json").write_text(json.dumps({"replies": [*[talk, write] * 60, "Done."]}))
    return site


def what(pid: int) -> str:
    with suppress(OSError):
        return f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode(errors='replace')}"
    return f"{pid}"


def descendants(pid: int) -> list[Identity]:
    """Of a process, however deep."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                found += [Identity.of(int(child)), *descendants(int(child))]
    return found


@pytest.mark.parametrize("time_no", range(TIMES))
def test_a_killed_manager_loses_nothing_and_leaves_nothing(
    tmp_path: Path, require: Callable[[str], str], time_no: int
) -> None:
    require("bwrap")  # without it, what a killed executor leaves behind is swept at the next start at the earliest
    dice = random.Random(f"{time_no} of {TIMES}")
    site = make_site(tmp_path)
    before = site.users_own()
    site.family = kill_under_load(site, dice)
    assert until(lambda: not site.processes(), GONE_SECONDS), site.processes()
    if dice.random() < 0.5:  # and once more, while it starts
        with site.manager(ready=False):
            time.sleep(dice.uniform(0.1, 0.6))
        assert until(lambda: not site.processes(), GONE_SECONDS), site.processes()
    with site.manager():
        check_sessions(site)
        check_nothing_else_is_there(site)
        for told in site.ask("GET", "/v1/sessions")[1]["sessions"]:
            assert site.ask("DELETE", f"/v1/sessions/{told['sessionId']}") == (204, None)
        check_all_is_gone(site)
    assert not site.surprises
    assert site.users_own() == before


def kill_under_load(site: Site, dice: random.Random) -> list[Identity]:
    """All that the manager had started when it was killed."""
    with site.manager() as process:
        clients = [threading.Thread(target=site.work, args=(dice.random(),)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
        time.sleep(dice.uniform(0.1, 2.0))
        family = descendants(process.pid)
        process.send_signal(signal.SIGKILL)
        site.stopping.set()
        for client in clients:
            client.join(ANSWER_SECONDS)
    return family


def check_sessions(site: Site) -> None:
    """What was answered for is so."""
    told = {each["sessionId"]: each for each in site.ask("GET", "/v1/sessions")[1]["sessions"]}
    for session in site.sessions:
        is_there = session.id in told
        assert not (is_there and session.deleted)
        assert is_there or session.delete, "a session that nobody wanted deleted is gone"
        if is_there:
            check_session(site, session, told[session.id])
        else:
            assert site.ask("GET", "/v1/jobs/x", session.token)[1]["code"] == "SESSION_NOT_FOUND"
            assert not session.edit or site.rescued(session) == session.edit


def check_session(site: Site, session: Session, told: dict[str, Any]) -> None:
    tree = Path(told["worktree"])
    assert told["branch"] == session.branch
    assert git(tree, "symbolic-ref", "--short", "HEAD") == session.branch
    assert not session.edit or (tree / "edit.txt").read_text() == session.edit
    if session.job:
        status, job = site.ask("GET", f"/v1/jobs/{session.job}", session.token)
        assert status == 200
        assert not job["terminal"] or "EXECUTOR_RESTARTED" in (job["error"] or "") or job["state"] == "COMPLETED"
        assert site.ask("POST", "/v1/jobs", session.token, BUSY, session.key)[1]["jobId"] == session.job


def check_nothing_else_is_there(site: Site) -> None:
    told = site.ask("GET", "/v1/sessions")[1]["sessions"]
    worktrees = {Path(each["worktree"]) for each in told}
    assert {path for path in site.base.iterdir() if not path.name.startswith(".")} == worktrees
    assert site.branches() == {each["branch"] for each in told}
    assert {path.name for path in (site.data / "sessions").iterdir()} == {each["sessionId"] for each in told}
    registered = git(site.repo, "worktree", "list", "--porcelain").split("\n\n")
    assert len(registered) == 1 + len(told)
    assert not list((site.repo / ".git").rglob("*.lock"))


def check_all_is_gone(site: Site) -> None:
    assert [path.name for path in site.base.iterdir()] == [".pool"]
    assert not site.branches()
    assert not list((site.data / "sessions").iterdir())
    assert not (site.repo / ".git" / "worktrees").exists()
    kept = site.base / ".pool" / "kept"
    assert not kept.exists() or not list(kept.iterdir())
    for session in site.sessions:
        assert not session.edit or site.rescued(session) == session.edit
