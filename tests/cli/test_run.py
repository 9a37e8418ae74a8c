"""`agentd run` as a person or a script meets it: real processes, the built-in and the scripted model."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from agentd.sandbox.reexec import own_argv
from tests.witness import commands_with, until

SECONDS = 30.0
EDIT = "Replace 'foo' with 'bar' in src/x.py"


@attrs.frozen
class Place:
    """A repository with one file, a data directory, and `agentd run` in them."""

    repo: Path
    data: Path

    def argv(self, *words: str) -> list[str]:
        return own_argv("run", "--repo", str(self.repo), "--data-dir", str(self.data), *words)

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        options = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "timeout": SECONDS} | options
        return subprocess.run(self.argv(*words), **options)

    def records(self) -> list[dict[str, Any]]:
        [log] = self.data.glob("sessions/*/log.ndjson")
        records: list[dict[str, Any]] = [json.loads(line) for line in log.read_bytes().splitlines()]
        of_lines = ("crc", "more")  # what a line has beside its record
        return [{name: value for name, value in each.items() if name not in of_lines} for each in records]

    @property
    def text(self) -> str:
        return (self.repo / "src/x.py").read_text()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    repo = tmp_path / "repo"
    (repo / "src").mkdir(parents=True)
    (repo / "src/x.py").write_text("foo = 1\n")
    git = ["git", "-C", str(repo), "-c", "user.name=t", "-c", "user.email=t@example.invalid"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], check=True)
    return Place(repo, tmp_path / "data")


class Terminal:
    """A command on a terminal of its own, and what it has written there so far."""

    def __init__(self, argv: list[str], env: Mapping[str, str]) -> None:
        self.screen = ""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(argv[0], argv, dict(env))

    def expect(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + SECONDS
        while (found := re.search(pattern, self.screen)) is None:
            if not self._read(deadline):
                raise AssertionError(f"no {pattern!r} in {self.screen!r}")
        return found

    def type(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def exit_code(self) -> int:
        deadline = time.monotonic() + SECONDS
        while self._read(deadline):
            pass
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._fd)

    def _read(self, deadline: float) -> bool:
        if not select.select([self._fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            return False
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self.screen += data.decode(errors="replace")
        return bool(data)


@pytest.fixture
def terminal(place: Place) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*words: str) -> Terminal:
        opened.append(Terminal(place.argv(*words), os.environ))
        return opened[-1]

    yield open_terminal
    for each in opened:
        each.close()


@contextmanager
def busy(place: Place, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A run whose command is at work; and a mark that the command's processes carry."""
    mark = f"agentd-test-{uuid.uuid4().hex}"
    task = f"Run the command `exec -a {mark} sleep 300`."
    argv = place.argv("--mode", "code", "--permission-mode", "bypassPermissions", *words, task)
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        # The shell of the command has the mark in its own words; the sleep that it becomes begins with it.
        assert until(lambda: any(line.startswith(mark) for line in commands_with(mark)), SECONDS)
        yield process, mark
    finally:
        process.kill()
        process.communicate()


# --- For scripts --------------------------------------------------------------------------------------------------


def test_a_question_is_answered_on_standard_output_alone(place: Place) -> None:
    done = place.run("Where is foo set?")
    assert done.returncode == 0, done.stderr
    assert "src/x.py:1" in done.stdout
    assert "Grep" in done.stderr
    assert "Grep" not in done.stdout


def test_an_edit_is_made_and_shown(place: Place) -> None:
    done = place.run("--mode", "code", "--permission-mode", "acceptEdits", EDIT)
    assert done.returncode == 0, done.stderr
    assert place.text == "bar = 1\n"
    assert "-foo = 1\n+bar = 1\n" in done.stdout
    assert "changed 1 file (+1 -1)" in done.stderr


def test_where_nobody_can_be_asked_nothing_is_done_and_the_flag_is_named(place: Place) -> None:
    done = place.run("--mode", "code", EDIT)
    assert done.returncode == 4
    assert place.text == "foo = 1\n"
    assert "--permission-mode acceptEdits" in done.stderr


def test_json_is_the_log_record_for_record(place: Place) -> None:
    done = place.run("--json", "Where is foo set?")
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert printed == place.records()[1:]
    assert printed[-1]["type"] == "job.finished"
    assert done.stderr == ""


def test_an_unknown_model_is_told_with_the_alias_that_would_make_it_work(place: Place) -> None:
    done = place.run("--model", "gpt-5", "Hello?")
    assert done.returncode == 3
    assert "MODEL_UNAVAILABLE: gpt-5" in done.stderr
    assert "--model-alias gpt-5=builtin" in done.stderr
    assert place.run("--model", "gpt-5", "--model-alias", "gpt-5=builtin", "Where is foo?").returncode == 0


def test_a_limit_of_turns_has_an_exit_code_of_its_own(place: Place) -> None:
    assert place.run("--max-turns", "1", "Where is foo set?").returncode == 5


def test_a_limit_of_time_ends_the_command_and_has_the_same_exit_code(place: Place) -> None:
    with busy(place, "--timeout", "2") as (process, mark):
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 5, err
        assert commands_with(mark) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "say what to do"),
        (["two", "words"], "put it in quotes"),
        (["--mode", "dance", "x"], "--mode: dance is none of ask, search, code, architect, lutz"),
        (["--max-turns", "0", "x"], "--max-turns: 0 is not a number above 0"),
        (["--timeout", "soon", "x"], "--timeout: soon is not a number above 0"),
        (["--frobnicate", "x"], "--frobnicate"),
        (["--model-alias", "nonsense", "x"], "a model alias is NAME=MODEL"),
        (["--sandbox", "some", "x"], "--sandbox (AGENTD_SANDBOX): some is not off or best-effort or require"),
        (["--setting-sources", "project,group", "x"], "--setting-sources: group is neither project nor user"),
        (["--mcp-config", "/nowhere.json", "x"], "--mcp-config: /nowhere.json: No such file or directory"),
    ],
)
def test_a_wrong_command_line_is_refused_before_anything_is_started(
    place: Place, words: list[str], message: str
) -> None:
    done = place.run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not place.data.exists()


def test_what_a_task_is_to_have_goes_into_its_job(place: Place, tmp_path: Path) -> None:
    servers, others = tmp_path / "mcp.json", tmp_path / "others.json"
    servers.write_text('{"mcpServers": {"gone": {"command": "/nowhere/mcp-server", "args": ["s3cret"]}}}')
    others.write_text('{"mcpServers": {"off": {"command": "x", "disabled": true}}}')
    files = ["--mcp-config", str(servers), "--mcp-config", str(others)]
    done = place.run(*files, "--setting-sources", "user,project", "What is in src/x.py?")
    assert done.returncode == 0, done.stderr
    spec = next(each["data"]["spec"] for each in place.records() if each["type"] == "job.created")
    assert (spec["servers"], spec["sources"]) == ({"gone": {"transport": "stdio"}}, ["project", "user"])


def test_what_is_set_for_every_job_is_there(place: Place, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('[mcp.servers.gone]\ncommand = "/nowhere/mcp-server"\n')
    plugin = tmp_path / "review"
    (plugin / "commands").mkdir(parents=True)
    (plugin / "commands/check.md").write_text("Check it.\n")
    words = ["--config", str(tmp_path / "config.toml"), "--plugin", str(plugin), "--mode", "code"]
    done = place.run(*words, "What is in src/x.py?")
    assert done.returncode == 0, done.stderr
    started = next(each["data"] for each in place.records() if each["type"] == "job.started")
    assert [(each["name"], each["status"]) for each in started["mcp_servers"]] == [("gone", "failed")]
    assert started["plugins"] == ["review"]


def test_a_file_of_servers_has_to_be_json(place: Place, tmp_path: Path) -> None:
    (tmp_path / "mcp.json").write_text('{"mcpServers": }')
    done = place.run("--mcp-config", str(tmp_path / "mcp.json"), "x")
    assert (done.returncode, f"--mcp-config: {tmp_path}/mcp.json: Expecting value" in done.stderr) == (2, True)


def test_a_repository_that_is_not_there_is_refused(place: Place) -> None:
    done = attrs.evolve(place, repo=place.repo / "nowhere").run("Hello?")
    assert (done.returncode, "is not a directory" in done.stderr) == (2, True)


def test_an_unknown_session_cannot_be_resumed(place: Place) -> None:
    done = place.run("--resume", str(uuid.uuid4()), "go on")
    assert done.returncode == 2
    assert "no session" in done.stderr


def test_a_session_goes_on_where_it_was(place: Place) -> None:
    place.run("Where is foo set?")
    [session] = (place.data / "sessions").iterdir()
    done = place.run("--resume", session.name, "Reply with exactly: again")
    assert (done.returncode, done.stdout) == (0, "again\n")
    assert [record["pos"] for record in place.records()] == list(range(1, len(place.records()) + 1))


def test_a_session_that_somebody_else_uses_is_left_alone(place: Place) -> None:
    with busy(place):
        [session] = (place.data / "sessions").iterdir()
        done = place.run("--resume", session.name, "Hello?")
    assert done.returncode == 1
    assert "in use" in done.stderr or "locked" in done.stderr.lower()


# --- Signals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_job_and_says_how_to_go_on(place: Place, number: signal.Signals) -> None:
    with busy(place) as (process, mark):
        process.send_signal(number)
        _, err = process.communicate(timeout=SECONDS)
        assert process.returncode == 130
        assert re.search(r"agentd run --resume [0-9a-f-]{36}", err)
        assert commands_with(mark) == []
    assert place.records()[-1]["data"]["outcome"] == "cancelled"


def test_the_executor_and_its_command_die_with_a_killed_run(place: Place, require: Callable[[str], str]) -> None:
    require("bwrap")
    with busy(place) as (process, mark):
        process.kill()
        assert until(lambda: not commands_with(mark) and not commands_with(str(place.repo)), 2.0), commands_with(
            mark
        ) + commands_with(str(place.repo))


# --- On a terminal ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "text"), [("y", "bar = 1\n"), ("n", "foo = 1\n"), ("always", "bar = 1\n")])
def test_a_person_is_asked_before_an_edit(
    place: Place, terminal: Callable[..., Terminal], answer: str, text: str
) -> None:
    screen = terminal("--mode", "code", EDIT)
    screen.expect(r"- foo")
    screen.expect(r"Allow\?")
    screen.type(answer + "\n")
    assert screen.exit_code() == 0
    assert place.text == text


def test_an_answer_that_is_none_is_asked_for_again(terminal: Callable[..., Terminal]) -> None:
    screen = terminal("--mode", "code", EDIT)
    screen.expect(r"Allow\?")
    screen.type("perhaps\n")
    screen.expect(r"Allow\?[^?]*Allow\?")


def test_ctrl_c_at_a_question_cancels_and_leaves(place: Place, terminal: Callable[..., Terminal]) -> None:
    screen = terminal("--mode", "code", EDIT)
    screen.expect(r"Allow\?")
    screen.type("\x03")
    assert screen.exit_code() == 130
    assert place.text == "foo = 1\n"


def test_a_question_that_a_killed_run_left_open_is_asked_again(place: Place, terminal: Callable[..., Terminal]) -> None:
    first = terminal("--mode", "code", EDIT)
    first.expect(r"Allow\?")
    os.kill(first.pid, signal.SIGKILL)
    [session] = (place.data / "sessions").iterdir()
    assert until(lambda: not commands_with(str(place.repo)), SECONDS)
    second = terminal("--resume", session.name)
    second.expect(r"Allow\?")
    second.type("y\n")
    assert second.exit_code() == 0
    assert place.text == "bar = 1\n"
