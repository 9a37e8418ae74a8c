"""What a client does in the life of some sessions, what it was told, and what must hold whenever it comes back."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import attrs

from agentd.engine.session import load_state
from agentd.store.files import TEMP_PREFIX
from agentd.store.fold import SessionState
from agentd.store.home import Home, SessionDir
from agentd.store.log import LogReader
from tests.faults.executors import Died, Executor, Place
from tests.witness import until

TIDY_SECONDS = 5.0  # for files that are just being written to have their names
STAYS = "this text stays until somebody drops it"
GOES = "this text goes with its job"
REMEDY = re.compile("; (free some|the user that agentd runs as|close some connections|the disk of the data dir)")
SCRIPTS: dict[str, list[Any]] = {
    "writer": [
        {"parts": ["I write. " * 30, {"call": "Write", "input": {"file_path": "b.txt", "content": "one\n"}}]},
        {
            "parts": [
                {"call": "Bash", "input": {"command": "echo two >> b.txt; cat b.txt"}},
                {"call": "Read", "input": {"file_path": "b.txt"}},
                {"call": "Grep", "input": {"pattern": "two"}},
            ]
        },
        "It is written.",
        "In short: b.txt was written.",
        "More of it.",
        "In short: b.txt was written.",
    ],
    "reader": [{"parts": [{"call": "Read", "input": {"file_path": "a.py"}}]}, "It greets.", "In short: it greets."],
    "talker": ["Again.", "In short: nothing.", "Again."],
}


@attrs.define
class Promises:
    """What a client was told: by a 2xx, or by an event that it saw."""

    sessions: list[str] = attrs.field(factory=list)
    active: str | None = None
    jobs: dict[str, str] = attrs.field(factory=dict)  # by key
    tried: dict[str, dict[str, Any]] = attrs.field(factory=dict)  # bodies by key, acknowledged or not
    ended: dict[str, dict[str, Any]] = attrs.field(factory=dict)  # statuses by job
    seen: dict[str, list[dict[str, Any]]] = attrs.field(factory=dict)  # events by job
    fragments: dict[str, str] = attrs.field(factory=dict)  # sessions by fragments that are in the context of it
    dropped: list[str] = attrs.field(factory=list)
    tasks: list[str] = attrs.field(factory=list)
    copy: str | None = None  # of the first session


def settings(root: Path) -> tuple[str, ...]:
    """Of an executor, with a script for each of the story's models."""
    words: list[str] = []
    for name, replies in SCRIPTS.items():
        (root / f"{name}.json").write_text(json.dumps({"replies": replies}))
        words += ["--model-alias", f"{name}=scripted:{root / name}.json"]
    return tuple(words)


def job_body(model: str, mode: str, **more: Any) -> dict[str, Any]:
    names = dict.fromkeys(("plannerModel", "codeModel", "scanModel"), model)
    text = {"contextText": [f"{GOES}: {mode}"]}
    return {"taskInput": f"Be the {model}.", **names, "tags": {"mode": mode}, **text, **more}


class Refused(Exception):
    """No 2xx, but an error that says what would help."""


@attrs.frozen
class Client:
    executor: Executor
    told: Promises

    def tell(self) -> None:
        """The story from its beginning. Raises Died where the executor does."""
        for step in self.steps():
            step()

    def steps(self) -> list[Callable[[], None]]:
        return [
            partial(self._create_session, "first"),
            self._add_text,
            partial(self._add, "files", relativePaths=["a.py"]),
            partial(self._run, "writes", job_body("writer", "CODE", autoCommit=True, autoCompress=True)),
            partial(self._set_tasks, "plan it", "do it"),
            partial(self._run, "reads", job_body("reader", "ASK", autoCompress=True)),
            self._drop,
            partial(self._create_session, "second"),
            partial(self._run, "talks", job_body("talker", "ASK")),
            self._copy_session,
        ]

    def _ask(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        answer = self.executor.ask(method, path, body, **headers)
        if answer.status == 507:
            assert (answer.body["code"], answer.body["details"]) == ("STORE_FAILED", None)
            assert REMEDY.search(answer.body["message"]), answer.body
            raise Refused(answer.body["message"])
        assert answer.status in (200, 201), (method, path, answer)
        return answer.body

    def events_of(self, job: str) -> list[dict[str, Any]]:
        """All of them. Raises Refused."""
        events: list[dict[str, Any]] = self._ask("GET", f"/v1/jobs/{job}/events?format=envelope&limit=10000")["events"]
        return events

    def _create_session(self, name: str) -> None:
        session = self._ask("POST", "/v1/sessions", {"name": name})["sessionId"]
        self.told.sessions.append(session)
        self.told.active = session

    def _copy_session(self) -> None:
        if not self.told.sessions:
            return
        zipped = self._ask("GET", f"/v1/sessions/{self.told.sessions[0]}")
        session = self._ask("PUT", "/v1/sessions", zipped)["sessionId"]
        self.told.sessions.append(session)
        self.told.active = self.told.copy = session

    def _add_text(self) -> None:
        self._added(self._ask("POST", "/v1/context/text", {"text": STAYS})["id"])

    def _add(self, kind: str, **names: list[str]) -> None:
        for each in self._ask("POST", f"/v1/context/{kind}", names)["added"]:
            self._added(each["id"])

    def _added(self, fragment: str) -> None:
        assert self.told.active is not None
        self.told.fragments[fragment] = self.told.active

    def _drop(self) -> None:
        if not self.told.fragments:
            return
        first, *_ = self.told.fragments
        [dropped] = self._ask("POST", "/v1/context/drop", {"ids": [first]})["dropped"]
        self.told.dropped.append(dropped)

    def _set_tasks(self, *titles: str) -> None:
        self._ask("POST", "/v1/tasklist", {"tasks": [{"title": title, "text": title} for title in titles]})
        self.told.tasks = list(titles)

    def _run(self, key: str, body: dict[str, Any]) -> None:
        self.told.tried[key] = body
        job = self._ask("POST", "/v1/jobs", body, Idempotency_Key=key)["jobId"]
        self.told.jobs[key] = job
        seen = self.told.seen.setdefault(job, [])
        while True:
            is_over = self._ask("GET", f"/v1/jobs/{job}")["terminal"]
            seen += self.executor.events(job, len(seen), 0 if is_over else 1)
            if is_over:
                break
        status = self._ask("GET", f"/v1/jobs/{job}")
        assert status["state"] == "COMPLETED" or REMEDY.search(status["error"]), (status, seen)
        self.told.ended[job] = status


# --- What holds after whatever has happened -----------------------------------------------------------------------


def check_after_restart(place: Place, told: Promises) -> Executor:
    """Start an executor in the place and look whether everything that was *told* still is so. It goes on running."""
    executor = place.start()
    _check_sessions(executor, told)
    _check_jobs(executor, told)
    _check_keys(executor, told)
    for directory in Home(place.home).sessions():
        _check_session(directory, load_state(directory))
    _check_context(place, told)
    if told.copy is not None:
        copied = load_state(Home(place.home).session(told.copy))
        assert (len(copied.imported_jobs), [task.title for task in copied.tasks]) == (2, told.tasks)
    _check_commits(place, told)
    assert until(lambda: not list(place.home.rglob(f"{TEMP_PREFIX}*")), TIDY_SECONDS)
    return executor


def _check_sessions(executor: Executor, told: Promises) -> None:
    listed = executor.ask("GET", "/v1/sessions").body
    assert {each["id"] for each in listed["sessions"]} >= set(told.sessions)
    assert told.active is None or listed["currentSessionId"] in {told.active, *_since(listed, told)}


def _since(listed: dict[str, Any], told: Promises) -> set[str]:
    """Sessions that were made, and whose maker has not heard of it."""
    return {each["id"] for each in listed["sessions"]} - set(told.sessions)


def _check_jobs(executor: Executor, told: Promises) -> None:
    listed = [job["jobId"] for job in executor.ask("GET", "/v1/jobs").body["jobs"]]
    assert set(listed) >= set(told.jobs.values())
    for job in listed:
        status = executor.wait_for_end(job)
        if job in told.ended:
            before = told.ended[job]
            assert status["state"] == before["state"]
            assert status["state"] == "FAILED" or _lasting(status) == _lasting(before)
        elif status["state"] == "FAILED":
            assert re.search("EXECUTOR_RESTARTED|before the job was accepted", status["error"]), status
        else:
            assert status["state"] == "COMPLETED", status
        events = executor.events(job)
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
        assert events[: len(told.seen.get(job, []))] == told.seen.get(job, [])
        assert status["metadata"]["lastSeq"] == str(len(events))


def _lasting(status: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in status.items() if key != "executorReady"}


def _check_keys(executor: Executor, told: Promises) -> None:
    for key, body in told.tried.items():
        answer = executor.ask("POST", "/v1/jobs", body, Idempotency_Key=key)
        assert answer.status in ((200,) if key in told.jobs else (200, 201)), (key, answer)
        assert told.jobs.setdefault(key, answer.body["jobId"]) == answer.body["jobId"]
        executor.wait_for_end(answer.body["jobId"])


def _check_session(directory: SessionDir, state: SessionState) -> None:
    with LogReader(directory.log_path) as reader:
        records = list(reader.records())
    assert [record.pos for record in records] == list(range(1, len(records) + 1))
    assert all(record.data.get("code") != "RECORD_DAMAGED" for record in records)
    assert set(Counter(job.key for job in state.jobs.values() if job.key is not None).values()) <= {1}
    for kind in ("job.created", "job.started", "job.finished"):
        assert set(Counter(record.job for record in records if record.type == kind).values()) <= {1}
    results = Counter((record.job, record.data["call"]) for record in records if record.type == "tool.finished")
    assert set(results.values()) <= {1}, results
    messages = state.history.view()
    for message, after in zip_longest(messages, messages[1:]):
        if message.calls:
            assert after is not None
            answered = [getattr(block, "tool_use_id", None) for block in after.content]
            assert answered == [call.id for call in message.calls]
    assert all(job.state.terminal for job in state.jobs.values())
    named = {fragment.sha256 for fragment in state.fragments.values() if fragment.sha256} | {state.origin}
    assert not any(fragment.job for fragment in state.fragments.values())
    assert set(directory.transient.sizes()) <= named
    assert GOES.encode() not in directory.log_path.read_bytes()


def _check_context(place: Place, told: Promises) -> None:
    for fragment, session in told.fragments.items():
        directory = Home(place.home).session(session)
        fragments = load_state(directory).fragments
        if fragment in told.dropped:
            assert fragment not in fragments
        elif fragment in fragments and (sha256 := fragments[fragment].sha256):
            assert directory.transient.get(sha256) == STAYS.encode()
            assert sha256 == hashlib.sha256(STAYS.encode()).hexdigest()
        else:
            # The request to drop it may have been carried out, and its answer lost.
            assert fragment in fragments or fragment == next(iter(told.fragments))
    if told.tasks:
        tasks = load_state(Home(place.home).session(told.sessions[0])).tasks
        assert [task.title for task in tasks] == told.tasks


def _check_commits(place: Place, told: Promises) -> None:
    log = subprocess.run(["git", "-C", str(place.workspace), "log", "--format=%s"], capture_output=True, check=True)
    commits = log.stdout.decode().splitlines()
    assert len(commits) <= 2
    if told.jobs.get("writes") in told.ended:
        assert commits[0] == "Be the writer."


def check_goes_on(executor: Executor) -> None:
    """A new job is taken and done."""
    answer = executor.ask("POST", "/v1/jobs", job_body("talker", "ASK"), Idempotency_Key="afterwards")
    assert answer.status == 201, answer
    assert executor.wait_for_end(answer.body["jobId"])["state"] == "COMPLETED"


def tell_until_death(executor: Executor, told: Promises) -> bool:
    """Whether the executor lived to the end of the story."""
    try:
        Client(executor, told).tell()
    except Died:
        executor.wait()
        return False
    return True
