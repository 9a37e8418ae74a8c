"""Bash, as a model sees it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from agentd.domain import Text, ToolClass
from agentd.errors import ToolFailed
from agentd.sandbox.contain import Containment, Level, probe
from agentd.sandbox.levels import SandboxLevel, find_means
from agentd.sandbox.policy import Policy
from agentd.tools.background import Background, open_background
from agentd.tools.base import Tool, ToolContext, ToolOutcome, ToolState
from agentd.tools.bash import MAX_TIMEOUT, OUTPUT_CHARACTERS, Bash
from agentd.tools.bashoutput import BashOutput

ENV = {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8"}


@attrs.define
class Session:
    """A workspace to run commands in, and what came of them."""

    confine: Containment
    workspace: Path
    state: ToolState
    shown: list[str]
    kept: dict[str, bytes]

    async def outcome(self, **call_input: Any) -> ToolOutcome:
        with trio.fail_after(60):
            return await Bash().run(call_input, self.context())

    def context(self, background: Background | None = None) -> ToolContext:
        return ToolContext(
            self.workspace,
            self.state,
            ENV,
            (),
            self.shown.append,
            self._keep,
            confine=self.confine,
            background=background,
        )

    async def text(self, command: str, **more: Any) -> str:
        (content,) = (await self.outcome(command=command, **more)).content
        assert isinstance(content, Text)
        return content.text

    def _keep(self, path: Path) -> str:
        name = f"artifact-{len(self.kept)}"
        self.kept[name] = path.read_bytes()
        return name


@pytest.fixture(params=list(Level))
async def level(request: pytest.FixtureRequest, require: Callable[[str], str]) -> Containment:
    if request.param is Level.BWRAP:
        require("bwrap")
    return await probe([request.param])


def make_session(containment: Containment, workspace: Path) -> Session:
    workspace.mkdir()
    return Session(containment, workspace, ToolState(workspace), [], {})


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return make_session(Containment(Level.GROUP), tmp_path.resolve() / "workspace")


@pytest.fixture
def session_of_each_level(level: Containment, tmp_path: Path) -> Session:
    return make_session(level, tmp_path.resolve() / "workspace")


@pytest.fixture(params=[level for level in SandboxLevel if level is not SandboxLevel.NONE])
async def sandboxed(request: pytest.FixtureRequest, require: Callable[[str], str], session: Session) -> Session:
    if request.param is SandboxLevel.BWRAP:
        require("bwrap")
    contained = Containment(Level.SUBREAPER)
    means = await find_means(contained, [request.param])
    if means.level is not request.param:
        pytest.skip(f"{request.param} does not work here")
    session.confine = contained.confined(Policy(session.workspace), means)
    return session


def test_bash_is_a_tool_that_executes() -> None:
    tool: Tool = Bash()
    assert (tool.name, tool.tool_class) == ("Bash", ToolClass.EXEC)
    assert tool.input_schema["required"] == ["command"]
    assert list(tool.input_schema["properties"]) == ["command", "timeout", "description", "run_in_background"]
    assert tool.subject({"command": "make\n  test"}) == "make test"
    assert tool.subject({}) == ""


async def test_it_returns_what_the_command_said(session: Session) -> None:
    outcome = await session.outcome(command="echo one; echo two >&2")
    assert outcome == ToolOutcome((Text("one\ntwo"),), "exit code 0")
    assert "".join(session.shown) == "one\ntwo\n"


async def test_a_command_that_fails_is_an_error_that_ends_with_the_code(session: Session) -> None:
    outcome = await session.outcome(command="echo no; exit 3")
    assert outcome.is_error
    assert outcome.content == (Text("no\n[exit code 3]"),)


async def test_a_directory_change_lasts(session_of_each_level: Session) -> None:
    session = session_of_each_level
    (session.workspace / "a dir").mkdir()
    assert await session.text("cd 'a dir'; false") == "[exit code 1]"
    assert await session.text("pwd; cd ..; exit 4") == f"{session.workspace}/a dir\n[exit code 4]"
    assert await session.text("pwd") == str(session.workspace)


async def test_a_directory_outside_the_workspace_does_not_last(session: Session) -> None:
    text = await session.text("cd /; pwd")
    assert text == f"/\n[/ is outside the workspace: the next command starts in {session.workspace} again]"
    assert await session.text("pwd") == str(session.workspace)


async def test_a_link_out_of_the_workspace_does_not_last(session: Session) -> None:
    (session.workspace / "link").symlink_to("/")
    assert "outside the workspace" in await session.text("cd link")
    assert session.state.cwd == session.workspace


async def test_a_directory_that_is_gone_falls_back_to_the_workspace(session: Session) -> None:
    await session.text("mkdir sub; cd sub")
    text = await session.text("cd ..; rmdir sub; cd sub; mkdir sub; cd sub; rmdir ../sub")
    assert text.startswith("bash: line 1: cd: sub")
    text = await session.text("pwd")
    assert text == f"{session.workspace}\n[{session.workspace}/sub is gone: the command ran in {session.workspace}]"
    assert await session.text("pwd") == str(session.workspace)


async def test_a_timeout_says_so_and_what_to_do(session_of_each_level: Session) -> None:
    outcome = await session_of_each_level.outcome(command="echo begun; sleep 1000", timeout=400)
    (content,) = outcome.content
    assert isinstance(content, Text)
    assert outcome.is_error
    assert content.text.startswith("begun\n[stopped: it was still running after 400 ms. Give a longer timeout")


async def test_output_that_is_too_long_is_cut_in_the_middle_and_kept(session: Session) -> None:
    text = await session.text("seq 1 20000")
    full = "".join(f"{n}\n" for n in range(1, 20001))
    half = OUTPUT_CHARACTERS // 2
    missing = len(full) - 2 * half
    cut = f"\n[{missing} characters are cut here; the full output is kept as artifact-0]\n"
    assert text == full[:half] + cut + full[-half:].rstrip("\n")
    assert session.kept == {"artifact-0": full.encode()}


async def test_output_that_fits_is_not_kept(session: Session) -> None:
    await session.text("seq 1 10")
    assert session.kept == {}


async def test_a_command_that_waits_for_input_gets_none(session: Session) -> None:
    assert await session.text('read answer; echo "<$answer>"') == "<>"


async def test_only_the_contexts_environment_is_there(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "secret")
    assert "ANTHROPIC_API_KEY" not in await session.text("env")


@pytest.mark.parametrize(
    ("call_input", "problem"),
    [
        ({}, "command"),
        ({"command": 5}, "command"),
        ({"command": "  "}, "empty"),
        ({"command": "a\0b"}, "NUL"),
        ({"command": "ls", "timeout": "1"}, "timeout"),
        ({"command": "ls", "timeout": 0}, "timeout"),
        ({"command": "ls", "timeout": MAX_TIMEOUT + 1}, "600000"),
        ({"command": "ls", "run_in_background": 1}, "run_in_background"),
        ({"command": "echo " + "x" * 200_000}, "too long"),
    ],
)
async def test_an_input_that_does_not_fit_says_why(session: Session, call_input: dict[str, Any], problem: str) -> None:
    with pytest.raises(ToolFailed, match=problem):
        await session.outcome(**call_input)


@pytest.mark.parametrize("more", [{"run_in_background": False}, {"description": "x", "unknown": 1}, {"timeout": None}])
async def test_keys_that_change_nothing_are_ignored(session: Session, more: dict[str, Any]) -> None:
    assert await session.text("echo hi", **more) == "hi"


@pytest.mark.parametrize(
    "command",
    ["# a comment\necho hi", "cat <<END\nhi\nEND", "trap 'echo hi' EXIT", "if true; then echo hi; fi", "(echo hi)"],
)
async def test_any_shape_of_command_runs(session: Session, command: str) -> None:
    assert await session.text(command) == "hi"


async def test_nothing_is_left_in_the_temporary_directory(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = session.workspace.parent / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    await session.text("seq 1 20000")
    await session.text("sleep 1000", timeout=50)
    assert list(temporary.iterdir()) == []


async def test_a_directory_that_a_command_only_claims_to_be_in_is_not_believed(session: Session) -> None:
    await session.text(
        "trap - EXIT; fd=$(ls -l /proc/$$/fd | sed -n 's/.* \\([0-9]*\\) -> .*cwd.*/\\1/p')\n"
        f"printf '%s' {session.workspace}/../../etc >/proc/$$/fd/$fd"
    )
    assert session.state.cwd == session.workspace


# --- In a sandbox -------------------------------------------------------------------------------------------------


async def test_in_a_sandbox_a_directory_change_lasts(sandboxed: Session) -> None:
    await sandboxed.text("mkdir 'a dir'; cd 'a dir'")
    assert await sandboxed.text("pwd; cd ..") == f"{sandboxed.workspace}/a dir"
    assert await sandboxed.text("pwd") == str(sandboxed.workspace)


async def test_in_a_sandbox_there_is_a_temporary_directory(sandboxed: Session) -> None:
    assert await sandboxed.text('echo hello >"$(mktemp)" && echo done') == "done"


async def test_a_command_that_is_denied_a_write_is_told_where_it_may(sandboxed: Session) -> None:
    outcome = await sandboxed.outcome(command="touch /etc/agentd-test")
    (content,) = outcome.content
    assert isinstance(content, Text)
    assert f"[Commands run in a sandbox: they can write only below {sandboxed.workspace}" in content.text
    assert content.text.endswith("[exit code 1]")


async def test_a_command_that_succeeds_is_told_nothing(sandboxed: Session) -> None:
    assert await sandboxed.text("echo Permission denied") == "Permission denied"


async def test_in_a_sandbox_a_command_runs_in_the_background(sandboxed: Session) -> None:
    async with open_background() as background:
        shell = await background.start(sandboxed.confine, "echo there; touch /etc/x", sandboxed.workspace, ENV)
        with trio.fail_after(30):
            await shell.wait()
        assert shell.ring.unread().data.startswith(b"there\n")
        assert shell.status == "has ended with exit code 1"


async def test_in_the_background_too_a_command_that_is_denied_a_write_is_told_where_it_may(sandboxed: Session) -> None:
    async with open_background() as background:
        shell = await background.start(sandboxed.confine, "touch /etc/x", sandboxed.workspace, ENV)
        with trio.fail_after(30):
            await shell.wait()
        outcome = await BashOutput().run({"bash_id": shell.id}, sandboxed.context(background))
    (content,) = outcome.content
    assert isinstance(content, Text)
    assert f"[Commands run in a sandbox: they can write only below {sandboxed.workspace}" in content.text
    assert content.text.endswith(f"[{shell.id} has ended with exit code 1]")
